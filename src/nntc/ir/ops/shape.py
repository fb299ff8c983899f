"""Operators that move elements or change the shape. All take any element type."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from nntc.ir.graph import Op, TensorType
from nntc.ir.ops._numeric import as_type, highest, lowest
from nntc.ir.ops._rules import (
    ANY,
    broadcast_to,
    need,
    need_at_least,
    need_axis,
    need_length,
    require,
)


@dataclass(frozen=True)
class Reshape(Op):
    """y = x with the same elements in the given shape; every size is stated (no -1)."""

    shape: tuple[int, ...]

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need_at_least(self.shape, 0, "shape")
        count = math.prod(self.shape)
        require(count == x.size, f"x has {x.size} elements, shape {self.shape} holds {count}")
        return (TensorType(x.dtype, self.shape),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (x.reshape(self.shape),)


@dataclass(frozen=True)
class Transpose(Op):
    """Axis i of y is axis perm[i] of x."""

    perm: tuple[int, ...]

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        rank = len(x.shape)
        require(
            sorted(self.perm) == list(range(rank)),
            f"perm {self.perm} is no permutation of {rank} axes",
        )
        return (TensorType(x.dtype, tuple(x.shape[p] for p in self.perm)),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (x.transpose(self.perm),)


@dataclass(frozen=True)
class Concat(Op):
    """y = the operands one after another along *axis*; they differ in that size only."""

    axis: int

    def infer(self, *xs: TensorType) -> tuple[TensorType, ...]:
        first = xs[0]
        need_axis(self.axis, len(first.shape))
        for number, x in enumerate(xs):
            alike = len(x.shape) == len(first.shape) and all(
                a == b or i == self.axis
                for i, (a, b) in enumerate(zip(x.shape, first.shape, strict=True))
            )
            require(
                alike and x.dtype == first.dtype,
                f"operand {number} ({x}) differs from operand 0 ({first}) beyond axis {self.axis}",
            )
        shape = list(first.shape)
        shape[self.axis] = sum(x.shape[self.axis] for x in xs)
        return (TensorType(first.dtype, tuple(shape)),)

    def compute(self, *xs: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.concatenate(xs, self.axis),)


@dataclass(frozen=True)
class Slice(Op):
    """y = x[starts:ends:steps], one entry per axis.

    Normalised: with a positive step 0 <= start, end <= size; with a negative step
    -1 <= start, end <= size - 1, where end -1 means through the first element.
    """

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    steps: tuple[int, ...]

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        for what, values in (("starts", self.starts), ("ends", self.ends), ("steps", self.steps)):
            need_length(values, len(x.shape), what)
        shape: list[int] = []
        for axis, (size, start, end, step) in enumerate(
            zip(x.shape, self.starts, self.ends, self.steps, strict=True)
        ):
            require(step != 0, f"step of axis {axis} is 0")
            low, high = (0, size) if step > 0 else (-1, size - 1)
            require(
                low <= start <= high and low <= end <= high,
                f"axis {axis}: start {start} and end {end} with step {step} must lie in "
                f"{low} ... {high}",
            )
            shape.append(len(range(start, end, step)))
        return (TensorType(x.dtype, tuple(shape)),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        index = tuple(
            # NumPy would read -1 as the last element.
            slice(None if start < 0 else start, None if end < 0 else end, step)
            if start >= 0
            else slice(0, 0)
            for start, end, step in zip(self.starts, self.ends, self.steps, strict=True)
        )
        return (x[(*index, ...)],)


@dataclass(frozen=True)
class Pad(Op):
    """y = x with elements added around it.

    Attributes: pads, the begins of all axes, then their ends; a negative one cuts, before the
    others are added. mode: constant (with *value*), edge, reflect (without repeating the edge),
    wrap. value is rounded to x's element type.
    """

    unbounded: ClassVar[tuple[str, ...]] = ("value",)

    pads: tuple[int, ...]
    mode: Literal["constant", "edge", "reflect", "wrap"] = "constant"
    value: float = 0.0

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        rank = len(x.shape)
        need_length(self.pads, 2 * rank, "pads")
        shape: list[int] = []
        for axis, size in enumerate(x.shape):
            begin, end = self.pads[axis], self.pads[axis + rank]
            kept = size + min(begin, 0) + min(end, 0)
            require(kept >= 0, f"pads {begin}, {end} cut more than the {size} of axis {axis}")
            added = max(begin, 0), max(end, 0)
            if self.mode != "constant" and any(added):
                require(kept > 0, f"axis {axis} is empty, {self.mode} has nothing to repeat")
            if self.mode == "reflect" and any(added):
                require(
                    max(added) < kept or kept == 1,
                    f"pads {begin}, {end} of axis {axis} must be smaller than its size {kept}",
                )
            shape.append(kept + sum(added))
        low, high = lowest(x.dtype.numpy), highest(x.dtype.numpy)
        require(
            self.mode != "constant" or low <= self.value <= high,
            f"value {self.value} does not exist in {x.dtype}",
        )
        return (TensorType(x.dtype, tuple(shape)),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        begins, ends = self.pads[: x.ndim], self.pads[x.ndim :]
        cut = tuple(
            slice(max(-b, 0), size - max(-e, 0))
            for b, e, size in zip(begins, ends, x.shape, strict=True)
        )
        kept = x[(*cut, ...)]
        added = [(max(b, 0), max(e, 0)) for b, e in zip(begins, ends, strict=True)]
        if self.mode != "constant" and any(map(any, added)):
            return (np.pad(kept, added, mode=self.mode),)
        shape = [size + b + e for size, (b, e) in zip(kept.shape, added, strict=True)]
        y = np.full(shape, as_type(np.asarray(self.value), x.dtype), x.dtype)
        y[tuple(slice(b, b + n) for n, (b, _) in zip(kept.shape, added, strict=True))] = kept
        return (y,)


@dataclass(frozen=True)
class Expand(Op):
    """y = x broadcast to *shape*."""

    shape: tuple[int, ...]

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need_at_least(self.shape, 0, "shape")
        broadcast_to("x", x.shape, self.shape)
        return (TensorType(x.dtype, self.shape),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.broadcast_to(x, self.shape).copy(),)


@dataclass(frozen=True)
class Tile(Op):
    """y = x repeated repeats[i] times along axis i."""

    repeats: tuple[int, ...]

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need_length(self.repeats, len(x.shape), "repeats")
        need_at_least(self.repeats, 0, "repeats")
        shape = tuple(d * r for d, r in zip(x.shape, self.repeats, strict=True))
        return (TensorType(x.dtype, shape),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.tile(x, self.repeats),)


@dataclass(frozen=True)
class DepthToSpace(Op):
    """x [N, C*b*b, H, W] to y [N, C, H*b, W*b], b = block.

    mode DCR: the block offsets are the outer part of the channel index; CRD: the inner part.
    """

    block: int
    mode: Literal["DCR", "CRD"] = "DCR"

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, ANY, rank=4)
        require(self.block >= 1, f"block is {self.block}, at least 1 is needed")
        n, c, h, w = x.shape
        b = self.block
        require(c % (b * b) == 0, f"{c} channels do not split in blocks of {b}x{b}")
        return (TensorType(x.dtype, (n, c // (b * b), h * b, w * b)),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        n, c, h, w = x.shape
        b = self.block
        deep = c // (b * b)
        if self.mode == "DCR":
            y = x.reshape(n, b, b, deep, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            y = x.reshape(n, deep, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return (y.reshape(n, deep, h * b, w * b),)


@dataclass(frozen=True)
class SpaceToDepth(Op):
    """x [N, C, H*b, W*b] to y [N, b*b*C, H, W], b = block; the inverse of DepthToSpace DCR."""

    block: int

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, ANY, rank=4)
        require(self.block >= 1, f"block is {self.block}, at least 1 is needed")
        n, c, h, w = x.shape
        b = self.block
        require(h % b == 0 and w % b == 0, f"{h}x{w} does not split in blocks of {b}x{b}")
        return (TensorType(x.dtype, (n, c * b * b, h // b, w // b)),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        n, c, h, w = x.shape
        b = self.block
        y = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
        return (y.reshape(n, c * b * b, h // b, w // b),)
