"""Turns batch normalisation with constant statistics into a product and a sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value
from nntc.passes.rewrite import Rewriter, rewrite


@dataclass(frozen=True)
class LowerBatchNorm:
    """BatchNorm becomes x * factor + offset per channel; folding into a convolution before it is
    left to :class:`~nntc.passes.fold_affine.FoldAffine`."""

    name = "lower-batch-norm"

    def apply(self, graph: Graph) -> Graph:
        return rewrite(graph, _visit)


def _visit(rw: Rewriter, node: Node) -> Value | None:
    if not isinstance(node.op, ops.BatchNorm):
        return None
    x, *parameters = node.operands
    data = [v.data for v in parameters]
    scale, bias, mean, var = (None if d is None else d.astype(np.float64) for d in data)
    if scale is None or bias is None or mean is None or var is None:
        return None
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(var + node.op.epsilon)
        offset = bias - mean * factor
    # A negative variance or an overflow is left to the operator itself.
    if not (np.isfinite(factor).all() and np.isfinite(offset).all()):
        return None
    column = (-1, *(1,) * (len(x.shape) - 2))
    scaled = rw.binary("mul", x, rw.const(factor.astype(np.float32).reshape(column)))
    return rw.binary("add", scaled, rw.const(offset.astype(np.float32).reshape(column)))
