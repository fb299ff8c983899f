"""The command line end to end: what it prints, where, and its exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nntc.bmodel import write
from nntc.runtime.arrays import save_npz
from nntc.runtime.selftest import SHAPE, add_model

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def nntc(tmp_path: Path) -> Run:
    """Runs the command in an empty folder."""

    def run(*args: object, **options: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONWARNINGS": "error::ResourceWarning"}
        environment.pop("NNTC_DEBUG", None)
        environment.pop("NNTC_CMODEL_LIBS", None)
        environment.update(options.pop("env", {}))  # type: ignore[call-overload]
        return subprocess.run(
            [sys.executable, "-m", "nntc", *map(str, args)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            **options,  # type: ignore[call-overload]
        )

    return run


@pytest.fixture
def bmodel(tmp_path: Path) -> Path:
    path = tmp_path / "add.bmodel"
    write(add_model(), path)
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(5)
    arrays = {name: generator.standard_normal(SHAPE).astype(np.float32) for name in "ab"}
    save_npz(tmp_path / "in.npz", arrays)
    return arrays


def conv_model(weight: np.ndarray | None = None, shape: object = (1, 3, "h", 8)) -> onnx.ModelProto:
    """y = relu(conv(x)), with an open height."""
    if weight is None:
        weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"], name="relu1"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def problem(result: subprocess.CompletedProcess[str], *texts: str) -> None:
    """The command failed as a user error with exactly these problems, one line each."""
    lines = result.stderr.splitlines()
    assert result.returncode == 2, result.stderr
    assert len(lines) == len(texts), result.stderr
    for line, text in zip(lines, texts, strict=True):
        assert line.startswith("error: ")
        assert text in line


# -- help ---------------------------------------------------------------------------------------


def test_help_is_quick_and_teaches(nntc: Run) -> None:
    nntc("--help")
    started = time.perf_counter()
    result = nntc("--help")
    assert time.perf_counter() - started < 1.5  # 0.1 s on an idle machine
    assert result.returncode == 0
    assert "nntc compile model.onnx -o model.bmodel" in result.stdout
    assert result.stderr == ""
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "nntc", "compile", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for heavy in ("numpy", "numba", "onnx", "rich"):
        assert f" {heavy}\n" not in loaded.stderr


@pytest.mark.parametrize(
    "command", ["compile", "run", "check", "info", "disasm", "view", "compare", "doctor"]
)
def test_every_command_explains_itself(nntc: Run, command: str) -> None:
    result = nntc(command, "--help")
    assert result.returncode == 0
    assert f"nntc {command}" in result.stdout
    assert "examples:" in result.stdout


def test_wrong_command_lines(nntc: Run) -> None:
    problem(nntc("explode"), "invalid choice: 'explode'")
    problem(nntc("run"), "MODEL.bmodel")
    problem(nntc("run", "x.bmodel"), "--input --random")
    problem(nntc("compile", "x.onnx", "--opt", "9"), "invalid choice: 9")
    problem(nntc("compile", "x.onnx", "--frobnicate"), "--frobnicate")
    assert nntc().returncode == 2
    assert nntc("--version").stdout.startswith("nntc ")


# -- run, info, disasm --------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_run(
    nntc: Run, bmodel: Path, inputs: dict[str, np.ndarray], tmp_path: Path, engine: str
) -> None:
    result = nntc("run", bmodel, "--input", "in.npz", "--output", "out.npz", "--engine", engine)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    found = np.load(tmp_path / "out.npz")
    assert list(found) == ["sum"]
    np.testing.assert_array_equal(found["sum"], inputs["a"] + inputs["b"])


def test_run_prints_a_table(nntc: Run, bmodel: Path, inputs: dict[str, np.ndarray]) -> None:
    result = nntc("run", bmodel, "--input", "in.npz")
    assert result.returncode == 0
    assert result.stdout.splitlines()[2].split()[:3] == ["sum", "1x3x4x5", "float32"]
    total = (inputs["a"] + inputs["b"]).ravel()
    assert f"{total.argmax()}:{total.max():.4g}" in result.stdout
    first = nntc("run", bmodel, "--random", "4").stdout
    assert first == nntc("run", bmodel, "--random", "4").stdout


def test_run_refuses(nntc: Run, bmodel: Path, tmp_path: Path) -> None:
    save_npz(tmp_path / "in.npz", {"a": np.zeros((2, 3)), "c": np.zeros(3)})
    problem(
        nntc("run", bmodel, "--input", "in.npz", "--output", "out.npz"),
        "no input is called c",
        "input b: float32 [1, 3, 4, 5] is missing",
        "input a has the shape [2, 3], expected [1, 3, 4, 5]",
    )
    problem(nntc("run", bmodel, "--input", "none.npz"), "none.npz: cannot be read: No such file")
    problem(nntc("run", bmodel, "--input", bmodel), "neither an .npz nor an .npy")
    problem(nntc("run", "none.bmodel", "--random", 0), "none.bmodel: cannot be read")
    problem(nntc("run", bmodel, "--random", 0, "--net", "x"), "no net is called x; there are add")
    problem(nntc("run", bmodel, "--random", 0, "--output", "no/x.npz"), "no/x.npz: cannot be writ")
    problem(nntc("run", bmodel, "--random", 0, "--device", "cmodel"), "NNTC_CMODEL_LIBS")
    assert sorted(os.listdir(tmp_path)) == ["add.bmodel", "in.npz"]


def test_damaged_bmodels(nntc: Run, bmodel: Path) -> None:
    whole = bmodel.read_bytes()
    for content in (b"", whole[:70], whole[: len(whole) // 2], b"\x00" * 500):
        bmodel.write_bytes(content)
        for command in (("info",), ("disasm",), ("run", "--random", "0")):
            problem(nntc(command[0], bmodel, *command[1:]), "add.bmodel")


def test_info_and_disasm(nntc: Run, bmodel: Path, tmp_path: Path) -> None:
    text = nntc("info", bmodel).stdout
    assert "net 0: [add]  static" in text
    assert "input: a, [1, 3, 4, 5], float32, scale: 1" in text
    listing = nntc("disasm", bmodel).stdout
    assert "scalar.add #1 <g2" in listing
    assert nntc("disasm", bmodel, "-o", "add.asm").stdout == ""
    assert (tmp_path / "add.asm").read_text(encoding="utf-8") == listing


def test_a_reader_that_goes_away_is_no_error(nntc: Run, bmodel: Path) -> None:
    result = subprocess.run(
        f"{sys.executable} -m nntc disasm {bmodel} | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout.startswith("; BM1684")
    assert result.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk(nntc: Run, bmodel: Path) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "nntc", "info", str(bmodel)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (result.returncode, result.stderr) == (2, "error: No space left on device\n")


# -- compile, check, view -----------------------------------------------------------------------


def test_compile_and_run_agree_with_onnx(nntc: Run, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx.save(conv_model(), tmp_path / "m.onnx")
    result = nntc("compile", "m.onnx", "--shapes", "[1, 3, 8, 8]", "-o", "m.bmodel")
    assert result.returncode == 0, result.stderr
    assert "TIU instructions" in result.stdout
    assert "estimated time" in result.stdout
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    save_npz(tmp_path / "in.npz", {"x": x})
    assert nntc("run", "m.bmodel", "--input", "in.npz", "--output", "out.npz").returncode == 0
    (expected,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"x": x})
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["y"], expected, atol=1e-5)


def test_compile_compares(nntc: Run, tmp_path: Path) -> None:
    onnx.save(conv_model(), tmp_path / "m.onnx")
    result = nntc("compile", "m.onnx", "--shapes", "x=1x3x8x8", "--cmp", "--net_name", "n")
    assert result.returncode == 0, result.stderr
    assert "outputs against the graph in NumPy" in result.stdout
    assert result.stdout.endswith("comparison: equal\n")
    assert "net 0: [n]" in nntc("info", "m.bmodel").stdout


def test_compile_refuses(nntc: Run, tmp_path: Path) -> None:
    onnx.save(conv_model(), tmp_path / "m.onnx")
    before = sorted(os.listdir(tmp_path))
    problem(nntc("compile", "none.onnx"), "none.onnx: cannot be read")
    problem(nntc("compile", "m.xyz"), "m.xyz: unknown kind of model '.xyz'")
    problem(nntc("compile", "m.onnx", "--shapes", "[1,2"), "--shapes [1,2")
    problem(nntc("compile", "m.onnx", "--shapes", "q=1x3x8x8"), "'q'", "'x'")
    problem(nntc("compile", "m.onnx", "--output_names", "zz"), "zz")
    problem(nntc("compile", "m.onnx", "-o", "no/m.bmodel"), "the folder no does not exist")
    problem(nntc("compile", "m.onnx", "-o", "."), "is a folder")
    problem(nntc("compile", "m.onnx", "--input", "x.npz"), "--input is used only together")
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07garbage")
    problem(nntc("compile", "bad.onnx"), "bad.onnx")
    (tmp_path / "bad.onnx").unlink()
    assert sorted(os.listdir(tmp_path)) == before


def test_weights_that_are_not_numbers_are_refused(nntc: Run, tmp_path: Path) -> None:
    weight = np.zeros((4, 3, 3, 3), np.float32)
    weight[1, 1] = np.nan
    onnx.save(conv_model(weight, (1, 3, 8, 8)), tmp_path / "m.onnx")
    problem(nntc("compile", "m.onnx"), "tensor 'w' holds NaN in 9 of 108 elements")
    assert sorted(os.listdir(tmp_path)) == ["m.onnx"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_no_write_permission(nntc: Run, tmp_path: Path) -> None:
    onnx.save(conv_model(shape=(1, 3, 8, 8)), tmp_path / "m.onnx")
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    problem(nntc("compile", "m.onnx", "-o", "locked/m.bmodel"), "no permission")


def test_check_and_view(nntc: Run, tmp_path: Path) -> None:
    onnx.save(conv_model(), tmp_path / "m<b>.onnx")
    result = nntc("check", "m<b>.onnx", "--shapes", "[1,3,8,8]", "--all")
    assert result.returncode == 0, result.stderr
    assert "conv1" in result.stdout
    assert nntc("view", "m<b>.onnx", "--shapes", "[1,3,8,8]", "-o", "m.html").returncode == 0
    page = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "conv1" in page
    assert "@" not in page.split("<style>")[0]


# -- doctor, faults, interruption ---------------------------------------------------------------


def test_doctor(nntc: Run, tmp_path: Path) -> None:
    result = nntc("doctor")
    assert result.returncode == 0, result.stdout
    assert "simulator (fast)" in result.stdout
    assert "a small net is right" in result.stdout
    broken = nntc("doctor", "--libs", tmp_path)
    assert broken.returncode == 2
    assert "FAILED" in broken.stdout


def test_a_fault_is_one_line(nntc: Run, bmodel: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import nntc.bmodel\n"
        "def broken(path):\n"
        "    raise KeyError('two\\nlines')\n"
        "nntc.bmodel.read = broken\n"
    )
    path = {"PYTHONPATH": str(tmp_path)}
    result = nntc("info", bmodel, env=path)
    assert result.returncode == 1
    assert result.stderr.startswith("internal error: KeyError: ")
    assert len(result.stderr.splitlines()) == 1
    assert "NNTC_DEBUG=1" in result.stderr
    result = nntc("info", bmodel, env={**path, "NNTC_DEBUG": "1"})
    assert "Traceback" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_interruption_is_clean(bmodel: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.bmodel")
    process = subprocess.Popen(
        [sys.executable, "-m", "nntc", "info", "pipe.bmodel"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    with (tmp_path / "pipe.bmodel").open("wb"):  # opens when the command reads
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (130, "interrupted\n")
