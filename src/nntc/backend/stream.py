"""The two instruction streams and their synchronisation.

Instructions arrive in one order that is correct when executed one by one. Each engine runs its
own stream in order and in parallel with the other, so an instruction must wait for the last
command of the other engine that conflicts with it (reads what it writes, writes what it reads or
writes). The conflicts are found from byte ranges of local memory and L2; system memory is touched
by the GDMA alone, which is in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nntc.isa import Engine, Instruction
from nntc.isa.chip import LANE_BYTES

Range = tuple[int, int]
"""Byte range [start, stop) in a lane of local memory, or behind LANE_BYTES in L2."""

GROUP_LIMIT = 30000
"""Commands per engine in one command group; ids have 16 bits."""


def l2_range(offset: int, size: int) -> Range:
    """Bytes of L2: numbers that no byte of a lane has."""
    return LANE_BYTES + offset, LANE_BYTES + offset + size


@dataclass
class Group:
    """One command group: both streams with their own numbering from 1."""

    tiu: list[Instruction] = field(default_factory=list)
    gdma: list[Instruction] = field(default_factory=list)

    def encode(self) -> tuple[bytes, bytes]:
        return (
            b"".join(i.encode() for i in self.tiu),
            b"".join(i.encode() for i in self.gdma),
        )


class _Accesses:
    """Byte ranges touched by one engine's commands since a given command."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, int, bool]] = []

    def add(self, number: int, ranges: Sequence[Range], write: bool) -> None:
        for start, stop in ranges:
            self.entries.append((number, start, stop, write))

    def forget(self, number: int) -> None:
        """Drop commands up to *number*: the other engine has waited for them."""
        if self.entries and self.entries[0][0] <= number:
            self.entries = [e for e in self.entries if e[0] > number]

    def last_conflict(self, ranges: Sequence[Range], write: bool) -> int:
        """Number of the last command that conflicts with an access to *ranges*; 0: none."""
        last = 0
        for number, start, stop, wrote in self.entries:
            if (write or wrote) and number > last:
                for low, high in ranges:
                    if low < stop and start < high:
                        last = number
                        break
        return last


class Stream:
    """Collects instructions, numbers them and computes what each one waits for."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self._open_group()

    def _open_group(self) -> None:
        self.groups.append(Group())
        self._seen = {Engine.TIU: _Accesses(), Engine.GDMA: _Accesses()}
        self._waited = {Engine.TIU: 0, Engine.GDMA: 0}

    @property
    def current(self) -> Group:
        return self.groups[-1]

    def counts(self) -> tuple[int, int]:
        """Instructions so far: (TIU, GDMA)."""
        return sum(len(g.tiu) for g in self.groups), sum(len(g.gdma) for g in self.groups)

    def append(
        self, instruction: Instruction, reads: Sequence[Range], writes: Sequence[Range]
    ) -> None:
        """Add an instruction.

        Args:
            reads, writes: byte ranges of local memory, the same in all lanes.
        """
        if max(len(self.current.tiu), len(self.current.gdma)) >= GROUP_LIMIT:
            # A group ends when both engines are done: nothing needs to be remembered across it.
            self._open_group()
        engine = instruction.engine
        other = Engine.GDMA if engine is Engine.TIU else Engine.TIU
        stream = self.current.tiu if engine is Engine.TIU else self.current.gdma
        theirs = self._seen[other]
        wait = max(
            self._waited[engine],
            theirs.last_conflict(reads, write=False),
            theirs.last_conflict(writes, write=True),
        )
        if wait > self._waited[engine]:
            self._waited[engine] = wait
            theirs.forget(wait)
        number = len(stream) + 1
        stream.append(instruction.with_sync(number, wait))
        mine = self._seen[engine]
        mine.add(number, reads, write=False)
        mine.add(number, writes, write=True)

    def finish(self) -> list[Group]:
        """The groups; the last GDMA command waits for the last TIU command, as the firmware's
        own generators have it (unless that one itself waits for the GDMA's end)."""
        for group in self.groups:
            if group.gdma and group.tiu and group.tiu[-1].waits_for < len(group.gdma):
                last = group.gdma[-1]
                group.gdma[-1] = last.with_sync(last.number, len(group.tiu))
        return [g for g in self.groups if g.tiu or g.gdma]
