"""How networks and parameters are written, and what a user reads when they are not right."""

from __future__ import annotations

import json
import random
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from nntc import api
from nntc.core.errors import UserError
from nntc.frontends.mxnet import load
from nntc.frontends.mxnet.params import read_params
from nntc.ir import interpret
from nntc.ir.verify import verify
from tests.frontends.mxnet.make import Net, array, params

X = np.arange(12, dtype=np.float32).reshape(3, 4)
SECONDS = 10


def classifier(key: str = "attrs") -> Net:
    net = Net(key)
    net.add("Convolution", "conv", "data weight bias", kernel="(3, 3)", num_filter=2)
    net.add("LeakyReLU", "act", "conv gamma", act_type="prelu")
    net.add("Pooling", "pool", "act", kernel="(2, 2)", stride="(2, 2)", pool_type="max")
    net.add("Reshape", "flat", "pool", shape="(0, -1)")
    net.add("FullyConnected", "fc", "flat w b", num_hidden=3)
    return net.add("SoftmaxOutput", "softmax", "fc label")


RNG = np.random.default_rng(4)
WEIGHTS = {
    f"arg:{name}": RNG.standard_normal(shape).astype(np.float32)
    for name, shape in {
        "weight": (2, 3, 3, 3),
        "bias": (2,),
        "gamma": (2,),
        "w": (3, 18),
        "b": (3,),
    }.items()
}
SHAPES = {"data": (1, 3, 8, 8)}


def message(symbol: bytes, data: bytes, **options) -> str:
    with pytest.raises(UserError) as caught:
        load(symbol, data, **{"shapes": SHAPES, **options})
    assert all("\n" not in line for line in caught.value.problems)
    return str(caught.value)


@pytest.mark.parametrize("version", [0, 1, 2, 3])
@pytest.mark.parametrize("key", ["param", "attr", "attrs"])
def test_versions(version: int, key: str) -> None:
    graph = load(classifier(key).json(), params(WEIGHTS, version), SHAPES)
    assert [v.name for v in graph.inputs] == ["data"]
    x = RNG.standard_normal((1, 3, 8, 8)).astype(np.float32)
    found = interpret.run(graph, {"data": x})["softmax_output"]
    wanted = load(classifier().json(), params(WEIGHTS), SHAPES)
    np.testing.assert_array_equal(found, interpret.run(wanted, {"data": x})["softmax_output"])


def test_types_of_arrays() -> None:
    arrays = {"arg:a": X, "aux:b": X.astype("f8"), "c": X.astype("f2"), "d": X.astype("i4")}
    found = read_params(params(arrays))
    assert list(found) == ["a", "b", "c", "d"]
    assert all((found[name] == X).all() for name in found)
    assert found["b"].dtype == found["c"].dtype == np.float32


def test_wrong_parameters() -> None:
    symbol, data = classifier().json(), params(WEIGHTS)
    assert "not an MXNet parameter file" in message(symbol, b"")
    assert "not an MXNet parameter file" in message(symbol, b"x" * 100)
    assert "cut short" in message(symbol, data[:200])
    assert "arrays or names in" in message(symbol, struct.pack("<QQQ", 0x112, 0, 1 << 60))
    head = struct.pack("<QQQ", 0x112, 0, 1)
    sparse = struct.pack("<Ii", 0xF993FAC9, 1) + bytes(100)
    assert "array 0: it is sparse" in message(symbol, head + sparse)
    huge = struct.pack("<Iiiqq", 0xF993FAC9, 0, 2, 1 << 40, 1 << 40) + struct.pack("<iii", 1, 0, 0)
    assert "cut short" in message(symbol, head + huge)
    odd = array(X)[:-52] + struct.pack("<i", 99) + bytes(48)
    assert "unknown element type" in message(symbol, head + odd)
    assert "1 arrays have 0 names" in message(symbol, head + array(X) + struct.pack("<Q", 0))
    some = {k: v for k, v in WEIGHTS.items() if k != "arg:gamma"}
    assert "input 'gamma' has no shape" in message(symbol, params(some))
    other = {**WEIGHTS, "arg:weight": np.zeros((2, 3, 5, 5), np.float32)}
    assert "weights have shape [2, 3, 5, 5], not [2, 3, 3, 3]" in message(symbol, params(other))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("", "not an MXNet symbol"),
        ("[" * 100_000, "not an MXNet symbol"),
        ("{}", "it has no nodes"),
        ('{"nodes": [1], "heads": [[0]]}', "node 0 is no object"),
        ('{"nodes": [{"op": "null"}], "heads": [[0]]}', "node 0 has no name"),
        ('{"nodes": [], "heads": []}', "no heads"),
        ('{"nodes": [], "heads": [[3, 0]]}', "node 3 does not come before"),
        ('{"nodes": [{"op": "relu", "name": "r", "inputs": [[0, 0]]}], "heads": [[0]]}',
         "node 0 ('r'): node 0 does not come before it"),
    ],
)  # fmt: skip
def test_wrong_symbols(change: str, said: str) -> None:
    assert said in message(change.encode(), params(WEIGHTS))


@pytest.mark.parametrize(
    ("op", "options", "said"),
    [
        ("Convolutoin", {}, "is Convolution meant?"),
        ("RNN", {}, "recurrent layers in one operator"),
        ("Activation", {"act_type": "magic"}, "act_type=magic is not known"),
        ("clip", {"a_min": "low"}, "a_min=low is not a number"),
        ("Reshape", {"shape": "(7, 7)"}, "does not become (7, 7)"),
        ("Reshape", {"shape": "(-9,)"}, "-9 has no meaning"),
        ("Reshape", {"shape": "two"}, "no list of whole numbers"),
        ("SliceChannel", {"num_outputs": 5}, "does not divide 3"),
        ("Pooling", {"kernel": "(3,)"}, "2 numbers from 1 on are needed"),
        ("Pooling", {"kernel": "(3, 3)", "layout": "NHWC"}, "layout=NHWC"),
        ("elemwise_add", {}, "1 operands, at least 2"),
        ("UpSampling", {"scale": 100000}, "the limit is"),
        ("transpose", {"axes": "(0, 0)"}, "is no permutation"),
    ],
)
def test_wrong_nodes(op: str, options: dict, said: str) -> None:
    assert said in message(Net().add(op, "y", "data", **options).json(), params({}))


