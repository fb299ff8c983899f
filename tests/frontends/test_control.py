"""If, Loop, Scan, sequences and functions."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from nntc.core.errors import ModelError, UnsupportedError
from nntc.frontends.onnx import load
from nntc.ir import interpret
from nntc.passes import simplify
from tests.frontends.agree import agree, op_names
from tests.frontends.models import controlled, graph, info, model, node


def test_loop_and_if_unroll() -> None:
    result = agree(controlled())
    assert "If" not in op_names(result)


def choice(condition: str) -> ModelProto:
    """y = x + 1 if the condition holds, else x * 2, nested in another If that always holds."""
    add = graph([node("Add", ["x", "one"], ["a"])], [], [info("a", [2])], "add")
    mul = graph([node("Mul", ["x", "two"], ["m"])], [], [info("m", [2])], "mul")
    inner = node("If", [condition], ["inner"], then_branch=add, else_branch=mul)
    outer = graph([inner], [], [info("inner", [2])], "outer")
    never = graph([node("Neg", ["x"], ["n"])], [], [info("n", [2])], "never")
    inputs = [info("x", [2])]
    if condition == "flag":
        inputs.append(info("flag", [], TensorProto.BOOL))
    return model(
        [node("If", ["yes"], ["y"], then_branch=outer, else_branch=never)],
        inputs,
        ["y"],
        {
            "one": np.float32(1),
            "two": np.float32(2),
            "yes": np.array(True),
            "no": np.array(False),
        },
    )


@pytest.mark.parametrize(("condition", "op"), [("yes", "add"), ("no", "mul")])
def test_if_with_a_constant_condition(condition: str, op: str) -> None:
    assert op_names(agree(choice(condition))) == [op]


@pytest.mark.parametrize("flag", [True, False])
def test_if_with_a_run_time_condition(flag: bool) -> None:
    x = np.array([1, -2], np.float32)
    result = agree(choice("flag"), inputs={"x": x, "flag": np.array(flag)})
    assert "Where" in op_names(result)


def test_branches_of_different_shapes_are_refused() -> None:
    one = graph([node("Identity", ["x"], ["a"])], [], [info("a", [2])], "one")
    two = graph([node("Concat", ["x", "x"], ["b"], axis=0)], [], [info("b", [4])], "two")
    inputs = [info("x", [2]), info("flag", [], TensorProto.BOOL)]
    proto = model([node("If", ["flag"], ["y"], then_branch=one, else_branch=two)], inputs, ["y"])
    with pytest.raises(UnsupportedError, match=r"f32\[2\] and f32\[4\]"):
        load(proto)


def counting(condition: list[object], outputs: list[str]) -> ModelProto:
    """v starts at x and doubles; *condition* nodes make 'going2' from 'going', 'i' and 'v2'."""
    body = graph(
        [node("Add", ["v", "v"], ["v2"]), *condition, node("Identity", ["v2"], ["out"])],
        [info("i", [], TensorProto.INT64), info("going", [], TensorProto.BOOL), info("v", [1])],
        [info("going2", [], TensorProto.BOOL), info("v2", [1]), info("out", [1])],
        "body",
    )
    if "all" not in outputs:
        del body.output[2]
    loop = node("Loop", ["trips", "yes", "x"], outputs, body=body)
    weights = {
        "trips": np.int64(5),
        "yes": np.array(True),
        "limit": np.int64(2),
        "high": np.array(20, np.float32),
    }
    return model([loop], {"x": [1]}, outputs, weights)


def test_a_loop_may_stop_early() -> None:
    result = agree(counting([node("Less", ["i", "limit"], ["going2"])], ["last", "all"]))
    assert result.outputs[1].shape == (3, 1)


def test_a_loop_whose_end_is_data_keeps_its_values() -> None:
    condition = [
        node("ReduceMax", ["v2"], ["top"], keepdims=0),
        node("Less", ["top", "high"], ["going2"]),
    ]
    for start in (1, 7, 100):
        agree(counting(condition, ["last"]), inputs={"x": np.array([start], np.float32)})


def test_a_loop_with_results_of_unknown_number_is_refused() -> None:
    condition = [
        node("ReduceMax", ["v2"], ["top"], keepdims=0),
        node("Less", ["top", "high"], ["going2"]),
    ]
    with pytest.raises(UnsupportedError, match="depends on the network's inputs"):
        load(counting(condition, ["last", "all"]))


def test_endless_loops_are_refused() -> None:
    proto = counting([node("Identity", ["going"], ["going2"])], ["last"])
    for trips in (10**12, 1 << 62):
        proto.graph.initializer[0].raw_data = np.int64(trips).tobytes()
        with pytest.raises(UnsupportedError, match="at most"):
            load(proto)
    proto.graph.node[0].input[0] = ""
    with pytest.raises(UnsupportedError, match="more than"):
        load(proto)


def test_weights_of_a_body_exist_once() -> None:
    """A product with 64 kB of weights in a loop of five iterations."""
    weights = numpy_helper.from_array(np.eye(128, dtype=np.float32), "w")
    body = graph(
        [
            node("Constant", [], ["w"], value=weights),
            node("MatMul", ["v", "w"], ["v2"]),
            node("MatMul", ["v2", "u"], ["v3"]),
            node("Identity", ["going"], ["going2"]),
        ],
        [info("i", [], TensorProto.INT64), info("going", [], TensorProto.BOOL), info("v", None)],
        [info("going2", [], TensorProto.BOOL), info("v3", None)],
        "body",
    )
    body.initializer.add().CopyFrom(numpy_helper.from_array(np.ones((128, 128), np.float32), "u"))
    loop = node("Loop", ["trips", "", "x"], ["y"], body=body)
    result = load(model([loop], {"x": [1, 128]}, ["y"], {"trips": np.int64(5)}))
    arrays = [v.data for v in result.constants() if v.type.size == 128 * 128]
    assert len(arrays) == 10
    assert len({id(a) for a in arrays}) == 2
    simplify(result)
    assert len([v for v in result.constants() if v.type.size == 128 * 128]) == 2


def test_a_loop_that_never_runs() -> None:
    proto = counting([node("Identity", ["going"], ["going2"])], ["last", "all"])
    proto.graph.initializer[0].raw_data = np.int64(0).tobytes()
    result = load(proto)
    assert result.outputs[1].shape == (0, 1)


@pytest.mark.parametrize("direction", [0, 1])
def test_scan(direction: int) -> None:
    body = graph(
        [
            node("Add", ["total", "row"], ["next"]),
            node("Mul", ["next", "row"], ["out"]),
        ],
        [info("total", [3]), info("row", [3])],
        [info("next", [3]), info("out", [3])],
        "body",
    )
    scan = node(
        "Scan",
        ["zero", "x"],
        ["last", "rows"],
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_input_directions=[direction],
        scan_output_axes=[1],
        scan_output_directions=[direction],
    )
    agree(model([scan], {"x": [3, 4]}, ["last", "rows"], {"zero": np.zeros(3, np.float32)}))


def test_sequences_exist_while_reading() -> None:
    nodes = [
        node("SplitToSequence", ["x"], ["s"], axis=0, keepdims=0),
        node("SequenceErase", ["s", "first"], ["s2"]),
        node("SequenceInsert", ["s2", "z"], ["s3"]),
        node("ConcatFromSequence", ["s3"], ["y"], axis=0, new_axis=1),
        node("SequenceAt", ["s3", "last"], ["w"]),
        node("SequenceLength", ["s3"], ["n"]),
    ]
    weights = {"first": np.int64(0), "last": np.int64(-1)}
    proto = model(nodes, {"x": [3, 2], "z": [2]}, ["y", "w", "n"], weights)
    proto.graph.output[2].type.tensor_type.elem_type = TensorProto.INT64
    result = agree(proto)
    assert result.outputs[2].data is not None
    assert result.outputs[2].data == 3


def test_a_sequence_as_output_is_refused() -> None:
    nodes = [node("SequenceConstruct", ["x", "x"], ["y"])]
    with pytest.raises(UnsupportedError, match="sequence"):
        load(model(nodes, {"x": [2]}, ["y"]))


def scaled_add() -> ModelProto:
    """A function with an attribute and a default, calling another function."""
    twice = helper.make_function(
        "my", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    scaled = helper.make_function(
        "my",
        "Scaled",
        ["a", "b"],
        ["c"],
        [
            node("Constant", [], ["k"]),
            node("Mul", ["a", "k"], ["m"]),
            node("Twice", ["m"], ["t"], domain="my"),
            node("Add", ["t", "b"], ["c"]),
        ],
        [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)],
        attributes=["k"],
    )
    reference = scaled.node[0].attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "value_float", "k", 1
    return model(
        [
            node("Scaled", ["x", "x"], ["p"], domain="my", k=3.0),
            node("Scaled", ["p", "x"], ["y"], domain="my", k=0.5),
        ],
        {"x": [2]},
        ["y"],
        functions=[twice, scaled],
        domains=["my"],
    )


def test_functions_are_inlined() -> None:
    result = load(scaled_add())
    x = np.array([1, -2], np.float32)
    np.testing.assert_allclose(interpret.run(result, {"x": x})["y"], (2 * 3 * x + x) + x)
    names = [v.name for v in result.values()]
    assert len(set(names)) == len(names)


def test_functions_that_call_themselves_are_refused() -> None:
    proto = scaled_add()
    proto.functions[0].node[0].op_type = "Twice"
    proto.functions[0].node[0].domain = "my"
    del proto.functions[0].node[0].input[1]
    with pytest.raises(ModelError, match="deep"):
        load(proto)


def test_operators_defined_by_others_are_inlined() -> None:
    nodes = [node("SoftmaxCrossEntropyLoss", ["x", "t"], ["y"], reduction="mean", ignore_index=1)]
    inputs = [info("x", [3, 4]), info("t", [3], TensorProto.INT64)]
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    agree(model(nodes, inputs, ["y"]), inputs={"x": x, "t": np.array([0, 1, 3])})


def test_every_unsupported_node_is_listed() -> None:
    nodes = [
        node("NonZero", ["x"], ["i"], name="first"),
        node("Relu", ["i"], ["skipped"]),
        node("RandomNormalLike", ["x"], ["r"], name="second"),
        node("Fancy", ["x"], ["f"], domain="custom", name="third"),
        node("StringNormalizer", ["x"], ["n"], name="fourth"),
        node("Concat", ["skipped", "r", "f", "n"], ["y"], axis=0),
    ]
    with pytest.raises(UnsupportedError) as err:
        load(model(nodes, {"x": [2]}, ["y"], domains=["custom"]))
    lines = err.value.problems
    assert len(lines) == 4
    for line, words in zip(
        lines,
        (
            "first (NonZero, ai.onnx 17)",
            "second (RandomNormalLike, ai.onnx 17): its result is random",
            "third (Fancy, custom 1): the operator is not known",
            "fourth (StringNormalizer, ai.onnx 17): it works on strings",
        ),
        strict=True,
    ):
        assert words in line
