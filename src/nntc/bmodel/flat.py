"""Bounded reading of a flatbuffer: every offset is checked before it is followed.

The layout of flatbuffers, as far as it is used here (little endian, offsets in bytes):

- the buffer starts with a u32 offset to the root table;
- a table starts with an i32 distance back to its vtable: {u16 vtable bytes, u16 table bytes,
  u16 offset of field 0 in the table (0: absent), field 1, ...};
- numbers and structs lie inline in the table; all else is a u32 offset forward from the field;
- a vector is a u32 count and the elements, a string the same with a zero byte after it.

Work and memory are bounded by the buffer's size: shared parts count each time they are read, and
a buffer whose parts add up to more than four times its size is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nntc.bmodel.schema import ROOT, TABLES, FieldDef, Kind, Record, Shape
from nntc.core.errors import Problems

MAX_FIELDS = 256
MAX_PROBLEMS = 20
_SLACK = 1024


class MalformedError(Exception):
    """A part of the flatbuffer breaks the format; caught where the field's name is known."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position


class StopReadingError(Exception):
    """Reading further is pointless; the text says why."""


@dataclass(frozen=True)
class Slot:
    """A field of a table that the schema does not know: owner, id, position, room."""

    owner: Record
    id: int
    position: int
    size: int


@dataclass(frozen=True)
class Layout:
    """A vtable: bytes of the table, and for each field present (offset, bytes up to the next)."""

    size: int
    fields: Mapping[int, tuple[int, int]]


class Blobs:
    """The binary section: ranges are checked, equal contents are one object."""

    def __init__(self, data: bytes, start: int, size: int) -> None:
        self.size = size
        self._data, self._start = data, start
        self._taken: dict[tuple[int, int], bytes] = {}
        self._contents: dict[bytes, bytes] = {}
        self._bytes = 0

    def take(self, position: int, start: int, size: int) -> bytes:
        """The blob; *position* is where its reference lies, for the message.

        Raises:
            MalformedError: outside the section, or the ranges add up to over twice its size.
        """
        if start + size > self.size:
            raise MalformedError(
                position, f"blob {start}+{size} leaves the binary section of {self.size} bytes"
            )
        blob = self._taken.get((start, size))
        if blob is None:
            self._bytes += size
            if self._bytes > 2 * self.size:
                raise MalformedError(
                    position, f"blobs overlap: they add up to over twice the section, {self.size}"
                )
            blob = self._data[self._start + start : self._start + start + size]
            blob = self._taken[start, size] = self._contents.setdefault(blob, blob)
        return blob


