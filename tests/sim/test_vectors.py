"""Both engines reproduce commands recorded on the chip maker's C-model, byte by byte."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from nntc.sim import ENGINES, Memory, Simulator
from tests.sim.vectors import SAMPLE, Case, by_lane, empty_memory, load, mismatch


@pytest.fixture(scope="module")
def memory() -> Memory:
    return empty_memory()


def replay(cases: Iterable[Case], memory: Memory, engine: str) -> list[str]:
    wrong: list[str] = []
    for case in cases:
        for address, values in by_lane(case.before):
            memory.view(address, values.size)[:] = values
        Simulator(memory, engine).run(case.program())
        problem = mismatch(case, memory)
        if problem:
            wrong.append(f"{case.form} {case.index}: {problem}")
    return wrong


@pytest.mark.parametrize("engine", ENGINES)
def test_sample(engine: str, memory: Memory) -> None:
    cases = list(load(SAMPLE))
    assert len({c.form for c in cases}) > 150
    assert not replay(cases, memory, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("part", ["part1", "part2", "part3"])
def test_all(part: str, engine: str, memory: Memory, shared_dir: Path) -> None:
    files = sorted((shared_dir / "isa" / part / "vectors").glob("*.npz"))
    assert files
    assert not [p for path in files for p in replay(load(path), memory, engine)]


def test_a_wrong_byte_is_noticed(memory: Memory) -> None:
    case = next(c for c in load(SAMPLE) if c.form == "conv_f32")
    address, values = case.after[0]
    broken = case._replace(after=[(address, values ^ 1), *case.after[1:]])
    assert "not" in replay([broken], memory, "fast")[0]
    assert replay([case._replace(after=[])], memory, "fast")
