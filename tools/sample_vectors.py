#!/usr/bin/env python3
"""Take a small sample of golden vectors into the tests.

usage: sample_vectors.py FOLDER_OF_VECTORS... (each holds NAME.npz files of one form)

Of every form two commands are kept, a small one and one of middle size: commands, engines, forms
and the memory before and after as addressed segments, in one file.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "tests/sim/data/vectors.npz"
QUANTILES = (0.15, 0.5)
MOST_BYTES = 1_000_000

sys.path.insert(0, str(ROOT))


def main(folders: list[str]) -> int:
    from tests.sim.vectors import Case, load, save

    chosen: list[Case] = []
    for path in sorted(p for folder in folders for p in Path(folder).glob("*.npz")):
        cases = sorted(load(path), key=lambda c: (c.size, c.index))
        chosen += [cases[int(q * len(cases))] for q in QUANTILES]
    save(TARGET, chosen)
    size = TARGET.stat().st_size
    print(f"{len(chosen)} commands, {size} bytes: {TARGET}")
    return 1 if size > MOST_BYTES else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
