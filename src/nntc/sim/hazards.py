"""Missing dependencies between the two engines.

The engines run side by side; only the wait numbers order their commands. Two commands of
different engines are ordered if one of them, or an earlier command of its engine, waits for the
other or a later one. All other pairs may run at the same time, so neither may write what the
other reads or writes in local memory or L2. (DDR is the GDMA's alone.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nntc.isa.footprint import Footprint
from nntc.isa.regions import Region, overlap


class Hazard(NamedTuple):
    """Two unordered commands (indices in their streams) and bytes that they share."""

    tiu: int
    gdma: int
    shared: Region


class _Boxes(NamedTuple):
    """Bounding boxes of one engine's accesses; parallel arrays, commands in order."""

    command: np.ndarray
    first: np.ndarray
    space: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    lanes: np.ndarray
    writes: np.ndarray
    regions: list[Region]


def _boxes(footprints: Sequence[Footprint]) -> _Boxes:
    command: list[int] = []
    first = [0]
    regions: list[Region] = []
    writes: list[bool] = []
    for index, found in enumerate(footprints):
        for is_write, group in ((False, found.reads), (True, found.writes)):
            for region in group:
                if region.space != "ddr":
                    command.append(index)
                    regions.append(region)
                    writes.append(is_write)
        first.append(len(regions))
    return _Boxes(
        np.array(command, np.int64),
        np.array(first, np.int64),
        np.array([r.space == "local" for r in regions], np.bool_),
        np.array([r.start for r in regions], np.int64),
        np.array([r.stop for r in regions], np.int64),
        np.array([r.lanes for r in regions], np.uint64),
        np.array(writes, np.bool_),
        regions,
    )


def windows(tiu_waits: Sequence[int], gdma_waits: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Per TIU command the GDMA commands [first, last) that may run at the same time (indices)."""
    known_gdma = np.maximum.accumulate(np.array([0, *tiu_waits], np.int64))[1:]
    known_tiu = np.maximum.accumulate(np.array([0, *gdma_waits], np.int64))[1:]
    numbers = np.arange(1, len(tiu_waits) + 1)
    return known_gdma, np.searchsorted(known_tiu, numbers, side="left")


def find(
    tiu: Sequence[Footprint],
    gdma: Sequence[Footprint],
    tiu_waits: Sequence[int],
    gdma_waits: Sequence[int],
) -> Iterator[Hazard]:
    """Every pair of unordered commands that touch the same bytes, one of them writing."""
    if not tiu or not gdma:
        return
    first, last = windows(tiu_waits, gdma_waits)
    left, right = _boxes(tiu), _boxes(gdma)
    for index in np.flatnonzero(first < last).tolist():
        mine = slice(int(left.first[index]), int(left.first[index + 1]))
        others = slice(int(right.first[first[index]]), int(right.first[last[index]]))
        hits = (
            (left.start[mine, None] < right.stop[None, others])
            & (right.start[None, others] < left.stop[mine, None])
            & (left.space[mine, None] == right.space[None, others])
            & (left.writes[mine, None] | right.writes[None, others])
        )
        if not hits.any():
            continue
        for a, b in np.argwhere(hits).tolist():
            a, b = a + mine.start, b + others.start
            # Bounding boxes overlap; the bytes themselves may still interleave.
            shared = overlap(left.regions[a], right.regions[b])
            if shared is not None:
                yield Hazard(index, int(right.command[b]), shared)
                break
