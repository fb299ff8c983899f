"""Operators that move elements without changing them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends import limits
from nntc.frontends.onnx.call import Call, front_axes, front_axis, reads
from nntc.ir import ops
from nntc.ir.graph import Value


@reads("Reshape")
def reshape_attribute(c: Call) -> Value:
    return _reshape(c, c.ints("shape") or ())


@reads("Reshape", since=5)
def reshape(c: Call) -> Value:
    return _reshape(c, c.const_ints(1, "the shape"))


def _reshape(c: Call, wanted: Sequence[int]) -> Value:
    """0 copies the operand's size (unless allowzero), -1 takes what is left."""
    x = c.x()
    shape = list(wanted)
    if not c.flag("allowzero"):
        for axis, size in enumerate(shape):
            if size == 0:
                if axis >= len(x.shape):
                    raise ModelError(f"shape {shape} copies axis {axis} of {list(x.shape)}")
                shape[axis] = x.shape[axis]
    if shape.count(-1) > 1 or min(shape, default=0) < -1:
        raise ModelError(f"shape {shape} is not valid")
    if -1 in shape:
        rest = math.prod(s for s in shape if s != -1)
        if rest == 0 or x.type.size % rest:
            raise ModelError(f"{list(x.shape)} does not divide into shape {shape}")
        shape[shape.index(-1)] = x.type.size // rest
    return c.b.reshape(x, shape)


@reads("Flatten")
def flatten(c: Call) -> Value:
    x = c.x()
    rank = len(x.shape)
    axis = c.i("axis", 1)
    if not -rank <= axis <= rank:
        raise ModelError(f"axis {axis} is outside {-rank} ... {rank}")
    axis = axis + rank if axis < 0 else axis
    return c.b.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@reads("Squeeze")
def squeeze(c: Call) -> Value:
    x = c.x()
    axes = c.ints("axes") if c.since < 13 else c.opt_ints(1, "the axes")
    if axes is None:
        found = tuple(i for i, d in enumerate(x.shape) if d == 1)
    else:
        found = front_axes(axes, len(x.shape))
        for axis in found:
            if x.shape[axis] != 1:
                raise ModelError(f"axis {axis} of {list(x.shape)} has not length 1")
    return c.b.squeeze(x, *found)


@reads("Unsqueeze")
def unsqueeze(c: Call) -> Value:
    x = c.x()
    axes = (c.ints("axes") or ()) if c.since < 13 else c.const_ints(1, "the axes")
    return c.b.unsqueeze(x, *sorted(front_axes(axes, len(x.shape) + len(axes))))


@reads("Transpose")
def transpose(c: Call) -> Value:
    x = c.x()
    perm = c.ints("perm")
    return c.b.transpose(x, range(len(x.shape))[::-1] if perm is None else perm)


@reads("Concat")
def concat(c: Call) -> Value:
    xs = c.all()
    # The axis is an attribute with a default only before version 4.
    axis = c.axis("axis", 1, len(xs[0].shape))
    # Empty operands of another rank come from exporters; a concatenation ignores them.
    full = [x for x in xs if x.type.size] or xs[:1]
    return c.b.concat(full, axis)