def test_the_files_lie_beside_each_other(tmp_path: Path) -> None:
    symbol = tmp_path / "net-symbol.json"
    symbol.write_bytes(classifier().json())
    with pytest.raises(UserError, match=r"its parameters \(net-0000.params\) are not beside it"):
        api.load(symbol, shapes=SHAPES)
    zero = {k: v * 0 for k, v in WEIGHTS.items()}
    (tmp_path / "net-0001.params").write_bytes(params(zero))
    (tmp_path / "net-0012.params").write_bytes(params(WEIGHTS))
    (tmp_path / "network-0099.params").write_bytes(b"of another")
    graph = api.load(symbol, shapes=SHAPES)
    assert graph.name == "net"
    assert any(np.array_equal(v.data, WEIGHTS["arg:w"]) for v in graph.constants())
    graph = api.load(symbol, weights=tmp_path / "net-0001.params", shapes=SHAPES)
    assert all(not v.data.any() for v in graph.constants())
    graph = api.load(symbol, shapes=SHAPES, output_names=["fc_output", "pool"])
    assert [v.name for v in graph.outputs] == ["fc_output", "pool"]
    with pytest.raises(UserError, match="the model has no node 'fcc'; similar: fc"):
        api.load(symbol, shapes=SHAPES, output_names=["fcc"])


def check(symbol: bytes, data: bytes) -> bool:
    """Load; True if it gave a graph. Anything but our own errors is let through."""
    start = time.monotonic()
    problems: list[str] = []
    try:
        verify(load(symbol, data, SHAPES, strict=True))
    except UserError as err:
        problems = err.problems
        assert problems
    assert time.monotonic() - start < SECONDS
    assert all(line and "\n" not in line for line in problems)
    return not problems


def mutations(count: int, seed: int):
    """Damaged copies of a network and its parameters."""
    rng = random.Random(seed)
    symbol, data = classifier().json(), params(WEIGHTS)
    values = ("(0, 0)", "(-1,)", "(99999999, 2)", "0", "-1", "1e99", "None", "x", "True", "()")
    for _ in range(count):
        kind = rng.randrange(4)
        spoilt = bytearray(data if kind == 1 else symbol)
        for _ in range(rng.choice((1, 2, 8))):
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        if kind == 0:
            yield symbol, data[: rng.randrange(len(data))]
        elif kind == 1:
            yield symbol, bytes(spoilt)
        elif kind == 2:
            yield bytes(spoilt), data
        else:
            root = json.loads(symbol)
            node = rng.choice(root["nodes"])
            if node["attrs"] and rng.random() < 0.7:
                node["attrs"][rng.choice(list(node["attrs"]))] = rng.choice(values)
            else:
                node["op"] = rng.choice(("null", "Flatten", "Concat", "dot", "BatchNorm", "mean"))
            yield json.dumps(root).encode(), data


def test_mutations() -> None:
    assert check(classifier().json(), params(WEIGHTS))
    good = sum(check(*pair) for pair in mutations(300, seed=4))
    assert 0 < good < 250


@pytest.mark.slow
def test_many_mutations() -> None:
    for pair in mutations(3000, seed=5):
        check(*pair)


MODELS = ("lenet/lenet", "samplenet/samplenet", "mtcnn/det1", "mtcnn/det2", "mtcnn/det3")


@pytest.mark.parametrize("name", MODELS)
def test_trained_networks(shared_dir: Path, name: str) -> None:
    """Digits are read; the others equal their twins of other frameworks."""
    models = shared_dir / "models"
    path = models / "mxnet" / f"{name}-symbol.json"
    if name.startswith("lenet"):
        cv2 = pytest.importorskip("cv2")
        graph = api.load(path, shapes=[(1, 1, 28, 28)])
        for digit in range(10):
            x = cv2.imread(str(models / "images" / "mnist" / f"{2 * digit + 1}.jpg"), 0)
            (found,) = interpret.run(graph, {"data": x[None, None] / np.float32(255)}).values()
            assert found.argmax() == digit
        return
    shape = {"samplenet": (1, 3, 32, 32), "det1": (1, 3, 40, 32), "det2": (2, 3, 24, 24),
             "det3": (2, 3, 48, 48)}[name.split("/")[1]]  # fmt: skip
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    found = interpret.run(api.load(path, shapes=[shape]), {"data": x})
    if name.startswith("samplenet"):
        twin = api.load(models / "onnx" / "samplenet" / "samplenet.onnx")
        (wanted,) = interpret.run(twin, {"data": x}).values()
        np.testing.assert_allclose(found["fc3_output"], wanted, atol=1e-5)
        return
    # The Caffe files see pictures turned, with red first.
    turned = np.ascontiguousarray(x.transpose(0, 1, 3, 2)[:, ::-1])
    twin = api.load(models / "caffe" / f"{name}.prototxt", shapes=[turned.shape])
    wanted = interpret.run(twin, {"data": turned})
    for output, array_ in found.items():
        other = wanted[output.removesuffix("_output").replace("_", "-")]
        other = other.transpose(0, 1, 3, 2) if other.ndim == 4 else other
        np.testing.assert_allclose(array_, other, atol=1e-5)
