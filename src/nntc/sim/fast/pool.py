"""Depthwise convolution, average and maximum pooling, channel by channel.

A channel's padded planes fit the first-level cache. Depthwise uses the single-row tile (fp32, and
int8 as fp32: such short sums are exact); maxima run over whole rows, int8 on all four images of a
word at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nntc.isa.chip import LANES, Prec
from nntc.isa.footprint import footprint
from nntc.isa.forms import Instruction
from nntc.isa.layout import Shape4, aligned_strides, ceil_div, slots
from nntc.isa.regions import may_overlap
from nntc.sim.fast.context import LANE_WORDS, Context, Step, split
from nntc.sim.fast.conv import BIAS, result_bounds, window_key, words_aligned
from nntc.sim.fast.fp import flush, greater
from nntc.sim.fast.native import bare, helper, keep, kernel, set_all
from nntc.sim.fast.planes import Planes, fill_plane, pick, planes_of, write_span
from nntc.sim.fast.tile import LINE, line2

_F = np.float32
_I = np.int32
LOWEST = np.finfo(np.float32).min


@kernel
def depthwise_f32(
    first, last, words, in_lane, in_base, in_n, in_c, height, width, insert_y, insert_x, up, left,
    stride_y, stride_x, phase_y, phase_x, rows, pitch, plane, taps, counts, starts,
    weights, weight_base, weight_lane, weight_step, channels, out_lane, out_base, out_n, out_c,
    out_h, out_w, bias_base, bias_lane,
):  # fmt: skip
    """Sums of even and of odd kernel positions; the even one starts with its first product.

    A start of -0 makes the first sum the product itself. *taps* holds the offsets of the even
    positions, then of the odd ones; its second row the weight numbers.
    """
    phases = phase_y.size
    positions = (out_h - 1) * pitch + out_w
    planes_owner = np.empty(phases * plane + LINE, np.float32)
    results_owner = np.empty(positions + LINE, np.float32)
    words, planes, results = bare(words), bare(planes_owner), bare(results_owner)
    bias = np.empty(1, np.float32)
    bias[0] = _F(-0.0)
    for item in range(first, last):
        n, channel = item // channels, item % channels
        c = in_lane + channel
        at = (c % LANES) * LANE_WORDS + in_base + n * in_n + (c // LANES) * in_c
        for p in range(phases):
            fill_plane(
                words, at, width, 1, height, width, insert_y, insert_x, up, left,
                stride_y, stride_x, phase_y[p], phase_x[p],
                planes[p * plane : p * plane + plane], rows, pitch, _F(0), _F(0),
            )  # fmt: skip
        c = weight_lane + channel
        a = weights.ctypes.data
        if weight_base >= 0:
            a += 4 * ((c % LANES) * LANE_WORDS + weight_base + (c // LANES) * weight_step)
        if bias_base >= 0:
            c = bias_lane + channel
            bias[0] = words[(c % LANES) * LANE_WORDS + bias_base + c // LANES]
        for start in range(0, positions, LINE):
            line2(
                a, 0, taps[1].ctypes.data, planes.ctypes.data + 4 * start, taps.ctypes.data,
                counts.ctypes.data, starts.ctypes.data, bias.ctypes.data,
                results.ctypes.data + 4 * start, 0,
            )  # fmt: skip
        c = out_lane + channel
        base = (c % LANES) * LANE_WORDS + out_base + n * out_n + (c // LANES) * out_c
        write_span(results, words, base, 0, positions, pitch, out_w, False)
    keep(planes_owner)
    keep(results_owner)


@kernel
def depthwise_i8(
    first, last, ints, data, halfs, target, signed, in_lane, in_base, in_n, in_c, height, width,
    insert_y, insert_x, up, left, stride_y, stride_x, phase_y, phase_x, rows, pitch, plane, taps,
    counts, starts, weight, weight_base, weight_lane, weight_signed, channels,
    out_lane, out_base, out_n, out_c, out_h, out_w, bias_base, bias_lane, bias_signed,
    shift, low, high,
):  # fmt: skip
    """Exact sums in fp32, then bias, shift and clip; weights are bytes or the constant *weight*."""
    phases = phase_y.size
    planes_owner = np.empty(phases * plane + LINE, np.float32)
    image_owner = np.empty(height * width, np.float32)
    ints, planes, image = bare(ints), bare(planes_owner), bare(image_owner)
    steps = taps.shape[1]
    kernel_row = np.empty(steps, np.float32)
    set_all(kernel_row, _F(weight))
    positions = (out_h - 1) * pitch + out_w
    sums = np.empty(positions + LINE, np.float32)
    results = np.empty(positions, np.int32)
    no_bias = np.empty(1, np.float32)
    no_bias[0] = _F(0)
    half = np.int64(1) << (shift - 1) if shift > 0 else np.int64(0)
    lane_elements = LANE_WORDS * 4 // target.itemsize
    for item in range(first, last):
        n, channel = item // channels, item % channels
        c = in_lane + channel
        at = (c % LANES) * LANE_WORDS + in_base + (n // 4) * in_n + (c // LANES) * in_c
        pick(ints, at, 1, height * width, 8 * (n % 4), signed, image)
        for p in range(phases):
            fill_plane(
                image, 0, width, 1, height, width, insert_y, insert_x, up, left,
                stride_y, stride_x, phase_y[p], phase_x[p],
                planes[p * plane : p * plane + plane], rows, pitch, _F(0), _F(0),
            )  # fmt: skip
        if weight_base >= 0:
            c = weight_lane + channel
            place = (c % LANES) * LANE_WORDS * 4 + weight_base + (c // LANES) * steps
            for k in range(steps):
                v = _I(data[place + taps[1, k]])
                kernel_row[k] = _F(v) if weight_signed else _F(_I(v & _I(255)))
        for start in range(0, positions, LINE):
            line2(
                kernel_row.ctypes.data, 0, taps[2].ctypes.data,
                planes.ctypes.data + 4 * start, taps.ctypes.data, counts.ctypes.data,
                starts.ctypes.data, no_bias.ctypes.data, sums.ctypes.data + 4 * start, 0,
            )  # fmt: skip
        bias = half
        if bias_base >= 0:
            c = bias_lane + channel
            v = halfs[(c % LANES) * LANE_WORDS * 2 + bias_base + c // LANES]
            bias += np.int64(v) if bias_signed else np.int64(v) & 0xFFFF
        for x in range(positions):
            results[x] = _I(min(max((np.int64(sums[x]) + bias) >> shift, low), high))
        c = out_lane + channel
        base = (c % LANES) * lane_elements + out_base
        base += (n // 4) * out_n + (c // LANES) * out_c + n % 4
        for y in range(out_h):
            place = base + 4 * y * out_w
            for x in range(out_w):
                target[place + 4 * x] = results[y * pitch + x]
    keep(planes_owner)
    keep(image_owner)


@kernel
def maxpool_f32(
    first, last, words, in_lane, in_base, in_n, in_c, height, width, insert_y, insert_x, up, left,
    stride_y, stride_x, phase_y, phase_x, rows, pitch, plane, taps, channels,
    out_lane, out_base, out_n, out_c, out_h, out_w,
):  # fmt: skip
    """Kernel positions in raster order; a later value must be greater to win."""
    phases = phase_y.size
    positions = (out_h - 1) * pitch + out_w
    planes_owner, best_owner = np.empty(phases * plane, np.float32), np.empty(positions, np.float32)
    words, planes, best = bare(words), bare(planes_owner), bare(best_owner)
    for item in range(first, last):
        n, channel = item // channels, item % channels
        c = in_lane + channel
        at = (c % LANES) * LANE_WORDS + in_base + n * in_n + (c // LANES) * in_c
        for p in range(phases):
            fill_plane(
                words, at, width, 1, height, width, insert_y, insert_x, up, left,
                stride_y, stride_x, phase_y[p], phase_x[p],
                planes[p * plane : p * plane + plane], rows, pitch, _F(LOWEST), _F(0),
            )  # fmt: skip
        set_all(best, _F(LOWEST))
        for k in range(taps.size):
            candidates = planes[taps[k] : taps[k] + positions]
            for x in range(positions):
                v = candidates[x]
                best[x] = v if greater(v, best[x]) else best[x]
        for x in range(positions):
            best[x] = flush(best[x])
        c = out_lane + channel
        base = (c % LANES) * LANE_WORDS + out_base + n * out_n + (c // LANES) * out_c
        write_span(best, words, base, 0, positions, pitch, out_w, False)
    keep(planes_owner)
    keep(best_owner)


@helper
def raise_bytes(best, candidates):
    for x in range(best.size):
        best[x] = max(best[x], candidates[x])


@kernel
def maxpool_i8(
    first, last, ints, signed, relu, in_lane, in_base, in_n, in_c, height, width,
    insert_y, insert_x, up, left,
    stride_y, stride_x, phase_y, phase_x, rows, pitch, plane, taps, channels, images,
    out_lane, out_base, out_n, out_c, out_h, out_w,
):  # fmt: skip
    """Four images at once: the bytes of a word are independent; only existing images are stored."""
    phases = phase_y.size
    positions = (out_h - 1) * pitch + out_w
    planes_owner, best_owner = np.empty(phases * plane, np.int32), np.empty(positions, np.int32)
    ints, planes, best = bare(ints), bare(planes_owner), bare(best_owner)
    lowest = _I(-0x7F7F7F80) if signed else _I(0)
    for item in range(first, last):
        group, channel = item // channels, item % channels
        c = in_lane + channel
        at = (c % LANES) * LANE_WORDS + in_base + group * in_n + (c // LANES) * in_c
        for p in range(phases):
            fill_plane(
                ints, at, width, 1, height, width, insert_y, insert_x, up, left,
                stride_y, stride_x, phase_y[p], phase_x[p],
                planes[p * plane : p * plane + plane], rows, pitch, lowest, _I(0),
            )  # fmt: skip
        set_all(best, lowest)
        for k in range(taps.size):
            candidates = planes[taps[k] : taps[k] + positions]
            if signed:
                raise_bytes(best.view(np.int8), candidates.view(np.int8))
            else:
                raise_bytes(best.view(np.uint8), candidates.view(np.uint8))
        if relu:
            # The top bit counts as a sign even for unsigned data.
            signed_bytes = best.view(np.int8)
            for x in range(4 * positions):
                signed_bytes[x] = max(signed_bytes[x], np.int8(0))
        c = out_lane + channel
        base = (c % LANES) * LANE_WORDS + out_base + group * out_n + (c // LANES) * out_c
        count = min(images - 4 * group, 4)
        mask = _I(-1) if count == 4 else _I((1 << (8 * count)) - 1)
        for y in range(out_h):
            row = ints[base + y * out_w : base + y * out_w + out_w]
            for x in range(out_w):
                row[x] = _I(row[x] & ~mask) | _I(best[y * pitch + x] & mask)
    keep(planes_owner)
    keep(best_owner)


def _geometry(
    i: Instruction, context: Context, dilate: bool, groups: int
) -> tuple[Planes, tuple[Any, ...], tuple[int, int, int, int]]:
    """(planes, kernel arguments of the input, kernel arguments of the result)."""
    layout: Planes = context.table(("planes", dilate, *window_key(i)), lambda: planes_of(i, dilate))
    lane, offset = split(i.opd0_addr)
    strides = aligned_strides(Shape4(groups, i.res0_c, i.opd0_h, i.opd0_w), lane)
    source = (
        lane, offset // 4, strides.n, strides.c, i.opd0_h, i.opd0_w,
        i.opd0_y_ins0 + 1, i.opd0_x_ins0 + 1, i.opd0_up_pad, i.opd0_lf_pad,
        i.res_op_y_str, i.res_op_x_str, layout.phase_y, layout.phase_x,
        layout.rows, layout.pitch, layout.plane,
    )  # fmt: skip
    out_lane, out_offset = split(i.res0_addr)
    out = aligned_strides(Shape4(groups, i.res0_c, i.res0_h, i.res0_w), out_lane)
    return layout, source, (out_lane, out_offset, out.n, out.c)


def _conflict(i: Instruction, groups: int, size: int = 4) -> bool:
    """Whether results overwrite what another channel or image still reads.

    A result in the input's place is fine if every channel keeps to its own bytes: each is read
    whole before its result is written.
    """
    found = footprint(i)
    source, result = found.reads[0], found.writes[0]
    if any(may_overlap(result, r) for r in found.reads[1:]):
        return True
    if not may_overlap(result, source):
        return False
    lane, _ = split(i.opd0_addr)
    before = aligned_strides(Shape4(groups, i.res0_c, i.opd0_h, i.opd0_w), lane)
    after = aligned_strides(Shape4(groups, i.res0_c, i.res0_h, i.res0_w), lane)
    return (
        i.opd0_addr != i.res0_addr
        or size == 2
        or (groups > 1 and before.n != after.n)
        or (slots(i.res0_c, lane) > 1 and before.c != after.c)
    )


def _ordered_taps(layout: Planes) -> np.ndarray:
    """i32[3, steps]: input offset, weight number and rank of every step; even positions first."""
    order = np.arange(layout.taps.size)
    order = np.concatenate([order[::2], order[1::2]])
    return np.stack([layout.taps[order], order, np.arange(order.size)]).astype(np.int32)


def even_odd(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(steps, start) of the sum of even and of that of odd positions.

    The even sum starts with its first product (-0 + p = p), the odd one with +0; a single
    position has no odd sum at all.
    """
    counts = np.array([ceil_div(steps, 2), steps // 2], np.int64)
    return counts, np.array([-0.0, 0.0 if steps > 1 else -0.0], np.float32)


def plan_depthwise_f32(i: Instruction, context: Context) -> Step:
    if not words_aligned(i) or _conflict(i, i.res0_n):
        return context.reference(i)
    layout, source, (out_lane, out_offset, out_n, out_c) = _geometry(i, context, True, i.res0_n)
    steps = layout.taps.size
    taps = context.table(("taps", *window_key(i)), lambda: _ordered_taps(layout))
    weight_lane, weight_offset = split(i.opd1_addr)
    weights, weight_base = context.words, weight_offset // 4
    if i.opt_opd1_const:
        constant = np.array([i.opd1_addr & 0xFFFFFFFF], np.uint32).view(np.float32)
        weights, weight_base = np.repeat(constant, steps), -1
    bias_lane, bias_offset = split(i.opd2_addr) if i.tsk_opd_num == BIAS else (0, -4)
    items = i.res0_n * i.res0_c
    return context.parallel(
        depthwise_f32, context.ranges(items, items * steps * i.res0_h * layout.pitch),
        context.words, *source, taps, *even_odd(steps),
        weights, weight_base, weight_lane, steps, i.res0_c, out_lane, out_offset // 4,
        out_n, out_c, i.res0_h, i.res0_w, bias_offset // 4, bias_lane,
    )  # fmt: skip


def average_weight(k: int) -> int:
    """The weight of an int8 average over k values, as the C-model derives it.

    round(2^s / k) for the largest s that keeps it below 256, halved while even.
    """
    shift = 0
    while (2 * (2 << shift) + k) // (2 * k) < 256 and shift < 31:
        shift += 1
    weight = (2 * (1 << shift) + k) // (2 * k)
    while shift and not weight & 1:
        weight, shift = weight >> 1, shift - 1
    return weight


def plan_depthwise_i8(i: Instruction, context: Context) -> Step:
    size = 2 if i.opt_res0_prec == Prec.INT16 else 1
    groups = ceil_div(i.res0_n, 4)
    if i.opd0_addr & 3 or i.res0_addr % size or _conflict(i, groups, size):
        return context.reference(i)
    layout, source, (out_lane, out_offset, out_n, out_c) = _geometry(i, context, True, groups)
    steps = layout.taps.size
    taps = context.table(("taps", *window_key(i)), lambda: _ordered_taps(layout))
    weight_lane, weight_base = split(i.opd1_addr)
    weight = 0
    bias_lane, bias_offset = split(i.opd2_addr) if i.tsk_opd_num == BIAS else (0, -2)
    if i.opt_opd1_const:
        weight_base, bias_offset = -1, -2
        weight = average_weight(steps)
        if i.opt_opd1_sign and weight > 127:
            weight -= 256
    low, high = result_bounds(i, size, weights_count=not i.opt_opd1_const)
    items = i.res0_n * i.res0_c
    return context.parallel(
        depthwise_i8, context.ranges(items, 2 * items * steps * i.res0_h * layout.pitch),
        context.ints, context.bytes.view(np.int8), context.bytes.view(np.int16),
        context.bytes.view(np.int8 if size == 1 else np.int16), bool(i.opt_opd0_sign),
        *source, taps, *even_odd(steps), float(weight), weight_base, weight_lane,
        bool(i.opt_opd1_sign), i.res0_c,
        out_lane, out_offset // size, 4 * out_n, 4 * out_c, i.res0_h, i.res0_w,
        bias_offset // 2, bias_lane, bool(i.opt_opd2_sign), i.opt_right_shift, low, high,
    )  # fmt: skip


def plan_maxpool_f32(i: Instruction, context: Context) -> Step:
    if (i.opd0_addr | i.res0_addr) & 3 or _conflict(i, i.res0_n):
        return context.reference(i)
    layout, source, (out_lane, out_offset, out_n, out_c) = _geometry(i, context, True, i.res0_n)
    items = i.res0_n * i.res0_c
    return context.parallel(
        maxpool_f32, context.ranges(items, items * layout.taps.size * i.res0_h * layout.pitch),
        context.words, *source, layout.taps, i.res0_c, out_lane, out_offset // 4, out_n, out_c,
        i.res0_h, i.res0_w,
    )  # fmt: skip


def plan_maxpool_i8(i: Instruction, context: Context) -> Step:
    groups = ceil_div(i.res0_n, 4)
    if (i.opd0_addr | i.res0_addr) & 3 or _conflict(i, groups):
        return context.reference(i)
    layout, source, (out_lane, out_offset, out_n, out_c) = _geometry(i, context, True, groups)
    items = groups * i.res0_c
    return context.parallel(
        maxpool_i8, context.ranges(items, items * layout.taps.size * i.res0_h * layout.pitch),
        context.ints, bool(i.opt_opd0_sign), bool(i.opt_relu), *source, layout.taps, i.res0_c,
        i.res0_n, out_lane, out_offset // 4, out_n, out_c, i.res0_h, i.res0_w,
    )  # fmt: skip


PLANNERS: dict[str, Callable[[Instruction, Context], Step]] = {
    "depthwise.f32": plan_depthwise_f32,
    "depthwise.i8": plan_depthwise_i8,
    "maxpool.f32": plan_maxpool_f32,
    "maxpool.i8": plan_maxpool_i8,
}
