"""Compile networks with the chip maker's own compiler, as BModels for the conformance tests.

    python -m tests.conformance.peer FOLDER

It uses the script ``judge/peer_compile.sh`` in the folder that NNTC_SHARED_DIR names (default:
../shared), which sets up that compiler from PyPI on first use (2 GB, Python 3.10). Files that are
in FOLDER already are kept.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx

from tests.conformance.peer_nets import NETS
from tests.conftest import SHARED_DIR
from tests.models.zoo import NETWORKS

SCRIPT = SHARED_DIR / "judge" / "peer_compile.sh"
TRAINED = ("samplenet", "rfb_320_simplified", "efficientnet_lite0")
TIMEOUT = 1200


def jobs(folder: Path) -> Iterator[tuple[Path, Path, list[str]]]:
    """Network, BModel to make, arguments."""
    for name, made in NETS.items():
        source = folder / f"{name}.onnx"
        if not source.exists():
            onnx.save(made().model(), source)
        for precision in ("F32", "INT8"):
            yield source, folder / f"{name}_{precision.lower()}.bmodel", [precision]
    options = ["INT8", "--", "--quant_input", "--quant_output"]
    yield folder / "convolutions.onnx", folder / "convolutions_int8_4n.bmodel", options
    for name in TRAINED:
        for precision in ("F32", "INT8"):
            target = folder / f"{name}_{precision.lower()}.bmodel"
            yield NETWORKS[name].path(SHARED_DIR), target, [precision]


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m tests.conformance.peer FOLDER", file=sys.stderr)
        return 2
    if not SCRIPT.exists():
        print(f"{SCRIPT}: not here; it runs the chip maker's compiler", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for source, target, arguments in jobs(folder):
        if target.exists():
            continue
        command = [str(SCRIPT), str(source), str(target), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        if done.returncode or not target.exists():
            failed += 1
            tail = "\n".join(done.stderr.splitlines()[-3:])
            print(f"{target.name}: {source.name} was not compiled: {tail}", file=sys.stderr)
        else:
            print(f"{target.name}: compiled", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
