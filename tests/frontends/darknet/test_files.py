"""What a user reads when the files are not right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nntc import api
from nntc.core.errors import ModelError, UnsupportedError, UserError
from nntc.frontends.darknet import load
from nntc.frontends.darknet.cfg import parse
from tests.frontends.darknet.make import config, weights

ONE = config("convolutional filters=2 size=3 pad=1 activation=linear")
NUMBERS = np.zeros(2 + 2 * 27, np.float32)


def message(cfg: bytes, data: bytes = b"", **options) -> str:
    with pytest.raises(UserError) as caught:
        load(cfg, data or weights(), **options)
    assert all("\n" not in line for line in caught.value.problems)
    return str(caught.value)


def test_too_few_and_too_many_weights() -> None:
    load(ONE, weights(NUMBERS))
    text = message(ONE, weights(NUMBERS[:-1]))
    assert "conv_0 ([convolutional], line 7): the weights end here: weights [2, 3, 3, 3]" in text
    assert "54 numbers, 53 of the file's 55 are left" in text
    assert "8 bytes are left over" in message(ONE, weights(NUMBERS, np.zeros(2)))
    assert "3 bytes are left over" in message(ONE, weights(NUMBERS) + b"abc")
    assert "hold no header" in message(ONE, b"abc")
    # Cut earlier, the rest of the weights is not looked at.
    two = ONE + b"\n[avgpool]\n[convolutional]\nfilters=9\n"
    graph = load(two, weights(NUMBERS, np.zeros(99)), output_names=["conv_0"])
    assert [v.name for v in graph.outputs] == ["conv_0"]
    assert [v.name for v in load(two, weights(NUMBERS), None, ["1"]).outputs] == ["avgpool_1"]
    assert "no layer 'conv_1'; similar: conv_2, conv_0" in message(two, output_names=["conv_1"])


@pytest.mark.parametrize("version", [(0, 1), (0, 2), (0, 3), (1, 0)])
def test_headers(version: tuple[int, int]) -> None:
    graph = load(ONE, weights(NUMBERS + 7, version=version))
    assert all((v.data == 7).all() for v in graph.constants())


def test_unknown_sections_are_listed_together() -> None:
    text = message(config("lstm output=3", "magic", "maxpol size=2", "avgpool"))
    assert "[lstm]: recurrent" in text
    assert "[magic]: the section is not known" in text
    assert "(is [maxpool] meant?)" in text
    assert text.count("\n") == 2


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("convolutional filters=two", "line 8: filters=two is not a number"),
        ("convolutional filters=2.5", "filters=2.5 is not a whole number"),
        ("convolutional filters=99999999999", "not a whole number below 2^31"),
        ("convolutional filters=-1", "filters=-1 is below 1"),
        ("convolutional stride=0", "stride=0 is below 1"),
        ("convolutional groups=2", "groups=2 divides not both 3 channels and 1"),
        ("convolutional filters=3 activation=magic", "activation=magic is not known"),
        ("convolutional binary=1", "binary=1: binary weights"),
        ("convolutional size=5 dilation=2", "dilation=2 with size=5"),
        ("convolutional size=3 share_index=-1", "there is no layer -1"),
        ("maxpool size=9 padding=0", "size=9 is larger"),
        ("maxpool maxpool_depth=1", "a maximum over channels"),
        ("route", "layers= is missing"),
        ("route layers=0", "there is no layer 0 before this one"),
        ("route layers=-1", "there is no layer -1"),
        ("softmax temperature=0", "must not be 0"),
        ("softmax tree=9k.tree", "tree of classes"),
        ("reorg stride=3", "stride=3 does not divide 8x8"),
        ("reorg stride=2", "3 channels do not make blocks"),
        ("upsample stride=0", "stride=0"),
        ("crop crop_height=9", "9x1 pixels cannot be cut from 8x8"),
        ("yolo mask=0 classes=2", "3 channels come in, 1 boxes of 7 numbers need 7"),
        ("local size=5 pad=1", "pad=1 with size=5"),
    ],
)
def test_options(layer: str, said: str) -> None:
    numbers = np.ones(300, np.float32)
    assert said in message(config(layer), weights(numbers))


def test_operands_that_do_not_fit() -> None:
    layers = ("activation activation=linear", "maxpool size=2 stride=2")
    assert "layer 0 has 8x8 pixels, the first has 4x4" in message(
        config(*layers, "route layers=1,0")
    )
    assert "8x8 is added to one of 12x12" in message(
        config(*layers, "upsample stride=3", "shortcut from=0")
    )
    assert "factors have shape [1, 3, 4, 4]" in message(config(*layers, "scale_channels from=0"))
    assert "differ" in message(config(*layers, "sam from=0"))


def test_configurations() -> None:
    text = "\ufeff# by hand\n; too\n [ NET ] \r\nheight = 8\nwidth=8\nchannels=3 # RGB\nwidth=4"
    text += "\n[avgpool]"
    net, pool = parse(text.encode())
    assert (net.name, pool.line) == ("net", 8)
    assert [net.integer(key, 0) for key in ("height", "width", "channels")] == [8, 8, 3]
    assert "not a Darknet configuration" in message(b"")
    assert "it is no text" in message(b"\0" * 20)
    assert "line 2: height is neither" in message(b"[net]\nheight\n")
    assert "line 1: a= stands before" in message(b"a=1\n[net]\n")
    assert "first section is [avgpool], not [net]" in message(b"[avgpool]\n")
    assert "gives no size of the input" in message(b"[net]\n[avgpool]\n")
    assert "no layers" in message(b"[net]\nheight=1\nwidth=1\nchannels=1\n")
    assert "inputs are 'data'" in message(ONE, shapes={"image": (1, 3, 8, 8)})
    assert "has 2 dimensions" in message(ONE, shapes=[(3, 8)])


def test_huge_sizes_are_refused_at_once() -> None:
    assert "the limit is" in message(config("avgpool", height=10**6, width=10**6))
    assert "the weights end" in message(config("connected output=2000000000"))
    assert "the limit is" in message(config("upsample stride=100000"))
    assert "the limit is" in message(config("normalization", channels=10**6, height=1, width=1))


def test_weights_lie_beside(tmp_path: Path) -> None:
    cfg = tmp_path / "tiny.cfg"
    cfg.write_bytes(ONE)
    with pytest.raises(UserError, match=r"not beside it \(tiny.weights\); name it"):
        api.load(cfg)
    (tmp_path / "tiny_last.weights").write_bytes(weights(NUMBERS))
    with pytest.raises(UserError, match=r"there are tiny_last.weights"):
        api.load(cfg)
    assert api.load(cfg, weights=tmp_path / "tiny_last.weights").name == "tiny"
    (tmp_path / "tiny.weights").write_bytes(weights(NUMBERS[:-1]))
    with pytest.raises(ModelError, match=r"tiny.cfg, tiny.weights: conv_0"):
        api.load(cfg)
    with pytest.raises(UnsupportedError, match="lstm"):
        load(config("lstm"), weights())
