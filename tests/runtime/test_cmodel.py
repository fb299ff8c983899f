"""The chip maker's C-model and runtime as devices."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from nntc.bmodel import BModel
from nntc.core.errors import DeviceError, UserError
from nntc.runtime import Engine, open_device
from nntc.runtime.cmodel.libs import Libraries
from nntc.runtime.cmodel.process import Worker
from nntc.runtime.selftest import SHAPE, add_model, assemble, try_device

DEVICES = [
    ("cmodel", {}),
    ("cmodel-commands", {}),
    ("cmodel-commands", {"order": "tiu", "relocate": True}),
]
each_device = pytest.mark.parametrize(("name", "options"), DEVICES)


def sums(engine: Engine, shape: Sequence[int]) -> bool:
    generator = np.random.default_rng(7)
    a, b = (generator.standard_normal(tuple(shape)).astype(np.float32) for _ in range(2))
    return np.array_equal(engine(a=a, b=b)["sum"], a + b)


@pytest.mark.cmodel
@each_device
def test_a_sum(cmodel_libs: Path, name: str, options: dict[str, object]) -> None:
    try_device(open_device(name, libs=cmodel_libs, timeout=60, **options))


@pytest.mark.cmodel
@each_device
def test_stages_and_repeated_launches(
    cmodel_libs: Path, name: str, options: dict[str, object]
) -> None:
    shapes = [(1, 3, 4, 5), (2, 64, 1, 7)]
    with Engine(add_model(*shapes), name, libs=cmodel_libs, timeout=60, **options) as engine:
        for shape in shapes * 2:
            assert sums(engine, shape)


def broken(commands: str) -> BModel:
    model = add_model()
    model.nets[0].stages[0].subnets[0].groups = [assemble(commands)]
    return model


WAIT_FOR_EACH_OTHER = """
    copy.s2l #1 <t1 dst=L0:0x0[1,3,4,5](32,32,5,1) src=@0x105100000[1,3,4,5](60,20,5,1)
    scalar.add #1 <g1 res0=L0:0x2000[1,3,4,5] opd0=L0:0x0 opd1=L0:0x1000
"""


@pytest.mark.cmodel
@pytest.mark.parametrize(
    ("name", "message"),
    [("cmodel", "did not answer within 3 s"), ("cmodel-commands", "wait for each other at")],
)
def test_commands_that_wait_for_each_other(cmodel_libs: Path, name: str, message: str) -> None:
    engine = Engine(broken(WAIT_FOR_EACH_OTHER), name, libs=cmodel_libs, timeout=3)
    started = time.monotonic()
    with pytest.raises(DeviceError, match=message):
        sums(engine, SHAPE)
    assert time.monotonic() - started < 20


@pytest.mark.cmodel
@pytest.mark.parametrize("name", ["cmodel", "cmodel-commands"])
def test_a_command_that_ends_the_library(cmodel_libs: Path, name: str) -> None:
    engine = Engine(broken("gdma.raw #1 direction=3"), name, libs=cmodel_libs, timeout=30)
    with pytest.raises(DeviceError, match=r"ended with status .*printed: ASSERT"):
        sums(engine, SHAPE)


def test_without_libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NNTC_CMODEL_LIBS", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(DeviceError, match="name their folder with --libs or NNTC_CMODEL_LIBS"):
        open_device("cmodel")
    with pytest.raises(DeviceError, match="no such folder"):
        open_device("cmodel", libs=tmp_path / "nowhere")
    with pytest.raises(DeviceError, match=r"libcmodel_bm1684\.so and libbmlib\.so and libbmrt"):
        open_device("cmodel", libs=tmp_path)
    monkeypatch.setenv("NNTC_CMODEL_LIBS", str(tmp_path))
    with pytest.raises(DeviceError, match=r"libcmodel_bm1684\.so missing"):
        open_device("cmodel-commands")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(DeviceError, match="x86-64 Linux only"):
        open_device("cmodel")


def test_options(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="order 'random' is unknown"):
        open_device("cmodel-commands", libs=tmp_path, order="random")


@pytest.mark.skipif(sys.platform != "linux", reason="the worker is for Linux")
def test_the_worker_reports_a_library_that_is_none(tmp_path: Path) -> None:
    fake = tmp_path / "libcmodel_bm1684.so"
    fake.write_bytes(b"not a library")
    worker = Worker(Libraries(tmp_path, fake, None, None), timeout=30)
    try:
        with pytest.raises(DeviceError, match=r"chip: OSError: .*(ELF|short)"):
            worker.request("chip", cmodel=str(fake), size=1 << 20, ctx_addr=0)
        with pytest.raises(DeviceError, match="AttributeError"):
            worker.request("no_such_request")
    finally:
        worker.close()
    with pytest.raises(DeviceError, match="has ended"):
        worker.request("run")
