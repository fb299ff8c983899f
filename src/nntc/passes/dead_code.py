"""Drops what nobody reads."""

from __future__ import annotations

from dataclasses import dataclass

from nntc.ir.graph import Graph


@dataclass(frozen=True)
class DeadCode:
    """Nodes that no output depends on are dropped. Network inputs stay, read or not."""

    name = "dead-code"

    def apply(self, graph: Graph) -> Graph:
        graph.prune()
        return graph
