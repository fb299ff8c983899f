"""Arithmetic of the C library in f32, for arrays.

Everything stays in f32 unless the maker's layer computes in double. Compiled code calls the C
library's own expf, logf, sinf and cosf, whose last bit is not that of a correctly rounded result.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nntc.runtime.cpu.compiled import kernel

INT_MIN = -(1 << 31)


def f32(value: float) -> np.float32:
    """A constant of the C source's type float."""
    return np.float32(value)


def exp(x: np.ndarray) -> np.ndarray:
    return _each(_exp, x)


def log(x: np.ndarray | np.float32) -> np.ndarray:
    return _each(_log, x)


def sin(x: np.ndarray) -> np.ndarray:
    return _each(_sin, x)


def cos(x: np.ndarray) -> np.ndarray:
    return _each(_cos, x)


def sigmoid_float(x: np.ndarray) -> np.ndarray:
    """1 / (1 + expf(-x)) with the sum and quotient in double."""
    return (1.0 / (1.0 + exp(-x).astype(np.float64))).astype(np.float32)


def sigmoid_double(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) all in double."""
    return (1.0 / (1.0 + np.exp(-x.astype(np.float64)))).astype(np.float32)


def _each(function: Any, x: np.ndarray | np.float32) -> np.ndarray:
    array = np.asarray(x, np.float32)
    return function(np.ascontiguousarray(array).reshape(-1)).reshape(array.shape)


@kernel
def _exp(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = math.exp(x[i])
    return out


@kernel
def _log(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = math.log(x[i])
    return out


@kernel
def _sin(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = math.sin(x[i])
    return out


@kernel
def _cos(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = math.cos(x[i])
    return out


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
