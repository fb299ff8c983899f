"""Computes equal things once."""

from __future__ import annotations

from dataclasses import dataclass

from nntc.ir.graph import Graph, Node, Op, Value
from nntc.passes.rewrite import Rewriter, rewrite

ConstantKey = tuple[str, tuple[int, ...], bytes | int]


@dataclass(frozen=True)
class CommonSubexpressions:
    """Equal constants become one (above *limit* bytes: those that hold the same array); nodes with
    the same operator and the same operands too."""

    name = "common-subexpressions"
    limit: int = 1 << 12

    def apply(self, graph: Graph) -> Graph:
        self._share_constants(graph)
        seen: dict[tuple[Op, tuple[Value | None, ...]], Node] = {}

        def visit(rw: Rewriter, node: Node) -> list[Value] | None:
            first = seen.setdefault((node.op, tuple(node.inputs)), node)
            if first is node:
                return None
            pairs = zip(node.outputs, first.outputs, strict=True)
            if not all(rw.can_forward(old, new) for old, new in pairs):
                return None
            return first.outputs

        return rewrite(graph, visit)

    def _share_constants(self, graph: Graph) -> None:
        shared: dict[ConstantKey, Value] = {}
        for node in graph.nodes:
            node.inputs = [self._shared(v, shared) for v in node.inputs]

    def _shared(self, value: Value | None, shared: dict[ConstantKey, Value]) -> Value | None:
        if value is None or value.data is None:
            return value
        data = value.data
        content = data.tobytes() if data.nbytes <= self.limit else id(data)
        return shared.setdefault((str(value.dtype), value.shape, content), value)
