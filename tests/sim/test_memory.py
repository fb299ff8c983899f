"""The three memories and their addresses."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.core.errors import DeviceError
from nntc.isa.chip import (
    L2_BASE,
    L2_TABLE_EXP_INT,
    L2_TABLE_I8_TO_F32,
    L2_TABLE_SERIAL,
    L2_TABLE_U8_TO_F32,
    LANE_BYTES,
    LOCAL_BASE,
    local_address,
)
from nntc.sim import Memory

A = 0x1_0510_0000


def test_local_memory_by_address() -> None:
    memory = Memory()
    memory.write(local_address(16, lane=5), np.arange(4, dtype=np.float32))
    assert memory.local[5, 16:32].view(np.float32).tolist() == [0, 1, 2, 3]
    assert memory.read(local_address(20, lane=5), 4).view(np.float32)[0] == 1
    assert memory.local.shape == (64, LANE_BYTES)


def test_reading_gives_a_copy() -> None:
    memory = Memory()
    memory.read(LOCAL_BASE, 8)[:] = 1
    memory.map(A, 16)
    memory.read(A, 8)[:] = 1
    assert not memory.local[0, :8].any()
    assert not memory.read(A, 16).any()


def test_l2_holds_the_firmwares_tables() -> None:
    memory = Memory()

    def words(offset: int, count: int) -> np.ndarray:
        return memory.read(L2_BASE + offset, 4 * count).view(np.float32)

    assert words(L2_TABLE_U8_TO_F32, 256).tolist() == list(range(256))
    signed = words(L2_TABLE_I8_TO_F32, 256)
    assert signed.tolist() == [*range(128), *range(-128, 0)]
    assert words(L2_TABLE_SERIAL, 2048).tolist() == list(range(2048))
    exp = words(L2_TABLE_EXP_INT + 0x400, 256)
    assert np.allclose(exp[:89], np.exp(np.arange(89.0)), rtol=1e-6)
    assert exp[89] == 0, "an overflowing power is stored as 0"


def test_reset_restores_l2_and_keeps_ddr() -> None:
    memory = Memory()
    memory.map(A, np.ones(4, np.uint8))
    memory.l2[:] = 7
    memory.local[:] = 7
    memory.reset()
    assert np.array_equal(memory.l2, Memory().l2)
    assert not memory.local.any()
    assert memory.read(A, 4).all()


def test_mapped_arrays_are_the_memory() -> None:
    memory, weights = Memory(), np.zeros((2, 3), np.float32)
    memory.map(A, weights)
    memory.write(A + 4, np.float32([5]))
    assert weights[0, 1] == 5
    before = memory.generation
    memory.unmap(A)
    assert memory.generation != before
    with pytest.raises(DeviceError, match="outside every mapped segment"):
        memory.read(A, 4)


def test_read_only_arrays_stay_so() -> None:
    memory = Memory()
    memory.map(A, np.frombuffer(bytes(16), np.uint8))
    with pytest.raises(DeviceError, match="read-only"):
        memory.write(A, b"\1")


@pytest.mark.parametrize(
    ("address", "storage", "reason"),
    [
        (A + 8, 16, "overlaps the segment"),
        (A - 8, 16, "overlaps the segment"),
        (0x1000, 16, "outside the addresses"),
        ((1 << 40) - 8, 16, "outside the addresses"),
        (A + 64, 0, "cannot map 0 bytes"),
        (A + 64, np.zeros((4, 4), np.uint8)[:, :2], "not contiguous"),
    ],
)
def test_bad_mappings(address: int, storage: np.ndarray | int, reason: str) -> None:
    memory = Memory()
    memory.map(A, 16)
    with pytest.raises(DeviceError, match=reason):
        memory.map(address, storage)
    assert len(memory.segments) == 1


@pytest.mark.parametrize(
    ("address", "nbytes", "reason"),
    [
        (local_address(LANE_BYTES - 4, 3), 8, "leaves its lane"),
        (L2_BASE + (4 << 20) - 4, 8, "leaves L2"),
        (A + 12, 8, "outside every mapped segment"),
        (0x42, 1, "outside every mapped segment"),
    ],
)
def test_bad_addresses(address: int, nbytes: int, reason: str) -> None:
    memory = Memory()
    memory.map(A, 16)
    with pytest.raises(DeviceError, match=reason):
        memory.read(address, nbytes)
