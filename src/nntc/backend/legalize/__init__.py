"""Legalisation: the graph rewritten into what the chip computes.

After it, every node is an element-wise operator, a reduction, a window, a matrix product or a
data movement that the kernels emit, on fp32 (or 32-bit integer bits), or a layer of the runtime's
CPU library.
"""

from __future__ import annotations

from dataclasses import dataclass

from nntc.backend.legalize import elementwise, fixed, host, indexing, network, norms, shapes
from nntc.backend.legalize.builder import Builder
from nntc.backend.legalize.registry import PACKED, TABLE
from nntc.backend.ops import CpuCall
from nntc.bmodel.cpu_ops import CpuOp
from nntc.core.errors import UnsupportedError
from nntc.ir.graph import Graph, Node, TensorType, Value
from nntc.ir.ops.fixed import BYTE


@dataclass(frozen=True)
class Finding:
    """Where one operator of the source graph runs.

    Attributes:
        place: TPU, CPU or refused.
        reason: why not on the TPU.
    """

    node: Node
    place: str
    reason: str = ""


@dataclass
class Legal:
    """The legal graph, and where the source graph's values are in it.

    Attributes:
        packed: types of the values that lie there as words of four 8-bit samples.
    """

    graph: Graph
    values: dict[str, Value]
    packed: dict[str, TensorType]


def legalize(source: Graph) -> Legal:
    """Rewrite a graph.

    Raises:
        UnsupportedError: one line per node that neither the chip nor the runtime's CPU library
            can do.
    """
    legal, findings = examine(source)
    refused = [f"{f.node.source}: {f.reason}" for f in findings if f.place == "refused"]
    if refused:
        raise UnsupportedError(refused)
    return legal


def examine(source: Graph) -> tuple[Legal, list[Finding]]:
    """Rewrite a graph, and say for every node where it runs.

    What reads the result of a refused node is examined all the same, so that all problems show.
    """
    builder = Builder(source)
    values: dict[str, Value] = {}
    packed: dict[str, TensorType] = {}
    findings: list[Finding] = []
    for node in source.nodes:
        builder.node = node
        rewrite = TABLE.get(type(node.op))
        before = len(builder.graph.nodes)
        reasons = [f"{node.op.name}: the chip has no form of it"]
        if rewrite is not None:
            try:
                words = _packed(builder, node)
                made = words if words is not None else rewrite(builder, node)
            except UnsupportedError as err:
                reasons = [text.removeprefix(f"{node.source}: ") for text in err.problems]
            else:
                results = made if isinstance(made, list) else [made]
                bind = builder.bind if words is None else builder.bind_words
                for value, result in zip(node.outputs, results, strict=True):
                    bind(value, result)
                    values[value.name] = result
                    if words is not None:
                        packed[value.name] = value.type
                findings.append(_finding(node, builder.graph.nodes[before:]))
                continue
        findings += [Finding(node, "refused", reason) for reason in reasons]
        for value in node.outputs:
            builder.stand_in(value)
    builder.node = None
    builder.outputs()
    builder.graph.prune()
    return Legal(builder.graph, values, packed), findings


def _packed(builder: Builder, node: Node) -> Value | None:
    """The words of an 8-bit result, if they are made from words."""
    packed = PACKED.get(type(node.op))
    if packed is None or len(node.outputs) != 1 or node.output.dtype not in BYTE:
        return None
    return packed(builder, node)


def _finding(node: Node, made: list[Node]) -> Finding:
    layers = [CpuOp(n.op.op_type).name for n in made if isinstance(n.op, CpuCall)]
    if not layers:
        return Finding(node, "TPU")
    return Finding(node, "CPU", f"the runtime's {', '.join(layers)} layer")


__all__ = [
    "Finding",
    "Legal",
    "elementwise",
    "examine",
    "fixed",
    "host",
    "indexing",
    "legalize",
    "network",
    "norms",
    "shapes",
]
