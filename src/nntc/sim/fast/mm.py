"""Matrix products on register tiles.

The left matrix is packed (it is small). The right one is used in its lanes for a few rows, where
every element is read once anyway, and packed to full rows for more. int8 works in fp32 in pieces
that are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from nntc.isa.chip import LANES, Prec
from nntc.isa.footprint import footprint
from nntc.isa.forms import Instruction
from nntc.isa.layout import Shape4, Strides, align_up, aligned_strides
from nntc.isa.regions import may_overlap
from nntc.sim.fast.context import LANE_WORDS, Context, Step, sequence, split
from nntc.sim.fast.conv import BIAS, LONGEST, exact_chunk, result_bounds
from nntc.sim.fast.fp import add
from nntc.sim.fast.native import bare, kernel, set_all
from nntc.sim.fast.pool import even_odd
from nntc.sim.fast.tile import COLUMNS, ROWS, VECTOR, single2, tile1, tile2

_F = np.float32
_I = np.int32

FEW_ROWS = 6
"""Up to so many rows the right matrix stays where it is."""


@kernel
def pack_f32(first, last, source, lane, base, row_step, slot_step, width, target, columns, pitch):
    """Rows [first, last) of a matrix in pieces, as target[row * pitch + column]."""
    source, target = bare(source), bare(target)
    for row in range(first, last):
        line = target[row * pitch : row * pitch + columns]
        for piece in range((columns + width - 1) // width):
            c = lane + piece
            at = (c % LANES) * LANE_WORDS + base + row * row_step + (c // LANES) * slot_step
            start = piece * width
            run = min(width, columns - start)
            piece_in, piece_out = source[at : at + run], line[start : start + run]
            for x in range(run):
                piece_out[x] = piece_in[x]


@kernel
def pack_ints(
    first, last, source, signed, lane, base, row_step, slot_step, width, target, columns, pitch
):
    """As :func:`pack_f32` from 8-bit or 16-bit integers to floats."""
    source, target = bare(source), bare(target)
    lane_elements = LANE_WORDS * 4 // source.itemsize
    mask = _I((1 << (8 * source.itemsize)) - 1)
    for row in range(first, last):
        line = target[row * pitch : row * pitch + columns]
        for piece in range((columns + width - 1) // width):
            c = lane + piece
            at = (c % LANES) * lane_elements + base + row * row_step + (c // LANES) * slot_step
            start = piece * width
            run = min(width, columns - start)
            piece_in, piece_out = source[at : at + run], line[start : start + run]
            if signed:
                for x in range(run):
                    piece_out[x] = _F(_I(piece_in[x]))
            else:
                for x in range(run):
                    piece_out[x] = _F(_I(_I(piece_in[x]) & mask))


@kernel
def mm_f32_few(
    first, last, words, left, a_pitch, a_offset, b_lane, b_base, b_slot, b_offset, counts, starts,
    rows, width, out_lane, out_base, out_n, out_c, bias_base, bias_lane, bias_c, accumulate,
):  # fmt: skip
    """Pieces [first, last) of the result, with the right matrix in its lanes."""
    sums = np.empty(VECTOR, np.float32)
    no_bias = np.empty(1, np.float32)
    set_all(no_bias, _F(-0.0))
    for piece in range(first, last):
        c = b_lane + piece
        b_at = (c % LANES) * LANE_WORDS + b_base + (c // LANES) * b_slot
        c = bias_lane + piece
        bias_at = (c % LANES) * LANE_WORDS + bias_base + (c // LANES) * bias_c
        for row in range(rows):
            c = out_lane + piece
            base = (c % LANES) * LANE_WORDS + out_base + row * out_n + (c // LANES) * out_c
            for start in range(0, width, VECTOR):
                single2(
                    left.ctypes.data + 4 * row * a_pitch, 0, a_offset.ctypes.data,
                    words.ctypes.data + 4 * (b_at + start), b_offset.ctypes.data,
                    counts.ctypes.data, starts.ctypes.data, no_bias.ctypes.data,
                    sums.ctypes.data, 0,
                )  # fmt: skip
                for x in range(min(VECTOR, width - start)):
                    v = sums[x]
                    if bias_base >= 0:
                        v = add(v, words[bias_at + start + x])
                    if accumulate:
                        v = add(v, words[base + start + x])
                    words[base + start + x] = v


@kernel
def mm_f32(
    first, last, words, left, a_pitch, a_offset, right, b_offset, counts, starts,
    rows, columns, width, out_lane, out_base, out_n, out_c,
    bias_base, bias_lane, bias_c, accumulate,
):  # fmt: skip
    """Column tiles [first, last) of the result, both operands packed."""
    sums = np.empty(ROWS * COLUMNS, np.float32)
    no_bias = np.empty(ROWS, np.float32)
    set_all(no_bias, _F(-0.0))
    places, biases = np.empty(COLUMNS, np.int64), np.empty(COLUMNS, np.float32)
    for t in range(first, last):
        valid = min(COLUMNS, columns - t * COLUMNS)
        for x in range(valid):
            piece = (t * COLUMNS + x) // width
            column = t * COLUMNS + x - piece * width
            c = out_lane + piece
            places[x] = (c % LANES) * LANE_WORDS + out_base + (c // LANES) * out_c + column
            biases[x] = _F(-0.0)
            if bias_base >= 0:
                c = bias_lane + piece
                at = (c % LANES) * LANE_WORDS + bias_base + (c // LANES) * bias_c
                biases[x] = words[at + column]
        for block in range(0, rows, ROWS):
            tile2(
                left.ctypes.data + 4 * block * a_pitch, a_pitch, a_offset.ctypes.data,
                right.ctypes.data + 4 * t * COLUMNS, b_offset.ctypes.data, counts.ctypes.data,
                starts.ctypes.data, no_bias.ctypes.data, sums.ctypes.data, COLUMNS,
            )  # fmt: skip
            for r in range(min(ROWS, rows - block)):
                for x in range(valid):
                    v = add(sums[r * COLUMNS + x], biases[x])
                    at = places[x] + (block + r) * out_n
                    words[at] = add(v, words[at]) if accumulate else v


@kernel
def mm_i8(
    first, last, halfs, target, left, a_pitch, right, offsets, b_offset, chunk,
    rows, columns, width, out_lane, out_base, out_n, out_c, bias_base, bias_lane, bias_c,
    bias_signed, accumulate, old, left_shift, shift, low, high,
):  # fmt: skip
    """Column tiles [first, last): exact pieces, bias, the old result, shift, clip."""
    sums = np.empty(ROWS * COLUMNS, np.float32)
    total = np.empty(ROWS * COLUMNS, np.int32)
    steps = offsets.size
    starts, no_bias = np.empty(1, np.float32), np.empty(ROWS, np.float32)
    set_all(starts, _F(0))
    set_all(no_bias, _F(0))
    count = np.empty(1, np.int64)
    a_table, b_table = offsets.ctypes.data, b_offset.ctypes.data
    half = np.int64(1) << (shift - 1) if shift > 0 else np.int64(0)
    lane_elements = LANE_WORDS * 4 // target.itemsize
    for t in range(first, last):
        b = right.ctypes.data + 4 * t * COLUMNS
        for block in range(0, rows, ROWS):
            a = left.ctypes.data + 4 * block * a_pitch
            set_all(total, _I(0))
            for at in range(0, steps, chunk):
                count[0] = min(chunk, steps - at)
                tile1(
                    a, a_pitch, a_table + 4 * at, b, b_table + 4 * at, count.ctypes.data,
                    starts.ctypes.data, no_bias.ctypes.data, sums.ctypes.data, COLUMNS,
                )  # fmt: skip
                for x in range(ROWS * COLUMNS):
                    total[x] += _I(sums[x])
            for r in range(min(ROWS, rows - block)):
                for x in range(min(COLUMNS, columns - t * COLUMNS)):
                    v = np.int64(total[r * COLUMNS + x])
                    piece = (t * COLUMNS + x) // width
                    column = t * COLUMNS + x - piece * width
                    if bias_base >= 0:
                        c = bias_lane + piece
                        at = (c % LANES) * LANE_WORDS * 2 + bias_base + (c // LANES) * bias_c
                        bias = np.int64(halfs[at + column])
                        v += bias if bias_signed else bias & 0xFFFF
                    if accumulate:
                        at = (block + r) * columns + t * COLUMNS + x
                        v += np.int64(old[at]) << left_shift
                    c = out_lane + piece
                    at = (c % LANES) * lane_elements + out_base + (c // LANES) * out_c + column
                    v = (v + half) >> shift
                    target[at + (block + r) * out_n] = min(max(v, low), high)


def _strides(address: int, rows: int, pieces: int, width: int, size: int) -> Strides:
    lane, _ = split(address)
    return aligned_strides(Shape4(rows, pieces, 1, width), lane, 128 // size)


def _left(i: Instruction, context: Context, size: int) -> tuple[np.ndarray, int, int, Step]:
    """(packed left matrix, floats per row, floats per step, the packing step)."""
    rows, columns = i.opd0_n, (i.opd0_c - 1) * i.opd0_w + i.opd1_w
    target = context.scratch("left", (rows + ROWS) * (columns + ROWS))
    row_step, column_step = (1, columns) if i.opt_left_tran else (columns, 1)
    if i.opt_opd0_const:
        raw = np.array([i.opd0_addr & 0xFFFFFFFF], np.uint32)
        if size == 4:
            value = float(raw.view(np.float32)[0])
            pattern = raw.view(np.float32)
            return (
                target,
                row_step,
                column_step,
                partial(np.copyto, target[: rows * columns], pattern),
            )
        value = float(raw.view(np.int8 if i.opt_opd0_sign else np.uint8)[0])
        return target, row_step, column_step, partial(target[: rows * columns].fill, value)
    lane, offset = split(i.opd0_addr)
    strides = _strides(i.opd0_addr, rows, i.opd0_c, i.opd0_w, size)
    place = (lane, offset // size, strides.n, strides.c, i.opd0_w, target, columns, columns)
    if size == 4:
        return target, row_step, column_step, partial(pack_f32, 0, rows, context.words, *place)
    source = context.bytes.view(np.int8)
    pack = partial(pack_ints, 0, rows, source, bool(i.opt_opd0_sign), *place)
    return target, row_step, column_step, pack


def _overlapping(i: Instruction) -> bool:
    """Whether the result overlaps another operand than the old result."""
    found = footprint(i)
    reads = found.reads[:-1] if i.opt_res_add else found.reads
    return any(may_overlap(found.writes[0], r) for r in reads)


def plan_matmul_f32(i: Instruction, context: Context) -> Step:
    used = i.opd1_addr | i.res0_addr
    used |= 0 if i.opt_opd0_const else i.opd0_addr
    used |= i.opd2_addr if i.tsk_opd_num == BIAS else 0
    inner = (i.opd0_c - 1) * i.opd0_w + i.opd1_w
    rows, steps = (inner, i.opd0_n) if i.opt_left_tran else (i.opd0_n, inner)
    if used & 3 or _overlapping(i) or steps < 1 or rows < 1:
        return context.reference(i)
    left, row_step, k_step, pack = _left(i, context, 4)
    pieces, width = i.res0_c, i.res0_w
    columns = pieces * width
    k = np.arange(steps, dtype=np.int64)
    order = np.concatenate([k[::2], k[1::2]])
    a_offset = (order * k_step).astype(np.int32)
    lane, offset = split(i.opd1_addr)
    strides = _strides(i.opd1_addr, steps, pieces, width, 4)
    out_lane, out_offset = split(i.res0_addr)
    out = _strides(i.res0_addr, rows, pieces, width, 4)
    bias_lane, bias_offset = split(i.opd2_addr) if i.tsk_opd_num == BIAS else (0, -4)
    bias_c = _strides(i.opd2_addr, 1, pieces, width, 4).c
    tail = (
        out_lane, out_offset // 4, out.n, out.c, bias_offset // 4, bias_lane, bias_c,
        bool(i.opt_res_add),
    )  # fmt: skip
    work = rows * steps * columns
    if rows <= FEW_ROWS:
        b_offset = (order * strides.n).astype(np.int32)
        compute = context.parallel(
            mm_f32_few, context.ranges(pieces, work), context.words, left, row_step, a_offset,
            lane, offset // 4, strides.c, b_offset, *even_odd(steps), rows, width, *tail,
        )  # fmt: skip
        return sequence(pack, compute)
    pitch = align_up(columns, COLUMNS)
    right = context.scratch("right", steps * pitch)
    gather = context.parallel(
        pack_f32, context.ranges(steps, steps * columns), context.words, lane, offset // 4,
        strides.n, strides.c, width, right, columns, pitch,
    )  # fmt: skip
    compute = context.parallel(
        mm_f32, context.ranges(pitch // COLUMNS, work), context.words, left, row_step, a_offset,
        right, (order * pitch).astype(np.int32), *even_odd(steps), rows, columns, width, *tail,
    )  # fmt: skip
    return sequence(pack, gather, compute)


def plan_matmul_i8(i: Instruction, context: Context) -> Step:
    size = 2 if i.opt_res0_prec == Prec.INT16 else 1
    inner = (i.opd0_c - 1) * i.opd0_w + i.opd1_w
    rows, steps = (inner, i.opd0_n) if i.opt_left_tran else (i.opd0_n, inner)
    odd = i.res0_addr % (2 if i.opt_res_add else size)
    odd |= i.opd2_addr % 2 if i.tsk_opd_num == BIAS else 0
    if odd or _overlapping(i) or not 1 <= steps <= LONGEST or rows < 1:
        return context.reference(i)
    left, row_step, k_step, pack = _left(i, context, 1)
    pieces, width = i.res0_c, i.res0_w
    columns = pieces * width
    pitch = align_up(columns, COLUMNS)
    right = context.scratch("right", steps * pitch)
    lane, offset = split(i.opd1_addr)
    strides = _strides(i.opd1_addr, steps, pieces, width, 1)
    gather = context.parallel(
        pack_ints, context.ranges(steps, 2 * steps * columns), context.bytes.view(np.int8),
        bool(i.opt_opd1_sign), lane, offset, strides.n, strides.c, width, right, columns, pitch,
    )  # fmt: skip
    out_lane, out_offset = split(i.res0_addr)
    out = _strides(i.res0_addr, rows, pieces, width, size)
    old, keep = left, None
    if i.opt_res_add:
        # Kept apart: an int8 result overwrites int16 sums of other columns.
        old = context.scratch("old", rows * columns)
        before = _strides(i.res0_addr, rows, pieces, width, 2)
        keep = partial(
            pack_ints, 0, rows, context.bytes.view(np.int16), bool(i.opt_res_add_sign),
            out_lane, out_offset // 2, before.n, before.c, width, old, columns, columns,
        )  # fmt: skip
    bias_lane, bias_offset = split(i.opd2_addr) if i.tsk_opd_num == BIAS else (0, -2)
    bias_c = _strides(i.opd2_addr, 1, pieces, width, 2).c
    low, high = result_bounds(i, size)
    k = np.arange(steps, dtype=np.int64)
    compute = context.parallel(
        mm_i8, context.ranges(pitch // COLUMNS, rows * steps * columns),
        context.bytes.view(np.int16), context.bytes.view(np.int8 if size == 1 else np.int16),
        left, row_step, right, (k * k_step).astype(np.int32), (k * pitch).astype(np.int32),
        exact_chunk(i.opt_opd0_sign, i.opt_opd1_sign), rows, columns, width,
        out_lane, out_offset // size, out.n, out.c, bias_offset // 2, bias_lane, bias_c,
        bool(i.opt_opd2_sign), bool(i.opt_res_add), old, i.opt_left_shift, i.opt_right_shift,
        low, high,
    )  # fmt: skip
    return sequence(pack, gather, keep, compute)


PLANNERS: dict[str, Callable[[Instruction, Context], Step]] = {
    "matmul.f32": plan_matmul_f32,
    "matmul.i8": plan_matmul_i8,
}
