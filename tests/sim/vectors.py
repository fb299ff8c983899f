"""Golden vectors: commands with the memory before and after, recorded on the chip maker's C-model.

Two containers exist: one of local-memory runs (convolution families) and one of addressed
segments (all others, and the sample in ``data/``). Both become :class:`Case`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nntc import isa
from nntc.isa.chip import DDR_BASE, L2_BASE, LANE_BYTES, LOCAL_BASE, Engine
from nntc.sim import Memory, Program

Segments = list[tuple[int, np.ndarray]]

SAMPLE = Path(__file__).with_name("data") / "vectors.npz"
DDR_BYTES = 1 << 20


class Case(NamedTuple):
    """One command: memory is zero but for *before*; only the bytes of *after* are written."""

    form: str
    index: int
    engine: Engine
    command: bytes
    before: Segments
    after: Segments

    @property
    def size(self) -> int:
        return sum(values.size for _, values in (*self.before, *self.after))

    def program(self) -> Program:
        """The command as a program of its own (recorded numbers are arbitrary)."""
        data = isa.decode(self.engine, self.command).with_sync(1, 0).encode()
        return Program([(data, b"") if self.engine is Engine.TIU else (b"", data)])


def load(path: Path) -> Iterator[Case]:
    with np.load(path) as archive:
        z = {name: archive[name] for name in archive.files}
    yield from (_runs if "in_run_ptr" in z else _segments)(path.stem, z)


def save(path: Path, cases: Sequence[Case]) -> None:
    """Write cases as addressed segments, with the form of each."""
    arrays: dict[str, np.ndarray] = {
        "cmd": np.stack([np.frombuffer(c.command, np.uint8) for c in cases]),
        "engine": np.array([int(c.engine) for c in cases], np.uint8),
        "form": np.array([c.form for c in cases]),
    }
    for which, sides in (("pre", [c.before for c in cases]), ("post", [c.after for c in cases])):
        parts = [(k, a, v) for k, side in enumerate(sides) for a, v in side]
        arrays[f"{which}_case"] = np.array([k for k, _, _ in parts], np.uint16)
        arrays[f"{which}_addr"] = np.array([a for _, a, _ in parts], np.uint64)
        arrays[f"{which}_len"] = np.array([v.size for _, _, v in parts], np.uint32)
        arrays[f"{which}_data"] = np.concatenate([v for _, _, v in parts])
    np.savez_compressed(path, **arrays)


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
        name = str(z["form"][i]) if "form" in z else form
        yield Case(name, i, Engine(int(z["engine"][i])), command.tobytes(), before[i], after[i])


def by_lane(segments: Segments) -> Iterator[tuple[int, np.ndarray]]:
    """The same bytes, cut where a segment runs into the next lane."""
    for address, values in segments:
        while address < L2_BASE and values.size:
            room = LANE_BYTES - (address - LOCAL_BASE) % LANE_BYTES
            yield address, values[:room]
            address, values = address + room, values[room:]
        if values.size:
            yield address, values


def empty_memory() -> Memory:
    """Memory of zeros, as the vectors assume (L2 tables included), with some DDR."""
    memory = Memory()
    memory.l2[:] = 0
    memory.map(DDR_BASE, DDR_BYTES)
    return memory


def mismatch(case: Case, memory: Memory) -> str:
    """What differs from the recorded result; empty if nothing. Leaves zeroed memory."""
    found = ""
    for address, values in by_lane(case.after):
        view = memory.view(address, values.size)
        if not found and not np.array_equal(view, values):
            k = int(np.flatnonzero(view != values)[0])
            found = f"byte {address + k:#x} is {view[k]:#x}, not {values[k]:#x}"
        view[:] = 0
    for address, values in by_lane(case.before):
        view = memory.view(address, values.size)
        kept = (view == values) | (view == 0)  # Zero: cleared above as part of the result.
        if not found and not kept.all():
            found = f"input byte {address + int(np.flatnonzero(~kept)[0]):#x} was changed"
        view[:] = 0
    for name, data in (
        ("local memory", memory.padded_lanes),
        ("L2", memory.l2),
        ("DDR", memory.segments[0].data),
    ):
        if data.view(np.uint64).any():
            found = found or f"{name}: a byte that the command must not write was written"
            data[:] = 0
    return found
