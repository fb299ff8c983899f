"""Element-wise arithmetic on strided tensors: fp32, int32, and int8/int16 fixed point."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from nntc.isa.chip import Prec
from nntc.isa.forms import Instruction
from nntc.isa.layout import Shape4, Strides, aligned_strides, slots
from nntc.sim.reference import fp32
from nntc.sim.reference.address import Access, lane_of, positions, result_shape, user_strides
from nntc.sim.reference.integers import integer, saturate, shift_round

SIZE = {Prec.INT8: 1, Prec.INT16: 2, Prec.FP32: 4, Prec.INT32: 4, Prec.FP16: 2}

Binary = Callable[[np.ndarray, np.ndarray], np.ndarray]

F32: dict[str, Binary] = {
    "mul": fp32.mul,
    "add": fp32.add,
    "sub": fp32.sub,
    "max": fp32.maximum,
    "min": fp32.minimum,
    "div": fp32.divide,
}


def shift32(a: np.ndarray, b: np.ndarray, arithmetic: bool) -> np.ndarray:
    """u32 shifted by the signed low 6 bits of *b*: left if positive, else right."""
    amount = (b & np.uint32(63)).astype(np.int64)
    amount = np.where(amount >= 32, amount - 64, amount)
    value = a.view(np.int32).astype(np.int64) if arithmetic else a.astype(np.int64)
    shifted = np.where(amount >= 0, value << (amount & 31), value >> (-amount & 31))
    return (shifted & 0xFFFFFFFF).astype(np.uint32)


def shift16(a: np.ndarray, b: np.ndarray, arithmetic: bool) -> np.ndarray:
    """i64 of 16-bit values shifted by the signed low byte of *b*, shifting out completely."""
    amount = (b & 0xFF).astype(np.uint8).view(np.int8).astype(np.int64)
    value = a & 0xFFFF
    if arithmetic:
        value = np.where(value >= 0x8000, value - 0x10000, value)
    left, right = np.clip(amount, 0, 16), np.clip(-amount, 0, 31)
    return np.where(amount >= 0, value << left, value >> right)


I32: dict[str, Binary] = {
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}


def operand_strides(i: Instruction, role: str, shape: Shape4) -> Strides:
    """Code 0 is the aligned layout, any other code the fields.

    Operand 1 honours zero n, h and w strides as sizes of 1 even in the aligned layout.
    """
    fields = user_strides(i, role)
    if getattr(i, f"short_{role}_str"):
        return fields
    lane = lane_of(getattr(i, f"{role}_addr"))
    if role != "opd1":
        return aligned_strides(shape, lane)
    h, w = (shape.h if fields.h else 1), (shape.w if fields.w else 1)
    strides = aligned_strides(Shape4(shape.n, shape.c, h, w), lane)
    return Strides(
        strides.n if fields.n else 0,
        strides.c,
        strides.h if fields.h else 0,
        strides.w if fields.w else 0,
    )


def _words(i: Instruction, role: str) -> np.ndarray:
    shape = result_shape(i)
    shifts = (getattr(i, f"{role}_h_shift"), getattr(i, f"{role}_w_shift"))
    address = getattr(i, f"{role}_addr")
    return positions(address, shape, operand_strides(i, role, shape), shifts=shifts)


def _word_operand(i: Instruction, role: str, memory: Access) -> np.ndarray:
    if getattr(i, f"opt_{role}_const"):
        pattern = getattr(i, f"{role}_addr") & 0xFFFFFFFF
        return np.full(result_shape(i), pattern, np.uint32).view(np.float32)
    return memory.load(_words(i, role))


def ar_f32(operation: str, i: Instruction, memory: Access) -> None:
    at = _words(i, "res0")
    a = _word_operand(i, "opd0", memory)
    if operation == "copy":
        memory.store(at, a)
        return
    b = _word_operand(i, "opd1", memory)
    if operation == "mac":
        result = fp32.add(fp32.mul(a, b), memory.load(at))
    elif operation in ("select_gt", "select_eq"):
        chosen = fp32.greater(a, b) if operation == "select_gt" else fp32.bits(a) == fp32.bits(b)
        result = fp32.value(np.where(chosen, np.uint32(i.opd2_addr), np.uint32(0)))
    else:
        result = F32[operation](a, b)
    memory.store(at, result)


def ar_i32(operation: str, i: Instruction, memory: Access) -> None:
    at = _words(i, "res0")
    a = _word_operand(i, "opd0", memory).view(np.uint32)
    if operation == "copy":
        memory.store(at, a)
        return
    b = _word_operand(i, "opd1", memory).view(np.uint32)
    if operation == "shift":
        result = shift32(a, b, bool(i.opt_shift_typ))
    else:
        result = I32[operation](a, b)
    memory.store(at, result)


def _fixed_positions(i: Instruction, role: str, size: int) -> np.ndarray:
    shape = result_shape(i)
    strides = operand_strides_fixed(i, role, shape, size)
    if role != "res0" and getattr(i, f"{role}_neq1"):
        shape = shape._replace(n=1)
    return positions(getattr(i, f"{role}_addr"), shape, strides, 4, 4 // size, size)


def operand_strides_fixed(i: Instruction, role: str, shape: Shape4, size: int) -> Strides:
    """As :func:`operand_strides` without the zero rule; n counts units of 4 / *size* samples."""
    if getattr(i, f"short_{role}_str"):
        return user_strides(i, role)
    lane = lane_of(getattr(i, f"{role}_addr"))
    strides = aligned_strides(shape, lane)
    return strides._replace(n=slots(shape.c, lane) * strides.c)


def _fixed_operand(i: Instruction, role: str, memory: Access) -> np.ndarray:
    """i64 of shape res0, sign- or zero-extended."""
    size = SIZE[Prec(getattr(i, f"opt_{role}_prec"))]
    dtype = integer(size, getattr(i, f"opt_{role}_sign"))
    if getattr(i, f"opt_{role}_const"):
        pattern = getattr(i, f"{role}_addr") & ((1 << 8 * size) - 1)
        value = np.array([pattern], f"<u{size}").view(dtype)[0]
        return np.full(result_shape(i), int(value), np.int64)
    loaded = memory.load(_fixed_positions(i, role, size), dtype)
    return np.broadcast_to(loaded, result_shape(i)).astype(np.int64)


def ar_fix(operation: str, i: Instruction, memory: Access) -> None:
    size = SIZE[Prec(i.opt_res0_prec)]
    at = _fixed_positions(i, "res0", size)
    signed = bool(i.opt_opd0_sign | i.opt_opd1_sign)
    a = _fixed_operand(i, "opd0", memory)
    b = a if operation == "copy" else _fixed_operand(i, "opd1", memory)
    if operation in ("mul", "add", "sub", "mac"):
        if operation == "mul":
            total = a * b
        elif operation == "add":
            total = a + b
        elif operation == "sub":
            total, signed = a - b, True
        else:
            before = memory.load(at, integer(size, signed)).astype(np.int64)
            total = a * b + (before << i.opt_left_shift)
        result = saturate(shift_round(total, i.opt_right_shift), size, signed)
    elif operation in ("max", "min"):
        result = saturate((np.maximum if operation == "max" else np.minimum)(a, b), size, signed)
    else:
        if operation == "shift":
            total = shift16(a, b, bool(i.opt_shift_typ))
        elif operation == "copy":
            total = a
        else:
            total = I32[operation](a, b)
        result = (total & ((1 << 8 * size) - 1)).astype(integer(size, False))
    memory.store(at, result)


OPERATIONS = {
    **{
        f"ar.{name}.f32": partial(ar_f32, name)
        for name in (*F32, "mac", "select_gt", "select_eq", "copy")
    },
    **{f"ar.{name}.i32": partial(ar_i32, name) for name in (*I32, "shift", "copy")},
    **{
        f"ar.{name}.fix": partial(ar_fix, name)
        for name in ("mul", "mac", "add", "sub", "max", "min", *I32, "shift", "copy")
    },
}
