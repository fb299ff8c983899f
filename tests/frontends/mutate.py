"""Seeded damage to ONNX files: bytes flipped, cut, repeated, and fields of the message changed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

NUMBERS = (0, 1, -1, 2, 7, 127, 255, 1 << 16, (1 << 31) - 1, 1 << 40, (1 << 63) - 1, -(1 << 63))
NAMES = ("", "x", "y", "Conv", "Loop", "\0", "a" * 300, "../../etc/passwd")


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """*count* damaged copies of a file."""
    rng = random.Random(seed)
    for _ in range(count):
        yield _bytes(data, rng) if rng.random() < 0.5 else _fields(data, rng)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    kind = rng.randrange(5)
    if kind == 0:
        return bytes(out[: rng.randrange(len(out))])
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(out))
        if kind == 1:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            out[at] = rng.randrange(256)
        elif kind == 3:
            del out[at : at + rng.choice((1, 2, 16))]
        else:
            out[at:at] = out[at : at + rng.choice((1, 4, 64))]
        if not out:
            break
    return bytes(out)


def _fields(data: bytes, rng: random.Random) -> bytes:
    model = ModelProto.FromString(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _one_field(model, model.graph, rng)
    return model.SerializeToString()


def _one_field(model: ModelProto, graph: GraphProto, rng: random.Random) -> None:
    kind = rng.randrange(9)
    if kind == 0 and graph.initializer:
        _tensor(rng.choice(graph.initializer), rng)
    elif kind == 1 and graph.input:
        shape = rng.choice(graph.input).type.tensor_type
        if rng.random() < 0.3 or not shape.shape.dim:
            shape.elem_type = rng.randrange(30)
        else:
            rng.choice(shape.shape.dim).dim_value = rng.choice(NUMBERS)
    elif kind == 2 and model.opset_import:
        rng.choice(model.opset_import).version = rng.choice(
            (-1, 0, 1, 6, 9, 11, 13, 18, 24, 1 << 40)
        )
    elif kind == 3 and graph.output:
        rng.choice(graph.output).name = rng.choice(NAMES)
    elif graph.node:
        _node(model, graph, rng)


def _node(model: ModelProto, graph: GraphProto, rng: random.Random) -> None:
    node = rng.choice(graph.node)
    kind = rng.randrange(7)
    names = [n for other in graph.node for n in (*other.input, *other.output)] + list(NAMES)
    if kind == 0 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif kind == 1 and node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice(names)
    elif kind == 2:
        node.op_type = rng.choice([other.op_type for other in graph.node] + ["Nothing", "LSTM"])
    elif kind == 3 and node.input:
        del node.input[rng.randrange(len(node.input)) :]
    elif kind == 4:
        node.input.append(rng.choice(names))
    elif node.attribute:
        attr = rng.choice(node.attribute)
        if attr.type == AttributeProto.GRAPH and attr.g.node:
            _one_field(model, attr.g, rng)
        else:
            _attribute(attr, rng)


def _attribute(attr: AttributeProto, rng: random.Random) -> None:
    kind = rng.randrange(5)
    if kind == 0:
        attr.name = rng.choice((*NAMES, "axis", "pads"))
    elif kind == 1:
        attr.type = rng.randrange(1, 15)
    elif attr.type == AttributeProto.INTS and attr.ints:
        if kind == 2:
            del attr.ints[-1]
        else:
            attr.ints[rng.randrange(len(attr.ints))] = rng.choice(NUMBERS)
    elif attr.type == AttributeProto.TENSOR:
        _tensor(attr.t, rng)
    elif attr.type == AttributeProto.FLOAT:
        attr.f = rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e30))
    elif attr.type == AttributeProto.STRING:
        attr.s = rng.choice((b"", b"\xff\xfe", b"SAME_UPPER", b"linear"))
    else:
        attr.i = rng.choice(NUMBERS)


def _tensor(tensor: TensorProto, rng: random.Random) -> None:
    kind = rng.randrange(6)
    if kind == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)
    elif kind == 1:
        tensor.data_type = rng.randrange(30)
    elif kind == 2 and tensor.raw_data:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data))]
    elif kind == 3:
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", rng.choice(NAMES)
    elif kind == 4 and tensor.raw_data:
        data = bytearray(tensor.raw_data)
        for _ in range(8):
            data[rng.randrange(len(data))] = rng.choice((0, 0x7F, 0xFF, 0x80))
        tensor.raw_data = bytes(data)
    else:
        tensor.name = rng.choice(NAMES)
