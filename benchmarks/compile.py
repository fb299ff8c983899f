"""Time ``nntc compile`` as a user meets it: a whole process, from the ONNX file to the BModel.

python -m benchmarks.compile [--rounds N] [NETWORK ...]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import SHARED_DIR
from tests.models.zoo import NETWORKS, photos


def compile_once(network: str, output: Path) -> tuple[float, float]:
    """Seconds and peak memory (MB) of one compilation."""
    inputs = NETWORKS[network].sample(photos(SHARED_DIR))
    shapes = ",".join(
        f"{name}=[{', '.join(map(str, array.shape))}]" for name, array in inputs.items()
    )
    model = str(NETWORKS[network].path(SHARED_DIR))
    command = [sys.executable, "-m", "nntc", "compile", "-q", model, "--shapes", shapes]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "-o", str(output)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{network}: nntc compile ended with status {process.returncode}")
    return seconds, usage.ru_maxrss / 1024


def measure(network: str, rounds: int) -> str:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "net.bmodel"
        runs = [compile_once(network, output) for _ in range(rounds)]
        size = output.stat().st_size / 2**20
    seconds = [run[0] for run in runs]
    memory = max(run[1] for run in runs)
    middle, low, high = statistics.median(seconds), min(seconds), max(seconds)
    return f"| {network} | {middle:.2f} | {low:.2f} – {high:.2f} | {memory:.0f} | {size:.1f} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    options = parser.parse_args()
    if not (SHARED_DIR / "models").is_dir():
        print(f"{SHARED_DIR}: the models are not here (NNTC_SHARED_DIR)", file=sys.stderr)
        return 2
    print("| network | seconds | from – to | peak memory MB | BModel MB |")
    print("|---|---|---|---|---|")
    for network in options.networks:
        print(measure(network, options.rounds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
