"""Records -> flatbuffer and binary section; the mirror image of ``flat``.

Deterministic: fields in the order of the schema, blobs in the order they are met, equal blobs
once. Parts are laid out by the official ``flatbuffers`` builder.
"""

# The flatbuffers package has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import flatbuffers
from flatbuffers.number_types import Uint8Flags

from nntc.bmodel.schema import TABLES, FieldDef, Kind, Record, Shape, Unknown
from nntc.core.errors import BModelError

_PREPEND = {"I": "PrependUint32", "i": "PrependInt32", "Q": "PrependUint64", "f": "PrependFloat32"}


class BlobWriter:
    """The binary section: equal blobs share one place."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._places: dict[bytes, int] = {b"": 0}
        self.size = 0

    def place(self, blob: bytes) -> int:
        """Start of *blob* in the section."""
        start = self._places.get(blob)
        if start is None:
            start = self._places[blob] = self.size
            self._parts.append(blob)
            self.size += len(blob)
        return start

    def bytes(self) -> bytes:
        return b"".join(self._parts)


def build(root: Record) -> tuple[bytes, bytes]:
    """(flatbuffer, binary section) of a root table."""
    builder = flatbuffers.Builder(4096)
    blobs = BlobWriter()
    builder.Finish(_table(builder, blobs, root))
    return bytes(builder.Output()), blobs.bytes()


def _definitions(record: Record) -> list[tuple[FieldDef, Any]]:
    """The fields that are present, with their layout, by id."""
    known = TABLES.get(record.table, ())
    found = [(d, record.values[d.name]) for d in known if d.name in record.values]
    for name, value in record.values.items():
        if isinstance(value, Unknown):
            found.append((FieldDef(int(name[1:]), name, value.kind), value.value))
    return sorted(found, key=lambda entry: entry[0].id)


def _table(builder: flatbuffers.Builder, blobs: BlobWriter, record: Record) -> int:
    fields = _definitions(record)
    # Children are written before their table: flatbuffers grow towards lower addresses.
    for definition, value in fields:
        if definition.kind.shape is Shape.SCALAR:
            _check_range(record, definition, [value])
        elif definition.kind.shape is Shape.NUMBERS:
            _check_range(record, definition, value)
    values = [_child(builder, blobs, definition.kind, value) for definition, value in fields]
    builder.StartObject(fields[-1][0].id + 1 if fields else 0)
    for (definition, _), value in zip(fields, values, strict=True):
        kind = definition.kind
        if kind.shape is Shape.SCALAR:
            if value != definition.default:
                getattr(builder, _PREPEND[kind.format] + "Slot")(
                    definition.id, value, definition.default
                )
        elif kind.shape in (Shape.STRUCT, Shape.BLOB):
            builder.Prep(kind.align, kind.size)
            _struct(builder, blobs, kind, value)
            builder.PrependStructSlot(definition.id, builder.Offset(), 0)
        else:
            builder.PrependUOffsetTRelativeSlot(definition.id, value, 0)
    return builder.EndObject()


def _check_range(record: Record, definition: FieldDef, values: Sequence[float]) -> None:
    """That every number fits its field.

    Raises:
        BModelError: naming table, field and number.
    """
    for value in values:
        try:
            struct.pack("<" + definition.kind.format, value)
        except (struct.error, OverflowError):
            raise BModelError(
                f"{record.table}.{definition.name}: {value!r} does not fit "
                f"{definition.kind.size} bytes ({definition.kind.format!r})"
            ) from None


def _child(builder: flatbuffers.Builder, blobs: BlobWriter, kind: Kind, value: Any) -> Any:
    """Write what lies outside the table; returns its place, or the value when it lies inline."""
    if kind.shape is Shape.TEXT:
        return builder.CreateString(value)
    if kind.shape is Shape.TABLE:
        return _table(builder, blobs, value)
    if kind.shape is Shape.TABLES:
        places = [_table(builder, blobs, record) for record in value]
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()
    if kind.format == "B":
        return builder.CreateByteVector(value)
    if kind.shape in (Shape.NUMBERS, Shape.STRUCTS, Shape.BLOBS):
        # Blobs get their places in reading order; the vector is written from its end.
        if kind.shape is Shape.BLOBS:
            for blob in value:
                blobs.place(blob)
        builder.StartVector(kind.size, len(value), kind.align)
        for element in reversed(value):
            if kind.shape is Shape.NUMBERS:
                getattr(builder, _PREPEND[kind.format])(element)
            else:
                _struct(builder, blobs, kind, element)
        return builder.EndVector()
    return value


def _struct(builder: flatbuffers.Builder, blobs: BlobWriter, kind: Kind, value: bytes) -> None:
    """Write an inline struct where the builder is; the caller has taken care of alignment."""
    raw = value
    if kind.shape in (Shape.BLOB, Shape.BLOBS):
        place = blobs.place(value)
        raw = place.to_bytes(8, "little") + len(value).to_bytes(8, "little")
    builder.Prep(1, len(raw))
    for byte in reversed(raw):
        builder.Place(byte, Uint8Flags)
