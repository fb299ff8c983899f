"""Checks of everything that a pass could break in a graph."""

from __future__ import annotations

import math
from collections import Counter
from typing import cast

from nntc.core.errors import ModelError, Problems
from nntc.ir.graph import Graph, Node, TensorType, Value, infer_types
from nntc.ir.ops import OPS


def verify(graph: Graph) -> None:
    """Check the graph.

    Names are unique; every operand is an input, a constant or a result of an earlier node; value
    types equal what the shape rules give; constants hold data of their type; attributes are finite
    numbers; producers are those that the nodes say.

    Raises:
        ModelError: lists every problem.
    """
    problems = Problems(ModelError)
    _check_names(graph, problems)
    for value in graph.values():
        _check_value(value, problems)
    known: set[Value] = set()
    for value in graph.inputs:
        if value in known:
            problems.add(f"input {value.name}: is listed twice")
        if value.is_constant:
            problems.add(f"input {value.name}: holds data, it would be a constant")
        if value.producer is not None:
            problems.add(f"input {value.name}: has the producer {value.producer.name}")
        known.add(value)
    for node in graph.nodes:
        _check_node(node, known, problems)
        known.update(node.outputs)
    for value in graph.outputs:
        if value not in known and not value.is_constant:
            problems.add(f"output {value.name}: no node computes it")
    problems.raise_if_any()


def _check_names(graph: Graph, problems: Problems) -> None:
    for what, names in (
        ("value", [v.name for v in graph.values()]),
        ("node", [n.name for n in graph.nodes]),
    ):
        for name, count in Counter(names).items():
            if count > 1:
                problems.add(f"{what} {name}: {count} {what}s have this name")
            if not name:
                problems.add(f"a {what} has no name")


def _check_value(value: Value, problems: Problems) -> None:
    if any(dim < 0 for dim in value.shape):
        problems.add(f"value {value.name}: the shape {value.shape} has a negative size")
    if value.data is None:
        return
    if value.producer is not None:
        problems.add(f"constant {value.name}: has the producer {value.producer.name}")
    if value.data.dtype != value.dtype.numpy or value.data.shape != value.shape:
        held = f"{value.data.dtype} of shape {value.data.shape}"
        problems.add(f"constant {value.name}: is typed {value.type} but holds {held}")


def _check_node(node: Node, known: set[Value], problems: Problems) -> None:
    if OPS.get(node.op.name) is not type(node.op):
        problems.add(f"{node.source}: {node.op.name} is no operator of the graph")
        return
    for name, value in node.op.attributes().items():
        if not _is_finite(value, name in node.op.unbounded):
            problems.add(f"{node.source}: attribute {name} = {value} is not finite")
    for value in node.operands:
        if value not in known and not value.is_constant:
            problems.add(f"{node.source}: operand {value.name} is not computed before this node")
    for value in node.outputs:
        if value.producer is not node:
            problems.add(f"{node.source}: result {value.name} names another producer")
        if value in known:
            problems.add(f"{node.source}: result {value.name} is computed twice")
    with problems.collect():
        _check_types(node, infer_types(node.op, node.inputs, node.source))


def _check_types(node: Node, types: tuple[TensorType, ...]) -> None:
    given = tuple(v.type for v in node.outputs)
    if given != types:
        texts = (", ".join(map(str, kinds)) for kinds in (types, given))
        raise ModelError(
            "{}: {} gives {}, the results are typed {}".format(node.source, node.op.name, *texts)
        )


def _is_finite(value: object, may_be_infinite: bool) -> bool:
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        return all(_is_finite(item, may_be_infinite) for item in items)
    if isinstance(value, float):
        return not math.isnan(value) and (may_be_infinite or math.isfinite(value))
    return True
