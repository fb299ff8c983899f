"""Layers that work element by element."""

from __future__ import annotations

import numpy as np

from nntc.bmodel.cpu_ops import (
    BinaryFn,
    BinaryParam,
    CpuDType,
    CpuOp,
    DebugParam,
    UnaryFn,
    UnaryParam,
)
from nntc.runtime.cpu import arith
from nntc.runtime.cpu.arith import INT_MIN, round_half_away, to_int
from nntc.runtime.cpu.registry import Call, Output, layer


@layer(
    CpuOp.UNARY,
    "sin, cos, isfinite (1.0 or 0.0), ceil, floor or round (halves away from zero)",
    "x:f32",
    "y:f32",
)
def unary(call: Call[UnaryParam]) -> list[Output]:
    x, fn = call.inputs[0], call.param.unary_op
    if fn in (UnaryFn.SIN, UnaryFn.COS):
        return [arith.sin(x) if fn == UnaryFn.SIN else arith.cos(x)]
    if fn == UnaryFn.ISFINITE:
        return [np.isfinite(x).astype(np.float32)]
    if fn == UnaryFn.CEIL:
        return [np.ceil(x)]
    if fn == UnaryFn.FLOOR:
        return [np.floor(x)]
    call.require(fn == UnaryFn.ROUND, f"unary_op {fn} is not in 0..5")
    return [round_half_away(x)]


@layer(
    CpuOp.BINARY,
    "remainder or quotient of integers, toward zero as in C, with NumPy's broadcasting; floats "
    "(dtype 0) are truncated to integers first",
    "a:any b:any",
    "result:any",
)
def binary(call: Call[BinaryParam]) -> list[Output]:
    param = call.param
    call.require(param.op in list(BinaryFn), f"op {param.op} is not 0 (mod) or 1 (div)")
    call.require(param.dtype in (CpuDType.F32, CpuDType.I32), f"element type {param.dtype}")
    is_int = param.dtype == CpuDType.I32
    a, b = (call.ints(i).astype(np.int64) if is_int else to_int(call.inputs[i]) for i in range(2))
    shapes = [x.shape for x in call.inputs]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise call.error(f"inputs {shapes[0]} and {shapes[1]} do not broadcast") from None
    call.room(0, shape)
    a, b = np.broadcast_arrays(a, b)
    call.require((b != 0).all(), "a divisor is 0")
    call.require(not ((a == INT_MIN) & (b == -1)).any(), f"{INT_MIN} / -1 overflows")
    quotient = np.abs(a) // np.abs(b) * np.sign(a) * np.sign(b)
    result = quotient if param.op == BinaryFn.DIV else a - quotient * b
    return [result.astype(np.int32 if is_int else np.float32)]


@layer(CpuOp.DEBUG, "copies its input (the maker's layer also writes a file)", "x:any", "y:any")
def debug(call: Call[DebugParam]) -> list[Output]:
    return [call.inputs[0].copy()]
