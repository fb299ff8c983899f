"""Scalar fp32 operations for kernels, with the flush rules, and the NaN rules for repairs.

The plain functions leave NaN payloads to the processor: kernels compute whole rows with them and
repair the rare rows that hold a NaN with the ``*_exact`` functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from nntc.sim.fast.native import EXPLICIT_FLUSH, emitter

_inline = njit(nogil=True)

_F = np.float32
_TINY = 2.0**-126 * (1 - 2.0**-25)
NAN_ABOVE = 0x7F800000
MAGNITUDE = 0x7FFFFFFF
QUIET = 0x00400000
DEFAULT_NAN = -0x400000
"""0xffc00000 as i32."""


@emitter
def bits(_context: Any, _value: Any) -> Any:
    """The pattern of an fp32 as i32."""

    def generate(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), generate


@emitter
def value(_context: Any, _bits: Any) -> Any:
    """The fp32 of a pattern."""

    def generate(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


@_inline
def magnitude(x):
    """The pattern of |x| as i32; above NAN_ABOVE for a NaN."""
    return np.int32(bits(x) & np.int32(MAGNITUDE))


@_inline
def flush_bits(b):
    """The i32 pattern with denormals replaced by zero of their sign; NaN patterns stay."""
    keep = np.int32(-1) if np.int32(b & np.int32(NAN_ABOVE)) != 0 else np.int32(-0x80000000)
    return np.int32(b & keep)


@_inline
def flush(x):
    return value(flush_bits(bits(x)))


@_inline
def _add_plain(a, b):
    return a + b


@_inline
def _add_flushing(a, b):
    return flush(_F(flush(a) + flush(b)))


@_inline
def _sub_plain(a, b):
    return a - b


@_inline
def _sub_flushing(a, b):
    return flush(_F(flush(a) - flush(b)))


@_inline
def _mul_plain(a, b):
    return a * b


@_inline
def _mul_flushing(a, b):
    exact = np.float64(flush(a)) * np.float64(flush(b))
    p = _F(exact)
    if abs(exact) < _TINY:
        return value(bits(p) & np.int32(-0x80000000))
    return p


@_inline
def _greater_plain(a, b):
    return a > b


@_inline
def _greater_flushing(a, b):
    return flush(a) > flush(b)


@_inline
def _not_above_plain(a, b):
    return a <= b


@_inline
def _not_above_flushing(a, b):
    return flush(a) <= flush(b)


add = _add_flushing if EXPLICIT_FLUSH else _add_plain
sub = _sub_flushing if EXPLICIT_FLUSH else _sub_plain
mul = _mul_flushing if EXPLICIT_FLUSH else _mul_plain
greater = _greater_flushing if EXPLICIT_FLUSH else _greater_plain
not_above = _not_above_flushing if EXPLICIT_FLUSH else _not_above_plain
"""a <= b; all five with denormals as zero."""


@_inline
def is_nan(x):
    return magnitude(x) > np.int32(NAN_ABOVE)


@_inline
def nan_rule(a, b, result):
    """The first operand if it is NaN, else the second, quieted; else the default NaN."""
    if not is_nan(result):
        return result
    if is_nan(a):
        return value(bits(a) | np.int32(QUIET))
    if is_nan(b):
        return value(bits(b) | np.int32(QUIET))
    return value(np.int32(DEFAULT_NAN))


@_inline
def add_exact(a, b):
    return nan_rule(a, b, add(a, b))


@_inline
def sub_exact(a, b):
    return nan_rule(a, b, sub(a, b))


@_inline
def mul_exact(a, b):
    return nan_rule(a, b, mul(a, b))


@_inline
def rsqrt_start(x):
    return value(np.int32(np.int32(0x5F3759DF) - np.int32(bits(x) >> np.int32(1))))


@_inline
def rsqrt(x):
    y = rsqrt_start(x)
    half = mul(_F(0.5), x)
    for _ in range(3):
        y = mul(y, sub(_F(1.5), mul(mul(half, y), y)))
    return y


@_inline
def rsqrt_exact(x):
    y = rsqrt_start(x)
    half = mul_exact(_F(0.5), x)
    for _ in range(3):
        y = mul_exact(y, sub_exact(_F(1.5), mul_exact(mul_exact(half, y), y)))
    return y


@_inline
def div(a, b):
    y = rsqrt(value(magnitude(b)))
    signed = value(np.int32(bits(a) ^ np.int32(bits(b) & np.int32(-0x80000000))))
    return mul(mul(y, y), signed)


@_inline
def div_exact(a, b):
    y = rsqrt_exact(value(magnitude(b)))
    signed = value(np.int32(bits(a) ^ np.int32(bits(b) & np.int32(-0x80000000))))
    return mul_exact(mul_exact(y, y), signed)
