"""Closes a graph that a front end has built: outputs and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nntc.frontends.builder import Builder
from nntc.ir.graph import TensorType, Value


def finish(builder: Builder, values: Mapping[str, Value], outputs: Sequence[str]) -> None:
    """Set the graph's outputs under their exact names, drop dead nodes, make names unique.

    A node is called like its first result.

    Args:
        values: the value of each name in *outputs*.
    """
    graph = builder.graph
    inputs = {v.name: v for v in graph.inputs}
    taken: set[Value] = set(graph.inputs)
    for name in outputs:
        value = values[name]
        if inputs.get(name) is not value:
            if value.data is not None:
                value = Value(name, TensorType(value.dtype, value.shape), value.data)
            elif value in taken:
                builder.label = builder.source = name
                value = builder.copy(value)
            value.name = name
            taken.add(value)
        graph.outputs.append(value)
    graph.prune()
    named = set(graph.inputs)
    for value in graph.outputs:
        if value not in named:
            named.add(value)
            value.name = graph.unique_name(value.name)
    # Constants made for a node are called like it; the node's results come first.
    for value in sorted(graph.values(), key=lambda v: v.is_constant):
        if value not in named:
            named.add(value)
            value.name = graph.unique_name(value.name)
    for node in graph.nodes:
        node.name = node.output.name
