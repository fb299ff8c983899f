"""Networks as prototxt: round trip, edits, Data layers, damaged and hostile texts."""

from __future__ import annotations

import random as pseudo
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from nntc.compat.ufwio import LMDB_Dataset
from nntc.core.dtype import DType
from nntc.core.errors import ModelError, UserError
from nntc.ir import ops
from nntc.ir.graph import Graph, attribute_kinds
from nntc.ir.prototxt import (
    Feed,
    LayerKeys,
    Names,
    Network,
    is_network,
    load,
    parse_network,
    partner,
    print_network,
    save,
)
from nntc.ir.prototxt.feed import Together, dataset
from tests.backend.random_fixed import Maker
from tests.ir.strategies import graphs, same_graph
from tests.ir.twin import random


def tiny() -> Graph:
    """A convolution, a ReLU and a quantised copy."""
    graph = Graph("tiny")
    x = graph.input("data", DType.F32, (1, 3, 8, 8))
    w = graph.constant(random((4, 3, 3, 3)), "conv.weight")
    conv = graph.add(ops.Conv((1, 1), (0, 0, 0, 0), (1, 1)), x, w, None, name="conv")
    relu = graph.add(ops.Unary("relu"), conv.output, name="relu", source="/model/relu")
    step = graph.constant(np.asarray(20, np.float32), "step")
    fixed = graph.add(ops.Quantize(DType.U8), relu.output, step, name="q")
    fixed.output.scale = graph.constant(np.asarray(0.05, np.float32), "q.scale")
    fixed.output.zero = 7
    graph.outputs = [relu.output, fixed.output]
    return graph


def text_of(graph: Graph, **more: object) -> str:
    return print_network(Network(graph, **more))  # type: ignore[arg-type]


def parsed(text: str, graph: Graph | None = None) -> Network:
    constants = {v.name: v.data for v in (graph or tiny()).constants() if v.data is not None}
    return parse_network(text.encode(), constants)


@pytest.fixture
def names(tmp_path: Path) -> Names:
    found = Names(tmp_path, "tiny_bmneto")
    save(Network(tiny()), found.test_fp32, found.fp32_weights)
    return found


# -- there and back -----------------------------------------------------------------------------


def test_the_text_is_what_people_edit() -> None:
    text = text_of(tiny(), keys={"conv": LayerKeys(True, "USE_MAX", 6.0)})
    assert text.startswith('nntc_umodel: 1\nname: "tiny"\n')
    layer = text[text.index('  name: "conv"') :].split("\n}")[0].splitlines()
    assert layer[1:4] == ['  type: "Conv"', '  bottom: "data"', '  bottom: "conv.weight"']
    assert '  top: "conv"  # f32[1x4x6x6]' in layer
    assert "  strides: [1, 1]" in layer
    assert layer[-4:-1] == [
        "  forward_with_float: true",
        "  th_strategy: USE_MAX",
        "  threshold: 6.0",
    ]
    assert 'param { name: "conv.weight" type: "f32[4x3x3x3]" sha256: "' in layer[-1]


def test_files_there_and_back(names: Names) -> None:
    network = load(names.test_fp32)
    same_graph(network.graph, tiny())
    same_graph(load(names.fp32_weights).graph, tiny())
    again = Names(names.folder, "again")
    save(network, again.test_fp32, again.fp32_weights)
    assert again.fp32_weights.read_bytes() == names.fp32_weights.read_bytes()
    first, second = (f.test_fp32.read_text() for f in (names, again))
    assert first == second.replace("again.fp32umodel", "tiny_bmneto.fp32umodel")


@given(graph=graphs())
@settings(max_examples=60, deadline=None)
def test_any_graph(graph: Graph) -> None:
    text = text_of(graph)
    made = parsed(text, graph).graph
    same_graph(made, graph)
    assert text_of(made) == text


@pytest.mark.parametrize("seed", range(8))
def test_graphs_of_integers(seed: int) -> None:
    graph = Maker(seed, 15).graph
    same_graph(parsed(text_of(graph), graph).graph, graph)


