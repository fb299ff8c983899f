"""fp32 and int8 convolution on register tiles.

The input is used where it lies if neither padding, insertion nor stride is involved, else copied
once into padded planes; fp32 weights are used in their lanes. int8 works in fp32 too: products
of 8-bit integers and their sums are exact up to 2^24, so the sum is cut into pieces that stay
below and is collected in int32.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from nntc.isa.chip import LANES, Prec
from nntc.isa.footprint import footprint
from nntc.isa.forms import Instruction
from nntc.isa.layout import Shape4, Strides, aligned_strides, ceil_div, compact_strides
from nntc.isa.regions import may_overlap
from nntc.sim.fast.context import LANE_WORDS, Context, Step, lane_runs, sequence, split
from nntc.sim.fast.native import bare, keep, kernel, set_all
from nntc.sim.fast.planes import Planes, planes_of, spread_f32, spread_i8, write_span
from nntc.sim.fast.tile import COLUMNS, ROWS, tile1, tile4

BIAS = 3
USER = 3
_F = np.float32
_I = np.int32

SUPERBLOCK_BYTES = 384 * 1024
"""Input that is worked on before the next rows of it: stays in the second-level cache."""

EXACT = 1 << 24
"""Integers up to here are exact in fp32."""

LONGEST = 100_000
"""Products per int8 sum that an int32 surely holds."""


@kernel
def conv_f32(
    first, last, by_tile, words, weights, blocks, a_pitch, a_offset,
    planes, b_base, b_image, b_offset, counts, starts, images, positions, pitch, width,
    out_lane, out_base, out_n, out_c, bias_base, bias_lane, accumulate, superblock,
):  # fmt: skip
    """Four sums per output: steps of one class (step parity, channel parity) follow each other.

    Works on the tiles (by_tile) or channel blocks [first, last). Whole tiles of unpadded images
    go straight to the result, others through *room*.
    """
    tiles = (positions + COLUMNS - 1) // COLUMNS
    tile_first, tile_last = (first, last) if by_tile else (0, tiles)
    block_first, block_last = (0, blocks.shape[0]) if by_tile else (first, last)
    span = min(superblock, tile_last - tile_first) * COLUMNS
    owner = np.empty(ROWS * span, np.float32)
    words, room = bare(words), bare(owner)
    bias = np.empty(ROWS, np.float32)
    set_all(bias, _F(-0.0))
    a0, b0 = weights.ctypes.data, planes.ctypes.data
    a_table, b_table = a_offset.ctypes.data, b_offset.ctypes.data
    for n in range(images):
        for super_tile in range(tile_first, tile_last, superblock):
            super_last = min(super_tile + superblock, tile_last)
            for block in range(block_first, block_last):
                channel, rows = blocks[block, 0], blocks[block, 1]
                a = a0 + 4 * blocks[block, 2]
                if bias_base >= 0:
                    for r in range(rows):
                        c = bias_lane + channel + r
                        bias[r] = words[(c % LANES) * LANE_WORDS + bias_base + c // LANES]
                c = out_lane + channel
                base = (c % LANES) * LANE_WORDS + out_base + n * out_n + (c // LANES) * out_c
                at_once = 0
                if rows == ROWS and pitch == width and not accumulate and c % LANES + ROWS <= LANES:
                    at_once = min(positions // COLUMNS, super_last) - super_tile
                for t in range(super_tile, super_last):
                    b = b0 + 4 * (b_base + n * b_image + t * COLUMNS)
                    out, out_pitch = room.ctypes.data + 4 * (t - super_tile) * COLUMNS, span
                    if t - super_tile < at_once:
                        out = words.ctypes.data + 4 * (base + t * COLUMNS)
                        out_pitch = LANE_WORDS
                    tile4(
                        a, a_pitch, a_table, b, b_table, counts.ctypes.data, starts.ctypes.data,
                        bias.ctypes.data, out, out_pitch,
                    )  # fmt: skip
                position = (super_tile + at_once) * COLUMNS
                end = min(super_last * COLUMNS, positions)
                if position < end:
                    for r in range(rows):
                        c = out_lane + channel + r
                        base = (c % LANES) * LANE_WORDS + out_base
                        base += n * out_n + (c // LANES) * out_c
                        row = room[r * span + at_once * COLUMNS : (r + 1) * span]
                        write_span(row, words, base, position, end, pitch, width, accumulate)
    keep(owner)


@kernel
def conv_i8(
    first, last, by_tile, halfs, target, weights, blocks, a_pitch, a_offset,
    planes, b_base, b_image, b_offset, steps, chunk, images, positions, pitch, width,
    out_lane, out_base, out_n, out_c, bias_base, bias_lane, bias_signed,
    shift, low, high, superblock,
):  # fmt: skip
    """Sums of at most *chunk* products in fp32, collected in int32, then bias, shift, clip.

    *target* is local memory as i8 or i16; out_* count its elements, units of four images.
    """
    starts, no_bias = np.empty(1, np.float32), np.empty(ROWS, np.float32)
    set_all(starts, _F(0))
    set_all(no_bias, _F(0))
    count = np.empty(1, np.int64)
    tiles = (positions + COLUMNS - 1) // COLUMNS
    tile_first, tile_last = (first, last) if by_tile else (0, tiles)
    block_first, block_last = (0, blocks.shape[0]) if by_tile else (first, last)
    span = min(superblock, tile_last - tile_first) * COLUMNS
    owner, sums_owner = np.empty(ROWS * span, np.int32), np.empty(ROWS * COLUMNS, np.float32)
    room, sums, target = bare(owner), bare(sums_owner), bare(target)
    a0, b0 = weights.ctypes.data, planes.ctypes.data
    a_table, b_table = a_offset.ctypes.data, b_offset.ctypes.data
    half = np.int64(1) << (shift - 1) if shift > 0 else np.int64(0)
    lane_elements = LANE_WORDS * 4 // target.itemsize
    for n in range(images):
        for super_tile in range(tile_first, tile_last, superblock):
            super_last = min(super_tile + superblock, tile_last)
            for block in range(block_first, block_last):
                channel, rows = blocks[block, 0], blocks[block, 1]
                a = a0 + 4 * blocks[block, 2]
                for t in range(super_tile, super_last):
                    b = b0 + 4 * (b_base + n * b_image + t * COLUMNS)
                    for at in range(0, steps, chunk):
                        count[0] = min(chunk, steps - at)
                        tile1(
                            a, a_pitch, a_table + 4 * at, b, b_table + 4 * at, count.ctypes.data,
                            starts.ctypes.data, no_bias.ctypes.data, sums.ctypes.data, COLUMNS,
                        )  # fmt: skip
                        for r in range(ROWS):
                            place = r * span + (t - super_tile) * COLUMNS
                            line = room[place : place + COLUMNS]
                            some = sums[r * COLUMNS : r * COLUMNS + COLUMNS]
                            if at:
                                for x in range(COLUMNS):
                                    line[x] += _I(some[x])
                            else:
                                for x in range(COLUMNS):
                                    line[x] = _I(some[x])
                position = super_tile * COLUMNS
                total = min(super_last * COLUMNS, positions) - position
                for r in range(rows):
                    row = room[r * span : r * span + total]
                    bias = half
                    if bias_base >= 0:
                        c = bias_lane + channel + r
                        value = halfs[(c % LANES) * LANE_WORDS * 2 + bias_base + c // LANES]
                        bias += np.int64(value) if bias_signed else np.int64(value) & 0xFFFF
                    for x in range(total):
                        row[x] = _I(min(max((np.int64(row[x]) + bias) >> shift, low), high))
                    c = out_lane + channel + r
                    base = (c % LANES) * lane_elements + out_base
                    base += (n // 4) * out_n + (c // LANES) * out_c + n % 4
                    y = position // pitch
                    x0 = position - y * pitch
                    at = 0
                    while at < total:
                        start = base + 4 * (y * width + x0)
                        for x in range(min(width - x0, total - at)):
                            target[start + 4 * x] = row[at + x]
                        at += pitch - x0
                        x0 = 0
                        y += 1
    keep(owner)
    keep(sums_owner)


@kernel
def gather_weights_i8(first, last, source, signed, places, offsets, target):
    """Rows [first, last) of weights as floats, in the order of *offsets*."""
    source, target = bare(source), bare(target)
    steps = offsets.size
    for row in range(first, last):
        line = target[row * steps : row * steps + steps]
        place = places[row]
        for k in range(steps):
            v = source[place + offsets[k]]
            line[k] = _F(v) if signed else _F(_I(v) & _I(255))


class Input(NamedTuple):
    """Where the tiles find the input: an array, the offset of image 0, floats per image."""

    array: np.ndarray
    base: int
    image: int
    channel_offsets: np.ndarray
    taps: np.ndarray
    pitch: int
    prepare: Step | None


def input_strides(i: Instruction, lane: int, groups: int) -> Strides:
    if i.short_opd0_str == USER:
        return Strides(i.opd0_n_str, i.opd0_c_str, i.opd0_h_str, i.opd0_w_str)
    return aligned_strides(Shape4(groups, i.opd0_c, i.opd0_h, i.opd0_w), lane)


def channel_offsets(lane: int, channels: int, slot_step: int) -> np.ndarray:
    """Words from lane 0 to every channel."""
    c = lane + np.arange(channels, dtype=np.int64)
    return (c % LANES) * LANE_WORDS + (c // LANES) * slot_step


def words_aligned(i: Instruction) -> bool:
    """Whether every tensor of an fp32 window operation starts on a word."""
    used = i.opd0_addr | i.res0_addr
    if not i.opt_opd1_const:
        used |= i.opd1_addr
    if i.tsk_opd_num == BIAS:
        used |= i.opd2_addr
    return used % 4 == 0


def window_key(i: Instruction) -> tuple[int, ...]:
    return (
        i.res0_h, i.res0_w, i.opd1_h, i.opd1_w, i.res_op_y_str, i.res_op_x_str,
        i.opd1_y_ins0, i.opd1_x_ins0,
    )  # fmt: skip


def _input_f32(i: Instruction, context: Context, direct_allowed: bool) -> Input:
    lane, offset = split(i.opd0_addr)
    strides = input_strides(i, lane, i.res0_n)
    plain = (
        i.res_op_y_str == i.res_op_x_str == 1
        and not (i.opd0_up_pad or i.opd0_lf_pad or i.opd0_y_ins0 or i.opd0_x_ins0)
        and strides.w == 1
        and i.res0_h + (i.opd1_h - 1) * (i.opd1_y_ins0 + 1) <= i.opd0_h
        and i.res0_w + (i.opd1_w - 1) * (i.opd1_x_ins0 + 1) <= i.opd0_w
        and i.res0_w <= strides.h <= 2 * i.res0_w
    )
    if plain and direct_allowed:
        ky, kx = np.mgrid[: i.opd1_h, : i.opd1_w]
        taps = ky * (i.opd1_y_ins0 + 1) * strides.h + kx * (i.opd1_x_ins0 + 1)
        offsets = channel_offsets(lane, i.opd0_c, strides.c)
        return Input(context.words, offset // 4, strides.n, offsets, taps.ravel(), strides.h, None)
    layout: Planes = context.table(("planes", window_key(i)), lambda: planes_of(i))
    channel = layout.phases * layout.plane
    items = i.res0_n * i.opd0_c
    planes = context.scratch("planes", items * channel + COLUMNS)
    fill = context.parallel(
        spread_f32, context.ranges(items, 4 * items * channel),
        context.words, lane, offset // 4, *strides, i.opd0_h, i.opd0_w,
        i.opd0_y_ins0 + 1, i.opd0_x_ins0 + 1, i.opd0_up_pad, i.opd0_lf_pad,
        i.res_op_y_str, i.res_op_x_str, layout.phase_y, layout.phase_x,
        planes, i.opd0_c, layout.rows, layout.pitch, layout.plane,
    )  # fmt: skip
    offsets = np.arange(i.opd0_c, dtype=np.int64) * channel
    return Input(planes, 0, i.opd0_c * channel, offsets, layout.taps, layout.pitch, fill)


def weight_strides(i: Instruction) -> Strides:
    """(group, slot, row, column) strides in units of 2IC or 4IC."""
    if i.short_opd1_str == USER:
        return Strides(i.opd1_n_str, i.opd1_c_str, i.opd1_h_str, i.opd1_w_str)
    lane, _ = split(i.opd1_addr)
    return compact_strides(Shape4(1, i.res0_c, i.opd1_h, i.opd1_w), lane)


def _weight_offsets(i: Instruction, together: int) -> tuple[np.ndarray, np.ndarray]:
    """(tap, channel) of every product in order, and its element offset in the lane."""
    strides = weight_strides(i)
    tap, channel = np.divmod(np.arange(i.opd1_h * i.opd1_w * i.opd0_c), i.opd0_c)
    ky, kx = np.divmod(tap, i.opd1_w)
    if i.opt_kernel_rotate:
        ky, kx = i.opd1_h - 1 - ky, i.opd1_w - 1 - kx
    unit = (channel // together) * strides.n + ky * strides.h + kx * strides.w
    return np.stack([tap, channel]), unit * together + channel % together


def _superblock(i: Instruction, pitch: int, positions: int) -> int:
    per_tile = i.opd0_c * 4 * COLUMNS * max(1, min(i.opd1_h, 3))
    whole = i.opd0_c * 4 * pitch * i.opd0_h
    if whole <= 2 * SUPERBLOCK_BYTES:
        return max(ceil_div(positions, COLUMNS), 1)
    return max(1, SUPERBLOCK_BYTES // per_tile)


def _split_work(
    context: Context, positions: int, blocks: int, work: int
) -> tuple[list[tuple[int, int]], bool]:
    """Ranges of tiles, or of channel blocks where there are too few tiles."""
    tiles = ceil_div(positions, COLUMNS)
    by_tile = tiles >= 4 * context.threads
    return context.ranges(tiles if by_tile else blocks, work, 4_000_000), by_tile


def plan_conv_f32(i: Instruction, context: Context) -> Step:
    found = footprint(i)
    result = found.writes[0]
    parameters = found.reads[1 : len(found.reads) - (1 if i.opt_res_add else 0)]
    if not words_aligned(i) or any(may_overlap(result, r) for r in parameters):
        return context.reference(i)
    data = _input_f32(i, context, not may_overlap(result, found.reads[0]))

    def steps() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        (tap, channel), offsets = _weight_offsets(i, 2)
        step = tap * ceil_div(i.opd0_c, 2) + channel // 2
        group = (channel & 1) * 2 + (step & 1)
        order = np.argsort(group, kind="stable")
        counts = np.bincount(group, minlength=4).astype(np.int64)
        return offsets[order].astype(np.int32), tap[order], channel[order], counts

    key = ("conv.f32", *weight_strides(i), i.opd1_h, i.opd1_w, i.opd0_c, i.opt_kernel_rotate)
    a_offset, tap, channel, counts = context.table(key, steps)
    b_offset = (data.channel_offsets[channel] + data.taps[tap]).astype(np.int32)
    lane, offset = split(i.opd1_addr)
    if i.opt_opd1_const:
        weights = np.array([i.opd1_addr & 0xFFFFFFFF], np.uint32).view(np.float32)
        a_offset, a_pitch = np.zeros_like(a_offset), 0
        runs = lane_runs(0, i.res0_c, ROWS)
        places = np.zeros(len(runs), np.int64)
    else:
        weights, a_pitch = context.words, LANE_WORDS
        runs = lane_runs(lane, i.res0_c, ROWS)
        places = channel_offsets(lane, i.res0_c, 2 * weight_strides(i).c)[runs[:, 0]] + offset // 4
    blocks = np.column_stack([runs, places])
    positions = (i.res0_h - 1) * data.pitch + i.res0_w
    out_lane, out_offset = split(i.res0_addr)
    out = aligned_strides(Shape4(i.res0_n, i.res0_c, i.res0_h, i.res0_w), out_lane)
    bias_lane, bias_offset = split(i.opd2_addr) if i.tsk_opd_num == BIAS else (0, -4)
    work = i.res0_n * positions * i.res0_c * len(tap)
    ranges, by_tile = _split_work(context, positions, len(blocks), work)
    compute = context.parallel(
        conv_f32, ranges, by_tile, context.words, weights, blocks, a_pitch, a_offset,
        data.array, data.base, data.image, b_offset, counts, np.zeros(4, np.float32),
        i.res0_n, positions, data.pitch, i.res0_w, out_lane, out_offset // 4, out.n, out.c,
        bias_offset // 4, bias_lane,
        bool(i.opt_res_add), _superblock(i, data.pitch, positions),
    )  # fmt: skip
    return sequence(data.prepare, compute)


def _bounds(size: int, signed: bool) -> tuple[int, int]:
    bits = 8 * size
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def result_bounds(i: Instruction, size: int, weights_count: bool = True) -> tuple[int, int]:
    """Lowest and highest result of an int8 product form."""
    signed = i.opt_opd0_sign
    if weights_count:
        signed |= i.opt_opd1_sign
        if i.tsk_opd_num == BIAS:
            signed |= i.opt_opd2_sign
    return _bounds(size, bool(signed and not i.opt_relu))


def exact_chunk(signed_a: int, signed_b: int) -> int:
    """How many products of 8-bit integers add up exactly in fp32."""
    return EXACT // ((128 if signed_a else 255) * (128 if signed_b else 255))


def _weights_i8(i: Instruction, context: Context) -> tuple[np.ndarray, Any, Step | None]:
    """The weights as floats [oc, steps], (tap, channel) of every step, and the step to fill."""
    key = ("conv.i8", *weight_strides(i), i.opd1_h, i.opd1_w, i.opd0_c, i.opt_kernel_rotate)
    order, offsets = context.table(key, lambda: _weight_offsets(i, 4))
    steps = offsets.size
    # The last block of channels reads whole tiles of rows.
    target = context.scratch("weights", (i.res0_c + ROWS) * steps)
    if i.opt_opd1_const:
        pattern = np.array([i.opd1_addr & 255], np.uint8)
        value = pattern.view(np.int8)[0] if i.opt_opd1_sign else pattern[0]
        return target, order, partial(target[: i.res0_c * steps].fill, float(value))
    lane, offset = split(i.opd1_addr)
    places = 4 * channel_offsets(lane, i.res0_c, weight_strides(i).c) + offset
    gather = context.parallel(
        gather_weights_i8, context.ranges(i.res0_c, 4 * i.res0_c * steps),
        context.bytes.view(np.int8), bool(i.opt_opd1_sign), places, offsets.astype(np.int32),
        target,
    )  # fmt: skip
    return target, order, gather


def plan_conv_i8(i: Instruction, context: Context) -> Step:
    steps = i.opd1_h * i.opd1_w * i.opd0_c
    size = 2 if i.opt_res0_prec == Prec.INT16 else 1
    result, parameters = footprint(i).writes[0], footprint(i).reads[1:]
    if (
        i.opd0_addr & 3
        or i.res0_addr % size
        or steps > LONGEST
        or any(may_overlap(result, r) for r in parameters if r.space == "local")
    ):
        return context.reference(i)
    groups = ceil_div(i.res0_n, 4)
    lane, offset = split(i.opd0_addr)
    strides = input_strides(i, lane, groups)
    layout: Planes = context.table(("planes", window_key(i)), lambda: planes_of(i))
    channel = layout.phases * layout.plane
    items = i.res0_n * i.opd0_c
    planes = context.scratch("planes", items * channel + COLUMNS)
    fill = context.parallel(
        spread_i8, context.ranges(items, 8 * items * channel),
        context.ints, bool(i.opt_opd0_sign), lane, offset // 4, *strides, i.opd0_h, i.opd0_w,
        i.opd0_y_ins0 + 1, i.opd0_x_ins0 + 1, i.opd0_up_pad, i.opd0_lf_pad,
        i.res_op_y_str, i.res_op_x_str, layout.phase_y, layout.phase_x,
        planes, i.opd0_c, layout.rows, layout.pitch, layout.plane,
    )  # fmt: skip
    weights, (tap, channel_of), gather = _weights_i8(i, context)
    b_offset = (channel_of * channel + layout.taps[tap]).astype(np.int32)
    runs = lane_runs(0, i.res0_c, ROWS)
    blocks = np.column_stack([runs, runs[:, 0] * steps])
    positions = (i.res0_h - 1) * layout.pitch + i.res0_w
    out_lane, out_offset = split(i.res0_addr)
    out = aligned_strides(Shape4(groups, i.res0_c, i.res0_h, i.res0_w), out_lane)
    if i.short_res0_str == USER:
        out = out._replace(n=i.res0_n_str)
    bias_lane, bias_offset = split(i.opd2_addr) if i.tsk_opd_num == BIAS else (0, -2)
    low, high = result_bounds(i, size)
    work = i.res0_n * positions * i.res0_c * steps
    ranges, by_tile = _split_work(context, positions, len(blocks), work)
    compute = context.parallel(
        conv_i8, ranges, by_tile, context.bytes.view(np.int16),
        context.bytes.view(np.int8 if size == 1 else np.int16),
        weights, blocks, steps, np.arange(steps, dtype=np.int32),
        planes, 0, i.opd0_c * channel, b_offset, steps,
        exact_chunk(i.opt_opd0_sign, i.opt_opd1_sign), i.res0_n, positions, layout.pitch,
        i.res0_w, out_lane, out_offset // size, 4 * out.n, 4 * out.c, bias_offset // 2, bias_lane,
        bool(i.opt_opd2_sign), i.opt_right_shift, low, high,
        _superblock(i, layout.pitch, positions),
    )  # fmt: skip
    return sequence(fill, gather, compute)


PLANNERS = {"conv.f32": plan_conv_f32, "conv.i8": plan_conv_i8}
