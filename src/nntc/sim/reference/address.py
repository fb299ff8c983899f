"""Where the elements of an operand lie, and loading and storing them.

Positions are flat bytes of local memory (lane * 512 KB + offset) as int64 arrays with the
operand's shape, so that every access is one fancy index.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nntc.isa.chip import L2_BASE, L2_BYTES, LANE_BYTES, LANES, LOCAL_BASE
from nntc.isa.forms import Instruction
from nntc.isa.layout import Shape4, Strides, aligned_strides, ceil_div
from nntc.sim.memory import LANE_PITCH, Memory

Log = Callable[[str, str, np.ndarray, int], None]
"""log("read" | "write", space, byte positions, element size)."""


def lane_of(address: int) -> int:
    return ((address - LOCAL_BASE) // LANE_BYTES) % LANES


def _axis(count: int, axis: int) -> np.ndarray:
    shape = [1, 1, 1, 1]
    shape[axis] = count
    return np.arange(count, dtype=np.int64).reshape(shape)


def positions(
    address: int,
    shape: Shape4,
    strides: Strides,
    unit: int = 4,
    together: int = 1,
    size: int = 4,
    shifts: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Flat byte positions [n, c, h, w] of a local tensor.

    Args:
        strides: in units of *unit* bytes.
        together: samples that share one unit (4 in the 4N layout, 2 in 2N).
        size: bytes of one element; sample n lies n mod together elements into its unit.
        shifts: the products h*stride and w*stride are shifted right by these.
    """
    lane, offset = divmod(address - LOCAL_BASE, LANE_BYTES)
    n, h, w = _axis(shape.n, 0), _axis(shape.h, 2), _axis(shape.w, 3)
    c = lane + _axis(shape.c, 1)
    units = (
        (n // together) * strides.n
        + (c // LANES) * strides.c
        + ((h * strides.h) >> shifts[0])
        + ((w * strides.w) >> shifts[1])
    )
    return (c % LANES) * LANE_BYTES + offset + unit * units + (n % together) * size


def aligned(address: int, shape: Shape4) -> np.ndarray:
    """Positions of a 32-bit tensor in the aligned layout."""
    return positions(address, shape, aligned_strides(shape, lane_of(address)))


def aligned_4n(address: int, shape: Shape4, size: int = 1) -> np.ndarray:
    """Positions of a tensor whose groups of four samples share 4 * *size* bytes."""
    grouped = Shape4(ceil_div(shape.n, 4), *shape[1:])
    strides = aligned_strides(grouped, lane_of(address))
    return positions(address, shape, strides, 4 * size, 4, size)


def per_channel(address: int, channels: int, size: int = 4) -> np.ndarray:
    """Positions [1, c, 1, 1] of one value per channel, slots packed."""
    return positions(address, Shape4(1, channels, 1, 1), Strides(1, 1, 1, 1), size)


def user_strides(instruction: Instruction, role: str) -> Strides:
    return Strides(*(getattr(instruction, f"{role}_{d}_str") for d in "nchw"))


def result_shape(instruction: Instruction) -> Shape4:
    i = instruction
    return Shape4(i.res0_n, i.res0_c, i.res0_h, i.res0_w)


class Access:
    """Loads and stores of one memory; ``log`` sees every access (tests compare with footprints)."""

    def __init__(self, memory: Memory, log: Log | None = None) -> None:
        self._memory = memory
        self._log = log

    def load(self, at: np.ndarray, dtype: Any = np.float32) -> np.ndarray:
        """The local elements that start at *at*."""
        dtype = np.dtype(dtype)
        if self._log:
            self._log("read", "local", at, dtype.itemsize)
        return _gather(self._memory.padded_lanes, _padded(at), dtype)

    def store(self, at: np.ndarray, values: np.ndarray) -> None:
        """Store local elements; *values* have the element type, and broadcast to *at*."""
        values = np.ascontiguousarray(np.broadcast_to(values, at.shape))
        if self._log:
            self._log("write", "local", at, values.itemsize)
        _scatter(self._memory.padded_lanes, _padded(at), values)

    def load_table(self, address: int, at: np.ndarray) -> np.ndarray:
        """fp32 words of L2 at the offset *address* plus 4 * *at*."""
        offsets = (address & (L2_BYTES - 1)) + 4 * at.astype(np.int64)
        if self._log:
            self._log("read", "l2", offsets, 4)
        return _gather(self._memory.l2, offsets, np.dtype(np.float32))

    def load_system(self, at: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
        """Elements of L2 or DDR; *at* holds addresses."""
        data, base, space = self._system(at, dtype.itemsize)
        if self._log:
            self._log("read", space, at - (base if space == "l2" else 0), dtype.itemsize)
        return _gather(data, at - base, dtype)

    def store_system(self, at: np.ndarray, values: np.ndarray) -> None:
        values = np.ascontiguousarray(np.broadcast_to(values, at.shape))
        data, base, space = self._system(at, values.itemsize)
        if self._log:
            self._log("write", space, at - (base if space == "l2" else 0), values.itemsize)
        _scatter(data, at - base, values)

    def _system(self, at: np.ndarray, size: int) -> tuple[np.ndarray, int, str]:
        low, high = int(at.min()), int(at.max()) + size
        if low >= L2_BASE and high <= L2_BASE + L2_BYTES:
            return self._memory.l2, L2_BASE, "l2"
        found = self._memory.segment(low, high - low)
        if found is None:
            self._memory.view(low, high - low)  # Raises, with the reason.
            raise AssertionError("unreachable")
        return found.data, found.address, "ddr"


def _padded(at: np.ndarray) -> np.ndarray:
    return at + (at // LANE_BYTES) * (LANE_PITCH - LANE_BYTES)


def _gather(data: np.ndarray, at: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    found = data[at[..., None] + np.arange(dtype.itemsize)]
    return np.ascontiguousarray(found).view(dtype)[..., 0]


def _scatter(data: np.ndarray, at: np.ndarray, values: np.ndarray) -> None:
    raw = values[..., None].view(np.uint8).reshape(*values.shape, values.itemsize)
    # Broadcasting destinations repeat positions: the last value in raster order stays.
    data[at[..., None] + np.arange(values.itemsize)] = raw