def test_odd_names() -> None:
    graph = Graph('a "b"\n')
    x = graph.input("日本\t\\x", DType.F32, (1,))
    graph.outputs = [graph.add(ops.Unary("relu"), x, name="\x00'").output]
    same_graph(parsed(text_of(graph), graph).graph, graph)


def test_wishes_and_data_layers_stay() -> None:
    feed = Feed(
        "data",
        "some/where",
        transforms=(
            {"op": "RESIZE", "resize_h": 8, "resize_w": 8},
            {"op": "STAND", "mean_value": [104.0, 117.0, 123.5], "scale": [0.017], "bgr2rgb": True},
        ),
        labels="label",
    )
    keys = {"conv": LayerKeys(threshold=3.5, th_scale=0.9), "relu": LayerKeys(use_winograd=True)}
    network = Network(tiny(), keys, {"data": LayerKeys(True, "USE_KL")}, [feed], "BMNETO2UModel")
    text = print_network(network)
    made = parsed(text)
    assert (made.keys, made.input_keys) == (keys, network.input_keys)
    assert (made.feeds, made.model_type) == ([feed], "BMNETO2UModel")
    assert print_network(made) == text


def test_no_attribute_is_called_like_a_key() -> None:
    keys = {"name", "type", "top", "bottom", "source", "param", "scale", "include", "exclude"}
    keys |= set(LayerKeys.__dataclass_fields__)
    for op in ops.OPS.values():
        assert not keys & set(attribute_kinds(op)), op


# -- edits --------------------------------------------------------------------------------------


def edited(old: str, new: str) -> Network:
    text = text_of(tiny())
    assert old in text
    return parsed(text.replace(old, new, 1))


def test_an_edit_changes_the_network() -> None:
    graph = edited("strides: [1, 1]", "strides: 2 strides: 2").graph
    assert graph.nodes[0].output.shape == (1, 4, 3, 3)
    assert graph.outputs[0].shape == (1, 4, 3, 3)
    assert edited("dim: 8 dim: 8", "dim: 12 dim: 10").graph.outputs[0].shape == (1, 4, 10, 8)


def test_a_layer_may_go() -> None:
    text = text_of(tiny())
    start = text.index('layer {\n  name: "q"')
    text = text[:start] + text[text.index("output:") :].replace('output: "q"\n', "")
    assert [n.name for n in parsed(text).graph.nodes] == ["conv", "relu"]


EDITS = [
    ('type: "Conv"', 'type: "Cnov"', "layer conv: unknown type Cnov; is Conv meant?"),
    ("strides:", "stride:", "layer conv: Conv needs strides"),
    ("group: 1", "group: 1 group: 2", "group is given 2 times"),
    ("group: 1", "group: 1.5", "group is 1.5, not a whole number"),
    ("group: 1", "group: 1 grupo: 2", "layer conv: unknown key grupo; is group meant?"),
    ('bottom: "data"', 'bottom: "dat"', "dat is not made above; is data meant?"),
    ('name: "relu"', 'name: "conv"', "two layers are called conv"),
    ('top: "relu"', 'top: "conv"', "conv is declared twice"),
    ('top: "relu"', 'top: "relu" top: "more"', "layer relu: 2 tops, Unary makes 1"),
    ("pads: [0", "pads: [-100", "layer conv:"),
    ("to: u8", "to: u9", "to is u9, no element type"),
    ("data: [20.0]", "data: [20.0, 1]", "param step is f32[], 2 numbers are given"),
    ("data: [20.0]", 'data: ["x"]', "data is x, not a number"),
    ('name: "conv.weight" type: "f32[4x3x3x3]"', 'name: "w" type: "f32[4]"', "hold no w"),
    ('type: "f32[4x3x3x3]"', 'type: "f32[4x27]"', "its data are float32 of shape (4, 3, 3, 3)"),
    ('sha256: "', 'sha256: "0', "the data of conv.weight have the hash"),
    ('output: "relu"', 'output: "rule"', "rule is not made above"),
    ("input_param {", "input_parm {", "the shape of data is not known"),
    ("dim: 8 dim: 8", "dim: 8 dim: 99999999999999999999999999", "not a whole number"),
    ("dim: 8 dim: 8", "dim: 4611686018427387904 dim: 4611686018427387904", "bad shape"),
    ('of: "q"', 'of: "k"', "scale: there is no k"),
    ("zero: 7 }", "nil: 7 }", "scale: unknown key nil"),
    ("nntc_umodel: 1", "nntc_umodel: 2", "nntc_umodel is 2, only 1 is known"),
    ("nntc_umodel: 1", "", "nntc_umodel: 1 is missing"),
    ("top: ", "th_strategy: USE_MIN top: ", "th_strategy is USE_MIN; choose from"),
    ("top: ", "threshold: -1 top: ", "threshold and th_scale must be positive"),
    ("top: ", "forward_with_float: 7 top: ", "forward_with_float is 7, not true or false"),
    ('type: "Unary"', 'type: "Unary" }', "stands where a name must"),
    ('fn: "relu"', 'fn: "rule"', "layer relu:"),
]


