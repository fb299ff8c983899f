"""The records of the historical LMDB: one ``ufw.Datum`` message of Protocol Buffers each.

Fields (from the chip maker's public tools): channels 1, height 2, width 3 (older form of the
shape), data 4 (bytes), label 5, float_data 6 (not packed), encoded 7 (data is a picture file),
shape 8 (message with packed int64 dim 1), dtype 9. Values of float32 arrays go to float_data, those
of others to data in little-endian order. The wire format is written by hand: one message, and a
million floats that generic code would handle one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

DTYPES: tuple[np.dtype[np.generic], ...] = tuple(
    np.dtype(name).newbyteorder("<") for name in ("f4", "f2", "i1", "u1", "i2", "u2", "i4", "u4")
)
"""By their number in ``dtype``: FP32 0, FP16 1, INT8 2, UINT8 3, INT16 4 ... UINT32 7."""

_UINT8 = 3
_MAX_DIMS = 16
_MAX_DIM = 1 << 31
_FLOAT_TAG = 6 << 3 | 5


class DatumError(ValueError):
    """Not such a record; says why."""


@dataclass(frozen=True)
class Datum:
    """A record.

    Attributes:
        array: as stored; None for a picture file.
        label: class, if noted.
        encoded: a picture file, as stored by Caffe's tools.
    """

    array: np.ndarray | None
    label: int | None = None
    encoded: bytes | None = None


def encode_datum(array: np.ndarray, label: int | None = None, legacy: bool = False) -> bytes:
    """The record of an array, byte for byte as the historical tools write it.

    Args:
        array: float32, float16, or an integer of 8, 16 or 32 bits.
        label: an int32.
        legacy: Caffe's form for a u8[C, H, W] picture: channels, height and width, no dtype.

    Raises:
        DatumError: another type, or a label that does not fit.
    """
    array = np.asarray(array)
    try:
        number = DTYPES.index(array.dtype.newbyteorder("<"))
    except ValueError:
        raise DatumError(
            f"type {array.dtype} is not stored; float32, int8, uint8, int16, uint16, int32 and "
            "uint32 are"
        ) from None
    parts: list[bytes] = []
    if legacy:
        for place, dim in enumerate(array.shape, 1):
            parts.append(_varint_field(place, dim))
    if number == 0:
        floats = _floats(np.ascontiguousarray(array, "<f4").ravel())
        parts += [_label(label), floats]
    else:
        raw = np.ascontiguousarray(array, DTYPES[number]).tobytes()
        parts += [_bytes_field(4, raw), _label(label)]
    if legacy:
        return b"".join(parts)
    dims = b"".join(_varint(dim) for dim in array.shape)
    parts.append(_bytes_field(8, _bytes_field(1, dims) if dims else b""))
    parts.append(_varint_field(9, number))
    return b"".join(parts)


def encode_picture(data: bytes, label: int | None = None) -> bytes:
    """The record of a picture file, in Caffe's form.

    Raises:
        DatumError: the label is no int32.
    """
    return _bytes_field(4, data) + _label(label) + _varint_field(7, 1)


def decode_datum(record: bytes | memoryview) -> Datum:
    """Read a record; unknown fields are passed over.

    Raises:
        DatumError: damaged, or sizes that do not agree.
    """
    fields = _read_fields(_Wire(memoryview(record)))
    if fields.encoded:
        return Datum(None, fields.label, bytes(fields.data))
    if not 0 <= fields.dtype < len(DTYPES):
        raise DatumError(f"unknown type number {fields.dtype}")
    shape = fields.shape if fields.shape is not None else tuple(fields.legacy)
    floats = not len(fields.data) and (fields.floats or fields.dtype == 0)
    if floats:
        flat = np.concatenate([np.empty(0, "<f4"), *fields.floats])
    else:
        dtype = DTYPES[fields.dtype]
        if len(fields.data) % dtype.itemsize:
            raise DatumError(f"{len(fields.data)} bytes are no whole number of {dtype}")
        flat = np.frombuffer(fields.data, dtype)
    if math.prod(shape) != flat.size:
        raise DatumError(f"{flat.size} numbers for shape {list(shape)}")
    return Datum(flat.reshape(shape), fields.label)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes_field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _label(label: int | None) -> bytes:
    if label is None:
        return b""
    if not -(1 << 31) <= label < 1 << 31:
        raise DatumError(f"label {label} does not fit in 32 bits")
    return _varint_field(5, int(label))


def _floats(values: np.ndarray) -> bytes:
    """A tag before every number: the field is not packed."""
    out = np.empty((values.size, 5), np.uint8)
    out[:, 0] = _FLOAT_TAG
    out[:, 1:] = values.view(np.uint8).reshape(-1, 4)
    return out.tobytes()


class _Wire:
    """Bytes with a place in them; every offset is checked before it is followed."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.at = 0

    @property
    def left(self) -> int:
        return len(self.view) - self.at

    def take(self, size: int) -> memoryview:
        if size > self.left:
            raise DatumError(f"it ends early: {size} bytes are needed, {self.left} are left")
        piece = self.view[self.at : self.at + size]
        self.at += size
        return piece

    def varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value & (1 << 64) - 1
            shift += 7
        raise DatumError(f"byte {self.at}: a number of more than 10 bytes")

    def field(self) -> tuple[int, int, int | memoryview]:
        """Number, kind and value of the next field."""
        tag = self.varint()
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            return number, kind, self.varint()
        if kind == 2:
            return number, kind, self.take(self.varint())
        if kind in (1, 5):
            return number, kind, self.take(8 if kind == 1 else 4)
        raise DatumError(f"byte {self.at}: no such kind of field: {kind}")

    def floats(self) -> np.ndarray:
        """All that follow directly as single fields of float_data."""
        table = np.frombuffer(self.view, np.uint8, self.left // 5 * 5, self.at).reshape(-1, 5)
        other = np.flatnonzero(table[:, 0] != _FLOAT_TAG)
        count = int(other[0]) if other.size else len(table)
        self.at += 5 * count
        return np.ascontiguousarray(table[:count, 1:]).view("<f4").ravel()


@dataclass
class _Fields:
    legacy: list[int] = field(default_factory=lambda: [0, 0, 0])
    data: memoryview = field(default_factory=lambda: memoryview(b""))
    label: int | None = None
    floats: list[np.ndarray] = field(default_factory=list)
    encoded: bool = False
    shape: list[int] | None = None
    dtype: int = _UINT8


def _read_fields(wire: _Wire) -> _Fields:
    found = _Fields()
    while wire.left:
        number, kind, value = wire.field()
        if isinstance(value, int):
            signed = (value & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
            if number in (1, 2, 3):
                found.legacy[number - 1] = _dim(signed)
            elif number == 5:
                found.label = signed
            elif number == 7:
                found.encoded = bool(value)
            elif number == 9:
                found.dtype = signed
        elif number == 4 and kind == 2:
            found.data = value
        elif number == 6 and kind != 1:
            if len(value) % 4:
                raise DatumError(f"{len(value)} bytes of packed floats")
            found.floats.append(np.frombuffer(value, "<f4"))
            found.floats.append(wire.floats())
        elif number == 8 and kind == 2:
            found.shape = (found.shape or []) + _dims(_Wire(value))
    return found


def _dims(wire: _Wire) -> list[int]:
    """The dimensions of a BlobShape, packed or not."""
    dims: list[int] = []
    while wire.left:
        number, kind, value = wire.field()
        if isinstance(value, int):
            dims += [_dim(value)] if number == 1 else []
        elif number == 1 and kind == 2:
            if len(value) > 10 * _MAX_DIMS:
                raise DatumError(f"{len(value)} bytes of dimensions")
            packed = _Wire(value)
            while packed.left:
                dims.append(_dim(packed.varint()))
        if len(dims) > _MAX_DIMS:
            raise DatumError(f"{len(dims)} dimensions")
    return dims


def _dim(value: int) -> int:
    if not 0 <= value < _MAX_DIM:
        raise DatumError(f"a dimension of {value}")
    return value
