"""Tensors in local memory as the code generator sees them.

A :class:`Buffer` is a byte range [offset, offset+size) that is reserved in all 64 lanes; the
allocator sets its offset after all steps are planned. A :class:`Local` is a tensor in a buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

from nntc.isa.chip import ALIGN_BYTES, LANES, WORD_BYTES, local_address
from nntc.isa.layout import (
    Shape4,
    Strides,
    align_up,
    aligned_strides,
    compact_strides,
    slots,
)


class Buffer:
    """A block of local memory, the same range in every lane.

    Attributes:
        size: bytes per lane, a multiple of 128.
        offset: first byte in the lane; -1 until allocated.
        born, dies: first and last tick of the plan at which the content matters.
    """

    __slots__ = ("born", "dies", "label", "offset", "size")

    def __init__(self, size: int, label: str = "") -> None:
        self.size = align_up(max(size, 1), ALIGN_BYTES)
        self.offset = -1
        self.label = label
        self.born = -1
        self.dies = -1

    def live(self, tick: int) -> None:
        """Extend the lifetime to include *tick*."""
        self.born = tick if self.born < 0 else min(self.born, tick)
        self.dies = max(self.dies, tick)

    def __repr__(self) -> str:
        return f"Buffer({self.label} {self.size} @{self.offset} {self.born}..{self.dies})"


@dataclass(frozen=True)
class Local:
    """A 32-bit tensor in local memory that starts in lane 0.

    Attributes:
        buffer: where it lies.
        shape: n, c, h, w.
        strides: in words; ``c`` steps from one slot of 64 channels to the next.
        word: first word inside the buffer.
    """

    buffer: Buffer
    shape: Shape4
    strides: Strides
    word: int = 0

    @property
    def aligned(self) -> bool:
        """Whether the hardware's aligned layout of this shape addresses the same words."""
        sizes = (self.shape.n, slots(self.shape.c), self.shape.h, self.shape.w)
        wanted = aligned_strides(self.shape)
        return all(
            size == 1 or mine == want
            for size, mine, want in zip(sizes, self.strides, wanted, strict=True)
        )

    @property
    def offset(self) -> int:
        return self.buffer.offset + self.word * WORD_BYTES

    @property
    def address(self) -> int:
        return local_address(self.offset)

    @property
    def extent(self) -> tuple[int, int]:
        """Byte range in the lane that covers every element."""
        n, c, h, w = self.shape
        sn, sc, sh, sw = self.strides
        last = (n - 1) * sn + (slots(c) - 1) * sc + (h - 1) * sh + (w - 1) * sw
        return self.offset, self.offset + (last + 1) * WORD_BYTES

    def part(
        self,
        n: tuple[int, int] | None = None,
        c: tuple[int, int] | None = None,
        h: tuple[int, int] | None = None,
        w: tuple[int, int] | None = None,
    ) -> Local:
        """A box of the tensor in place; a channel start must be a multiple of 64."""
        starts, sizes = [], []
        for span, size in zip((n, c, h, w), self.shape, strict=True):
            start, stop = span if span is not None else (0, size)
            starts.append(start)
            sizes.append(stop - start)
        if starts[1] % LANES:
            raise ValueError("a channel slice must start at a multiple of 64")
        starts[1] //= LANES
        word = self.word + sum(a * b for a, b in zip(starts, self.strides, strict=True))
        return Local(self.buffer, Shape4(*sizes), self.strides, word)

    def view(self, shape: Shape4, strides: Strides) -> Local:
        """The same memory seen with another shape and other strides."""
        return Local(self.buffer, shape, strides, self.word)

    def broadcast(self, shape: Shape4) -> Local:
        """Seen with *shape*, by strides 0 where this tensor has size 1 (not over channels)."""
        if self.shape == shape:
            return self
        strides = [
            0 if mine == 1 and wanted != 1 else s
            for mine, wanted, s in zip(self.shape, shape, self.strides, strict=True)
        ]
        if self.shape.c != shape.c:
            raise ValueError("channels cannot be broadcast in local memory")
        return Local(self.buffer, shape, Strides(*strides), self.word)


def aligned_bytes(shape: Shape4) -> int:
    """Bytes per lane of a 32-bit tensor in the aligned layout."""
    return shape.n * aligned_strides(shape).n * WORD_BYTES


def aligned_local(shape: Shape4, label: str = "", slack: int = 0) -> Local:
    """A new tensor in the aligned layout, with its own buffer and *slack* words behind it."""
    size = aligned_bytes(shape) + slack * WORD_BYTES
    return Local(Buffer(size, label), shape, aligned_strides(shape))


def compact_local(shape: Shape4, label: str = "") -> Local:
    """A new tensor in the compact layout (weights, biases), with its own buffer."""
    strides = compact_strides(shape)
    size = shape.n * strides.n * WORD_BYTES
    return Local(Buffer(size, label), shape, strides)
