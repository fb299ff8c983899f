"""The meaning of a graph: its operators run one after another in NumPy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nntc.core.errors import ModelError, Problems
from nntc.ir.graph import Graph, Node, Op, TensorType, Value, infer_types


def run(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    values: bool = False,
    visit: Callable[[Value, np.ndarray], object] | None = None,
) -> dict[str, np.ndarray]:
    """Results of the graph.

    Args:
        inputs: one array per network input, of exactly its element type and shape.
        values: return every computed value, not the outputs alone; else a value is freed after
            its last use.
        visit: called with every input and every computed value as soon as it exists.

    Returns:
        Name → array, in execution order, the outputs in their own order.

    Raises:
        ModelError: inputs are missing, unknown or of another type (all of them are named), or an
            operator meets an index that does not exist.
    """
    arrays = _network_inputs(graph, inputs)
    if visit is not None:
        for value, array in arrays.items():
            visit(value, array)
    left = Counter(v for node in graph.nodes for v in node.operands)
    left.update(graph.outputs)
    for node in graph.nodes:
        operands = [None if v is None else arrays.get(v, v.data) for v in node.inputs]
        for value, result in zip(node.outputs, _run_node(node, operands), strict=True):
            if visit is not None:
                visit(value, result)
            if values or left[value]:
                arrays[value] = result
        if values:
            continue
        left.subtract(node.operands)
        for value in node.operands:
            if not left[value]:
                arrays.pop(value, None)
    wanted = [*arrays, *graph.outputs] if values else graph.outputs
    return {value.name: _array(arrays, value) for value in wanted}


def evaluate(op: Op, operands: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    """Results of one operator, after its shape rule has accepted the operands.

    Raises:
        ModelError: the shape rule refuses, or an operand's content breaks a rule.
    """
    arrays = [None if a is None else np.asarray(a) for a in operands]
    values = [None if a is None else Value("", TensorType.of(a)) for a in arrays]
    types = infer_types(op, values, op.name)
    return _checked(op.compute(*arrays), types, op.name)


def _network_inputs(graph: Graph, given: Mapping[str, np.ndarray]) -> dict[Value, np.ndarray]:
    problems = Problems(ModelError)
    names = [v.name for v in graph.inputs]
    for name in given:
        if name not in names:
            problems.add(f"input {name}: the network has no such input, only {', '.join(names)}")
    arrays: dict[Value, np.ndarray] = {}
    for value in graph.inputs:
        array = given.get(value.name)
        if array is None:
            problems.add(f"input {value.name}: is missing, {value.type} is needed")
            continue
        array = np.asarray(array)
        if array.dtype != value.dtype.numpy or array.shape != value.shape:
            got = f"{array.dtype} of shape {array.shape}"
            problems.add(f"input {value.name}: is {got}, {value.type} is needed")
        arrays[value] = array
    problems.raise_if_any()
    return arrays


def _run_node(node: Node, operands: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    try:
        results = node.op.compute(*operands)
    except ModelError as err:
        raise ModelError([f"{node.source}: {text}" for text in err.problems]) from None
    return _checked(results, [v.type for v in node.outputs], node.source)


def _checked(
    results: tuple[np.ndarray, ...], types: Sequence[TensorType], where: str
) -> tuple[np.ndarray, ...]:
    """Results whose types the shape rule promised; anything else is a fault of the operator.

    Raises:
        TypeError: compute and infer disagree.
    """
    given = [(type(a), a.dtype, a.shape) for a in results]
    if given != [(np.ndarray, t.dtype.numpy, t.shape) for t in types]:
        promised = ", ".join(map(str, types))
        raise TypeError(f"{where}: compute gave {given}, infer promised {promised}")
    return results


def _array(arrays: Mapping[Value, np.ndarray], value: Value) -> np.ndarray:
    return arrays[value] if value.data is None else value.data
