"""Element-wise int8 (4N) and int16 (2N) arithmetic.

Samples share 32-bit words, so a row of one sample is a row of words from which its bits are taken
and into which the result's bits are put; both are plain vector operations.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from nntc.isa.chip import LANES
from nntc.isa.forms import Instruction
from nntc.sim.fast.context import Context, Step
from nntc.sim.fast.native import CHUNK, bare, helper, kernel, stack_i64
from nntc.sim.fast.rows import (
    Operand,
    constant,
    fixed_strides,
    independent,
    local,
    merged,
    result_shape,
    row_start,
)

_I = np.int32
_L = np.int64

MUL, MAC, ADD, SUB, MAX, MIN, AND, OR, XOR, SHIFT_LOGICAL, SHIFT_ARITHMETIC, COPY = range(12)
CODES = {
    "mul": MUL,
    "mac": MAC,
    "add": ADD,
    "sub": SUB,
    "max": MAX,
    "min": MIN,
    "and": AND,
    "or": OR,
    "xor": XOR,
    "copy": COPY,
}
# Codes up to SUB are rounded, codes up to MIN saturate.


@helper
def extract(array, at, step, count, shift, size, signed, out):
    """Sample bits of *count* words as i64; *shift* is the sample's lowest bit."""
    up, down = _I(32 - 8 * size - shift), _I(32 - 8 * size)
    mask = _I((1 << (8 * size)) - 1)
    if step == 1:
        line = array[at : at + count]
        if signed:
            for x in range(count):
                out[x] = _I(_I(line[x] << up) >> down)
        else:
            for x in range(count):
                out[x] = _I(_I(line[x] >> _I(shift)) & mask)
    else:
        for x in range(count):
            word = array[at + x * step]
            if signed:
                out[x] = _I(_I(word << up) >> down)
            else:
                out[x] = _I(_I(word >> _I(shift)) & mask)


@helper
def insert(array, at, step, values, shift, size):
    """Put the low bits of *values* into the sample's bits of words."""
    mask = _I(((_L(1) << (8 * size)) - 1) << shift)
    if step == 1:
        line = array[at : at + values.size]
        for x in range(values.size):
            line[x] = _I(line[x] & ~mask) | _I(_I(_I(values[x]) << _I(shift)) & mask)
    else:
        for x in range(values.size):
            word = array[at + x * step]
            array[at + x * step] = _I(word & ~mask) | _I(_I(_I(values[x]) << _I(shift)) & mask)


@helper
def _compute(code, a, b, old, half, right, low, high, out):
    if code == MUL:
        for x in range(out.size):
            out[x] = a[x] * b[x]
    elif code == MAC:
        for x in range(out.size):
            out[x] = a[x] * b[x] + old[x]
    elif code == ADD:
        for x in range(out.size):
            out[x] = a[x] + b[x]
    elif code == SUB:
        for x in range(out.size):
            out[x] = a[x] - b[x]
    elif code == MAX:
        for x in range(out.size):
            out[x] = max(a[x], b[x])
    elif code == MIN:
        for x in range(out.size):
            out[x] = min(a[x], b[x])
    elif code == AND:
        for x in range(out.size):
            out[x] = a[x] & b[x]
    elif code == OR:
        for x in range(out.size):
            out[x] = a[x] | b[x]
    elif code == XOR:
        for x in range(out.size):
            out[x] = a[x] ^ b[x]
    elif code == COPY:
        for x in range(out.size):
            out[x] = a[x]
    else:
        for x in range(out.size):
            # 16-bit values; the amount is the signed low byte of b.
            amount = ((b[x] & 255) ^ 128) - 128
            v = a[x] & 0xFFFF
            if code == SHIFT_ARITHMETIC:
                v = (v ^ 0x8000) - 0x8000
            out[x] = v << min(amount, 16) if amount >= 0 else v >> min(-amount, 31)
    if code <= SUB:
        for x in range(out.size):
            out[x] = (out[x] + half) >> right
    if code <= MIN:
        for x in range(out.size):
            out[x] = min(max(out[x], low), high)


