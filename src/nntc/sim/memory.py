"""The chip's three memories: local (64 lanes), L2 and DDR.

Addresses are those that commands carry: local 0x0800_0000 + lane * 512 KB + offset, L2
0x1000_0000 + offset, DDR from 0x1_0000_0000 on (40 bits). DDR exists only where it was mapped.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from importlib import resources

import numpy as np

from nntc.core.errors import DeviceError
from nntc.isa.chip import DDR_LIMIT, L2_BASE, L2_BYTES, LANE_BYTES, LANES, LOCAL_BASE, LOCAL_BYTES

LANE_PITCH = LANE_BYTES + 4224
"""Bytes from one lane to the next in the host's memory.

A power of two would put the same offset of all lanes into the same few cache sets; 33 cache
lines of 128 bytes more spread them over all sets.
"""

SPARE_LANES = 8
"""Lanes behind the last one that exist only so that vector loads may run past the end."""

_TABLES = "l2_tables.npy"
_TABLE_START = 0x300000
_SERIAL, _SERIAL_COUNT = 0x301800, 2048
_WARP = 0x303800


@cache
def l2_image() -> np.ndarray:
    """L2 as the firmware leaves it: zeros but for the tables from offset 0x300000 on; u8[4 MB].

    The exponential and Taylor tables hold values that no rounding rule reproduces (entries of
    exp are 0 or off in the last place), so all small tables were read from the chip maker's
    C-model after its initialisation and are kept in ``l2_tables.npy`` (u32[1536], offsets
    0x300000..0x3017ff; ``tools/measure_l2_tables.py`` repeats and verifies the measurement).
    The serial numbers 0.0, 1.0, … and the warp table (column and row numbers of a 256 x 256
    grid) follow from formulas.
    """
    image = np.zeros(L2_BYTES, np.uint8)
    with resources.files("nntc.sim").joinpath(_TABLES).open("rb") as file:
        tables = np.load(file, allow_pickle=False).view(np.uint8)
    image[_TABLE_START : _TABLE_START + tables.size] = tables
    serial = np.arange(_SERIAL_COUNT, dtype=np.float32).view(np.uint8)
    image[_SERIAL : _SERIAL + serial.size] = serial
    grid = np.arange(65536)
    image[_WARP : _WARP + 65536] = grid & 255
    image[_WARP + 65536 : _WARP + 131072] = grid >> 8
    image.flags.writeable = False
    return image


class Segment:
    """A mapped range of DDR: *address*, its bytes (u8, C-contiguous) and whether it is writable."""

    __slots__ = ("address", "data", "stop")

    def __init__(self, address: int, data: np.ndarray) -> None:
        self.address = address
        self.data = data
        self.stop = address + data.size

    @property
    def writable(self) -> bool:
        return bool(self.data.flags.writeable)


class Memory:
    """Local memory, L2 with the firmware's tables, and mapped DDR.

    Attributes:
        local: u8[64, 524288], a view of the lanes.
        l2: u8[4 MB].
        generation: changes whenever a segment is mapped or unmapped; plans that hold addresses
            are valid for one generation.
    """

    def __init__(self) -> None:
        self._lanes = np.zeros((LANES + SPARE_LANES) * LANE_PITCH, np.uint8)
        padded = self._lanes.reshape(LANES + SPARE_LANES, LANE_PITCH)
        self.local: np.ndarray = padded[:LANES, :LANE_BYTES]
        self.l2: np.ndarray = l2_image().copy()
        self.generation = 0
        self._segments: list[Segment] = []
        self._starts: list[int] = []

    @property
    def padded_lanes(self) -> np.ndarray:
        """The lanes with their pitch, flat; u8[(64 + spare) * LANE_PITCH]."""
        return self._lanes

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The mapped DDR, by address."""
        return tuple(self._segments)

    def reset(self) -> None:
        """Zero local memory and restore L2; mapped DDR stays as it is."""
        self._lanes[:] = 0
        self.l2[:] = l2_image()

    def map(self, address: int, storage: np.ndarray | int) -> np.ndarray:
        """Make DDR exist from *address* on.

        Args:
            storage: a C-contiguous array that becomes the memory itself (no copy; a read-only
                array gives read-only memory), or a number of bytes, which start as zeros.

        Returns:
            The memory as u8[bytes].

        Raises:
            DeviceError: outside the address space, empty, not contiguous or overlapping another
                segment.
        """
        if isinstance(storage, np.ndarray):
            if not storage.flags.c_contiguous:
                raise DeviceError(f"DDR {address:#x}: the array to map is not contiguous")
            data = storage.reshape(-1).view(np.uint8)
        else:
            data = np.zeros(max(int(storage), 0), np.uint8)
        if not data.size:
            raise DeviceError(f"DDR {address:#x}: cannot map 0 bytes")
        stop = address + data.size
        if address < L2_BASE + L2_BYTES or stop > DDR_LIMIT:
            raise DeviceError(
                f"DDR {address:#x}..{stop - 1:#x}: outside the addresses "
                f"{L2_BASE + L2_BYTES:#x}..{DDR_LIMIT - 1:#x} that system memory can have"
            )
        at = bisect_right(self._starts, address)
        for other in self._segments[max(at - 1, 0) : at + 1]:
            if other.address < stop and address < other.stop:
                raise DeviceError(
                    f"DDR {address:#x}..{stop - 1:#x}: overlaps the segment "
                    f"{other.address:#x}..{other.stop - 1:#x}"
                )
        self._segments.insert(at, Segment(address, data))
        self._starts.insert(at, address)
        self.generation += 1
        return data

    def unmap(self, address: int) -> None:
        """Forget the segment that starts at *address*.

        Raises:
            DeviceError: no segment starts there.
        """
        if address not in self._starts:
            raise DeviceError(f"DDR {address:#x}: no segment starts here")
        at = self._starts.index(address)
        del self._segments[at], self._starts[at]
        self.generation += 1

    def segment(self, address: int, nbytes: int) -> Segment | None:
        """The DDR segment that holds all of [address, address + nbytes), or None."""
        at = bisect_right(self._starts, address) - 1
        if at < 0 or address + nbytes > self._segments[at].stop:
            return None
        return self._segments[at]

    def view(self, address: int, nbytes: int) -> np.ndarray:
        """The bytes of one lane, of L2 or of one DDR segment, without a copy; u8[nbytes].

        Raises:
            DeviceError: the range is not mapped, or leaves its lane, L2 or segment.
        """
        stop = address + nbytes
        if LOCAL_BASE <= address < LOCAL_BASE + LOCAL_BYTES:
            lane, offset = divmod(address - LOCAL_BASE, LANE_BYTES)
            if offset + nbytes <= LANE_BYTES:
                return self.local[lane, offset : offset + nbytes]
        elif address >= L2_BASE and stop <= L2_BASE + L2_BYTES:
            return self.l2[address - L2_BASE : stop - L2_BASE]
        else:
            found = self.segment(address, nbytes)
            if found is not None:
                return found.data[address - found.address : stop - found.address]
        raise DeviceError(f"memory {address:#x}..{stop - 1:#x}: {self._why_not(address)}")

    def _why_not(self, address: int) -> str:
        if LOCAL_BASE <= address < LOCAL_BASE + LOCAL_BYTES:
            return "leaves its lane"
        if L2_BASE <= address < L2_BASE + L2_BYTES:
            return "leaves L2"
        mapped = ", ".join(f"{s.address:#x}..{s.stop - 1:#x}" for s in self._segments[:8])
        return f"outside every mapped segment ({mapped or 'none'})"

    def read(self, address: int, nbytes: int) -> np.ndarray:
        """A copy of *nbytes* from *address* on; u8[nbytes]."""
        return self.view(address, nbytes).copy()

    def write(self, address: int, values: np.ndarray | bytes) -> None:
        """Store the bytes of *values* from *address* on.

        Raises:
            DeviceError: not mapped, or read-only.
        """
        if isinstance(values, np.ndarray):
            data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        else:
            data = np.frombuffer(values, np.uint8)
        target = self.view(address, data.size)
        if not target.flags.writeable:
            raise DeviceError(f"memory {address:#x}: mapped read-only")
        target[:] = data
