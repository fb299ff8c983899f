"""Random numbers as the GNU C++ library draws them.

Its default engine multiplies by 16807 modulo 2**31 - 1. The maker's RANDOM_UNIFORM seeds one
engine a process, by the clock if the seed is 0, and draws on at every launch; here each run
starts anew from the parameter's seed, so that a run can be repeated.
"""

from __future__ import annotations

import numpy as np

from nntc.bmodel.cpu_ops import CpuOp, RandomUniformIntParam, RandomUniformParam
from nntc.runtime.cpu.arith import f32
from nntc.runtime.cpu.compiled import kernel
from nntc.runtime.cpu.registry import Call, Output, Shape, layer

MODULUS = (1 << 31) - 1


@layer(
    CpuOp.RANDOM_UNIFORM,
    "floats in lower..upper of the int32 shape of input 0; every run starts from the seed",
    "shape:i32",
    "x:f32",
)
def random_uniform(call: Call[RandomUniformParam]) -> list[Output]:
    param = call.param
    shape = _shape(call)
    draws = _draws(_state(param.seed), int(np.prod(shape, dtype=np.int64)))
    # 2147483646 values are spread over 0..1; as floats both ends round to 2**31.
    unit = (draws - 1).astype(np.float32) / f32(2147483646.0)
    unit = np.where(unit >= 1, np.nextafter(f32(1), f32(0)), unit)
    x = unit * (f32(param.upper) - f32(param.lower)) + f32(param.lower)
    return [x.reshape(shape)]


@layer(
    CpuOp.RANDOM_UNIFORM_INT,
    "int32 numbers from input 1 up to below input 2, of the int32 shape of input 0",
    "shape:i32 low:i32 high:i32",
    "x:i32",
)
def random_uniform_int(call: Call[RandomUniformIntParam]) -> list[Output]:
    shape = _shape(call)
    call.require(call.inputs[1].size and call.inputs[2].size, "a limit is empty")
    low, high = (int(call.ints(i).reshape(-1)[0]) for i in (1, 2))
    span = high - low
    call.require(1 <= span < MODULUS - 1, f"limits {low}..{high}")
    x = _draws_below(_state(call.param.seed), int(np.prod(shape, dtype=np.int64)), span)
    return [(x + low).astype(np.int32).reshape(shape)]


def _shape(call: Call[RandomUniformParam] | Call[RandomUniformIntParam]) -> Shape:
    sizes = call.ints(0).reshape(-1)
    dim = call.param.dim
    call.require(0 <= dim <= len(sizes), f"dim {dim} of a shape of {len(sizes)} numbers")
    return call.room(0, sizes[:dim].tolist())


def _state(seed: int) -> int:
    # The C++ engine takes an unsigned 64-bit seed.
    return seed % (1 << 64) % MODULUS or 1


@kernel
def _draws(state: int, count: int) -> np.ndarray:
    out = np.zeros(count, np.int64)
    for i in range(count):
        state = state * 16807 % 2147483647
        out[i] = state
    return out


@kernel
def _draws_below(state: int, count: int, span: int) -> np.ndarray:
    """Numbers below *span* without bias: draws beyond the last whole multiple are dropped."""
    out = np.zeros(count, np.int64)
    scale = 2147483645 // span
    for i in range(count):
        while True:
            state = state * 16807 % 2147483647
            if state - 1 < span * scale:
                break
        out[i] = (state - 1) // scale
    return out
