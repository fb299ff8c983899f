"""The simulated chip: two engines, their memories, and programs on them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from nntc.core.errors import InstructionError
from nntc.sim.memory import Memory
from nntc.sim.program import Command, Program

ENGINES = ("fast", "reference")

Steps = list[tuple[Callable[[], Any], Command]]


class Simulator:
    """Runs programs on one memory, one at a time.

    Args:
        memory: local memory, L2 and the mapped DDR.
        engine: ``fast`` (compiled kernels) or ``reference`` (NumPy); both give the same bits.
        threads: threads of the fast engine; default: the number of processors, at most 8.

    Raises:
        InstructionError: no such engine.
    """

    def __init__(self, memory: Memory, engine: str = "fast", threads: int | None = None) -> None:
        if engine not in ENGINES:
            raise InstructionError(f"engine {engine!r} is unknown; there are {', '.join(ENGINES)}")
        self.memory = memory
        self.engine = engine
        self._threads = threads
        self._plans: WeakKeyDictionary[Program, dict[str, tuple[int, Steps]]] = WeakKeyDictionary()

    def run(
        self,
        program: Program,
        first: str = "gdma",
        watch: Callable[[Command], None] | None = None,
    ) -> None:
        """Execute all groups of a program.

        The first run on a memory plans every command; later runs only execute.

        Args:
            first: the engine that runs as far ahead as dependencies allow, ``gdma`` or ``tiu``.
            watch: called after every command.

        Raises:
            InstructionError: a command touches DDR that is not mapped, or writes read-only DDR.
        """
        steps = self._prepared(program, first)
        with self._mode():
            if watch is None:
                for step, _ in steps:
                    step()
                return
            for step, command in steps:
                step()
                watch(command)

    def prepare(self, program: Program, first: str = "gdma") -> None:
        """Plan a program without running it."""
        self._prepared(program, first)

    def _mode(self) -> AbstractContextManager[None]:
        if self.engine == "reference":
            return nullcontext()
        from nntc.sim.fast.native import flushing

        return flushing()

    def _prepared(self, program: Program, first: str) -> Steps:
        plans = self._plans.setdefault(program, {})
        known = plans.get(first)
        if known is not None and known[0] == self.memory.generation:
            return known[1]
        program.check_memory(self.memory)
        steps = self._plan(program, first)
        plans[first] = (self.memory.generation, steps)
        return steps

    def _plan(self, program: Program, first: str) -> Steps:
        if self.engine == "reference":
            from nntc.sim.reference import execute

            return [
                (partial(execute, command.instruction, self.memory), command)
                for command in program.commands(first)
            ]
        from nntc.sim.fast import Context, plan

        context = Context(self.memory, self._threads, program.tables)
        return [(plan(c.instruction, context), c) for c in program.commands(first)]
