"""Scalar, special-function, per-channel, compare, lookup and vector forms (aligned fp32)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from nntc.isa.forms import Instruction
from nntc.isa.layout import Shape4, Strides, align_up, slots
from nntc.sim.reference import fp32
from nntc.sim.reference.address import (
    Access,
    aligned,
    lane_of,
    per_channel,
    positions,
    result_shape,
)
from nntc.sim.reference.arithmetic import F32, I32


def _tensor(i: Instruction, role: str, memory: Access) -> np.ndarray:
    """An operand of the result's shape, or the constant in its address field."""
    pattern = getattr(i, f"{role}_addr") & 0xFFFFFFFF
    if getattr(i, f"opt_{role}_const"):
        return np.full(result_shape(i), pattern, np.uint32).view(np.float32)
    return memory.load(aligned(pattern, result_shape(i)))


def _result(i: Instruction, role: str = "res0") -> np.ndarray:
    return aligned(getattr(i, f"{role}_addr"), result_shape(i))


def scalar(operation: str, i: Instruction, memory: Access) -> None:
    out = F32[operation](_tensor(i, "opd0", memory), _tensor(i, "opd1", memory))
    at = _result(i)
    if i.opt_res_add:
        out = fp32.add(out, memory.load(at))
    memory.store(at, out)


_SFU: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "f32_to_i32": fp32.to_int32,
    "norm_a": fp32.norm_a,
    "norm_b": fp32.norm_b,
    "rsqrt": fp32.rsqrt,
}


def sfu(operation: str, i: Instruction, memory: Access) -> None:
    # The constant flag of operand 0 is not read here.
    a = memory.load(aligned(i.opd0_addr, result_shape(i)))
    if operation == "taylor":
        table = memory.load_table(i.opd1_addr, np.arange(i.opd1_n))
        out = fp32.taylor(a, table)
    else:
        out = _SFU[operation](a)
    memory.store(_result(i), out)


def linear(operation: str, i: Instruction, memory: Access) -> None:
    """opd1 is the bias, opd2 the scale: one value per channel each, or constants."""

    def channel_values(role: str) -> np.ndarray | np.float32:
        address = getattr(i, f"{role}_addr")
        if getattr(i, f"opt_{role}_const"):
            return fp32.constant(address)
        return memory.load(per_channel(address, i.res0_c))

    a = memory.load(aligned(i.opd0_addr, result_shape(i)))
    b = np.broadcast_to(channel_values("opd1"), a.shape)
    at = _result(i)
    if operation == "mac":
        scale = np.broadcast_to(channel_values("opd2"), a.shape)
        out = fp32.add(fp32.mul(a, scale), b)
        if i.opt_res_add:
            out = fp32.add(out, memory.load(at))
    else:
        total = fp32.add(a, b) if operation == "add_square" else fp32.sub(a, b)
        out = fp32.mul(total, total)
    memory.store(at, out)


def compare(operation: str, i: Instruction, memory: Access) -> None:
    a, b = _tensor(i, "opd0", memory), _tensor(i, "opd1", memory)
    if operation == "max_only":
        memory.store(_result(i), fp32.maximum(a, b))
        return
    chosen = fp32.greater(a, b)
    c, d = _tensor(i, "opd2", memory), _tensor(i, "opd3", memory)
    if operation == "max_select":
        # Unlike max_only this keeps denormals.
        memory.store(_result(i), np.where(chosen, a, b))
    memory.store(_result(i, "res1"), np.where(chosen, c, d))


def lookup(byte_index: bool, i: Instruction, memory: Access) -> None:
    shape = result_shape(i)
    if byte_index:
        lane, slot = lane_of(i.opd0_addr), align_up(shape.h * shape.w, 128)
        strides = Strides(slots(shape.c, lane) * slot, slot, shape.w, 1)
        index = memory.load(positions(i.opd0_addr, shape, strides, 1), np.uint8)
    else:
        index = memory.load(aligned(i.opd0_addr, shape), np.uint32) & np.uint32(255)
    memory.store(_result(i), memory.load_table(i.opd1_addr, index))


def vector(operation: str, kind: str, i: Instruction, memory: Access) -> None:
    """res[k][c][0][w] = v0[k] op v1[c][w]."""
    count = (i.opd0_c - 1) * i.opd0_w + i.opd1_w
    v0 = memory.load(aligned(i.opd0_addr, Shape4(1, i.opd0_c, 1, i.opd0_w))).reshape(-1)[:count]
    v1 = memory.load(aligned(i.opd1_addr, Shape4(1, i.res0_c, 1, i.res0_w)))
    a, b = np.broadcast_arrays(v0[:, None, None, None], v1)
    if kind == "f32":
        out = F32[operation](a, b)
    else:
        out = I32[operation](fp32.bits(a), fp32.bits(b))
    memory.store(aligned(i.res0_addr, Shape4(count, i.res0_c, 1, i.res0_w)), out)


OPERATIONS = {
    **{f"scalar.{name}": partial(scalar, name) for name in ("mul", "add", "sub", "div")},
    **{f"sfu.{name}": partial(sfu, name) for name in (*_SFU, "taylor")},
    **{f"linear.{name}": partial(linear, name) for name in ("mac", "add_square", "sub_square")},
    **{f"compare.{name}": partial(compare, name) for name in ("max_only", "select", "max_select")},
    "lut.i8": partial(lookup, True),
    "lut.i32": partial(lookup, False),
    **{f"vector.{name}.f32": partial(vector, name, "f32") for name in F32},
    **{f"vector.{name}.i32": partial(vector, name, "i32") for name in I32},
}
