"""Resampling of images, and the pieces of detectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends import limits
from nntc.frontends.onnx.call import Call, front_axes, reads
from nntc.ir import ops
from nntc.ir.graph import Value


@reads("Upsample")
def upsample_attributes(c: Call) -> Value:
    """Version 1 has one scale for each spatial axis, version 7 one for every axis."""
    scales = c.floats("scales") or (1.0, 1.0, c.f("height_scale", 1), c.f("width_scale", 1))
    return _old_resize(c, scales)


@reads("Upsample", since=9)
@reads("Resize")
def upsample(c: Call) -> Value:
    return _old_resize(c, _scales(c, 1))


def _scales(c: Call, index: int) -> tuple[float, ...]:
    return tuple(float(v) for v in c.const(index, "the scales").reshape(-1))


def _old_resize(c: Call, scales: Sequence[float]) -> Value:
    """Positions are multiplied by the scale; nearest takes the element below."""
    x = c.x()
    linear = c.choice("mode", "nearest", ("nearest", "linear", "bilinear")) != "nearest"
    if len(scales) != len(x.shape):
        raise ModelError(f"{len(scales)} scales for {len(x.shape)} axes")
    sizes = _sizes(x, scales)
    mode = "linear" if linear else "nearest"
    op = ops.Resize(sizes, tuple(scales), mode, "asymmetric", "floor")
    return _build(c, x, op)


def _sizes(x: Value, scales: Sequence[float]) -> tuple[int, ...]:
    if not all(0 < s < math.inf for s in scales):
        raise ModelError(f"scales {list(scales)} are not all positive")
    # In float32, as the scales are: 2.9999998 must not make an element more or less than there.
    sizes = np.floor(np.array(x.shape, np.float32) * np.array(scales, np.float32))
    if (sizes > 1 << 30).any():
        raise ModelError(f"scales {list(scales)} are too large for {list(x.shape)}")
    return tuple(int(s) for s in sizes)


def _build(c: Call, x: Value, op: ops.Resize) -> Value:
    if op.sizes == x.shape and set(op.scales) == {1.0} and not op.roi:
        return x
    return c.b.op(op, x)


_COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
_POLICIES = ("stretch", "not_larger", "not_smaller")


@reads("Resize", since=11)
def resize(c: Call) -> Value:
    x = c.x()
    rank = len(x.shape)
    coordinate = c.choice("coordinate_transformation_mode", "half_pixel", _COORDINATES)
    mode = c.choice("mode", "nearest", ("nearest", "linear", "cubic"))
    given = c.ints("axes")
    axes = front_axes(range(rank) if given is None else given, rank)
    sizes, scales = _target(c, x, axes)
    roi: tuple[float, ...] = ()
    if coordinate == "tf_crop_and_resize":
        part = [float(v) for v in c.const(1, "roi").reshape(-1)]
        if len(part) != 2 * len(axes):
            raise ModelError(f"roi has {len(part)} entries for {len(axes)} axes")
        full = [0.0] * rank + [1.0] * rank
        for index, axis in enumerate(axes):
            full[axis], full[rank + axis] = part[index], part[len(axes) + index]
        roi = tuple(full)
    op = ops.Resize(
        sizes,
        scales,
        mode,
        coordinate,
        c.choice("nearest_mode", "round_prefer_floor", _NEAREST),
        c.f("cubic_coeff_a", -0.75),
        c.flag("exclude_outside"),
        c.f("extrapolation_value", 0.0),
        roi,
        c.flag("antialias") and mode != "nearest",
    )
    return _build(c, x, op)


def _target(c: Call, x: Value, axes: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Result shape, and the scales that positions are computed with."""
    full = [1.0] * len(x.shape)
    by_scale = c.opt(2)
    if by_scale is not None and by_scale.type.size:
        scales = _scales(c, 2)
        if len(scales) != len(axes):
            raise ModelError(f"{len(scales)} scales for {len(axes)} axes")
        for axis, scale in zip(axes, scales, strict=True):
            full[axis] = scale
        return _sizes(x, full), tuple(full)
    if c.opt(3) is None:
        raise ModelError("neither scales nor sizes are given")
    wanted = c.const_ints(3, "the sizes")
    if len(wanted) != len(axes) or min(wanted, default=1) < 1:
        raise ModelError(f"sizes {list(wanted)} do not fit {len(axes)} axes")
    if min(x.shape, default=1) < 1:
        raise ModelError(f"the operand {list(x.shape)} is empty")
    policy = c.choice("keep_aspect_ratio_policy", "stretch", _POLICIES)
    sizes = list(x.shape)
    for axis, size in zip(axes, wanted, strict=True):
        sizes[axis] = size
        full[axis] = size / x.shape[axis]
    if policy != "stretch" and axes:
        choose = min if policy == "not_larger" else max
        scale = choose(full[axis] for axis in axes)
        for axis in axes:
            full[axis] = scale
            sizes[axis] = math.floor(scale * x.shape[axis] + 0.5)
    return tuple(sizes), tuple(full)


