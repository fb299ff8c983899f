"""Steps: the unit of the software pipeline.

The network becomes a list of steps. A step loads tiles, computes on them and stores the result.
The pipeline order puts the loads of the next step before the computation of this one, so that
GDMA and TIU work at the same time; loads that need what this step stores come after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nntc.backend.assembler import Assembler
from nntc.backend.local import Buffer

Emit = Callable[[Assembler], None]


class Storage:
    """A tensor's place in system memory.

    Attributes:
        size: bytes.
        address: byte address; 0 until allocated.
        coefficient: lies with the constants, which no step writes.
    """

    __slots__ = ("address", "coefficient", "dies", "label", "pinned", "size")

    def __init__(self, size: int, label: str, coefficient: bool = False) -> None:
        self.size = size
        self.label = label
        self.address = 0
        self.coefficient = coefficient
        self.pinned = False
        self.dies = -1

    def __repr__(self) -> str:
        return f"Storage({self.label} {self.size} @{self.address:#x})"


@dataclass
class Transfer:
    """A load or a store (or a copy inside system memory, which has no buffer)."""

    emit: Emit
    buffer: Buffer | None = None
    reads: tuple[Storage, ...] = ()
    writes: tuple[Storage, ...] = ()


@dataclass
class Compute:
    """Instructions of one operator on one tile."""

    emit: Emit
    reads: list[Buffer] = field(default_factory=list[Buffer])
    writes: list[Buffer] = field(default_factory=list[Buffer])


@dataclass
class Step:
    """Loads, then computations, then stores."""

    label: str
    loads: list[Transfer] = field(default_factory=list[Transfer])
    computes: list[Compute] = field(default_factory=list[Compute])
    stores: list[Transfer] = field(default_factory=list[Transfer])

    def buffers(self) -> list[Buffer]:
        """Every buffer the step touches, once, in order of first use."""
        found: dict[int, Buffer] = {}
        for load in self.loads:
            if load.buffer is not None:
                found[id(load.buffer)] = load.buffer
        for compute in self.computes:
            for buffer in (*compute.reads, *compute.writes):
                found.setdefault(id(buffer), buffer)
        for store in self.stores:
            if store.buffer is not None:
                found.setdefault(id(store.buffer), store.buffer)
        return list(found.values())


def peak_bytes(steps: list[Step]) -> int:
    """Bytes per lane that the steps need at once when nothing is loaded ahead."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    sizes: dict[int, int] = {}
    tick = 0

    def touch(buffer: Buffer | None) -> None:
        if buffer is not None:
            first.setdefault(id(buffer), tick)
            last[id(buffer)] = tick
            sizes[id(buffer)] = buffer.size

    for step in steps:
        for load in step.loads:
            touch(load.buffer)
        tick += 1
        for compute in step.computes:
            for buffer in (*compute.reads, *compute.writes):
                touch(buffer)
            tick += 1
        for store in step.stores:
            touch(store.buffer)
        tick += 1
    change: dict[int, int] = {}
    for key, size in sizes.items():
        change[first[key]] = change.get(first[key], 0) + size
        change[last[key] + 1] = change.get(last[key] + 1, 0) - size
    level = peak = 0
    for moment in sorted(change):
        level += change[moment]
        peak = max(peak, level)
    return peak
