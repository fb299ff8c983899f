"""Time the simulator against the chip maker's C-model on the same BModels.

    python -m benchmarks.simulator [--rounds N] [NETWORK ...]

Each round runs the C-model and then the simulator, each in a process of its own, so that both
meet the same machine. The C-model gets the commands one by one, without the maker's runtime, which
takes about twice as long. "First" is the first run in a fresh process, planning included; "later"
the median of ten more. Loading libraries and the file is not counted on either side.
NNTC_CMODEL_LIBS names the folder of the C-model's libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from tests.conftest import SHARED_DIR

DEFAULT = ("efficientnet_lite0", "rfb_320_simplified", "ppocr_v4_det")
LATER_RUNS = 10
TIMEOUT = 900


def cmodel_seconds(model: Path, inputs: Path) -> float:
    """Time that the C-model takes for all commands."""
    driver = SHARED_DIR / "judge" / "exec_atomic.py"
    if driver.exists():
        libs = os.environ["NNTC_CMODEL_LIBS"]
        done = subprocess.run(
            [sys.executable, str(driver), str(model), "--inputs", str(inputs)],
            env={**os.environ, "BM1684_JUDGE_LIBS": libs},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
        )
        found = re.search(r"executed in ([0-9.]+)s wall", done.stdout)
        assert found, done.stdout
        return float(found[1])
    return child_seconds(model, inputs, "cmodel-commands", 1)[0]


def child_seconds(model: Path, inputs: Path, device: str, runs: int) -> list[float]:
    """Times of the runs of a fresh process."""
    command = [sys.executable, "-m", "benchmarks.simulator", "--child", device, str(runs)]
    done = subprocess.run(
        [*command, str(model), str(inputs)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def child(device: str, runs: str, model: str, inputs: str) -> None:
    """The fresh process: run a BModel on a device and print the times."""
    # Loading libraries and kernels' code is not part of the C-model's time either.
    import nntc.sim.fast  # noqa: F401
    from nntc import Engine

    arrays = dict(np.load(inputs))
    times: list[float] = []
    with Engine(model, device) as engine:
        for _ in range(int(runs)):
            started = time.perf_counter()
            engine(arrays)
            times.append(time.perf_counter() - started)
    print(json.dumps(times))


def measure(network: str, rounds: int) -> str:
    """One row of the table."""
    from tests.models.runners import compile_network
    from tests.models.zoo import NETWORKS, photos

    from nntc import bmodel
    from nntc.runtime.arrays import save_npz

    arrays = NETWORKS[network].sample(photos(SHARED_DIR))
    with tempfile.TemporaryDirectory() as place:
        model, inputs = Path(place) / "net.bmodel", Path(place) / "in.npz"
        bmodel.write(compile_network(SHARED_DIR, network, arrays), model)
        save_npz(inputs, arrays)
        chip: list[float] = []
        first: list[float] = []
        later: list[float] = []
        for _ in range(rounds):
            chip.append(cmodel_seconds(model, inputs))
            times = child_seconds(model, inputs, "simulator", 1 + LATER_RUNS)
            first.append(times[0])
            later.append(statistics.median(times[1:]))
    a, b, c = (statistics.median(times) for times in (chip, first, later))
    return f"| {network} | {a:.2f} | {b:.2f} | {c:.3f} | {a / b:.1f} | {a / c:.0f} |"


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("networks", nargs="*", default=DEFAULT)
    options = parser.parse_args()
    if not os.environ.get("NNTC_CMODEL_LIBS"):
        print("NNTC_CMODEL_LIBS is not set: see tools/fetch_cmodel.py", file=sys.stderr)
        return 2
    if not (SHARED_DIR / "models").is_dir():
        print(f"{SHARED_DIR}: the models are not here (NNTC_SHARED_DIR)", file=sys.stderr)
        return 2
    # Kernels are compiled once for a machine, not once for a process.
    measure("samplenet", 1)
    print("| network | C-model s | first run s | later runs s | × first | × later |")
    print("|---|---|---|---|---|---|")
    for network in options.networks:
        print(measure(network, options.rounds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
