"""Operators inside a group: what they need for a tile, and their instructions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nntc.backend.assembler import Assembler
from nntc.backend.kernels import pointwise
from nntc.backend.kernels.reduce import emit_reduce
from nntc.backend.local import Local
from nntc.backend.space import Box, Space, View
from nntc.core.errors import UnsupportedError
from nntc.ir import ops
from nntc.ir.graph import Node, Value
from nntc.isa.layout import Shape4


@dataclass(frozen=True)
class Need:
    """A box of a value as an operand of one tile.

    ``channels`` above 0 asks for copies of the value's single channel in that many lanes;
    ``compact`` for the layout of weights and biases. ``border`` are rows above and below, columns
    left and right that are not of the value: they hold the word ``fill``.
    """

    value: Value
    view: View
    box: Box
    channels: int = 0
    compact: bool = False
    border: tuple[int, int, int, int] = (0, 0, 0, 0)
    fill: int = 0

    @property
    def shape(self) -> Shape4:
        n, c, h, w = self.box.shape
        up, down, left, right = self.border
        return Shape4(n, self.channels or c, up + h + down, left + w + right)


@dataclass(frozen=True)
class Constant:
    """Packed data of one tile: its name, local shape, and how to make it.

    Making is left until the tiling is chosen, so that only what is used becomes a coefficient.
    """

    key: tuple[Any, ...]
    shape: Shape4
    make: Callable[[], np.ndarray] = field(compare=False)


Operand = Need | float | int


class Kernel:
    """One operator inside a group."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.out = node.output

    def operands(self, box: Box, part: int, parts: int) -> list[Operand]:
        """What the operator reads for an output box."""
        raise NotImplementedError

    def constants(self, box: Box, part: int, parts: int) -> list[Constant]:
        """Packed weights for an output box."""
        return []

    def scratch(self, out: Local, args: list[Any]) -> list[Shape4]:
        """Shapes of scratch tensors."""
        return []

    def emit(
        self,
        asm: Assembler,
        out: Local,
        args: list[Any],
        constants: list[Local],
        scratch: list[Local],
        tile: tuple[Box, int, int],
    ) -> None:
        """Instructions for one tile; ``tile`` is (output box, part, parts)."""
        raise NotImplementedError


def view_of(value: Value, space: Space) -> View:
    view = space.view(value.shape)
    if view is None:
        raise UnsupportedError(f"{value.name}: {value.type} has no regular place in {space.shape}")
    return view


def need_of(value: Value, space: Space, box: Box) -> Need:
    view = view_of(value, space)
    channels = box.shape.c if view.shape.c == 1 and space.shape4.c != 1 else 0
    return Need(value, view, box.clip(view.shape), channels)


class PointwiseKernel(Kernel):
    """An element-wise operator."""

    def __init__(self, node: Node, space: Space) -> None:
        super().__init__(node)
        self.space = space

    def operands(self, box: Box, part: int, parts: int) -> list[Operand]:
        found: list[Operand] = []
        for value in self.node.operands:
            number = pointwise.immediate(value, self.node.op)
            found.append(need_of(value, self.space, box) if number is None else number)
        return found

    def scratch(self, out: Local, args: list[Any]) -> list[Shape4]:
        return [out.shape] * pointwise.scratch_count(self.node.op, out, args)

    def emit(
        self,
        asm: Assembler,
        out: Local,
        args: list[Any],
        constants: list[Local],
        scratch: list[Local],
        tile: tuple[Box, int, int],
    ) -> None:
        pointwise.emit(asm, self.node.op, out, args, scratch)


class ReduceKernel(Kernel):
    """A reduction over dimensions that lie within a lane."""

    def __init__(self, node: Node, space: Space) -> None:
        super().__init__(node)
        self.space = space

    def operands(self, box: Box, part: int, parts: int) -> list[Operand]:
        x = self.node.operands[0]
        view = view_of(x, self.space)
        out = view_of(self.out, self.space)
        spans = [
            (0, full) if small == 1 and full != 1 else span
            for span, full, small in zip(box, view.shape, out.shape, strict=True)
        ]
        return [need_of(x, self.space, Box(*spans))]

    def scratch(self, out: Local, args: list[Any]) -> list[Shape4]:
        return [args[0].shape]

    def emit(
        self,
        asm: Assembler,
        out: Local,
        args: list[Any],
        constants: list[Local],
        scratch: list[Local],
        tile: tuple[Box, int, int],
    ) -> None:
        op = self.node.op
        assert isinstance(op, ops.Reduce)
        emit_reduce(asm, op.fn, out, args[0], scratch[0])
