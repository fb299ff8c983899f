"""Gathering of deformable convolutions' inputs (the convolution itself runs on the TPU)."""

from __future__ import annotations

import math

import numpy as np

from nntc.bmodel.cpu_ops import CpuOp, DeformGatherParam, DeformMode, PaddleDeformConvParam
from nntc.runtime.cpu.arith import f32
from nntc.runtime.cpu.registry import Call, Output, Padded, Shape, layer


@layer(
    CpuOp.DEFORM_GATHER,
    "input values at the deformed places of every kernel point, (n, c, kh * kw, oh, ow) in the "
    "declared shape; times the mask if modulated; the caffe2 mode clamps at the border",
    "x:f32 offsets:f32 mask:f32?",
    "gathered:f32",
)
def deform_gather(call: Call[DeformGatherParam]) -> list[Output]:
    param, x, offsets = call.param, call.inputs[0], call.inputs[1]
    call.rank(0, 4)
    call.rank(1, 4)
    call.require(
        min(param.kh, param.kw, param.stride_h, param.stride_w, param.deform_groups) >= 1,
        "kernel, stride or groups below 1",
    )
    oh = x.shape[2] - (param.dilation_h * (param.kh - 1) + 1) + param.pad_t + param.pad_b
    ow = x.shape[3] - (param.dilation_w * (param.kw - 1) + 1) + param.pad_l + param.pad_r
    size = (oh // param.stride_h + 1, ow // param.stride_w + 1)
    taps = param.kh * param.kw
    groups = param.deform_groups
    call.require(
        offsets.shape == (x.shape[0], groups * taps * 2, *size) and x.shape[1] % groups == 0,
        f"offsets {offsets.shape} for input {x.shape}, {groups} groups of {taps} points, {size}",
    )
    call.room(0, (*x.shape[:2], taps, *size))
    rows, columns = _places(
        offsets.reshape(x.shape[0], groups, taps, 2, *size),
        (param.kh, param.kw),
        (param.stride_h, param.stride_w),
        (param.pad_t, param.pad_l),
        (param.dilation_h, param.dilation_w),
    )
    caffe2 = param.mode == DeformMode.CAFFE2
    result = _bilinear(x, rows, columns, groups, caffe2)
    if param.modulated:
        call.require(len(call.inputs) == 3, "the mask is missing")
        mask = call.inputs[2]
        call.require(
            mask.shape == (x.shape[0], groups * taps, *size), f"mask {mask.shape} for {size}"
        )
        result *= _per_channel(mask.reshape(x.shape[0], groups, taps, *size), x.shape[1])
    return [call.declared(0, result)]


@layer(
    CpuOp.PADDLE_DEFORM_CONV,
    "as DEFORM_GATHER for Paddle (mask needed): per im2col_step images (c * kh * kw, step, oh, "
    "ow), at distances that suit step 1 and one group; oh and ow come from the declared output",
    "x:f32 offsets:f32 mask:f32",
    "gathered:f32",
)
def paddle_deform_conv(call: Call[PaddleDeformConvParam]) -> list[Output]:
    param, (x, offsets, mask) = call.param, call.inputs
    call.rank(0, 4)
    step, taps, groups = param.im2col_step, param.kh * param.kw, param.deform_groups
    call.require(min(param.kh, param.kw, step, groups, *param.stride) >= 1, "a size is below 1")
    declared: Shape = tuple(call.output_shapes[0]) if call.output_shapes else ()
    if len(declared) != 4:
        raise call.error(f"a declared output of 4 dimensions is needed, not {declared}")
    images, channels = x.shape[:2]
    size = declared[2:]
    call.require(
        offsets.shape == (images, groups * taps * 2, *size)
        and mask.shape == (images, groups * taps, *size)
        and channels % groups == 0,
        f"offsets {offsets.shape} and mask {mask.shape} for input {x.shape} and output {declared}",
    )
    rows, columns = _places(
        offsets.reshape(images, groups, taps, 2, *size),
        (param.kh, param.kw),
        (param.stride[0], param.stride[1]),
        (param.pad[0], param.pad[1]),
        (param.dilation[0], param.dilation[1]),
    )
    found = _bilinear(x, rows, columns, groups, False)
    found *= _per_channel(mask.reshape(images, groups, taps, *size), channels)
    distance = step * declared[1] * step * math.prod(size)
    blocks = found[: images // step * step].reshape(images // step, step, channels * taps, *size)
    blocks = blocks.swapaxes(1, 2).reshape(len(blocks), found[:1].size * step)
    needed = (len(blocks) - 1) * distance + blocks.shape[1] if len(blocks) else 0
    call.room(0, (needed,))
    flat = np.zeros(needed, np.float32)
    for i, block in enumerate(blocks):
        flat[i * distance : i * distance + block.size] = block
    if needed == math.prod(declared):
        return [flat.reshape(declared)]
    call.require(needed >= math.prod(declared) or distance == 0, "parts of the output unwritten")
    return [Padded(flat, declared)]


def _places(
    offsets: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns (n, g, taps, oh, ow) in the input, f32, from (n, g, taps, 2, oh, ow)."""
    taps = np.arange(kernel[0] * kernel[1])
    places: list[np.ndarray] = []
    for axis, tap in enumerate((taps // kernel[1], taps % kernel[1])):
        at = np.arange(offsets.shape[4 + axis]) * stride[axis] - pad[axis]
        fixed = tap[:, None, None] * dilation[axis] + (at[:, None] if axis == 0 else at)
        places.append(fixed.astype(np.float32) + offsets[:, :, :, axis])
    return places[0], places[1]


def _per_channel(values: np.ndarray, channels: int) -> np.ndarray:
    """(n, g, …) repeated to (n, c, …): each group serves consecutive channels."""
    return np.repeat(values, channels // values.shape[1], axis=1)


def _bilinear(
    x: np.ndarray, rows: np.ndarray, columns: np.ndarray, groups: int, clamp: bool
) -> np.ndarray:
    """Values (n, c, taps, oh, ow); zero outside, and from the last row or column on if *clamp*."""
    n, c, h, w = x.shape
    least = f32(0) if clamp else np.nextafter(f32(-1), f32(0))
    inside = (rows >= least) & (rows < h) & (columns >= least) & (columns < w)
    y, z = np.where(inside, rows, f32(0)), np.where(inside, columns, f32(0))
    y0, x0 = np.floor(y).astype(np.int64), np.floor(z).astype(np.int64)
    y1, x1 = y0 + 1, x0 + 1
    if clamp:
        y1, x1 = np.minimum(y1, h - 1), np.minimum(x1, w - 1)
    ly, lx = y - y0.astype(np.float32), z - x0.astype(np.float32)
    hy, hx = f32(1) - ly, f32(1) - lx
    result = np.zeros((n, c, *rows.shape[2:]), np.float32)
    image = np.arange(n)[:, None, None, None, None]
    channel = np.arange(c).reshape(1, c, 1, 1, 1)
    for row, column, weight in (
        (y0, x0, hy * hx),
        (y0, x1, hy * lx),
        (y1, x0, ly * hx),
        (y1, x1, ly * lx),
    ):
        known = (row >= 0) & (row < h) & (column >= 0) & (column < w)
        at = [_per_channel(np.clip(p, 0, m - 1), c) for p, m in ((row, h), (column, w))]
        value = np.where(_per_channel(known, c), x[image, channel, at[0], at[1]], f32(0))
        result += _per_channel(weight, c) * value
    return np.where(_per_channel(inside, c), result, f32(0))
