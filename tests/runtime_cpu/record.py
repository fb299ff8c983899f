"""Records what the chip maker's library answers, so that tests run without it.

    NNTC_CMODEL_LIBS=… python -m tests.runtime_cpu.record

writes data/<LAYER>.npz for every layer: a few small random cases, each with its parameter, inputs
and the library's whole output buffers, as one array of 32-bit words and an index in JSON.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import numpy as np

from nntc.bmodel.cpu_ops import CpuOp
from tests.runtime_cpu import cases
from tests.runtime_cpu.case import Case, Result
from tests.runtime_cpu.maker import Maker

DATA = Path(__file__).parent / "data"
CASES = 6
SMALL = 700
"""Words of a case at most, if enough such cases are found."""


def _words(case: Case) -> int:
    return sum(a.size for a in case.inputs) + sum(int(np.prod(s)) for s in case.output_shapes)


def small_cases(op: CpuOp) -> list[Case]:
    """The first few small ones of 100 random cases, or the smallest."""
    seed = zlib.crc32(op.name.encode()) + 1
    made = [cases.MAKERS[op](np.random.default_rng([seed, n])) for n in range(100)]
    small = [case for case in made if _words(case) <= SMALL]
    return small[:CASES] if len(small) >= CASES else sorted(made, key=_words)[:CASES]


def save(path: Path, made: list[Case], results: list[Result]) -> None:
    index: list[dict[str, object]] = []
    words: list[np.ndarray] = []
    for case, (buffers, shapes) in zip(made, results, strict=True):
        inputs = [np.asarray(a, order="C") for a in case.inputs]
        index.append(
            {
                "param": case.param_bytes.hex(),
                "inputs": [[a.dtype.name, list(a.shape)] for a in inputs],
                "declared": [list(s) for s in case.output_shapes],
                "shapes": [list(s) for s in shapes],
            }
        )
        words += [a.reshape(-1).view(np.int32) for a in [*inputs, *buffers]]
    text = np.frombuffer(json.dumps(index, separators=(",", ":")).encode(), np.uint8)
    np.savez_compressed(path, index=text, words=np.concatenate(words))


def load(path: Path) -> list[tuple[Case, Result]]:
    """The recorded cases and what the library answered."""
    with np.load(path) as data:
        index, words = json.loads(data["index"].tobytes()), data["words"]
    at = 0

    def take(shape: list[int]) -> np.ndarray:
        nonlocal at
        size = int(np.prod(shape, dtype=np.int64))
        at += size
        return words[at - size : at]

    found: list[tuple[Case, Result]] = []
    for row in index:
        inputs = [take(s).view(dtype).reshape(s) for dtype, s in row["inputs"]]
        declared = [tuple(s) for s in row["declared"]]
        buffers = [take(s).view(np.float32).copy() for s in declared]
        case = Case(bytes.fromhex(row["param"]), inputs, declared)
        found.append((case, (buffers, [tuple(s) for s in row["shapes"]])))
    return found


def main() -> None:
    maker = Maker(Path(os.environ["NNTC_CMODEL_LIBS"]))
    DATA.mkdir(exist_ok=True)
    for op in cases.MAKERS:
        made = small_cases(op)
        save(DATA / f"{op.name.lower()}.npz", made, maker.run(op, made))


if __name__ == "__main__":
    main()
