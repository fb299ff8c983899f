"""Random commands give the same bits on the chip maker's C-model and on both engines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nntc.isa.chip import DDR_BASE, LANES
from nntc.isa.forms import Instruction
from nntc.sim import ENGINES, Memory, Simulator
from tests.sim.commands import DDR_BYTES, FLOAT_PRODUCTS, MNEMONICS, SPAN, Random, fill, make
from tests.sim.test_engines import canonical, program

CHILD = Path(__file__).with_name("cmodel_child.py")
COUNT = 25
TIMEOUT = 120
UNDEFINED = {"scalar.div", "ar.div.f32"}


def run_cmodel(
    libs: Path, folder: Path, commands: list[Instruction], image: dict[str, np.ndarray]
) -> list[dict[str, np.ndarray] | None]:
    """Per command the changed bytes, or None where the C-model refused it."""
    results: list[dict[str, np.ndarray] | None] = []
    while len(results) < len(commands):
        rest = commands[len(results) :]
        source, target = folder / "in.npz", folder / f"out{len(results)}"
        target.mkdir()
        raw = np.stack([np.frombuffer(c.encode(), np.uint8) for c in rest])
        engines = np.array([int(c.engine) for c in rest], np.uint8)
        np.savez(source, commands=raw, engines=engines, **image)
        arguments = [sys.executable, str(CHILD), str(libs), str(source), str(target)]
        subprocess.run(arguments, capture_output=True, timeout=TIMEOUT, check=False)
        done = len(list(target.iterdir()))
        for k in range(done):
            with np.load(target / f"{k}.npz") as z:
                results.append({name: z[name] for name in z.files})
        if done < len(rest):
            results.append(None)
    return results


@pytest.fixture(scope="module")
def memory() -> Memory:
    made = Memory()
    made.map(DDR_BASE, DDR_BYTES)
    return made


def image_of(memory: Memory) -> dict[str, np.ndarray]:
    return {
        "local": memory.local[:, :SPAN].copy(),
        "l2": memory.l2[0x200000:0x210000].copy(),
        "ddr": memory.segments[0].data.copy(),
    }


def restore(memory: Memory, image: dict[str, np.ndarray]) -> None:
    memory.local[:, :SPAN] = image["local"]
    memory.l2[0x200000:0x210000] = image["l2"]
    memory.segments[0].data[:] = image["ddr"]


@pytest.mark.cmodel
@pytest.mark.parametrize("mnemonic", MNEMONICS)
def test_random_commands(mnemonic: str, memory: Memory, cmodel_libs: Path, tmp_path: Path) -> None:
    random = Random(77 + MNEMONICS.index(mnemonic))
    fill(memory, random, floats=not mnemonic.endswith((".i8", ".fix")))
    image = image_of(memory)
    assert image["local"].shape[0] == LANES
    commands = [make(mnemonic, random, in_place=False) for _ in range(COUNT)]
    results = run_cmodel(cmodel_libs, tmp_path, commands, image)
    ran = 0
    for command, changed in zip(commands, results, strict=True):
        if changed is None:
            continue
        ran += 1
        for engine in ENGINES:
            restore(memory, image)
            Simulator(memory, engine).run(program(command))
            for name, after in image_of(memory).items():
                expected = image[name].copy()
                expected.ravel()[changed[f"{name}_at"]] = changed[f"{name}_value"]
                if mnemonic in FLOAT_PRODUCTS:
                    expected = canonical(expected.reshape(-1).view(np.uint32))
                    after = canonical(after.reshape(-1).view(np.uint32))
                assert np.array_equal(after, expected), (engine, name, command)
    assert ran >= COUNT // 3, f"the C-model refused {COUNT - ran} of {COUNT} commands"
