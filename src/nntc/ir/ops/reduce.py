"""Reductions and running sums. ``axes`` are counted from the front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from nntc.core.dtype import DType
from nntc.ir.graph import Op, TensorType
from nntc.ir.ops._numeric import as_type, highest, ieee, lowest, working
from nntc.ir.ops._rules import (
    BOOL,
    FLOAT,
    NUMBER,
    need,
    need_axes,
    need_axis,
    require,
)

_Axes = tuple[int, ...]


class Reduction(NamedTuple):
    """Meaning of a reduction, f(x, axes) with kept axes, and the element types it takes."""

    compute: Callable[[np.ndarray, _Axes], Any]
    dtypes: tuple[DType, ...]


def _sum(x: np.ndarray, axes: _Axes) -> np.ndarray:
    """Floats are added in float64: NumPy adds along outer axes one by one, which loses digits."""
    total = x.sum(axes, dtype=np.float64 if x.dtype.kind == "f" else x.dtype, keepdims=True)
    return as_type(total, x.dtype)


def _mean(x: np.ndarray, axes: _Axes) -> np.ndarray:
    """Of integers: the sum divided as integers do, toward zero."""
    count = int(np.prod([x.shape[a] for a in axes], dtype=np.int64))
    if x.dtype.kind == "f":
        return _sum(x, axes) / np.asarray(count, x.dtype)
    total = x.sum(axes, dtype=np.int64, keepdims=True)
    return np.sign(total) * (np.abs(total) // max(count, 1))


def _max(x: np.ndarray, axes: _Axes) -> np.ndarray:
    return x.max(axes, keepdims=True, initial=lowest(x.dtype))


def _min(x: np.ndarray, axes: _Axes) -> np.ndarray:
    return x.min(axes, keepdims=True, initial=highest(x.dtype))


def _log_sum_exp(x: np.ndarray, axes: _Axes) -> np.ndarray:
    """Shifted by the maximum, so that exp cannot overflow."""
    top = _max(x, axes)
    shift = np.where(np.isfinite(top), top, 0)
    return np.log(_sum(np.exp(x - shift), axes)) + shift


REDUCTIONS: dict[str, Reduction] = {
    "sum": Reduction(_sum, NUMBER),
    "mean": Reduction(_mean, NUMBER),
    "max": Reduction(_max, NUMBER + BOOL),
    "min": Reduction(_min, NUMBER + BOOL),
    "prod": Reduction(lambda x, axes: x.prod(axes, dtype=x.dtype, keepdims=True), NUMBER),
    "l1": Reduction(lambda x, axes: _sum(np.abs(x), axes), NUMBER),
    "l2": Reduction(lambda x, axes: np.sqrt(_sum(np.square(x), axes)), NUMBER),
    "log_sum": Reduction(lambda x, axes: np.log(_sum(x, axes)), FLOAT),
    "log_sum_exp": Reduction(_log_sum_exp, FLOAT),
    "sum_square": Reduction(lambda x, axes: _sum(np.square(x), axes), NUMBER),
}


@dataclass(frozen=True)
class Reduce(Op):
    """y = fn of x over *axes*; no axes means every element by itself.

    Attributes: fn, a name in :data:`REDUCTIONS`; axes; keepdims: keep them with size 1.
    Integers wrap around; their mean is cut toward zero. Over no elements sum gives 0, prod 1, max
    and min the lowest and highest value of the type. max and min also take bool; log_sum and
    log_sum_exp take floats.
    """

    fn: str
    axes: tuple[int, ...]
    keepdims: bool = True

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        require(
            self.fn in REDUCTIONS, f"unknown function {self.fn}, known are {', '.join(REDUCTIONS)}"
        )
        need(f"{self.fn}: x", x, REDUCTIONS[self.fn].dtypes)
        need_axes(self.axes, len(x.shape))
        return (TensorType(x.dtype, _reduced(x.shape, self.axes, self.keepdims)),)

    @ieee
    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        y = REDUCTIONS[self.fn].compute(working(x), self.axes)
        return (as_type(y, x.dtype).reshape(_reduced(x.shape, self.axes, self.keepdims)),)


def _reduced(shape: tuple[int, ...], axes: _Axes, keepdims: bool) -> tuple[int, ...]:
    if keepdims:
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes)


@dataclass(frozen=True)
class ArgReduce(Op):
    """y (i64) = index along *axis* of the largest (fn max) or smallest (fn min) element of x.

    Of several equal ones the first, with select_last the last. The axis is not empty.
    """

    fn: Literal["max", "min"]
    axis: int
    keepdims: bool = True
    select_last: bool = False

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, NUMBER)
        need_axis(self.axis, len(x.shape))
        require(x.shape[self.axis] > 0, f"axis {self.axis} of x is empty")
        return (TensorType(DType.I64, _reduced(x.shape, (self.axis,), self.keepdims)),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        search = np.argmax if self.fn == "max" else np.argmin
        if self.select_last:
            found = x.shape[self.axis] - 1 - search(np.flip(x, self.axis), self.axis)
        else:
            found = search(x, self.axis)
        shape = _reduced(x.shape, (self.axis,), self.keepdims)
        return (as_type(found, np.dtype(np.int64)).reshape(shape),)


@dataclass(frozen=True)
class CumSum(Op):
    """y = running sum of x along *axis*; takes any number type.

    exclusive: an element is not part of its own sum; reverse: sums run from the end.
    """

    axis: int
    exclusive: bool = False
    reverse: bool = False

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, NUMBER)
        need_axis(self.axis, len(x.shape))
        return (x,)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        wide = np.moveaxis(working(x), self.axis, 0)
        if self.reverse:
            wide = wide[::-1]
        total = np.zeros_like(wide)
        if self.exclusive:
            np.cumsum(wide[:-1], 0, dtype=wide.dtype, out=total[1:])
        else:
            np.cumsum(wide, 0, dtype=wide.dtype, out=total)
        if self.reverse:
            total = total[::-1]
        return (as_type(np.moveaxis(total, 0, self.axis), x.dtype),)
