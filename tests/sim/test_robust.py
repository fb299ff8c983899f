"""Whatever a file holds, a program is refused with an error or runs; it never crashes."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.core.errors import InstructionError
from nntc.isa.chip import DDR_BASE, Engine
from nntc.isa.fields import GDMA, TIU
from nntc.isa.forms import LAYOUTS
from nntc.sim import Memory, Program, Simulator
from tests.sim.commands import MNEMONICS, Random, make


@pytest.fixture(scope="module")
def memory() -> Memory:
    made = Memory()
    made.map(DDR_BASE, 1 << 20)
    return made


def attempt(data: bytes, engine: Engine, memory: Memory) -> bool:
    """Whether the command ran."""
    error: InstructionError | None = None
    try:
        program = Program([(data, b"") if engine is Engine.TIU else (b"", data)])
        Simulator(memory, threads=1).run(program)
    except InstructionError as err:
        error = err
    assert error is None or (error.problems and not any("\n" in p for p in error.problems))
    return error is None


def test_random_bytes(memory: Memory) -> None:
    rng = np.random.default_rng(0)
    for k in range(400):
        data = bytearray(rng.integers(0, 256, 128, np.uint8).tobytes())
        engine = Engine(k & 1)
        if engine is Engine.TIU:  # A valid number, so that the other rules are reached.
            data[0:3] = (0b1101).to_bytes(3, "little")
        else:
            data[2:4] = (1).to_bytes(2, "little")
        attempt(bytes(data), engine, memory)


def mutated(mnemonic: str, random: Random) -> tuple[bytes, Engine]:
    """A valid command with one to three fields changed."""
    instruction = make(mnemonic, random)
    layout = LAYOUTS[instruction.engine]
    values = layout.unpack(instruction.encode())
    names = [f.name for f in layout.fields if not f.name.startswith(("rsvd", "cmd_id", "eng"))]
    for _ in range(random.upto(1, 3)):
        field = layout.by_name[names[random.upto(0, len(names) - 1)]]
        if random.chance(0.5):
            values[field.name] = random.upto(max(field.minimum, -8), min(field.maximum, 8))
        else:
            values[field.name] = random.upto(field.minimum, min(field.maximum, 1 << 62))
    return layout.pack(values), instruction.engine


@pytest.mark.parametrize("mnemonic", MNEMONICS)
def test_mutated_commands(mnemonic: str, memory: Memory) -> None:
    random = Random(99 + MNEMONICS.index(mnemonic))
    for _ in range(15):
        attempt(*mutated(mnemonic, random), memory)


@pytest.mark.slow
def test_many_mutated_commands(memory: Memory) -> None:
    random, ran = Random(7), 0
    for k in range(6000):
        ran += attempt(*mutated(MNEMONICS[k % len(MNEMONICS)], random), memory)
    assert 1000 < ran < 6000


def test_all_ones_and_zeros(memory: Memory) -> None:
    for layout, engine in ((TIU, Engine.TIU), (GDMA, Engine.GDMA)):
        assert not attempt(bytes(128), engine, memory)
        assert not attempt(b"\xff" * 128, engine, memory), layout.name
