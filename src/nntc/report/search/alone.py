"""What a network computes if one unit is in int8 and everything else in fp32.

The unit's integers are those of the network that is quantised as a whole, so one quantisation
serves for all units, and a unit costs no more than running the network behind it once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nntc.ir import interpret, ops
from nntc.ir.graph import Graph, Node, Value
from nntc.report.accuracy.runners import Form, value_form
from nntc.report.search.units import Unit

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Part:
    """The nodes of the int8 graph that compute a unit.

    Attributes:
        starts: value of the int8 graph → value of the float graph that it stands for.
        nodes: in order.
        ends: value of the float graph → what stands for it in the int8 graph.
    """

    starts: dict[Value, Value]
    nodes: list[Node]
    ends: dict[Value, Value]


class Alone:
    """Runs units of a float graph as an int8 graph of it computes them.

    Args:
        graph: the float graph.
        fixed: made of it by the quantiser; values belong together by name.
    """

    def __init__(self, graph: Graph, fixed: Graph) -> None:
        self.graph = graph
        self._order = {node: number for number, node in enumerate(fixed.nodes)}
        made = [v for node in fixed.nodes for v in node.outputs]
        self._forms: dict[Value, Form] = {v: value_form(v) for v in (*fixed.inputs, *made)}
        known = {v.name: v for v in graph.values() if not v.is_constant}
        self._stands: dict[Value, Value] = {}
        self._made: dict[Value, Value] = {}
        for value in self._forms:
            reference = self._reference(value, known)
            if reference is not None:
                self._stands[value] = reference
                # A tensor in fp32 comes before its integers: rounding it is up to who reads it.
                self._made.setdefault(reference, value)

    def _reference(self, value: Value, known: Mapping[str, Value]) -> Value | None:
        """The float value that *value* stands for."""
        producer = value.producer
        found = known.get(value.name) or known.get(value.name.removesuffix(".fixed"))
        if found is None and producer is not None and isinstance(producer.op, ops.Quantize):
            found = known.get(producer.operands[0].name)
        if found is None or found.shape != value.shape:
            return None
        real = self._forms[value].is_real
        return found if real == found.dtype.is_float else None

    def form(self, value: Value) -> Form:
        """What a value of the int8 graph stands for."""
        return self._forms[value]

    def part(self, unit: Unit) -> Part:
        """The nodes that compute a unit from exact inputs."""
        inside = {v for node in unit.nodes for v in node.outputs}
        ends = {v: self._made[v] for v in _in_order(unit) if v in self._made}
        starts: dict[Value, Value] = {}
        nodes: set[Node] = set()
        waiting = list(ends.values())
        while waiting:
            value = waiting.pop()
            reference = self._stands.get(value)
            if value.is_constant:
                continue
            if reference is not None and reference not in inside:
                starts[value] = reference
            elif value.producer is not None and value.producer not in nodes:
                nodes.add(value.producer)
                waiting += value.producer.operands
        return Part(starts, sorted(nodes, key=self._order.__getitem__), ends)

    def run(self, part: Part, exact: Arrays) -> Arrays:
        """The network's outputs.

        Args:
            exact: every value of the float graph, by name.
        """
        arrays: dict[Value, np.ndarray] = {
            value: self._forms[value].given(exact[reference.name])
            for value, reference in part.starts.items()
        }
        for node in part.nodes:
            _compute(node, arrays, {})
        changed = {
            reference: self._forms[value].real(arrays[value])
            for reference, value in part.ends.items()
        }
        for node in self.graph.nodes:
            if any(v in changed for v in node.operands):
                _compute(node, changed, exact)
        return {v.name: changed.get(v, exact[v.name]) for v in self.graph.outputs}


def _in_order(unit: Unit) -> Sequence[Value]:
    return [v for node in unit.nodes for v in node.outputs]


def _compute(node: Node, arrays: dict[Value, np.ndarray], others: Arrays) -> None:
    """Run a node; results that are there already stay."""
    if all(v in arrays for v in node.outputs):
        return
    operands: list[np.ndarray | None] = []
    for value in node.inputs:
        if value is None:
            operands.append(None)
        elif value in arrays:
            operands.append(arrays[value])
        else:
            operands.append(value.data if value.data is not None else others[value.name])
    for value, result in zip(node.outputs, interpret.evaluate(node.op, operands), strict=True):
        arrays.setdefault(value, result)
