"""What plans share: views of the memory, scratch space, workers, cached tables."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from nntc.isa.chip import LANE_BYTES, LANES, LOCAL_BASE, WORD_BYTES
from nntc.isa.forms import Instruction
from nntc.sim.fast.native import WORKERS
from nntc.sim.memory import LANE_PITCH, Memory, Segment
from nntc.sim.reference import OPERATIONS
from nntc.sim.reference.address import Access

LANE_WORDS = LANE_PITCH // WORD_BYTES
"""Words from one lane to the next in :attr:`Context.words`."""

Step = Callable[[], Any]
"""One planned command."""

T = TypeVar("T")


def split(address: int) -> tuple[int, int]:
    """(lane, byte offset) of a local address."""
    return divmod(address - LOCAL_BASE, LANE_BYTES)


class Context:
    """One memory seen by the kernels.

    Attributes:
        words, ints, bytes: the padded lanes as f32, i32 and u8.
        l2_words: L2 as f32.
        fallbacks: mnemonics of commands that the reference engine executes.
    """

    def __init__(
        self,
        memory: Memory,
        threads: int | None = None,
        tables: dict[Any, Any] | None = None,
    ) -> None:
        self.memory = memory
        self.bytes: np.ndarray = memory.padded_lanes
        self.words: np.ndarray = self.bytes.view(np.float32)
        self.ints: np.ndarray = self.bytes.view(np.int32)
        self.l2_words: np.ndarray = memory.l2.view(np.float32)
        self.workers = WORKERS
        self.threads = threads or WORKERS.count
        self.fallbacks: list[str] = []
        self._scratch: dict[tuple[str, int], np.ndarray] = {}
        self._tables = tables if tables is not None else {}
        self._aliases: dict[int, tuple[Segment, np.ndarray]] = {}

    def scratch(self, purpose: str, floats: int) -> np.ndarray:
        """f32 scratch of at least that many elements, shared by all commands."""
        size = 1 << max(floats - 1, 1023).bit_length()
        key = (purpose, size)
        if key not in self._scratch:
            self._scratch[key] = np.zeros(size, np.float32)
        return self._scratch[key]

    def table(self, key: Any, make: Callable[[], T]) -> T:
        """A value derived from a command's geometry alone, made once."""
        if key not in self._tables:
            self._tables[key] = make()
        return self._tables[key]

    def segment_bytes(self, segment: Segment) -> np.ndarray:
        """A segment as u8.

        Kernels are compiled for writable arrays only. Read-only memory gets a writable alias
        here; plans never write to it (they are refused before).
        """
        if segment.writable:
            return segment.data
        known = self._aliases.get(segment.address)
        if known is None or known[0] is not segment:
            raw = (ctypes.c_uint8 * segment.data.size).from_address(segment.data.ctypes.data)
            known = (segment, np.ctypeslib.as_array(raw))
            self._aliases[segment.address] = known
        return known[1]

    def reference(self, instruction: Instruction) -> Step:
        """Leave this command to the reference engine."""
        self.fallbacks.append(instruction.mnemonic)
        return partial(OPERATIONS[instruction.mnemonic], instruction, Access(self.memory))

    def parallel(self, kernel: Any, ranges: list[tuple[int, int]], *args: Any) -> Step:
        """A step that runs kernel(first, last, *args) for every range, on several threads."""
        if len(ranges) == 1:
            return partial(kernel, *ranges[0], *args)
        return partial(self.workers.run, [partial(kernel, *r, *args) for r in ranges])

    def ranges(self, count: int, work: int, grain: int = 1_000_000) -> list[tuple[int, int]]:
        """[0, count) in equal parts, one per thread that *work* operations keep busy."""
        parts = max(1, min(self.threads, count, work // grain))
        cuts = [count * i // parts for i in range(parts + 1)]
        return list(pairwise(cuts))


def lane_runs(lane: int, channels: int, rows: int) -> np.ndarray:
    """Blocks of at most *rows* channels that lie in consecutive lanes; i64[blocks, 2].

    Returns (first channel, count) per block.
    """
    found: list[tuple[int, int]] = []
    at = 0
    while at < channels:
        until_wrap = LANES - (lane + at) % LANES
        count = min(rows, channels - at, until_wrap)
        found.append((at, count))
        at += count
    return np.array(found, np.int64)


def sequence(*steps: Step | None) -> Step:
    """One step that runs several."""
    some = [s for s in steps if s is not None]
    if len(some) == 1:
        return some[0]

    def run() -> None:
        for step in some:
            step()

    return run
