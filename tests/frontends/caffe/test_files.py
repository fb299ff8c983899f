"""How networks and weights are written, and what a user reads when they are not right."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from nntc import api
from nntc.core.errors import UnsupportedError, UserError
from nntc.frontends.caffe import load
from nntc.frontends.caffe.text import parse
from nntc.frontends.caffe.wire import read_blobs
from tests.frontends.caffe.make import blob, field, inputs, layer, model, run

RNG = np.random.default_rng(2)
HEAD = inputs(x=(1, 3, 8, 8))
CONV = layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 }")
WEIGHTS = [RNG.standard_normal((2, 3, 3, 3)).astype(np.float32), np.ones(2, np.float32)]


def message(text: str, data: bytes | None = None, **options) -> str:
    with pytest.raises(UserError) as caught:
        load(text.encode(), data, **options)
    assert all("\n" not in line for line in caught.value.problems)
    return str(caught.value)


# -- prototxt -----------------------------------------------------------------------------------


def test_text_format() -> None:
    text = """# a comment
      name: "two" 'words' ; list: [1, -2.5e1, 0x10], list: .5f
      one { inner <value: true> } one: { other: MAX }  escaped: "a\\"b\\n\\101"
    """
    root = parse(text.encode())
    assert root.text("name") == "twowords"
    assert root.numbers("list") == [1, -25, 16, 0.5]
    assert root.message("one").message("inner").flag("value")
    assert root.message("one").text("other") == "MAX"
    assert root.text("escaped") == 'a"b\nA'
    assert root.unread() == []
    assert parse(b"\xef\xbb\xbfa: 1").integer("a", 0) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a {\n b: 1", "line 1: the message that begins here has no '}'"),
        ("a: 1\n}", "line 2: } stands where a name must"),
        ("a 1", "after a comes 1, not ':' or '{'"),
        ("a: ", "a has no value, but the end of the file"),
        ("a: [1, 2", "a has no value, but the end of the file"),
        ("\n\na: @", "line 3: '@' has no meaning"),
        ('a: "open', "line 1: '\"open' has no meaning"),
        ("a { " * 60 + "}" * 60, "more than 50 messages inside each other"),
        ("", "has no layers"),
        ("\0", "it is no text"),
        ("layer { name: 'a' }", "line 1: a layer without a type"),
        ("layers { layer { name: 'a' } }", "the oldest schema"),
        ("input: 'x' input_dim: 1", "1 input_dim for 1 inputs"),
        ("input: 'x' layer { type: 'ReLU' bottom: 'x' top: 'y' }", "input 'x' has no shape"),
        (HEAD + "layer { type: 'ReLU' bottom: 'q' top: 'y' }", "no layer before it has the top"),
        (HEAD + layer("Tile", "tile_param { tiles: many }"), "tiles is many, not a number"),
        (HEAD + layer("Tile", "tile_param { tiles: 1.5 }"), "tiles is 1.5, not a whole number"),
        (HEAD + layer("Tile", "tile_param { tiles: 0 }"), "tiles is 0, at least 1"),
        (HEAD + layer("Tile", "tile_param: 3"), "tile_param is 3, not {...}"),
        (HEAD + layer("Concat", "concat_param { axis: 4 }"), "axis 4: the bottom has 4 axes"),
        (HEAD + layer("Pooling", "pooling_param { kernel_size: 9 }"), "larger than the bottom"),
        (HEAD + layer("Pooling", "pooling_param { pool: MEAN kernel_size: 2 }"), "pool is MEAN"),
        (HEAD + layer("Pooling", "pooling_param { }"), "kernel is [0, 0], at least 1"),
        (HEAD + layer("Reshape", "reshape_param { shape { dim: 7 } }"), "does not become dim [7]"),
        (HEAD + layer("Permute", "permute_param { order: 1 order: 1 }"), "is no order of 4 axes"),
        (HEAD + layer("Slice", "", "x", "a b"), "3 elements of axis 1 do not divide into 2"),
        (HEAD + layer("ShuffleChannel", "shuffle_channel_param { group: 2 }"), "not divide 3"),
        (HEAD + layer("Upsample", "upsample_param { scale: 100000 }"), "the limit is"),
        (HEAD + layer("DetectionOutput"), "num_classes is 0"),
        (HEAD + layer("PriorBox", "", "x x"), "min_size []"),
        (HEAD + layer("Axpy", "", "x"), "1 bottoms, at least 2 are needed"),
    ],
)  # fmt: skip
def test_wrong_networks(text: str, said: str) -> None:
    assert said in message(text)


def test_what_cannot_be_expressed_is_listed_together() -> None:
    text = HEAD + layer("LSTM", "", "x", "a", "l1") + layer("LSTM", "", "a", "b", "l2")
    found = message(text + layer("Convolutoin", "", "b", "c"))
    assert "l1 (LSTM, line 2) and 1 more: recurrent" in found
    assert "is Convolution meant?" in found
    text = HEAD + layer("Pooling", "pooling_param { pool: STOCHASTIC }", "x", "a", "p")
    text += layer("Upsample", "", "x x", "b", "u") + layer("ReLU", "", "a", "c")
    with pytest.raises(UnsupportedError) as caught:
        load(text.encode())
    assert len(caught.value.problems) == 2


def test_unknown_options_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "nntc"):
        load((HEAD + layer("Tile", "tile_param { tiles: 2 axes: 1 }")).encode())
    assert "Tile (Tile, line 2): tile_param: axes is not known" in caplog.text


def test_names_in_place() -> None:
    text = HEAD + layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 }",
                        tops="c", name="c") + layer("ReLU", "", "c", "c", "r")  # fmt: skip
    text += layer("TanH", "", "c", "d", "t")
    graph = load(text.encode(), model({"c": WEIGHTS}))
    assert [n.output.name for n in graph.nodes] == ["c/Convolution", "c", "d"]
    graph = load(text.encode(), model({"c": WEIGHTS}), None, ["c", "d"])
    assert [v.name for v in graph.outputs] == ["c", "d"]
    # By its layer's name a value before the last change can be had.
    graph = load(text.encode(), model({"c": WEIGHTS}), None, ["r"])
    assert [v.name for v in graph.outputs] == ["r"]
    assert "no top or layer 'e'" in message(text, output_names=["e"])


def test_phases_and_losses() -> None:
    text = """
      layer { name: "train" type: "Data" top: "data" top: "label" include { phase: TRAIN } }
      layer { name: "test" type: "Data" top: "data" top: "label" include { phase: TEST }
              transform_param { crop_size: 8 } data_param { batch_size: 2 } }
      layer { name: "a" type: "ReLU" bottom: "data" top: "a" exclude { phase: TRAIN } }
      layer { name: "b" type: "TanH" bottom: "a" top: "a" exclude { phase: TEST } }
      layer { name: "c" type: "TanH" bottom: "a" top: "a" include { stage: "deploy" } }
      layer { name: "d" type: "Sigmoid" bottom: "a" top: "d" include { not_stage: "deploy" } }
      layer { name: "s" type: "Silence" bottom: "label" }
      layer { name: "loss" type: "SoftmaxWithLoss" bottom: "d" bottom: "label" top: "loss" }
      layer { name: "acc" type: "Accuracy" bottom: "d" bottom: "label" top: "acc" }
    """
    graph = load(text.encode())
    assert [(v.name, v.shape) for v in graph.inputs] == [("data", (2, 3, 8, 8))]
    assert [v.name for v in graph.outputs] == ["d"]
    assert [n.op.fn for n in graph.nodes] == ["relu", "sigmoid"]
    # With a stage of the file's own.
    graph = load(('state { stage: "deploy" }' + text).encode())
    assert [n.op.fn for n in graph.nodes] == ["relu", "tanh"]
    text = 'layer { name: "m" type: "MemoryData" top: "data" memory_data_param {'
    text += " batch_size: 1 channels: 3 height: 4 width: 5 } }"
    graph = load((text + layer("ReLU", "", "data")).encode())
    assert graph.inputs[0].shape == (1, 3, 4, 5)


def test_outputs_are_in_the_order_of_names() -> None:
    text = HEAD + layer("ReLU", tops="z", name="1") + layer("TanH", tops="b", name="2")
    assert [v.name for v in load(text.encode()).outputs] == ["b", "z"]


def test_shapes() -> None:
    text = "input: 'x' input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8" + CONV
    data = model({"Convolution": WEIGHTS})
    assert load(text.encode(), data, [(4, 3, 5, 9)]).outputs[0].shape == (4, 2, 3, 7)
    assert load(text.encode(), data, {"x": (1, 3, 3, 3)}).outputs[0].shape == (1, 2, 1, 1)
    assert "a shape is given for 'y'" in message(text, data, shapes={"y": (1, 3, 3, 3)})
    assert "has 2 dimensions" in message(text, data, shapes=[(1, 3)])
    assert "its weights have shape" in message(text, data, shapes=[(1, 4, 9, 9)])
    text = "input: 'x' input_shape { dim: 2 dim: 3 }" + layer("ReLU")
    assert load(text.encode()).inputs[0].shape == (2, 3)


# -- caffemodel ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["shape", "legacy", "double", "loose", "half"])
@pytest.mark.parametrize("old", [False, True])
def test_forms_of_weights(form: str, old: bool) -> None:
    text = HEAD + CONV
    if old:
        text = HEAD.replace("layer", "layers").replace('"Input"', "INPUT")
        text += CONV.replace("layer", "layers").replace('type: "Convolution"', "type: CONVOLUTION")
    x = RNG.standard_normal((1, 3, 8, 8)).astype(np.float32)
    wanted = run(HEAD + CONV, {"Convolution": WEIGHTS}, x=x)[1]["y"]
    from nntc.ir import interpret

    graph = load(text.encode(), model({"Convolution": WEIGHTS}, form, old))
    found = interpret.run(graph, {"x": x})["y"]
    np.testing.assert_allclose(found, wanted, atol=1e-2 if form == "half" else 1e-6)


def test_wrong_weights() -> None:
    text = HEAD + CONV
    assert "its weights are missing: the caffemodel has 0 blobs" in message(text)
    data = model({"Convolution": WEIGHTS[:1]})
    assert "its biases are missing: the caffemodel has 1 blobs" in message(text, data)
    data = model({"Convolution": [WEIGHTS[0][:1], WEIGHTS[1]]})
    assert "its weights have shape [1, 3, 3, 3], not [2, 3, 3, 3]" in message(text, data)
    bad = field(7, field(1, b"\x03")) + field(5, b"\0" * 8)
    data = field(100, field(1, b"c") + field(7, bad))
    assert "layer 'c', blob 0: shape [3] and 2 numbers do not agree" in message(text, data)
    huge = field(7, field(1, b"\xff" * 9 + b"\x01") + field(1, b"\x7f")) + field(5, b"\0" * 8)
    assert "do not agree" in message(text, field(100, field(7, huge)))
    assert "not a caffemodel" in message(text, b"")
    assert "not a caffemodel" in message(text, field(1, b"name"))
    data = model({"Convolution": WEIGHTS})
    assert "cut short" in message(text, data[:-1])
    assert "no protobuf message" in message(text, b"\x07abc")
    assert "cut short inside a number" in message(text, b"\xff\xff")
    assert "a number too long" in message(text, b"\xff" * 20)


def test_blobs_are_found_among_unknown_fields() -> None:
    noise = field(3, 7) + b"\x49" + b"\0" * 8 + field(500, b"xyz")
    data = noise + field(100, noise + field(1, b"c") + field(7, noise[:2] + blob(np.ones(3))))
    # Field 3 of a blob is a size of the old form; its shape goes before.
    assert [b.tolist() for b in read_blobs(data)["c"]] == [[1, 1, 1]]


def test_the_two_files_lie_beside_each_other(tmp_path: Path) -> None:
    text, data = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    text.write_text('name: "mine"' + HEAD + CONV)
    with pytest.raises(UserError, match=r"net.prototxt: the file that belongs to it is not beside"):
        api.load(text)
    data.write_bytes(model({"Convolution": WEIGHTS}))
    assert api.load(text).name == "mine"
    assert api.load(data).name == "mine"
    other = tmp_path / "other.caffemodel"
    other.write_bytes(b"\x07abc")
    with pytest.raises(UserError, match=r"net.prototxt: other.caffemodel: no protobuf message"):
        api.load(text, weights=other)
    assert api.load(text, weights=data, output_names=["y"]).outputs[0].name == "y"
    with pytest.raises(UserError, match="inputs cannot be chosen"):
        api.load(text, input_names=["y"])
