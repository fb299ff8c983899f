"""How tensors lie in local memory: lanes, slots and strides.

Channel *c* of a tensor whose address starts in lane L lies in lane (L+c) mod 64, slot
(L+c) div 64. Strides are (n, channel slot, h, w), in elements of the unit that a form uses:
32-bit words for everything the TIU computes on.
"""

from __future__ import annotations

from typing import NamedTuple

from nntc.isa.chip import LANES


class Shape4(NamedTuple):
    """Sizes of a local tensor."""

    n: int
    c: int
    h: int
    w: int

    @property
    def size(self) -> int:
        return self.n * self.c * self.h * self.w


class Strides(NamedTuple):
    """Strides of a local tensor; ``c`` steps from one slot of 64 channels to the next."""

    n: int
    c: int
    h: int
    w: int


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def align_up(value: int, unit: int) -> int:
    return ceil_div(value, unit) * unit


def slots(channels: int, lane: int = 0) -> int:
    """Channel slots per lane of a tensor that starts in *lane*."""
    return ceil_div(lane + channels, LANES)


def aligned_strides(shape: Shape4, lane: int = 0, unit: int = 32) -> Strides:
    """The aligned layout: a channel's h*w block starts on 128 bytes.

    Args:
        unit: elements in 128 bytes: 32 for words, 64 for 16-bit, 128 for 8-bit elements.
    """
    c = align_up(shape.h * shape.w, unit)
    return Strides(slots(shape.c, lane) * c, c, shape.w, 1)


def compact_strides(shape: Shape4, lane: int = 0) -> Strides:
    """The compact layout: channel blocks follow each other without gaps."""
    c = shape.h * shape.w
    return Strides(slots(shape.c, lane) * c, c, shape.w, 1)


def contiguous_strides(shape: Shape4) -> Strides:
    """Row-major NCHW in system memory."""
    return Strides(shape.c * shape.h * shape.w, shape.h * shape.w, shape.w, 1)
