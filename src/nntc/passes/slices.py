"""Merges slices and concatenations."""

from __future__ import annotations

from dataclasses import dataclass

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value
from nntc.passes.rewrite import Rewriter, made_by, operand, rewrite


@dataclass(frozen=True)
class MergeSlices:
    """A slice of a slice is one slice; a slice inside one operand of a concatenation slices that
    operand; a concatenation read only by another one along its axis becomes part of it."""

    name = "merge-slices"

    def apply(self, graph: Graph) -> Graph:
        return rewrite(graph, _visit)


def _visit(rw: Rewriter, node: Node) -> Value | None:
    if isinstance(node.op, ops.Slice) and min(node.op.steps, default=1) > 0:
        return _slice_of_slice(rw, node, node.op) or _slice_of_concat(rw, node, node.op)
    if isinstance(node.op, ops.Concat):
        return _concat_of_concat(rw, node, node.op)
    return None


def _slice_of_slice(rw: Rewriter, node: Node, op: ops.Slice) -> Value | None:
    before = made_by(operand(node, 0), ops.Slice)
    if before is None or not isinstance(before.op, ops.Slice) or min(before.op.steps) < 1:
        return None
    first = before.op
    x = operand(before, 0)
    starts = tuple(a + b * s for a, b, s in zip(first.starts, op.starts, first.steps, strict=True))
    steps = tuple(a * b for a, b in zip(first.steps, op.steps, strict=True))
    # One past the last element taken, so that both slices' ends are kept.
    ends = tuple(
        start + (size - 1) * step + 1 if size else start
        for start, size, step in zip(starts, node.output.shape, steps, strict=True)
    )
    return rw.op(ops.Slice(starts, ends, steps), x)


def _slice_of_concat(rw: Rewriter, node: Node, op: ops.Slice) -> Value | None:
    joined = made_by(operand(node, 0), ops.Concat)
    if joined is None or not isinstance(joined.op, ops.Concat):
        return None
    axis = joined.op.axis
    low, high = op.starts[axis], op.ends[axis]
    before = 0
    for part in joined.operands:
        after = before + part.shape[axis]
        if before <= low and high <= after and low < high:
            return _part(rw, node, op, part, before, axis)
        before = after
    return None


def _part(
    rw: Rewriter, node: Node, op: ops.Slice, part: Value, before: int, axis: int
) -> Value | None:
    starts, ends = list(op.starts), list(op.ends)
    starts[axis] -= before
    ends[axis] -= before
    if part.type == node.output.type:
        return part if rw.can_forward(node.output, part) else None
    return rw.op(ops.Slice(tuple(starts), tuple(ends), op.steps), part)


def _concat_of_concat(rw: Rewriter, node: Node, op: ops.Concat) -> Value | None:
    operands: list[Value] = []
    for value in node.operands:
        inner = made_by(value, ops.Concat)
        if inner is not None and inner.op == op and rw.uses(value) == 1:
            operands += inner.operands
        else:
            operands.append(value)
    return rw.op(op, *operands) if len(operands) > len(node.operands) else None
