"""Instructions as text: print and parse single commands, whole streams and whole BModels.

A line is the mnemonic, ``#number``, ``<`` and the number of the other engine's command that must
be complete first (``<g7`` GDMA, ``<t3`` TIU), then the tokens of :mod:`nntc.isa.syntax`. What has
its default value is left out, so ``parse(print(x)) == x`` for every 128-byte command. Operations
that no form describes are ``tiu.raw`` and ``gdma.raw`` with every non-zero field. A semicolon
starts a comment.

A listing of a BModel has sections as the file has them: ``.net``, ``.stage``, ``.subnet``,
``.group``. Inside a group both engines' commands stand in one possible order of execution: the TIU
as far as its dependencies allow, then the GDMA commands that it waits for. Within an engine the
order is that of the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Protocol

from nntc.core.errors import InstructionError, Problems
from nntc.isa import TABLES, form
from nntc.isa.chip import Engine
from nntc.isa.forms import LAYOUTS, SYNC_FIELDS, Form, Instruction
from nntc.isa.syntax import Part, integer_text, parse_integer, parts_of

RAW: dict[str, Engine] = {f"{engine.name.lower()}.raw": engine for engine in Engine}
"""Mnemonics of commands that no form describes."""

_LETTER = {Engine.TIU: "t", Engine.GDMA: "g"}
_OTHER = {Engine.TIU: Engine.GDMA, Engine.GDMA: Engine.TIU}


class _Plan(NamedTuple):
    """What the lines of one form consist of."""

    defaults: dict[str, int]
    parts: tuple[tuple[Part, tuple[str, ...]], ...]
    by_key: dict[str, Part]
    plain: tuple[str, ...]
    """Fields in no part and not shown as ``#number`` or ``<number``."""


@cache
def _plan(form: Form | None, engine: Engine) -> _Plan:
    names = LAYOUTS[engine].by_name
    defaults = dict.fromkeys(names, 0) | (form.written() if form else {})
    parts = parts_of(form)
    fields = tuple((part, part.fields) for part in parts)
    shown = {f for part in parts for f in part.fields} | set(SYNC_FIELDS[engine])
    plain = tuple(name for name in names if name not in shown)
    return _Plan(defaults, fields, {part.key: part for part in parts}, plain)


def print_instruction(instruction: Instruction) -> str:
    """One line, without the line break."""
    engine = instruction.engine
    plan = _plan(instruction.form, engine)
    defaults = plan.defaults
    values = {**defaults, **instruction.values} if instruction.form else instruction.values
    tokens = [instruction.mnemonic]
    if instruction.number:
        tokens.append(f"#{instruction.number}")
    if instruction.waits_for:
        tokens.append(f"<{_LETTER[_OTHER[engine]]}{instruction.waits_for}")
    for part, fields in plan.parts:
        if part.always or any(values[f] != defaults[f] for f in fields):
            tokens.append(f"{part.key}={part.text(values, defaults)}")
    for name in plan.plain:
        value = values.get(name, 0)
        if value != defaults[name]:
            tokens.append(f"{name}={integer_text(value)}")
    return " ".join(tokens)


def print_stream(instructions: Iterable[Instruction]) -> str:
    """One line per instruction."""
    return "".join(print_instruction(i) + "\n" for i in instructions)


def parse_instruction(text: str) -> Instruction:
    """The instruction of one line (without comment); the inverse of :func:`print_instruction`.

    Raises:
        InstructionError: unknown mnemonic or field, bad syntax, a value out of range; all problems
            of the line.
    """
    words = text.split()
    if not words:
        raise InstructionError("no instruction")
    mnemonic = words[0]
    if mnemonic in RAW:
        engine, known = RAW[mnemonic], None
    else:
        try:
            known = form(mnemonic)
        except KeyError:
            raise InstructionError(f"{mnemonic}: no such instruction") from None
        engine = known.engine
    problems = Problems(InstructionError)
    values = known.written() if known else {}
    given: set[str] = set()
    for word in words[1:]:
        with problems.collect():
            found = _parse_token(word, engine, _plan(known, engine).by_key)
            if again := given & found.keys():
                raise InstructionError(f"{mnemonic}: {word}: {min(again)} is given twice")
            given |= found.keys()
            values.update(found)
    problems.raise_if_any()
    LAYOUTS[engine].pack(values)  # ranges
    if known is None:
        full = dict.fromkeys(LAYOUTS[engine].by_name, 0) | values
        return Instruction(TABLES[engine].find(full), values, engine)
    for name, codes in known.select.items():
        if values[name] not in codes:
            problems.add(
                f"{mnemonic}: {name}={values[name]} would be another operation; "
                f"allowed: {', '.join(map(str, codes))}"
            )
    problems.raise_if_any()
    return Instruction(known, values)


def _parse_token(word: str, engine: Engine, parts: Mapping[str, Part]) -> dict[str, int]:
    own, other = SYNC_FIELDS[engine]
    if word.startswith("#"):
        return {own: parse_integer(word[1:])}
    if word.startswith("<"):
        if word[1:2] != _LETTER[_OTHER[engine]]:
            raise InstructionError(f"{word}: expected <{_LETTER[_OTHER[engine]]}number")
        return {other: parse_integer(word[2:])}
    key, equals, text = word.partition("=")
    if not equals or not text:
        raise InstructionError(f"{word}: expected name=value")
    if key in parts:
        return parts[key].parse(text)
    if key not in LAYOUTS[engine].by_name:
        raise InstructionError(f"{word}: no such field")
    return {key: parse_integer(text)}


def code_lines(text: str) -> Iterator[tuple[int, str]]:
    """(line number from 1, text) of the lines that hold more than a comment."""
    for number, line in enumerate(text.splitlines(), 1):
        code = line.partition(";")[0].strip()
        if code:
            yield number, code


