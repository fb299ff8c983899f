"""Denormals: the processor's mode never leaks, and the portable variant gives the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from nntc import isa
from nntc.isa.chip import local_address
from nntc.sim import Memory, Program, Simulator
from nntc.sim.fast.native import flushing

TINY = np.float32(2.0**-130)


def keeps_denormals() -> bool:
    return bool((np.full(4, TINY) + np.float32(0) == TINY).all())


def test_denormals_flush_inside_only() -> None:
    assert keeps_denormals()
    with flushing():
        pass
    assert keeps_denormals()
    with pytest.raises(ZeroDivisionError), flushing():
        raise ZeroDivisionError
    assert keeps_denormals()


def test_a_run_leaves_the_process_as_it_was() -> None:
    memory = Memory()
    memory.local[0, :32].view(np.float32)[:] = TINY
    add = isa.form("ar.add.f32").make(
        res0_n=1, res0_c=1, res0_h=1, res0_w=8, opt_opd1_const=1, opd1_addr=0,
        res0_addr=local_address(64), opd0_addr=local_address(0),
    )  # fmt: skip
    Simulator(memory).run(Program([(add.with_sync(1, 0).encode(), b"")]))
    assert not memory.local[0, 64:96].any(), "a denormal operand counts as zero"
    assert keeps_denormals()
    elsewhere: list[bool] = []
    thread = threading.Thread(target=lambda: elsewhere.append(keeps_denormals()))
    thread.start()
    thread.join()
    assert elsewhere == [True]


@pytest.mark.slow
def test_explicit_flushing_gives_the_same_bits() -> None:
    """What processors other than x86-64 run, forced here; its kernels are compiled anew."""
    folder = Path(__file__).parent
    arguments = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow and not cmodel"]
    arguments += [str(folder / "test_engines.py"), str(folder / "test_vectors.py")]
    done = subprocess.run(
        [*arguments, "-k", "fast or random", "-p", "no:cacheprovider", "-p", "no:xdist"],
        env={**os.environ, "NNTC_SIM_FLUSH": "explicit", "PYTEST_ADDOPTS": ""},
        cwd=folder.parent.parent,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
