"""Small models for the tests, made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

Shape = Sequence[int | str] | None


def info(name: str, shape: Shape, kind: int = TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Shape] | Sequence[object],
    outputs: Sequence[str],
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
    functions: Sequence[FunctionProto] = (),
    domains: Sequence[str] = (),
) -> ModelProto:
    """A model; inputs are name → shape of float tensors, or value infos."""
    values = [info(n, s) for n, s in inputs.items()] if isinstance(inputs, Mapping) else inputs
    graph = helper.make_graph(
        list(nodes),
        "network",
        list(values),
        [info(name, None) for name in outputs],
        [numpy_helper.from_array(a, n) for n, a in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=8)


def graph(
    nodes: Sequence[NodeProto], inputs: Sequence[object], outputs: Sequence[object], name: str
) -> GraphProto:
    """A subgraph."""
    return helper.make_graph(list(nodes), name, list(inputs), list(outputs))


node = helper.make_node


def rng_array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convolutional() -> ModelProto:
    """Convolution, batch norm, activation, pooling, shape arithmetic, product."""
    return model(
        [
            node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
            node("BatchNormalization", ["c", "s", "o", "m", "v"], ["n"], epsilon=1e-3),
            node("Clip", ["n", "zero", "six"], ["r"]),
            node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Shape", ["p"], ["shape"]),
            node("Gather", ["shape", "first"], ["batch"], axis=0),
            node("Unsqueeze", ["batch", "axes"], ["batch1"]),
            node("Concat", ["batch1", "rest"], ["target"], axis=0),
            node("Reshape", ["p", "target"], ["flat"]),
            node("Gemm", ["flat", "fw", "fb"], ["g"], transB=1, alpha=0.5),
            node("Softmax", ["g"], ["y"], axis=-1),
        ],
        {"x": [1, 3, 8, 8]},
        ["y"],
        {
            "w": rng_array(4, 3, 3, 3),
            "b": rng_array(4, seed=1),
            "s": rng_array(4, seed=2),
            "o": rng_array(4, seed=3),
            "m": rng_array(4, seed=4),
            "v": np.abs(rng_array(4, seed=5)) + 0.5,
            "zero": np.float32(0),
            "six": np.float32(6),
            "first": np.int64(0),
            "axes": np.array([0], np.int64),
            "rest": np.array([-1], np.int64),
            "fw": rng_array(5, 64, seed=6),
            "fb": rng_array(5, seed=7),
        },
    )


def recurrent() -> ModelProto:
    """A bidirectional LSTM and a GRU, a resize and a slice."""
    return model(
        [
            node(
                "LSTM",
                ["x", "w", "r", "b"],
                ["h", "", "c"],
                hidden_size=3,
                direction="bidirectional",
            ),
            node("Transpose", ["h"], ["t"], perm=[0, 2, 1, 3]),
            node("Reshape", ["t", "flat"], ["f"]),
            node("GRU", ["f", "gw", "gr"], ["g"], hidden_size=2, linear_before_reset=1),
            node("Resize", ["g", "", "scales"], ["z"], mode="linear"),
            node("Slice", ["z", "starts", "ends", "axes", "steps"], ["y"]),
        ],
        {"x": [4, 2, 5]},
        ["y", "c"],
        {
            "w": rng_array(2, 12, 5),
            "r": rng_array(2, 12, 3, seed=1),
            "b": rng_array(2, 24, seed=2),
            "flat": np.array([0, 0, -1], np.int64),
            "gw": rng_array(1, 6, 6, seed=3),
            "gr": rng_array(1, 6, 2, seed=4),
            "scales": np.array([1, 1, 1, 2], np.float32),
            "starts": np.array([0, -1], np.int64),
            "ends": np.array([3, -1000], np.int64),
            "axes": np.array([0, 3], np.int64),
            "steps": np.array([1, -1], np.int64),
        },
    )


def controlled() -> ModelProto:
    """A loop that doubles, an If on a shape, a sequence."""
    one = numpy_helper.from_array(np.float32(1), "one")
    body = graph(
        [
            node("Constant", [], ["one"], value=one),
            node("Add", ["v", "one"], ["w"]),
            node("Mul", ["w", "x"], ["v2"]),
            node("Identity", ["going"], ["going2"]),
            node("ReduceSum", ["v2"], ["total"], keepdims=0),
        ],
        [info("i", [], TensorProto.INT64), info("going", [], TensorProto.BOOL), info("v", None)],
        [info("going2", [], TensorProto.BOOL), info("v2", None), info("total", [])],
        "body",
    )
    yes = graph([node("Neg", ["last"], ["a"])], [], [info("a", None)], "yes")
    no = graph([node("Abs", ["last"], ["b"])], [], [info("b", None)], "no")
    return model(
        [
            node("Loop", ["trips", "", "x"], ["last", "totals"], body=body),
            node("Size", ["x"], ["size"]),
            node("Equal", ["size", "six"], ["is_six"]),
            node("If", ["is_six"], ["y"], then_branch=yes, else_branch=no),
        ],
        {"x": [2, 3]},
        ["y", "totals"],
        {"trips": np.int64(3), "six": np.int64(6)},
    )
