"""Layers that move elements, and those that do nothing in the test phase."""

from __future__ import annotations

import itertools

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends.caffe.call import Call, count, reads
from nntc.frontends.errors import RefusedError
from nntc.ir import ops
from nntc.ir.graph import Value


@reads("Dropout", param="dropout_param", becomes="nothing")
def dropout(c: Call) -> Value:
    c.param.flag("scale_train")
    return c.x()


@reads("Split", param="", becomes="nothing")
def split(c: Call) -> list[Value]:
    return [c.x()] * len(c.layer.tops)


@reads("Silence", param="", becomes="nothing")
def silence(c: Call) -> list[Value]:
    return []


@reads("Concat", param="concat_param", becomes="Concat")
def concat(c: Call) -> Value:
    key = "concat_dim" if "concat_dim" in c.param else "axis"
    return c.b.concat(list(c.xs), c.axis(key, 1, len(c.x().shape)))


@reads("Slice", param="slice_param", becomes="Slice")
def slices(c: Call) -> list[Value]:
    x, tops = c.x(), len(c.layer.tops)
    key = "slice_dim" if "slice_dim" in c.param else "axis"
    axis = c.axis(key, 1, len(x.shape))
    size, points = x.shape[axis], c.param.integers("slice_point")
    if points:
        edges = [0, *points, size]
        if len(points) != tops - 1 or any(a >= b for a, b in itertools.pairwise(edges)):
            raise ModelError(f"slice_point {points} does not cut {size} into {tops} parts")
    elif size % tops:
        raise ModelError(f"{size} elements of axis {axis} do not divide into {tops} tops")
    else:
        edges = [size // tops * i for i in range(tops + 1)]
    return [c.b.slice(x, axis, a, b) for a, b in itertools.pairwise(edges)]


@reads("Flatten", param="flatten_param", becomes="Reshape")
def flatten(c: Call) -> Value:
    shape = c.x().shape
    axis = c.axis("axis", 1, len(shape))
    end = c.axis("end_axis", -1, len(shape)) + 1
    if end < axis:
        raise ModelError(f"axis {axis} comes after end_axis {end - 1}")
    return c.b.reshape(c.x(), (*shape[:axis], count(shape[axis:end]), *shape[end:]))


@reads("Reshape", param="reshape_param", becomes="Reshape")
def reshape(c: Call) -> Value:
    """0 keeps an axis, -1 is what is left."""
    x = c.x()
    rank = len(x.shape)
    dims = c.param.message("shape").integers("dim")
    axis = c.axis("axis", 0, rank, last=True)
    axes = c.param.integer("num_axes", -1)
    end = rank if axes == -1 else axis + axes
    if not axis <= end <= rank or dims.count(-1) > 1 or min(dims, default=0) < -1:
        raise ModelError(f"dim {dims}, axis {axis}, num_axes {axes} for shape {list(x.shape)}")
    shape: list[int] = []
    for number, dim in enumerate(dims):
        if dim == 0 and axis + number >= rank:
            raise ModelError(f"dim {dims} keeps axis {axis + number} of shape {list(x.shape)}")
        shape.append(x.shape[axis + number] if dim == 0 else dim)
    fixed = count(x.shape[:axis]) * count(x.shape[end:]) * count([d for d in shape if d != -1])
    whole = x.type.size
    if -1 in shape:
        shape[shape.index(-1)] = whole // fixed if fixed and whole % fixed == 0 else -2
    full = (*x.shape[:axis], *shape, *x.shape[end:])
    if min(full, default=0) < 0 or count(full) != whole:
        raise ModelError(f"shape {list(x.shape)} does not become dim {dims}")
    return c.b.reshape(x, full)


@reads("Permute", param="permute_param", becomes="Transpose")
def permute(c: Call) -> Value:
    rank = len(c.x().shape)
    order = c.param.integers("order")
    order += [axis for axis in range(rank) if axis not in order]
    if sorted(order) != list(range(rank)):
        raise ModelError(f"order {order} is no order of {rank} axes")
    return c.b.transpose(c.x(), order)


@reads("Tile", param="tile_param", becomes="Tile")
def tile(c: Call) -> Value:
    rank = len(c.x().shape)
    repeats = [1] * rank
    repeats[c.axis("axis", 1, rank)] = c.positive("tiles", 0)
    return c.b.op(ops.Tile(tuple(repeats)), c.x())


@reads("Crop", param="crop_param", becomes="Slice")
def crop(c: Call) -> Value:
    """From an axis on as large as the second bottom."""
    x, like = c.x(0), c.x(1)
    rank = len(x.shape)
    axis = c.axis("axis", 2, rank)
    offsets = c.param.integers("offset")
    if len(offsets) <= 1:
        offsets = (offsets or [0]) * (rank - axis)
    if len(offsets) != rank - axis or len(like.shape) != rank:
        raise ModelError(f"{len(offsets)} offset for axis {axis} of shape {list(x.shape)}")
    for number, offset in enumerate(offsets, axis):
        end = offset + like.shape[number]
        if not 0 <= offset <= end <= x.shape[number]:
            raise ModelError(f"axis {number}: elements {offset} to {end} of shape {list(x.shape)}")
        x = c.b.slice(x, number, offset, end)
    return x


@reads("ShuffleChannel", param="shuffle_channel_param", becomes="Reshape, Transpose, Reshape")
def shuffle(c: Call) -> Value:
    x = c.picture()
    n, channels, height, width = x.shape
    group = c.positive("group", 1)
    if channels % group:
        raise ModelError(f"group {group} does not divide {channels} channels")
    apart = c.b.reshape(x, (n, group, channels // group, height, width))
    return c.b.reshape(c.b.transpose(apart, (0, 2, 1, 3, 4)), x.shape)


@reads("Reorg", param="reorg_param", becomes="Reshape, SpaceToDepth, Reshape; reverse DepthToSpace")
def reorg(c: Call) -> Value:
    """Darknet's, which numbers pixels as if the bottom were in blocks already."""
    x = c.picture()
    n, channels, height, width = x.shape
    stride = c.positive("stride", 2)
    if channels % stride**2:
        raise ModelError(f"stride {stride}: {channels} channels do not make blocks")
    if c.param.flag("reverse"):
        return c.b.op(ops.DepthToSpace(stride, "DCR"), x)
    if height % stride or width % stride:
        raise ModelError(f"stride {stride} does not divide {height}x{width} pixels")
    large = (n, channels // stride**2, height * stride, width * stride)
    mixed = c.b.op(ops.SpaceToDepth(stride), c.b.reshape(x, large))
    return c.b.reshape(mixed, (n, channels * stride**2, height // stride, width // stride))


@reads(
    "DummyData",
    param="dummy_data_param",
    becomes="constants",
    limits="data_filler of type constant",
)
def dummy_data(c: Call) -> list[Value]:
    shapes = [tuple(m.integers("dim")) for m in c.param.messages("shape")]
    if not shapes:
        parts = [c.param.integers(key) for key in ("num", "channels", "height", "width")]
        shapes = list(zip(*parts, strict=False))
    fillers = c.param.messages("data_filler")
    if any(f.text("type", "constant") != "constant" for f in fillers):
        raise RefusedError("random numbers")
    values = [f.number("value", 0.0) for f in fillers] or [0.0]
    tops = len(c.layer.tops)
    shapes = shapes * tops if len(shapes) == 1 else shapes
    values = values * tops if len(values) == 1 else values
    if len(shapes) != tops or len(values) != tops:
        raise ModelError(f"{len(shapes)} shapes and {len(values)} fillers for {tops} tops")
    return [
        c.b.full(shape, np.float32(value), DType.F32)
        for shape, value in zip(shapes, values, strict=True)
    ]
