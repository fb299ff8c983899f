"""Compare what int8 networks achieve: in fp32, by the chip maker's compiler, by this one.

    python -m benchmarks.int8_accuracy [--limit N] [--ours FOLDER] [--maker FOLDER] [NETWORK ...]
    python -m benchmarks.int8_accuracy --prepare FOLDER --calibration FOLDER [NETWORK ...]

Folders hold BModels named after the networks; what lacks is left out of the table. With
``--calibration`` (a folder that :mod:`benchmarks.calibration_sets` made) a network that lacks in
the folder of ``--ours`` is quantised into it, by ``nntc quantize``. ``--prepare`` writes what
another compiler needs for the same work: NETWORK.onnx with fixed shapes, and NETWORK/*.npz, the
calibration pictures as inputs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import onnx
from tests.conftest import SHARED_DIR

from benchmarks.int8_networks import (
    CASES,
    Case,
    Outputs,
    bmodel_outputs,
    distance,
    fp32_outputs,
)


def prepare(case: Case, calibration: Path, folder: Path) -> None:
    """Write the network with fixed shapes and its calibration inputs."""
    import cv2

    from nntc.runtime.arrays import save_npz

    pictures = sorted((calibration / case.calibration).glob("*.png"))
    if not pictures:
        raise SystemExit(f"{calibration / case.calibration}: no pictures (calibration_sets)")
    onnx.save(case.onnx(SHARED_DIR), folder / f"{case.name}.onnx")
    place = folder / case.name
    place.mkdir(exist_ok=True)
    for path in pictures:
        picture = cv2.imread(str(path))
        assert picture is not None, path
        save_npz(place / f"{path.stem}.npz", {case.input: case.array(picture)})


def quantise(case: Case, calibration: Path, output: Path) -> None:
    """Make our BModel as a user would, with one command; tell its time and peak memory."""
    network = output.with_suffix(".onnx")
    onnx.save(case.onnx(SHARED_DIR), network)
    data = str(calibration / case.calibration)
    command = [sys.executable, "-m", "nntc", "quantize", str(network), "--data", data]
    command += ["--preprocess", case.preprocess, "-o", str(output)]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{case.name}: nntc quantize ended with status {process.returncode}")
    memory = usage.ru_maxrss / 1024
    print(f"{case.name}: quantised in {seconds:.0f} s, {memory:.0f} MB at most", file=sys.stderr)


def rows(case: Case, models: dict[str, Path], limit: int) -> list[str]:
    """Lines of the table for one network."""
    samples = case.samples(SHARED_DIR, limit)
    names = [name for name, _ in samples]
    fp32 = fp32_outputs(case, SHARED_DIR, samples)

    def row(what: str, found: Outputs, far: str) -> str:
        return f"| {case.name} | {what} | {case.score(SHARED_DIR, names, found, fp32)} | {far} |"

    made = [row("fp32", fp32, "1 | ∞")]
    for what, path in models.items():
        found = bmodel_outputs(path, samples, fp32[0])
        made.append(row(what, found, str(distance(found, fp32))))
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--limit", type=int, default=0, help="samples of each test (0: all)")
    parser.add_argument("--ours", type=Path, help="folder of our BModels")
    parser.add_argument("--maker", type=Path, help="folder of the maker's BModels")
    parser.add_argument("--calibration", type=Path, help="folder of calibration sets")
    parser.add_argument("--prepare", type=Path, help="write models and inputs for other compilers")
    parser.add_argument("networks", nargs="*", default=list(CASES), metavar="NETWORK")
    options = parser.parse_args()
    unknown = sorted(set(options.networks) - set(CASES))
    if unknown:
        parser.error(f"no such network: {', '.join(unknown)}; there are {', '.join(CASES)}")
    if not (SHARED_DIR / "models").is_dir():
        print(f"{SHARED_DIR}: the models are not here (NNTC_SHARED_DIR)", file=sys.stderr)
        return 2
    if options.prepare:
        if not options.calibration:
            parser.error("--prepare needs --calibration")
        options.prepare.mkdir(parents=True, exist_ok=True)
        for name in options.networks:
            prepare(CASES[name], options.calibration, options.prepare)
        return 0
    if options.maker and not options.maker.is_dir():
        parser.error(f"--maker: {options.maker} is no folder")
    print("| network | int8 by | result | cosine | SQNR dB |\n|---|---|---|---|---|")
    for name in options.networks:
        models = {}
        if options.maker and (options.maker / f"{name}.bmodel").exists():
            models["the maker"] = options.maker / f"{name}.bmodel"
        if options.ours:
            own = options.ours / f"{name}.bmodel"
            if not own.exists() and options.calibration:
                options.ours.mkdir(parents=True, exist_ok=True)
                quantise(CASES[name], options.calibration, own)
            if own.exists():
                models["nntc"] = own
        print("\n".join(rows(CASES[name], models, options.limit)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
