"""Small Caffe networks: text, and weights in the wire format."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from nntc.frontends import caffe
from nntc.ir import interpret
from nntc.ir.graph import Graph
from nntc.ir.verify import verify
from nntc.passes import simplify

Blobs = Mapping[str, Sequence[np.ndarray]]


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, data: bytes | int) -> bytes:
    """A field of bytes, or of a number."""
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    return varint(number << 3 | 2) + varint(len(data)) + data


def blob(data: np.ndarray, form: str = "shape") -> bytes:
    """A blob: form shape, legacy (four sizes), double, loose (numbers one by one), half."""
    data = np.asarray(data, np.float32)
    packed = field(5, data.astype("<f4").tobytes())
    shape = field(7, field(1, b"".join(map(varint, data.shape))))
    if form == "legacy":
        dims = [1] * (4 - data.ndim) + list(data.shape)
        return b"".join(field(i + 1, d) for i, d in enumerate(dims)) + packed
    if form == "double":
        return shape + field(8, data.astype("<f8").tobytes())
    if form == "loose":
        return shape + b"".join(b"\x2d" + struct.pack("<f", v) for v in data.ravel())
    if form == "half":
        return shape + field(10, 2) + field(12, data.astype("<f2").tobytes())
    return shape + packed


def model(blobs: Blobs, form: str = "shape", old: bool = False) -> bytes:
    """A caffemodel; *old* in the first schema."""
    out = field(1, b"net")
    for name, arrays in blobs.items():
        number = 6 if old else 7
        parts = field(4 if old else 1, name.encode())
        parts += b"".join(field(number, blob(a, form)) for a in arrays)
        out += field(2 if old else 100, parts)
    return out


def inputs(**shapes: Sequence[int]) -> str:
    """Layers of type Input."""
    text = ""
    for name, shape in shapes.items():
        dims = " ".join(f"dim: {d}" for d in shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        text += f"input_param {{ shape {{ {dims} }} }} }}\n"
    return text


def layer(kind: str, options: str = "", bottoms: str = "x", tops: str = "y", name: str = "") -> str:
    """A layer; bottoms and tops are separated by blanks."""
    text = f'layer {{ name: "{name or kind}" type: "{kind}"'
    text += "".join(f' bottom: "{b}"' for b in bottoms.split())
    text += "".join(f' top: "{t}"' for t in tops.split())
    return f"{text} {options} }}\n"


def run(
    text: str, blobs: Blobs | None = None, **arrays: np.ndarray
) -> tuple[Graph, dict[str, np.ndarray]]:
    """The graph, and its results before the passes; after them they are the same."""
    graph = caffe.load(text.encode(), model(blobs) if blobs else None)
    verify(graph)
    before = interpret.run(graph, arrays)
    simplify(graph)
    verify(graph)
    after = interpret.run(graph, arrays)
    assert list(before) == list(after)
    for name, array in before.items():
        limit = 1e-5 * max(float(np.abs(array).max(initial=0)), 1e-9)
        np.testing.assert_allclose(array, after[name], rtol=1e-4, atol=limit)
    return graph, before


def one(text: str, blobs: Sequence[np.ndarray] = (), **arrays: np.ndarray) -> np.ndarray:
    """The only result of inputs and one layer with these blobs."""
    head = inputs(**{name: array.shape for name, array in arrays.items()})
    kind = text.split('name: "')[1].split('"')[0]
    (result,) = run(head + text, {kind: blobs} if blobs else None, **arrays)[1].values()
    return result
