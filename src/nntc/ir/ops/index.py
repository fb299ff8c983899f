"""Operators that pick or place elements by index.

Indices are i32 or i64; negative ones count from the end. An index outside its axis is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.ir.graph import Op, TensorType
from nntc.ir.ops._numeric import as_type, ieee
from nntc.ir.ops._rules import (
    ANY,
    INDEX,
    NUMBER,
    need,
    need_axis,
    need_rank,
    need_shape,
    require,
)

Reduction = Literal["none", "add", "mul", "max", "min"]
_COMBINE = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def positions(indices: np.ndarray, size: int) -> np.ndarray:
    """Indices counted from the front (int64).

    Raises:
        ModelError: one lies outside -size ... size-1.
    """
    wrong = (indices < -size) | (indices >= size)
    if wrong.any():
        value = indices[wrong].flat[0]
        raise ModelError(f"index {value} is outside {-size} ... {size - 1}")
    return np.where(indices < 0, indices + size, indices).astype(np.int64)


@dataclass(frozen=True)
class Gather(Op):
    """y = x with *axis* replaced by the axes of indices: y[.., i, ..] = x[.., indices[i], ..]."""

    axis: int = 0

    def infer(self, x: TensorType, indices: TensorType) -> tuple[TensorType, ...]:
        need("indices", indices, INDEX)
        need_axis(self.axis, len(x.shape))
        shape = (*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :])
        return (TensorType(x.dtype, shape),)

    def compute(self, x: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        taken = x.take(positions(indices, x.shape[self.axis]), self.axis)
        return (np.asarray(taken),)


@dataclass(frozen=True)
class GatherElements(Op):
    """y[i, j, ..] = x with the index along *axis* replaced by indices[i, j, ..].

    indices has x's rank and is nowhere larger than x beyond *axis*; y has its shape.
    """

    axis: int = 0

    def infer(self, x: TensorType, indices: TensorType) -> tuple[TensorType, ...]:
        _need_elements(x, indices, self.axis)
        return (TensorType(x.dtype, indices.shape),)

    def compute(self, x: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        return (x[_element_index(indices, self.axis, x.shape[self.axis])],)


@dataclass(frozen=True)
class GatherND(Op):
    """y = slices of x that the last axis of indices addresses.

    indices [*batch, *rest, K]: its first batch_dims axes equal x's; each row of K addresses the
    axes of x after them. y [*batch, *rest, *x.shape[batch_dims+K:]].
    """

    batch_dims: int = 0

    def infer(self, x: TensorType, indices: TensorType) -> tuple[TensorType, ...]:
        need("indices", indices, INDEX)
        need_rank("x", x, 1)
        need_rank("indices", indices, 1)
        batch, depth = self.batch_dims, indices.shape[-1]
        limit = min(len(x.shape), len(indices.shape))
        require(0 <= batch < limit, f"batch_dims {batch} is outside 0 ... {limit - 1}")
        require(
            x.shape[:batch] == indices.shape[:batch],
            f"the first {batch} axes of x and indices differ",
        )
        _need_depth(depth, len(x.shape) - batch)
        return (TensorType(x.dtype, indices.shape[:-1] + x.shape[batch + depth :]),)

    def compute(self, x: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        batch = self.batch_dims
        # One index array per batch axis, broadcast over the rest of the indices.
        rest = indices.ndim - 1 - batch
        grid = np.indices(indices.shape[:batch], sparse=True)
        index = [g.reshape(g.shape + (1,) * rest) for g in grid]
        index += _address(indices, x.shape[batch:])
        found = np.asarray(x[tuple(index)])
        return (found.reshape(indices.shape[:-1] + x.shape[len(index) :]),)


@dataclass(frozen=True)
class ScatterElements(Op):
    """y = x with updates[i, j, ..] placed where the index along *axis* is indices[i, j, ..].

    Operands: x, indices of x's rank and nowhere larger beyond *axis*, updates of indices' shape.
    reduction: none replaces (of several the last wins); add, mul, max, min combine with x.
    """

    axis: int = 0
    reduction: Reduction = "none"

    def infer(
        self, x: TensorType, indices: TensorType, updates: TensorType
    ) -> tuple[TensorType, ...]:
        _need_elements(x, indices, self.axis)
        need_shape("updates", updates, indices.shape, x.dtype)
        _need_combinable(x, self.reduction)
        return (x,)

    def compute(
        self, x: np.ndarray, indices: np.ndarray, updates: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        index = _element_index(indices, self.axis, x.shape[self.axis])
        return (_place(x, index, updates, self.reduction),)


@dataclass(frozen=True)
class ScatterND(Op):
    """y = x with slices that the last axis of indices addresses replaced by updates.

    indices [*rest, K], updates [*rest, *x.shape[K:]]; reduction as in ScatterElements.
    """

    reduction: Reduction = "none"

    def infer(
        self, x: TensorType, indices: TensorType, updates: TensorType
    ) -> tuple[TensorType, ...]:
        need("indices", indices, INDEX)
        need_rank("x", x, 1)
        need_rank("indices", indices, 1)
        depth = indices.shape[-1]
        _need_depth(depth, len(x.shape))
        need_shape("updates", updates, indices.shape[:-1] + x.shape[depth:], x.dtype)
        _need_combinable(x, self.reduction)
        return (x,)

    def compute(
        self, x: np.ndarray, indices: np.ndarray, updates: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        return (_place(x, tuple(_address(indices, x.shape)), updates, self.reduction),)


def _need_elements(x: TensorType, indices: TensorType, axis: int) -> None:
    need_rank("x", x, 1)
    need("indices", indices, INDEX, len(x.shape))
    need_axis(axis, len(x.shape))
    sizes = zip(indices.shape, x.shape, strict=True)
    require(
        all(a <= b or i == axis for i, (a, b) in enumerate(sizes)),
        f"indices {indices.shape} are larger than x {x.shape} beyond axis {axis}",
    )


def _need_depth(depth: int, rank: int) -> None:
    require(1 <= depth <= rank, f"rows of indices have {depth} entries, 1 to {rank} are needed")


def _need_combinable(x: TensorType, reduction: str) -> None:
    need("x", x, ANY if reduction == "none" else NUMBER)


def _element_index(indices: np.ndarray, axis: int, size: int) -> tuple[np.ndarray, ...]:
    grid: list[Any] = list(np.indices(indices.shape, sparse=True))
    grid[axis] = positions(indices, size)
    return tuple(grid)


def _address(indices: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    return [positions(indices[..., k], shape[k]) for k in range(indices.shape[-1])]


def _place(
    x: np.ndarray, index: tuple[np.ndarray, ...], updates: np.ndarray, reduction: str
) -> np.ndarray:
    y = x.copy()
    if reduction == "none":
        y[index] = updates
    else:
        _COMBINE[reduction].at(y, index, updates)
    return y


@dataclass(frozen=True)
class OneHot(Op):
    """y = values[1] where the position along the new *axis* (size depth) is the index, else [0].

    Operands: indices of any number type (cut to integers), values [2]: off, on. An index outside
    -depth ... depth-1 gives off everywhere.
    """

    axis: int
    depth: int

    def infer(self, indices: TensorType, values: TensorType) -> tuple[TensorType, ...]:
        need("indices", indices, NUMBER)
        need_shape("values", values, (2,), values.dtype)
        need_axis(self.axis, len(indices.shape) + 1)
        require(self.depth >= 0, f"depth is {self.depth}, it must not be negative")
        shape = (*indices.shape[: self.axis], self.depth, *indices.shape[self.axis :])
        return (TensorType(values.dtype, shape),)

    @ieee
    def compute(self, indices: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, ...]:
        hot = np.expand_dims(indices.astype(np.int64), self.axis)
        hot = np.where(hot < 0, hot + self.depth, hot)
        place = np.arange(self.depth).reshape(-1, *(1,) * (indices.ndim - self.axis))
        return (as_type(np.where(hot == place, values[1], values[0]), values.dtype),)


@dataclass(frozen=True)
class Trilu(Op):
    """y = x [..., M, N] with zeros below (upper) or above (not upper) diagonal k."""

    upper: bool = True
    k: int = 0

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need_rank("x", x, 2)
        return (x,)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        # Diagonals beyond the corners are all alike; NumPy's arithmetic on k must not overflow.
        k = max(-x.shape[-2], min(self.k, x.shape[-1]))
        return (np.triu(x, k) if self.upper else np.tril(x, k),)


@dataclass(frozen=True)
class ReverseSequence(Op):
    """y = x with the first lengths[b] steps along time_axis reversed for each b of batch_axis.

    Operands: x of rank 2 or more, lengths [x.shape[batch_axis]] between 0 and the time size.
    """

    batch_axis: int = 1
    time_axis: int = 0

    def infer(self, x: TensorType, lengths: TensorType) -> tuple[TensorType, ...]:
        rank = need_rank("x", x, 2)
        need_axis(self.batch_axis, rank, "batch_axis")
        need_axis(self.time_axis, rank, "time_axis")
        require(self.batch_axis != self.time_axis, "batch_axis and time_axis are the same")
        need("lengths", lengths, INDEX)
        need_shape("lengths", lengths, (x.shape[self.batch_axis],), lengths.dtype)
        return (x,)

    def compute(self, x: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, ...]:
        steps = x.shape[self.time_axis]
        if ((lengths < 0) | (lengths > steps)).any():
            raise ModelError(f"lengths {lengths.tolist()} must lie in 0 ... {steps}")
        rows = np.moveaxis(x, (self.batch_axis, self.time_axis), (0, 1))
        time = np.arange(steps)
        source = np.where(time < lengths[:, None], lengths[:, None] - 1 - time, time)
        y = rows[np.arange(len(rows))[:, None], source]
        return (np.moveaxis(y, (0, 1), (self.batch_axis, self.time_axis)),)


@dataclass(frozen=True)
class TopK(Op):
    """values, indices (i64) = the k largest or smallest elements of x along *axis*, in order.

    Of equal elements the one with the lower index comes first. Without *sorted* the order is free;
    it is the same here.
    """

    k: int
    axis: int
    largest: bool = True
    sorted: bool = True

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, NUMBER)
        need_axis(self.axis, len(x.shape))
        size = x.shape[self.axis]
        require(0 <= self.k <= size, f"k is {self.k}, axis {self.axis} of x has {size}")
        shape = (*x.shape[: self.axis], self.k, *x.shape[self.axis + 1 :])
        return TensorType(x.dtype, shape), TensorType(DType.I64, shape)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        if self.largest:
            # Descending and stable: sort the reversed axis ascending, then reverse the result.
            order = np.argsort(np.flip(x, self.axis), self.axis, kind="stable")
            order = x.shape[self.axis] - 1 - np.flip(order, self.axis)
        else:
            order = np.argsort(x, self.axis, kind="stable")
        order = order.take(np.arange(self.k), self.axis)
        return np.take_along_axis(x, order, self.axis), order.astype(np.int64, copy=False)
