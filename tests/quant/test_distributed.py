"""Calibration on a Dask cluster of processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nntc.core.errors import UserError
from nntc.data import open_dataset
from nntc.quant import calibrate
from nntc.quant import distributed as cluster
from tests.quant.nets import Noise, small_net


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a cluster of two processes on this machine."""
    dask = pytest.importorskip("distributed", reason="the extra [dask] is not installed")
    made = dask.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with made:
        yield made.scheduler_address


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Arrays, one of them cut short."""
    folder = tmp_path / "data"
    folder.mkdir()
    for i, sample in enumerate(Noise(13)):
        np.save(folder / f"{i:02}.npy", sample["x"])
    broken = folder / "05.npy"
    broken.write_bytes(broken.read_bytes()[:700])
    return folder


@pytest.mark.slow
def test_the_same_bits_as_one_process(scheduler: str, pictures: Path, tmp_path: Path) -> None:
    inputs = {"x": (1, 3, 12, 12)}
    alone, shared = open_dataset(pictures, inputs), open_dataset(pictures, inputs)
    calls: list[tuple[str, int, int]] = []
    for options in ({}, {"values": ["conv", "out"], "limit": 9}):
        calibrate(small_net(), alone, **options).save(tmp_path / "one")
        cluster.calibrate(
            small_net(), shared, scheduler, progress=lambda *call: calls.append(call), **options
        ).save(tmp_path / "other")
        assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert shared.skipped == alone.skipped != []
    assert calls[-1] == ("calibrate", 9, 9)


@pytest.mark.slow
def test_problems_of_all_chunks(scheduler: str, pictures: Path) -> None:
    for i in (2, 11):
        np.save(pictures / f"{i:02}.npy", np.full((1, 3, 12, 12), 3e38, np.float32))
    data = open_dataset(pictures, {"x": (1, 3, 12, 12)})
    with pytest.raises(UserError) as caught:
        cluster.calibrate(small_net(), data, scheduler)
    problems = caught.value.problems
    assert [("02.npy" in text, "11.npy" in text) for text in problems] == [
        (True, False), (False, True),
    ]  # fmt: skip
    assert all("value conv" in text for text in problems)


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="the extra [dask] is not installed")
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(UserError, match=r"tcp://127.0.0.1:9: no Dask scheduler answers"):
        cluster.calibrate(small_net(), Noise(2), "tcp://127.0.0.1:9")


def test_dask_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install 'nntc\[dask\]'"):
        cluster.calibrate(small_net(), Noise(2), "tcp://127.0.0.1:8786")


class Locked(Noise):
    """Cannot be sent anywhere."""

    def __reduce__(self) -> str:
        raise TypeError("cannot pickle a lock")


@pytest.mark.slow
def test_a_dataset_that_cannot_be_sent(scheduler: str) -> None:
    with pytest.raises(UserError, match="the dataset cannot be sent to the workers"):
        cluster.calibrate(small_net(), Locked(2), scheduler)


class Deadly(Noise):
    """Ends the process that reads it."""

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        os._exit(1)


@pytest.mark.slow
def test_workers_that_die(scheduler: str) -> None:
    with pytest.raises(UserError, match=r"a worker failed|lost all its workers"):
        cluster.calibrate(small_net(), Deadly(2), scheduler)
