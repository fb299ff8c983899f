"""Folds products and sums with constants into the weights and bias before them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Op, Value
from nntc.passes.rewrite import Rewriter, is_binary, is_f32, operand, rewrite, with_constant

_Linear = ops.Conv | ops.ConvTranspose | ops.MatMul


@dataclass(frozen=True)
class FoldAffine:
    """A convolution or matrix product with constant weights takes in a constant factor or offset
    per output channel that follows it; chains of factors or offsets become one. The weights are
    rounded once more, so results move by about one part in 2^24."""

    name = "fold-affine"

    def apply(self, graph: Graph) -> Graph:
        return rewrite(graph, _visit)


def _visit(rw: Rewriter, node: Node) -> Value | None:
    if not is_binary(node, "add", "mul", "div") or not is_f32(node.output):
        return None
    parts = _operands(node)
    if parts is None:
        return None
    x, constant = parts
    before = x.producer
    if before is None or not rw.only_use(x) or x.shape != node.output.shape:
        return None
    if isinstance(before.op, _Linear):
        return _into_weights(rw, node, before, constant)
    return _chain(rw, node, before, constant)


def _operands(node: Node) -> tuple[Value, Value] | None:
    if is_binary(node, "div"):
        a, b = operand(node, 0), operand(node, 1)
        return (a, b) if b.data is not None and a.data is None else None
    return with_constant(node)


def _chain(rw: Rewriter, node: Node, before: Node, constant: Value) -> Value | None:
    """(x * a) * b and (x + a) + b."""
    if node.op != before.op or not is_binary(node, "add", "mul"):
        return None
    parts = with_constant(before)
    if parts is None or parts[1].data is None or constant.data is None:
        return None
    with np.errstate(all="ignore"):
        wide = parts[1].data.astype(np.float64), constant.data.astype(np.float64)
        data = wide[0] * wide[1] if is_binary(node, "mul") else wide[0] + wide[1]
        data = np.asarray(data, np.float32)
    usable = np.isfinite(data).all() and data.size <= max(parts[1].type.size, constant.type.size)
    return rw.op(node.op, parts[0], rw.const(data)) if usable else None


def _into_weights(rw: Rewriter, node: Node, linear: Node, constant: Value) -> Value | None:
    weights = linear.inputs[1]
    bias = linear.inputs[2] if len(linear.inputs) > 2 else None
    if weights is None or weights.data is None or (bias is not None and bias.data is None):
        return None
    channel = _per_channel(linear, constant)
    if channel is None:
        return None
    old = None if bias is None else bias.data
    with np.errstate(all="ignore"):
        if is_binary(node, "add"):
            w = weights
            b = channel if old is None else old.astype(np.float64) + channel
        else:
            factor = 1 / channel if is_binary(node, "div") else channel
            data = _scaled(linear.op, weights.data, factor).astype(np.float32)
            if not np.isfinite(data).all():
                return None
            w = rw.const(data)
            b = None if old is None else old.astype(np.float64) * factor
    if b is None:
        return rw.op(linear.op, operand(linear, 0), w)
    b = np.asarray(b, np.float32)
    if not isinstance(linear.op, ops.MatMul):
        b = np.broadcast_to(b, linear.output.shape[1:2])
    elif not b.ndim and weights.data.ndim > 1:
        b = np.broadcast_to(b, linear.output.shape[-1:])
    if not np.isfinite(b).all():
        return None
    return rw.op(linear.op, operand(linear, 0), w, rw.const(b))


def _per_channel(linear: Node, constant: Value) -> np.ndarray | None:
    """The constant as one number, or one per output channel (float64); None if it varies more."""
    data = constant.data
    shape = linear.output.shape
    if data is None or not shape:
        return None
    if data.size == 1:
        return data.astype(np.float64).reshape(())
    # The channel is axis 1 of a convolution's result, the last axis of a matrix product's.
    axis = len(shape) - 1 if isinstance(linear.op, ops.MatMul) else 1
    if isinstance(linear.op, ops.MatMul) and len(operand(linear, 1).shape) < 2:
        return None
    position = axis - (len(shape) - data.ndim)
    if position < 0 or data.size != data.shape[position] or data.size != shape[axis]:
        return None
    return data.astype(np.float64).reshape(-1)


def _scaled(op: Op, weights: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Weights times one number, or one per output channel."""
    wide = weights.astype(np.float64)
    if factor.ndim == 0:
        return wide * factor
    if isinstance(op, ops.Conv):
        return wide * factor.reshape(-1, *(1,) * (wide.ndim - 1))
    if isinstance(op, ops.ConvTranspose):
        # [C, M/group, ...]: the output channels of a group are axis 1, its inputs a part of axis 0.
        grouped = wide.reshape(op.group, -1, *wide.shape[1:])
        factors = factor.reshape(op.group, 1, wide.shape[1], *(1,) * (wide.ndim - 2))
        return (grouped * factors).reshape(wide.shape)
    assert isinstance(op, ops.MatMul)
    return wide * (factor[:, None] if op.transpose_b else factor)
