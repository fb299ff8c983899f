"""The order of steps, the placement of buffers, and what instructions wait for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from nntc.backend import pipeline, stream
from nntc.backend.assembler import Assembler, System
from nntc.backend.local import Buffer, Local, aligned_local
from nntc.backend.pipeline import LocalMemoryError
from nntc.backend.plan import Compute, Emit, Step, Storage, Transfer, peak_bytes
from nntc.backend.stream import Stream
from nntc.core.errors import InstructionError
from nntc.isa.chip import LANE_BYTES
from nntc.isa.layout import Shape4
from nntc.sim import Memory, Program, Simulator

DDR = 0x1_1000_0000


@dataclass
class Shadow:
    """Who wrote each block of local memory last; 128 bytes a block."""

    owner: list[object] = field(default_factory=lambda: [None] * (LANE_BYTES // 128))
    stored: dict[Storage, int] = field(default_factory=dict[Storage, int])
    log: list[str] = field(default_factory=list[str])

    def blocks(self, buffer: Buffer) -> range:
        assert buffer.offset >= 0
        assert buffer.offset + buffer.size <= LANE_BYTES
        assert buffer.offset % 128 == 0
        return range(buffer.offset // 128, (buffer.offset + buffer.size) // 128)

    def write(self, buffer: Buffer) -> None:
        for block in self.blocks(buffer):
            self.owner[block] = buffer

    def read(self, buffer: Buffer) -> None:
        assert all(self.owner[block] is buffer for block in self.blocks(buffer)), buffer


def random_steps(rng: np.random.Generator, count: int, most: int, shadow: Shadow) -> list[Step]:
    """Steps that check, when they are emitted, that they find what they need.

    Loads read results of earlier steps or inputs; some buffers stay for the next step; some
    results are computed over several steps.
    """
    inputs = [Storage(10, f"in{i}") for i in range(3)]
    shadow.stored.update(dict.fromkeys(inputs, 0))
    results: list[Storage] = []
    kept: list[Buffer] = []
    open_result: Buffer | None = None
    steps: list[Step] = []

    def buffer(label: str) -> Buffer:
        return Buffer(int(rng.integers(1, most)), label)

    def loader(target: Buffer, source: Storage) -> Emit:
        def emit(asm: Assembler) -> None:
            assert source in shadow.stored, f"{source} is loaded before it is stored"
            shadow.write(target)

        return emit

    def worker(reads: list[Buffer], writes: list[Buffer], adds: Buffer | None) -> Emit:
        def emit(asm: Assembler) -> None:
            for item in reads:
                shadow.read(item)
            if adds is not None:
                shadow.read(adds)
            for item in writes:
                shadow.write(item)

        return emit

    def storer(source: Buffer, target: Storage) -> Emit:
        def emit(asm: Assembler) -> None:
            shadow.read(source)
            shadow.stored[target] = 1

        return emit

    for number in range(count):
        step = Step(f"step {number}")
        reads = [b for b in kept if rng.random() < 0.5]
        for _ in range(int(rng.integers(0, 3))):
            pool = inputs + results
            source = pool[-1] if rng.random() < 0.4 else pool[int(rng.integers(len(pool)))]
            target = buffer("load")
            step.loads.append(Transfer(loader(target, source), target, reads=(source,)))
            reads.append(target)
        adds = open_result
        out = open_result or buffer("out")
        for _ in range(int(rng.integers(0, 3))):
            scratch = buffer("scratch")
            step.computes.append(
                Compute(worker(list(reads), [scratch], None), list(reads), [scratch])
            )
            reads = [*reads, scratch]
        step.computes.append(Compute(worker(list(reads), [out], adds), list(reads), [out]))
        open_result = out if rng.random() < 0.3 else None
        if open_result is None:
            storage = Storage(10, f"result {number}")
            step.stores.append(Transfer(storer(out, storage), out, writes=(storage,)))
            results.append(storage)
        kept = [t.buffer for t in step.loads if t.buffer is not None]
        steps.append(step)
    return steps


@pytest.mark.parametrize("most", [500, 20_000, 60_000])
def test_no_buffer_is_overwritten_while_it_is_needed(most: int) -> None:
    for seed in range(40):
        shadow = Shadow()
        steps = random_steps(np.random.default_rng(seed), 12, most, shadow)
        if max(peak_bytes([s]) for s in steps) > LANE_BYTES // 2:
            continue
        pipeline.run(steps, Assembler(Stream()))


def test_loads_run_ahead_of_the_computation_before() -> None:
    """Only loads that need its result come after it."""
    log: list[str] = []

    def say(text: str) -> Emit:
        return lambda asm: log.append(text)

    middle = Storage(10, "middle")
    other = Storage(10, "other")
    buffers = [Buffer(128) for _ in range(5)]
    first = Step(
        "first",
        loads=[Transfer(say("load 0"), buffers[0], reads=(other,))],
        computes=[Compute(say("compute 0"), [buffers[0]], [buffers[1]])],
        stores=[Transfer(say("store 0"), buffers[1], writes=(middle,))],
    )
    second = Step(
        "second",
        loads=[
            Transfer(say("late"), buffers[2], reads=(middle,)),
            Transfer(say("early"), buffers[3], reads=(other,)),
        ],
        computes=[Compute(say("compute 1"), [buffers[2], buffers[3]], [buffers[4]])],
    )
    pipeline.run([first, second], Assembler(Stream()))
    assert log == ["load 0", "early", "compute 0", "store 0", "late", "compute 1"]


def work(size: int, log: list[int], number: int) -> Step:
    """A step that loads and computes with buffers of *size* bytes."""
    source, result = Buffer(size), Buffer(size)
    return Step(
        f"step {number}",
        loads=[Transfer(lambda asm: log.append(number), source)],
        computes=[Compute(lambda asm: log.append(100 + number), [source], [result])],
    )


def test_full_memory_stops_loading_ahead() -> None:
    log: list[int] = []
    pipeline.run([work(LANE_BYTES // 2, log, i) for i in range(3)], Assembler(Stream()))
    assert log == [0, 100, 1, 101, 2, 102]
    log.clear()
    pipeline.run([work(LANE_BYTES // 4, log, i) for i in range(3)], Assembler(Stream()))
    assert log == [0, 1, 100, 2, 101, 102]


def test_a_step_too_large_is_refused() -> None:
    steps = [work(128, [], 0), work(LANE_BYTES // 2 + 128, [], 1), work(128, [], 2)]
    with pytest.raises(LocalMemoryError, match="step 1: does not fit") as info:
        pipeline.run(steps, Assembler(Stream()))
    assert info.value.step == 1


def test_peak_bytes() -> None:
    log: list[int] = []
    assert peak_bytes([work(1000, log, 0)]) == 2048
    assert peak_bytes([work(1000, log, 0), work(128, log, 1)]) == 2048
    assert peak_bytes([]) == 0


# -- the two streams ------------------------------------------------------------------------------


def random_work(asm: Assembler, rng: np.random.Generator, count: int) -> None:
    """Loads, stores and copies on a few overlapping places in local memory."""
    shape = Shape4(1, 64, 2, 16)

    def place() -> Local:
        local = aligned_local(shape)
        local.buffer.offset = 128 * int(rng.integers(0, 12))
        return local

    for _ in range(count):
        kind = int(rng.integers(4))
        system = System(DDR + 4096 * int(rng.integers(0, 4)), (2048, 32, 16, 1))
        if kind == 0:
            asm.load(place(), system)
        elif kind == 1:
            asm.store(place(), system)
        elif kind == 2:
            asm.copy(place(), place())
        else:
            asm.binary("add", place(), place(), 1.0)


def groups_of(emit: Callable[[Assembler], None]) -> list[tuple[bytes, bytes]]:
    made = Stream()
    emit(Assembler(made))
    return [group.encode() for group in made.finish()]


def memory_after(groups: list[tuple[bytes, bytes]], first: str) -> bytes:
    memory = Memory()
    words = np.random.default_rng(5).integers(0, 1 << 20, 64 * 2048, dtype=np.uint32)
    memory.local[:, :8192] = words.view(np.uint8).reshape(64, 8192)
    memory.map(DDR, np.arange(16384, dtype=np.uint32))
    Simulator(memory).run(Program(groups), first=first)
    return memory.local.tobytes() + memory.read(DDR, 65536).tobytes()


def test_waits_order_all_that_conflicts() -> None:
    """The simulator refuses unordered conflicts; both orders give the same memory."""
    for seed in range(12):
        groups = groups_of(lambda asm, s=seed: random_work(asm, np.random.default_rng(s), 60))
        assert memory_after(groups, "gdma") == memory_after(groups, "tiu")


def test_a_wait_less_is_a_hazard() -> None:
    """The wait numbers are not larger than needed."""
    made = Stream()
    random_work(Assembler(made), np.random.default_rng(1), 60)
    (group,) = made.finish()
    highest = 0
    weakened = 0
    for index, instruction in enumerate(group.tiu):
        if instruction.waits_for > highest:
            highest = instruction.waits_for
            less = list(group.tiu)
            less[index] = instruction.with_sync(instruction.number, highest - 1)
            # Later waits cover the conflict of an earlier command, so only this one is weakened.
            streams = (b"".join(i.encode() for i in less), group.encode()[1])
            with pytest.raises(InstructionError, match="a dependency is missing"):
                Program([streams])
            weakened += 1
    assert weakened > 5


def test_long_streams_are_cut_into_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    def emit(asm: Assembler) -> None:
        random_work(asm, np.random.default_rng(2), 100)

    whole = groups_of(emit)
    monkeypatch.setattr(stream, "GROUP_LIMIT", 7)
    cut = groups_of(emit)
    assert len(whole) == 1
    assert len(cut) > 6
    assert max(len(part) for group in cut for part in group) <= 7 * 128
    assert memory_after(whole, "gdma") == memory_after(cut, "gdma")
