"""Numerical helpers of the ``compute`` methods.

Floating-point results are those of IEEE arithmetic without warnings: 1/0 is inf, 0/0 is NaN.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from nntc.core.blas import one_thread

_F = TypeVar("_F", bound=Callable[..., Any])


def ieee(function: _F) -> _F:
    """Decorator: no warnings on overflow, division by zero and invalid operations."""

    @functools.wraps(function)
    def quiet(*args: Any, **kwargs: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return quiet  # type: ignore[return-value]


def working(x: np.ndarray) -> np.ndarray:
    """The array in the type that arithmetic uses: float16 is computed in float32."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def as_type(x: np.ndarray | np.generic, dtype: np.dtype[Any]) -> np.ndarray:
    """*x* as an array of *dtype*; NumPy functions turn arrays of rank 0 into scalars."""
    return np.asarray(x).astype(dtype, copy=False)


# erf(x) = erf(c) + Taylor series about the nearest knot c; |x - c| <= 1/256 leaves an error of
# 1e-11. Beyond the last knot erf is 1 in float64.
_KNOTS_PER_UNIT = 128
_KNOTS = np.arange(6 * _KNOTS_PER_UNIT + 1) / _KNOTS_PER_UNIT
_ERF = np.array([math.erf(c) for c in _KNOTS])
_SLOPE = 2 / math.sqrt(math.pi) * np.exp(-_KNOTS * _KNOTS)


def erf(x: np.ndarray) -> np.ndarray:
    """The error function to 1e-11, in float64 inside because the terms nearly cancel."""
    if x.dtype == np.float64:
        return np.vectorize(math.erf, otypes=[np.float64])(x)
    size = np.minimum(np.abs(x, dtype=np.float64), _KNOTS[-1])
    knot = np.rint(np.nan_to_num(size) * _KNOTS_PER_UNIT).astype(np.int32)
    c = _KNOTS[knot]
    d = size - c
    series = d * (1 - c * d + (2 * c * c - 1) / 3 * d * d)
    return as_type(np.copysign(_ERF[knot] + _SLOPE[knot] * series, x), x.dtype)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), in one buffer."""
    y = np.empty_like(x)
    np.negative(x, out=y)
    np.exp(y, out=y)
    np.add(1, y, out=y)
    return np.divide(1, y, out=y)


def silu(x: np.ndarray) -> np.ndarray:
    y = sigmoid(x)
    return np.multiply(x, y, out=y)


def hardswish(x: np.ndarray) -> np.ndarray:
    """x * clip(x / 6 + 1/2, 0, 1), in one buffer."""
    y = np.empty_like(x)
    np.divide(x, 6, out=y)
    np.add(y, 0.5, out=y)
    np.clip(y, 0, 1, out=y)
    return np.multiply(x, y, out=y)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)) without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def truncated_divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Division of integers, rounded toward zero; by zero it gives 0."""
    quotient = np.floor_divide(a, b)
    inexact = np.multiply(quotient, b) != a
    toward_zero = inexact & ((a < 0) != (b < 0)) & (b != 0)
    return quotient + toward_zero.astype(quotient.dtype)


# Parts of a product have at least so many multiplications (waking a thread takes as long as a
# million), and there are at most so many parts.
_LEAST_WORK = 1 << 23
_MOST_PARTS = 8


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """np.matmul; integers go through float64, for BLAS, where every partial sum stays exact.

    The bits of the result do not depend on the number of threads.
    """
    if a.size == 0 or b.size == 0:
        return np.matmul(a, b)
    if a.dtype.kind == "f":
        return _parts_product(a, b)
    terms = a.shape[-1] * _largest(a) * _largest(b)
    if terms >= 1 << 53:
        return np.matmul(a, b)
    exact = _parts_product(a.astype(np.float64), b.astype(np.float64))
    return exact.astype(np.int64).astype(a.dtype)


def _parts_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Divide the longer side of the result by its shape alone; threads share the parts."""
    with one_thread():
        if a.ndim < 2 or b.ndim < 2:
            return np.matmul(a, b)
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        rows, columns = a.shape[-2], b.shape[-1]
        work = math.prod(batch) * rows * a.shape[-1] * columns
        parts = min(_MOST_PARTS, work // _LEAST_WORK)
        if parts < 2:
            return np.matmul(a, b)
        from nntc.core.native import split

        y = np.empty((*batch, rows, columns), a.dtype)
        wide = columns >= rows
        length = columns if wide else rows
        bounds = [i * length // parts // 16 * 16 for i in range(parts)] + [length]

        def compute(first: int, last: int) -> None:
            for part in range(first, last):
                place = slice(bounds[part], bounds[part + 1])
                if wide:
                    np.matmul(a, b[..., place], out=y[..., place])
                else:
                    np.matmul(a[..., place, :], b, out=y[..., place, :])

        split(compute, parts)
        return y


def _largest(x: np.ndarray) -> int:
    return max(abs(int(x.min())), abs(int(x.max())))


def lowest(dtype: np.dtype[Any]) -> Any:
    """The neutral element of max: -inf, the least integer, or False."""
    if dtype.kind == "f":
        return dtype.type(-np.inf)
    return dtype.type(False) if dtype.kind == "b" else np.iinfo(dtype).min


def highest(dtype: np.dtype[Any]) -> Any:
    """The neutral element of min."""
    if dtype.kind == "f":
        return dtype.type(np.inf)
    return dtype.type(True) if dtype.kind == "b" else np.iinfo(dtype).max
