"""Inputs and outputs of a quantised network: integers with a scale, or fp32."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import Problems, UserError
from nntc.ir import ops
from nntc.ir.graph import Graph, Node, TensorType, Value, infer_types
from nntc.ir.ops import fixed

_FIXED = (fixed.FixConv, fixed.FixConvTranspose, fixed.FixMul, fixed.FixSum, fixed.Lut)
_FIXED += (fixed.FixAffine, fixed.Quantize, fixed.Dequantize)
BYTE = fixed.BYTE


def is_quantised(graph: Graph) -> bool:
    """Whether a graph computes with 8-bit integers: its bits are not to be changed any more."""
    return any(isinstance(node.op, _FIXED) for node in graph.nodes)


def float_borders(graph: Graph, inputs: Collection[str], outputs: Collection[str]) -> Graph:
    """Let the named inputs and outputs be fp32 where they are integers with one scale.

    They keep their names; the graph is changed in place. What is fp32 already stays as it is.

    Raises:
        UserError: names every tensor that is no input or output, or has no scale.
    """
    problems = Problems(UserError)
    for wanted, given, what in (
        (inputs, graph.inputs, "input"),
        (outputs, graph.outputs, "output"),
    ):
        known = {v.name: v for v in given}
        for name in wanted:
            if name not in known:
                there = ", ".join(known)
                problems.add(f"{what}_as_fp32: no {what} is called {name}; there are {there}")
            elif known[name].dtype in BYTE and known[name].scale is None:
                problems.add(f"{what}_as_fp32: {name} is {known[name].type} without a scale")
    problems.raise_if_any()
    for value in list(graph.inputs):
        if value.name in inputs and value.dtype in BYTE:
            _float_input(graph, value)
    for index, value in enumerate(graph.outputs):
        if value.name in outputs and value.dtype in BYTE:
            graph.outputs[index] = _float_output(graph, value)
    return graph


def _float_input(graph: Graph, old: Value) -> None:
    """Read fp32 and quantise it: the integers get another name."""
    assert old.scale is not None
    assert old.scale.data is not None
    name = old.name
    made = Value(name, TensorType(DType.F32, old.shape))
    graph.inputs = [made if v is old else v for v in graph.inputs]
    old.name = graph.unique_name(f"{name}.fixed")
    multiplier = (1 / old.scale.data.astype(np.float64)).astype(np.float32)
    operand = graph.constant(np.asarray(multiplier), f"{name}.multiplier")
    label = graph.unique_node_name(old.name)
    quantize = ops.Quantize(old.dtype, zero=old.zero)
    graph.nodes.insert(0, Node(quantize, [made, operand], [old], label, name))


def _float_output(graph: Graph, old: Value) -> Value:
    """Give fp32 under the output's name: the integers get another name."""
    name, op = old.name, ops.Dequantize(zero=old.zero)
    types = infer_types(op, [old, old.scale], name)
    old.name = graph.unique_name(f"{name}.fixed")
    made = Value(name, types[0])
    label = graph.unique_node_name(name)
    graph.nodes.append(Node(op, [old, old.scale], [made], label, name))
    return made
