"""Moves transposes through other operators so that they meet and cancel.

Models from frameworks with channels last carry a transpose before and after every convolution.
Moving each one down, through operators that do not care about the order of axes, brings pairs
together. Whether that pays is only known at the end, so a walk is undone if the transposes that
are left move more bytes than before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Op, Value
from nntc.passes.layout import merge
from nntc.passes.rewrite import Rewriter, made_by, operand, rewrite

Perm = tuple[int, ...]

_ELEMENTWISE = (
    ops.Unary,
    ops.LeakyRelu,
    ops.Elu,
    ops.Selu,
    ops.Celu,
    ops.HardSigmoid,
    ops.ThresholdedRelu,
    ops.Shrink,
    ops.Swish,
    ops.Clip,
    ops.IsInf,
    ops.Cast,
    ops.Binary,
    ops.Where,
    ops.PRelu,
)


@dataclass(frozen=True)
class MoveTransposes:
    """Transposes move down where that lets them cancel; a transpose before a flattening and a
    matrix product with constant weights goes into the weights."""

    name = "move-transposes"
    rounds: int = 32

    def apply(self, graph: Graph) -> Graph:
        if any(isinstance(n.op, ops.Transpose) for n in graph.nodes):
            rewrite(graph, _into_matrix)
            # First only where no transpose multiplies, then at any price on the way.
            for only_single in (True, False):
                self._try(graph, only_single)
        return graph

    def _try(self, graph: Graph, only_single: bool) -> None:
        before = _Snapshot(graph)
        cost = _cost(graph)

        def visit(rw: Rewriter, node: Node) -> Value | None:
            # Pairs cancel at once, else the second one would move away from the first.
            return merge(rw, node) or _sink(rw, node, only_single)

        last = None
        for _ in range(self.rounds):
            now = [(node.op, *map(id, node.inputs)) for node in graph.nodes]
            if now == last:
                break
            last = now
            rewrite(graph, visit)
        if _cost(graph) >= cost:
            before.restore()


def _cost(graph: Graph) -> int:
    """Bytes that the transposes move."""
    return sum(
        n.output.type.size * n.output.dtype.size
        for n in graph.nodes
        if isinstance(n.op, ops.Transpose)
    )


class _Snapshot:
    """What a walk changes in a graph: the nodes, their operands, and names."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes = [(node, list(node.inputs)) for node in graph.nodes]
        self._outputs = list(graph.outputs)
        self._names = [(value, value.name) for value in graph.values()]

    def restore(self) -> None:
        for node, inputs in self._nodes:
            node.inputs = inputs
        for value, name in self._names:
            value.name = name
        self._graph.nodes = [node for node, _ in self._nodes]
        self._graph.outputs = self._outputs


def _sink(rw: Rewriter, node: Node, only_single: bool) -> Value | None:
    """The node on its operands before their common transpose, the transpose after it."""
    if len(node.outputs) != 1 or not node.operands:
        return None
    perm = _common_perm(rw, node, only_single)
    if perm is None:
        return None
    op, after = _permuted(node, perm)
    if op is None:
        return None
    inputs = [None if v is None else _undone(rw, v, perm) for v in node.inputs]
    result = rw.op(op, *inputs)
    return rw.op(ops.Transpose(after), result) if after != tuple(range(len(after))) else result


def _common_perm(rw: Rewriter, node: Node, only_single: bool) -> Perm | None:
    """The transpose that all operands come from; constants and single numbers fit any."""
    perms: set[Perm] = set()
    for value in node.operands:
        maker = made_by(value, ops.Transpose)
        if maker is not None:
            assert isinstance(maker.op, ops.Transpose)
            if only_single and rw.uses(value) > node.operands.count(value):
                return None
            perms.add(maker.op.perm)
        elif value.data is None and value.type.size != 1:
            return None
    perm = perms.pop() if len(perms) == 1 else None
    if perm is None or any(len(v.shape) > len(perm) for v in node.operands):
        return None
    return perm


def _undone(rw: Rewriter, value: Value, perm: Perm) -> Value:
    """The operand as it is before the transpose."""
    maker = made_by(value, ops.Transpose)
    if maker is not None:
        return operand(maker, 0)
    if value.type.size == 1:
        return rw.reshape(value, ()) if value.shape else value
    assert value.data is not None
    data = value.data.reshape((1,) * (len(perm) - value.data.ndim) + value.shape)
    return rw.const(np.ascontiguousarray(data.transpose(np.argsort(perm))))


