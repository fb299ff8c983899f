"""A small classifier as a model file, and data for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nntc.compat.ufwio import LMDB_Dataset

SHAPE = (1, 3, 12, 12)


def classifier(path: Path, batch: int = 1) -> Path:
    """Convolutions, one of them depthwise, a residual sum, a pool and a matrix product."""
    rng = np.random.default_rng(3)

    def weight(name: str, *shape: int) -> TensorProto:
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        return numpy_helper.from_array(
            (rng.standard_normal(shape) * scale).astype(np.float32), name
        )

    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], "conv1", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "depthwise", pads=[1] * 4, group=8),
        helper.make_node("Add", ["c2", "r1"], ["s"], "sum"),
        helper.make_node("GlobalAveragePool", ["s"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["logits"], "classes", transB=1),
    ]
    weights = [weight("w1", 8, 3, 3, 3), weight("b1", 8), weight("w2", 8, 1, 3, 3)]
    weights += [weight("w3", 5, 8), weight("b3", 5)]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (batch, *SHAPE[1:]))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (batch, 5))],
        weights,
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def samples(count: int = 6) -> np.ndarray:
    return np.random.default_rng(4).standard_normal((count, *SHAPE)).astype(np.float32)


def lmdb(path: Path, count: int = 6) -> Path:
    with LMDB_Dataset(path) as db:
        db.put(list(samples(count)))
    return path


def npy(path: Path, count: int = 6) -> Path:
    np.save(path, samples(count)[:, 0])
    return path
