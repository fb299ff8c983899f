"""Element-wise fp32 and int32 arithmetic, scalar and vector forms.

Rows are computed with plain vector arithmetic; a row with a NaN in its result, which is rare, is
computed again with the exact NaN rules.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from nntc.isa.footprint import footprint
from nntc.isa.forms import Instruction
from nntc.isa.layout import Shape4, Strides
from nntc.isa.regions import may_overlap
from nntc.sim.fast import fp
from nntc.sim.fast.context import Context, Step, sequence
from nntc.sim.fast.native import CHUNK, bare, helper, kernel, stack_f32, stack_i32
from nntc.sim.fast.rows import (
    Operand,
    aligned,
    constant,
    independent,
    load,
    local,
    merged,
    plain_parts,
    result_shape,
    role_strides,
    row_start,
    store,
)

_I = np.int32

MUL, ADD, SUB, DIV, MAX, MIN, SELECT_GT, SELECT_EQ = range(8)
F32_CODES = {
    "mul": MUL,
    "add": ADD,
    "sub": SUB,
    "div": DIV,
    "max": MAX,
    "min": MIN,
    "select_gt": SELECT_GT,
    "select_eq": SELECT_EQ,
}

AND, OR, XOR, SHIFT_LOGICAL, SHIFT_ARITHMETIC = range(5)
I32_CODES = {"and": AND, "or": OR, "xor": XOR}


@helper
def _compute(code, a, b, out):
    """One row; NaN payloads are the processor's. Returns whether there is a NaN."""
    # Loops end in integer operations on the pattern: floats would be compared one by one.
    worst = _I(0)
    if code == MUL:
        for x in range(out.size):
            v = fp.mul(a[x], b[x])
            worst = max(worst, fp.magnitude(v))
            out[x] = v
    elif code == ADD:
        for x in range(out.size):
            v = fp.add(a[x], b[x])
            worst = max(worst, fp.magnitude(v))
            out[x] = v
    elif code == SUB:
        for x in range(out.size):
            v = fp.sub(a[x], b[x])
            worst = max(worst, fp.magnitude(v))
            out[x] = v
    else:
        for x in range(out.size):
            v = fp.div(a[x], b[x])
            worst = max(worst, fp.magnitude(v))
            out[x] = v
    return worst > _I(fp.NAN_ABOVE)


@helper
def _repair(code, a, b, out):
    """The row again, element by element, with the NaN rules."""
    for x in range(out.size):
        if code == MUL:
            out[x] = fp.mul_exact(a[x], b[x])
        elif code == ADD:
            out[x] = fp.add_exact(a[x], b[x])
        elif code == SUB:
            out[x] = fp.sub_exact(a[x], b[x])
        else:
            out[x] = fp.div_exact(a[x], b[x])


@helper
def _choose(code, a, b, out, chosen):
    """The forms that move bits instead of computing; all arrays as i32."""
    # Patterns are loaded once, as integers: that is what the compiler turns into vectors.
    if code == MAX:
        for x in range(out.size):
            p, q = a[x], b[x]
            out[x] = fp.flush_bits(p if fp.greater(fp.value(p), fp.value(q)) else q)
    elif code == MIN:
        for x in range(out.size):
            p, q = a[x], b[x]
            out[x] = p if fp.not_above(fp.value(p), fp.value(q)) else q
    elif code == SELECT_GT:
        for x in range(out.size):
            p, q = a[x], b[x]
            out[x] = chosen if fp.greater(fp.value(p), fp.value(q)) else _I(0)
    else:
        for x in range(out.size):
            out[x] = chosen if a[x] == b[x] else _I(0)


@helper
def any_nan(values):
    worst = _I(0)
    for x in range(values.size):
        worst = max(worst, fp.magnitude(values[x]))
    return worst > _I(fp.NAN_ABOVE)


