"""Winograd convolution F(2x2,3x3): transform 4x4 inputs, multiply per position, transform back.

Between the transforms there are sixteen matrix products, which run on register tiles with the
transformed weights in their lanes (fp32) or as floats (int8, exact). The output transform of fp32
is one nine-operand addition per result: operands are aligned to the largest and cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nntc.isa.chip import LANES
from nntc.isa.footprint import footprint
from nntc.isa.forms import Instruction
from nntc.isa.layout import Shape4, align_up, aligned_strides, ceil_div, slots
from nntc.isa.regions import may_overlap
from nntc.sim.fast import fp
from nntc.sim.fast.context import LANE_WORDS, Context, Step, lane_runs, sequence, split
from nntc.sim.fast.conv import (
    BIAS,
    EXACT,
    channel_offsets,
    gather_weights_i8,
    input_strides,
    words_aligned,
)
from nntc.sim.fast.native import bare, helper, keep, kernel, set_all
from nntc.sim.fast.planes import put_span, spread_f32, spread_i8
from nntc.sim.fast.tile import COLUMNS, ROWS, tile1, tile2

_F = np.float32
_I = np.int32

_INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])

WIDEST_SUM = 1020
"""Largest magnitude of a transformed int8 input: four unsigned bytes."""

MOST_CHANNELS = 1500
"""Input channels up to which int8 results before the shift surely fit int32."""


def _input_terms() -> np.ndarray:
    """i64[16, 9]: rows and columns of the four inputs of every position, and the sign of the
    second pair; each pair is added first."""
    rows: list[list[int]] = []
    for a in range(4):
        for b in range(4):
            signs = np.outer(_INPUT[a], _INPUT[b])
            plus, minus = np.argwhere(signs > 0), np.argwhere(signs < 0)
            terms = np.concatenate([plus, minus]).ravel().tolist()
            rows.append([*terms, -1 if len(minus) else 1])
    return np.array(rows, np.int64)


def _output_terms() -> np.ndarray:
    """i64[4, 9, 2]: position and sign of the nine terms of every output of a tile."""
    found: list[list[list[int]]] = []
    for i in range(2):
        for j in range(2):
            signs = np.outer(_OUTPUT[i], _OUTPUT[j])
            found.append([[4 * a + b, int(signs[a, b])] for a, b in np.argwhere(signs)])
    return np.array(found, np.int64)


INPUT_TERMS, OUTPUT_TERMS = _input_terms(), _output_terms()


@kernel
def transform_input(
    first, last, planes, plane, pitch, terms, tile_rows, tile_columns, target, channels, room
):  # fmt: skip
    """Planes [first, last) (image, channel) → target[image][position][channel][tile].

    *room* is floats per (image, position, channel).
    """
    planes, target = bare(planes), bare(target)
    for item in range(first, last):
        n, c = item // channels, item % channels
        source = planes[item * plane : (item + 1) * plane]
        for p in range(16):
            start = ((n * 16 + p) * channels + c) * room
            for ty in range(tile_rows):
                out = target[start + ty * tile_columns : start + (ty + 1) * tile_columns]
                a = source[(2 * ty + terms[p, 0]) * pitch + terms[p, 1] :]
                b = source[(2 * ty + terms[p, 2]) * pitch + terms[p, 3] :]
                d = source[(2 * ty + terms[p, 4]) * pitch + terms[p, 5] :]
                e = source[(2 * ty + terms[p, 6]) * pitch + terms[p, 7] :]
                if terms[p, 8] < 0:
                    for x in range(tile_columns):
                        out[x] = fp.sub(fp.add(a[2 * x], b[2 * x]), fp.add(d[2 * x], e[2 * x]))
                else:
                    for x in range(tile_columns):
                        out[x] = fp.add(fp.add(a[2 * x], b[2 * x]), fp.add(d[2 * x], e[2 * x]))


@kernel
def multiply_f32(
    first, last, words, blocks, a_offset, transformed, b_offset, counts,
    images, channels, room, target,
):  # fmt: skip
    """Channel blocks [first, last): even and odd input channels in two sums.

    Block k fills the rows from k * ROWS on, some of them with nothing of use.
    """
    starts, no_bias = np.empty(2, np.float32), np.empty(ROWS, np.float32)
    set_all(starts, _F(0))
    set_all(no_bias, _F(-0.0))
    for n in range(images):
        for p in range(16):
            b = transformed.ctypes.data + 4 * (n * 16 + p) * channels * room
            for block in range(first, last):
                a = words.ctypes.data + 4 * (blocks[block, 2] + p)
                out = ((n * 16 + p) * blocks.shape[0] + block) * ROWS * room
                for t in range(0, room, COLUMNS):
                    tile2(
                        a, LANE_WORDS, a_offset.ctypes.data, b + 4 * t, b_offset.ctypes.data,
                        counts.ctypes.data, starts.ctypes.data, no_bias.ctypes.data,
                        target.ctypes.data + 4 * (out + t), room,
                    )  # fmt: skip


@kernel
def multiply_i8(
    first, last, weights, blocks, a_pitch, offsets, transformed, b_offset, chunk,
    images, channels, room, target, out_channels,
):  # fmt: skip
    """As :func:`multiply_f32` in exact pieces, collected as int32; weights [oc][16][ic]."""
    starts, no_bias = np.empty(1, np.float32), np.empty(ROWS, np.float32)
    set_all(starts, _F(0))
    set_all(no_bias, _F(0))
    count = np.empty(1, np.int64)
    owner = np.empty(ROWS * COLUMNS, np.float32)
    sums, target = bare(owner), bare(target)
    for n in range(images):
        for p in range(16):
            b = transformed.ctypes.data + 4 * (n * 16 + p) * channels * room
            for block in range(first, last):
                a = weights.ctypes.data + 4 * (blocks[block, 2] + p * channels)
                for t in range(0, room, COLUMNS):
                    for at in range(0, channels, chunk):
                        count[0] = min(chunk, channels - at)
                        tile1(
                            a, a_pitch, offsets.ctypes.data + 4 * at, b + 4 * t,
                            b_offset.ctypes.data + 4 * at, count.ctypes.data,
                            starts.ctypes.data, no_bias.ctypes.data, sums.ctypes.data, COLUMNS,
                        )  # fmt: skip
                        for r in range(blocks[block, 1]):
                            place = ((n * 16 + p) * out_channels + blocks[block, 0] + r) * room + t
                            line = target[place : place + COLUMNS]
                            some = sums[r * COLUMNS : r * COLUMNS + COLUMNS]
                            for x in range(COLUMNS):
                                before = line[x] if at else _I(0)
                                line[x] = _I(before + _I(some[x]))
    keep(owner)


@helper
def _double(pattern):
    """The float64 with this biased exponent."""
    return fp.value64(np.int64(pattern) << np.int64(52))


@helper
def aligned_sum(rows, terms, count, largest, total, out):
    """One result of every tile: nine signed terms, cut to 25 bits below the largest, summed."""
    for t in range(count):
        largest[t] = _I(0)
        total[t] = 0.0
    for k in range(9):
        row = rows[terms[k, 0]]
        for t in range(count):
            largest[t] = max(largest[t], fp.magnitude(row[t]))
    for k in range(9):
        row, sign = rows[terms[k, 0]], np.float64(terms[k, 1])
        for t in range(count):
            # |t| < 2^E with E = exponent field - 126; a unit is 2^(E - 25).
            scale = _double(1023 + 25 + 126 - (np.int64(largest[t]) >> 23))
            total[t] += sign * np.trunc(np.float64(fp.flush(row[t])) * scale)
    for t in range(count):
        unit = _double(1023 - 25 - 126 + (np.int64(largest[t]) >> 23))
        v = total[t] * unit
        out[t] = _F(v) if abs(v) >= 2.0**-126 else _F(0)
    for t in range(count):
        if largest[t] >= _I(0x7F800000):
            v = 0.0
            for k in range(9):
                v += np.float64(terms[k, 1]) * np.float64(rows[terms[k, 0]][t])
            out[t] = _F(v) if v == v else fp.value(_I(fp.DEFAULT_NAN))


@kernel
def transform_output_f32(
    first, last, products, terms, words, row_of, product_rows, room, tile_rows, tile_columns,
    height, width, out_lane, out_base, out_n, out_c, bias_base, bias_lane, accumulate,
):  # fmt: skip
    """(image, channel) items: results, then bias + result, then + the old result.

    *row_of* is the row of every channel among the *product_rows* of a position.
    """
    products, words = bare(products), bare(words)
    tiles = tile_rows * tile_columns
    rows = np.empty((16, tiles), np.float32)
    outputs = np.empty((4, tiles), np.float32)
    largest, total = np.empty(tiles, np.int32), np.empty(tiles, np.float64)
    for item in range(first, last):
        n, c = item // row_of.size, item % row_of.size
        for p in range(16):
            place = ((n * 16 + p) * product_rows + row_of[c]) * room
            row = products[place : place + tiles]
            for t in range(tiles):
                rows[p, t] = row[t]
        for k in range(4):
            aligned_sum(rows, terms[k], tiles, largest, total, outputs[k])
        q = bias_lane + c
        bias = _F(0)
        if bias_base >= 0:
            bias = words[(q % LANES) * LANE_WORDS + bias_base + q // LANES]
        q = out_lane + c
        base = (q % LANES) * LANE_WORDS + out_base + n * out_n + (q // LANES) * out_c
        for y in range(height):
            line = words[base + y * width : base + (y + 1) * width]
            for x in range(width):
                v = outputs[2 * (y & 1) + (x & 1), (y >> 1) * tile_columns + (x >> 1)]
                if bias_base >= 0:
                    v = fp.add_exact(bias, v)
                if accumulate:
                    v = fp.add_exact(v, line[x])
                line[x] = v


@kernel
def transform_output_i8(
    first, last, products, terms, halfs, ints, images, channels, room, tile_rows, tile_columns,
    height, width, out_lane, out_base, out_n, out_c, bias_base, bias_lane, bias_signed,
    shift, low, high,
):  # fmt: skip
    """Channels [first, last), all images of one after the other: they share words."""
    products, ints = bare(products), bare(ints)
    owner = np.empty(height * width, np.int32)
    values = bare(owner)
    for item in range(first * images, last * images):
        c, n = item // images, item % images
        bias = np.int64(1) << (shift - 1) if shift > 0 else np.int64(0)
        if bias_base >= 0:
            q = bias_lane + c
            v = np.int64(halfs[(q % LANES) * LANE_WORDS * 2 + bias_base + q // LANES])
            bias += v if bias_signed else v & 0xFFFF
        for y in range(height):
            for x in range(width):
                k = 2 * (y & 1) + (x & 1)
                t = (y >> 1) * tile_columns + (x >> 1)
                v = bias
                for j in range(9):
                    place = ((n * 16 + terms[k, j, 0]) * channels + c) * room + t
                    v += terms[k, j, 1] * products[place]
                values[y * width + x] = _I(min(max(v >> shift, low), high))
        q = out_lane + c
        base = (q % LANES) * LANE_WORDS + out_base + (n // 4) * out_n + (q // LANES) * out_c
        put_span(values, ints, base, 0, height * width, width, width, n % 4, 1)
    keep(owner)


class _Tiles(NamedTuple):
    """Tiles of an image, the padded plane they are cut from, and room per product row."""

    rows: int
    columns: int
    pitch: int
    plane: int
    room: int


def _tiles(i: Instruction) -> _Tiles:
    rows, columns = ceil_div(i.res0_h, 2), ceil_div(i.res0_w, 2)
    pitch = 2 * columns + 2
    plane = align_up((2 * rows + 2) * pitch + 16, 16)
    return _Tiles(rows, columns, pitch, plane, align_up(rows * columns, COLUMNS))


def _prepare(
    i: Instruction, context: Context, tiles: _Tiles, spread: object, source: np.ndarray, *head: bool
) -> tuple[np.ndarray, Step]:
    """(the transformed input [n][16][ic][room], the steps that fill it)."""
    lane, offset = split(i.opd0_addr)
    groups = i.res0_n if spread is spread_f32 else ceil_div(i.res0_n, 4)
    strides = input_strides(i, lane, groups)
    items, zero = i.res0_n * i.opd0_c, np.zeros(1, np.int64)
    planes = context.scratch("planes", items * tiles.plane)
    fill = context.parallel(
        spread, context.ranges(items, items * tiles.plane), source, *head, lane, offset // 4,
        *strides, i.opd0_h, i.opd0_w, i.opd0_y_ins0 + 1, i.opd0_x_ins0 + 1,
        i.opd0_up_pad, i.opd0_lf_pad, 1, 1, zero, zero,
        planes, i.opd0_c, 2 * tiles.rows + 2, tiles.pitch, tiles.plane,
    )  # fmt: skip
    transformed = context.scratch("transformed", items * 16 * tiles.room)
    transform = context.parallel(
        transform_input, context.ranges(items, items * 16 * tiles.room), planes, tiles.plane,
        tiles.pitch, INPUT_TERMS, tiles.rows, tiles.columns, transformed, i.opd0_c, tiles.room,
    )  # fmt: skip
    return transformed, sequence(fill, transform)


def _overlapping(i: Instruction, old_result: bool) -> bool:
    found = footprint(i)
    reads = found.reads[1:-1] if old_result else found.reads[1:]
    return any(may_overlap(found.writes[0], r) for r in reads)


def plan_wino_f32(i: Instruction, context: Context) -> Step:
    if not words_aligned(i) or _overlapping(i, bool(i.opt_res_add)):
        return context.reference(i)
    tiles, ic, oc = _tiles(i), i.opd0_c, i.res0_c
    transformed, prepare = _prepare(i, context, tiles, spread_f32, context.words)
    lane, offset = split(i.opd1_addr)
    runs = lane_runs(lane, oc, ROWS)
    places = channel_offsets(lane, oc, 16)[runs[:, 0]] + offset // 4
    order = np.concatenate([np.arange(0, ic, 2), np.arange(1, ic, 2)])
    product_rows = len(runs) * ROWS
    row_of = np.concatenate([k * ROWS + np.arange(count) for k, (_, count) in enumerate(runs)])
    products = context.scratch("products", i.res0_n * 16 * product_rows * tiles.room)
    multiply = context.parallel(
        multiply_f32, context.ranges(len(runs), i.res0_n * 16 * ic * oc * tiles.room, 8_000_000),
        context.words, np.column_stack([runs, places]),
        (order * 16 * slots(oc, lane)).astype(np.int32), transformed,
        (order * tiles.room).astype(np.int32), np.array([ceil_div(ic, 2), ic // 2], np.int64),
        i.res0_n, ic, tiles.room, products,
    )  # fmt: skip
    out_lane, out_offset = split(i.res0_addr)
    out = aligned_strides(Shape4(i.res0_n, oc, i.res0_h, i.res0_w), out_lane)
    bias_lane, bias_offset = split(i.opd2_addr) if i.tsk_opd_num == BIAS else (0, -4)
    items = i.res0_n * oc
    finish = context.parallel(
        transform_output_f32, context.ranges(items, 40 * items * tiles.room), products,
        OUTPUT_TERMS, context.words, row_of, product_rows, tiles.room, tiles.rows, tiles.columns,
        i.res0_h, i.res0_w, out_lane, out_offset // 4, out.n, out.c, bias_offset // 4, bias_lane,
        bool(i.opt_res_add),
    )  # fmt: skip
    return sequence(prepare, multiply, finish)


def plan_wino_i8(i: Instruction, context: Context) -> Step:
    if (i.opd0_addr | i.res0_addr) & 3 or i.opd0_c > MOST_CHANNELS or _overlapping(i, False):
        return context.reference(i)
    tiles, ic, oc = _tiles(i), i.opd0_c, i.res0_c
    signed = bool(i.opt_opd0_sign)
    transformed, prepare = _prepare(i, context, tiles, spread_i8, context.ints, signed)
    lane, offset = split(i.opd1_addr)
    position, channel = np.divmod(np.arange(16 * ic), ic)
    offsets = ((channel // 4) * (16 * slots(oc, lane)) + position) * 4 + channel % 4
    weights = context.scratch("weights", (oc + ROWS) * 16 * ic)
    gather = context.parallel(
        gather_weights_i8, context.ranges(oc, 16 * oc * ic), context.bytes.view(np.int8), True,
        4 * channel_offsets(lane, oc, 16) + offset, offsets.astype(np.int32), 1, weights,
    )  # fmt: skip
    runs = lane_runs(0, oc, ROWS)
    products = context.scratch("products", i.res0_n * 16 * oc * tiles.room).view(np.int32)
    steps = np.arange(ic, dtype=np.int64)
    multiply = context.parallel(
        multiply_i8, context.ranges(len(runs), i.res0_n * 16 * ic * oc * tiles.room, 8_000_000),
        weights, np.column_stack([runs, runs[:, 0] * 16 * ic]), 16 * ic, steps.astype(np.int32),
        transformed, (steps * tiles.room).astype(np.int32), EXACT // (WIDEST_SUM * 128),
        i.res0_n, ic, tiles.room, products, oc,
    )  # fmt: skip
    groups = ceil_div(i.res0_n, 4)
    out_lane, out_offset = split(i.res0_addr)
    out = aligned_strides(Shape4(groups, oc, i.res0_h, i.res0_w), out_lane)
    bias_lane, bias_offset = split(i.opd2_addr) if i.tsk_opd_num == BIAS else (0, -2)
    low, high = (0, 255) if i.opt_relu else (-128, 127)
    finish = context.parallel(
        transform_output_i8, context.ranges(oc, 40 * i.res0_n * oc * tiles.room), products,
        OUTPUT_TERMS, context.bytes.view(np.int16), context.ints, i.res0_n, oc, tiles.room,
        tiles.rows, tiles.columns, i.res0_h, i.res0_w, out_lane, out_offset // 4, out.n, out.c,
        bias_offset // 2, bias_lane, bool(i.opt_opd2_sign), i.opt_right_shift, low, high,
    )  # fmt: skip
    return sequence(prepare, gather, multiply, finish)


PLANNERS: dict[str, Callable[[Instruction, Context], Step]] = {
    "wino.f32": plan_wino_f32,
    "wino.i8": plan_wino_i8,
}
