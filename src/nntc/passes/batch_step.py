"""Where the samples of a batch are in a value, and one node on its way to another batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nntc.core.errors import UnsupportedError
from nntc.ir.graph import Graph, Node, TensorType, Value


@dataclass(frozen=True)
class Axis:
    """Where the samples are: axis *index* has *each* rows of every sample."""

    index: int
    each: int


ALL = Axis(-1, 0)
"""A list of what was found in all samples; only the network's output may be that."""


class Step:
    """One node while its graph gets another batch; what the rules work on.

    Attributes:
        node: the node of the old graph.
        inputs: its operands in the new graph; rules may exchange constants.
        axes: where the operands' samples are; None: the operand is the same for all.
        old, new: numbers of samples.
    """

    def __init__(self, node: Node, now: Now, old: int, new: int) -> None:
        self.node = node
        self.old, self.new = old, new
        self.inputs = [None if v is None else now.value(v) for v in node.inputs]
        self.axes = [None if v is None else now.axes.get(v) for v in node.inputs]
        self._now = now

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of an operand in the old graph; () for an absent one."""
        value = self.node.inputs[index]
        return () if value is None else value.shape

    def refuse(self, why: str) -> UnsupportedError:
        """The error that says why this node cannot work on another number of samples."""
        return UnsupportedError(
            f"{self.node.source} ({self.node.op.name}): cannot change the batch from {self.old} "
            f"to {self.new}: {why}"
        )

    def only(self, index: int = 0) -> Axis:
        """The samples' axis of one operand; the others must be the same for all samples."""
        axis = self.axes[index]
        others = [i for i, found in enumerate(self.axes) if found is not None and i != index]
        if axis is None or others:
            names = [v.name for i in others if (v := self.node.inputs[i]) is not None]
            raise self.refuse(f"{', '.join(names)} would have to be the same for all samples")
        return axis

    def leading(self, index: int = 0) -> Axis:
        """As :meth:`only`, and it must be the first axis."""
        axis = self.only(index)
        if axis.index != 0:
            raise self.refuse(f"its operand has the samples on axis {axis.index}, not 0")
        return axis

    def apart(self, axis: Axis, *axes: int) -> Axis:
        """The operator works along *axes*, which must not be that of the samples."""
        if axis.index in axes:
            raise self.refuse(f"it works along axis {axis.index}, on which the samples are")
        return axis

    def size(self, axis: Axis) -> int:
        """Of the samples' axis in the new graph."""
        return self.new * axis.each

    def together(self, indices: Sequence[int]) -> Axis:
        """The common samples' axis of operands of one rank; constants are repeated along it."""
        found = {axis for i in indices if (axis := self.axes[i]) is not None}
        if len(found) != 1:
            raise self.refuse("its operands have the samples in different places")
        axis = found.pop()
        for index in indices:
            if self.axes[index] is None:
                self.repeat(index, axis.index, axis.each)
        return axis

    def aligned(self, indices: Sequence[int], rank: int) -> Axis:
        """The common samples' axis of operands that broadcast; counted in a result of *rank*."""
        ends = {
            (len(self.shape(i)) - axis.index, axis.each)
            for i in indices
            if (axis := self.axes[i]) is not None
        }
        if len(ends) != 1:
            raise self.refuse("its operands have the samples in different places")
        end, each = ends.pop()
        for index in indices:
            if self.axes[index] is None:
                self.broadcast(index, end, each)
        return Axis(rank - end, each)

    def broadcast(self, index: int, end: int, each: int) -> None:
        """Let an operand that is the same for all samples meet them on the axis *end* from last."""
        shape = self.shape(index)
        if len(shape) >= end and shape[-end] != 1:
            self.repeat(index, len(shape) - end, each)

    def repeat(self, index: int, axis: int, each: int) -> None:
        """Repeat a constant operand, *each* rows a sample, for the new number of samples."""
        value = self.node.inputs[index]
        if value is None:
            return
        name, size = value.name, value.shape[axis]
        if size != each * self.old:
            raise self.refuse(f"{name} has {size} rows where the samples have {each * self.old}")
        if value.data is None:
            raise self.refuse(f"{name} does not depend on the samples, and is computed")
        self.inputs[index] = self._now.repeated(self, value, value.data, axis, each)


class Now:
    """Values of the old graph → what they are in the new one."""

    def __init__(self, old: Graph, new: Graph) -> None:
        self._graph = new
        self._values: dict[Value, Value] = {}
        self._repeated: dict[tuple[Value, int], Value] = {}
        self.axes: dict[Value, Axis | None] = {}
        for value in old.values():  # names stay
            new.unique_name(value.name)

    def value(self, old: Value) -> Value:
        if old not in self._values:  # a constant that is met for the first time
            assert old.data is not None
            self.make(old, old.type, None).data = old.data
        return self._values[old]

    def make(self, old: Value, kind: TensorType, axis: Axis | None) -> Value:
        made = Value(old.name, kind)
        self._values[old] = made
        self.axes[old] = axis
        if old.scale is not None:
            # Along the samples' axis a scale has no meaning any more.
            per_row = axis is not None and axis.index == 1 and old.scale.shape
            made.scale = None if per_row else self.value(old.scale)
            made.zero = 0 if per_row else old.zero
        return made

    def repeated(self, step: Step, old: Value, data: np.ndarray, axis: int, each: int) -> Value:
        if (old, axis) not in self._repeated:
            blocks = np.split(data, step.old, axis)
            if any(block.tobytes() != blocks[0].tobytes() for block in blocks[1:]):
                raise step.refuse(f"the constant {old.name} differs between the samples")
            whole = np.concatenate([blocks[0]] * step.new, axis)
            name = self._graph.unique_name(old.name)
            self._repeated[old, axis] = Value(name, TensorType.of(whole), whole)
        return self._repeated[old, axis]
