"""What the readers of a value want from its integers: one scale for all channels? a zero point?"""

from __future__ import annotations

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Op, Value
from nntc.quant.statistics import Statistics

LINEAR = (ops.Conv, ops.ConvTranspose, ops.MatMul)

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

FLAT = 0.002
"""A curve's results that differ by less than this part of their range count as equal."""


def is_relu(op: Op) -> bool:
    return isinstance(op, ops.Unary) and op.fn == "relu"


def is_hardswish(op: Op) -> bool:
    return isinstance(op, ops.Unary) and op.fn == "hardswish"


def is_curve(op: Op) -> bool:
    return isinstance(op, CURVES) and not is_relu(op)


def is_limit(op: Op) -> bool:
    return isinstance(op, ops.Clip) or is_relu(op)


def leaky_slope(node: Node) -> np.ndarray | None:
    """The factor of negative numbers, () or one for every channel, if the node is a leaky ReLU."""
    if isinstance(node.op, ops.LeakyRelu):
        return np.asarray(node.op.alpha)
    if not isinstance(node.op, ops.PRelu):
        return None
    x, slope = node.operands
    if slope.data is None:
        return None
    if slope.data.size == 1:
        return slope.data.reshape(()).astype(np.float64)
    shape = np.broadcast_shapes(slope.shape, (1,) * len(x.shape))
    if len(x.shape) < 2 or slope.data.size != x.shape[1] or shape[1] != x.shape[1]:
        return None
    return slope.data.reshape(-1).astype(np.float64)


class Agreement:
    """Answers for all values of a float graph.

    Args:
        floating: nodes that stay in fp32.
        fixed_outputs: the network's outputs are integers.
    """

    def __init__(
        self, graph: Graph, statistics: Statistics, floating: set[Node], fixed_outputs: bool
    ) -> None:
        self._users = graph.users()
        self._floating = floating
        self._outputs = set(graph.outputs) if fixed_outputs else set[Value]()
        self._statistics = statistics
        self._free: dict[Value, bool] = {}
        self._parent: dict[Value, Value] = {}
        for node in graph.nodes:
            joined = isinstance(node.op, MOVES) or is_limit(node.op)
            if joined and node not in floating and not self._fusable(node):
                for value in node.operands:
                    if value.data is None:
                        self._join(node.output, value)
        self._members: dict[Value, list[Value]] = {}
        for value in graph.values():
            if value.data is None:
                self._members.setdefault(self.root(value), []).append(value)
        self._inner: set[Value] = set()
        for node in reversed(graph.nodes):
            linear = isinstance(node.op, LINEAR) and node not in floating
            if linear or any(v in self._inner for v in node.outputs):
                self._inner.update(node.operands)

    def _fusable(self, node: Node) -> bool:
        """A limit on a convolution's or sum's result belongs to that operator."""
        return is_limit(node.op) and len(self._users.get(node.operands[0], ())) == 1

    # -- values that share integers -----------------------------------------------------------

    def root(self, value: Value) -> Value:
        """The representative of the values that share their kind of grid with *value*."""
        while value in self._parent:
            value = self._parent[value]
        return value

    def members(self, root: Value) -> list[Value]:
        return self._members[root]

    def signed(self, value: Value) -> bool:
        """Whether one of the values that share integers has negative numbers."""
        known = (self._statistics.values.get(v.name) for v in self.members(self.root(value)))
        return any(k is not None and k.minimum < 0 for k in known)

    def takes_zero(self, root: Value) -> bool:
        """Whether all readers of the values that share integers take a zero point."""
        return all(
            value not in self._outputs
            and all(self._takes_zero(n, value) for n in self._users.get(value, ()))
            for value in self.members(root)
        )

    def _takes_zero(self, node: Node, value: Value) -> bool:
        op = node.op
        if node in self._floating:
            return True
        if isinstance(op, ops.ConvTranspose):
            return False
        if isinstance(op, ops.Binary) and op.fn == "mul":
            # Of two factors, only the larger one may have a zero point.
            others = [v for v in node.operands if v is not value and v.data is None]
            return not others or others[0].type.size < value.type.size
        return True

    def head(self, value: Value) -> bool:
        """Whether no convolution or matrix product follows: the numbers are, in some form, the
        network's answer."""
        return value not in self._inner

    # -- scales -------------------------------------------------------------------------------

    def free(self, value: Value) -> bool:
        """Whether all readers take a scale for every channel."""
        if value in self._outputs:
            return False
        if value not in self._free:
            self._free[value] = True  # Values do not read themselves.
            self._free[value] = all(self._takes(n, value) for n in self._users.get(value, ()))
        return self._free[value]

    def _takes(self, node: Node, value: Value) -> bool:
        op = node.op
        if node in self._floating or is_hardswish(op):
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

    def least_useful(self, value: Value) -> float | None:
        """The number below which the only reader, a curve, gives about the same results."""
        users = self._users.get(value, [])
        known = self._statistics.values.get(value.name)
        if len(users) != 1 or known is None or not known.minimum < 0:
            return None
        op = users[0].op
        if not is_curve(op) or users[0] in self._floating or not users[0].output.dtype.is_float:
            return None
        numbers = np.linspace(known.minimum, 0, 513, dtype=np.float32)
        results = op.compute(numbers)[0]
        if not np.isfinite(results).all():
            return None
        reach = max(float(np.ptp(results)), known.maximum)
        flat = np.abs(results - results[0]) <= FLAT * reach
        last = int(np.argmin(flat)) if not flat.all() else len(flat)
        return float(numbers[last - 1]) if last > 1 else None

    def leaky_slope(self, value: Value) -> np.ndarray | None:
        """The slope of the leaky ReLU that alone reads the value, if it is below 1."""
        users = self._users.get(value, [])
        if len(users) != 1 or users[0] in self._floating:
            return None
        slope = leaky_slope(users[0])
        return slope if slope is not None and np.abs(slope).max() < 1 else None

    def _join(self, a: Value, b: Value) -> None:
        first, second = self.root(a), self.root(b)
        if first is not second:
            self._parent[first] = second
