"""Pooling of regions of interest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nntc.bmodel.cpu_ops import (
    CpuOp,
    DeformPsroiPoolingParam,
    PytorchRoiAlignParam,
    RoiAlignParam,
    RoiPoolingParam,
)
from nntc.runtime.cpu.arith import ceil_int, f32
from nntc.runtime.cpu.compiled import kernel
from nntc.runtime.cpu.registry import Call, Output, layer

LOWEST = np.finfo(np.float32).min
"""What a bin without pixels gives."""

LONGEST = 1 << 22
"""Samples along one side of a region; refused above."""


@layer(
    CpuOp.PYTORCH_ROI_ALIGN,
    "torchvision roi_align; regions (image, x1, y1, x2, y2)",
    "features:f32 rois:f32",
    "pooled:f32",
)
def pytorch_roi_align(call: Call[PytorchRoiAlignParam]) -> list[Output]:
    call.rank(0, 4)
    call.rank(1, 2)
    features, rois = call.inputs
    call.require(rois.shape[1] == 5, f"regions {rois.shape}, needs 5 numbers each")
    images = _image_numbers(call, rois[:, 0], features.shape[0])
    shape = call.room(
        0,
        (len(rois), features.shape[1], call.param.pooled_height, call.param.pooled_width),
    )
    result = np.zeros(shape, np.float32)
    for out, roi, image in zip(result, rois, images, strict=True):
        out[:] = torch_align(call, features[image], roi[1:], call.param)
    return [result]


def torch_align(
    call: Call[Any],
    feature: np.ndarray,
    roi: np.ndarray,
    param: PytorchRoiAlignParam,
    least_when_aligned: bool = False,
) -> np.ndarray:
    """One region (x1, y1, x2, y2) of one (c, h, w) feature map, by torchvision's rule.

    Args:
        least_when_aligned: apply the least region size of 1 when ``align`` is set instead of
            when it is not, as another of the maker's layers does.
    """
    call.require(
        param.pooled_height >= 1 and param.pooled_width >= 1,
        f"pooled size {param.pooled_height} x {param.pooled_width}",
    )
    offset = f32(0.5) if param.align else f32(0)
    box = roi * f32(param.spatial_scale) - offset
    width, height = box[2] - box[0], box[3] - box[1]
    if bool(param.align) == least_when_aligned:
        width, height = max(width, f32(1)), max(height, f32(1))
    rows, columns = param.pooled_height, param.pooled_width
    bin_h = height * f32(1.0 / rows)
    bin_w = width * f32(1.0 / columns)
    ratio = param.sampling_ratio
    grid_h = ratio if ratio > 0 else ceil_int(bin_h)
    grid_w = ratio if ratio > 0 else ceil_int(bin_w)
    samples = grid_h * grid_w
    what = f"region {roi.tolist()} of {grid_h} x {grid_w} samples a bin"
    call.require(samples >= 0 and max(grid_h * rows, grid_w * columns) <= LONGEST, what)
    call.work(samples * rows * columns * len(feature), what)
    if grid_h <= 0 or grid_w <= 0:
        # No sample: 0 times 1 / samples, which is 0 or not a number.
        return np.full((len(feature), rows, columns), 0.0 if samples else math.nan, np.float32)
    ys = _iterate(box[1], bin_h, rows, grid_h)
    xs = _iterate(box[0], bin_w, columns, grid_w)
    share = f32(1.0 / np.float64(f32(samples)))
    return _align_sums(feature, _taps(ys, feature.shape[1]), _taps(xs, feature.shape[2])) * share


def _iterate(start: np.float32, size: np.float32, bins: int, grid: int) -> np.ndarray:
    """Sample places (bins, grid), each the one before plus a step, in f32."""
    step = size / f32(grid)
    places = np.full((bins, grid), step, np.float32)
    places[:, 0] = start + np.arange(bins).astype(np.float32) * size + f32(0.5) * step
    return np.cumsum(places, axis=1, dtype=np.float32)


Taps = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Per sample place: lower and upper pixel, share of the upper, whether it is in the image."""


def _taps(places: np.ndarray, size: int) -> Taps:
    inside = ~((places < -1) | (places > f32(size)))
    clipped = np.clip(np.where(inside, places, f32(0)), f32(0), f32(size - 1))
    low = np.floor(clipped).astype(np.int64)
    return low, np.minimum(low + 1, size - 1), clipped - low.astype(np.float32), inside


