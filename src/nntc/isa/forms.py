"""Instruction forms: which field values select an operation, and which fields it reads.

A form partitions the 1024 bits of a command: *select* fields fix the operation, *operands* are
the fields that influence the result, every other field has no influence and is written with a
default. Encoding, decoding, printing, parsing and the reference page all derive from this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nntc.core.errors import InstructionError
from nntc.isa.chip import Engine
from nntc.isa.fields import GDMA, TIU, CommandLayout

LAYOUTS: dict[Engine, CommandLayout] = {Engine.TIU: TIU, Engine.GDMA: GDMA}

SYNC_FIELDS: dict[Engine, tuple[str, str]] = {
    Engine.TIU: ("cmd_id_tpu", "cmd_id_gdma"),
    Engine.GDMA: ("cmd_id", "eng0_sync_id"),
}
"""Per engine: (own number, number of the other engine's command to wait for)."""


@dataclass(frozen=True, eq=False)
class Form:
    """One operation of one engine.

    Attributes:
        mnemonic: name in listings, unique over both engines.
        select: field → codes that mean this operation; the first is the one that is written.
        operands: fields that influence the result.
        defaults: values written for fields that are not given (0 for the rest).
        limits: field → (lowest, highest) where tighter than the field's width.
        doc: meaning in one or a few sentences; part of the reference page.
    """

    mnemonic: str
    engine: Engine
    select: Mapping[str, tuple[int, ...]]
    operands: frozenset[str]
    defaults: Mapping[str, int] = field(default_factory=dict[str, int])
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    doc: str = ""

    @property
    def layout(self) -> CommandLayout:
        return LAYOUTS[self.engine]

    def matches(self, values: Mapping[str, int]) -> bool:
        return all(values[name] in codes for name, codes in self.select.items())

    def written(self) -> dict[str, int]:
        """The fields that :meth:`make` writes when nothing is given."""
        return {**self.defaults, **{name: codes[0] for name, codes in self.select.items()}}

    def make(self, **values: int) -> Instruction:
        """An instruction of this form.

        Raises:
            InstructionError: unknown field or value out of range; every problem is listed.
        """
        known = self.layout.by_name
        merged = self.written()
        problems: list[str] = []
        for name, value in values.items():
            spec = known.get(name)
            if spec is None:
                problems.append(f"{self.mnemonic}: unknown field {name}")
                continue
            low, high = self.limits.get(name, (spec.minimum, spec.maximum))
            if not low <= value <= high:
                problems.append(f"{self.mnemonic}: {name} = {value} is outside {low}..{high}")
            elif name in self.select and value not in self.select[name]:
                problems.append(
                    f"{self.mnemonic}: {name} = {value} would be another operation; "
                    f"allowed: {', '.join(map(str, self.select[name]))}"
                )
            merged[name] = int(value)
        if problems:
            raise InstructionError(problems)
        return Instruction(self, merged)

    def __repr__(self) -> str:
        return f"Form({self.mnemonic})"


class Instruction:
    """One command: a form (None if the bits select no known operation) and its field values.

    Fields read as attributes; a field that was not given reads as 0.
    """

    __slots__ = ("engine", "form", "values")

    def __init__(
        self, form: Form | None, values: dict[str, int], engine: Engine | None = None
    ) -> None:
        if form is None and engine is None:
            raise InstructionError("an instruction without a form needs an engine")
        self.form = form
        self.engine: Engine = form.engine if form is not None else Engine(engine or 0)
        self.values = values

    def __getattr__(self, name: str) -> int:
        value = self.values.get(name)
        if value is not None:
            return value
        if name in LAYOUTS[self.engine].by_name:
            return 0
        raise AttributeError(name)

    @property
    def mnemonic(self) -> str:
        return self.form.mnemonic if self.form else f"{self.engine.name.lower()}.raw"

    @property
    def number(self) -> int:
        """This command's number in its engine's stream, from 1."""
        return self.values.get(SYNC_FIELDS[self.engine][0], 0)

    @property
    def waits_for(self) -> int:
        """Number of the other engine's command that must be complete first; 0: none."""
        return self.values.get(SYNC_FIELDS[self.engine][1], 0)

    def with_sync(self, number: int, waits_for: int) -> Instruction:
        """The same command with its place in the streams."""
        own, other = SYNC_FIELDS[self.engine]
        return self.replace(**{own: number, other: waits_for})

    def replace(self, **changes: int) -> Instruction:
        return Instruction(self.form, {**self.values, **changes}, self.engine)

    def encode(self) -> bytes:
        """The 128 bytes as they stand in a BModel.

        Raises:
            InstructionError: a value does not fit its field.
        """
        try:
            return LAYOUTS[self.engine].pack(self.values)
        except InstructionError as err:
            raise InstructionError([f"{self.mnemonic}: {text}" for text in err.problems]) from None

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Instruction):
            return NotImplemented
        return self.engine == other.engine and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash(self.encode())

    def __repr__(self) -> str:
        shown = {k: v for k, v in self.values.items() if v}
        return f"Instruction({self.mnemonic}, {shown})"


class FormTable:
    """The forms of one engine, with decoding by the select fields."""

    def __init__(self, engine: Engine, forms: Iterable[Form]) -> None:
        self.engine = engine
        self.forms: tuple[Form, ...] = tuple(forms)
        self.by_name: dict[str, Form] = {}
        for form in self.forms:
            if form.engine is not engine or form.mnemonic in self.by_name:
                raise AssertionError(f"{form.mnemonic}: wrong engine, or declared twice")
            self.by_name[form.mnemonic] = form

        self._selecting = tuple(sorted({name for form in self.forms for name in form.select}))
        self._found: dict[tuple[int, ...], Form | None] = {}

    def find(self, values: Mapping[str, int]) -> Form | None:
        """The form that a command's fields (all of them) select."""
        key = tuple([values[name] for name in self._selecting])
        if key not in self._found:
            self._found[key] = next((form for form in self.forms if form.matches(values)), None)
        return self._found[key]

    def decode(self, data: bytes) -> Instruction:
        """An instruction from its 128 bytes; ``form`` is None for an unknown operation.

        Raises:
            InstructionError: not 128 bytes.
        """
        values = LAYOUTS[self.engine].unpack(data)
        return Instruction(self.find(values), values, self.engine)

    def decode_stream(self, data: bytes) -> list[Instruction]:
        """The instructions of a whole stream.

        Raises:
            InstructionError: the size is no multiple of 128 bytes.
        """
        find, engine = self.find, self.engine
        commands = LAYOUTS[engine].unpack_stream(data)
        return [Instruction(find(values), values, engine) for values in commands]

    def __getitem__(self, mnemonic: str) -> Form:
        return self.by_name[mnemonic]