@kernel
def binary_f32(
    first, last, code, chosen, accumulate, channels, rows, columns,
    r, r_base, r_lane, r_wrap, r_pitch, r_n, r_c, r_h, r_x,
    a, a_base, a_lane, a_wrap, a_pitch, a_n, a_c, a_h, a_x,
    b, b_base, b_lane, b_wrap, b_pitch, b_n, b_c, b_h, b_x,
):  # fmt: skip
    """r = a op b, then + the old r if *accumulate*."""
    r, a, b = bare(r), bare(a), bare(b)
    room_a, room_b, room_r = stack_f32(), stack_f32(), stack_f32()
    room_o, room_s = stack_f32(), stack_f32()
    for item in range(first, last):
        n, c = item // channels, item % channels
        r_row = row_start(r_base, r_lane, r_wrap, r_pitch, r_n, r_c, n, c)
        a_row = row_start(a_base, a_lane, a_wrap, a_pitch, a_n, a_c, n, c)
        b_row = row_start(b_base, b_lane, b_wrap, b_pitch, b_n, b_c, n, c)
        for h in range(rows):
            for start in range(0, columns, CHUNK):
                count = min(CHUNK, columns - start)
                va = load(a, a_row + h * a_h + start * a_x, a_x, count, room_a)
                vb = load(b, b_row + h * b_h + start * b_x, b_x, count, room_b)
                out = room_o[:count]
                at = r_row + h * r_h + start * r_x
                if code > DIV:
                    _choose(code, va.view(np.int32), vb.view(np.int32), out.view(np.int32), chosen)
                elif _compute(code, va, vb, out):
                    _repair(code, va, vb, out)
                if accumulate:
                    old, total = load(r, at, r_x, count, room_r), room_s[:count]
                    if _compute(ADD, out, old, total):
                        _repair(ADD, out, old, total)
                    out = total
                store(r, at, r_x, out)


@kernel
def binary_i32(
    first, last, code, channels, rows, columns,
    r, r_base, r_lane, r_wrap, r_pitch, r_n, r_c, r_h, r_x,
    a, a_base, a_lane, a_wrap, a_pitch, a_n, a_c, a_h, a_x,
    b, b_base, b_lane, b_wrap, b_pitch, b_n, b_c, b_h, b_x,
):  # fmt: skip
    r, a, b = bare(r), bare(a), bare(b)
    room_a, room_b, room_o = stack_i32(), stack_i32(), stack_i32()
    for item in range(first, last):
        n, c = item // channels, item % channels
        r_row = row_start(r_base, r_lane, r_wrap, r_pitch, r_n, r_c, n, c)
        a_row = row_start(a_base, a_lane, a_wrap, a_pitch, a_n, a_c, n, c)
        b_row = row_start(b_base, b_lane, b_wrap, b_pitch, b_n, b_c, n, c)
        for h in range(rows):
            for start in range(0, columns, CHUNK):
                count = min(CHUNK, columns - start)
                va = load(a, a_row + h * a_h + start * a_x, a_x, count, room_a)
                vb = load(b, b_row + h * b_h + start * b_x, b_x, count, room_b)
                out = room_o[:count]
                if code == AND:
                    for x in range(count):
                        out[x] = va[x] & vb[x]
                elif code == OR:
                    for x in range(count):
                        out[x] = va[x] | vb[x]
                elif code == XOR:
                    for x in range(count):
                        out[x] = va[x] ^ vb[x]
                else:
                    for x in range(count):
                        # The amount is the signed low 6 bits of b.
                        amount = ((vb[x] & 63) ^ 32) - 32
                        wide = np.int64(va[x])
                        if code == SHIFT_LOGICAL:
                            wide &= 0xFFFFFFFF
                        if amount >= 0:
                            out[x] = _I(wide << amount)
                        else:
                            out[x] = _I(wide >> (-amount & 31))
                store(r, r_row + h * r_h + start * r_x, r_x, out)


def _shifted(i: Instruction, roles: tuple[str, ...]) -> bool:
    return any(i.values.get(f"{r}_{d}_shift", 0) for r in roles for d in "hw")


def _operand(i: Instruction, role: str, array: np.ndarray, shape: Shape4) -> Operand:
    address = i.values.get(f"{role}_addr", 0)
    if i.values.get(f"opt_{role}_const", 0):
        return constant(address, array.dtype)
    return local(array, address, role_strides(i, role, shape))


def _misaligned(*operands: tuple[Operand, int]) -> bool:
    return any(o.wrap != 1 and address & 3 for o, address in operands)


def run_binary(
    context: Context,
    shape: Shape4,
    code: int,
    operands: tuple[Operand, Operand, Operand],
    chosen: int = 0,
    accumulate: bool = False,
) -> Step:
    """The step for r = a op b on fp32 operands (r, a, b)."""
    rows, columns, operands3 = merged(shape, operands)
    r, a, b = operands3
    pattern = _I(np.array(chosen & 0xFFFFFFFF, np.uint32).view(np.int32))
    return context.parallel(
        binary_f32, plain_parts(context, shape), code, pattern, accumulate, shape.c,
        rows, columns, *r, *a, *b,
    )  # fmt: skip


def plan_ar_f32(operation: str, i: Instruction, context: Context) -> Step:
    shape = result_shape(i)
    r = local(context.words, i.res0_addr, role_strides(i, "res0", shape))
    a = _operand(i, "opd0", context.words, shape)
    b = _operand(i, "opd1", context.words, shape)
    if (
        _shifted(i, ("res0", "opd0", "opd1"))
        or _misaligned((r, i.res0_addr), (a, i.opd0_addr), (b, i.opd1_addr))
        or not independent(shape, r, (a, b))
    ):
        return context.reference(i)
    code = F32_CODES["mul" if operation == "mac" else operation]
    return run_binary(context, shape, code, (r, a, b), i.opd2_addr, operation == "mac")


