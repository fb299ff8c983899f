"""Legalisation: the graph rewritten into what the chip computes.

After it, every node is an element-wise operator, a reduction, a window, a matrix product or a
data movement that the kernels emit, on fp32 (or 32-bit integer bits).
"""

from __future__ import annotations

from dataclasses import dataclass

from nntc.backend.legalize import elementwise, host, network, norms, shapes
from nntc.backend.legalize.builder import Builder
from nntc.backend.legalize.registry import TABLE
from nntc.core.errors import Problems, UnsupportedError
from nntc.ir.graph import Graph, Value


@dataclass
class Legal:
    """The legal graph, and where the source graph's values are in it."""

    graph: Graph
    values: dict[str, Value]


def legalize(source: Graph) -> Legal:
    """Rewrite a graph.

    Raises:
        UnsupportedError: one line per node that the chip cannot do.
    """
    builder = Builder(source)
    problems = Problems(UnsupportedError)
    values: dict[str, Value] = {}
    dead: set[Value] = set()
    for node in source.nodes:
        if any(v in dead for v in node.operands):
            dead.update(node.outputs)
            continue
        rewrite = TABLE.get(type(node.op))
        builder.node = node
        if rewrite is None:
            problems.add(f"{node.source}: {node.op.name}: no TPU form")
            dead.update(node.outputs)
            continue
        with problems.collect():
            made = rewrite(builder, node)
            results = made if isinstance(made, list) else [made]
            for value, result in zip(node.outputs, results, strict=True):
                builder.bind(value, result)
                values[value.name] = result
            continue
        dead.update(node.outputs)
    problems.raise_if_any()
    builder.node = None
    builder.outputs()
    builder.graph.prune()
    return Legal(builder.graph, values)


__all__ = ["Legal", "elementwise", "host", "legalize", "network", "norms", "shapes"]
