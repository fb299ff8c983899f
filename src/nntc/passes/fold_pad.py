"""Folds explicit padding into the windows after it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value
from nntc.passes.rewrite import Rewriter, made_by, operand, rewrite

# Functions whose results are never negative.
_NOT_NEGATIVE = ("relu", "sigmoid", "abs", "exp", "sqrt", "softplus")


@dataclass(frozen=True)
class FoldPad:
    """Padding of the spatial axes with zeros moves into a convolution, or into an average pool
    that counts its padding; padding that can never win moves into a maximum pool."""

    name = "fold-pad"

    def apply(self, graph: Graph) -> Graph:
        return rewrite(graph, _visit)


def _visit(rw: Rewriter, node: Node) -> Value | None:
    op = node.op
    if not isinstance(op, ops.Conv | ops.AveragePool | ops.MaxPool):
        return None
    before = made_by(operand(node, 0), ops.Pad)
    if before is None or not isinstance(before.op, ops.Pad):
        return None
    pad, x = before.op, operand(before, 0)
    rank = len(x.shape)
    spatial = (*pad.pads[2:rank], *pad.pads[rank + 2 :])
    if pad.mode != "constant" or min(pad.pads) < 0:
        return None
    if any((*pad.pads[:2], *pad.pads[rank : rank + 2])):
        return None
    pads = tuple(a + b for a, b in zip(op.pads, spatial, strict=True))
    if not _fits(op, pad, x, pads):
        return None
    if isinstance(op, ops.AveragePool):
        op = dataclasses.replace(op, count_include_pad=True)
    return rw.op(dataclasses.replace(op, pads=pads), x, *node.inputs[1:])


def _fits(
    op: ops.Conv | ops.AveragePool | ops.MaxPool, pad: ops.Pad, x: Value, pads: tuple[int, ...]
) -> bool:
    if isinstance(op, ops.Conv):
        return pad.value == 0
    count = len(op.kernel)
    extents = [d * (k - 1) + 1 for d, k in zip(op.dilations, op.kernel, strict=True)]
    if any(p >= extents[i % count] for i, p in enumerate(pads)):
        return False
    if isinstance(op, ops.AveragePool):
        counted = op.count_include_pad or not any(op.pads)
        # With ceil_mode the last window may reach beyond what padding counts.
        return pad.value == 0 and counted and not op.ceil_mode
    if op.ceil_mode:
        return False
    return pad.value == -np.inf or (pad.value == 0 and not _may_be_negative(x))


def _may_be_negative(x: Value) -> bool:
    node = x.producer
    if node is None:
        return x.dtype.numpy.kind != "u"
    if isinstance(node.op, ops.Unary):
        return node.op.fn not in _NOT_NEGATIVE
    if isinstance(node.op, ops.Clip):
        return node.op.min < 0
    return not isinstance(node.op, ops.HardSigmoid)