class FlatReader:
    """Decodes the tables of one flatbuffer into Records.

    Args:
        data: the flatbuffer.
        base: its offset in the file, for messages.
        blobs: the binary section.
        problems: messages are collected here; a broken field counts as absent.
    """

    def __init__(self, data: bytes, base: int, blobs: Blobs, problems: Problems) -> None:
        self.data, self.base, self.blobs, self.problems = data, base, blobs, problems
        self.claims: list[tuple[int, int]] = []
        self.slots: list[Slot] = []
        self._budget = 4 * len(data) + _SLACK
        self._layouts: dict[int, Layout] = {}

    def root(self) -> Record | None:
        """The root table, or None when it cannot be read."""
        return self.read_table(self._u32(0), ROOT)

    def read_table(self, position: int, name: str) -> Record | None:
        """The table at *position* with all that it leads to, or None when it cannot be read."""
        try:
            return self._table(position, name, name)
        except MalformedError as err:
            self.problems.add(self._message(name, err))
        except StopReadingError as err:
            self.problems.add(str(err))
        return None

    # bounded access

    def _check(self, position: int, size: int, align: int, what: str) -> None:
        """That *size* bytes at *position* are in the buffer, aligned, and within the budget."""
        if position < 0 or position + size > len(self.data):
            raise MalformedError(
                position,
                f"{what} of {size} bytes leaves the flatbuffer of {len(self.data)} bytes",
            )
        if position % align:
            raise MalformedError(position, f"{what} is not aligned to {align} bytes")
        self._budget -= size
        if self._budget < 0:
            raise StopReadingError(
                f"flatbuffer of {len(self.data)} bytes: its parts overlap too often"
            )

    def _u32(self, position: int) -> int:
        return int.from_bytes(self.data[position : position + 4], "little")

    def layout(self, position: int) -> Layout:
        """Where the fields of the table at *position* are."""
        self._check(position, 4, 4, "table")
        (distance,) = struct.unpack_from("<i", self.data, position)
        start = position - distance
        if start not in self._layouts:
            self._layouts[start] = self._read_vtable(start)
        layout = self._layouts[start]
        self._check(position, layout.size, 4, "table")
        return layout

    def _read_vtable(self, start: int) -> Layout:
        self._check(start, 4, 2, "vtable")
        size, table_size = struct.unpack_from("<HH", self.data, start)
        count = size // 2 - 2
        if size % 2 or not 0 <= count <= MAX_FIELDS or table_size < 4:
            raise MalformedError(start, f"vtable of {size} bytes for a table of {table_size} bytes")
        self._check(start, size, 2, "vtable")
        offsets = struct.unpack_from(f"<{count}H", self.data, start + 4)
        present = sorted(offset for offset in offsets if offset)
        if len(set(present)) < len(present):
            raise MalformedError(start, f"vtable: two fields at one place, {list(offsets)}")
        if present and not 4 <= present[0] <= present[-1] < table_size:
            raise MalformedError(
                start, f"vtable: fields {list(offsets)} outside a table of {table_size} bytes"
            )
        self.claims.append((start, start + size))
        ends = dict(pairwise([*present, table_size]))
        return Layout(table_size, {i: (o, ends[o] - o) for i, o in enumerate(offsets) if o})

    # tables and values

    def _message(self, path: str, err: MalformedError) -> str:
        return f"offset {self.base + err.position:#x}: {path}: {err}"

    def _report(self, path: str, err: MalformedError) -> None:
        self.problems.add(self._message(path, err))
        if len(self.problems) >= MAX_PROBLEMS:
            raise StopReadingError(f"stopped after {MAX_PROBLEMS} problems")

    def _table(self, position: int, name: str, path: str) -> Record:
        layout = self.layout(position)
        self.claims.append((position, position + layout.size))
        record, known = Record(name), TABLES[name]
        for definition in known:
            if definition.id in layout.fields:
                self._field(record, definition, position, layout, path)
            elif definition.required:
                where = f"{path}.{definition.name}"
                self._report(where, MalformedError(position, "required, but absent"))
        for index, (offset, size) in layout.fields.items():
            if index >= len(known):
                self.slots.append(Slot(record, index, position + offset, size))
        return record

    def _field(
        self, record: Record, definition: FieldDef, table: int, layout: Layout, path: str
    ) -> None:
        """Decode one field of the table at *table* into *record*."""
        path = f"{path}.{definition.name}"
        offset, _ = layout.fields[definition.id]
        inline = definition.kind.shape in (Shape.SCALAR, Shape.STRUCT, Shape.BLOB)
        room = layout.size - offset
        try:
            if room < (definition.kind.size if inline else 4):
                raise MalformedError(table + offset, f"only {room} bytes left in the table")
            value = self._value(definition.kind, table + offset, path)
        except MalformedError as err:
            self._report(path, err)
            return
        if definition.kind.shape is not Shape.SCALAR or value != definition.default:
            record.values[definition.name] = value

    def _value(self, kind: Kind, position: int, path: str) -> Any:
        if kind.shape in (Shape.SCALAR, Shape.STRUCT, Shape.BLOB):
            if position % kind.align:
                raise MalformedError(position, f"is not aligned to {kind.align} bytes")
            return self._inline(kind, position)
        if position % 4:
            raise MalformedError(position, "offset is not aligned to 4 bytes")
        target = position + self._u32(position)
        if target == position:
            raise MalformedError(position, "offset is 0")
        if kind.shape is Shape.TABLE:
            return self._table(target, kind.table, path)
        self._check(target, 4, 4, "length")
        count = self._u32(target)
        start = target + 4
        width = 4 if kind.shape is Shape.TABLES else kind.size
        extra = kind.shape is Shape.TEXT
        self._check(start, count * width + extra, kind.align, f"{count} elements")
        self.claims.append((target, start + count * width + extra))
        if kind.shape is Shape.TEXT:
            return self.text(start, count)
        if kind.format == "B":
            return self.data[start : start + count]
        if kind.shape is Shape.NUMBERS:
            return struct.unpack_from(f"<{count}{kind.format}", self.data, start)
        places = range(start, start + count * width, width)
        if kind.shape is Shape.TABLES:
            return [
                self._table(at + self._u32(at), kind.table, f"{path}[{i}]")
                for i, at in enumerate(places)
            ]
        return [self._inline(kind, at) for at in places]

    def _inline(self, kind: Kind, position: int) -> Any:
        if kind.shape in (Shape.BLOB, Shape.BLOBS):
            start, size = struct.unpack_from("<QQ", self.data, position)
            return self.blobs.take(position, start, size)
        if kind.shape is Shape.SCALAR:
            return struct.unpack_from("<" + kind.format, self.data, position)[0]
        return self.data[position : position + kind.size]

    def text(self, start: int, count: int) -> str:
        """The string of *count* bytes at *start*; the zero byte after it is in the buffer."""
        raw = self.data[start : start + count]
        if 0 in raw or self.data[start + count]:
            raise MalformedError(
                start, f"string of {count} bytes: its end is not its first zero byte"
            )
        try:
            return raw.decode()
        except UnicodeDecodeError as err:
            raise MalformedError(
                start, f"string of {count} bytes is not UTF-8 at byte {err.start}"
            ) from None
