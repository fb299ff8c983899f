"""Reading golden vectors: commands with the memory before and after, recorded on the C-model.

Two containers exist: one of local-memory runs (convolution families) and one of addressed
segments (all others). Both become :class:`Case`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nntc.isa.chip import LOCAL_BASE, Engine

Segments = list[tuple[int, np.ndarray]]


class Case(NamedTuple):
    """One command: memory is zero but for *before*; only the bytes of *after* are written."""

    form: str
    index: int
    engine: Engine
    command: bytes
    before: Segments
    after: Segments


def load(path: Path) -> Iterator[Case]:
    with np.load(path) as archive:
        z = {name: archive[name] for name in archive.files}
    yield from (_runs if "in_run_ptr" in z else _segments)(path.stem, z)


def _runs(form: str, z: dict[str, np.ndarray]) -> Iterator[Case]:
    def side(which: str, i: int) -> Segments:
        runs = slice(int(z[f"{which}_run_ptr"][i]), int(z[f"{which}_run_ptr"][i + 1]))
        at = int(z[f"{which}_val_ptr"][i])
        found: Segments = []
        for start, length in zip(z[f"{which}_start"][runs], z[f"{which}_len"][runs], strict=True):
            values = z[f"{which}_val"][at : at + int(length)]
            found.append((LOCAL_BASE + int(start), values))
            at += int(length)
        return found

    for i, command in enumerate(z["cmd"]):
        yield Case(form, i, Engine.TIU, command.tobytes(), side("in", i), side("out", i))


def _segments(form: str, z: dict[str, np.ndarray]) -> Iterator[Case]:
    def side(which: str) -> list[Segments]:
        found: list[Segments] = [[] for _ in z["cmd"]]
        at = 0
        for case, address, length in zip(
            z[f"{which}_case"], z[f"{which}_addr"], z[f"{which}_len"], strict=True
        ):
            values = z[f"{which}_data"][at : at + int(length)]
            found[int(case)].append((int(address), values))
            at += int(length)
        return found

    before, after = side("pre"), side("post")
    for i, command in enumerate(z["cmd"]):
        yield Case(form, i, Engine(int(z["engine"][i])), command.tobytes(), before[i], after[i])