@reads("Split")
def split(c: Call) -> list[Value]:
    x = c.x()
    axis = c.axis("axis", 0, len(x.shape))
    size, count = x.shape[axis], len(c.node.output)
    if c.since >= 13 or (c.since < 2 and c.opt(1) is not None):
        sizes = c.opt_ints(1, "the sizes")
    else:
        sizes = c.ints("split")
    if sizes is None:
        parts = c.i("num_outputs", count)
        if parts != count:
            raise ModelError(f"{count} results are named, num_outputs is {parts}")
        if c.since < 18 and size % parts:
            raise ModelError(f"axis {axis} of {list(x.shape)} does not split in {parts}")
        step = -(-size // parts)
        sizes = tuple(max(0, min(step, size - i * step)) for i in range(parts))
    if sum(sizes) != size or min(sizes, default=0) < 0 or len(sizes) < count:
        raise ModelError(f"sizes {list(sizes)} do not split axis {axis} of {list(x.shape)}")
    return c.b.split(x, axis, sizes)


@reads("Slice")
def slice_attributes(c: Call) -> Value:
    starts, ends = c.ints("starts") or (), c.ints("ends") or ()
    return _slice(c, starts, ends, c.ints("axes"), None)


@reads("Slice", since=10)
def slice_(c: Call) -> Value:
    starts, ends = c.const_ints(1, "the starts"), c.const_ints(2, "the ends")
    return _slice(c, starts, ends, c.opt_ints(3, "the axes"), c.opt_ints(4, "the steps"))


def _slice(
    c: Call,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None,
    steps: Sequence[int] | None,
) -> Value:
    x = c.x()
    rank = len(x.shape)
    where = front_axes(range(len(starts)) if axes is None else axes, rank)
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(where) == len(steps):
        raise ModelError("starts, ends, axes and steps differ in length")
    begin, stop, stride = [0] * rank, list(x.shape), [1] * rank
    for axis, first, last, step in zip(where, starts, ends, steps, strict=True):
        if step == 0:
            raise ModelError(f"the step of axis {axis} is 0")
        begin[axis], stop[axis], stride[axis] = _bounds(first, last, step, x.shape[axis])
    if not any(begin) and stop == list(x.shape) and set(stride) <= {1}:
        return x
    return c.b.op(ops.Slice(tuple(begin), tuple(stop), tuple(stride)), x)


def _bounds(start: int, end: int, step: int, size: int) -> tuple[int, int, int]:
    """Python's reading of start:end:step, in the form the operator takes."""
    low, high = (0, size) if step > 0 else (-1, size - 1)
    first, last = (min(max(v + size if v < 0 else v, low), high) for v in (start, end))
    if len(range(first, last, step)) == 0:
        return 0, 0, 1
    # Steps beyond the axis take one element.
    return first, last, max(min(step, size), -size)


@reads("Pad")
def pad_attributes(c: Call) -> Value:
    pads = c.ints("pads") or c.ints("paddings") or ()
    return _pad(c, pads, c.f("value", 0.0), None)


@reads("Pad", since=11)
def pad(c: Call) -> Value:
    value = c.const_scalar(2, "the padding value") if c.opt(2) is not None else 0
    return _pad(c, c.const_ints(1, "the pads"), value, c.opt_ints(3, "the axes"))


def _pad(c: Call, pads: Sequence[int], value: float, axes: Sequence[int] | None) -> Value:
    x = c.x()
    rank = len(x.shape)
    where = front_axes(range(rank) if axes is None else axes, rank)
    if len(pads) != 2 * len(where):
        raise ModelError(f"{len(pads)} pads are given for {len(where)} axes")
    full = [0] * (2 * rank)
    for index, axis in enumerate(where):
        full[axis], full[rank + axis] = pads[index], pads[len(where) + index]
    mode = c.choice("mode", "constant", ("constant", "reflect", "edge", "wrap"))
    if not any(full):
        return x
    if x.dtype is DType.BOOL:
        padded = ops.Pad(tuple(full), mode, float(value))
        return c.b.cast(c.b.op(padded, c.b.cast(x, DType.U8)), DType.BOOL)
    return c.b.op(ops.Pad(tuple(full), mode, float(value)), x)


@reads("Expand")
def expand(c: Call) -> Value:
    x = c.x()
    wanted = c.const_ints(1, "the shape")
    if min(wanted, default=0) < 0:
        raise ModelError(f"shape {list(wanted)} has a negative size")
    try:
        shape = np.broadcast_shapes(x.shape, wanted)
    except ValueError:
        raise ModelError(f"{list(x.shape)} does not broadcast with {list(wanted)}") from None
    return c.b.expand(x, shape)


@reads("Tile")
def tile_axis(c: Call) -> Value:
    x = c.x()
    repeats = [1] * len(x.shape)
    axis = front_axis(c.const_int(2, "the axis"), len(x.shape))
    repeats[axis] = c.const_int(1, "the number of tiles")
    return _tile(c, repeats)


@reads("Tile", since=6)
def tile(c: Call) -> Value:
    return _tile(c, c.const_ints(1, "the repeats"))


def _tile(c: Call, repeats: Sequence[int]) -> Value:
    x = c.x()
    return x if set(repeats) <= {1} else c.b.op(ops.Tile(tuple(repeats)), x)


@reads("DepthToSpace")
def depth_to_space(c: Call) -> Value:
    mode = c.choice("mode", "DCR", ("DCR", "CRD"))
    return c.b.op(ops.DepthToSpace(c.i("blocksize", 0), mode), c.x())


@reads("SpaceToDepth")
def space_to_depth(c: Call) -> Value:
    block = c.i("blocksize", 0)
    x = c.b.op(ops.SpaceToDepth(block), c.x())
    if c.choice("mode", "DCR", ("DCR", "CRD")) == "CRD":
        n, depth, h, w = x.shape
        split = c.b.reshape(x, (n, block * block, depth // (block * block), h, w))
        x = c.b.reshape(c.b.transpose(split, (0, 2, 1, 3, 4)), x.shape)
    return x


@reads("CenterCropPad")
def center_crop_pad(c: Call) -> Value:
    """Cut or pad evenly on both sides; of an odd difference the end takes the larger half."""
    x = c.x()
    rank = len(x.shape)
    axes = c.ints("axes")
    where = front_axes(range(rank) if axes is None else axes, rank)
    wanted = c.const_ints(1, "the shape")
    if len(wanted) != len(where) or min(wanted, default=0) < 0:
        raise ModelError(f"shape {list(wanted)} does not fit the {len(where)} axes")
    pads = [0] * (2 * rank)
    for axis, size in zip(where, wanted, strict=True):
        difference = size - x.shape[axis]
        if difference < 0:
            start = -difference // 2
            x = c.b.slice(x, axis, start, start + size)
        else:
            pads[axis], pads[rank + axis] = difference // 2, difference - difference // 2
    return c.b.pad(x, pads)


@reads("Col2Im")
def col2im(c: Call) -> Value:
    """Sum of blocks into images: a transposed convolution with a one at each block's place."""
    x = c.x()
    image = c.const_ints(1, "the image's shape")
    block = c.const_ints(2, "the block's shape")
    spatial = len(image)
    ones = (1,) * spatial
    strides = c.ints("strides") or ones
    dilations = c.ints("dilations") or ones
    pads = c.ints("pads") or (0,) * (2 * spatial)
    if len(x.shape) != 3 or not spatial or len(block) != spatial or min(block) < 1:
        raise ModelError(f"the operand {list(x.shape)}, image and block do not fit each other")
    taps = math.prod(block)
    extents = [d * (k - 1) + 1 for d, k in zip(dilations, block, strict=True)]
    padded = [image[i] + pads[i] + pads[spatial + i] for i in range(spatial)]
    counts = [(padded[i] - extents[i]) // strides[i] + 1 for i in range(spatial)]
    if x.shape[1] % taps or min(counts) < 1 or math.prod(counts) != x.shape[2]:
        raise ModelError(
            f"blocks {list(x.shape)} do not fit image {list(image)} and block {list(block)}"
        )
    channels = x.shape[1] // taps
    limits.check_bytes((channels, taps, taps), x.dtype, limits.CONSTANT_BYTES, "the kernel")
    weight = np.eye(taps, dtype=np.float32).reshape(taps, 1, *block)
    kernel = c.b.const(np.tile(weight, (channels, 1, *ones)))
    left = tuple(padded[i] - (counts[i] - 1) * strides[i] - extents[i] for i in range(spatial))
    blocks = c.b.reshape(x, (x.shape[0], channels * taps, *counts))
    op = ops.ConvTranspose(strides, pads, dilations, channels, left)
    return c.b.op(op, blocks, kernel)