@pytest.mark.parametrize(("old", "new", "message"), EDITS, ids=[e[2] for e in EDITS])
def test_faults_have_lines(old: str, new: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        edited(old, new)
    assert message in str(caught.value)
    if "nntc_umodel is" not in message:
        assert all(re.match(r"line \d+: ", text) for text in caught.value.problems)


def test_the_line_is_right_and_one_fault_is_one_problem() -> None:
    lines = text_of(tiny()).splitlines()
    number = next(i for i, line in enumerate(lines, 1) if "group:" in line)
    lines[number - 1] = "  group: x"
    with pytest.raises(ModelError) as caught:
        parsed("\n".join(lines))
    assert caught.value.problems == [f"line {number}: group is x, not a whole number"]


# -- Data layers --------------------------------------------------------------------------------

DATA = """
layer {
  name: "data" type: "Data" top: "data" top: "label"
  include { phase: TEST }
  transform_param {
    transform_op { op: RESIZE resize_h: 8 resize_w: 8 }
    transform_op { op: STAND mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.5 }
  }
  data_param { source: "SOURCE" batch_size: 0 backend: LMDB }
}
"""


def with_data(layer: str, keep: bool = False) -> str:
    text = text_of(tiny())
    end = text.index('}\nlayer {\n  name: "conv"') + 2
    start = text.index("layer {")
    return text[: end if keep else start] + layer + text[end:]


def test_a_data_layer_feeds_the_input(tmp_path: Path) -> None:
    pictures = np.arange(2 * 3 * 6 * 6, dtype=np.uint8).reshape(2, 3, 6, 6)
    with LMDB_Dataset(tmp_path / "db") as db:
        db.put(list(pictures))
    names = Names(tmp_path, "x")
    save(Network(tiny()), names.test_fp32, names.fp32_weights)
    for source in ("db", str(tmp_path / "db")):
        for keep in (False, True):
            names.test_fp32.write_text(with_data(DATA.replace("SOURCE", source), keep))
            network = load(names.test_fp32)
            assert network.graph.inputs[0].shape == (1, 3, 8, 8)
            data = dataset(network.feeds, {"data": (1, 3, 8, 8)}, tmp_path)
            assert data is not None
            assert len(data) == 2
            assert data[1]["data"].shape == (1, 3, 8, 8)
            assert data[1]["data"][0, 0, 0, 0] == (pictures[1, 0, 0, 0] - 104.0) * 0.5


def test_the_shape_comes_from_the_data(tmp_path: Path) -> None:
    with LMDB_Dataset(tmp_path / "db") as db:
        db.put([random((1, 3, 9, 9))])
    names = Names(tmp_path, "x")
    save(Network(tiny()), names.test_fp32, names.fp32_weights)
    plain = re.sub(r"transform_param \{.*?\n  \}\n", "", DATA, flags=re.DOTALL)
    names.test_fp32.write_text(with_data(plain.replace("SOURCE", "db")))
    assert load(names.test_fp32).graph.inputs[0].shape == (1, 3, 9, 9)
    names.test_fp32.write_text(with_data(plain.replace("SOURCE", "nowhere")))
    with pytest.raises(ModelError, match=r"test_fp32\.prototxt: line \d+: "):
        load(names.test_fp32)


DATA_FAULTS = [
    ("backend: LMDB", "backend: LEVELDB", "backend LEVELDB: only LMDB is read"),
    ('source: "SOURCE"', "", "the Data layer needs data_param"),
    ("resize_h: 8", "resize_hh: 8", "transform_op: unknown field resize_hh"),
    ("op: STAND", "op: STAMP", "op STAMP; there are RESIZE"),
    ("transform_param {", "transform_param { mean_value: 3", "cannot be mixed"),
    ("transform_param {", "transform_param { mirror: true", "mirror: true would flip"),
    ('top: "label"', 'top: "label" top: "more"', "a Data layer has one top"),
]


@pytest.mark.parametrize(("old", "new", "message"), DATA_FAULTS, ids=[d[2] for d in DATA_FAULTS])
def test_faulty_data_layers(old: str, new: str, message: str) -> None:
    assert old in DATA
    with pytest.raises(ModelError, match=message) as caught:
        parsed(with_data(DATA.replace(old, new), keep=True))
    assert all(text.startswith("line ") for text in caught.value.problems)


def test_caffe_fields_mean_the_same() -> None:
    ops_ = "transform_op { op: RESIZE resize_h: 9 resize_w: 9 } transform_op { op: CROP crop_h: 8 "
    ops_ += "crop_w: 8 } transform_op { op: STAND mean_value: 104 scale: 0.5 }"
    plain = "crop_size: 8 mean_value: 104 scale: 0.5 resize_param { height: 9 width: 9 }"
    body = re.search(r"transform_op.*\}\n(?=  \}\n  data)", DATA, re.DOTALL)
    assert body is not None
    found = [parsed(with_data(DATA.replace(body[0], text), True)).feeds for text in (ops_, plain)]
    assert found[0] == found[1]


def test_several_inputs_in_step(tmp_path: Path) -> None:
    for name, count in (("a", 3), ("b", 3), ("c", 2)):
        with LMDB_Dataset(tmp_path / name) as db:
            db.put([np.full((1, 2), ord(name), np.float32)] * count)
    shapes = {"a": (1, 2), "b": (1, 2)}
    both = dataset([Feed("a", "a"), Feed("b", "b")], shapes, tmp_path)
    assert isinstance(both, Together)
    assert [set(sample) for sample in both] == [{"a", "b"}] * 3
    swapped = dataset([Feed("a", "b"), Feed("b", "a")], shapes, tmp_path)
    assert swapped is not None
    assert swapped.digest != both.digest
    with pytest.raises(UserError, match="different numbers of samples"):
        dataset([Feed("a", "a"), Feed("b", "c")], shapes, tmp_path)
    with pytest.raises(UserError, match="inputs b have no Data layer"):
        dataset([Feed("a", "a")], shapes, tmp_path)


def test_records_of_several_samples(tmp_path: Path) -> None:
    stored = np.arange(2 * 4 * 3, dtype=np.float32).reshape(2, 4, 3)
    with LMDB_Dataset(tmp_path / "db") as db:
        db.put(list(stored))
    data = dataset([Feed("x", "db")], {"x": (1, 3)}, tmp_path)
    assert data is not None
    np.testing.assert_array_equal(
        np.concatenate([sample["x"] for sample in data]), stored.reshape(8, 3)
    )
    assert data.name(5).endswith("[1]")
    with pytest.raises(IndexError):
        data[8]


# -- files --------------------------------------------------------------------------------------


def test_partners(tmp_path: Path) -> None:
    names = Names(tmp_path, "x_bmnetp")
    deploy = names.unique_top("deploy", "int8")
    assert deploy.name == "x_bmnetp_deploy_int8_unique_top.prototxt"
    for text, weights in (
        (names.test_fp32, names.fp32_weights),
        (names.unique_top("deploy", "fp32"), names.fp32_weights),
        (deploy, names.int8_weights),
    ):
        save(Network(tiny()), text, weights)
        assert partner(text) == (text, weights)
    assert partner(names.int8_weights)[0] == deploy
    assert partner(names.fp32_weights)[0] == names.test_fp32
    assert Names.of(names.int8_weights) == names
    renamed = tmp_path / "other.prototxt"
    renamed.write_bytes(deploy.read_bytes())
    assert partner(renamed) == (renamed, names.int8_weights)
    names.int8_weights.unlink()
    with pytest.raises(UserError, match="weights is not beside it"):
        partner(deploy)


def test_ours_and_others(names: Names, tmp_path: Path) -> None:
    assert is_network(names.test_fp32)
    assert is_network(names.fp32_weights)
    assert not is_network("model.onnx")
    caffe = tmp_path / "net.prototxt"
    caffe.write_text('name: "x"\nlayer { name: "nntc_umodel" type: "Input" }\n')
    assert not is_network(caffe)
    caffe.write_text('name: "x"\nmodel_type: "BMNETC2UModel"\n')
    with pytest.raises(UserError, match="a UModel of the chip maker's tools"):
        is_network(caffe)


def test_a_file_of_blanks_is_looked_at_quickly(tmp_path: Path) -> None:
    start = time.monotonic()
    for content in (b"\n" * 5_000_000, b" " * 5_000_000, b"x" * 20_000_000):
        (tmp_path / "net.prototxt").write_bytes(content)
        assert not is_network(tmp_path / "net.prototxt")
    assert time.monotonic() - start < 5


def test_a_damaged_file_is_named(names: Names) -> None:
    text = names.test_fp32.read_text()
    names.test_fp32.write_text(text.replace("group: 1", "group: y").replace("to: u8", "to: 5"))
    with pytest.raises(ModelError) as caught:
        load(names.test_fp32)
    assert len(caught.value.problems) == 2
    assert all(t.startswith(f"{names.test_fp32}: line ") for t in caught.value.problems)
    names.test_fp32.write_text(text)
    names.fp32_weights.write_bytes(b"x")
    with pytest.raises(ModelError, match=r"tiny_bmneto\.fp32umodel: is no safetensors file"):
        load(names.test_fp32)


# -- hostile texts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "nntc_umodel: 1\n" + "layer {" * 100_000,
        "nntc_umodel: 1\n" + 'layer { type: "Data" ' * 2000,
        "nntc_umodel: 1\n" + 'layer { type: "Input" tpo: "x" }\n' * 50_000,
        "nntc_umodel: 1\n" + 'layer { type: "Input" top: "x" }\n' * 50_000,
        "nntc_umodel: 1\n" + 'layer { type: "X" }\n' * 20_000,
        'nntc_umodel: 1 name: "' + "\\" * 100_000,
        "nntc_umodel: 1 layer { dim: " + "9" * 200_000 + " }",
        "nntc_umodel: " + "9" * 1000,
        'nntc_umodel: 1 param { name: "p" type: "f32[9999999999x9]" data: [] }',
        'nntc_umodel: 1 layer { type: "Input" top: "x" input_param { shape { '
        + "dim: 1 " * 100_000
        + "} } }",
        'nntc_umodel: 1 layer { type: "Input" top: "x" input_param { shape { dim: 99999999999 } }'
        ' } layer { type: "Reshape" bottom: "x" top: "y" shape: [9, 9] } output: "y"',
    ],
)
def test_hostile_texts_end_soon(text: str) -> None:
    start = time.monotonic()
    with pytest.raises(ModelError):
        parse_network(text.encode())
    assert time.monotonic() - start < 10


def test_mutations_give_a_network_or_problems() -> None:
    text = text_of(tiny(), keys={"conv": LayerKeys(threshold=2)}, feeds=[Feed("data", "db")])
    rng = pseudo.Random(1)
    refused = 0
    for _ in range(400):
        data = bytearray(text.encode())
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(data))
            choice = rng.random()
            if choice < 0.4:
                data[at] = rng.randrange(256)
            elif choice < 0.7:
                del data[at : at + rng.randint(1, 30)]
            else:
                data[at:at] = rng.choice([b"{", b"}", b"[", b'"', b"9", b"layer {", b": -1 "])
        try:
            parsed(data.decode("latin-1"))
        except ModelError:
            refused += 1
    assert refused > 200
