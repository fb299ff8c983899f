"""Fields of a schema newer than ours: recognised by how they lie in the buffer, and kept.

A flatbuffer does not say what a field is, so an unknown one is judged by what its first four
bytes, read as an offset, lead to. All parts of known type have been claimed by then; only a
well-formed part in unclaimed room is taken for the field's value (string, table, vector). A
16-byte value that is a valid range of the binary section is a blob. All else are plain bytes.
What leads into unclaimed room without being recognised is dropped, and named in the result: kept
as plain bytes it could become an offset to nowhere.
"""

from __future__ import annotations

from bisect import bisect_right, insort

from nntc.bmodel.flat import FlatReader, MalformedError, Slot, StopReadingError
from nntc.bmodel.schema import BLOB, BLOBS, TEXT, Kind, Record, Shape, Unknown

MAX_DEPTH = 16
MAX_SLOTS = 1 << 16
MIN_TEXT = 4
"""Shorter ones may as well be vectors of small numbers; as such they keep all their bytes too."""

_ELEMENT_SIZES = (16, 12, 8, 4, 2, 1)
_PADDING = 7


class _Recovery:
    def __init__(self, reader: FlatReader) -> None:
        self.reader, self.data = reader, reader.data
        self.claims = sorted(reader.claims)
        self.left: list[Slot] = []
        self.work = 4 * len(reader.data)

    def spend(self, work: int) -> None:
        """Bound the time that looking at *work* elements takes, whatever the buffer says."""
        self.work -= work
        if self.work < 0:
            raise StopReadingError("too many unknown fields")

    def free(self, position: int) -> int:
        """Bytes from *position* to the next claimed part; 0 when inside one or outside."""
        index = bisect_right(self.claims, (position, len(self.data)))
        if index and self.claims[index - 1][1] > position:
            return 0
        end = self.claims[index][0] if index < len(self.claims) else len(self.data)
        return max(0, end - position)

    def u32(self, position: int) -> int:
        return int.from_bytes(self.data[position : position + 4], "little")

    def recover(self, slot: Slot, depth: int = 0) -> None:
        """Put the value of a slot into its record, or keep the slot for :meth:`finish`."""
        target = self.target(slot)
        if target is None:
            self.keep(slot, self.inline(slot))
            return
        found = self.table(target, depth) or self.tables(target, depth) or self.text(target)
        if found is None:
            self.left.append(slot)
        else:
            self.keep(slot, found)

    def finish(self) -> list[Slot]:
        """Decide about the slots that are left, now that all else is claimed.

        They are vectors of unknown elements where one fits, numbers where the place they seemed to
        lead to has been claimed by another part. What is neither is returned.
        """
        rest: list[Slot] = []
        for slot in self.left:
            target = self.target(slot)
            found = None if target is None else self.vector(target)
            if found is None:
                rest.append(slot)
            else:
                self.keep(slot, found)
        for slot in rest:
            if self.target(slot) is None:
                self.keep(slot, self.inline(slot))
        return [slot for slot in rest if self.target(slot) is not None]

    def target(self, slot: Slot) -> int | None:
        """Where a slot leads to if it is an offset into unclaimed room, else None."""
        raw = self.data[slot.position : slot.position + slot.size]
        if slot.position % 4 or slot.size < 4 or any(raw[4:]):
            return None
        distance = self.u32(slot.position)
        target = slot.position + distance
        return target if distance and target % 4 == 0 and self.free(target) >= 4 else None

    def inline(self, slot: Slot) -> Unknown:
        """A slot that is no offset: a blob of the binary section, or bytes."""
        raw = self.data[slot.position : slot.position + slot.size]
        if slot.position % 8 == 0 and slot.size >= 16 and not any(raw[16:]):
            blob = self.blob(slot.position)
            if blob:
                return Unknown(BLOB, blob)
        align = min(8, slot.position & -slot.position)
        return Unknown(Kind(Shape.STRUCT, "", len(raw), align), raw)

    @staticmethod
    def keep(slot: Slot, value: Unknown) -> None:
        slot.owner.values[f"#{slot.id}"] = value

    def blob(self, position: int) -> bytes:
        start = int.from_bytes(self.data[position : position + 8], "little")
        size = int.from_bytes(self.data[position + 8 : position + 16], "little")
        try:
            return self.reader.blobs.take(position, start, size)
        except MalformedError:
            return b""

    def claim(self, start: int, end: int) -> None:
        insort(self.claims, (start, end))

    def text(self, position: int) -> Unknown | None:
        count = self.u32(position)
        if not MIN_TEXT <= count <= self.free(position) - 5:
            return None
        self.spend(count)
        try:
            value = self.reader.text(position + 4, count)
        except MalformedError:
            return None
        if not value.replace("\n", " ").isprintable():
            return None
        self.claim(position, position + 5 + count)
        return Unknown(TEXT, value)

    def table(self, position: int, depth: int) -> Unknown | None:
        known = len(self.reader.claims)
        try:
            layout = self.reader.layout(position)
        except MalformedError:
            return None
        parts = [*self.reader.claims[known:], (position, position + layout.size)]
        if depth > MAX_DEPTH or any(self.free(start) < end - start for start, end in parts):
            return None
        for start, end in parts:
            self.claim(start, end)
        record = Record("an unknown table")
        for index, (offset, size) in layout.fields.items():
            self.recover(Slot(record, index, position + offset, size), depth + 1)
        return Unknown(Kind(Shape.TABLE), record)

    def tables(self, position: int, depth: int) -> Unknown | None:
        count = self.u32(position)
        if not 0 < count <= (self.free(position) - 4) // 4:
            return None
        self.spend(count)
        places = range(position + 4, position + 4 + 4 * count, 4)
        records: list[Record] = []
        for place in places:
            found = self.table(place + self.u32(place), depth)
            if found is None:
                return None
            records.append(found.value)
        self.claim(position, places[-1] + 4)
        return Unknown(Kind(Shape.TABLES), records)

    def vector(self, position: int) -> Unknown | None:
        count, start = self.u32(position), position + 4
        room = self.free(position) - 4
        if not 0 < count <= room:
            return None
        size = next(s for s in _ELEMENT_SIZES if count * s <= room)
        if room - count * size > _PADDING:
            return None
        self.spend(count)
        places = range(start, start + count * size, size)
        self.claim(position, places[-1] + size)
        if size == 16 and start % 8 == 0:
            blobs = [self.blob(place) for place in places]
            if all(blobs):
                return Unknown(BLOBS, blobs)
        align = 8 if start % 8 == 0 else 4
        elements = [self.data[place : place + size] for place in places]
        return Unknown(Kind(Shape.STRUCTS, "", size, align), elements)


def recover(reader: FlatReader) -> list[str]:
    """Put the values of the reader's unknown slots into their records.

    Returns:
        One line for each field that had to be dropped: all of them when there are implausibly
        many.
    """
    if not reader.slots:
        return []
    recovery = _Recovery(reader)
    try:
        if len(reader.slots) > MAX_SLOTS:
            raise StopReadingError("too many unknown fields")
        for slot in reader.slots:
            recovery.recover(slot)
        dropped = recovery.finish()
    except StopReadingError:
        for slot in reader.slots:
            slot.owner.values.pop(f"#{slot.id}", None)
        dropped = reader.slots
    return [
        f"offset {reader.base + slot.position:#x}: {slot.owner.table}: field {slot.id} of a newer "
        "schema is not recognised and dropped"
        for slot in dropped
    ]
