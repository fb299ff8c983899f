"""Resampling and detection."""

from __future__ import annotations

import math
from typing import Any

from nntc.ir import ops
from tests.backend.case import Dims, Made, dims, f32, family

COORDINATES = [
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_half_pixel_for_nn",
]  # fmt: skip


@family(
    4e-6,
    mode=["nearest", "linear", "cubic"],
    coordinate=COORDINATES,
    size=[(10, 14), (5, 7), (3, 4), (1, 1), (7, 20), (15, 2)],
    rounding=["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"],
    outside=[False, True],
    antialias=[False, True],
)
def resizes(
    mode: Any, coordinate: Any, size: Dims, rounding: Any, outside: bool, antialias: bool
) -> Made:
    old = (5, 7)
    scales = tuple(n / o for n, o in zip(size, old, strict=True))
    if ((mode == "nearest") == antialias and antialias) or (
        mode != "nearest" and rounding != "floor"
    ):
        return
    op = ops.Resize(
        (2, 3, *size),
        (1.0, 1.0, *scales),
        mode,
        coordinate,
        rounding,
        -0.75,
        outside,
        0.0,
        (),
        antialias,
    )
    yield op, f32(2, 3, *old)


@family(
    4e-6,
    mode=["nearest", "linear", "cubic"],
    roi=[(0.1, 0.2, 0.9, 0.7), (-0.2, 0.1, 1.3, 1.0)],
    size=[(4, 5), (9, 11), (1, 3)],
    extrapolation=[0.0, 7.5],
)
def crops(mode: Any, roi: tuple[float, ...], size: Dims, extrapolation: float) -> Made:
    scales = (size[0] / 6, size[1] / 8)
    op = ops.Resize(
        size,
        scales,
        mode,
        "tf_crop_and_resize",
        "round_prefer_floor",
        -0.75,
        False,
        extrapolation,
        roi,
    )
    yield op, f32(6, 8)


@family(
    4e-6,
    axes=[(1, 0), (1, 0, 1), (0, 1, 1, 1)],
    mode=["nearest", "linear", "cubic"],
    factor=[2.0, 3.0, 0.5],
)
def resizes_of_other_axes(axes: Dims, mode: Any, factor: float) -> Made:
    shape = (4, 6, 8, 10)[: len(axes)]
    scales = tuple(factor if a else 1.0 for a in axes)
    sizes = tuple(int(s * f) for s, f in zip(shape, scales, strict=True))
    yield ops.Resize(sizes, scales, mode), f32(*shape)


@family(
    2e-5,
    mode=["linear", "nearest"],
    padding=["zeros", "border", "reflection"],
    align=[True, False],
    shape=[(1, 3, 5, 7), (2, 4, 8, 6)],
)
def grid_samples(mode: Any, padding: Any, align: bool, shape: Dims) -> Made:
    grid = f"f32[{dims(shape[0], 4, 5, 2)}]:-1.3:1.3"
    yield ops.GridSample(mode, padding, align), f"{f32(*shape)} {grid}"


@family(
    2e-5,
    ratio=[0, 1, 2],
    coordinate=["half_pixel", "output_half_pixel"],
    size=[(1, 1), (3, 2)],
    scale=[1.0, 0.5],
)
def roi_aligns(ratio: int, coordinate: Any, size: Dims, scale: float) -> Made:
    height, width = size
    op = ops.RoiAlign(height, width, ratio, scale, "avg", coordinate)
    yield op, "f32[2x3x9x12] =f32[4x4]:0:8:boxes i64[4]:0:2"


@family(
    0,
    center=[True, False],
    limit=[1, 3, 20],
    iou=[0.0, 0.5],
    score=[-math.inf, 0.3],
    shape=[(1, 1, 9), (2, 3, 12)],
)
def suppressions(center: bool, limit: int, iou: float, score: float, shape: Dims) -> Made:
    n, c, boxes = shape
    op = ops.NonMaxSuppression(center, limit, iou, score)
    corners = "" if center else ":boxes"
    yield op, f"f32[{n}x{boxes}x4]:0:1{corners} f32[{n}x{c}x{boxes}]:0:1"
