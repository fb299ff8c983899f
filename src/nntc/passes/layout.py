"""Merges reshapes and transposes."""

from __future__ import annotations

from dataclasses import dataclass

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value
from nntc.passes.rewrite import Rewriter, made_by, operand, rewrite


@dataclass(frozen=True)
class MergeLayout:
    """Reshapes after reshapes and transposes after transposes become one; a transpose that moves
    only axes of length 1 becomes a reshape; one that swaps the last two axes before a matrix
    product becomes that product's own."""

    name = "merge-layout"

    def apply(self, graph: Graph) -> Graph:
        return rewrite(graph, merge)


def merge(rw: Rewriter, node: Node) -> Value | None:
    """What the node becomes, None if it stays."""
    op = node.op
    if isinstance(op, ops.Reshape):
        before = made_by(operand(node, 0), ops.Reshape)
        if before is None:
            return None
        return _reshape(rw, node, operand(before, 0))
    if isinstance(op, ops.Transpose):
        return _transpose(rw, node, op)
    if isinstance(op, ops.MatMul):
        return _matmul(rw, node, op)
    return None


def _matmul(rw: Rewriter, node: Node, op: ops.MatMul) -> Value | None:
    a, b = (_untransposed(operand(node, i)) for i in (0, 1))
    if a is None and b is None:
        return None
    new = ops.MatMul(op.transpose_a ^ (a is not None), op.transpose_b ^ (b is not None))
    return rw.op(new, a or operand(node, 0), b or operand(node, 1), *node.inputs[2:])


def _untransposed(value: Value) -> Value | None:
    """The operand of a transpose that swaps just the last two axes."""
    node = made_by(value, ops.Transpose)
    if node is None or not isinstance(node.op, ops.Transpose):
        return None
    rank = len(node.op.perm)
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    return operand(node, 0) if rank >= 2 and node.op.perm == swapped else None


def _reshape(rw: Rewriter, node: Node, x: Value) -> Value | None:
    if x.shape != node.output.shape:
        return rw.op(ops.Reshape(node.output.shape), x)
    return x if rw.can_forward(node.output, x) else None


def _transpose(rw: Rewriter, node: Node, op: ops.Transpose) -> Value | None:
    x = operand(node, 0)
    before = made_by(x, ops.Transpose)
    if before is not None:
        assert isinstance(before.op, ops.Transpose)
        source = operand(before, 0)
        perm = tuple(before.op.perm[p] for p in op.perm)
        if perm != tuple(range(len(perm))):
            return rw.op(ops.Transpose(perm), source)
        return source if rw.can_forward(node.output, source) else None
    moved = [p for p in op.perm if x.shape[p] != 1]
    if moved == sorted(moved):
        return _reshape(rw, node, x)
    return None