@kernel
def fixed(
    first, last, code, samples, rows, columns, left, right, low, high,
    r, r_base, r_lane, r_wrap, r_pitch, r_n, r_c, r_h, r_x, r_size, r_signed,
    a, a_base, a_lane, a_wrap, a_pitch, a_n, a_c, a_h, a_x, a_size, a_signed, a_one,
    b, b_base, b_lane, b_wrap, b_pitch, b_n, b_c, b_h, b_x, b_size, b_signed, b_one,
):  # fmt: skip
    """Channels [first, last); *_one: the operand has one sample for all.

    All samples of a channel go one after the other: they share the words that are written.
    """
    r, a, b = bare(r), bare(a), bare(b)
    va, vb, vo, vr = stack_i64(), stack_i64(), stack_i64(), stack_i64()
    half = (_L(1) << right) >> 1
    r_together, a_together, b_together = 4 // r_size, 4 // a_size, 4 // b_size
    for item in range(first * samples, last * samples):
        c, n = item // samples, item % samples
        na, nb = (0 if a_one else n), (0 if b_one else n)
        r_row = row_start(r_base, r_lane, r_wrap, r_pitch, r_n, r_c, n // r_together, c)
        a_row = row_start(a_base, a_lane, a_wrap, a_pitch, a_n, a_c, na // a_together, c)
        b_row = row_start(b_base, b_lane, b_wrap, b_pitch, b_n, b_c, nb // b_together, c)
        r_bit = (n % r_together) * r_size * 8
        a_bit = (na % a_together) * a_size * 8 if a_wrap > 1 else 0
        b_bit = (nb % b_together) * b_size * 8 if b_wrap > 1 else 0
        for h in range(rows):
            for start in range(0, columns, CHUNK):
                count = min(CHUNK, columns - start)
                extract(a, a_row + h * a_h + start * a_x, a_x, count, a_bit, a_size, a_signed, va)
                if code != COPY:
                    extract(
                        b, b_row + h * b_h + start * b_x, b_x, count, b_bit, b_size, b_signed, vb
                    )
                at = r_row + h * r_h + start * r_x
                if code == MAC:
                    extract(r, at, r_x, count, r_bit, r_size, r_signed, vr)
                    for x in range(count):
                        vr[x] = vr[x] << left
                out = vo[:count]
                _compute(code, va, vb, vr, half, right, low, high, out)
                insert(r, at, r_x, out, r_bit, r_size)


_SIZE = {0: 1, 1: 2, 2: 4, 3: 2, 4: 4}


class _Packed(NamedTuple):
    operand: Operand
    size: int
    signed: bool
    one: bool


def _packed(i: Instruction, role: str, context: Context) -> _Packed:
    v = i.values
    size = _SIZE[v.get(f"opt_{role}_prec", 0)]
    signed = bool(v.get(f"opt_{role}_sign", 0))
    address = v.get(f"{role}_addr", 0)
    if v.get(f"opt_{role}_const", 0):
        return _Packed(constant(address, np.int32), size, signed, True)
    strides = fixed_strides(i, role, result_shape(i))
    operand = local(context.ints, address, strides)
    return _Packed(operand, size, signed, bool(v.get(f"{role}_neq1", 0)))


def plan_fixed(operation: str, i: Instruction, context: Context) -> Step:
    shape = result_shape(i)
    r, a = _packed(i, "res0", context), _packed(i, "opd0", context)
    b = a if operation == "copy" else _packed(i, "opd1", context)
    addresses = i.res0_addr
    addresses |= i.opd0_addr if a.operand.wrap == LANES else 0
    addresses |= i.opd1_addr if b.operand.wrap == LANES and b is not a else 0
    # Samples go in order, so a result may take the place of an operand of the same or the double
    # size: the bytes of sample n end before those of any later sample of the operand.
    odd = any(p.operand.place == r.operand.place and (p.size < r.size or p.one) for p in (a, b))
    words = shape._replace(n=-(-shape.n * min(r.size, a.size, b.size) // 4))
    widest = shape._replace(n=-(-shape.n * max(r.size, a.size, b.size) // 4))
    if (
        addresses & 3
        or odd
        or max(r.size, a.size, b.size) > 2
        or not independent(words, r.operand, ())
        or not independent(widest, r.operand, (a.operand, b.operand))
    ):
        return context.reference(i)
    code = CODES.get(operation, SHIFT_ARITHMETIC if i.opt_shift_typ else SHIFT_LOGICAL)
    signed = bool(i.opt_opd0_sign | i.opt_opd1_sign)
    bits = 8 * r.size
    low, high = 0, (1 << bits) - 1
    if signed or operation == "sub":
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    rows, columns, (ro, ao, bo) = merged(shape, (r.operand, a.operand, b.operand))
    return context.parallel(
        fixed, context.ranges(shape.c, shape.size, 300_000), code, shape.n,
        rows, columns, i.opt_left_shift, i.opt_right_shift, low, high,
        *ro, r.size, signed, *ao, a.size, a.signed, a.one, *bo, b.size, b.signed, b.one,
    )  # fmt: skip


PLANNERS: dict[str, Callable[[Instruction, Context], Step]] = {
    f"ar.{name}.fix": partial(plan_fixed, name) for name in (*CODES, "shift")
}
