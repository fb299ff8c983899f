"""``nntc quantize`` end to end: bytes, messages, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from nntc import api, bmodel
from nntc.cli.main import main
from nntc.runtime import Engine
from nntc.runtime.arrays import save_npz

Nntc = Callable[..., "Ran"]

SHAPE = (1, 3, 12, 10)


class Ran:
    """What a command said and gave."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err


def model(other: bool = False) -> onnx.ModelProto:
    """Convolution, ReLU, depthwise convolution, sigmoid."""
    rng = np.random.default_rng(2)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) * 0.3, name)

    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"], "stem", pads=[1] * 4),
        helper.make_node("Relu", ["y"], ["r"], "act"),
        helper.make_node("Conv", ["r", "v"], ["z"], "depth", pads=[1] * 4, group=8),
        helper.make_node("Sigmoid" if not other else "Tanh", ["z"], ["out"], "gate"),
    ]
    weights = [constant("w", 8, 3, 3, 3), constant("b", 8), constant("v", 8, 1, 3, 3)]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, (1, 8, *SHAPE[2:]))],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _samples(count: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((count, *SHAPE[1:])).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NNTC_DEBUG", raising=False)
    onnx.save(model(), "net.onnx")
    save_npz("x.npz", {"x": _samples(6)})
    return tmp_path


@pytest.fixture
def nntc(folder: Path, capsys: pytest.CaptureFixture[str]) -> Nntc:
    """Runs ``nntc quantize``."""

    def run(*args: object, command: str = "quantize") -> Ran:
        status = main([command, *map(str, args)])
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return run


def refused(ran: Ran, *texts: str) -> None:
    """One line for every problem, and no traceback."""
    assert ran.status != 0
    assert "Traceback" not in ran.out + ran.err
    for text in texts:
        assert text in ran.err
    for line in ran.err.splitlines():
        assert line.startswith(("error: ", "  ", "hint")), line


def test_one_command_and_step_by_step_give_the_same_bytes(nntc: Nntc, folder: Path) -> None:
    assert nntc("net.onnx", "--data", "x.npz", "-o", "one.bmodel", "--net_name", "n").status == 0
    first = nntc(
        "net.onnx", "--data", "x.npz", "--save_statistics", "s.bin", "--umodel", "net.umodel"
    )
    assert first.status == 0
    assert not (folder / "net_int8.bmodel").exists()
    second = nntc("net.umodel", "-o", "two.bmodel", "--net_name", "n", command="compile")
    assert second.status == 0
    one = (folder / "one.bmodel").read_bytes()
    assert (folder / "two.bmodel").read_bytes() == one
    third = ("--statistics", "s.bin", "-o", "three.bmodel", "--umodel", "three.umodel")
    assert nntc("net.onnx", "--data", "x.npz", *third, "--net_name", "n").status == 0
    assert (folder / "three.bmodel").read_bytes() == one
    assert (folder / "three.umodel").read_bytes() == (folder / "net.umodel").read_bytes()
    # And again, as a library.
    result = api.quantize("net.onnx", "x.npz", "four.bmodel", options=_defaults(), net_name="n")
    assert (folder / "four.bmodel").read_bytes() == one
    assert result.statistics.samples == 6


def _defaults():  # type: ignore[no-untyped-def]
    """The options of the command without arguments."""
    from nntc.cli import quantize
    from nntc.cli.main import build_parser

    return quantize.options(build_parser().parse_args(["quantize", "net.onnx", "--data", "x.npz"]))


def test_the_bmodel_computes_the_network(nntc: Nntc, folder: Path) -> None:
    ran = nntc("net.onnx", "--data", "x.npz")
    assert ran.status == 0
    assert ran.err == ""
    assert "6 used, 0 skipped" in ran.out
    x = _samples(1)
    graph = api.load("net.onnx")
    from nntc.ir import interpret

    wanted = interpret.run(graph, {"x": x})["out"]
    engine = Engine(str(folder / "net_int8.bmodel"))
    got = engine({"x": x})["out"]
    assert got.shape == wanted.shape
    noise = float(((got - wanted) ** 2).sum() / (wanted**2).sum())
    assert noise < 1e-3
    assert [n.name for n in bmodel.read(folder / "net_int8.bmodel").nets] == ["net"]


def test_batch(nntc: Nntc, folder: Path) -> None:
    args = ("net.onnx", "--data", "x.npz", "--net_name", "n", "--batch", 4)
    assert nntc(*args, "-o", "four.bmodel", "--umodel", "four.umodel").status == 0
    assert nntc("four.umodel", "-o", "b.bmodel", "--net_name", "n", command="compile").status == 0
    assert (folder / "b.bmodel").read_bytes() == (folder / "four.bmodel").read_bytes()
    assert nntc("net.onnx", "--data", "x.npz", "-o", "one.bmodel").status == 0
    x = _samples(4)
    four = Engine(str(folder / "four.bmodel"))({"x": x})["out"]
    one = Engine(str(folder / "one.bmodel"))
    alone = np.concatenate([one({"x": x[i : i + 1]})["out"] for i in range(4)])
    np.testing.assert_array_equal(four, alone)


# -- data -----------------------------------------------------------------------------------------


def _pictures(folder: Path, good: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(4)
    for index in range(good):
        pixels = rng.integers(0, 256, (14, 14, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"good{index}.png")


STEPS = "resize=12x10,div=128,order=rgb,layout=nchw"


def test_corrupt_pictures_are_named_counted_and_skipped(nntc: Nntc, folder: Path) -> None:
    _pictures(folder / "p", 4)
    data = (folder / "p" / "good0.png").read_bytes()
    (folder / "p" / "cut.png").write_bytes(data[: len(data) // 2])
    (folder / "p" / "empty.jpg").write_bytes(b"")
    (folder / "p" / "text.jpg").write_bytes(b"no picture at all" * 9)
    ran = nntc("net.onnx", "--data", "p", "--preprocess", STEPS, "-o", "out.bmodel")
    assert ran.status == 0
    shown = ran.out + ran.err
    for name in ("cut.png", "empty.jpg", "text.jpg"):
        (line,) = [text for text in shown.splitlines() if name in text]
        assert "skipped" in line
    assert "4 used, 3 skipped" in shown
    # The good ones alone give the same.
    for name in ("cut.png", "empty.jpg", "text.jpg"):
        (folder / "p" / name).unlink()
    assert nntc("net.onnx", "--data", "p", "--preprocess", STEPS, "-o", "o.bmodel").status == 0
    assert "skipped: " not in shown.splitlines()[-1]


def test_only_corrupt_pictures(nntc: Nntc, folder: Path) -> None:
    (folder / "p").mkdir()
    for index in range(3):
        (folder / "p" / f"{index}.png").write_bytes(b"nothing")
    refused(
        nntc("net.onnx", "--data", "p", "--preprocess", STEPS, "-o", "out.bmodel"),
        "not one of 3 samples",
    )
    assert not (folder / "out.bmodel").exists()


def _wrong_shape(folder: Path) -> None:
    save_npz("bad.npz", {"x": np.zeros((3, 3, 12, 11), np.float32)})


def _wrong_names(folder: Path) -> None:
    save_npz("bad.npz", {name: np.zeros((3, 3, 12, 10), np.float32) for name in ("p", "q")})


def _nan(folder: Path) -> None:
    array = _samples(4)
    array[2, 1, 0, 0] = np.nan
    save_npz("bad.npz", {"x": array})


def _no_samples(folder: Path) -> None:
    save_npz("bad.npz", {"x": np.zeros((0, *SHAPE[1:]), np.float32)})


def _no_npz(folder: Path) -> None:
    Path("bad.npz").write_bytes(b"PK but nothing else")


def _cut_npz(folder: Path) -> None:
    data = Path("x.npz").read_bytes()
    Path("bad.npz").write_bytes(data[: len(data) // 2])


def _text(folder: Path) -> None:
    save_npz("bad.npz", {"x": np.full((3, *SHAPE[1:]), "a")})


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (_wrong_shape, "x"),
        (_wrong_names, "x"),
        (_nan, "NaN"),
        (_no_samples, "bad.npz"),
        (_no_npz, "bad.npz"),
        (_cut_npz, "bad.npz"),
    ],
)
def test_bad_arrays(nntc: Nntc, folder: Path, make: Callable[[Path], None], text: str) -> None:
    make(folder)
    before = sorted(folder.iterdir())
    args = ("-o", "out.bmodel", "--umodel", "out.umodel", "--save_statistics", "s.bin")
    refused(nntc("net.onnx", "--data", "bad.npz", *args), text)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--data", "empty"), "empty"),
        (("--data", "missing.npz"), "missing.npz"),
        (("--data", "x.npz", "--limit", "-1"), "negative"),
        (("--data", "x.npz", "--samples", "0"), "at least 1"),
        (("--data", "x.npz", "--samples", "-4"), "at least 1"),
        (("--data", "x.npz", "--method", "MINMAX"), "MINMAX"),
        (("--data", "x.npz", "--float_layers", "stam,nothing"), "stam"),
        (("--data", "x.npz", "--statistics", "other.bin"), "other.bin"),
        (("--data", "x.npz", "--statistics", "x.npz"), "x.npz"),
        (("--data", "x.npz", "--statistics", "none.bin"), "none.bin"),
        (("--data", "x.npz", "-o", "no/where.bmodel"), "no does not exist"),
        (("--data", "x.npz", "--umodel", "no/where.umodel"), "no does not exist"),
        (("--data", "x.npz", "--save_statistics", "empty"), "is a folder"),
        (("--data", "x.npz", "--resume", "no/state"), "no"),
        (("--data", "x.npz", "--preprocess", "resize=3"), "x.npz"),
        (("--data", "x.npz", "--batch", "-2"), "batch"),
    ],
)
def test_refusals(nntc: Nntc, folder: Path, args: tuple[str, ...], text: str) -> None:
    (folder / "empty").mkdir()
    if "other.bin" in args:
        onnx.save(model(other=True), "other.onnx")
        made = nntc(
            "other.onnx", "--data", "x.npz", "--save_statistics", "s.bin", "--umodel", "o.umodel"
        )
        assert made.status == 0
        graph = api.load("other.onnx")
        graph.nodes[0].output.name = "another"
        from nntc import quant
        from nntc.data import open_dataset

        shapes = {v.name: v.shape for v in graph.inputs}
        quant.calibrate(graph, open_dataset("x.npz", shapes)).save("other.bin")
    before = {p.name for p in folder.rglob("*")}
    output = () if "-o" in args else ("-o", "out.bmodel")
    refused(nntc("net.onnx", *args, *output), text)
    assert {p.name for p in folder.rglob("*")} == before


def test_limit(nntc: Nntc, folder: Path) -> None:
    assert "6 used" in nntc("net.onnx", "--data", "x.npz", "--limit", 0).out
    assert "2 used" in nntc("net.onnx", "--data", "x.npz", "--limit", 2).out
    assert "6 used" in nntc("net.onnx", "--data", "x.npz", "--limit", 100).out


def test_a_model_that_is_quantised_already(nntc: Nntc, folder: Path) -> None:
    assert nntc("net.onnx", "--data", "x.npz", "--umodel", "q.umodel").status == 0
    refused(nntc("q.umodel", "--data", "x.npz"), "quantised already")


def test_an_older_result_survives_a_failure(nntc: Nntc, folder: Path) -> None:
    for name in ("out.bmodel", "out.umodel", "s.bin"):
        (folder / name).write_bytes(b"older")
    _nan(folder)
    files = ("-o", "out.bmodel", "--umodel", "out.umodel", "--save_statistics", "s.bin")
    refused(nntc("net.onnx", "--data", "bad.npz", *files), "NaN")
    for name in ("out.bmodel", "out.umodel", "s.bin"):
        assert (folder / name).read_bytes() == b"older"


def test_unknown_layers_are_refused_before_the_work(
    nntc: Nntc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calibration takes minutes; names are checked in no time."""
    monkeypatch.setattr(api, "calibrate", lambda *args, **options: pytest.fail("calibrates"))
    refused(nntc("net.onnx", "--data", "x.npz", "--float_layers", "stam"), "is stem meant")
    refused(nntc("net.onnx", "--data", "x.npz", "--method", "MINMAX"), "MINMAX")


def test_integers_at_the_borders(nntc: Nntc, folder: Path) -> None:
    ran = nntc("net.onnx", "--data", "x.npz", "--int8_inputs", "--int8-outputs", "-o", "i.bmodel")
    assert ran.status == 0
    stage = bmodel.read(folder / "i.bmodel").nets[0].stages[0]
    assert stage.inputs[0].dtype.numpy.itemsize == 1
    assert stage.outputs[0].dtype.numpy.itemsize == 1
    assert stage.inputs[0].scale != 1.0


@pytest.mark.parametrize("name", ["depth", "z", "depth (Conv)"])
def test_layers_are_called_as_in_the_model(nntc: Nntc, name: str) -> None:
    ran = nntc("net.onnx", "--data", "x.npz", "--float-layers", name)
    assert ran.status == 0
    # The sigmoid behind it needs no integers either.
    assert "2 of them in fp32" in ran.out
