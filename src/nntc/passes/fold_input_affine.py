"""Folds products and sums with constants into the weights after them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value
from nntc.passes.rewrite import Rewriter, is_f32, made_by_binary, operand, rewrite, with_constant


@dataclass(frozen=True)
class FoldInputAffine:
    """A convolution or matrix product with constant weights takes in a constant factor and offset
    per input channel before it. Zero padding is not shifted by the offset, so before a padded
    convolution x * s + b becomes (x + b / s) * s, of which only the factor folds."""

    name = "fold-input-affine"

    def apply(self, graph: Graph) -> Graph:
        return rewrite(graph, _visit)


@dataclass
class _Affine:
    """x * scale + offset; each one number or one per channel (float64)."""

    x: Value
    scale: np.ndarray
    offset: np.ndarray


def _visit(rw: Rewriter, node: Node) -> Value | None:
    op = node.op
    if not isinstance(op, ops.Conv | ops.MatMul) or not is_f32(node.output):
        return None
    weights, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    if weights is None or weights.data is None or (bias is not None and bias.data is None):
        return None
    if isinstance(op, ops.MatMul) and (op.transpose_a or weights.data.ndim != 2):
        return None
    found = _affine(rw, operand(node, 0), 1 if isinstance(op, ops.Conv) else -1)
    if found is None:
        return None
    x = found.x
    if isinstance(op, ops.Conv) and any(op.pads) and found.offset.any():
        with np.errstate(all="ignore"):
            shift = (found.offset / found.scale).astype(np.float32)
        if (found.scale == 1).all() or not np.isfinite(shift).all():
            return None
        column = shift.reshape(-1, *(1,) * (len(x.shape) - 2)) if shift.ndim else shift
        x = rw.binary("add", x, rw.const(column))
        found.offset = np.zeros(())
    new_weights, extra = _folded(op, weights.data, found)
    if not (np.isfinite(new_weights).all() and np.isfinite(extra).all()):
        return None
    w = rw.const(new_weights.astype(np.float32))
    if not extra.any():
        return rw.op(op, x, w, *node.inputs[2:])
    total = extra if bias is None or bias.data is None else bias.data + extra
    return rw.op(op, x, w, rw.const(np.asarray(total, np.float32)))


def _affine(rw: Rewriter, value: Value, axis: int) -> _Affine | None:
    """Factor and offset that make the value, if nobody else reads what they make."""
    scale, offset = np.ones(()), np.zeros(())
    x = value
    for fn in ("add", "mul"):
        node = made_by_binary(x, fn)
        parts = with_constant(node) if node is not None and rw.uses(x) == 1 else None
        data = None if parts is None else _per_channel(parts[1], x, axis)
        if parts is None or data is None or parts[0].type != x.type:
            continue
        x = parts[0]
        if fn == "add":
            offset = data
        else:
            scale = data
    return None if x is value else _Affine(x, scale, offset)


def _per_channel(constant: Value, x: Value, axis: int) -> np.ndarray | None:
    """The constant as one number, or one per channel; None if it varies otherwise."""
    data = constant.data
    assert data is not None
    if data.size == 1:
        return data.astype(np.float64).reshape(())
    rank = len(x.shape)
    position = axis % rank - (rank - data.ndim)
    if position < 0 or data.size != data.shape[position] or data.size != x.shape[axis]:
        return None
    return data.astype(np.float64).reshape(-1)


def _folded(
    op: ops.Conv | ops.MatMul, weights: np.ndarray, found: _Affine
) -> tuple[np.ndarray, np.ndarray]:
    """New weights, and what the offset adds to every output channel."""
    wide = weights.astype(np.float64)
    if isinstance(op, ops.MatMul):
        rows = wide.T if op.transpose_b else wide
        scaled = rows * (found.scale[:, None] if found.scale.ndim else found.scale)
        offset = np.broadcast_to(found.offset, rows.shape[:1]) @ rows
        return (scaled.T if op.transpose_b else scaled), offset
    outputs, inputs = wide.shape[:2]

    def spread(values: np.ndarray) -> np.ndarray:
        """One entry per weight's output and input channel."""
        if not values.ndim:
            return values
        grouped = np.repeat(values.reshape(op.group, inputs), outputs // op.group, 0)
        return grouped.reshape(outputs, inputs, *(1,) * (wide.ndim - 2))

    spatial = tuple(range(1, wide.ndim))
    return wide * spread(found.scale), (wide * spread(found.offset)).sum(spatial)
