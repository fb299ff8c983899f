"""What the readers of a value want from its integers: one scale for all channels? which sign?"""

from __future__ import annotations

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Op, Value
from nntc.quant.statistics import Statistics

MOVES = (
    ops.MaxPool,
    ops.Slice,
    ops.Pad,
    ops.Reshape,
    ops.Transpose,
    ops.Resize,
    ops.DepthToSpace,
    ops.SpaceToDepth,
    ops.Concat,
)
"""Operators whose results are some of their operands' numbers: integers stay what they are."""

CURVES = (
    ops.Unary,
    ops.Elu,
    ops.Selu,
    ops.Celu,
    ops.HardSigmoid,
    ops.Swish,
    ops.ThresholdedRelu,
    ops.Shrink,
)
"""Functions of one number: table look-ups."""


def is_curve(op: Op) -> bool:
    return isinstance(op, CURVES) and not (isinstance(op, ops.Unary) and op.fn == "relu")


def is_limit(op: Op) -> bool:
    return isinstance(op, ops.Clip) or (isinstance(op, ops.Unary) and op.fn == "relu")


class Agreement:
    """Answers for all values of a float graph.

    Args:
        floating: nodes that stay in fp32.
    """

    def __init__(self, graph: Graph, statistics: Statistics, floating: set[Node]) -> None:
        self._users = graph.users()
        self._floating = floating
        self._free: dict[Value, bool] = {}
        self._parent: dict[Value, Value] = {}
        self._negative: set[Value] = set()
        for node in graph.nodes:
            joined = isinstance(node.op, MOVES) or is_limit(node.op)
            if joined and node not in floating and not self._fusable(node):
                for value in node.operands:
                    if value.data is None:
                        self._join(node.output, value)
        for value in graph.values():
            known = statistics.values.get(value.name)
            if known is not None and known.minimum < 0:
                self._negative.add(self._root(value))

    def _fusable(self, node: Node) -> bool:
        """A limit on a convolution's or sum's result belongs to that operator."""
        return is_limit(node.op) and len(self._users.get(node.operands[0], ())) == 1

    def signed(self, value: Value) -> bool:
        """Whether the value, or one that shares its integers, has negative numbers."""
        return self._root(value) in self._negative

    def free(self, value: Value) -> bool:
        """Whether all readers take a scale for every channel."""
        if value not in self._free:
            self._free[value] = True  # Values do not read themselves.
            self._free[value] = all(self._takes(n, value) for n in self._users.get(value, ()))
        return self._free[value]

    def _takes(self, node: Node, value: Value) -> bool:
        op = node.op
        if node in self._floating:
            return True
        if is_curve(op):
            return False
        if is_limit(op):
            return self.free(node.output)
        if isinstance(op, ops.Concat):
            return op.axis == 1 and self.free(node.output)
        if isinstance(op, (ops.DepthToSpace, ops.SpaceToDepth)):
            return False
        if isinstance(op, MOVES):
            return self.free(node.output)
        if isinstance(op, ops.Binary) and op.fn == "mul":
            return all(v.shape[1:2] == value.shape[1:2] for v in node.operands if v.data is None)
        return True

    def _root(self, value: Value) -> Value:
        while value in self._parent:
            value = self._parent[value]
        return value

    def _join(self, a: Value, b: Value) -> None:
        first, second = self._root(a), self._root(b)
        if first is not second:
            self._parent[first] = second
