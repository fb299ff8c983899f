"""Recognises layer and RMS normalisation that exporters write as several operators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value
from nntc.passes.rewrite import (
    Rewriter,
    is_binary,
    is_f32,
    made_by,
    made_by_binary,
    made_by_unary,
    operand,
    rewrite,
    scalar,
    with_constant,
)


@dataclass(frozen=True)
class RecogniseNormalisations:
    """(x - mean) / sqrt(variance + epsilon) over the last axes becomes LayerNorm, and takes in the
    constant factor and offset after it; x / sqrt(mean of squares + epsilon) becomes RMSNorm."""

    name = "recognise-normalisations"

    def apply(self, graph: Graph) -> Graph:
        return rewrite(graph, _visit)


def _visit(rw: Rewriter, node: Node) -> Value | None:
    if not is_binary(node, "add", "mul", "div") or not is_f32(node.output):
        return None
    if is_binary(node, "add", "mul"):
        absorbed = _absorb(rw, node)
        if absorbed is not None:
            return absorbed
    for x, divisor in _quotients(node):
        found = _normalised(rw, x, divisor)
        if found is not None and found.type == node.output.type:
            return found
    return None


def _quotients(node: Node) -> list[tuple[Value, Value]]:
    """(x, v) where the node computes x / sqrt(v)."""
    a, b = operand(node, 0), operand(node, 1)
    if is_binary(node, "div"):
        root = made_by_unary(b, "sqrt")
        return [] if root is None else [(a, operand(root, 0))]
    pairs: list[tuple[Value, Value]] = []
    if is_binary(node, "mul"):
        for x, factor in ((a, b), (b, a)):
            root = made_by_unary(factor, "rsqrt")
            if root is not None:
                pairs.append((x, operand(root, 0)))
    return pairs


def _normalised(rw: Rewriter, x: Value, inner: Value) -> Value | None:
    """x / sqrt(inner), if inner is the mean of x * x plus a constant."""
    add = made_by_binary(inner, "add")
    parts = None if add is None else with_constant(add)
    epsilon = None if parts is None else scalar(parts[1])
    if parts is None or epsilon is None or epsilon < 0:
        return None
    mean = made_by(parts[0], ops.Reduce)
    axis = None if mean is None else _last_axes(mean)
    square = None if mean is None else made_by_binary(operand(mean, 0), "mul")
    if axis is None or square is None or square.inputs != [x, x]:
        return None
    centred = made_by_binary(x, "sub")
    if centred is not None:
        average = made_by(operand(centred, 1), ops.Reduce)
        source = operand(centred, 0)
        if average is not None and average.inputs == [source] and _last_axes(average) == axis:
            return rw.op(ops.LayerNorm(axis, epsilon), source)
    ones = rw.const(np.ones(x.shape[axis:], np.float32))
    return rw.op(ops.RMSNorm(axis, epsilon), x, ones)


def _last_axes(node: Node) -> int | None:
    """First axis of a mean over the last axes, None for anything else."""
    op = node.op
    if not isinstance(op, ops.Reduce) or op.fn != "mean" or not op.keepdims or not op.axes:
        return None
    rank = len(operand(node, 0).shape)
    first = min(op.axes)
    return first if sorted(op.axes) == list(range(first, rank)) else None


def _absorb(rw: Rewriter, node: Node) -> Value | None:
    """A constant factor or offset goes into the normalisation before it."""
    parts = with_constant(node)
    if parts is None:
        return None
    x, constant = parts
    before = made_by(x, ops.LayerNorm) or made_by(x, ops.RMSNorm)
    if before is None or not rw.only_use(x) or x.type != node.output.type:
        return None
    assert isinstance(before.op, ops.LayerNorm | ops.RMSNorm)
    shape = x.shape[before.op.axis :]
    data = constant.data
    assert data is not None
    extra = data.ndim - len(shape)
    if extra > 0 and any(d != 1 for d in data.shape[:extra]):
        return None
    data = np.broadcast_to(data.reshape(data.shape[max(extra, 0) :]), shape)
    source, scale, bias = (*before.inputs, None, None)[:3]
    if is_binary(node, "mul"):
        if bias is not None or (scale is not None and scale.data is None):
            return None
        old = 1 if scale is None or scale.data is None else scale.data
        return rw.op(before.op, source, rw.const(np.asarray(old * data, np.float32)))
    if not isinstance(before.op, ops.LayerNorm):
        return None
    if bias is not None and bias.data is None:
        return None
    old = 0 if bias is None or bias.data is None else bias.data
    return rw.op(before.op, source, scale, rw.const(np.asarray(old + data, np.float32)))
