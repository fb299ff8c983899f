"""fp32 arithmetic of the TIU, bit by bit.

Round to nearest even; a denormal operand counts as zero of its sign; a result that is tiny after
rounding becomes zero of its sign. NaN: the first operand if it is NaN, else the second, quieted;
an invalid operation gives 0xffc00000. No product is fused into an addition.

Every function is explicit about denormals, so the results are the same whether or not the
process flushes them.
"""

from __future__ import annotations

import numpy as np

MIN_NORMAL = np.float32(2.0**-126)
DEFAULT_NAN = np.uint32(0xFFC00000)
QUIET = np.uint32(0x00400000)
SIGN = np.uint32(0x80000000)
EXPONENT = np.uint32(0x7F800000)
MAGNITUDE = np.uint32(0x7FFFFFFF)

_TINY = 2.0**-126 * (1 - 2.0**-25)
"""Below this a value rounds, at 24 bits, to less than the smallest normal number."""


def bits(x: np.ndarray) -> np.ndarray:
    """The bit patterns of an fp32 array; u32."""
    return np.ascontiguousarray(x, np.float32).view(np.uint32)


def value(x: np.ndarray) -> np.ndarray:
    """The fp32 array of bit patterns."""
    return np.ascontiguousarray(x, np.uint32).view(np.float32)


def constant(pattern: int) -> np.float32:
    """The fp32 value of a 32-bit pattern, as a command carries it."""
    return np.uint32(pattern & 0xFFFFFFFF).view(np.float32)


def is_nan(x: np.ndarray) -> np.ndarray:
    return (bits(x) & MAGNITUDE) > EXPONENT


def flush(x: np.ndarray) -> np.ndarray:
    """Denormals become zero of their sign."""
    b = bits(x)
    return value(np.where((b & EXPONENT) == 0, b & SIGN, b))


def wide(x: np.ndarray) -> np.ndarray:
    """float64 of an operand, denormals flushed."""
    with np.errstate(invalid="ignore"):
        return flush(x).astype(np.float64)


def narrow(x: np.ndarray) -> np.ndarray:
    """fp32 of an exact (or correctly rounded) float64 result, tiny results flushed."""
    with np.errstate(all="ignore"):
        rounded = x.astype(np.float32)
    return np.where(np.abs(x) < _TINY, np.copysign(np.float32(0), x), rounded).astype(np.float32)


def _nan_rule(a: np.ndarray, b: np.ndarray, result: np.ndarray) -> np.ndarray:
    wrong = is_nan(result)
    if not wrong.any():
        return result
    a, b = np.broadcast_arrays(a, b)
    first, second = is_nan(a), is_nan(b)
    r = np.where(wrong, DEFAULT_NAN, bits(result))
    r = np.where(second, bits(b) | QUIET, r)
    return value(np.where(first, bits(a) | QUIET, r))


def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return _nan_rule(a, b, narrow(wide(a) + wide(b)))


def sub(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return _nan_rule(a, b, narrow(wide(a) - wide(b)))


def mul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return _nan_rule(a, b, narrow(wide(a) * wide(b)))


def greater(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a > b; denormals count as zero, NaN is never greater."""
    return wide(a) > wide(b)


def maximum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a > b ? a : b, then denormals flushed; NaN or equal gives b."""
    return flush(np.where(greater(a, b), a, b))


def minimum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a <= b ? a : b, not flushed; NaN gives b, equal a."""
    return np.where(wide(a) <= wide(b), a, b).astype(np.float32)


def rsqrt(x: np.ndarray) -> np.ndarray:
    """1/sqrt(x): the start 0x5f3759df - (bits >> 1) and three Newton steps; no special cases."""
    half_bits = bits(x).view(np.int32).astype(np.int64) >> 1
    y = value(((0x5F3759DF - half_bits) & 0xFFFFFFFF).astype(np.uint32))
    half = mul(np.full_like(y, 0.5), x)
    three_halves = np.full_like(y, 1.5)
    for _ in range(3):
        y = mul(y, sub(three_halves, mul(mul(half, y), y)))
    return y


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """rsqrt(|b|)^2 * (b < 0 ? -a : a): not correctly rounded, 0/0 is NaN."""
    magnitude = value(bits(b) & MAGNITUDE)
    y = rsqrt(magnitude)
    signed = value(bits(a) ^ (bits(b) & SIGN))
    return mul(mul(y, y), signed)


def to_int32(x: np.ndarray) -> np.ndarray:
    """Truncation toward zero, saturating; NaN saturates by its sign. Returns i32."""
    b = bits(x)
    magnitude = wide(value(b & MAGNITUDE))
    magnitude = np.where(is_nan(x), 2.0**40, magnitude)
    whole = np.floor(np.minimum(magnitude, 2.0**31)).astype(np.int64)
    negative = (b & SIGN) != 0
    return np.where(negative, -whole, np.minimum(whole, 2**31 - 1)).astype(np.int32)


def norm_a(x: np.ndarray) -> np.ndarray:
    """Biased exponent, plus 1 where x is positive and its significand exceeds 4/3; u32."""
    b = bits(x)
    up = ((b & np.uint32(0x7FFFFF)) > np.uint32(0x2AAAAB)) & ((b & SIGN) == 0)
    return ((b >> np.uint32(23)) & np.uint32(0xFF)) + up.astype(np.uint32)


def norm_b(x: np.ndarray) -> np.ndarray:
    """The power of two of :func:`norm_a` with the sign of x; u32 pattern."""
    return ((norm_a(x) << np.uint32(23)) & MAGNITUDE) | (bits(x) & SIGN)


def taylor(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """y = 0; for k = L-1..0: y = (y + table[k]) * x."""
    y = np.zeros_like(x)
    for entry in table[::-1]:
        y = mul(add(y, np.full_like(x, entry)), x)
    return y


def aligned_sum(terms: np.ndarray) -> np.ndarray:
    """One many-operand addition over the last axis (the Winograd output adder).

    All terms are aligned to the largest, |t| < 2^E; bits below 2^(E-25) are cut off toward zero
    (24 bits and one guard bit), the rest is added exactly and rounded once. A total that is zero
    or denormal is +0, NaN is the default NaN.
    """
    with np.errstate(all="ignore"):
        t = wide(terms)
        exponent = np.where(t == 0, -10000, np.frexp(t)[1]).max(-1)
        exponent = np.where(exponent == -10000, 0, exponent)
        cut = np.trunc(np.ldexp(t, (25 - exponent)[..., None]))
        total = np.ldexp(cut.sum(-1), exponent - 25)
        y = np.where(np.abs(total) < float(MIN_NORMAL), 0, total).astype(np.float32)
        return value(np.where(np.isnan(y), DEFAULT_NAN, bits(y)))