@kernel
def _align_sums(feature: np.ndarray, rows: Taps, columns: Taps) -> np.ndarray:
    """Sums over each bin's samples of the bilinear value, in order, in f32."""
    y_low, y_high, y_share, y_inside = rows
    x_low, x_high, x_share, x_inside = columns
    one = np.float32(1)
    zero = np.float32(0)
    sums = np.zeros((len(feature), len(y_low), len(x_low)), np.float32)
    for c in range(len(feature)):
        for p in range(len(y_low)):
            for q in range(len(x_low)):
                total = zero
                for i in range(y_low.shape[1]):
                    for j in range(x_low.shape[1]):
                        y0, y1, ly = y_low[p, i], y_high[p, i], y_share[p, i]
                        x0, x1, lx = x_low[q, j], x_high[q, j], x_share[q, j]
                        hy, hx = one - ly, one - lx
                        a, b, c0, d = hy * hx, hy * lx, ly * hx, ly * lx
                        if not (y_inside[p, i] and x_inside[q, j]):
                            # Outside the image the first pixel counts with weight zero.
                            y0 = y1 = x0 = x1 = 0
                            a = b = c0 = d = zero
                        total += (
                            a * feature[c, y0, x0]
                            + b * feature[c, y0, x1]
                            + c0 * feature[c, y1, x0]
                            + d * feature[c, y1, x1]
                        )
                sums[c, p, q] = total
    return sums


@layer(
    CpuOp.ROIALIGN,
    "MXNet ROIAlign; regions (image, x1, y1, x2, y2) or (x1, y1, x2, y2) of image 0; optionally "
    "position sensitive",
    "features:f32 rois:f32",
    "pooled:f32",
)
def roi_align(call: Call[RoiAlignParam]) -> list[Output]:
    param, features, rois = call.param, call.inputs[0], call.inputs[1]
    call.rank(0, 4)
    call.require(rois.ndim >= 2 and rois.shape[1] in (4, 5), f"regions {rois.shape}")
    rois = rois.reshape(rois.shape[0], math.prod(rois.shape[1:]))[:, : rois.shape[1]]
    rows, columns = param.pooled_height, param.pooled_width
    call.require(rows >= 1 and columns >= 1, f"pooled size {rows} x {columns}")
    images = np.zeros(len(rois), np.int64)
    if rois.shape[1] == 5:
        images, rois = _image_numbers(call, rois[:, 0], features.shape[0]), rois[:, 1:]
    channels = features.shape[1]
    if param.position_sensitive:
        channels //= rows * columns
    result = np.zeros(call.room(0, (len(rois), channels, rows, columns)), np.float32)
    for out, roi, image in zip(result, rois, images, strict=True):
        box = roi * f32(param.spatial_scale)
        bin_h = max(box[3] - box[1], f32(1)) / f32(rows)
        bin_w = max(box[2] - box[0], f32(1)) / f32(columns)
        ratio = param.sampling_ratio
        grid_h = ratio if ratio > 0 else ceil_int(bin_h)
        grid_w = ratio if ratio > 0 else ceil_int(bin_w)
        what = f"region {roi.tolist()} of {grid_h} x {grid_w} samples a bin"
        longest = max(grid_h * rows, grid_w * columns)
        call.require(grid_h > 0 and grid_w > 0 and longest <= LONGEST, what)
        call.work(grid_h * grid_w * rows * columns * channels, what)
        ys = _spread(box[1], bin_h, rows, grid_h)
        xs = _spread(box[0], bin_w, columns, grid_w)
        out[:] = _mx_align(features[image], ys, xs, channels, bool(param.position_sensitive))
    return [result]


def _spread(start: np.float32, size: np.float32, bins: int, grid: int) -> np.ndarray:
    """Sample places (bins, grid), each computed by itself in f32."""
    whole = start + np.arange(bins).astype(np.float32) * size
    part = (np.arange(grid).astype(np.float32) + f32(0.5)) * size / f32(grid)
    return whole[:, None] + part


