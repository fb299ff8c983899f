"""Both engines give the same bits on random commands."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.isa.chip import DDR_BASE, Engine
from nntc.isa.forms import Instruction
from nntc.sim import Memory, Program, Simulator
from tests.sim.commands import DDR_BYTES, FLOAT_PRODUCTS, MNEMONICS, SPAN, Random, fill, make

QUICK, LONG = 12, 150


def program(instruction: Instruction) -> Program:
    """One command as a program of its own."""
    data = instruction.with_sync(1, 0).encode()
    return Program([(data, b"") if instruction.engine is Engine.TIU else (b"", data)])


@pytest.fixture(scope="module")
def memories() -> tuple[Memory, Memory]:
    made = Memory(), Memory()
    for memory in made:
        memory.map(DDR_BASE, DDR_BYTES)
    return made


def state(memory: Memory) -> list[np.ndarray]:
    return [memory.local[:, :SPAN], memory.l2[0x200000:0x210000], memory.segments[0].data]


def canonical(words: np.ndarray) -> np.ndarray:
    """fp32 patterns with all NaNs equal."""
    nan = (words & 0x7FFFFFFF) > 0x7F800000
    return np.where(nan, np.uint32(0x7FC00000), words)


def agree(mnemonic: str, first: Memory, second: Memory) -> bool:
    for a, b in zip(state(first), state(second), strict=True):
        if not np.array_equal(a, b):
            if mnemonic not in FLOAT_PRODUCTS:
                return False
            a, b = a.view(np.uint32), b.view(np.uint32)
            if not np.array_equal(canonical(a), canonical(b)):
                return False
    return True


def check(mnemonic: str, memories: tuple[Memory, Memory], seed: int, count: int) -> None:
    random = Random(seed)
    fast, reference = memories
    fill(fast, random, floats=not mnemonic.endswith((".i8", ".fix")))
    for round_ in range(count):
        instruction = make(mnemonic, random)
        for a, b in zip(state(fast), state(reference), strict=True):
            b[:] = a
        for memory, engine in ((fast, "fast"), (reference, "reference")):
            Simulator(memory, engine, threads=1 + round_ % 2).run(program(instruction))
        assert agree(mnemonic, fast, reference), instruction
        if round_ % 8 == 7:
            fill(fast, random, floats=not mnemonic.endswith((".i8", ".fix")))


@pytest.mark.parametrize("mnemonic", MNEMONICS)
def test_random_commands(mnemonic: str, memories: tuple[Memory, Memory]) -> None:
    check(mnemonic, memories, seed=MNEMONICS.index(mnemonic), count=QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("mnemonic", MNEMONICS)
def test_many_random_commands(mnemonic: str, memories: tuple[Memory, Memory]) -> None:
    check(mnemonic, memories, seed=1000 + MNEMONICS.index(mnemonic), count=LONG)
