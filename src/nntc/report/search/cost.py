"""Cycles of networks by the timing model of the instructions, and what fp32 adds to them."""

from __future__ import annotations

import numpy as np

from nntc import passes
from nntc.backend import CompileOptions, compile_graph
from nntc.core.errors import UserError
from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value
from nntc.isa.cycles import replay
from nntc.report.search.alone import Alone, Part
from nntc.report.search.units import Unit


def network_cycles(graph: Graph, opt: int = 2, batch: int = 0) -> int | None:
    """From the start to the end of a compiled network; layers on the CPU take no time in it.

    Args:
        opt: optimisation level of the backend.
        batch: samples that it takes at once; 0: as the graph is.

    Returns:
        None where the network cannot be compiled.
    """
    try:
        whole = passes.with_batch(graph, batch) if batch else graph
        stage = compile_graph(whole, CompileOptions(opt=opt)).model.nets[0].stages[0]
        groups = [group for subnet in stage.subnets for group in subnet.groups]
        return replay([(group.tiu, group.gdma) for group in groups]).total
    except UserError:
        return None


def extra_cycles(
    alone: Alone, fixed: Graph, unit: Unit, part: Part, opt: int, batch: int
) -> int | None:
    """Cycles of the int8 network with one unit in fp32, conversions at its borders included.

    Returns:
        None where it cannot be compiled, or reads what the int8 network does not have as a value.
    """
    try:
        mixed = _with_unit_in_fp32(alone, fixed, unit, part)
    except UserError:
        return None
    return network_cycles(mixed, opt, batch)


def _with_unit_in_fp32(alone: Alone, fixed: Graph, unit: Unit, part: Part) -> Graph:
    """The int8 graph with the unit's float nodes between conversions of the same scales.

    Raises:
        UserError: the int8 graph lacks an operand of the unit.
    """
    made = Graph(fixed.name)
    now: dict[Value, Value] = {v: made.input(v.name, v.dtype, v.shape) for v in fixed.inputs}
    for node in fixed.nodes:
        _copy(made, node, now)
    made.outputs = [now[v] for v in fixed.outputs]
    floating: dict[Value, Value] = {}
    for value, reference in part.starts.items():
        form = alone.form(value)
        floating[reference] = now[value]
        if form.scale is not None:
            scale = made.constant(form.scale.astype(np.float32), "scale")
            op = ops.Dequantize(1, form.zero)
            floating[reference] = made.add(op, now[value], scale, name="in").output
    for node in unit.nodes:
        _copy(made, node, floating)
    for reference, value in part.ends.items():
        form, result = alone.form(value), floating[reference]
        if form.scale is not None:
            by = made.constant((1 / form.scale).astype(np.float32), "by")
            op = ops.Quantize(value.dtype, 1, form.zero)
            result = made.add(op, result, by, name="out").output
        made.replace(now[value], result)
    made.prune()
    made.sort()
    return made


def _copy(made: Graph, node: Node, now: dict[Value, Value]) -> None:
    """Append a node of another graph."""
    for value in node.operands:
        if value.data is not None and value not in now:
            now[value] = made.constant(value.data, value.name)
    absent = [v.name for v in node.operands if v not in now]
    if absent:
        raise UserError(f"{node.name}: {', '.join(absent)} is missing")
    inputs = [None if v is None else now[v] for v in node.inputs]
    names = [v.name for v in node.outputs]
    copy = made.add(node.op, *inputs, name=node.name, outputs=names, source=node.source)
    now.update(zip(node.outputs, copy.outputs, strict=True))