@kernel
def _mx_align(
    feature: np.ndarray, ys: np.ndarray, xs: np.ndarray, channels: int, by_position: bool
) -> np.ndarray:
    zero, one = np.float32(0), np.float32(1)
    height, width = feature.shape[1], feature.shape[2]
    result = np.zeros((channels, len(ys), len(xs)), np.float32)
    for c in range(channels):
        for p in range(len(ys)):
            for q in range(len(xs)):
                source = (c * len(ys) + p) * len(xs) + q if by_position else c
                total = zero
                for i in range(ys.shape[1]):
                    for j in range(xs.shape[1]):
                        y, x = ys[p, i], xs[q, j]
                        if (
                            y < np.float32(-1)
                            or y > np.float32(height)
                            or x < np.float32(-1)
                            or x > np.float32(width)
                        ):
                            # Outside the image the first pixel counts with weight zero.
                            total += zero * feature[source, 0, 0]
                            continue
                        y, x = max(y, zero), max(x, zero)
                        y0, x0 = int(y), int(x)
                        y1, x1 = y0 + 1, x0 + 1
                        if y0 >= height - 1:
                            y0 = y1 = height - 1
                            y = np.float32(y0)
                        if x0 >= width - 1:
                            x0 = x1 = width - 1
                            x = np.float32(x0)
                        ly, lx = y - np.float32(y0), x - np.float32(x0)
                        hy, hx = one - ly, one - lx
                        value = hy * hx * feature[source, y0, x0]
                        value += hy * lx * feature[source, y0, x1]
                        value += ly * hx * feature[source, y1, x0]
                        value += ly * lx * feature[source, y1, x1]
                        total += value
                result[c, p, q] = total / np.float32(ys.shape[1] * xs.shape[1])
    return result


@layer(
    CpuOp.ROI_POOLING,
    "Caffe ROIPooling; regions are 4-D (r, 5, 1, 1): image, x1, y1, x2, y2; an empty bin gives "
    "the lowest float",
    "features:f32 rois:f32",
    "pooled:f32",
)
def roi_pooling(call: Call[RoiPoolingParam]) -> list[Output]:
    param, features = call.param, call.inputs[0]
    call.rank(0, 4)
    call.rank(1, 4)
    rois = call.inputs[1].reshape(len(call.inputs[1]), math.prod(call.inputs[1].shape[1:]))
    call.require(rois.shape[1] >= 5, f"regions {call.inputs[1].shape}, needs 5 numbers each")
    images = _image_numbers(call, rois[:, 0], features.shape[0])
    rows, columns = param.pooled_height, param.pooled_width
    result = np.zeros(call.room(0, (len(rois), features.shape[1], rows, columns)), np.float32)
    scaled = rois[:, 1:5] * f32(param.spatial_scale)
    call.require(np.isfinite(scaled).all(), "a region's coordinate is not finite")
    corners = np.trunc(scaled + np.copysign(0.5, scaled).astype(np.float64)).astype(np.int64)
    for out, (x1, y1, x2, y2), image in zip(result, corners, images, strict=True):
        spans_y = _bins(int(y1), max(int(y2 - y1) + 1, 1), rows, features.shape[2])
        spans_x = _bins(int(x1), max(int(x2 - x1) + 1, 1), columns, features.shape[3])
        _maxima(features[image], spans_y, spans_x, out)
    return [result]


def _bins(start: int, size: int, bins: int, limit: int) -> np.ndarray:
    """First and end pixel of each bin (bins, 2), clipped to the image."""
    step = f32(size) / f32(bins)
    at = np.arange(bins + 1).astype(np.float32) * step
    first = np.clip(np.floor(at[:-1]).astype(np.int64) + start, 0, limit)
    end = np.clip(np.ceil(at[1:]).astype(np.int64) + start, 0, limit)
    return np.stack([first, end], -1)


@kernel
def _maxima(feature: np.ndarray, rows: np.ndarray, columns: np.ndarray, out: np.ndarray) -> None:
    for c in range(out.shape[0]):
        for p in range(out.shape[1]):
            for q in range(out.shape[2]):
                best = LOWEST
                for y in range(rows[p, 0], rows[p, 1]):
                    for x in range(columns[q, 0], columns[q, 1]):
                        if feature[c, y, x] > best:
                            best = feature[c, y, x]
                out[c, p, q] = best


