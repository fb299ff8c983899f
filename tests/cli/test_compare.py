"""``nntc compare`` end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nntc.cli.main import main
from nntc.ir import umodel
from nntc.runtime.arrays import save_npz
from tests.report.int8_graphs import float_graph, int8_graph, ranges, samples


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two UModels, the second with a bad layer, and samples."""
    monkeypatch.chdir(tmp_path)
    given = samples(5)
    umodel.save(float_graph(), "a.umodel")
    umodel.save(int8_graph(ranges(given), clipped=2), "b.umodel")
    save_npz("x.npz", {"x": np.concatenate([sample["x"] for sample in given])})
    save_npz("z.npz", {"z": np.zeros((5, 2), np.float32)})
    return tmp_path


def test_table_and_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", "a.umodel", "b.umodel", "--data", "x.npz", "--metric", "cosine"]
    assert main([*arguments, "--html", "r.html", "--top", "3", "--limit", "4"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert any(line.startswith("compare: ") for line in lines)  # progress
    header = next(i for i, line in enumerate(lines) if line.startswith("value "))
    assert lines[header + 2].startswith("relu2 ")
    assert "threshold too small" in lines[header + 2]
    assert lines[-2:] == ["... 3 more", "r.html"]
    assert "on 4 samples" in shown.out
    assert "metric cosine: 0." in shown.out
    page = (folder / "r.html").read_bytes()
    assert main([*arguments, "-q", "--html", "r.html", "--top", "3", "--limit", "4"]) == 0
    assert (folder / "r.html").read_bytes() == page
    assert "compare: " not in capsys.readouterr().out
    for sort, first in {"order": "x.fixed", "sqnr": "relu", "drop": "relu2"}.items():
        assert main([*arguments, "-q", "--sort", sort]) == 0
        rows = capsys.readouterr().out.split("---\n")[-1]
        assert rows.splitlines()[0].startswith(first)


def test_names_do_not_reach_the_terminal_as_they_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "\x1b[31mred"
    arrays = {name: np.ones((3, 4), np.float32)}
    save_npz("a.npz", arrays)
    save_npz("b.npz", {name: arrays[name] * np.float32(1.01)})
    assert main(["compare", "a.npz", "b.npz"]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.umodel", "none.umodel", "--data", "x.npz"], "none.umodel: cannot be read"),
        (["a.umodel", "b.umodel"], "give a dataset with --data"),
        (["a.umodel", "b.umodel", "--data", "y.npz"], "y.npz: there is no such file"),
        (["a.umodel", "b.umodel", "--data", "x.npz", "--limit", "-1"], "cannot be negative"),
        (["a.umodel", "b.umodel", "--data", "x.npz", "--top", "-1"], "--top -1"),
        (["a.umodel", "b.umodel", "--data", "x.npz", "--metric", "m"], "metric m: is unknown"),
        (["a.umodel", "b.umodel", "--data", "x.npz", "--html", "no/r.html"], "no does not exist"),
        (["a.umodel", "b.umodel", "--data", "x.npz", "--statistics", "x.npz"], "x.npz"),
        (["a.umodel", "z.npz", "--data", "x.npz"], "no value in common"),
    ],
)
def test_refusals(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = sorted(folder.iterdir())
    assert main(["compare", *arguments]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert message in errors[0]
    assert sorted(folder.iterdir()) == before
