"""Regions of memory: bounding intervals for speed, exact strided patterns where it matters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nntc.isa.chip import LANES

ALL_LANES = (1 << LANES) - 1

Axes = tuple[tuple[int, int], ...]
"""(count, step in bytes) per axis."""


class Pattern(NamedTuple):
    """The exact bytes of a region: sums of one multiple per axis, each a run of bytes.

    Attributes:
        base: offset (per lane, L2 offset or address) of element 0.
        run: bytes that follow each other at every position.
        axes: (count, step in bytes) of every axis but the channels.
        lane: lane of channel 0; local memory only.
        channels: number of channels; channel c lies in slot (lane + c) div 64.
        slot_step: bytes from one slot to the next.
    """

    base: int
    run: int
    axes: Axes
    lane: int = 0
    channels: int = 0
    slot_step: int = 0


class Region(NamedTuple):
    """Bytes [start, stop) of one space.

    Attributes:
        space: "local" (offsets inside a lane), "l2" (offsets inside L2) or "ddr" (addresses).
        start, stop: bounding interval.
        lanes: bit mask of the lanes in which the interval lies; 0 outside local memory.
        pattern: the exact bytes, or None when every byte of the interval counts.
    """

    space: str
    start: int
    stop: int
    lanes: int = 0
    pattern: Pattern | None = None

    def __str__(self) -> str:
        where = f"{self.space} {self.start:#x}..{self.stop - 1:#x}"
        if self.space != "local":
            return where
        return f"{where} of {lane_text(self.lanes)}"


def lane_text(lanes: int) -> str:
    """A lane mask in words: ``lanes 0-31``, ``lane 5``, ``lanes 0-3,60-63``."""
    found: list[str] = []
    lane = 0
    while lane < LANES:
        if lanes >> lane & 1:
            last = lane
            while last + 1 < LANES and lanes >> (last + 1) & 1:
                last += 1
            found.append(f"{lane}" if last == lane else f"{lane}-{last}")
            lane = last
        lane += 1
    plural = "" if len(found) == 1 and "-" not in found[0] else "s"
    return f"lane{plural} {','.join(found)}" if found else "no lane"


def lane_mask(lane: int, channels: int) -> int:
    """The lanes that *channels* channels from *lane* on occupy."""
    if channels >= LANES:
        return ALL_LANES
    mask = ((1 << channels) - 1) << lane
    return (mask | mask >> LANES) & ALL_LANES


def box(base: int, run: int, axes: Axes) -> tuple[int, int]:
    low = high = base
    for count, step in axes:
        reach = (count - 1) * step
        if reach > 0:
            high += reach
        else:
            low += reach
    return low, high + run


def may_overlap(a: Region, b: Region) -> bool:
    """Whether the bounding boxes share a byte."""
    return (
        a.start < b.stop
        and b.start < a.stop
        and a.space == b.space
        and (a.space != "local" or bool(a.lanes & b.lanes))
    )


def _mark(pattern: Pattern | None, slots: tuple[int, int], low: int, high: int) -> np.ndarray:
    """bool[high - low]: the bytes that a pattern touches for a range of slots."""
    marks = np.zeros(high - low, np.bool_)
    if pattern is None:
        marks[:] = True
        return marks
    starts = np.array([pattern.base], np.int64)
    axes = pattern.axes
    if pattern.channels:
        starts = starts + slots[0] * pattern.slot_step
        axes = (*axes, (slots[1] - slots[0] + 1, pattern.slot_step))
    for count, step in axes:
        if count > 1:
            starts = (starts[:, None] + np.arange(count, dtype=np.int64) * step).ravel()
            starts = starts[starts < high] if step >= 0 else starts
    starts = starts[(starts < high) & (starts + pattern.run > low)]
    for start in np.unique(starts).tolist():
        marks[max(start - low, 0) : start + pattern.run - low] = True
    return marks


def _slots_in(pattern: Pattern | None, lane: int) -> tuple[int, int]:
    """First and last slot that a pattern uses in *lane* (last < first: none)."""
    if pattern is None or not pattern.channels:
        return 0, 0
    first = 1 if lane < pattern.lane else 0
    return first, (pattern.lane + pattern.channels - 1 - lane) // LANES


def overlap(a: Region, b: Region) -> Region | None:
    """The first run of bytes that two regions share, exactly; None if they share none."""
    if not may_overlap(a, b):
        return None
    low, high = max(a.start, b.start), min(a.stop, b.stop)
    if a.pattern is None and b.pattern is None:
        return Region(a.space, low, high, a.lanes & b.lanes)
    seen: dict[tuple[tuple[int, int], tuple[int, int]], int] = {}
    common = a.lanes & b.lanes
    for lane in range(LANES) if a.space == "local" else (0,):
        if a.space != "local" or common >> lane & 1:
            key = (_slots_in(a.pattern, lane), _slots_in(b.pattern, lane))
            seen[key] = seen.get(key, 0) | 1 << lane
    for (slots_a, slots_b), lanes in seen.items():
        if slots_a[1] < slots_a[0] or slots_b[1] < slots_b[0]:
            continue
        both = _mark(a.pattern, slots_a, low, high) & _mark(b.pattern, slots_b, low, high)
        hit = np.flatnonzero(both)
        if hit.size:
            first = int(hit[0])
            gap = np.flatnonzero(~both[first:])
            last = first + (int(gap[0]) if gap.size else both.size - first)
            return Region(a.space, low + first, low + last, lanes if a.space == "local" else 0)
    return None