def plan_ar_i32(operation: str, i: Instruction, context: Context) -> Step:
    shape = result_shape(i)
    r = local(context.ints, i.res0_addr, role_strides(i, "res0", shape))
    a = _operand(i, "opd0", context.ints, shape)
    b = _operand(i, "opd1", context.ints, shape)
    if (
        _shifted(i, ("res0", "opd0", "opd1"))
        or _misaligned((r, i.res0_addr), (a, i.opd0_addr), (b, i.opd1_addr))
        or not independent(shape, r, (a, b))
    ):
        return context.reference(i)
    code = I32_CODES.get(operation, SHIFT_ARITHMETIC if i.opt_shift_typ else SHIFT_LOGICAL)
    rows, columns, (r, a, b) = merged(shape, (r, a, b))
    return context.parallel(
        binary_i32, plain_parts(context, shape), code, shape.c, rows, columns, *r, *a, *b
    )


def plan_scalar(operation: str, i: Instruction, context: Context) -> Step:
    shape = result_shape(i)
    r = aligned(context.words, i.res0_addr, shape)

    def operand(role: str) -> Operand:
        address = i.values.get(f"{role}_addr", 0)
        if i.values.get(f"opt_{role}_const", 0):
            return constant(address)
        return aligned(context.words, address, shape)

    a, b = operand("opd0"), operand("opd1")
    if _misaligned((r, i.res0_addr), (a, i.opd0_addr), (b, i.opd1_addr)) or not independent(
        shape, r, (a, b)
    ):
        return context.reference(i)
    return run_binary(context, shape, F32_CODES[operation], (r, a, b), 0, bool(i.opt_res_add))


def plan_vector(operation: str, kind: str, i: Instruction, context: Context) -> Step:
    """The left vector is gathered first; it then is an operand with a step along n only."""
    found = footprint(i)
    if (i.opd0_addr | i.opd1_addr | i.res0_addr) & 3 or any(
        may_overlap(found.writes[0], r) for r in found.reads
    ):
        return context.reference(i)
    count = (i.opd0_c - 1) * i.opd0_w + i.opd1_w
    shape = Shape4(count, i.res0_c, 1, i.res0_w)
    array = context.words if kind == "f32" else context.ints
    values = context.scratch("vector", i.opd0_c * i.opd0_w).view(array.dtype)
    vector = Operand(values, 0, 0, 1, 0, 0, i.opd0_w, 0, 1)
    source = aligned(array, i.opd0_addr, Shape4(1, i.opd0_c, 1, i.opd0_w))
    one = constant(0, array.dtype)
    # Copying as "or 0" keeps all bits.
    gather = partial(
        binary_i32, 0, i.opd0_c, OR, i.opd0_c, 1, i.opd0_w,
        *vector._replace(array=values.view(np.int32)),
        *source._replace(array=context.ints), *one._replace(array=one.array.view(np.int32)),
    )  # fmt: skip
    a = Operand(values, 0, 0, 1, 0, 1, 0, 0, 0)
    b = aligned(array, i.opd1_addr, Shape4(1, i.res0_c, 1, i.res0_w))._replace(n_step=0)
    r = aligned(array, i.res0_addr, shape)
    if kind == "f32":
        return sequence(gather, run_binary(context, shape, F32_CODES[operation], (r, a, b)))
    compute = context.parallel(
        binary_i32, plain_parts(context, shape), I32_CODES[operation], shape.c, 1, shape.w,
        *r, *a, *b,
    )  # fmt: skip
    return sequence(gather, compute)


def per_channel(array: np.ndarray, address: int) -> Operand:
    """One word per channel, slots packed."""
    return local(array, address, Strides(0, 1, 0, 0))


PLANNERS: dict[str, Callable[[Instruction, Context], Step]] = {
    **{f"ar.{name}.f32": partial(plan_ar_f32, name) for name in (*F32_CODES, "mac")},
    **{f"ar.{name}.i32": partial(plan_ar_i32, name) for name in (*I32_CODES, "shift")},
    **{f"scalar.{name}": partial(plan_scalar, name) for name in ("mul", "add", "sub", "div")},
    **{
        f"vector.{name}.f32": partial(plan_vector, name, "f32")
        for name in ("mul", "add", "sub", "div", "max", "min")
    },
    **{f"vector.{name}.i32": partial(plan_vector, name, "i32") for name in I32_CODES},
}
