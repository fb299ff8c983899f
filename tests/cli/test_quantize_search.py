"""``nntc quantize --search`` end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nntc.cli.main import main
from nntc.ir import umodel
from tests.report.test_search import SHAPE, network


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    umodel.save(network(), "m.umodel")
    array = np.random.default_rng(3).standard_normal((24, *SHAPE[1:])).astype(np.float32)
    np.savez("x.npz", x=array)
    return tmp_path


START = ["quantize", "m.umodel", "--data", "x.npz", "--samples", "8"]


def test_the_printed_options_give_the_same_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*START, "-o", "a.bmodel", "--search", "--max-drop", "0.001"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("layer "))
    assert lines[header + 2].split()[0] == "conv2"
    assert lines[header + 2].split()[-1] == "fp32"
    assert any(line.startswith("metric cosine on 6 held-out samples: fp32 1") for line in lines)
    assert any(line.startswith("trial 2, 1 layers in fp32: ") for line in lines)
    options = lines[lines.index("the same without a search:") + 1].split()
    assert main([*START, "-o", "b.bmodel", *options]) == 0
    assert Path("a.bmodel").read_bytes() == Path("b.bmodel").read_bytes()


def test_problems(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in (
        (["--search"], "--search needs --max_drop: how much of the metric may be lost"),
        (["--metric", "top1"], "--metric, --max_drop and --search_... are options of --search"),
        (["--search", "--max_drop", "nan"], "max_drop nan: 0 or a number above is needed"),
        (
            ["--search", "--max_drop", "0", "--search_trials", "1"],
            "search: cosine cannot be kept within a drop of 0 in 1 trials, which is",
        ),
    ):
        assert main([*START, "-o", "a.bmodel", *options]) == 2
        errors = capsys.readouterr().err.splitlines()
        assert len(errors) == 1
        assert message in errors[0]
        assert not Path("a.bmodel").exists()
