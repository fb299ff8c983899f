"""Special functions, per-channel linear forms, comparisons and table look-ups (aligned fp32)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from nntc.isa.chip import L2_BYTES, LANES
from nntc.isa.footprint import footprint
from nntc.isa.forms import Instruction
from nntc.isa.layout import align_up, slots
from nntc.isa.regions import may_overlap
from nntc.sim.fast import fp
from nntc.sim.fast.arith import any_nan, per_channel
from nntc.sim.fast.context import LANE_WORDS, Context, Step, split
from nntc.sim.fast.native import CHUNK, bare, helper, kernel, set_all, stack_f32, stack_i32
from nntc.sim.fast.rows import (
    Operand,
    aligned,
    constant,
    independent,
    load,
    merged,
    plain_parts,
    result_shape,
    row_start,
    store,
)

_I = np.int32
_F = np.float32

TAYLOR, TO_INT, NORM_A, NORM_B, RSQRT = range(5)
UNARY = {"taylor": TAYLOR, "f32_to_i32": TO_INT, "norm_a": NORM_A, "norm_b": NORM_B, "rsqrt": RSQRT}


@helper
def _norm_a(b):
    up = _I(b >= 0) & _I(_I(b & _I(0x7FFFFF)) > _I(0x2AAAAB))
    return _I(_I(_I(b >> _I(23)) & _I(0xFF)) + up)


@helper
def _to_int(b):
    """Truncation toward zero of an fp32 pattern, saturating; NaN by its sign."""
    magnitude = b & 0x7FFFFFFF
    exponent = magnitude >> 23
    if exponent >= 158:
        return _I(-0x80000000) if b < 0 else _I(0x7FFFFFFF)
    if exponent < 127:
        return _I(0)
    mantissa = np.int64((magnitude & 0x7FFFFF) | 0x800000)
    shift = exponent - 150
    whole = mantissa << shift if shift >= 0 else mantissa >> -shift
    return _I(-whole) if b < 0 else _I(whole)


@kernel
def unary(
    first, last, code, table, length, channels, rows, columns,
    r, r_base, r_lane, r_wrap, r_pitch, r_n, r_c, r_h, r_x,
    a, a_base, a_lane, a_wrap, a_pitch, a_n, a_c, a_h, a_x,
):  # fmt: skip
    r, a, table = bare(r), bare(a), bare(table)
    room_a, room_o = stack_f32(), stack_f32()
    for item in range(first, last):
        n, c = item // channels, item % channels
        r_row = row_start(r_base, r_lane, r_wrap, r_pitch, r_n, r_c, n, c)
        a_row = row_start(a_base, a_lane, a_wrap, a_pitch, a_n, a_c, n, c)
        for h in range(rows):
            for start in range(0, columns, CHUNK):
                count = min(CHUNK, columns - start)
                va = load(a, a_row + h * a_h + start * a_x, a_x, count, room_a)
                out = room_o[:count]
                bits_in, bits_out = va.view(np.int32), out.view(np.int32)
                if code == TAYLOR:
                    set_all(out, _F(0))
                    for k in range(length - 1, -1, -1):
                        t = table[k]
                        for x in range(count):
                            out[x] = fp.mul(fp.add(out[x], t), va[x])
                    if any_nan(out):
                        for x in range(count):
                            y = _F(0)
                            for k in range(length - 1, -1, -1):
                                y = fp.mul_exact(fp.add_exact(y, table[k]), va[x])
                            out[x] = y
                elif code == RSQRT:
                    for x in range(count):
                        out[x] = fp.rsqrt(va[x])
                    if any_nan(out):
                        for x in range(count):
                            out[x] = fp.rsqrt_exact(va[x])
                elif code == TO_INT:
                    for x in range(count):
                        bits_out[x] = _to_int(bits_in[x])
                elif code == NORM_A:
                    for x in range(count):
                        bits_out[x] = _norm_a(bits_in[x])
                else:
                    for x in range(count):
                        b = bits_in[x]
                        power = _I(_I(_norm_a(b) << _I(23)) & _I(0x7FFFFFFF))
                        bits_out[x] = _I(power | _I(b & _I(-0x80000000)))
                store(r, r_row + h * r_h + start * r_x, r_x, out)


MAC, ADD_SQUARE, SUB_SQUARE = range(3)
LINEAR = {"mac": MAC, "add_square": ADD_SQUARE, "sub_square": SUB_SQUARE}


@helper
def _linear_exact(code, a, bias, scale):
    if code == MAC:
        return fp.add_exact(fp.mul_exact(a, scale), bias)
    t = fp.add_exact(a, bias) if code == ADD_SQUARE else fp.sub_exact(a, bias)
    return fp.mul_exact(t, t)


@kernel
def linear(
    first, last, code, accumulate, channels, rows, columns,
    r, r_base, r_lane, r_wrap, r_pitch, r_n, r_c, r_h, r_x,
    a, a_base, a_lane, a_wrap, a_pitch, a_n, a_c, a_h, a_x,
    b, b_base, b_lane, b_wrap, b_pitch, b_n, b_c, b_h, b_x,
    s, s_base, s_lane, s_wrap, s_pitch, s_n, s_c, s_h, s_x,
):  # fmt: skip
    """a*s + b (+ old r), or the square of a + b or a - b; b and s are one value per channel."""
    r, a, b, s = bare(r), bare(a), bare(b), bare(s)
    room_a, room_o = stack_f32(), stack_f32()
    for item in range(first, last):
        n, c = item // channels, item % channels
        r_row = row_start(r_base, r_lane, r_wrap, r_pitch, r_n, r_c, n, c)
        a_row = row_start(a_base, a_lane, a_wrap, a_pitch, a_n, a_c, n, c)
        bias = b[row_start(b_base, b_lane, b_wrap, b_pitch, b_n, b_c, n, c)]
        scale = s[row_start(s_base, s_lane, s_wrap, s_pitch, s_n, s_c, n, c)]
        for h in range(rows):
            for start in range(0, columns, CHUNK):
                count = min(CHUNK, columns - start)
                va = load(a, a_row + h * a_h + start * a_x, a_x, count, room_a)
                out = room_o[:count]
                at = r_row + h * r_h + start * r_x
                if code == MAC:
                    for x in range(count):
                        out[x] = fp.add(fp.mul(va[x], scale), bias)
                elif code == ADD_SQUARE:
                    for x in range(count):
                        t = fp.add(va[x], bias)
                        out[x] = fp.mul(t, t)
                else:
                    for x in range(count):
                        t = fp.sub(va[x], bias)
                        out[x] = fp.mul(t, t)
                if any_nan(out):
                    for x in range(count):
                        out[x] = _linear_exact(code, va[x], bias, scale)
                if accumulate:
                    for x in range(count):
                        out[x] = fp.add_exact(out[x], r[at + x * r_x])
                store(r, at, r_x, out)


MAX_ONLY, SELECT, MAX_SELECT = range(3)
COMPARE = {"max_only": MAX_ONLY, "select": SELECT, "max_select": MAX_SELECT}


@kernel
def compare(
    first, last, code, channels, rows, columns,
    r, r_base, r_lane, r_wrap, r_pitch, r_n, r_c, r_h, r_x,
    s, s_base, s_lane, s_wrap, s_pitch, s_n, s_c, s_h, s_x,
    a, a_base, a_lane, a_wrap, a_pitch, a_n, a_c, a_h, a_x,
    b, b_base, b_lane, b_wrap, b_pitch, b_n, b_c, b_h, b_x,
    p, p_base, p_lane, p_wrap, p_pitch, p_n, p_c, p_h, p_x,
    q, q_base, q_lane, q_wrap, q_pitch, q_n, q_c, q_h, q_x,
):  # fmt: skip
    """r = the greater of a and b, s = a > b ? p : q; all arrays as i32."""
    r, s, a, b, p, q = bare(r), bare(s), bare(a), bare(b), bare(p), bare(q)
    room_a, room_b, room_p, room_q = stack_i32(), stack_i32(), stack_i32(), stack_i32()
    out_r, out_s, above = stack_i32(), stack_i32(), stack_i32()
    for item in range(first, last):
        n, c = item // channels, item % channels
        r_row = row_start(r_base, r_lane, r_wrap, r_pitch, r_n, r_c, n, c)
        s_row = row_start(s_base, s_lane, s_wrap, s_pitch, s_n, s_c, n, c)
        a_row = row_start(a_base, a_lane, a_wrap, a_pitch, a_n, a_c, n, c)
        b_row = row_start(b_base, b_lane, b_wrap, b_pitch, b_n, b_c, n, c)
        p_row = row_start(p_base, p_lane, p_wrap, p_pitch, p_n, p_c, n, c)
        q_row = row_start(q_base, q_lane, q_wrap, q_pitch, q_n, q_c, n, c)
        for h in range(rows):
            for start in range(0, columns, CHUNK):
                count = min(CHUNK, columns - start)
                va = load(a, a_row + h * a_h + start * a_x, a_x, count, room_a)
                vb = load(b, b_row + h * b_h + start * b_x, b_x, count, room_b)
                for x in range(count):
                    v, w = va[x], vb[x]
                    above[x] = _I(-1) if fp.greater(fp.value(v), fp.value(w)) else _I(0)
                if code != SELECT:
                    for x in range(count):
                        out_r[x] = _I(_I(va[x] & above[x]) | _I(vb[x] & ~above[x]))
                if code == MAX_ONLY:
                    for x in range(count):
                        out_r[x] = fp.flush_bits(out_r[x])
                if code != MAX_ONLY:
                    vp = load(p, p_row + h * p_h + start * p_x, p_x, count, room_p)
                    vq = load(q, q_row + h * q_h + start * q_x, q_x, count, room_q)
                    for x in range(count):
                        out_s[x] = _I(_I(vp[x] & above[x]) | _I(vq[x] & ~above[x]))
                    store(s, s_row + h * s_h + start * s_x, s_x, out_s[:count])
                if code != SELECT:
                    store(r, r_row + h * r_h + start * r_x, r_x, out_r[:count])


@kernel
def lookup(
    first, last, table, channels, rows, columns,
    r, r_base, r_lane, r_wrap, r_pitch, r_n, r_c, r_h, r_x,
    a, a_base, a_lane, a_wrap, a_pitch, a_n, a_c, a_h, a_x,
):  # fmt: skip
    """r = table[low byte of a]; *a* is i32 or u8."""
    r, a, table = bare(r), bare(a), bare(table)
    for item in range(first, last):
        n, c = item // channels, item % channels
        r_row = row_start(r_base, r_lane, r_wrap, r_pitch, r_n, r_c, n, c)
        a_row = row_start(a_base, a_lane, a_wrap, a_pitch, a_n, a_c, n, c)
        for h in range(rows):
            out, index = r[r_row + h * r_h :], a[a_row + h * a_h :]
            for x in range(columns):
                out[x * r_x] = table[index[x * a_x] & 255]


def _table(i: Instruction, context: Context, words: int) -> np.ndarray | None:
    """The L2 table of a command, as i32, or None if it is not aligned or leaves L2."""
    offset = i.opd1_addr & (L2_BYTES - 1)
    if offset & 3 or offset + 4 * words > L2_BYTES:
        return None
    return context.l2_words.view(np.int32)[offset // 4 : offset // 4 + words]


def plan_sfu(operation: str, i: Instruction, context: Context) -> Step:
    shape = result_shape(i)
    r, a = (aligned(context.words, address, shape) for address in (i.res0_addr, i.opd0_addr))
    length = i.opd1_n if operation == "taylor" else 0
    table = _table(i, context, length) if length else context.ints[:1]
    if (i.res0_addr | i.opd0_addr) & 3 or table is None or not independent(shape, r, (a,)):
        return context.reference(i)
    rows, columns, (r, a) = merged(shape, (r, a))
    return context.parallel(
        unary, plain_parts(context, shape), UNARY[operation], table.view(np.float32), length,
        shape.c, rows, columns, *r, *a,
    )  # fmt: skip


def plan_linear(operation: str, i: Instruction, context: Context) -> Step:
    shape = result_shape(i)
    r, a = (aligned(context.words, address, shape) for address in (i.res0_addr, i.opd0_addr))
    b = constant(i.opd1_addr) if i.opt_opd1_const else per_channel(context.words, i.opd1_addr)
    s = constant(0)
    used = i.res0_addr | i.opd0_addr | (0 if i.opt_opd1_const else i.opd1_addr)
    if operation == "mac":
        s = constant(i.opd2_addr) if i.opt_opd2_const else per_channel(context.words, i.opd2_addr)
        used |= 0 if i.opt_opd2_const else i.opd2_addr
    if used & 3 or not independent(shape, r, (a, b, s)):
        return context.reference(i)
    rows, columns, (r, a) = merged(shape, (r, a))
    accumulate = operation == "mac" and bool(i.opt_res_add)
    return context.parallel(
        linear, plain_parts(context, shape), LINEAR[operation], accumulate, shape.c,
        rows, columns, *r, *a, *b, *s,
    )  # fmt: skip


def plan_compare(operation: str, i: Instruction, context: Context) -> Step:
    shape = result_shape(i)

    def operand(role: str) -> Operand:
        address = i.values.get(f"{role}_addr", 0)
        if i.values.get(f"opt_{role}_const", 0):
            return constant(address, np.int32)
        return aligned(context.ints, address, shape)

    operands = tuple(operand(role) for role in ("opd0", "opd1", "opd2", "opd3"))
    used = operands[:2] if operation == "max_only" else operands
    results = [aligned(context.ints, a, shape) for a in (i.res0_addr, i.res1_addr)]
    writes = {"max_only": results[:1], "select": results[1:], "max_select": results}[operation]
    addresses = i.res0_addr if operation != "select" else 0
    addresses |= i.res1_addr if operation != "max_only" else 0
    for role, o in zip(("opd0", "opd1", "opd2", "opd3"), used, strict=False):
        addresses |= i.values.get(f"{role}_addr", 0) if o.wrap == LANES else 0
    if (
        addresses & 3
        or any(not independent(shape, w, used) for w in writes)
        # Two results in one place, or one in the place of the other's operand, need an order.
        or (len(writes) == 2 and not independent(shape, writes[0], (writes[1],)))
        or (len(writes) == 2 and writes[0].place == writes[1].place)
    ):
        return context.reference(i)
    a, b, p, q = operands if operation != "max_only" else (*used, used[0], used[0])
    r, s = (results[0], results[1]) if len(writes) == 2 else (writes[0], writes[0])
    rows, columns, merged6 = merged(shape, (r, s, a, b, p, q))
    return context.parallel(
        compare, plain_parts(context, shape), COMPARE[operation], shape.c, rows, columns,
        *[field for o in merged6 for field in o],
    )  # fmt: skip


def plan_lookup(byte_index: bool, i: Instruction, context: Context) -> Step:
    shape = result_shape(i)
    table = _table(i, context, 256)
    found = footprint(i)
    if byte_index:
        lane, offset = split(i.opd0_addr)
        step = align_up(shape.h * shape.w, 128)
        a = Operand(
            context.bytes, offset, lane, LANES, LANE_WORDS * 4,
            slots(shape.c, lane) * step, step, shape.w, 1,
        )  # fmt: skip
        safe = not may_overlap(found.reads[0], found.writes[0]) and not i.res0_addr & 3
    else:
        a = aligned(context.ints, i.opd0_addr, shape)
        r = aligned(context.ints, i.res0_addr, shape)
        safe = independent(shape, r, (a,)) and not (i.res0_addr | i.opd0_addr) & 3
    if table is None or not safe:
        return context.reference(i)
    r = aligned(context.ints, i.res0_addr, shape)
    rows, columns, (r, a) = merged(shape, (r, a))
    return context.parallel(
        lookup, plain_parts(context, shape), table, shape.c, rows, columns, *r, *a
    )


PLANNERS: dict[str, Callable[[Instruction, Context], Step]] = {
    **{f"sfu.{name}": partial(plan_sfu, name) for name in UNARY},
    **{f"linear.{name}": partial(plan_linear, name) for name in LINEAR},
    **{f"compare.{name}": partial(plan_compare, name) for name in COMPARE},
    "lut.i8": partial(plan_lookup, True),
    "lut.i32": partial(plan_lookup, False),
}
