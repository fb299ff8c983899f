"""What is put into fp32 together: a compute layer and what follows it up to the next ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nntc.ir.graph import Graph, Node
from nntc.quant import LayerReport
from nntc.quant.islands import COMPUTE
from nntc.report.labels import label

MAX_LABELS = 3


@dataclass(frozen=True, eq=False)
class Unit:
    """A convolution or matrix product and the nodes that belong to it.

    Attributes:
        name: of its first node.
        nodes: of the float graph, in order.
        float_layers: names of the nodes that int8 has to give up, in order.
    """

    name: str
    nodes: tuple[Node, ...]
    float_layers: tuple[str, ...]

    @property
    def operators(self) -> str:
        """Its operators for people."""
        labels = [label(node.op) for node in self.nodes if node.name in self.float_layers]
        if len(labels) > MAX_LABELS:
            labels = [*labels[: MAX_LABELS - 1], "…", labels[-1]]
        return " + ".join(labels)


def find_units(graph: Graph, report: Sequence[LayerReport]) -> list[Unit]:
    """The units with nodes that are in int8, in the order of execution.

    A node that is no compute layer belongs to the latest of the units that it reads, so that no
    unit depends on itself through another.

    Args:
        report: of quantising the graph. Nodes that became part of others are not in it.
    """
    places = {entry.node: entry.place for entry in report}
    owner: dict[Node, int] = {}
    members: list[list[Node]] = []
    for node in graph.nodes:
        before = [owner[v.producer] for v in node.operands if v.producer is not None]
        if isinstance(node.op, COMPUTE) or not before:
            owner[node] = len(members)
            members.append([])
        else:
            owner[node] = max(before)
        members[owner[node]].append(node)
    units: list[Unit] = []
    for nodes in members:
        names = tuple(n.name for n in nodes if places.get(n.name, "int8") == "int8")
        if names:
            units.append(Unit(nodes[0].name, tuple(nodes), names))
    return units
