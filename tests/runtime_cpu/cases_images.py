"""Random cases of the layers that sample, resize and pool images."""

from __future__ import annotations

import numpy as np

from nntc.bmodel.cpu_ops import (
    AffineGridParam,
    AffineGridSamplerParam,
    CpuOp,
    CropAndResizeParam,
    DeformPsroiPoolingParam,
    GridSamplerParam,
    PytorchRoiAlignParam,
    ResizeInterpolationParam,
    ResizeMethod,
    RoiAlignParam,
    RoiPoolingParam,
)
from tests.runtime_cpu.case import Case, case_maker, dims, floats, ints


@case_maker(CpuOp.GRID_SAMPLER)
def grid_sampler(rng: np.random.Generator) -> Case:
    axes = int(rng.integers(2, 4))
    n, c = dims(rng, 2, 2, 3)
    image, out = dims(rng, axes, axes, 7), dims(rng, axes, axes, 5)
    grid = (rng.random((n, *out, axes)) * 3 - 1.5).astype(np.float32)
    if rng.random() < 0.3:
        grid = np.round(grid * 2) / np.float32(2)
    param = GridSamplerParam(
        int(rng.integers(0, 2)), int(rng.integers(0, 3)), bool(rng.random() < 0.5)
    )
    return Case(param, [floats(rng, n, c, *image), grid], [(n, c, *out)])


@case_maker(CpuOp.AFFINE_GRID)
def affine_grid(rng: np.random.Generator) -> Case:
    n, c, h, w = dims(rng, 4, 4, 9)
    param = AffineGridParam(bool(rng.random() < 0.5), n, h, w)
    return Case(param, [floats(rng, n, 2, 3), np.array([n, c, h, w], np.int32)], [(n, h, w, 2)])


@case_maker(CpuOp.AFFINE_GRID_SAMPLER)
def affine_grid_sampler(rng: np.random.Generator) -> Case:
    n, c, h, w = dims(rng, 4, 4, 6)
    image = floats(rng, n, c, *dims(rng, 2, 2, 7))
    flags = [bool(v) for v in rng.random(2) < 0.5]
    param = AffineGridSamplerParam(flags[0], n, h, w, int(rng.integers(0, 2)), 0, flags[1])
    size = np.array([n, c, h, w], np.int32)
    return Case(param, [floats(rng, n, 2, 3), size, image], [(n, c, h, w)])


@case_maker(CpuOp.RESIZE_INTERPOLATION)
def resize_interpolation(rng: np.random.Generator) -> Case:
    n, c, h, w = dims(rng, 4, 4, 7)
    oh, ow = dims(rng, 2, 2, 15)
    if rng.random() < 0.1:
        oh, ow = h, w
    flags = [int(v) for v in rng.integers(0, 2, 2)]
    ifmt, ofmt = (int(v) for v in rng.integers(0, 2, 2))
    method = int(rng.integers(0, 4))
    if method == ResizeMethod.BILINEAR and all(flags):
        flags = [0, 1]  # both together read beyond the image
    param = ResizeInterpolationParam(*flags, method, ifmt, ofmt, oh, ow)
    image = floats(rng, *((n, h, w, c) if ifmt else (n, c, h, w)))
    out = (n, oh, ow, c) if ofmt else (n, c, oh, ow)
    return Case(param, [image, np.array([oh, ow], np.int32)], [out])


@case_maker(CpuOp.CROP_AND_RESIZE)
def crop_and_resize(rng: np.random.Generator) -> Case:
    n, c, h, w = dims(rng, 4, 4, 8)
    count, rows, columns = dims(rng, 3, 3, 6)
    boxes = (rng.random((count, 4)) * 1.4 - 0.2).astype(np.float32)
    param = CropAndResizeParam(int(rng.integers(0, 2)), float(rng.random()), rows, columns)
    inputs = [floats(rng, n, c, h, w), boxes, ints(rng, 0, n, count)]
    return Case(param, inputs, [(count, c, rows, columns)])


def _regions(rng: np.random.Generator, count: int, images: int, size: float) -> np.ndarray:
    corner = rng.random((count, 2)) * size * 1.2 - size * 0.1
    far = corner + rng.random((count, 2)) * size
    numbers = rng.integers(0, images, (count, 1))
    return np.concatenate([numbers, corner, far], -1).astype(np.float32)


@case_maker(CpuOp.PYTORCH_ROI_ALIGN)
def pytorch_roi_align(rng: np.random.Generator) -> Case:
    n, c, h, w = dims(rng, 4, 4, 9)
    count, rows, columns = dims(rng, 3, 3, 5)
    param = PytorchRoiAlignParam(
        rows, columns, 0.5, int(rng.integers(-1, 3)), bool(rng.random() < 0.5)
    )
    rois = _regions(rng, count, n, 2 * max(h, w))
    return Case(param, [floats(rng, n, c, h, w), rois], [(count, c, rows, columns)])


@case_maker(CpuOp.ROIALIGN)
def roi_align(rng: np.random.Generator) -> Case:
    n, c, h, w = dims(rng, 4, 4, 9)
    count, rows, columns = dims(rng, 3, 3, 4)
    position = int(rng.random() < 0.4)
    channels = c * rows * columns if position else c
    param = RoiAlignParam(rows, columns, 0.5, int(rng.integers(-1, 3)), position)
    rois = _regions(rng, count, n, 2 * max(h, w))
    if rng.random() < 0.3:
        rois = rois[:, 1:].copy()
    return Case(param, [floats(rng, n, channels, h, w), rois], [(count, c, rows, columns)])


@case_maker(CpuOp.ROI_POOLING)
def roi_pooling(rng: np.random.Generator) -> Case:
    n, c, h, w = dims(rng, 4, 4, 9)
    count, rows, columns = dims(rng, 3, 3, 5)
    rois = _regions(rng, count, n, 2 * max(h, w)).reshape(count, 5, 1, 1)
    param = RoiPoolingParam(rows, columns, 0.5)
    return Case(param, [floats(rng, n, c, h, w), rois], [(count, c, rows, columns)])


@case_maker(CpuOp.DEFORM_PSROI_POOLING)
def deform_psroi_pooling(rng: np.random.Generator) -> Case:
    n, dim, h, w = dims(rng, 4, 4, 7)
    group, pooled, part, samples, count = dims(rng, 5, 5, 4)
    no_trans = bool(rng.random() < 0.4)
    classes = int(rng.choice([d for d in range(1, dim + 1) if dim % d == 0]))
    param = DeformPsroiPoolingParam(0.5, dim, group, pooled, part, samples, 0.1, no_trans)
    inputs = [
        floats(rng, n, dim * group * group, h, w),
        _regions(rng, count, n, 2 * max(h, w)),
    ]
    if not no_trans:
        inputs.append(floats(rng, count, 2 * classes, part, part))
    return Case(param, inputs, [(count, dim, pooled, pooled)])
