"""The verifier finds what a pass could break, all of it at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Op, TensorType, Value
from nntc.ir.verify import verify
from tests.ir.strategies import graphs


def network() -> Graph:
    graph = Graph()
    x = graph.input("x", DType.F32, (2, 3))
    half = graph.constant(np.full(3, 0.5, np.float32), "half")
    y = graph.add(ops.Binary("mul"), x, half, name="y").output
    graph.outputs = [graph.add(ops.LeakyRelu(), y, name="z").output]
    return graph


def value(name: str, shape: tuple[int, ...] = (2, 3)) -> Value:
    return Value(name, TensorType(DType.F32, shape))


def swap_nodes(g: Graph) -> None:
    g.nodes.reverse()


def rename(g: Graph) -> None:
    g.nodes[0].output.name = "x"


def rename_node(g: Graph) -> None:
    g.nodes[0].name = "z"


def no_name(g: Graph) -> None:
    g.outputs[0].name = ""


def foreign_operand(g: Graph) -> None:
    g.nodes[0].inputs[0] = value("ghost")


def foreign_output(g: Graph) -> None:
    g.outputs.append(value("ghost"))


def wrong_type(g: Graph) -> None:
    g.nodes[0].output.type = TensorType(DType.F32, (3, 2))


def wrong_dtype(g: Graph) -> None:
    g.nodes[1].output.type = TensorType(DType.F16, (2, 3))


def wrong_operands(g: Graph) -> None:
    g.nodes[1].inputs.append(g.inputs[0])


def wrong_results(g: Graph) -> None:
    g.nodes[1].outputs.append(value("more"))


def wrong_constant(g: Graph) -> None:
    g.constants()[0].data = np.zeros(3, np.float64)


def wrong_constant_shape(g: Graph) -> None:
    g.constants()[0].data = np.zeros((1, 3), np.float32)


def produced_constant(g: Graph) -> None:
    g.constants()[0].producer = g.nodes[1]


def produced_input(g: Graph) -> None:
    g.inputs[0].producer = g.nodes[1]


def constant_input(g: Graph) -> None:
    g.inputs[0].data = np.zeros((2, 3), np.float32)


def input_twice(g: Graph) -> None:
    g.inputs.append(g.inputs[0])


def lost_producer(g: Graph) -> None:
    g.nodes[0].output.producer = None


def computed_twice(g: Graph) -> None:
    y = g.nodes[0].output
    g.nodes.append(Node(ops.Unary("abs"), g.inputs, [y], "again"))


def infinite_attribute(g: Graph) -> None:
    g.nodes[1].op = ops.LeakyRelu(math.inf)


def nan_attribute(g: Graph) -> None:
    g.nodes[1].op = ops.Clip(math.nan)


def negative_size(g: Graph) -> None:
    g.inputs[0].type = TensorType(DType.F32, (-2, 3))


def foreign_operator(g: Graph) -> None:
    class Own(Op):
        pass

    g.nodes[1].op = Own()


BREAKS: list[tuple[Callable[[Graph], None], str]] = [
    (swap_nodes, "z: operand y is not computed before this node"),
    (rename, "value x: 2 values have this name"),
    (rename_node, "node z: 2 nodes have this name"),
    (no_name, "a value has no name"),
    (foreign_operand, "y: operand ghost is not computed before this node"),
    (foreign_output, "output ghost: no node computes it"),
    (wrong_type, "y: Binary gives f32[2x3], the results are typed f32[3x2]"),
    (wrong_dtype, "z: LeakyRelu gives f32[2x3], the results are typed f16[2x3]"),
    (wrong_operands, "z: LeakyRelu takes the operands x; 2 given"),
    (wrong_results, "z: LeakyRelu gives f32[2x3], the results are typed f32[2x3], f32[2x3]"),
    (wrong_constant, "constant half: is typed f32[3] but holds float64 of shape (3,)"),
    (wrong_constant_shape, "constant half: is typed f32[3] but holds float32 of shape (1, 3)"),
    (produced_constant, "constant half: has the producer z"),
    (produced_input, "input x: has the producer z"),
    (constant_input, "input x: holds data"),
    (input_twice, "input x: is listed twice"),
    (lost_producer, "y: result y names another producer"),
    (computed_twice, "again: result y is computed twice"),
    (infinite_attribute, "z: attribute alpha = inf is not finite"),
    (nan_attribute, "z: attribute min = nan is not finite"),
    (negative_size, "value x: the shape (-2, 3) has a negative size"),
    (foreign_operator, "z: Own is no operator of the graph"),
]


@pytest.mark.parametrize(("damage", "message"), BREAKS, ids=[f.__name__ for f, _ in BREAKS])
def test_broken_graph(damage: Callable[[Graph], None], message: str) -> None:
    graph = network()
    verify(graph)
    damage(graph)
    with pytest.raises(ModelError) as caught:
        verify(graph)
    assert any(p.startswith(message) for p in caught.value.problems), caught.value.problems


def test_all_problems_at_once() -> None:
    graph = network()
    for damage in (rename_node, wrong_type, wrong_constant, infinite_attribute):
        damage(graph)
    with pytest.raises(ModelError) as caught:
        verify(graph)
    assert len(caught.value.problems) >= 4


def test_infinite_limits_are_fine() -> None:
    graph = network()
    for op in (ops.Clip(), ops.Pad((0, 0, 1, 1), value=-math.inf)):
        graph.add(op, graph.inputs[0])
    verify(graph)


@given(graphs())
@settings(max_examples=50, deadline=None)
def test_what_the_builder_makes_is_right(graph: Graph) -> None:
    verify(graph)