@layer(
    CpuOp.DEFORM_PSROI_POOLING,
    "MXNet DeformablePSROIPooling; regions (image, x1, y1, x2, y2); offsets unless no_trans",
    "features:f32 rois:f32 offsets:f32?",
    "pooled:f32",
)
def deform_psroi_pooling(call: Call[DeformPsroiPoolingParam]) -> list[Output]:
    param, features, rois = call.param, call.inputs[0], call.inputs[1]
    call.rank(0, 4)
    rois = rois.reshape(-1)[: rois.size // 5 * 5].reshape(-1, 5)
    if call.output_shapes is not None:
        # The maker's layer makes as many regions as the declared output has.
        wanted = call.output_shapes[0][0] if call.output_shapes[0] else 0
        call.require(wanted <= len(rois), f"{wanted} outputs declared for {len(rois)} regions")
        rois = rois[:wanted]
    images = _image_numbers(call, rois[:, 0], features.shape[0])
    size, part, group = param.pooled_size, param.part_size, param.group_size
    call.require(
        min(size, part, group, param.sample_per_part, param.output_dim) >= 1, "a size is below 1"
    )
    call.require(
        param.output_dim * group * group <= features.shape[1],
        f"{param.output_dim} outputs of {group} x {group} groups from {features.shape[1]} channels",
    )
    if param.no_trans:
        part = 1
        offsets = np.zeros((len(rois), 2, 1, 1), np.float32)
    else:
        call.require(len(call.inputs) == 3, "offsets are missing")
        call.rank(2, 4)
        offsets = call.inputs[2]
    classes = offsets.shape[1] // 2
    call.require(
        len(offsets) >= len(rois) and offsets.shape[2:] == (part, part) and classes >= 1,
        f"offsets {offsets.shape} for {len(rois)} regions of {part} parts",
    )
    call.require(
        param.output_dim % classes == 0, f"{param.output_dim} outputs of {classes} classes"
    )
    result = np.zeros(call.room(0, (len(rois), param.output_dim, size, size)), np.float32)
    call.require(np.isfinite(rois).all(), "a region's coordinate is not finite")
    call.work(result.size * param.sample_per_part**2, f"{param.sample_per_part} samples a part")
    for out, roi, image, offset in zip(result, rois, images, offsets, strict=False):
        _psroi(
            features[image],
            roi[1:].astype(np.float64),
            offset.astype(np.float32),
            f32(param.spatial_scale),
            f32(param.trans_std),
            param.sample_per_part,
            group,
            part,
            param.output_dim // classes,
            out,
        )
    return [call.declared(0, result)]


@kernel
def _psroi(
    feature: np.ndarray,
    roi: np.ndarray,
    offset: np.ndarray,
    scale: np.float32,
    deviation: np.float32,
    samples: int,
    group: int,
    part: int,
    per_class: int,
    out: np.ndarray,
) -> None:
    zero, one = np.float32(0), np.float32(1)
    size = out.shape[1]
    height, width = feature.shape[1], feature.shape[2]
    # Corners are rounded to pixels, scaled in f32, moved by half a pixel in double.
    corner = np.zeros(4, np.float32)
    for i in range(4):
        rounded = np.float32(np.trunc(roi[i] + np.copysign(0.5, roi[i])) + (1.0 if i > 1 else 0.0))
        corner[i] = np.float32(np.float64(rounded * scale) - 0.5)
    roi_w = max(corner[2] - corner[0], np.float32(0.1))
    roi_h = max(corner[3] - corner[1], np.float32(0.1))
    bin_h, bin_w = roi_h / np.float32(size), roi_w / np.float32(size)
    step_h, step_w = bin_h / np.float32(samples), bin_w / np.float32(samples)
    for c in range(out.shape[0]):
        for ph in range(size):
            for pw in range(size):
                part_h = int(np.float32(ph) / np.float32(size) * np.float32(part))
                part_w = int(np.float32(pw) / np.float32(size) * np.float32(part))
                kind = c // per_class
                left = np.float32(pw) * bin_w + corner[0]
                left += offset[2 * kind, part_h, part_w] * deviation * roi_w
                top = np.float32(ph) * bin_h + corner[1]
                top += offset[2 * kind + 1, part_h, part_w] * deviation * roi_h
                gw = min(int(np.float32(pw) * np.float32(group) / np.float32(size)), group - 1)
                gh = min(int(np.float32(ph) * np.float32(group) / np.float32(size)), group - 1)
                plane = feature[(c * group + gh) * group + gw]
                total = zero
                count = 0
                for i in range(samples):
                    for j in range(samples):
                        x = left + np.float32(j) * step_w
                        y = top + np.float32(i) * step_h
                        if x < -0.5 or x > width - 0.5 or y < -0.5 or y > height - 0.5:
                            continue
                        x = min(max(x, zero), np.float32(width - 1))
                        y = min(max(y, zero), np.float32(height - 1))
                        x0, x1 = int(np.floor(x)), int(np.ceil(x))
                        y0, y1 = int(np.floor(y)), int(np.ceil(y))
                        dx, dy = x - np.float32(x0), y - np.float32(y0)
                        total += (
                            (one - dx) * (one - dy) * plane[y0, x0]
                            + (one - dx) * dy * plane[y1, x0]
                            + dx * (one - dy) * plane[y0, x1]
                            + dx * dy * plane[y1, x1]
                        )
                        count += 1
                out[c, ph, pw] = zero if count == 0 else total / np.float32(count)


def _image_numbers(call: Call[Any], numbers: np.ndarray, images: int) -> np.ndarray:
    call.require(np.isfinite(numbers).all(), "a region's image number is not finite")
    whole = np.trunc(numbers).astype(np.int64)
    call.in_range(whole, images, "region's image number")
    return whole
