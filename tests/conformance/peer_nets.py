"""Small ONNX networks, with random weights, to be compiled by the chip maker's compiler.

Between them: convolutions of all kinds, pools, matrix products, recurrence, attention, resampling,
a batch of four (the 4N layout of int8), and an operator that becomes a CPU subnet (TopK).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """A network in the making; every method returns the name of its result."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name = name
        self.outputs: list[str] = []
        self._shape = shape
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[TensorProto] = []
        self._random = np.random.default_rng(len(name))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """A node; of several results the first."""
        names = [f"{kind.lower()}_{len(self._nodes)}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, names[0], **attributes))
        return names[0]

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *shape: int) -> str:
        scale = 1 / np.sqrt(max(1, np.prod(shape[1:])))
        return self.constant((self._random.standard_normal(shape) * scale).astype(np.float32))

    def conv(
        self, x: str, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, group: int = 1
    ) -> str:
        weight = self.weight(outputs, inputs // group, kernel, kernel)
        return self.op(
            "Conv",
            x,
            weight,
            self.weight(outputs),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=group,
        )

    def relu(self, x: str) -> str:
        return self.op("Relu", x)

    def ints(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def model(self) -> onnx.ModelProto:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self._shape)
        graph = helper.make_graph(self._nodes, self.name, [x], [], self._weights)
        kinds = dict.fromkeys(self.outputs, TensorProto.FLOAT)
        graph.output.extend(helper.make_tensor_value_info(n, t, None) for n, t in kinds.items())
        opset = [helper.make_opsetid("", 13)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8)
        model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model)
        return model


def convolutions() -> Net:
    net = Net("convolutions", (4, 3, 32, 32))
    x = net.relu(net.conv("x", 3, 24, stride=2))
    for _ in range(2):
        inner = net.relu(net.conv(x, 24, 24, group=24))
        x = net.op("Add", net.conv(inner, 24, 24, 1), x)
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = net.op("GlobalAveragePool", net.relu(net.conv(x, 24, 72, 1)))
    net.outputs = [net.op("Gemm", net.op("Flatten", x), net.weight(72, 13), net.weight(13))]
    return net


def selection() -> Net:
    net = Net("selection", (1, 3, 16, 16))
    x = net.op("Reshape", net.relu(net.conv("x", 3, 12, stride=2)), net.ints(1, -1))
    best = net.op("TopK", x, net.ints(6), outputs=2, axis=1, largest=1, sorted=1)
    net.outputs = [net.op("Mul", best, net.constant(np.float32(0.5).reshape(1)))]
    return net


def recurrence() -> Net:
    net = Net("recurrence", (5, 1, 20))
    hidden = 12
    weights = net.weight(1, 4 * hidden, 20), net.weight(1, 4 * hidden, hidden)
    states = net.op("LSTM", "x", *weights, net.weight(1, 8 * hidden), outputs=3, hidden_size=hidden)
    flat = net.op("Squeeze", states, net.ints(1))
    net.outputs = [net.op("Softmax", net.op("MatMul", flat, net.weight(hidden, 9)), axis=-1)]
    return net


def attention() -> Net:
    length, width, heads = 12, 48, 3
    net = Net("attention", (1, length, width))

    def head(x: str, order: list[int]) -> str:
        full = net.op("Add", net.op("MatMul", x, net.weight(width, width)), net.weight(width))
        parts = net.op("Reshape", full, net.ints(1, length, heads, width // heads))
        return net.op("Transpose", parts, perm=order)

    q, k, v = (head("x", order) for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
    scale = net.constant(np.float32(0.25).reshape(1))
    weights = net.op("Softmax", net.op("Mul", net.op("MatMul", q, k), scale), axis=-1)
    mixed = net.op("Transpose", net.op("MatMul", weights, v), perm=[0, 2, 1, 3])
    x = net.op("Add", "x", net.op("Reshape", mixed, net.ints(1, length, width)))
    less = net.op("Sub", x, net.op("ReduceMean", x, axes=[-1], keepdims=1))
    spread = net.op("ReduceMean", net.op("Mul", less, less), axes=[-1], keepdims=1)
    tiny = net.constant(np.float32(1e-5).reshape(1))
    net.outputs = [net.op("Div", less, net.op("Sqrt", net.op("Add", spread, tiny)))]
    return net


def pyramid() -> Net:
    net = Net("pyramid", (1, 3, 48, 48))
    fine = net.relu(net.conv("x", 3, 20, stride=2))
    coarse = net.relu(net.conv(fine, 20, 36, stride=2))
    factors = net.constant(np.array([1, 1, 2, 2], np.float32))
    nearest: dict[str, Any] = {
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    up = net.op("Resize", net.conv(coarse, 36, 20, 1), "", factors, mode="nearest", **nearest)
    grown = net.op(
        "ConvTranspose",
        net.op("Concat", up, fine, axis=1),
        net.weight(40, 16, 2, 2),
        net.weight(16),
        kernel_shape=[2, 2],
        strides=[2, 2],
    )
    pooled = net.op("MaxPool", coarse, kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1])
    net.outputs = [
        net.op("Sigmoid", net.conv(grown, 16, 2, 1)),
        net.op("LeakyRelu", net.conv(pooled, 36, 6, 1), alpha=0.1),
    ]
    return net


NETS: dict[str, Callable[[], Net]] = {
    made.__name__: made for made in (convolutions, selection, recurrence, attention, pyramid)
}
