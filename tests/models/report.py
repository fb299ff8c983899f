"""Measure how the trained networks do, compiled and simulated, and print the tables.

    python -m tests.models.report [--few] [--only WORD] [--output FILE.md]

The reference is ONNX Runtime for ONNX files, OpenCV for Darknet's and Caffe's, the graph in NumPy
for MXNet's. ``--few`` takes a small sample of the photos. The folder of models is ../shared, or
the one that NNTC_SHARED_DIR names.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import SHARED_DIR
from tests.models.runners import Agreement, Compiled, Reference, SideBySide
from tests.models.tasks import TASKS


def lines(shared: Path, few: bool, only: str = "") -> Iterator[str]:
    """The two tables in Markdown; each row is measured when it is asked for."""
    reference = Reference(shared)
    agreements: dict[str, Agreement] = {}
    yield "| task | reference | simulated BM1684 | same | seconds |"
    yield "|---|---|---|---|---|"
    for task in (t for t in TASKS if only in t.name):
        simulated = SideBySide(Compiled(shared), reference)
        expected = task.work(reference, shared, few)
        started = time.perf_counter()
        found = task.work(simulated, shared, few)
        seconds = time.perf_counter() - started
        same = found.differs(expected) or "yes"
        yield f"| {task.name} | {expected.text} | {found.text} | {same} | {seconds:.1f} |"
        agreements.update(simulated.agreement)
    yield ""
    yield "| network | runs | 1 - cosine | error / range |"
    yield "|---|---|---|---|"
    for network, agreement in agreements.items():
        error, away = agreement.error, 1 - agreement.cosine
        yield f"| {network} | {agreement.runs} | {away:.1e} | {error:.1e} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--few", action="store_true", help="a small sample of the photos")
    parser.add_argument("--only", default="", help="only tasks with this word in their name")
    parser.add_argument("--output", type=Path, help="write the tables to this file as well")
    options = parser.parse_args()
    if not (SHARED_DIR / "models").is_dir():
        print(f"{SHARED_DIR}: the models are not here (NNTC_SHARED_DIR)", file=sys.stderr)
        return 2
    text = ""
    for line in lines(SHARED_DIR, options.few, options.only):
        print(line, flush=True)
        text += line + "\n"
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