def parse_stream(text: str) -> list[Instruction]:
    """The instructions of many lines, of either engine, in order.

    Raises:
        InstructionError: every bad line, with its number.
    """
    problems = Problems(InstructionError)
    made: list[Instruction] = []
    for number, code in code_lines(text):
        try:
            made.append(parse_instruction(code))
        except InstructionError as err:
            for problem in err.problems:
                problems.add(f"line {number}: {problem}")
    problems.raise_if_any()
    return made


class GroupLike(Protocol):
    """The two command streams of one group."""

    @property
    def tiu(self) -> bytes: ...
    @property
    def gdma(self) -> bytes: ...


class SubNetLike(Protocol):
    @property
    def groups(self) -> Sequence[GroupLike]: ...
    @property
    def mode(self) -> int: ...


class StageLike(Protocol):
    @property
    def subnets(self) -> Sequence[SubNetLike]: ...


class NetLike(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def stages(self) -> Sequence[StageLike]: ...


class ModelLike(Protocol):
    """What a listing needs of ``nntc.bmodel.BModel`` (the package above this one)."""

    @property
    def chip(self) -> str: ...
    @property
    def nets(self) -> Sequence[NetLike]: ...


@dataclass(frozen=True)
class ListedGroup:
    """One command group of a listing: where it stands, and its commands."""

    net: str
    stage: int
    subnet: int
    group: int
    tiu: bytes
    gdma: bytes


def execution_order(
    tiu: Sequence[Instruction], gdma: Sequence[Instruction]
) -> Iterator[Instruction]:
    """Both streams merged so that no command stands before the one it waits for.

    Where the dependencies allow no order (a deadlock), the rest follows engine by engine.
    """
    done_tiu = done_gdma = t = g = 0
    while t < len(tiu) or g < len(gdma):
        if t < len(tiu) and tiu[t].waits_for <= done_gdma:
            done_tiu = tiu[t].number
            yield tiu[t]
            t += 1
        elif g < len(gdma) and gdma[g].waits_for <= done_tiu:
            done_gdma = gdma[g].number
            yield gdma[g]
            g += 1
        else:
            yield from tiu[t:]
            yield from gdma[g:]
            return


def listing_lines(model: ModelLike) -> Iterator[str]:
    """The lines of :func:`listing`, without line breaks."""
    yield f"; {model.chip} listing: <g7 waits for GDMA command 7, <t3 for TIU command 3"
    for net in model.nets:
        # A semicolon in a name must not read as the start of a comment.
        yield ".net " + json.dumps(net.name).replace(";", "\\u003b")
        for s, stage in enumerate(net.stages):
            yield f".stage {s}"
            for k, subnet in enumerate(stage.subnets):
                mode = getattr(subnet.mode, "name", subnet.mode)
                yield f".subnet {k} ; {mode}"
                for g, group in enumerate(subnet.groups):
                    yield from _group_lines(g, group, f"{net.name} stage {s} subnet {k} group {g}")


def _group_lines(index: int, group: GroupLike, where: str) -> Iterator[str]:
    problems = Problems(InstructionError)
    tiu: list[Instruction] = []
    gdma: list[Instruction] = []
    with problems.collect():
        tiu = TABLES[Engine.TIU].decode_stream(group.tiu)
    with problems.collect():
        gdma = TABLES[Engine.GDMA].decode_stream(group.gdma)
    if len(problems):
        raise InstructionError([f"{where}: {text}" for text in problems])
    yield f".group {index} ; {len(tiu)} TIU, {len(gdma)} GDMA commands"
    for instruction in execution_order(tiu, gdma):
        yield "  " + print_instruction(instruction)


def listing(model: ModelLike) -> str:
    """Every command of a BModel as text.

    Raises:
        InstructionError: a command stream is no whole number of commands.
    """
    return "".join(line + "\n" for line in listing_lines(model))


def parse_listing(text: str) -> list[ListedGroup]:
    """The command groups of a listing, in its order; the bytes equal those of the file.

    Raises:
        InstructionError: every bad line, with its number.
    """
    problems = Problems(InstructionError)
    place: dict[str, str | int] = {"net": "", "stage": 0, "subnet": 0}
    groups: list[tuple[dict[str, str | int], dict[Engine, list[bytes]]]] = []
    inside = False
    for number, code in code_lines(text):
        try:
            if code.startswith("."):
                key, value = _directive(code)
                place[key] = value
                inside = key == "group"
                if inside:
                    groups.append((dict(place), {engine: [] for engine in Engine}))
            elif not inside:
                raise InstructionError("an instruction outside of a .group")
            else:
                instruction = parse_instruction(code)
                groups[-1][1][instruction.engine].append(instruction.encode())
        except InstructionError as err:
            for problem in err.problems:
                problems.add(f"line {number}: {problem}")
    problems.raise_if_any()
    return [
        ListedGroup(
            net=str(where["net"]),
            stage=int(where["stage"]),
            subnet=int(where["subnet"]),
            group=int(where["group"]),
            tiu=b"".join(streams[Engine.TIU]),
            gdma=b"".join(streams[Engine.GDMA]),
        )
        for where, streams in groups
    ]


def _directive(code: str) -> tuple[str, str | int]:
    key, _, rest = code[1:].partition(" ")
    if key not in ("net", "stage", "subnet", "group"):
        raise InstructionError(f".{key}: no such directive")
    try:
        value = json.loads(rest)
    except ValueError:
        value = None
    if not isinstance(value, str if key == "net" else int) or isinstance(value, bool):
        kind = "a quoted name" if key == "net" else "a number"
        raise InstructionError(f".{key}: {rest!r} is not {kind}")
    return key, value
