"""Shapes of the inputs: given, declared, deduced, or missing."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from onnx import TensorProto

from nntc.core.dtype import DType
from nntc.core.errors import ModelError, UnsupportedError
from nntc.frontends.onnx import load
from tests.frontends.models import info, model, node


def relu(shape: object) -> object:
    return model([node("Relu", ["x"], ["y"])], {"x": shape}, ["y"])  # type: ignore[dict-item]


def test_a_declared_shape_needs_no_option() -> None:
    assert load(relu([2, 3])).outputs[0].shape == (2, 3)


def test_an_open_batch_is_one_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "nntc"):
        graph = load(relu(["N", 3]))
    assert graph.inputs[0].shape == (1, 3)
    assert "batch" in caplog.text
    assert "--shapes" in caplog.text


@pytest.mark.parametrize("shape", [["N", "H"], [1, "H"], [1, None], [0, 3], None])
def test_open_dimensions_are_asked_for(shape: object) -> None:
    with pytest.raises(ModelError) as err:
        load(relu(shape))
    assert "--shapes" in str(err.value)
    assert "'x'" in str(err.value)


def test_every_open_input_is_named() -> None:
    two = model(
        [node("Add", ["a", "b"], ["y"])],
        {"a": ["N", "H"], "b": [1, "W"]},
        ["y"],
    )
    with pytest.raises(ModelError) as err:
        load(two)
    assert len(err.value.problems) == 2
    assert "[N,H],[1,W]" in err.value.problems[0]


def test_shapes_by_name_by_order_and_by_symbol() -> None:
    two = model([node("Add", ["a", "b"], ["y"])], {"a": ["N", "H"], "b": ["N", "H"]}, ["y"])
    assert load(two, [[2, 5], [2, 5]]).outputs[0].shape == (2, 5)
    assert load(two, {"a": (2, 5), "b": (2, 5)}).outputs[0].shape == (2, 5)
    # b takes N and H from a.
    assert load(two, {"a": (2, 5)}).inputs[1].shape == (2, 5)
    assert load(two, [[2, 5]]).inputs[1].shape == (2, 5)
    assert load(two, [None, [2, 5]]).inputs[0].shape == (2, 5)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([[1, 3, 3]], "rank"),
        ([[1, 4]], "declares 3"),
        ([[0, 3]], "below 1"),
        ([[1, -3]], "below 1"),
        ([[1, 3], [1, 3]], "2 shapes"),
        ({"z": (1, 3)}, "'z'"),
        ([[1 << 40, 3]], "limit"),
    ],
)
def test_wrong_shapes_are_refused(shapes: object, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load(relu(["N", 3]), shapes)  # type: ignore[arg-type]


def test_a_declared_batch_may_be_changed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "nntc"):
        assert load(relu([1, 3]), [[4, 3]]).inputs[0].shape == (4, 3)
    assert "batch" in caplog.text


def test_shape_arithmetic_folds() -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "one", "end"], ["tail"]),
        node("ReduceProd", ["tail"], ["count"], keepdims=1),
        node("ConstantOfShape", ["one"], ["zero"]),
        node("Cast", ["zero"], ["zero64"], to=TensorProto.INT64),
        node("Sub", ["zero64", "one"], ["minus"]),
        node("Concat", ["minus", "count"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["y"]),
    ]
    weights = {"one": np.array([1], np.int64), "end": np.array([100], np.int64)}
    graph = load(model(nodes, {"x": [2, 3, 4]}, ["y"], weights))
    assert [n.op.name for n in graph.nodes] == ["Reshape"]
    assert graph.outputs[0].shape == (2, 12)


def test_types_become_f32_or_stay_integers() -> None:
    kinds = {
        TensorProto.FLOAT16: DType.F32,
        TensorProto.BFLOAT16: DType.F32,
        TensorProto.DOUBLE: DType.F32,
        TensorProto.INT8: DType.I8,
        TensorProto.UINT16: DType.U16,
        TensorProto.INT64: DType.I64,
        TensorProto.BOOL: DType.BOOL,
    }
    for kind, wanted in kinds.items():
        graph = load(model([node("Identity", ["x"], ["y"])], [info("x", [2], kind)], ["y"]))
        assert graph.inputs[0].dtype is wanted
        assert graph.outputs[0].dtype is wanted


@pytest.mark.parametrize(
    "kind", [TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.FLOAT8E4M3FN, TensorProto.UINT4]
)
def test_types_without_equivalent_are_refused(kind: int) -> None:
    with pytest.raises(UnsupportedError, match="no equivalent"):
        load(model([node("Identity", ["x"], ["y"])], [info("x", [2], kind)], ["y"]))
