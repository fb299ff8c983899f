"""Evaluates nodes whose operands are all constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nntc.ir.graph import Graph, Node, Value
from nntc.passes.rewrite import Rewriter, rewrite


@dataclass(frozen=True)
class FoldConstants:
    """Nodes on constants become constants, unless the result is larger than *limit* bytes."""

    name = "fold-constants"
    limit: int = 1 << 28

    def apply(self, graph: Graph) -> Graph:
        return rewrite(graph, self._visit)

    def _visit(self, rw: Rewriter, node: Node) -> list[Value] | None:
        if not node.operands or any(v.data is None for v in node.operands):
            return None
        if sum(v.type.size * v.dtype.size for v in node.outputs) > self.limit:
            return None
        with np.errstate(all="ignore"):
            results = node.op.compute(*(None if v is None else v.data for v in node.inputs))
        return [rw.const(array) for array in results]
