"""Tiny Darknet as an ONNX file, for compilers that do not read Darknet's own files.

Format of the files, as Darknet's parser reads them: the .cfg is a list of sections with
``key=value`` lines; the .weights hold a header of 16 bytes (major, minor, revision, images seen:
int32), then for each convolution float32 biases, where it is normalised its scales, means and
variances, and the kernel [out, in, h, w]. Batch norm divides by ``sqrt(variance) + 1e-6``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

HEADER = 16
LEAK = 0.1

Section = tuple[str, dict[str, str]]


def sections(config: str) -> list[Section]:
    """The sections of a .cfg in order."""
    found: list[Section] = []
    for row in config.splitlines():
        row = row.split("#")[0].strip()
        if row.startswith("["):
            found.append((row[1:-1], {}))
        elif "=" in row:
            key, value = row.split("=", 1)
            found[-1][1][key.strip()] = value.strip()
    return found


class _Weights:
    """Takes arrays from the file, one after the other."""

    def __init__(self, path: Path) -> None:
        self._data = np.fromfile(path, np.float32, offset=HEADER)
        self._taken = 0

    def take(self, *shape: int) -> np.ndarray:
        size = int(np.prod(shape))
        self._taken += size
        return self._data[self._taken - size : self._taken].reshape(shape)

    @property
    def left(self) -> int:
        return len(self._data) - self._taken


class _Graph:
    """Nodes in a chain, and their weights."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.last = "data"

    def add(self, op: str, name: str, constants: dict[str, np.ndarray], **attributes: Any) -> None:
        self.constants += [numpy_helper.from_array(a, key) for key, a in constants.items()]
        inputs = [self.last, *constants]
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.last = name


def convert(config: Path, weights: Path, batch: int = 1) -> onnx.ModelProto:
    """A Darknet classifier made of convolutions, poolings and a softmax, as ONNX (opset 13).

    Input ``data`` [batch, C, H, W], output ``prob`` [batch, classes].
    """
    (_, net), *rest = sections(config.read_text())
    source = _Weights(weights)
    graph = _Graph()
    channels = int(net["channels"])
    for index, (kind, keys) in enumerate(rest, 1):
        if kind == "convolutional":
            channels = _convolution(graph, source, f"conv{index}", channels, keys)
        elif kind == "maxpool":
            size, stride = int(keys["size"]), int(keys["stride"])
            window = {"kernel_shape": [size] * 2, "strides": [stride] * 2}
            graph.add("MaxPool", f"pool{index}", {}, **window)
        elif kind == "avgpool":
            graph.add("GlobalAveragePool", f"pool{index}", {})
            graph.add("Flatten", f"flat{index}", {}, axis=1)
        elif kind == "softmax":
            graph.add("Softmax", "prob", {}, axis=1)
        elif kind != "cost":
            raise ValueError(f"{config}: section {kind} is not known")
    if source.left:
        raise ValueError(f"{weights}: {source.left} numbers are left over")
    size = [batch, int(net["channels"]), int(net["height"]), int(net["width"])]
    made = helper.make_graph(
        graph.nodes,
        "tiny_darknet",
        [helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info(graph.last, onnx.TensorProto.FLOAT, [batch, channels])],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def _convolution(
    graph: _Graph, source: _Weights, name: str, channels: int, keys: dict[str, str]
) -> int:
    """Convolution with batch norm folded in, and its activation; returns its channels."""
    filters, size = int(keys["filters"]), int(keys["size"])
    bias = source.take(filters)
    scale = np.ones(filters, np.float32)
    if int(keys.get("batch_normalize", 0)):
        gain, mean, variance = (source.take(filters) for _ in range(3))
        scale = gain / (np.sqrt(variance) + np.float32(1e-6))
        bias = bias - mean * scale
    kernel = source.take(filters, channels, size, size) * scale[:, None, None, None]
    padding = size // 2 if int(keys.get("pad", 0)) else int(keys.get("padding", 0))
    graph.add(
        "Conv",
        name,
        {f"{name}_w": kernel, f"{name}_b": bias},
        kernel_shape=[size] * 2,
        strides=[int(keys.get("stride", 1))] * 2,
        pads=[padding] * 4,
    )
    if keys["activation"] == "leaky":
        graph.add("LeakyRelu", f"{name}_act", {}, alpha=LEAK)
    elif keys["activation"] != "linear":
        raise ValueError(f"{name}: activation {keys['activation']} is not known")
    return filters
