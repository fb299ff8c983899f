"""Cycles of networks and of parts of them, by the timing model of the instructions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nntc import passes
from nntc.backend import CompileOptions, compile_graph
from nntc.core.errors import UserError
from nntc.ir.graph import Graph, Node, Value
from nntc.isa.cycles import replay
from nntc.report.search.alone import Part
from nntc.report.search.units import Unit


def network_cycles(graph: Graph, opt: int = 2, batch: int = 0) -> int | None:
    """From the start to the end of a compiled network; layers on the CPU take no time in it.

    Args:
        opt: optimisation level of the backend.
        batch: samples that it takes at once; 0: as the graph is.

    Returns:
        None where the network, or the part of one, cannot be compiled.
    """
    try:
        whole = passes.with_batch(graph, batch) if batch else graph
        stage = compile_graph(whole, CompileOptions(opt=opt)).model.nets[0].stages[0]
        groups = [group for subnet in stage.subnets for group in subnet.groups]
        return replay([(group.tiu, group.gdma) for group in groups]).total
    except UserError:
        return None


def unit_cycles(
    graph: Graph, unit: Unit, part: Part, opt: int, batch: int
) -> tuple[int | None, int | None]:
    """(in int8, in fp32) of a unit that is compiled alone, its inputs and results in DDR."""
    users = graph.users()
    ends = [
        v
        for node in unit.nodes
        for v in node.outputs
        if v in graph.outputs or any(user not in unit.nodes for user in users.get(v, ()))
    ]
    inside = {v for node in unit.nodes for v in node.outputs}
    starts = dict.fromkeys(
        v for node in unit.nodes for v in node.operands if not v.is_constant and v not in inside
    )
    in_float = _extract(unit.nodes, starts, ends)
    made = [part.ends[v] for v in ends if v in part.ends]
    in_fixed = _extract(part.nodes, part.starts, made or list(part.ends.values())[-1:])
    return network_cycles(in_fixed, opt, batch), network_cycles(in_float, opt, batch)


def _extract(
    nodes: Iterable[Node], starts: Iterable[Value] | Mapping[Value, Value], ends: Sequence[Value]
) -> Graph:
    """A graph of some nodes of another."""
    made = Graph("part")
    now: dict[Value, Value] = {v: made.input(v.name, v.dtype, v.shape) for v in starts}
    for node in nodes:
        for value in node.operands:
            if value.data is not None and value not in now:
                now[value] = made.constant(value.data, value.name)
        inputs = [None if v is None else now[v] for v in node.inputs]
        names = [v.name for v in node.outputs]
        copy = made.add(node.op, *inputs, name=node.name, outputs=names, source=node.source)
        now.update(zip(node.outputs, copy.outputs, strict=True))
    made.outputs = list(dict.fromkeys(now[v] for v in ends))
    made.prune()
    return made