def _spread(values: Sequence[int], perm: Perm) -> tuple[int, ...]:
    """One entry per axis, from the order after the transpose to that before it."""
    result = [0] * len(perm)
    for axis, value in enumerate(values):
        result[perm[axis]] = value
    return tuple(result)


def _permuted(node: Node, perm: Perm) -> tuple[Op | None, Perm]:
    """The operator on the axes before the transpose, and the transpose that its result needs."""
    op = node.op
    rank = len(perm)
    if isinstance(op, _ELEMENTWISE):
        return (op, perm) if len(node.output.shape) == rank else (None, perm)
    if isinstance(op, ops.Concat):
        if any(v.type.size == 1 and made_by(v, ops.Transpose) is None for v in node.operands):
            return None, perm
        return ops.Concat(perm[op.axis]), perm
    if len(node.operands) != 1:
        return None, perm
    if isinstance(op, ops.Softmax | ops.LogSoftmax | ops.Hardmax | ops.LpNorm | ops.CumSum):
        return dataclasses.replace(op, axis=perm[op.axis]), perm
    if isinstance(op, ops.Pad):
        pads = _spread(op.pads[:rank], perm) + _spread(op.pads[rank:], perm)
        return dataclasses.replace(op, pads=pads), perm
    if isinstance(op, ops.Slice):
        parts = (_spread(v, perm) for v in (op.starts, op.ends, op.steps))
        return ops.Slice(*parts), perm
    if isinstance(op, ops.Tile):
        return ops.Tile(_spread(op.repeats, perm)), perm
    if isinstance(op, ops.Expand):
        return (
            (ops.Expand(_spread(op.shape, perm)), perm) if len(op.shape) == rank else (None, perm)
        )
    if isinstance(op, ops.Resize) and not op.roi:
        scales = tuple(op.scales[perm.index(axis)] for axis in range(rank))
        return dataclasses.replace(op, sizes=_spread(op.sizes, perm), scales=scales), perm
    if isinstance(op, ops.Reduce):
        axes = tuple(sorted(perm[a] for a in op.axes))
        return ops.Reduce(op.fn, axes, op.keepdims), _kept(perm, axes, op.keepdims)
    if isinstance(op, ops.ArgReduce):
        axis = perm[op.axis]
        return dataclasses.replace(op, axis=axis), _kept(perm, (axis,), op.keepdims)
    return None, perm


def _kept(perm: Perm, reduced: Sequence[int], keepdims: bool) -> Perm:
    """The transpose of what a reduction leaves."""
    if keepdims:
        return perm
    rest = [p for p in perm if p not in reduced]
    order = sorted(rest)
    return tuple(order.index(p) for p in rest)


def _into_matrix(rw: Rewriter, node: Node) -> Value | None:
    """matmul(reshape(transpose(x)), W): the rows of W take the order that x has."""
    op = node.op
    if not isinstance(op, ops.MatMul) or op.transpose_a:
        return None
    flat = made_by(operand(node, 0), ops.Reshape)
    turned = made_by(operand(flat, 0), ops.Transpose) if flat is not None else None
    weights = operand(node, 1)
    if flat is None or turned is None or weights.data is None or weights.data.ndim != 2:
        return None
    assert isinstance(turned.op, ops.Transpose)
    perm, x = turned.op.perm, operand(turned, 0)
    shape = turned.output.shape
    if perm[0] != 0 or len(flat.output.shape) != 2 or flat.output.shape[0] != shape[0]:
        return None
    matrix = weights.data.T if op.transpose_b else weights.data
    columns = matrix.shape[1]
    # Rows in the order of y's axes 1 ..., brought to the order of x's.
    order = [i - 1 for i in np.argsort(perm)[1:]]
    rows = matrix.reshape(*shape[1:], columns).transpose(*order, len(order))
    data = np.ascontiguousarray(rows.reshape(-1, columns))
    new = rw.const(np.ascontiguousarray(data.T) if op.transpose_b else data)
    return rw.op(op, rw.reshape(x, flat.output.shape), new, *node.inputs[2:])
