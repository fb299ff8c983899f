"""Which nodes stay in fp32 because the user says so."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from nntc.core.errors import Problems, UserError
from nntc.ir import ops
from nntc.ir.graph import Graph, Node
from nntc.quant.options import QuantizeOptions

COMPUTE = (ops.Conv, ops.ConvTranspose, ops.MatMul)


def float_nodes(graph: Graph, options: QuantizeOptions) -> set[Node]:
    """The nodes that the options keep in fp32.

    Raises:
        UserError: lists the names that no layer of the network has.
    """
    names = _Names(graph)
    chosen = set(names.find("layer", options.float_layers))
    before, after = _Reach(graph, back=True), _Reach(graph, back=False)
    chosen |= before.all(names.find("layer", options.float_inputs))
    chosen |= after.all(names.find("layer", options.float_outputs))
    for node in names.find("layer", options.float_blocks):
        chosen |= after.until_compute(node)
    names.problems.raise_if_any()
    return chosen


class _Names:
    """Finds nodes by what users call them."""

    def __init__(self, graph: Graph) -> None:
        self.problems = Problems(UserError)
        self._found: dict[str, Node] = {}
        # A node may be called what another one was made of: its own name goes first.
        for node in graph.nodes:
            self._found[node.name] = node
        for node in graph.nodes:
            # Front ends note the operator behind the model's own name: /head/Conv (Conv).
            own = re.sub(r" \([^()]*\)$", "", node.source)
            for name in (*(v.name for v in node.outputs), node.source, own):
                self._found.setdefault(name, node)

    def find(self, what: str, wanted: Sequence[str]) -> list[Node]:
        result: list[Node] = []
        for name in wanted:
            node = self._found.get(name)
            if node is None:
                close = difflib.get_close_matches(name, self._found, 1)
                hint = f"; is {close[0]} meant?" if close else ""
                self.problems.add(f"{what} {name}: the network has none of this name{hint}")
            else:
                result.append(node)
        return result


class _Reach:
    """Nodes before or behind others."""

    def __init__(self, graph: Graph, back: bool) -> None:
        self._users = graph.users()
        self._back = back

    def _next(self, node: Node) -> Iterable[Node]:
        if self._back:
            return [v.producer for v in node.operands if v.producer is not None]
        return [user for value in node.outputs for user in self._users.get(value, ())]

    def all(self, starts: Iterable[Node]) -> set[Node]:
        """The nodes themselves and everything that they lead to."""
        found: set[Node] = set()
        open_nodes = list(starts)
        while open_nodes:
            node = open_nodes.pop()
            if node not in found:
                found.add(node)
                open_nodes += self._next(node)
        return found

    def until_compute(self, start: Node) -> set[Node]:
        """The node and what follows, up to the next convolutions and matrix products."""
        found = {start}
        open_nodes = list(self._next(start))
        while open_nodes:
            node = open_nodes.pop()
            if node not in found and not isinstance(node.op, COMPUTE):
                found.add(node)
                open_nodes += self._next(node)
        return found
