"""A small network and datasets for the tests of calibration."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nntc.core.dtype import DType
from nntc.data import CorruptSampleError
from nntc.ir import ops
from nntc.ir.graph import Graph


def small_net(shape: tuple[int, ...] = (1, 3, 12, 12)) -> Graph:
    """Two convolutions, a ReLU, a sigmoid, and a comparison that is no float value."""
    rng = np.random.default_rng(5)
    graph = Graph("small")
    x = graph.input("x", DType.F32, shape)

    def constant(*size: int) -> np.ndarray:
        return rng.standard_normal(size).astype(np.float32)

    w = graph.constant(constant(8, 3, 3, 3), "w")
    conv = graph.add(ops.Conv((1, 1), (1,) * 4, (1, 1)), x, w, name="conv", source="/net/Conv")
    relu = graph.add(ops.Unary("relu"), conv.outputs[0], name="relu")
    v = graph.constant(constant(4, 8, 1, 1), "v")
    last = graph.add(ops.Conv((1, 1), (0,) * 4, (1, 1)), relu.outputs[0], v, name="last")
    out = graph.add(ops.Unary("sigmoid"), last.outputs[0], name="out")
    zero = graph.constant(np.zeros((), np.float32), "zero")
    above = graph.add(ops.Binary("gt"), last.outputs[0], zero, name="above")
    graph.outputs = [out.outputs[0], above.outputs[0]]
    return graph


class Noise:
    """Samples of noise, each with a range of its own; some cannot be read."""

    def __init__(self, count: int, broken: tuple[int, ...] = (), digest: str = "noise") -> None:
        self.count = count
        self.broken = broken
        self.digest = digest
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        self.read.append(index)
        if index in self.broken:
            raise CorruptSampleError("is cut short")
        rng = np.random.default_rng(index)
        x = rng.standard_normal((1, 3, 12, 12)) * 2.0 ** (index % 5)
        return {"x": x.astype(np.float32)}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for index in range(self.count):
            if index not in self.broken:
                yield self[index]

    def name(self, index: int) -> str:
        return f"noise/{index}.png"
