"""Small Darknet networks: text and numbers."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Sequence

import numpy as np
import pytest

from nntc.frontends import darknet
from nntc.frontends.darknet.weights import Weights
from nntc.ir import interpret
from nntc.ir.graph import Graph
from nntc.ir.verify import verify
from nntc.passes import simplify


def config(*layers: str, channels: int = 3, height: int = 8, width: int = 8) -> bytes:
    """A configuration; a layer is "name option=value option=value"."""
    lines = ["[net]", "batch=64", f"channels={channels}", f"height={height}", f"width={width}"]
    for layer in layers:
        name, *options = layer.split()
        lines += ["", f"[{name}]", *options]
    return "\n".join(lines).encode()


def weights(*arrays: np.ndarray, version: tuple[int, int] = (0, 2)) -> bytes:
    """A weights file with these numbers."""
    header = struct.pack("<3i", *version, 0)
    wide = version[0] * 10 + version[1] >= 2 and max(version) <= 1000
    header += struct.pack("<Q" if wide else "<I", 640)
    return header + b"".join(np.asarray(a, "<f4").tobytes() for a in arrays)


class _Random(Weights):
    """Gives as many random numbers as are asked for, and keeps them."""

    def __init__(self, seed: int) -> None:
        super().__init__(weights())
        self._rng = np.random.default_rng(seed)
        self.given: list[np.ndarray] = []

    def take(self, shape: Sequence[int], what: str) -> np.ndarray:
        if "variance" in what:
            data = self._rng.uniform(0.5, 2, shape)
        else:
            size = int(np.prod(shape[1:])) or 1
            data = self._rng.standard_normal(shape) / np.sqrt(size)
        self.given.append(data.astype(np.float32))
        return self.given[-1]

    def check_end(self) -> None:
        pass


def random_weights(cfg: bytes, monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> bytes:
    """Weights of the size that a configuration needs."""
    maker = _Random(seed)
    with monkeypatch.context() as patch:
        # The package's function of this name hides the module.
        module = importlib.import_module("nntc.frontends.darknet.load")
        patch.setattr(module, "Weights", lambda data: maker)
        darknet.load(cfg, b"")
    return weights(*maker.given)


def run(cfg: bytes, data: bytes, x: np.ndarray) -> tuple[Graph, list[np.ndarray]]:
    """The graph, and its results before the passes; after them they are the same."""
    graph = darknet.load(cfg, data, [x.shape])
    verify(graph)
    before = list(interpret.run(graph, {"data": x}).values())
    simplify(graph)
    verify(graph)
    after = list(interpret.run(graph, {"data": x}).values())
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(a).max())
    return graph, before


def one(cfg: bytes, x: np.ndarray, *arrays: np.ndarray) -> np.ndarray:
    """The only result of a network with these weights."""
    (result,) = run(cfg, weights(*arrays), x)[1]
    return result
