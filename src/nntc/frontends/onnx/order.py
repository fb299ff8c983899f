"""Which nodes are needed for some values, and in which order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence

from onnx import AttributeProto, GraphProto, NodeProto

from nntc.core.errors import ModelError
from nntc.frontends import limits


def operands(node: NodeProto, depth: int = 0) -> list[str]:
    """Names that the node reads: its operands, and what its subgraphs take from outside."""
    names = [name for name in node.input if name]
    for attr in node.attribute:
        if attr.type == AttributeProto.GRAPH:
            names += captured(attr.g, depth + 1)
        elif attr.type == AttributeProto.GRAPHS:
            for graph in attr.graphs:
                names += captured(graph, depth + 1)
    return names


def captured(graph: GraphProto, depth: int = 0) -> list[str]:
    """Names that a subgraph reads and does not define.

    Raises:
        ModelError: subgraphs are nested too deeply.
    """
    if depth > limits.DEPTH:
        raise ModelError(f"graphs are nested more than {limits.DEPTH} deep")
    inside = {v.name for v in graph.input}
    inside.update(t.name for t in graph.initializer)
    inside.update(s.values.name for s in graph.sparse_initializer)
    for node in graph.node:
        inside.update(node.output)
    names: dict[str, None] = {}
    for node in graph.node:
        names.update(dict.fromkeys(operands(node, depth)))
    names.update(dict.fromkeys(v.name for v in graph.output))
    return [n for n in names if n not in inside]


def producers(nodes: Sequence[NodeProto]) -> dict[str, int]:
    """Value name → index of the node that makes it.

    Raises:
        ModelError: two nodes make one name.
    """
    table: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.output:
            if name and table.setdefault(name, index) != index:
                raise ModelError(f"two nodes have a result named '{name}'")
    return table


def plan(
    nodes: Sequence[NodeProto], wanted: Iterable[str], known: Callable[[str], bool]
) -> list[NodeProto]:
    """The nodes needed for the values *wanted*, each after the nodes it depends on.

    Nodes keep the file's order where that order is valid.

    Args:
        known: whether a name has a value already, so its node is not needed.

    Raises:
        ModelError: the nodes form a cycle, or two make one name.
    """
    made_by = producers(nodes)
    needed: dict[int, list[int]] = {}
    stack = [made_by[n] for n in wanted if n in made_by and not known(n)]
    while stack:
        index = stack.pop()
        if index in needed:
            continue
        sources = {made_by[n] for n in operands(nodes[index]) if n in made_by and not known(n)}
        needed[index] = sorted(sources)
        stack += needed[index]
    waiting = {index: len(sources) for index, sources in needed.items()}
    users: dict[int, list[int]] = {}
    for index, sources in needed.items():
        for source in sources:
            users.setdefault(source, []).append(index)
    ready = [index for index, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    order: list[NodeProto] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(nodes[index])
        for user in users.get(index, ()):
            waiting[user] -= 1
            if waiting[user] == 0:
                heapq.heappush(ready, user)
    if len(order) < len(needed):
        stuck = min(index for index, count in waiting.items() if count)
        node = nodes[stuck]
        label = node.name or next(iter(node.output), "")
        raise ModelError(f"the nodes form a cycle through '{label}' ({node.op_type})")
    return order
