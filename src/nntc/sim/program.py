"""Command groups, decoded and checked once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from nntc import isa
from nntc.core.errors import InstructionError
from nntc.isa.chip import COMMAND_BYTES, Engine
from nntc.isa.footprint import Footprint, footprint
from nntc.isa.forms import Instruction
from nntc.sim import hazards
from nntc.sim.memory import Memory
from nntc.sim.validate import describe, mapping_problems, rule_problems, static_problems

ORDERS = ("gdma", "tiu")
"""Which engine runs as far ahead as its dependencies allow."""

MOST_PROBLEMS = 20
"""Problems that are listed; the rest is counted."""


class Command(NamedTuple):
    """One command in its place: *position* is its number in the engine's stream, from 1."""

    group: int
    position: int
    instruction: Instruction
    footprint: Footprint

    def __str__(self) -> str:
        return describe(self.group, self.instruction.engine, self.position, self.instruction)


class Group(NamedTuple):
    """The two streams of a command group; both count from 1."""

    tiu: tuple[Command, ...]
    gdma: tuple[Command, ...]


class Program:
    """Command groups that run one after the other.

    Decoding, the rules of every command, numbering, deadlocks and missing dependencies are
    checked here, once; memory that is not mapped is found when a simulator prepares to run.

    Args:
        groups: (TIU bytes, GDMA bytes) per group, 128 bytes a command, as a BModel holds them.
        check_hazards: refuse commands of different engines that touch the same bytes without a
            dependency between them.

    Raises:
        InstructionError: all problems, each naming group, engine, number and mnemonic.
    """

    def __init__(self, groups: Sequence[tuple[bytes, bytes]], check_hazards: bool = True) -> None:
        problems: list[str] = []
        self.groups: tuple[Group, ...] = tuple(
            Group(
                _decode(index, Engine.TIU, tiu, problems),
                _decode(index, Engine.GDMA, gdma, problems),
            )
            for index, (tiu, gdma) in enumerate(groups)
        )
        _raise(problems)
        for index, group in enumerate(self.groups):
            problems += _stuck(index, group)
        _raise(problems)
        if check_hazards:
            found = (
                text for index, group in enumerate(self.groups) for text in _races(index, group)
            )
            _raise(list(islice(found, MOST_PROBLEMS)))
        self.tables: dict[Any, Any] = {}
        """Values that engines derive from the geometry of commands; shared by all runs."""

    def __len__(self) -> int:
        return sum(len(g.tiu) + len(g.gdma) for g in self.groups)

    def commands(self, first: str = "gdma") -> Iterator[Command]:
        """All commands in an order that their dependencies allow.

        Args:
            first: the engine that runs as far ahead as it can.
        """
        if first not in ORDERS:
            raise InstructionError(f"order {first!r} is unknown; there are {', '.join(ORDERS)}")
        for group in self.groups:
            yield from _schedule(group, first)

    def check_memory(self, memory: Memory) -> None:
        """Raise unless all DDR that the commands touch is mapped, and writable where written."""
        problems = (
            f"{command}: {text}"
            for group in self.groups
            for command in group.gdma
            for text in mapping_problems(command.footprint, memory)
        )
        _raise(list(islice(problems, MOST_PROBLEMS)))


def _raise(problems: list[str]) -> None:
    if len(problems) > MOST_PROBLEMS:
        more = len(problems) - MOST_PROBLEMS
        problems = [*problems[:MOST_PROBLEMS], f"… and {more} problems more"]
    if problems:
        raise InstructionError(problems)


def _decode(group: int, engine: Engine, data: bytes, problems: list[str]) -> tuple[Command, ...]:
    if len(data) % COMMAND_BYTES:
        problems.append(
            f"group {group} {engine.name}: {len(data)} bytes are no multiple of {COMMAND_BYTES}"
        )
        return ()
    commands: list[Command] = []
    for at in range(0, len(data), COMMAND_BYTES):
        position = at // COMMAND_BYTES + 1
        instruction = isa.decode(engine, data[at : at + COMMAND_BYTES])
        name = describe(group, engine, position, instruction)
        wrong = list(rule_problems(instruction))
        if instruction.number != position:
            wrong.append(
                f"its number is {instruction.number}, not {position}: numbers count from 1"
            )
        if not wrong:
            found = footprint(instruction)
            wrong = list(static_problems(found))
            commands.append(Command(group, position, instruction, found))
        problems += [f"{name}: {text}" for text in wrong]
    return tuple(commands)


def _schedule(group: Group, first: str) -> Iterator[Command]:
    """Commands in an order that the wait numbers allow; stops at a deadlock.

    The other engine runs one command at a time, and only while the first one must wait.
    """
    streams = (group.gdma, group.tiu) if first == "gdma" else (group.tiu, group.gdma)
    done = [0, 0]

    def ready(mine: int) -> Command | None:
        if done[mine] == len(streams[mine]):
            return None
        command = streams[mine][done[mine]]
        return command if command.instruction.waits_for <= done[1 - mine] else None

    while True:
        mine = 0
        command = ready(0)
        if command is None:
            mine, command = 1, ready(1)
        if command is None:
            return
        yield command
        done[mine] += 1


def _stuck(index: int, group: Group) -> list[str]:
    """The problem of a group that cannot finish."""
    tiu = gdma = 0
    for command in _schedule(group, "gdma"):
        if command.instruction.engine is Engine.TIU:
            tiu += 1
        else:
            gdma += 1
    waiting: list[str] = []
    for done, stream, other in ((tiu, group.tiu, "GDMA"), (gdma, group.gdma, "TIU")):
        if done < len(stream):
            command = stream[done]
            waiting.append(f"{command} waits for {other} command {command.instruction.waits_for}")
    if not waiting:
        return []
    if len(waiting) == 1:
        engine, count = ("GDMA", gdma) if tiu < len(group.tiu) else ("TIU", tiu)
        waiting.append(f"the {engine} stream has only {count} commands")
    return [f"group {index}: deadlock: {', '.join(waiting)}"]


def _races(index: int, group: Group) -> Iterator[str]:
    found = hazards.find(
        [c.footprint for c in group.tiu],
        [c.footprint for c in group.gdma],
        [c.instruction.waits_for for c in group.tiu],
        [c.instruction.waits_for for c in group.gdma],
    )
    for hazard in found:
        yield (
            f"{group.tiu[hazard.tiu]} and {group.gdma[hazard.gdma]}: both may run at the same "
            f"time and touch {hazard.shared}, at least one of them writing: a dependency is missing"
        )
