"""Walks a graph's nodes in order and lets a visitor replace each one.

New nodes take the place of the old ones, so the order stays valid without sorting. A result that
replaces a value takes over its name: in every simplified graph a value with the name of the user's
model still has that meaning, which is what comparisons by name rely on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Op, Value, infer_types

Replacement = Value | Sequence[Value] | None
Visitor = Callable[["Rewriter", Node], Replacement]


class Rewriter:
    """The state of one walk; visitors make nodes with :meth:`op`, constants with :meth:`const`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._nodes: list[Node] = []
        self._now: dict[Value, Value] = {}
        self._uses: Counter[Value] = Counter(graph.outputs)
        for node in graph.nodes:
            self._uses.update(node.operands)
        self._made: set[Value] = set()
        self._node: Node | None = None
        self._output_names = [v.name for v in graph.outputs]
        self._fixed = {*graph.inputs, *graph.outputs}

    # -- for visitors -----------------------------------------------------------------------

    def op(self, op: Op, *inputs: Value | None) -> Value:
        """The first result of a new node."""
        return self.multi(op, *inputs)[0]

    def multi(self, op: Op, *inputs: Value | None) -> list[Value]:
        """All results of a new node."""
        old = self._node
        assert old is not None
        types = infer_types(op, inputs, old.source)
        name = f"{old.name}.{op.name}"
        outputs = [Value(self.graph.unique_name(name), kind) for kind in types]
        node = Node(op, inputs, outputs, name, old.source)
        self._uses.update(node.operands)
        self._nodes.append(node)
        self._made.update(outputs)
        return outputs

    def unary(self, fn: str, x: Value) -> Value:
        return self.op(ops.Unary(fn), x)

    def binary(self, fn: str, a: Value, b: Value) -> Value:
        return self.op(ops.Binary(fn), a, b)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        return x if x.shape == tuple(shape) else self.op(ops.Reshape(tuple(shape)), x)

    def const(self, data: np.ndarray) -> Value:
        assert self._node is not None
        value = self.graph.constant(np.asarray(data), f"{self._node.name}.const")
        self._made.add(value)
        return value

    def uses(self, value: Value) -> int:
        """How often nodes and the network's outputs read the value."""
        return self._uses[value]

    def can_forward(self, old: Value, new: Value) -> bool:
        """Whether readers of *old* can read the existing value *new* without a copy.

        A network output needs a name of its own, which inputs and other outputs cannot give.
        """
        return old not in self._fixed or new not in self._fixed

    def only_use(self, value: Value) -> bool:
        """Whether the node being visited is the value's only reader."""
        return self._uses[value] == 1

    # -- the walk ---------------------------------------------------------------------------

    def run(self, visit: Visitor) -> None:
        for node in self.graph.nodes:
            node.inputs = [None if v is None else self._now.get(v, v) for v in node.inputs]
            self._node = node
            start = len(self._nodes)
            result = visit(self, node)
            if result is None:
                # A visitor that gave up may have left nodes behind.
                self._drop(start)
                self._nodes.append(node)
                continue
            self._uses.subtract(node.operands)
            values = [result] if isinstance(result, Value) else list(result)
            for old, new in zip(node.outputs, values, strict=True):
                self._replace(old, new)
        self.graph.nodes = self._nodes
        self._outputs()
        self.graph.prune()
        # Nodes are called like their first results, whose names are unique.
        for node in self.graph.nodes:
            node.name = node.output.name

    def _drop(self, start: int) -> None:
        for node in self._nodes[start:]:
            self._uses.subtract(node.operands)
        del self._nodes[start:]

    def _replace(self, old: Value, new: Value) -> None:
        assert old.type == new.type, f"{old} would become {new}"
        self._now[old] = new
        self._uses[new] += self._uses.pop(old, 0)
        if new in self._made:
            self._made.discard(new)
            new.name, old.name = old.name, new.name

    def _outputs(self) -> None:
        """Network outputs keep their names; a value that has one already is copied."""
        for position, old in enumerate(self.graph.outputs):
            new = self._now.get(old, old)
            name = self._output_names[position]
            if new is not old and new.name != name:
                if new.data is not None:
                    new = Value(name, new.type, new.data)
                elif new in self._fixed:
                    new = self._copy(new, name)
                else:
                    new.name = name
            self._fixed.add(new)
            self.graph.outputs[position] = new

    def _copy(self, value: Value, name: str) -> Value:
        result = Value(name, value.type)
        self.graph.nodes.append(Node(ops.Reshape(value.shape), [value], [result], name, name))
        return result


def rewrite(graph: Graph, visit: Visitor) -> Graph:
    """Visit every node once, in order; nodes without readers are dropped afterwards.

    Args:
        visit: returns None to keep the node, else a value for each of its results, of the same
            type; a single value stands for a single result.
    """
    Rewriter(graph).run(visit)
    return graph


# -- looking ------------------------------------------------------------------------------------


def made_by(value: Value | None, kind: type[Op]) -> Node | None:
    """The node that makes the value, if its operator is of that kind."""
    node = None if value is None else value.producer
    return node if node is not None and isinstance(node.op, kind) else None


def made_by_unary(value: Value | None, fn: str) -> Node | None:
    node = made_by(value, ops.Unary)
    return node if node is not None and node.op == ops.Unary(fn) else None


def made_by_binary(value: Value | None, fn: str) -> Node | None:
    node = made_by(value, ops.Binary)
    return node if node is not None and node.op == ops.Binary(fn) else None


def is_binary(node: Node, *fns: str) -> bool:
    return isinstance(node.op, ops.Binary) and node.op.fn in fns


def operand(node: Node, index: int) -> Value:
    """An operand that the operator requires."""
    value = node.inputs[index]
    assert value is not None
    return value


def scalar(value: Value | None) -> float | None:
    """The number that a constant holds everywhere, None if it is no constant or varies."""
    if value is None or value.data is None or value.data.size == 0:
        return None
    flat = value.data.reshape(-1)
    if flat.size > 1 and not (flat == flat[0]).all():
        return None
    return float(flat[0])


def with_constant(node: Node) -> tuple[Value, Value] | None:
    """(other operand, constant) of a commutative operator with one constant operand."""
    a, b = operand(node, 0), operand(node, 1)
    if b.data is not None and a.data is None:
        return a, b
    if a.data is not None and b.data is None:
        return b, a
    return None


def near(value: float | None, wanted: float, tolerance: float = 1e-5) -> bool:
    """Whether a constant is *wanted*, up to the rounding of exporters."""
    return value is not None and abs(value - wanted) <= tolerance * abs(wanted)


def is_f32(value: Value) -> bool:
    return value.dtype is DType.F32
