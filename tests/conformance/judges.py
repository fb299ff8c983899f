"""Independent drivers of the chip maker's libraries, as witnesses beside our own devices.

They share no code with this project: one drives the runtime, one parses a BModel by itself and
gives the C-model its commands. They lie in ``judge`` of the folder that ``shared_dir`` finds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nntc.bmodel import Stage, SubNetMode
from nntc.core.errors import Problems
from nntc.runtime.arrays import save_npz
from nntc.runtime.engine import Network

Arrays = Mapping[str, np.ndarray]

COMMANDS = {
    "judge: C-model, GDMA ahead": ("exec_atomic.py", "--reloc", "--order", "gdma"),
    "judge: C-model, TIU ahead": ("exec_atomic.py", "--reloc", "--order", "bdc"),
    "judge: runtime": ("bmrt_run.py",),
}
"""Name → driver and options."""


def applies(name: str, stage: Stage) -> bool:
    """Whether a driver can run the stage: those without the runtime know TPU commands alone."""
    if COMMANDS[name][0] == "bmrt_run.py":
        return True
    single = [subnet.mode for subnet in stage.subnets] == [SubNetMode.TPU]
    return single and not any(tensor.pad_h for tensor in stage.inputs)


def run(
    name: str, folder: Path, libs: Path, model: Path, net: Network, inputs: Arrays, timeout: float
) -> dict[str, np.ndarray]:
    """Outputs of a BModel's first net.

    Args:
        folder: of the drivers.
        inputs: as the user gives them; the drivers get what the device gets.
    """
    script, *options = COMMANDS[name]
    problems = Problems()
    given = {info.name: info.encode(inputs[info.name], problems) for info in net.inputs}
    problems.raise_if_any()
    shaped = {info.name: given[info.name].reshape(info.shape) for info in net.inputs}
    with tempfile.TemporaryDirectory() as place:
        save_npz(Path(place) / "in.npz", shaped)
        command = [sys.executable, "-u", str(folder / script), str(model.resolve()), *options]
        if script == "bmrt_run.py":
            command += ["--net", net.name]
        done = subprocess.run(
            [*command, "--inputs", "in.npz", "--out", "out.npz"],
            cwd=place,
            env={**os.environ, "BM1684_JUDGE_LIBS": str(libs), "LD_LIBRARY_PATH": str(libs)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        written = Path(place) / "out.npz"
        if done.returncode or not written.exists():
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
            raise AssertionError(f"{name}: ended with status {done.returncode}: {tail}")
        found = np.load(written)
        return {info.name: info.decode(found[info.name]) for info in net.outputs}
