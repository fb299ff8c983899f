"""Removes nodes that change nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value
from nntc.passes.rewrite import Rewriter, made_by, operand, rewrite, scalar

# Element types that hold every value of another one exactly.
_HOLDS: dict[DType, frozenset[DType]] = {
    DType.I8: frozenset({DType.BOOL}),
    DType.U8: frozenset({DType.BOOL}),
    DType.I16: frozenset({DType.BOOL, DType.I8, DType.U8}),
    DType.U16: frozenset({DType.BOOL, DType.U8}),
    DType.I32: frozenset({DType.BOOL, DType.I8, DType.U8, DType.I16, DType.U16}),
    DType.U32: frozenset({DType.BOOL, DType.U8, DType.U16}),
    DType.F32: frozenset({DType.BOOL, DType.I8, DType.U8, DType.I16, DType.U16}),
    DType.I64: frozenset(
        {DType.BOOL, DType.I8, DType.U8, DType.I16, DType.U16, DType.I32, DType.U32}
    ),
}


@dataclass(frozen=True)
class RemoveIdentities:
    """Reshapes to the same shape, slices of everything, padding by nothing, x + 0, x * 1 and the
    like give way to their operand; so does a cast to a wider type and back."""

    name = "remove-identities"

    def apply(self, graph: Graph) -> Graph:
        return rewrite(graph, _visit)


def _visit(rw: Rewriter, node: Node) -> Value | None:
    if len(node.outputs) != 1:
        return None
    zero = _times_zero(node)
    if zero is not None:
        return rw.const(zero)
    same = _same(node)
    if same is not None and rw.can_forward(node.output, same):
        return same
    return _simpler(rw, node)


def _same(node: Node) -> Value | None:
    """The operand that the result equals, None if there is none."""
    op = node.op
    if isinstance(op, ops.Binary):
        return _neutral(node, op.fn)
    x = next(iter(node.operands), None)
    if x is None or x.type != node.output.type:
        return None
    if isinstance(op, ops.Reshape | ops.Slice | ops.Expand | ops.Tile | ops.Cast | ops.Concat):
        # Of the same type and shape: nothing was cut, repeated or joined; only reversed perhaps.
        reverses = isinstance(op, ops.Slice) and min(op.steps, default=1) < 0
        joins = isinstance(op, ops.Concat) and len(node.inputs) > 1
        return None if reverses or joins else x
    if isinstance(op, ops.Transpose) and op.perm == tuple(range(len(op.perm))):
        return x
    if isinstance(op, ops.Pad) and not any(op.pads):
        return x
    if isinstance(op, ops.Clip) and (op.min, op.max) == (-np.inf, np.inf):
        return x
    if isinstance(op, ops.Swish | ops.Unary) and _already(op, x):
        return x
    return None


def _already(op: ops.Swish | ops.Unary, x: Value) -> bool:
    """relu of relu, abs of abs, floor of floor, ..."""
    idempotent = ("relu", "abs", "floor", "ceil", "round", "trunc", "sign")
    maker = made_by(x, ops.Unary)
    return (
        isinstance(op, ops.Unary) and op.fn in idempotent and maker is not None and maker.op == op
    )


_RIGHT = {"add": 0, "sub": 0, "mul": 1, "div": 1, "pow": 1}
_LEFT = {"add": 0, "mul": 1}


def _neutral(node: Node, fn: str) -> Value | None:
    """x for x + 0, x - 0, x * 1, x / 1, x ** 1, where the constant does not widen the shape."""
    a, b = operand(node, 0), operand(node, 1)
    for x, constant, neutral in ((a, b, _RIGHT.get(fn)), (b, a, _LEFT.get(fn))):
        if neutral is not None and scalar(constant) == neutral and x.type == node.output.type:
            return x
    return None


def _times_zero(node: Node) -> np.ndarray | None:
    """Integers times zero are known; floats are not, 0 * inf is NaN."""
    if node.op != ops.Binary("mul") or node.output.dtype.is_float:
        return None
    if all(scalar(v) != 0 for v in node.operands):
        return None
    return np.zeros(node.output.shape, node.output.dtype.numpy)


def _simpler(rw: Rewriter, node: Node) -> Value | None:
    op = node.op
    if isinstance(op, ops.Cast):
        return _cast_of_cast(rw, node, op)
    if isinstance(op, ops.Reduce) and op.fn in ("sum", "mean", "max", "min", "prod"):
        x = operand(node, 0)
        if all(x.shape[a] == 1 for a in op.axes):
            return _reshaped(rw, node, x)
    if isinstance(op, ops.Binary | ops.Where):
        return _without_expand(rw, node)
    return None


def _reshaped(rw: Rewriter, node: Node, x: Value) -> Value | None:
    if x.shape == node.output.shape and not rw.can_forward(node.output, x):
        return None
    return rw.reshape(x, node.output.shape)


def _cast_of_cast(rw: Rewriter, node: Node, op: ops.Cast) -> Value | None:
    """Through a type that holds every value of the first one, the first cast changes nothing."""
    inner = made_by(operand(node, 0), ops.Cast)
    if inner is None:
        return None
    x = operand(inner, 0)
    if x.dtype not in _HOLDS.get(operand(node, 0).dtype, ()):
        return None
    if x.dtype is op.to:
        return x if rw.can_forward(node.output, x) else rw.op(ops.Reshape(x.shape), x)
    return rw.op(op, x)


def _without_expand(rw: Rewriter, node: Node) -> Value | None:
    """Operands broadcast by themselves."""
    inputs: list[Value | None] = []
    for value in node.inputs:
        maker = made_by(value, ops.Expand)
        inputs.append(value if maker is None else operand(maker, 0))
    if inputs == node.inputs:
        return None
    types = node.op.infer(*(None if v is None else v.type for v in inputs))
    return rw.op(node.op, *inputs) if types[0] == node.output.type else None
