"""Small MXNet networks: JSON and parameter files."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence

import numpy as np

from nntc.frontends import mxnet
from nntc.ir import interpret
from nntc.ir.verify import verify
from nntc.passes import simplify

_FLAGS = {"f4": 0, "f8": 1, "f2": 2, "u1": 3, "i4": 4, "i1": 5, "i8": 6}
MAGIC = {1: 0xF993FAC8, 2: 0xF993FAC9, 3: 0xF993FACA}


def array(data: np.ndarray, version: int = 2) -> bytes:
    """One array as the version (0 is the oldest) writes it."""
    out = b"" if version == 0 else struct.pack("<I", MAGIC[version])
    if version >= 2:
        out += struct.pack("<i", 0)
    form = "I" if version == 0 else "q"
    out += struct.pack(f"<I{data.ndim}{form}", data.ndim, *data.shape)
    out += struct.pack("<iii", 1, 0, _FLAGS[data.dtype.str[1:]])
    return out + data.tobytes()


def params(arrays: Mapping[str, np.ndarray], version: int = 2) -> bytes:
    """A parameter file."""
    out = struct.pack("<QQQ", 0x112, 0, len(arrays))
    out += b"".join(array(np.ascontiguousarray(a), version) for a in arrays.values())
    out += struct.pack("<Q", len(arrays))
    for name in arrays:
        out += struct.pack("<Q", len(name)) + name.encode()
    return out


class Net:
    """A symbol under construction; variables appear when they are named.

    Args:
        key: where options stand: param, attr or attrs.
    """

    def __init__(self, key: str = "attrs") -> None:
        self._key = key
        self._nodes: list[dict] = []
        self._places: dict[str, int] = {}

    def add(self, op: str, name: str, inputs: str, **options: object) -> Net:
        """A node; inputs are names with an optional .1 for the second result."""
        places = []
        for text in inputs.split():
            source, _, index = text.partition(".")
            if source not in self._places:
                self._append(source, "null", [], {})
            places.append([self._places[source], int(index or 0), 0])
        self._append(name, op, places, {k: str(v) for k, v in options.items()})
        return self

    def _append(self, name: str, op: str, inputs: list, options: dict) -> None:
        self._places[name] = len(self._nodes)
        self._nodes.append({"op": op, "name": name, self._key: options, "inputs": inputs})

    def json(self, *heads: Sequence[int]) -> bytes:
        """The file; by default all results of the last node's first output."""
        last = [list(h) for h in heads] or [[len(self._nodes) - 1, 0, 0]]
        return json.dumps({"nodes": self._nodes, "heads": last}).encode()


def run(
    symbol: bytes, arrays: Mapping[str, np.ndarray], weights: Sequence[str] = (), version: int = 2
) -> dict[str, np.ndarray]:
    """Results; of *arrays* those in *weights* are parameters, the others inputs."""
    given = {k: np.asarray(a, np.float32) for k, a in arrays.items()}
    data = params({f"arg:{k}": given[k] for k in weights}, version)
    inputs = {k: a for k, a in given.items() if k not in weights}
    graph = mxnet.load(symbol, data, {k: a.shape for k, a in inputs.items()})
    verify(graph)
    before = interpret.run(graph, inputs)
    simplify(graph)
    verify(graph)
    after = interpret.run(graph, inputs)
    for name, found in before.items():
        np.testing.assert_allclose(after[name], found, rtol=1e-4, atol=1e-5)
    return before


def one(op: str, options: Mapping[str, object], *arrays: np.ndarray, weights: int = 0):
    """The only result of one node; the last *weights* operands are parameters."""
    names = [f"x{i}" for i in range(len(arrays))]
    symbol = Net().add(op, "y", " ".join(names), **options).json()
    given = dict(zip(names, arrays, strict=True))
    (found,) = run(symbol, given, names[len(names) - weights :]).values()
    return found
