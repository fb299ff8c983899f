"""System memory: storages, coefficients, addresses."""

from __future__ import annotations

import itertools

import numpy as np

from nntc.backend.memory import (
    COEFFICIENT_ALIGN,
    PAGE,
    Coefficients,
    Placement,
    allocate,
    memory_root,
)
from nntc.backend.plan import Storage
from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph
from nntc.isa.chip import CONTEXT_BASE

START = 0x1_2000_0000


def random_storages(rng: np.random.Generator, count: int) -> dict[Storage, int]:
    """Storages with lifetimes, and the step at which each is born."""
    births: dict[Storage, int] = {}
    for number in range(count):
        storage = Storage(int(rng.choice([0, 1, 4096, 4097, 100_000])), f"s{number}")
        birth = int(rng.integers(0, 40))
        storage.dies = birth + int(rng.integers(0, 10))
        storage.pinned = bool(rng.random() < 0.1)
        births[storage] = birth
    return births


def together(a: Storage, b: Storage, births: dict[Storage, int]) -> bool:
    if a.pinned or b.pinned:
        return True
    return births[a] <= b.dies and births[b] <= a.dies


def test_storages_that_live_together_share_no_byte() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        births = random_storages(rng, 40)
        size = allocate(list(births), births, START)
        for storage in births:
            assert storage.address % PAGE == 0
            assert storage.address >= START
            assert storage.address + max(storage.size, 1) <= START + size
        for a, b in itertools.combinations(births, 2):
            if together(a, b, births):
                apart = a.address + max(a.size, 1) <= b.address
                assert apart or b.address + max(b.size, 1) <= a.address


def test_memory_is_used_again() -> None:
    chain = [Storage(100_000, str(i)) for i in range(50)]
    births = {storage: i for i, storage in enumerate(chain)}
    for i, storage in enumerate(chain):
        storage.dies = i + 1
    assert allocate(chain, births, START) <= 3 * 102_400


def test_equal_constants_are_kept_once() -> None:
    coefficients = Coefficients()
    first = coefficients.add(np.arange(5, dtype=np.float32), "a")
    other = coefficients.add(np.arange(6, dtype=np.float32), "b")
    again = coefficients.add(np.arange(5, dtype=np.float32).reshape(5, 1), "c")
    assert again is first
    assert first.address == CONTEXT_BASE
    assert other.address == CONTEXT_BASE + COEFFICIENT_ALIGN
    blob = coefficients.blob()
    assert len(blob) == coefficients.size == 2 * COEFFICIENT_ALIGN
    start = other.address - CONTEXT_BASE
    stored = np.frombuffer(blob[start : start + 24], np.float32)
    np.testing.assert_array_equal(stored, np.arange(6))
    assert coefficients.add(np.zeros(0, np.float32), "none").size == 0


def test_reshapes_share_memory() -> None:
    graph = Graph()
    x = graph.input("x", DType.F32, (4, 6))
    once = graph.add(ops.Reshape((24,)), x).output
    twice = graph.add(ops.Reshape((2, 12)), once).output
    other = graph.add(ops.Unary("abs"), twice).output
    placement = Placement(Coefficients())
    assert memory_root(twice) is x
    assert not placement.known(twice)
    assert placement.of(twice) is placement.of(x)
    assert placement.known(once)
    assert placement.of(other) is not placement.of(x)
    assert [s.size for s in placement.storages] == [96, 96]


def test_bytes_of_8_bit_tensors() -> None:
    graph = Graph()
    placement = Placement(Coefficients())
    for dtype, size in ((DType.U8, 10), (DType.BOOL, 10), (DType.I32, 40), (DType.F32, 40)):
        assert placement.of(graph.input(dtype.value, dtype, (10,))).size == size
