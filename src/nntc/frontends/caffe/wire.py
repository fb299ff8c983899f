"""Finds the weights in a ``.caffemodel``: protobuf's wire format, read field by field.

Only names and blobs are looked at; everything else is skipped by its length. Field numbers are
those of Caffe's published schema:

    NetParameter      layers (old) 2, layer 100
    LayerParameter    name 1, blobs 7         V1LayerParameter  name 4, blobs 6
    BlobProto         num channels height width 1-4, data 5, shape 7 { dim 1 }, double_data 8,
                      raw_data_type 10 and raw_data 12 (a fork's: 0 double, 1 float, 2 half)
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from nntc.core.errors import ModelError

_VARINT, _WIDE, _BYTES, _WORD = 0, 1, 2, 5
_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}

_RANK = 32
# Parts in which the numbers of a blob come; it is one as a rule.
_PARTS = 100_000

Field = tuple[int, int, "int | memoryview"]


def read_blobs(data: bytes) -> dict[str, list[np.ndarray]]:
    """Layer's name → its blobs, f32. Of layers of one name the last with blobs counts.

    Raises:
        ModelError: the file is damaged or cut short.
    """
    found: dict[str, list[np.ndarray]] = {}
    layers = 0
    for number, kind, value in _fields(memoryview(data)):
        if number not in (2, 100) or kind != _BYTES or isinstance(value, int):
            continue
        layers += 1
        name, blobs = _layer(value, *((1, 7) if number == 100 else (4, 6)))
        if blobs:
            found[name] = blobs
    if not layers:
        raise ModelError("not a caffemodel (it holds no layers)")
    return found


def _layer(data: memoryview, name_field: int, blob_field: int) -> tuple[str, list[np.ndarray]]:
    name, blobs = "", []
    for number, kind, value in _fields(data):
        if kind != _BYTES or isinstance(value, int):
            continue
        if number == name_field:
            name = bytes(value).decode("utf-8", "replace")
        elif number == blob_field:
            try:
                blobs.append(_blob(value))
            except ModelError as err:
                raise ModelError(f"layer '{name}', blob {len(blobs)}: {err}") from None
    return name, blobs


def _blob(data: memoryview) -> np.ndarray:
    legacy: dict[int, int] = {}
    shape: list[int] | None = None
    pieces: list[np.ndarray] = []
    raw_type = 1
    raw: memoryview | None = None
    for number, kind, value in _fields(data, floats=5):
        if number in (1, 2, 3, 4) and isinstance(value, int):
            legacy[number] = _signed(value)
        elif number in (5, 8) and not isinstance(value, int):
            dtype = "<f4" if number == 5 else "<f8"
            if len(value) % np.dtype(dtype).itemsize:
                raise ModelError(f"{len(value)} bytes are no whole numbers")
            pieces.append(np.frombuffer(value, dtype))
        elif number == 8 and kind == _WIDE and isinstance(value, int):
            pieces.append(np.array([value], "<u8").view("<f8"))
        elif number == 7 and not isinstance(value, int):
            shape = _shape(value)
        elif number == 10 and isinstance(value, int):
            raw_type = value
        elif number == 12 and not isinstance(value, int):
            raw = value
        if len(pieces) > _PARTS:
            raise ModelError(f"its numbers come in more than {_PARTS} parts")
    if raw is not None:
        if raw_type not in _RAW_TYPES or len(raw) % np.dtype(_RAW_TYPES[raw_type]).itemsize:
            raise ModelError(f"raw data of type {raw_type} and {len(raw)} bytes")
        pieces.append(np.frombuffer(raw, _RAW_TYPES[raw_type]))
    array = pieces[0] if len(pieces) == 1 else np.concatenate([np.zeros(0, "<f4"), *pieces])
    if shape is None:
        # The old form: four sizes, absent ones 0 if any is given.
        shape = [legacy.get(i, 0) for i in (1, 2, 3, 4)] if legacy else [len(array)]
    if any(d < 0 for d in shape) or math.prod(shape) != len(array):
        raise ModelError(f"shape {shape[:8]} and {len(array)} numbers do not agree")
    with np.errstate(over="ignore"):
        return array.astype(np.float32).reshape(shape)


def _shape(data: memoryview) -> list[int]:
    dims: list[int] = []
    for number, kind, value in _fields(data):
        if number != 1:
            continue
        if kind == _VARINT and isinstance(value, int):
            dims.append(_signed(value))
        elif not isinstance(value, int):
            at = 0
            while at < len(value):
                dim, at = _varint(value, at)
                dims.append(_signed(dim))
                if len(dims) > _RANK:
                    break
        if len(dims) > _RANK:
            raise ModelError(f"a shape of more than {_RANK} dimensions")
    return dims


def _fields(data: memoryview, floats: int = 0) -> Iterator[Field]:
    """Number, wire type and value of each field of a message.

    Args:
        floats: a field of single float32 numbers (repeated but not packed); runs of it come as
            one value of their bytes.

    Raises:
        ModelError: the bytes are no message, or end inside a field.
    """
    at = 0
    while at < len(data):
        tag, start = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ModelError(f"no protobuf message (field 0 at byte {at})")
        if kind == _VARINT:
            value, at = _varint(data, start)
            yield number, kind, value
            continue
        if kind == _BYTES:
            size, start = _varint(data, start)
        elif kind in (_WIDE, _WORD):
            size = 8 if kind == _WIDE else 4
        else:
            raise ModelError(f"no protobuf message (wire type {kind} at byte {at})")
        end = start + size
        if end > len(data):
            raise ModelError(f"cut short: a field of {size} bytes, {len(data) - start} are left")
        if kind == _BYTES:
            yield number, kind, data[start:end]
        elif kind == _WORD and number == floats and start == at + 1:
            end = at + 5 * _run(data, at)
            rows = np.frombuffer(data[at:end], np.uint8).reshape(-1, 5)
            yield number, kind, memoryview(rows[:, 1:].tobytes())
        else:
            yield number, kind, int.from_bytes(data[start:end], "little")
        at = end


def _run(data: memoryview, at: int) -> int:
    """How many fields of five bytes with the same tag follow each other."""
    rows = np.frombuffer(data[at : at + (len(data) - at) // 5 * 5], np.uint8).reshape(-1, 5)
    other = np.flatnonzero(rows[:, 0] != rows[0, 0])
    return int(other[0]) if len(other) else len(rows)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number at a position, and the position after it."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ModelError(
                "cut short inside a number" if at >= len(data) else "a number too long"
            )
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & ((1 << 64) - 1), at
        shift += 7


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
