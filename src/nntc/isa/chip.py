"""BM1684 constants: memory map, lanes, banks, precisions, engine numbers.

Sources: the measured notes (local memory, L2 and DDR addresses as commands carry them) and the
public libsophon headers (clock, peak rates).
"""

from __future__ import annotations

from enum import IntEnum

LANES = 64
LANE_BYTES = 512 * 1024
BANKS = 8
BANK_BYTES = LANE_BYTES // BANKS
LOCAL_BYTES = LANES * LANE_BYTES

LOCAL_BASE = 0x0800_0000
L2_BASE = 0x1000_0000
L2_BYTES = 4 * 1024 * 1024
DDR_BASE = 0x1_0000_0000
DDR_LIMIT = 1 << 40
"""End of the address space of GDMA system addresses (40 bits)."""

CONTEXT_BASE = 0x1_0510_0000
"""Compile-time address where the runtime's relocation starts: coefficients, then neurons."""

COMMAND_BYTES = 128
WORD_BYTES = 4
ALIGN_BYTES = 128
"""Alignment of a channel's start in the aligned local layout."""

EU_F32 = 32
"""fp32 execution units per lane."""

CLOCK_HZ = 550_000_000

MAX_N = 65535
MAX_C = 4095
MAX_H = 65535
MAX_W = 65535

L2_TABLE_EXP_INT = 0x300000
L2_TABLE_EXP_TAYLOR = 0x300C00
L2_TABLE_U8_TO_F32 = 0x300F00
L2_TABLE_I8_TO_F32 = 0x301300
L2_TABLE_SERIAL = 0x301800
L2_TABLE_USER = 0x323800
"""Offsets inside L2 of the lookup tables that the firmware fills (32-bit words)."""


class Engine(IntEnum):
    """The two engines; the numbers are those of the C-model's dispatcher."""

    TIU = 0
    GDMA = 1


class Prec(IntEnum):
    """TIU precision codes."""

    INT8 = 0
    FP16 = 1
    FP32 = 2
    INT16 = 3
    INT32 = 4


class Fmt(IntEnum):
    """GDMA data formats; FP32 moves any 32-bit word."""

    FP32 = 0
    INT16 = 1
    UINT8 = 2
    INT8 = 3
    FP16 = 4

    @property
    def size(self) -> int:
        """Bytes per element."""
        return (4, 2, 1, 1, 2)[self]


class Direction(IntEnum):
    """GDMA direction; S is system memory (DDR or L2), L local memory."""

    S2L = 0
    L2S = 1
    S2S = 2
    L2L = 3


def local_address(offset: int, lane: int = 0) -> int:
    """Address of byte *offset* of *lane*."""
    return LOCAL_BASE + lane * LANE_BYTES + offset


def split_local(address: int) -> tuple[int, int]:
    """(start lane, byte offset in the lane) of a local address."""
    return divmod(address - LOCAL_BASE, LANE_BYTES)
