"""Names of inputs and outputs, and cutting a model at inner tensors."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.core.errors import ModelError
from nntc.frontends.onnx import load
from nntc.ir import interpret
from nntc.ir.verify import verify
from nntc.passes import simplify
from tests.frontends.models import convolutional, model, node


def chain() -> object:
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Neg", ["a"], ["b"]),
        node("Exp", ["b"], ["y"]),
    ]
    return model(nodes, {"x": [2, 3]}, ["y"])


def test_cut_at_both_ends() -> None:
    graph = load(chain(), input_names=["a"], output_names=["b"])
    assert [n.op.fn for n in graph.nodes] == ["neg"]  # type: ignore[attr-defined]
    assert [v.name for v in graph.inputs] == ["a"]
    assert [v.name for v in graph.outputs] == ["b"]
    assert graph.inputs[0].shape == (2, 3)


def test_an_inner_tensor_gets_its_type_from_what_makes_it() -> None:
    graph = load(convolutional(), input_names=["flat"])
    assert graph.inputs[0].shape == (1, 64)
    assert all(n.op.name != "Conv" for n in graph.nodes)


def test_the_shape_of_a_cut_may_be_given() -> None:
    graph = load(convolutional(), shapes=[[5, 64]], input_names=["flat"])
    assert graph.outputs[0].shape == (5, 5)


def test_several_outputs_in_the_given_order() -> None:
    graph = load(chain(), output_names=["y", "a"])
    assert [v.name for v in graph.outputs] == ["y", "a"]


def test_an_insufficient_cut_is_refused() -> None:
    both = model([node("Relu", ["x"], ["a"]), node("Add", ["a", "x"], ["y"])], {"x": [2]}, ["y"])
    with pytest.raises(ModelError, match="still depend on the model's inputs 'x'"):
        load(both, input_names=["a"])
    assert len(load(both, input_names=["a", "x"]).inputs) == 2


def test_unknown_names_get_hints() -> None:
    with pytest.raises(ModelError) as err:
        load(convolutional(), output_names=["flta", "nonsense"])
    assert len(err.value.problems) == 2
    assert "similar: flat" in err.value.problems[0]


def test_names_survive_the_passes() -> None:
    graph = simplify(load(convolutional(), output_names=["n", "y"]))
    assert [v.name for v in graph.outputs] == ["n", "y"]
    verify(graph)


def test_an_output_that_is_an_input() -> None:
    nodes = [node("Identity", ["x"], ["y"]), node("Relu", ["x"], ["z"])]
    graph = simplify(load(model(nodes, {"x": [3]}, ["y", "z", "x"])))
    verify(graph)
    assert [v.name for v in graph.outputs] == ["y", "z", "x"]
    x = np.array([-1, 0, 2], np.float32)
    results = interpret.run(graph, {"x": x})
    np.testing.assert_array_equal(results["y"], x)
    np.testing.assert_array_equal(results["x"], x)


def test_an_output_that_is_a_constant() -> None:
    nodes = [node("Shape", ["x"], ["y"]), node("Relu", ["x"], ["z"])]
    graph = simplify(load(model(nodes, {"x": [3, 4]}, ["y", "z"])))
    verify(graph)
    results = interpret.run(graph, {"x": np.zeros((3, 4), np.float32)})
    assert results["y"].tolist() == [3, 4]


def test_one_value_under_two_names() -> None:
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Identity", ["a"], ["y"]),
        node("Dropout", ["a"], ["z"]),
    ]
    graph = simplify(load(model(nodes, {"x": [3]}, ["y", "z", "a"])))
    verify(graph)
    assert [v.name for v in graph.outputs] == ["y", "z", "a"]


def test_initialisers_listed_as_inputs_are_weights() -> None:
    proto = model([node("Add", ["x", "w"], ["y"])], {"x": [2], "w": [2]}, ["y"])
    proto.graph.initializer.add().CopyFrom(
        model([], {}, [], {"w": np.ones(2, np.float32)}).graph.initializer[0]
    )
    proto.ir_version = 3
    assert [v.name for v in load(proto).inputs] == ["x"]
    # Unless they are asked for.
    assert [v.name for v in load(proto, input_names=["x", "w"]).inputs] == ["x", "w"]


def test_an_input_can_be_fixed_to_a_constant() -> None:
    proto = model([node("Reshape", ["x", "s"], ["y"])], {"x": [2, 3], "s": [1]}, ["y"])
    proto.graph.input[1].type.tensor_type.elem_type = 7
    graph = load(proto, constants={"s": np.array([6], np.int64)})
    assert [v.name for v in graph.inputs] == ["x"]
    assert graph.outputs[0].shape == (6,)


def test_nodes_out_of_order_and_dead_ones() -> None:
    nodes = [
        node("Neg", ["a"], ["y"]),
        node("NonZero", ["a"], ["unused"]),
        node("Relu", ["x"], ["a"]),
    ]
    graph = load(model(nodes, {"x": [2]}, ["y"]))
    assert [n.op.fn for n in graph.nodes] == ["relu", "neg"]  # type: ignore[attr-defined]


def test_an_input_that_nobody_reads_stays() -> None:
    graph = simplify(load(model([node("Relu", ["x"], ["y"])], {"x": [2], "z": [1]}, ["y"])))
    assert [v.name for v in graph.inputs] == ["x", "z"]
