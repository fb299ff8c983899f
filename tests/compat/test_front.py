"""The compilers of the frameworks, and XX_to_umodel: as scripts call them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nntc import api, bmodel
from nntc.compat import bmneto, bmnetu, calibration_use_pb, to_umodel
from nntc.compat.front import FRONT_ENDS, descriptions
from nntc.core.errors import UserError
from nntc.ir import prototxt
from nntc.quant import QuantizeOptions
from tests.compat.nets import classifier, lmdb, npy


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    classifier(tmp_path / "tiny.onnx")
    lmdb(tmp_path / "db")
    npy(tmp_path / "samples.npy")
    return tmp_path


def files(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def test_compile() -> None:
    argv = ["--model=tiny.onnx", "--shapes", "[1,", "3,12,12]", "--net_name", "n", "-opt=1"]
    assert bmneto.main([*argv, "--target=BM1684", "--cmp", "true"]) == 0
    assert files("compilation") == {
        *("compilation.bmodel", "input_ref_data.dat", "output_ref_data.dat", "io_info.dat")
    }
    made = Path("compilation/compilation.bmodel")
    assert bmodel.read(made).nets[0].name == "n"
    api.compile("tiny.onnx", "one.bmodel", net_name="n", opt=1)
    assert made.read_bytes() == Path("one.bmodel").read_bytes()
    bmneto.compile(
        model="tiny.onnx",
        outdir="python",
        target="BM1684",
        shapes=[[1, 3, 12, 12]],
        net_name="n",
        opt=1,
        dyn=False,
        cmp=False,
        descs=[[0, "fp32", -1, 1]],
    )
    assert files("python") == {"compilation.bmodel"}
    assert Path("python/compilation.bmodel").read_bytes() == made.read_bytes()


def test_random_numbers_as_described() -> None:
    argv = ["--model=tiny.onnx", "--outdir=o", "--descs", "[0, fp32, 5, 6]"]
    assert bmneto.main(argv) == 0
    x = np.fromfile("o/input_ref_data.dat", np.float32)
    assert x.size == 432
    assert (x >= 5).all()
    assert (x < 6).all()


def test_descriptions() -> None:
    wanted = [(0, "int64", 0.0, 128.0), (1, "fp32", -1.0, 1.0)]
    for value in (
        "[0,int64,0,128],[1,fp32,-1,1]",
        "[[0, 'int64', 0, 128], [1, 'fp32', -1, 1.0]]",
        [[0, "int64", 0, 128], [1, "fp32", -1, 1]],
    ):
        assert descriptions(value) == wanted
    for value in ("[0,int64]", "x", "[0,int64,a,b]", "[0,int64,0,1] and more"):
        with pytest.raises(ValueError):
            descriptions(value)


def test_from_the_model_to_int8_step_by_step() -> None:
    """GenUmodel, calibration and bmnetu equal the one command, byte for byte."""
    argv = ["-m", "tiny.onnx", "-s", "(1,3,12,12)", "-d", "steps", "-D", "db", "--cmp"]
    assert to_umodel.on_to_umodel(argv) == 0
    text = "steps/tiny_bmneto_test_fp32.prototxt"
    weights = "steps/tiny_bmneto.fp32umodel"
    assert prototxt.load(text).feeds[0].batch_size == 0
    assert calibration_use_pb.main(["quantize", f"-model={text}", f"-weights={weights}"]) == 0
    deploy = "steps/tiny_bmneto_deploy_int8_unique_top.prototxt"
    int8 = "steps/tiny_bmneto.int8umodel"
    assert bmnetu.main(["-model", deploy, "-weight", int8, "-prec=INT8", "-outdir=out"]) == 0
    options = QuantizeOptions(int8_inputs=True, int8_outputs=True)
    api.quantize("tiny.onnx", "samples.npy", "one.bmodel", options=options)
    assert Path("out/compilation.bmodel").read_bytes() == Path("one.bmodel").read_bytes()


def test_gen_umodel_then_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--mode", "GenUmodel", "--model=tiny.onnx", "--outdir=u", "--net_name=mine"]
    assert bmneto.main(argv) == 0
    assert files("u") == {"mine_bmneto_test_fp32.prototxt", "mine_bmneto.fp32umodel"}
    network = prototxt.load("u/mine_bmneto.fp32umodel")
    assert (network.graph.name, network.model_type) == ("mine", "BMNETO2UModel")
    assert network.feeds == []
    assert to_umodel.to_umodel(["-u", "u/mine_bmneto.fp32umodel", "-D", "db", "-T"]) == 0
    assert 'type: "Data"' in capsys.readouterr().out
    assert len(prototxt.load("u/mine_bmneto.fp32umodel").feeds) == 1


def test_called_from_python_with_a_list() -> None:
    assert to_umodel.on_to_umodel(["-m", "tiny.onnx", "-n", "x", "-d", "d"]) == 0
    assert files("d") == {"x_bmneto_test_fp32.prototxt", "x_bmneto.fp32umodel"}


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert bmneto.main(["--list_ops"]) == 0
    assert "Conv" in capsys.readouterr().out.splitlines()
    assert bmneto.main(["--show_args", "--model=x"]) == 0
    assert "usage: bmneto" in capsys.readouterr().out


def test_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, message in (
        (["--model=none.onnx"], "none.onnx"),
        (["--model=tiny.onnx", "--target=BM1686"], "only the BM1684 is supported"),
        (["--model=tiny.onnx", "--opt=7"], "opt is 7; 0, 1 and 2 are possible"),
        (["--shapes=[1]"], "--model must be given"),
    ):
        assert bmneto.main([*argv, "--outdir=o"]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(UserError, match="too many arguments"):
        bmneto.compile("tiny.onnx", "o", "BM1684", 3)


@pytest.mark.parametrize("tool", FRONT_ENDS)
def test_every_compiler_has_help(tool: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert FRONT_ENDS[tool].main(["--help"]) == 0
    out = capsys.readouterr().out
    assert f"usage: {tool}" in out
    assert out.count("  --mode ") == 1
