"""Orders the work of all steps and gives every buffer a place in local memory.

One tick is one position in the order. Around the computation of step s:

    loads of s+1 (those that do not need what s or s-1 stores later)
    computations of s, one tick each
    stores of s
    loads of s+1 that read what s stores

A buffer is live from its load or first write to its last use. Placement is first fit by ticks;
even steps prefer the low half of local memory and odd steps the high half, so that the GDMA
fills banks on which the TIU does not work.
"""

from __future__ import annotations

from nntc.backend.assembler import Assembler
from nntc.backend.local import Buffer
from nntc.backend.plan import Emit, Step
from nntc.core.errors import UserError
from nntc.isa.chip import LANE_BYTES


class LocalMemoryError(UserError):
    """A step does not fit; ``step`` is its index."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


def _order(steps: list[Step], late: set[int]) -> list[Emit]:
    """The actions in order; sets every buffer's lifetime.

    Args:
        late: steps whose loads are not moved ahead (local memory was too full).
    """
    for step in steps:
        for buffer in step.buffers():
            buffer.born = buffer.dies = -1
    actions: list[Emit] = []
    tick = 0

    def run_loads(index: int, early: bool) -> None:
        nonlocal tick
        stored = {id(s) for t in steps[index - 1].stores for s in t.writes} if index else set()
        for load in steps[index].loads:
            ahead = index not in late and not any(id(s) in stored for s in load.reads)
            if index == 0 or ahead == early:
                if load.buffer is not None:
                    load.buffer.live(tick)
                actions.append(load.emit)

    if steps:
        run_loads(0, early=True)
    for index, step in enumerate(steps):
        tick += 1
        if index + 1 < len(steps):
            run_loads(index + 1, early=True)
        for compute in step.computes:
            tick += 1
            for buffer in (*compute.reads, *compute.writes):
                buffer.live(tick)
            actions.append(compute.emit)
        tick += 1
        for store in step.stores:
            if store.buffer is not None:
                # The store runs while the next step computes: keep its source until then.
                store.buffer.live(tick)
            actions.append(store.emit)
        tick += 1
        if index + 1 < len(steps):
            run_loads(index + 1, early=False)
    return actions


def _place(steps: list[Step]) -> int | None:
    """Give every buffer an offset; returns the first step that does not fit, or None."""
    placed: list[Buffer] = []
    for index, step in enumerate(steps):
        new = [b for b in step.buffers() if b.offset < 0]
        if not new:
            continue
        oldest = min(b.born for b in new)
        placed = [b for b in placed if b.dies >= oldest]
        new.sort(key=lambda b: (-b.size, b.born))
        for buffer in new:
            offset = _first_fit(buffer, placed, from_top=bool(index % 2))
            if offset is None:
                offset = _first_fit(buffer, placed, from_top=not index % 2)
            if offset is None:
                return index
            buffer.offset = offset
            placed.append(buffer)
    return None


def _first_fit(buffer: Buffer, placed: list[Buffer], from_top: bool) -> int | None:
    taken = sorted(
        (b.offset, b.offset + b.size)
        for b in placed
        if b.born <= buffer.dies and buffer.born <= b.dies
    )
    if from_top:
        taken = sorted((LANE_BYTES - stop, LANE_BYTES - start) for start, stop in taken)
    cursor = 0
    for start, stop in taken:
        if start - cursor >= buffer.size:
            break
        cursor = max(cursor, stop)
    if cursor + buffer.size > LANE_BYTES:
        return None
    return LANE_BYTES - cursor - buffer.size if from_top else cursor


def run(steps: list[Step], assembler: Assembler) -> None:
    """Order, place and emit all steps.

    Raises:
        LocalMemoryError: one step alone needs more than local memory has.
    """
    late: set[int] = set()
    while True:
        actions = _order(steps, late)
        for step in steps:
            for buffer in step.buffers():
                buffer.offset = -1
        stuck = _place(steps)
        if stuck is None:
            break
        # Stop loading ahead around the place that is too full, then try again.
        relief = {stuck, stuck + 1} - late
        if not relief or (stuck + 1 >= len(steps) and stuck in late):
            raise LocalMemoryError(stuck, f"{steps[stuck].label}: does not fit into local memory")
        late |= relief
    for emit in actions:
        emit(assembler)
