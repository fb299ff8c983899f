"""Old forms of operators: attributes that became operands, other defaults, other rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from onnx import NodeProto, TensorProto

from nntc.core.errors import ModelError, UnsupportedError
from nntc.frontends.onnx import load
from nntc.ir import interpret
from tests.frontends.agree import agree, op_names
from tests.frontends.models import model, node, rng_array

Weights = Mapping[str, np.ndarray]
IMAGE = [2, 3, 4, 5]
I64 = np.int64

# opset, nodes from x [2, 3, 4, 5] to y, weights.
FORMS: list[tuple[int, list[NodeProto], Weights]] = [
    (7, [node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 3.0], mode="nearest")], {}),
    (7, [node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 2.0], mode="linear")], {}),
    (9, [node("Upsample", ["x", "s"], ["y"])], {"s": np.array([1, 1, 2, 2], np.float32)}),
    (10, [node("Resize", ["x", "s"], ["y"])], {"s": np.array([1, 1, 1.5, 2], np.float32)}),
    (
        10,
        [node("Resize", ["x", "s"], ["y"], mode="linear")],
        {"s": np.array([1, 1, 2, 2], np.float32)},
    ),
    (7, [node("Slice", ["x"], ["y"], starts=[1, -3], ends=[100, -1], axes=[2, 3])], {}),
    (9, [node("Slice", ["x"], ["y"], starts=[0, 1], ends=[1, 2])], {}),
    (7, [node("Pad", ["x"], ["y"], pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5)], {}),
    (7, [node("Pad", ["x"], ["y"], pads=[0, 0, 1, 2, 0, 0, 0, 1], mode="reflect")], {}),
    (7, [node("Pad", ["x"], ["y"], pads=[0, 0, -1, 2, 0, 0, 0, -1])], {}),
    (7, [node("Clip", ["x"], ["y"], min=-0.5, max=0.25)], {}),
    (7, [node("Clip", ["x"], ["y"], min=0.0)], {}),
    (7, [node("Clip", ["x"], ["y"])], {}),
    (7, [node("Squeeze", ["u"], ["y"]), node("Unsqueeze", ["x"], ["u"], axes=[0, 3])], {}),
    (7, [node("Softmax", ["x"], ["y"], axis=2)], {}),
    (11, [node("Softmax", ["x"], ["y"])], {}),
    (11, [node("LogSoftmax", ["x"], ["y"], axis=-1)], {}),
    (11, [node("Hardmax", ["x"], ["y"], axis=1)], {}),
    (13, [node("Softmax", ["x"], ["y"])], {}),
    (7, [node("ReduceSum", ["x"], ["y"], axes=[1, 3], keepdims=0)], {}),
    (11, [node("ReduceMean", ["x"], ["y"], axes=[-1])], {}),
    (13, [node("ReduceSum", ["x", "a"], ["y"])], {"a": np.array([1, -1], I64)}),
    (18, [node("ReduceMax", ["x"], ["y"], noop_with_empty_axes=1)], {}),
    (7, [node("Sum", ["x", "x", "x"], ["y"])], {}),
    (8, [node("Mean", ["x", "x", "b"], ["y"])], {"b": rng_array(4, 1)}),
    (8, [node("Max", ["x", "b"], ["y"])], {"b": rng_array(5)}),
    (7, [node("Dropout", ["x"], ["y"], ratio=0.3)], {}),
    (12, [node("Dropout", ["x", "r", "t"], ["y"])], {"r": np.float32(0.4), "t": np.array(False)}),
    (7, [node("PRelu", ["x", "s"], ["y"])], {"s": rng_array(3, 1, 1)}),
    (7, [node("Flatten", ["x"], ["y"], axis=2)], {}),
    (7, [node("Split", ["x"], ["y", "z"], axis=3, split=[2, 3])], {}),
    (18, [node("Split", ["x"], ["y", "z"], axis=3, num_outputs=2)], {}),
    (7, [node("Reshape", ["x", "s"], ["y"])], {"s": np.array([0, -1, 5], I64)}),
    (7, [node("Tile", ["x", "r"], ["y"])], {"r": np.array([1, 2, 1, 3], I64)}),
    (8, [node("Expand", ["x", "s"], ["y"])], {"s": np.array([2, 1, 1, 1, 5], I64)}),
    (7, [node("AveragePool", ["x"], ["y"], kernel_shape=[2, 3], pads=[1, 1, 0, 1])], {}),
    (
        10,
        [
            node(
                "AveragePool",
                ["x"],
                ["y"],
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
                strides=[2, 2],
                ceil_mode=1,
                count_include_pad=1,
            )
        ],
        {},
    ),
    (8, [node("MaxPool", ["x"], ["y", "z"], kernel_shape=[2, 2], strides=[2, 2])], {}),
    (
        12,
        [
            node(
                "MaxPool",
                ["x"],
                ["y", "z"],
                kernel_shape=[2, 3],
                pads=[1, 1, 0, 1],
                strides=[1, 2],
                ceil_mode=1,
                storage_order=1,
            )
        ],
        {},
    ),
    (7, [node("GlobalLpPool", ["x"], ["y"], p=2)], {}),
    (7, [node("LpPool", ["x"], ["y"], kernel_shape=[2, 2], p=3)], {}),
    (7, [node("LRN", ["x"], ["y"], size=3, alpha=0.1)], {}),
    (
        7,
        [node("InstanceNormalization", ["x", "s", "b"], ["y"])],
        {"s": rng_array(3), "b": rng_array(3)},
    ),
    (9, [node("MeanVarianceNormalization", ["x"], ["y"])], {}),
    (8, [node("Transpose", ["x"], ["y"])], {}),
    (10, [node("TopK", ["x", "k"], ["y", "z"])], {"k": np.array([2], I64)}),
    (7, [node("TopK", ["x"], ["y", "z"], k=2, axis=1)], {}),
    (12, [node("ArgMax", ["x"], ["y"], axis=-1, keepdims=0, select_last_index=1)], {}),
    (
        9,
        [node("Scatter", ["x", "i", "u"], ["y"])],
        {"i": np.zeros((1, 3, 4, 5), I64), "u": rng_array(1, 3, 4, 5)},
    ),
    (
        11,
        [node("OneHot", ["i", "d", "v"], ["y"])],
        {"i": np.array([0, -1], I64), "d": np.int64(3), "v": np.array([0, 5], np.float32)},
    ),
    (12, [node("Einsum", ["x", "w"], ["y"], equation="nchw,kc->nkhw")], {"w": rng_array(7, 3)}),
    (12, [node("Einsum", ["x"], ["y"], equation="...ij->...ji")], {}),
    (12, [node("Einsum", ["x", "x"], ["y"], equation="abcd,abce->de")], {}),
    (12, [node("Einsum", ["x", "x"], ["y"], equation="abcd,abcd->ab")], {}),
    (12, [node("Einsum", ["m", "x"], ["y"], equation="ii,nchw->nci")], {"m": rng_array(3, 3)}),
    (17, [node("LayerNormalization", ["x", "s"], ["y"], axis=2)], {"s": rng_array(4, 5)}),
    (
        17,
        [node("LayerNormalization", ["x", "s", "b"], ["y"])],
        {"s": rng_array(5), "b": rng_array(5)},
    ),
    (20, [node("Gelu", ["x"], ["y"], approximate="tanh")], {}),
    (14, [node("Trilu", ["x", "k"], ["y"], upper=0)], {"k": np.int64(1)}),
    (11, [node("CumSum", ["x", "a"], ["y"], reverse=1, exclusive=1)], {"a": np.int64(-1)}),
    (
        11,
        [
            node("DepthToSpace", ["t"], ["y"], blocksize=2, mode="CRD"),
            node("Concat", ["x", "x", "x", "x"], ["t"], axis=1),
        ],
        {},
    ),
    (11, [node("Gather", ["x", "i"], ["y"], axis=2)], {"i": np.array([[-1, 0], [1, 2]], I64)}),
    (11, [node("Gather", ["x", "i"], ["y"], axis=2)], {"i": np.array([1, 2], I64)}),
    (
        11,
        [node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2])],
        {"w": rng_array(2, 3, 3, 2)},
    ),
    (
        11,
        [node("Conv", ["x", "w"], ["y"], auto_pad="SAME_LOWER", strides=[2, 2])],
        {"w": rng_array(2, 3, 2, 2)},
    ),
    (
        11,
        [node("Conv", ["x", "w"], ["y"], auto_pad="VALID", dilations=[2, 2])],
        {"w": rng_array(2, 3, 2, 2)},
    ),
    (
        11,
        [node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 3], output_shape=[9, 16])],
        {"w": rng_array(3, 2, 3, 3)},
    ),
    (
        11,
        [node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], auto_pad="SAME_UPPER")],
        {"w": rng_array(3, 2, 3, 3)},
    ),
    (
        11,
        [
            node(
                "ConvTranspose",
                ["x", "w", "b"],
                ["y"],
                strides=[2, 2],
                output_padding=[1, 0],
                pads=[1, 0, 1, 0],
            )
        ],
        {"w": rng_array(3, 2, 3, 3), "b": rng_array(2)},
    ),
    (
        11,
        [node("Gemm", ["f", "w", "b"], ["y"], alpha=0.5, beta=2.0), node("Flatten", ["x"], ["f"])],
        {"w": rng_array(60, 4), "b": rng_array(4)},
    ),
    (
        11,
        [
            node("Gemm", ["w", "f", "b"], ["y"], alpha=0.5, beta=2.0, transB=1),
            node("Flatten", ["x"], ["f"]),
        ],
        {"w": rng_array(4, 60), "b": rng_array(2)},
    ),
]


@pytest.mark.parametrize(
    ("opset", "nodes", "weights"),
    FORMS,
    ids=[f"{n[0].op_type}-{v}-{i}" for i, (v, n, _) in enumerate(FORMS)],
)
def test_forms(opset: int, nodes: Sequence[NodeProto], weights: Weights) -> None:
    outputs = [o for o in ("y", "z") if any(o in n.output for n in nodes)]
    proto = model(nodes, {"x": IMAGE}, outputs, weights, opset)
    for value in proto.graph.output:
        if value.name == "z" and nodes[0].op_type in ("MaxPool", "TopK"):
            value.type.tensor_type.elem_type = TensorProto.INT64
        if nodes[0].op_type == "ArgMax":
            value.type.tensor_type.elem_type = TensorProto.INT64
    # The runtime wants nodes in order.
    proto.graph.node.sort(key=lambda n: n.output[0] in ("y", "z"))
    agree(proto)


def test_legacy_broadcasting() -> None:
    """Before version 7 the second operand stands at the axis that an attribute names."""
    b = np.array([1, 2, 3], np.float32)
    proto = model(
        [node("Add", ["x", "b"], ["y"], broadcast=1, axis=1)], {"x": IMAGE}, ["y"], {"b": b}, 6
    )
    x = rng_array(*IMAGE)
    np.testing.assert_allclose(
        interpret.run(load(proto), {"x": x})["y"], x + b.reshape(3, 1, 1), rtol=1e-6
    )


def test_operators_of_one_version_are_not_read_as_another() -> None:
    """Axes are an operand of Squeeze since 13; an attribute there is an error."""
    with pytest.raises(ModelError, match="'axes' does not exist in Squeeze of version 13"):
        load(model([node("Squeeze", ["x"], ["y"], axes=[0])], {"x": [1, 2]}, ["y"], opset=13))


def test_a_newer_operator_set_is_read_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    proto = model([node("Relu", ["x"], ["y"])], {"x": [2]}, ["y"], opset=999)
    with caplog.at_level("WARNING", "nntc"):
        assert op_names(load(proto)) == ["relu"]
    assert "999" in caplog.text


def test_parameters_that_are_data_are_refused_by_name() -> None:
    proto = model([node("Reshape", ["x", "s"], ["y"])], {"x": [2, 3], "s": [1]}, ["y"])
    proto.graph.input[1].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(UnsupportedError, match=r"the shape, operand 1 \('s'\), depends on"):
        load(proto)