_GRID_MODES: dict[str, Literal["nearest", "linear", "cubic"]] = {
    "bilinear": "linear",
    "bicubic": "cubic",
    "linear": "linear",
    "cubic": "cubic",
    "nearest": "nearest",
}


@reads("GridSample")
def grid_sample(c: Call) -> Value:
    mode = _GRID_MODES[c.choice("mode", "bilinear", tuple(_GRID_MODES))]
    padding = c.choice("padding_mode", "zeros", ("zeros", "border", "reflection"))
    return c.b.op(ops.GridSample(mode, padding, c.flag("align_corners")), c.x(0), c.x(1))


@reads("AffineGrid")
def affine_grid(c: Call) -> Value:
    """Positions (x, y(, z), 1) of every element of the result, times theta."""
    theta = c.x()
    size = c.const_ints(1, "the size")
    spatial = size[2:]
    if len(spatial) not in (2, 3) or theta.shape != (size[0], len(spatial), len(spatial) + 1):
        raise ModelError(f"theta {list(theta.shape)} does not fit size {list(size)}")
    if min(spatial) < 1:
        raise ModelError(f"size {list(size)} has an entry below 1")
    limits.check_bytes((*spatial, 4), DType.F64, limits.CONSTANT_BYTES, "the grid")
    axes = []
    for count in spatial:
        if c.flag("align_corners"):
            axes.append(np.linspace(-1, 1, count))
        else:
            axes.append((2 * np.arange(count) + 1) / count - 1)
    grid = np.stack(np.meshgrid(*axes, indexing="ij")[::-1], -1).reshape(-1, len(spatial))
    base = np.concatenate([grid, np.ones((len(grid), 1))], 1).astype(np.float32)
    y = c.b.matmul(c.b.const(base), theta, transpose_b=True)
    return c.b.reshape(y, (size[0], *spatial, len(spatial)))


@reads("RoiAlign")
def roi_align(c: Call) -> Value:
    """Before version 16 boxes are not shifted by half a pixel."""
    default = "half_pixel" if c.since >= 16 else "output_half_pixel"
    allowed = ("half_pixel", "output_half_pixel")
    index = c.x(2)
    op = ops.RoiAlign(
        c.i("output_height", 1),
        c.i("output_width", 1),
        c.i("sampling_ratio", 0),
        c.f("spatial_scale", 1.0),
        c.choice("mode", "avg", ("avg", "max")),
        c.choice("coordinate_transformation_mode", default, allowed),
    )
    return c.b.op(op, c.x(0), c.x(1), c.b.cast(index, DType.I64))


@reads("NonMaxSuppression")
def non_max_suppression(c: Call) -> Value:
    """The number of boxes found is data; the result is as long as it can get, filled with -1."""
    boxes, scores = c.x(0), c.x(1)
    count = int(c.const_scalar(2, "the most boxes per class")) if c.opt(2) is not None else 0
    iou = float(c.const_scalar(3, "iou_threshold")) if c.opt(3) is not None else 0.0
    score = float(c.const_scalar(4, "score_threshold")) if c.opt(4) is not None else -math.inf
    op = ops.NonMaxSuppression(c.flag("center_point_box"), max(count, 0), iou, score)
    if len(scores.shape) != 3:
        raise ModelError(f"scores {list(scores.shape)} have rank {len(scores.shape)}, not 3")
    return c.b.op(op, boxes, scores)
