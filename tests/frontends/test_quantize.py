"""Quantised operators against ONNX Runtime: integers must be equal."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from tests.frontends.agree import agree
from tests.frontends.models import info, model, node, rng_array

RNG = np.random.default_rng(0)


def u8(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def i8(*shape: int) -> np.ndarray:
    return RNG.integers(-128, 128, shape).astype(np.int8)


def typed(proto: object, **kinds: int) -> object:
    for value in proto.graph.output:  # type: ignore[attr-defined]
        value.type.tensor_type.elem_type = kinds.get(value.name, TensorProto.FLOAT)
    return proto


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("zero", [np.uint8, np.int8, None])
def test_quantise_and_back(axis: int | None, zero: type | None) -> None:
    shape = () if axis is None else (3,)
    weights = {"s": np.asarray(np.abs(RNG.standard_normal(shape)) + 0.01, np.float32)}
    names = ["s"]
    if zero is not None:
        weights["z"] = np.asarray(RNG.integers(0, 100, shape)).astype(zero)
        names.append("z")
    attrs = {} if axis is None else {"axis": axis}
    nodes = [
        node("QuantizeLinear", ["x", *names], ["q"], **attrs),
        node("DequantizeLinear", ["q", *names], ["y"], **attrs),
    ]
    kind = TensorProto.INT8 if zero is np.int8 else TensorProto.UINT8
    agree(typed(model(nodes, {"x": [2, 3, 4]}, ["q", "y"], weights, 13), q=kind))


@pytest.mark.parametrize("per_channel", [False, True])
def test_qlinear_conv(per_channel: bool) -> None:
    scale = np.full(4 if per_channel else 1, 0.02, np.float32)
    scale *= np.linspace(1, 2, scale.size, dtype=np.float32)
    weights = {
        "xs": np.float32(0.05),
        "xz": np.uint8(120),
        "w": i8(4, 3, 3, 3),
        "ws": scale if per_channel else scale.reshape(()),
        "wz": np.zeros(scale.shape if per_channel else (), np.int8),
        "ys": np.float32(0.4),
        "yz": np.uint8(100),
        "b": RNG.integers(-1000, 1000, 4).astype(np.int32),
    }
    nodes = [
        node(
            "QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"], pads=[1] * 4
        )
    ]
    proto = model(nodes, [info("x", [1, 3, 6, 6], TensorProto.UINT8)], ["y"], weights, 10)
    agree(typed(proto, y=TensorProto.UINT8), inputs={"x": u8(1, 3, 6, 6)})


def test_qlinear_matmul() -> None:
    weights = {
        "s": np.float32(0.03),
        "z": np.uint8(7),
        "b": u8(5, 4),
        "bz": np.uint8(130),
        "ys": np.float32(2.5),
        "yz": np.uint8(99),
    }
    nodes = [node("QLinearMatMul", ["x", "s", "z", "b", "s", "bz", "ys", "yz"], ["y"])]
    proto = model(nodes, [info("x", [2, 5], TensorProto.UINT8)], ["y"], weights, 10)
    agree(typed(proto, y=TensorProto.UINT8), inputs={"x": u8(2, 5)})


def test_integer_products() -> None:
    weights = {"w": u8(2, 3, 2, 2), "z": np.uint8(9), "m": u8(4, 6)}
    nodes = [
        node("ConvInteger", ["x", "w", "z"], ["c"]),
        node("MatMulInteger", ["x", "m", "z"], ["y"]),
    ]
    proto = model(nodes, [info("x", [1, 3, 4, 4], TensorProto.UINT8)], ["c", "y"], weights, 10)
    proto = typed(proto, c=TensorProto.INT32, y=TensorProto.INT32)
    agree(proto, inputs={"x": u8(1, 3, 4, 4)})


def test_dynamic_quantise() -> None:
    nodes = [node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])]
    proto = model(nodes, {"x": [4, 5]}, ["y", "s", "z"], {}, 11)
    agree(typed(proto, y=TensorProto.UINT8, z=TensorProto.UINT8), inputs={"x": rng_array(4, 5)})


def test_quantised_weights_fold() -> None:
    """Weights stored as integers become float weights of the convolution."""
    weights = {
        "w": i8(4, 3, 3, 3),
        "s": np.linspace(0.01, 0.04, 4, dtype=np.float32),
        "z": np.zeros(4, np.int8),
    }
    nodes = [
        node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=0),
        node("Conv", ["x", "d"], ["y"]),
    ]
    graph = agree(model(nodes, {"x": [1, 3, 5, 5]}, ["y"], weights, 13))
    assert [n.op.name for n in graph.nodes] == ["Conv"]
