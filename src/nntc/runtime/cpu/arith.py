"""Arithmetic of the C library in f32, for arrays.

Everything stays in f32 unless the maker's layer computes in double. Functions of the C library
(expf, sinf, …) are within an ulp of the exact value: double and back gives the nearest f32.
"""

from __future__ import annotations

import math

import numpy as np

INT_MIN = -(1 << 31)


def f32(value: float) -> np.float32:
    """A constant of the C source's type float."""
    return np.float32(value)


def exp(x: np.ndarray | np.float32) -> np.ndarray:
    return np.exp(np.asarray(x, np.float64)).astype(np.float32)


def log(x: np.ndarray | np.float32) -> np.ndarray:
    return np.log(np.asarray(x, np.float64)).astype(np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) with each step in f32."""
    return f32(1) / (f32(1) + exp(-np.asarray(x, np.float32)))


def sigmoid_double(x: np.ndarray) -> np.ndarray:
    """1 / (1 + expf(-x)) with the sum and quotient in double."""
    return (1.0 / (1.0 + exp(-np.asarray(x, np.float32)).astype(np.float64))).astype(np.float32)


def round_half_away(x: np.ndarray) -> np.ndarray:
    """C's round(): halves go away from zero; f32 in and out."""
    wide = np.asarray(x, np.float64)
    return np.trunc(wide + np.copysign(0.5, wide)).astype(np.float32)


def to_int(x: np.ndarray) -> np.ndarray:
    """C's conversion to int: toward zero; NaN and values out of range give -2**31 (x86-64)."""
    wide = np.trunc(np.asarray(x, np.float64))
    fits = (wide >= INT_MIN) & (wide < -INT_MIN)
    return np.where(fits, np.where(fits, wide, 0), INT_MIN).astype(np.int64)


def ceil_int(x: float) -> int:
    """(int)ceilf(x) of one number, with the conversion's out-of-range value."""
    return math.ceil(x) if math.isfinite(x) and abs(x) < 2**31 else INT_MIN
