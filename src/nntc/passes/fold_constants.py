"""Evaluates nodes whose operands are all constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Op, TensorType, Value
from nntc.passes.rewrite import Rewriter, rewrite

# Multiplications and window taps that evaluating one node may cost; beyond, it stays.
_PRODUCTS = 1 << 33
_TAPS = 1 << 12


@dataclass(frozen=True)
class FoldConstants:
    """Nodes on constants become constants, unless the result is larger than *limit* bytes or
    takes too long to evaluate."""

    name = "fold-constants"
    limit: int = 1 << 28

    def apply(self, graph: Graph) -> Graph:
        return rewrite(graph, self._visit)

    def _visit(self, rw: Rewriter, node: Node) -> list[Value] | None:
        if not node.operands or any(v.data is None for v in node.operands):
            return None
        types = [v.type for v in node.outputs]
        if sum(t.size * t.dtype.size for t in types) > self.limit:
            return None
        if not is_cheap(node.op, [v.type for v in node.operands], types):
            return None
        with np.errstate(all="ignore"):
            results = node.op.compute(*(None if v is None else v.data for v in node.inputs))
        return [rw.const(array) for array in results]


def is_cheap(op: Op, operands: Sequence[TensorType], results: Sequence[TensorType]) -> bool:
    """Whether evaluating the operator while compiling takes seconds at most, whatever a damaged
    file states as kernel or scale."""
    if isinstance(op, ops.MatMul | ops.Conv):
        inner = operands[1].size // max(
            operands[1].shape[-1 if isinstance(op, ops.MatMul) else 0], 1
        )
        return results[0].size * max(inner, 1) < _PRODUCTS
    if isinstance(op, ops.ConvTranspose):
        return operands[0].size * operands[1].size // max(operands[1].shape[0], 1) < _PRODUCTS
    if isinstance(op, ops.MaxPool | ops.AveragePool | ops.LpPool):
        return math.prod(op.kernel) < _TAPS and max(op.pads) < _TAPS
    if isinstance(op, ops.Resize):
        return min(op.scales, default=1) * _TAPS > 1
    if isinstance(op, ops.RoiAlign):
        return 0 < op.sampling_ratio < 64
    if isinstance(op, ops.DetectionOutput | ops.RoiPool):
        return operands[0].size < _TAPS
    return True
