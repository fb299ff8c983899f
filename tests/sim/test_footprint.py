"""Footprints hold every access that the reference engine makes; regions overlap exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nntc import isa
from nntc.core.errors import InstructionError
from nntc.isa.chip import DDR_BASE, L2_BASE, LANE_BYTES, LANES, LOCAL_BASE, Engine
from nntc.isa.footprint import footprint
from nntc.isa.forms import Instruction
from nntc.isa.regions import Pattern, Region, box, lane_mask, lane_text, may_overlap, overlap
from nntc.sim.reference import execute
from tests.sim.commands import MNEMONICS, Random, make
from tests.sim.vectors import SAMPLE, empty_memory, load


def touched(region: Region) -> Iterator[tuple[int, np.ndarray]]:
    """(lane, bytes of the pattern) of a region, by plain enumeration."""
    p = region.pattern
    assert p is not None
    steps = [np.arange(count) * step for count, step in p.axes]
    offsets = np.array([p.base])
    for axis in steps:
        offsets = (offsets[:, None] + axis).ravel()
    whole = (offsets[:, None] + np.arange(p.run)).ravel()
    if region.space != "local":
        yield 0, whole
        return
    for c in range(p.channels):
        slot, lane = divmod(p.lane + c, LANES)
        yield lane, whole + slot * p.slot_step


def exact_bytes(region: Region) -> np.ndarray:
    """lane * LANE_BYTES + offset of every byte."""
    return np.concatenate([lane * LANE_BYTES + found for lane, found in touched(region)])


def holds(regions: tuple[Region, ...], space: str, at: np.ndarray, size: int) -> bool:
    """Whether every access lies in the box and in the pattern of some region."""
    at = np.unique(at)
    inside = np.zeros(at.shape, np.bool_)
    for region in regions:
        if region.space != space:
            continue
        lane, offset = np.divmod(at, LANE_BYTES) if space == "local" else (at * 0, at)
        hit = (offset >= region.start) & (offset + size <= region.stop)
        if space == "local":
            used = np.array([region.lanes >> k & 1 for k in range(LANES)], np.bool_)
            hit &= used[lane]
        if region.pattern is not None and hit.any():
            hit &= np.isin(at, exact_bytes(region))
        inside |= hit
    return bool(inside.all())


def check(instruction: Instruction) -> None:
    found = footprint(instruction)
    memory = empty_memory()
    seen: list[str] = []

    def log(kind: str, space: str, at: np.ndarray, size: int) -> None:
        seen.append(kind)
        regions = found.reads if kind == "read" else found.writes
        assert holds(regions, space, at, size), (kind, space, instruction)

    execute(instruction, memory, log)
    assert "write" in seen


def test_golden_commands() -> None:
    for case in list(load(SAMPLE))[::2]:
        check(isa.decode(case.engine, case.command))


@pytest.mark.parametrize("mnemonic", MNEMONICS)
def test_random_commands(mnemonic: str) -> None:
    random = Random(5 + MNEMONICS.index(mnemonic))
    checked = 0
    while checked < 2:
        instruction = make(mnemonic, random)
        if sum(r.stop - r.start for r in footprint(instruction).writes) < 4000:
            check(instruction)
            checked += 1


@pytest.mark.slow
def test_recorded_accesses(shared_dir: Path) -> None:
    for path in sorted((shared_dir / "isa").glob("part*/vectors/*.npz")):
        for case in list(load(path))[3:5]:
            found = footprint(isa.decode(case.engine, case.command))
            both = found.reads + found.writes
            for segments, regions in ((case.before, both), (case.after, found.writes)):
                at: dict[str, list[np.ndarray]] = {"local": [], "l2": [], "ddr": []}
                for address, values in segments:
                    space, base = "ddr", 0
                    if address < L2_BASE:
                        space, base = "local", LOCAL_BASE
                    elif address < DDR_BASE:
                        space, base = "l2", L2_BASE
                    at[space].append(address - base + np.arange(values.size))
                for space, parts in at.items():
                    if parts:
                        assert holds(regions, space, np.concatenate(parts), 1), case


def region(base: int, run: int, axes: tuple[tuple[int, int], ...], lane: int, c: int) -> Region:
    pattern = Pattern(base, run, axes, lane, c, 64)
    low, high = box(base, run, (*axes, ((lane + c - 1) // LANES + 1, 64)))
    return Region("local", low, high, lane_mask(lane, c), pattern)


def test_overlap_is_exact() -> None:
    rng = np.random.default_rng(3)
    outcomes = set()
    for _ in range(300):
        pair = [
            region(
                int(rng.integers(0, 60)),
                int(rng.integers(1, 5)),
                ((int(rng.integers(1, 4)), int(rng.integers(-9, 9))), (int(rng.integers(1, 4)), 7)),
                int(rng.integers(0, LANES)),
                int(rng.integers(1, 80)),
            )
            for _ in range(2)
        ]
        # Offsets may be negative here: lanes are kept apart by a distance of two lanes.
        bytes_of = [{(lane, int(b)) for lane, found in touched(r) for b in found} for r in pair]
        shared = bytes_of[0] & bytes_of[1]
        found = overlap(*pair)
        outcomes.add((bool(shared), may_overlap(*pair)))
        assert (found is not None) == bool(shared)
        if found is not None:
            named = {
                (lane, b)
                for lane in range(LANES)
                if found.lanes >> lane & 1
                for b in range(found.start, found.stop)
            }
            assert named <= shared
    assert outcomes == {(True, True), (False, True), (False, False)}


def test_interleaved_strides_do_not_overlap() -> None:
    even = region(0, 4, ((10, 8),), 0, 1)
    odd = region(4, 4, ((10, 8),), 0, 1)
    assert may_overlap(even, odd)
    assert overlap(even, odd) is None


def test_spaces_and_lanes_are_apart() -> None:
    a = Region("local", 0, 16, 0b01)
    assert not may_overlap(a, Region("local", 0, 16, 0b10))
    assert not may_overlap(a, Region("l2", 0, 16))
    assert overlap(a, Region("local", 8, 32, 0b11)) == Region("local", 8, 16, 0b01)


def test_lanes_in_words() -> None:
    assert lane_text(lane_mask(60, 6)) == "lanes 0-1,60-63"
    assert lane_text(1 << 5) == "lane 5"
    assert lane_text(lane_mask(3, 64)) == "lanes 0-63"
    assert lane_text(0) == "no lane"


def test_unknown_operation() -> None:
    with pytest.raises(InstructionError, match="TIU command 7: no known operation"):
        footprint(Instruction(None, {"cmd_id_tpu": 7, "tsk_typ": 15}, Engine.TIU))


def test_an_address_outside_every_lane_is_outside() -> None:
    i = isa.form("scalar.add").make(res0_n=1, res0_c=1, res0_h=1, res0_w=1, res0_addr=0x0A000000)
    write = footprint(i).writes[0]
    assert write.start >= LANE_BYTES
