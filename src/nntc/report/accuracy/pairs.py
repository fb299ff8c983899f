"""Which tensor of one model stands for which tensor of the other, and what it is computed from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from nntc.core.errors import UserError
from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value
from nntc.report.accuracy.runners import Form, Runner
from nntc.report.labels import label

MAX_LABELS = 3


@dataclass(frozen=True)
class Pair:
    """A tensor of B and the tensor of A that it should be.

    Attributes:
        reference: name in A.
        value: name in B.
        is_output: of the network.
        rounds: B only rounds here what it has as *reference* already.
    """

    reference: str
    value: str
    is_output: bool = False
    rounds: bool = False


def match(a: Runner, b: Runner) -> list[Pair]:
    """The pairs, in the order of execution; network inputs that are fed unchanged are left out.

    Tensors belong together by name. A ``Quantize`` result also belongs to its operand, an output
    behind ``Dequantize`` to what that reads. Outputs without a partner by name are matched by
    their order, if both models have the same number.

    Raises:
        UserError: nothing can be compared; the message says what the models have.
    """
    producers = _producers(b.graph)
    outputs = _outputs(a, b, producers)
    pairs: list[Pair] = []
    for name in b.forms:
        if name in outputs:
            pairs.append(Pair(outputs[name], name, is_output=True))
            continue
        node = producers.get(name)
        if name in a.forms:
            if not (node is None and name in b.inputs and b.forms[name].scale is None):
                pairs.append(Pair(name, name))
        elif node is not None and isinstance(node.op, ops.Quantize):
            origin = node.operands[0].name
            if origin in a.forms:
                pairs.append(Pair(origin, name, rounds=True))
    pairs = [p for p in pairs if comparable(a.forms[p.reference], b.forms[p.value])]
    if not pairs:
        outputs_of = f"outputs {_listed(a)} and {_listed(b)}"
        raise UserError(f"{a.title} and {b.title} have no value in common: {outputs_of}")
    return pairs


def unmatched(b: Runner, pairs: Sequence[Pair]) -> int:
    """How many tensors that B computes are compared with nothing, conversions left aside."""
    producers = _producers(b.graph)
    compared = {pair.value for pair in pairs}
    others = [name for name in b.forms if name not in compared and name not in b.inputs]
    conversions = (ops.Dequantize, ops.Quantize)
    return sum(
        not (name in producers and isinstance(producers[name].op, conversions)) for name in others
    )


def _listed(runner: Runner) -> str:
    texts = [f"{n} {runner.forms[n].place} {list(runner.forms[n].shape)}" for n in runner.outputs]
    return ", ".join(texts[:5]) + (f" and {len(texts) - 5} more" if len(texts) > 5 else "")


def comparable(a: Form, b: Form) -> bool:
    """Whether the numbers of both mean the same; batches may differ."""
    if len(a.shape) != len(b.shape) or a.shape[1:] != b.shape[1:]:
        return False
    return a.is_real == b.is_real


def _producers(graph: Graph | None) -> dict[str, Node]:
    if graph is None:
        return {}
    return {v.name: node for node in graph.nodes for v in node.outputs}


def _outputs(a: Runner, b: Runner, producers: dict[str, Node]) -> dict[str, str]:
    """Output of B → tensor of A."""
    found: dict[str, str] = {}
    for name in b.outputs:
        origin = name
        while origin not in a.forms:
            node = producers.get(origin)
            if node is None or not isinstance(node.op, (ops.Dequantize, ops.Quantize)):
                break
            origin = node.operands[0].name
        if origin in a.forms:
            found[name] = origin
    if not found and len(a.outputs) == len(b.outputs):
        return dict(zip(b.outputs, a.outputs, strict=True))
    return found


@dataclass(frozen=True)
class Origin:
    """How a compared tensor comes about.

    Attributes:
        operators: labels of the operators since the last compared tensors, joined.
        source: the last of these in the user's model.
        inputs: the compared tensors that it is computed from.
        exact: also from network inputs or constants, or from nothing that is known.
    """

    operators: str = ""
    source: str = ""
    inputs: tuple[str, ...] = ()
    exact: bool = True


def origins(graph: Graph | None, compared: Collection[str]) -> dict[str, Origin]:
    """For every compared tensor of a graph, back to the nearest compared ones."""
    found: dict[str, Origin] = {}
    if graph is None:
        return found
    order = {node: number for number, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        for value in node.outputs:
            if value.name in compared:
                found[value.name] = _origin(node, compared, order)
    return found


def renamed(known: Mapping[str, Origin], pairs: Sequence[Pair]) -> dict[str, Origin]:
    """Origins of B's tensors as origins of A's."""
    names = {pair.value: pair.reference for pair in pairs}
    return {
        names[value]: replace(origin, inputs=tuple(names[name] for name in origin.inputs))
        for value, origin in known.items()
    }


def _origin(last: Node, compared: Collection[str], order: dict[Node, int]) -> Origin:
    inputs: dict[str, None] = {}
    exact = False
    nodes = {last}
    waiting: list[Value] = list(last.operands)
    while waiting:
        value = waiting.pop()
        if value.is_constant:
            continue
        if value.name in compared:
            inputs[value.name] = None
        elif value.producer is None:
            exact = True
        elif value.producer not in nodes:
            nodes.add(value.producer)
            waiting.extend(value.producer.operands)
    labels = [label(node.op) for node in sorted(nodes, key=lambda n: order.get(n, 0))]
    if len(labels) > MAX_LABELS:
        labels = [*labels[: MAX_LABELS - 1], "…", labels[-1]]
    return Origin(" + ".join(labels), last.source, tuple(sorted(inputs)), exact or not inputs)
