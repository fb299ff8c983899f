"""Building and changing graphs."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.ir import ops
from nntc.ir.graph import Graph, TensorType
from nntc.ir.verify import verify


def chain(length: int) -> Graph:
    graph = Graph()
    value = graph.input("x", DType.F32, (3,))
    for _ in range(length):
        value = graph.add(ops.Unary("relu"), value).output
    graph.outputs = [value]
    return graph


def test_names() -> None:
    graph = chain(3)
    assert [n.name for n in graph.nodes] == ["Unary", "Unary_1", "Unary_2"]
    assert [n.output.name for n in graph.nodes] == ["Unary", "Unary_1", "Unary_2"]
    node = graph.add(ops.TopK(1, 0), graph.inputs[0], name="Unary", outputs=["", "x"])
    assert node.name == "Unary_3"
    assert [v.name for v in node.outputs] == ["Unary_3", "x_1"]
    assert graph.constant(np.zeros(1), "x").name == "x_2"


def test_types() -> None:
    kind = TensorType(DType.F32, (2, 3))
    assert str(kind) == "f32[2x3]"
    assert kind.size == 6
    assert str(TensorType(DType.I8, ())) == "i8[]"
    assert TensorType.of(np.zeros((2, 3), np.float32)) == kind


def test_a_refusal_names_the_source() -> None:
    graph = chain(1)
    with pytest.raises(ModelError, match=r"^/conv: k is 9, axis 0 of x has 3 \(operands: f32\[3\]"):
        graph.add(ops.TopK(9, 0), graph.inputs[0], source="/conv")


def test_replace_prune_sort() -> None:
    graph = chain(3)
    first, second, third = graph.nodes
    graph.replace(second.output, first.output)
    assert third.inputs == [first.output]
    assert graph.prune() == 1
    assert graph.nodes == [first, third]
    graph.nodes.reverse()
    graph.sort()
    assert graph.nodes == [first, third]
    verify(graph)
    assert graph.users() == {graph.inputs[0]: [first], first.output: [third]}
    first.inputs = [third.output]
    with pytest.raises(ModelError, match="cycle"):
        graph.sort()


def test_long_chains_do_not_overflow_the_stack() -> None:
    graph = chain(5000)
    graph.nodes.reverse()
    graph.sort()
    verify(graph)
