"""Damaged BModels: refused or run inside the simulator's memory, never anything else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from nntc.bmodel import encode
from nntc.core.errors import UserError
from nntc.runtime import Engine
from nntc.runtime.arrays import random_inputs
from nntc.runtime.selftest import add_model


def outcome(data: bytes) -> str:
    """What happens to a file: an error's type, or "ran"."""
    try:
        with Engine(data, contexts=1) as engine:
            for net in engine.nets.values():
                if sum(int(np.prod(info.shape)) for info in net.inputs) < 1 << 20:
                    net(random_inputs(net.inputs, 0))
    except UserError as err:
        silent = not all(str(problem).strip() for problem in err.problems)
        return "an empty message" if silent else type(err).__name__
    return "ran"


def mutate(whole: bytes, generator: np.random.Generator) -> bytes:
    """Flip bits, overwrite words with telling values, cut, or duplicate a piece."""
    data = bytearray(whole)
    kind = generator.integers(4)
    if kind == 0:
        for _ in range(generator.integers(1, 5)):
            data[generator.integers(len(data))] ^= 1 << generator.integers(8)
    elif kind == 1:
        at = int(generator.integers(len(data) - 4))
        word = int(generator.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(data)]))
        data[at : at + 4] = word.to_bytes(4, "little")
    elif kind == 2:
        del data[generator.integers(len(data)) :]
    else:
        start, stop = sorted(int(v) for v in generator.integers(len(data), size=2))
        at = int(generator.integers(len(data)))
        data[at:at] = data[start:stop]
    return bytes(data)


def sweep(seed: int, count: int) -> Counter[str]:
    generator = np.random.default_rng(seed)
    whole = encode(add_model((1, 3, 4, 5), (2, 3, 4, 5)))
    assert outcome(whole) == "ran"
    found = Counter(outcome(mutate(whole, generator)) for _ in range(count))
    assert found["an empty message"] == 0
    return found


def test_a_few_mutations() -> None:
    found = sweep(seed=1, count=60)
    assert found["BModelError"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_many_mutations(seed: int) -> None:
    found = sweep(seed=100 + seed, count=250)
    assert found["BModelError"] > 50
    assert found["ran"] > 10
