"""Calibration: what is counted, bad data, stopping and going on."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nntc.core.dtype import DType
from nntc.core.errors import UserError
from nntc.data import open_dataset
from nntc.ir import interpret, ops
from nntc.ir.graph import Graph
from nntc.quant import Statistics, calibrate
from nntc.quant.calibrate import chosen_positions
from tests.conftest import ROOT
from tests.quant.nets import Noise, small_net


def content(statistics: Statistics, folder: Path) -> bytes:
    path = folder / "content.stat"
    statistics.save(path)
    return path.read_bytes()


def test_counts_every_float_value() -> None:
    graph, data = small_net(), Noise(4)
    statistics = calibrate(graph, data)
    assert set(statistics.values) == {"x", "conv", "relu", "last", "out"}
    assert statistics.samples == 4
    results = [{**sample, **interpret.run(graph, sample, values=True)} for sample in data]
    for name, value in statistics.values.items():
        arrays = np.stack([result[name] for result in results])
        assert value.histogram.counts.sum() == arrays.size
        assert (value.minimum, value.maximum) == (arrays.min(), arrays.max())
        np.testing.assert_array_equal(value.channel_maximum, arrays.max(axis=(0, 1, 3, 4)))
        assert value.histogram.zeros == np.count_nonzero(arrays == 0)


def test_only_the_values_asked_for(tmp_path: Path) -> None:
    graph = small_net()
    few = calibrate(graph, Noise(3), values=["relu"])
    assert list(few.values) == ["relu"]
    whole = calibrate(graph, Noise(3))
    whole.values = {"relu": whole.values["relu"]}
    assert content(few, tmp_path) == content(whole, tmp_path)
    assert len(graph.nodes) == 5


def test_unknown_values() -> None:
    with pytest.raises(UserError) as caught:
        calibrate(small_net(), Noise(1), values=["relu", "w", "above", "nothing"])
    assert [p.split(":")[0] for p in caught.value.problems] == [
        "value above", "value nothing", "value w",
    ]  # fmt: skip


def test_limit_spreads_over_the_dataset() -> None:
    data = Noise(10)
    assert calibrate(small_net(), data, limit=4).samples == 4
    assert data.read == [0, 2, 5, 7]
    assert chosen_positions(3, 5) == [0, 1, 2]


def test_unreadable_samples_are_passed_over(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    statistics = calibrate(
        small_net(), Noise(5, broken=(0, 3)), progress=lambda *call: calls.append(call)
    )
    assert statistics.samples == 3
    assert calls == [("calibrate", i, 5) for i in range(6)]


@pytest.mark.parametrize(
    ("data", "limit", "message"),
    [
        (Noise(0), 0, "the dataset is empty"),
        (Noise(2, broken=(0, 1)), 0, "not one of 2 samples can be read"),
        (Noise(2), -1, "cannot be negative"),
    ],
)
def test_no_samples(data: Noise, limit: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        calibrate(small_net(), data, limit=limit)


class Changed(Noise):
    """One sample is changed."""

    def __init__(self, index: int, change) -> None:
        super().__init__(4)
        self.index, self.change = index, change

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        sample = super().__getitem__(index)
        return self.change(sample) if index == self.index else sample


def test_nan_names_the_sample_and_the_value() -> None:
    def poison(sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sample["x"][0, 1, 2, 3] = np.nan
        return sample

    with pytest.raises(UserError) as caught:
        calibrate(small_net(), Changed(2, poison))
    assert caught.value.problems == [
        "noise/2.png: input x: 1 of 432 numbers are NaN or infinite, the first is nan at "
        "[0, 1, 2, 3]"
    ]


def test_a_value_that_overflows_names_its_node() -> None:
    with pytest.raises(UserError) as caught:
        calibrate(small_net(), Changed(1, lambda s: {"x": np.full_like(s["x"], 3e38)}))
    (text,) = caught.value.problems
    assert text.startswith("noise/1.png: /net/Conv: value conv: ")
    assert "NaN or infinite" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"x": s["x"][:, :2]}, r"noise/1.png: input x: is float32 of shape \(1, 2"),
        (lambda s: {"y": s["x"]}, "noise/1.png: input y: the network has no such input"),
        (lambda s: {}, "noise/1.png: input x: is missing"),
    ],
)
def test_samples_of_another_network(change, message: str) -> None:
    with pytest.raises(UserError, match=message):
        calibrate(small_net(), Changed(1, change))


def test_all_samples_that_do_not_fit_are_named(tmp_path: Path) -> None:
    for i in range(5):
        x = np.zeros((3, 12, 12), np.float32)
        x[0, 0, i] = np.nan if i in (1, 4) else 1
        np.save(tmp_path / f"{i}.npy", x)
    data = open_dataset(tmp_path, {"x": (1, 3, 12, 12)})
    with pytest.raises(UserError) as caught:
        calibrate(small_net(), data)
    assert [text.split(":")[0].split("/")[-1] for text in caught.value.problems] == [
        "1.npy", "4.npy",
    ]  # fmt: skip


def test_values_are_freed_while_a_sample_runs() -> None:
    graph = Graph("long")
    value = graph.input("x", DType.F32, (1, 1, 500, 500))
    for _ in range(60):
        value = graph.add(ops.Unary("neg"), value).outputs[0]
    graph.outputs = [value]

    class Ones:
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> dict[str, np.ndarray]:
            return {"x": np.ones((1, 1, 500, 500), np.float32)}

    calibrate(graph, Ones())
    tracemalloc.start()
    try:
        statistics = calibrate(graph, Ones())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(statistics.values) == 61
    assert most < 20e6


def test_integer_inputs_are_fed_as_integers() -> None:
    graph = Graph("look-up")
    index = graph.input("index", DType.I64, (1, 3))
    table = graph.constant(np.arange(10, dtype=np.float32), "table")
    graph.outputs = graph.add(ops.Gather(0), table, index, name="y").outputs

    class Indices:
        def __len__(self) -> int:
            return 1

        def __getitem__(self, i: int) -> dict[str, np.ndarray]:
            return {"index": np.array([[1, 5, 9]], np.float32)}

    statistics = calibrate(graph, Indices())
    assert list(statistics.values) == ["y"]
    assert (statistics.values["y"].minimum, statistics.values["y"].maximum) == (1, 9)


def test_dead_and_constant_channels() -> None:
    graph = small_net()
    w = next(v for v in graph.constants() if v.name == "w")
    assert w.data is not None
    w.data[2] = 0
    value = calibrate(graph, Noise(2)).values["conv"]
    histogram = value.channel_histogram
    assert histogram is not None
    assert (value.channel_minimum[2], value.channel_maximum[2]) == (0, 0)
    assert histogram.zeros[2] == histogram.counts[2].sum() == 288


# -- stopping and going on -------------------------------------------------------------------


MODULE = importlib.import_module("nntc.quant.calibrate")


class StoppedError(Exception):
    """Thrown in the middle of a calibration."""


def stop_at(*places: int) -> Callable[[str, int, int], None]:
    """Progress that stops the calibration after so many samples."""

    def progress(stage: str, done: int, total: int) -> None:
        if done in places:
            raise StoppedError

    return progress


def test_goes_on_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(MODULE, "PARALLEL", 2)
    state = tmp_path / "state"
    for place in (3, 5, 8):
        with pytest.raises(StoppedError):
            calibrate(small_net(), Noise(9, broken=(2,)), resume=state, progress=stop_at(place))
    data = Noise(9, broken=(2,))
    statistics = calibrate(small_net(), data, resume=state)
    assert data.read == [8]
    assert content(statistics, tmp_path) == content(
        calibrate(small_net(), Noise(9, broken=(2,))), tmp_path
    )
    assert not state.exists()


@pytest.mark.parametrize("other", ["data", "values", "limit", "graph"])
def test_the_state_of_another_calibration(
    other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(MODULE, "PARALLEL", 2)
    state = tmp_path / "state"
    with pytest.raises(StoppedError):
        calibrate(small_net(), Noise(5), resume=state, progress=stop_at(2))
    graph, data, options = small_net(), Noise(5), {}
    if other == "data":
        data = Noise(5, digest="other")
    elif other == "graph":
        w = next(v for v in graph.constants() if v.name == "w")
        assert w.data is not None
        w.data[0] = 1
    else:
        options = {"values": ["relu"]} if other == "values" else {"limit": 4}
    with pytest.raises(UserError, match="is the state of a calibration of another network"):
        calibrate(graph, data, resume=state, **options)
    assert state.exists()


def test_a_state_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    data = Noise(3)
    with pytest.raises(UserError, match="cannot be written"):
        calibrate(small_net(), data, resume=tmp_path / "none" / "state")
    assert data.read == []


_KILLED = """
import importlib, sys, time
from nntc.quant import calibrate
from tests.quant.nets import Noise, small_net
importlib.import_module("nntc.quant.calibrate").SAVE_SECONDS = 0.0
def slow(stage, done, total):
    print(done, flush=True)
    time.sleep(0.02)
calibrate(small_net(), Noise(400), resume=sys.argv[1], progress=slow)
"""


def test_goes_on_after_a_kill(tmp_path: Path) -> None:
    state = tmp_path / "state"
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(state)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        deadline = time.monotonic() + 120
        for line in process.stdout:
            if int(line) >= 25:
                break
            assert time.monotonic() < deadline
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    data = Noise(400)
    statistics = calibrate(small_net(), data, resume=state)
    assert 0 < len(data.read) < 400
    assert content(statistics, tmp_path) == content(calibrate(small_net(), Noise(400)), tmp_path)
