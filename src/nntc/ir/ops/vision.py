"""Operators on images: resampling, and the pieces of detectors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nntc.core.dtype import DType
from nntc.ir.graph import Op, TensorType
from nntc.ir.ops import _detect, _resample
from nntc.ir.ops._numeric import as_type, ieee, working
from nntc.ir.ops._rules import (
    FLOAT,
    INDEX,
    NUMBER,
    need,
    need_at_least,
    need_length,
    need_rank,
    need_shape,
    require,
    same_dtype,
)

Coordinate = Literal[
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
]
NearestMode = Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


@dataclass(frozen=True)
class Resize(Op):
    """y = x resampled to *sizes*; takes any number type.

    Integers are blended in float32 and cut toward zero, as ONNX Runtime does.

    Attributes, one entry per axis of x where they are tuples:
        sizes: y's shape.
        scales: output size / input size as the coordinates use it.
        mode: nearest, linear (separable, so bilinear on two axes) or cubic.
        coordinate: how a position in y maps to one in x (names of ONNX).
        nearest_mode: rounding of the position in mode nearest.
        cubic_a: the cubic's coefficient.
        exclude_outside: taps outside x weigh nothing and the others are scaled to sum 1; else x's
            edge is repeated.
        extrapolation_value: result outside roi's image in tf_crop_and_resize.
        roi: starts of all axes, then ends, in 0 ... 1; only for tf_crop_and_resize, else empty.
        antialias: widen the linear or cubic kernel when an axis shrinks.
    Axes whose scale is 1 and size unchanged are left alone (except by tf_crop_and_resize).
    """

    sizes: tuple[int, ...]
    scales: tuple[float, ...]
    mode: Literal["nearest", "linear", "cubic"] = "nearest"
    coordinate: Coordinate = "half_pixel"
    nearest_mode: NearestMode = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    extrapolation_value: float = 0.0
    roi: tuple[float, ...] = ()
    antialias: bool = False

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, NUMBER)
        rank = need_rank("x", x, 1)
        need_length(self.sizes, rank, "sizes")
        need_length(self.scales, rank, "scales")
        need_at_least(self.sizes, 0, "sizes")
        require(
            all(s > 0 and math.isfinite(s) for s in self.scales),
            f"scales {self.scales} must be positive",
        )
        require(
            all(size > 0 or out == 0 for size, out in zip(x.shape, self.sizes, strict=True)),
            f"x {x.shape} is empty, it cannot grow to {self.sizes}",
        )
        require(
            not self.antialias or self.mode != "nearest", "antialias needs mode linear or cubic"
        )
        if self.coordinate == "tf_crop_and_resize":
            need_length(self.roi, 2 * rank, "roi")
            require(not self.antialias, "antialias has no meaning with tf_crop_and_resize")
        else:
            require(not self.roi, f"roi has no meaning with {self.coordinate}, leave it empty")
            for size, out, scale in zip(x.shape, self.sizes, self.scales, strict=True):
                # The output is the product cut or rounded; half a pixel is lost at most.
                require(
                    out == 0 or -0.51 <= size * scale - out < 1.01,
                    f"scale {scale} does not take {size} elements to {out}",
                )
        return (TensorType(x.dtype, self.sizes),)

    @ieee
    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        y = x if self.mode == "nearest" else working(x)
        outside = np.zeros(self.sizes, bool)
        cropping = self.coordinate == "tf_crop_and_resize"
        for axis, (size, out, scale) in enumerate(
            zip(x.shape, self.sizes, self.scales, strict=True)
        ):
            if (size == out and scale == 1 and not cropping) or out == 0:
                continue
            roi = (self.roi[axis], self.roi[axis + x.ndim]) if cropping else (0.0, 1.0)
            at = _resample.source_positions(size, out, scale, self.coordinate, roi)
            if cropping:
                beyond = (at < 0) | (at > size - 1)
                outside |= beyond.reshape(-1, *(1,) * (x.ndim - axis - 1))
            if self.mode == "nearest":
                y = y.take(_resample.nearest(at, size, self.nearest_mode), axis)
            else:
                y = _resample.blend(y, axis, self._taps(at, size, scale))
        if cropping:
            y = np.where(outside, self.extrapolation_value, y)
        return (as_type(y, x.dtype).reshape(self.sizes),)

    def _taps(self, at: np.ndarray, size: int, scale: float) -> _resample.Taps:
        return _resample.taps(
            at,
            size,
            cubic_a=self.cubic_a if self.mode == "cubic" else None,
            shrink=min(scale, 1.0) if self.antialias else 1.0,
            exclude_outside=self.exclude_outside,
        )


@dataclass(frozen=True)
class GridSample(Op):
    """y = x sampled at the positions of grid.

    Operands: x [N, C, *in] with 2 or 3 spatial axes, grid [N, *out, 2 or 3] of the same float
    type; the last axis holds x, y(, z) in -1 ... 1, the last spatial axis first. Result
    [N, C, *out].
    Attributes: mode nearest (halves to even), linear or cubic (2 axes only); padding: what lies
    outside x; align_corners: -1 and 1 are the centres of the corner elements, else their outer
    edges.
    """

    mode: Literal["nearest", "linear", "cubic"] = "linear"
    padding: Literal["zeros", "border", "reflection"] = "zeros"
    align_corners: bool = False

    def infer(self, x: TensorType, grid: TensorType) -> tuple[TensorType, ...]:
        spatial = need_rank("x", x, 4, 5) - 2
        need("x", x, FLOAT)
        need("grid", grid, FLOAT, spatial + 2)
        same_dtype(x=x, grid=grid)
        require(
            grid.shape[0] == x.shape[0],
            f"grid has {grid.shape[0]} batches, x has {x.shape[0]}",
        )
        require(grid.shape[-1] == spatial, f"grid's last axis is {grid.shape[-1]}, not {spatial}")
        require(
            self.mode != "cubic" or spatial == 2, f"mode cubic needs 2 spatial axes, not {spatial}"
        )
        require(min(x.shape[2:]) > 0, f"x {x.shape} is empty, there is nothing to sample")
        return (TensorType(x.dtype, (*x.shape[:2], *grid.shape[1:-1])),)

    @ieee
    def compute(self, x: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, ...]:
        y = _resample.sample(working(x), working(grid), self.mode, self.padding, self.align_corners)
        return (as_type(y, x.dtype),)


@dataclass(frozen=True)
class RoiAlign(Op):
    """y = x averaged (or its maximum) over the cells of boxes.

    Operands: x [N, C, H, W], rois [R, 4] (x1, y1, x2, y2) of the same float type, batch_indices
    [R], the image of each box. Result [R, C, output_height, output_width].
    Attributes: sampling_ratio: bilinear samples per cell and axis, 0: as many as the cell is
    pixels wide; spatial_scale: box coordinates to pixels of x; mode avg or max (max takes the
    largest weighted corner of the samples, as ONNX Runtime does); coordinate half_pixel: boxes are
    shifted by half a pixel; output_half_pixel: they are not, and are at least one pixel wide.
    """

    output_height: int = 1
    output_width: int = 1
    sampling_ratio: int = 0
    spatial_scale: float = 1.0
    mode: Literal["avg", "max"] = "avg"
    coordinate: Literal["half_pixel", "output_half_pixel"] = "half_pixel"

    def infer(
        self, x: TensorType, rois: TensorType, batch_indices: TensorType
    ) -> tuple[TensorType, ...]:
        need("x", x, FLOAT, rank=4)
        require(min(x.shape[2:]) > 0, f"x {x.shape} is empty, there is nothing to sample")
        same_dtype(x=x, rois=rois)
        need("rois", rois, FLOAT, rank=2)
        need("batch_indices", batch_indices, INDEX, rank=1)
        require(rois.shape[1] == 4, f"rois has rows of {rois.shape[1]} numbers, 4 are needed")
        need_shape("batch_indices", batch_indices, rois.shape[:1], batch_indices.dtype)
        out = (self.output_height, self.output_width)
        need_at_least(out, 1, "output_height, output_width")
        require(self.sampling_ratio >= 0, f"sampling_ratio is {self.sampling_ratio}, below 0")
        return (TensorType(x.dtype, (rois.shape[0], x.shape[1], *out)),)

    @ieee
    def compute(
        self, x: np.ndarray, rois: np.ndarray, batch_indices: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        out = (self.output_height, self.output_width)
        images = _detect.image_numbers(batch_indices, len(x))
        # In float32 as ONNX Runtime: the number of samples is a rounded quotient of these.
        shift = np.float32(0.5 if self.coordinate == "half_pixel" else 0)
        corners = working(rois) * np.float32(self.spatial_scale) - shift
        starts, lengths = corners[:, :2], corners[:, 2:] - corners[:, :2]
        if self.coordinate == "output_half_pixel":
            lengths = np.maximum(lengths, 1)
        sizes = lengths / np.array(out[::-1], lengths.dtype)
        y = np.empty((len(rois), x.shape[1], *out), x.dtype)
        for number, (image, start, size) in enumerate(
            zip(images, starts.tolist(), sizes.tolist(), strict=True)
        ):
            columns, rows = (
                _detect.cells(start[axis], size[axis], out[1 - axis], self.sampling_ratio)
                for axis in (0, 1)
            )
            y[number] = _detect.align(working(x[image]), rows, columns, self.mode)
        return (y,)


@dataclass(frozen=True)
class NonMaxSuppression(Op):
    """Indices of the best boxes per batch and class, without those that overlap a better one.

    Operands: boxes [B, N, 4], scores [B, C, N], float. Result (i64) [B*C*min(max_output, N), 3]:
    rows (batch, class, box) as ONNX orders them (by batch, class, falling score, rising box),
    then rows of -1 up to the static size.
    Attributes: center_point_box: boxes are (x_centre, y_centre, width, height), else two opposite
    corners (y1, x1, y2, x2); max_output: boxes per batch and class; iou: a box with a larger
    intersection over union is dropped; score: boxes with at most this score are dropped, -inf
    keeps all.
    """

    unbounded: ClassVar[tuple[str, ...]] = ("score",)

    center_point_box: bool = False
    max_output: int = 0
    iou: float = 0.0
    score: float = -math.inf

    def infer(self, boxes: TensorType, scores: TensorType) -> tuple[TensorType, ...]:
        need("boxes", boxes, FLOAT, rank=3)
        need("scores", scores, FLOAT, rank=3)
        same_dtype(boxes=boxes, scores=scores)
        batches, classes, count = scores.shape
        require(
            boxes.shape == (batches, count, 4),
            f"boxes are {boxes.shape}, scores of shape {scores.shape} need {(batches, count, 4)}",
        )
        require(self.max_output >= 0, f"max_output is {self.max_output}, below 0")
        require(0 <= self.iou <= 1, f"iou is {self.iou}, it must lie in 0 ... 1")
        rows = batches * classes * min(self.max_output, count)
        return (TensorType(DType.I64, (rows, 3)),)

    @ieee
    def compute(self, boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, ...]:
        batches, classes, count = scores.shape
        limit = min(self.max_output, count)
        y = np.full((batches * classes * limit, 3), -1, np.int64)
        used = 0
        for batch in range(batches):
            corners = _detect.corners(working(boxes[batch]), self.center_point_box)
            for kind in range(classes):
                kept = _detect.suppress(corners, scores[batch, kind], limit, self.iou, self.score)
                for box in kept:
                    y[used] = batch, kind, box
                    used += 1
        return (y,)
