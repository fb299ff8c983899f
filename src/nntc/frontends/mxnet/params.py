"""Reads a ``.params`` file: a list of arrays, then their names.

    file     u64 0x112, u64 0, u64 number of arrays, arrays, u64 number of names, u64 length + name
    array    one of
      oldest   u32 rank, u32 sizes, place, type, data
      1        u32 0xf993fac8, u32 rank, i64 sizes, place, type, data
      2, 3     u32 0xf993fac9 / 0xf993faca, i32 storage (0: dense), i32 rank, i64 sizes, ... as 1
    place    i32 kind of device, i32 number;   type  i32

An array of rank 0 (below version 3) or -1 (version 3) is none: nothing follows.
"""

from __future__ import annotations

import struct

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends import limits

_LIST = 0x112
_VERSIONS = {0xF993FAC8: 1, 0xF993FAC9: 2, 0xF993FACA: 3}
_TYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8", 7: "?"}
_RANK = 32


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, form: str) -> int:
        size = struct.calcsize(form)
        return struct.unpack(f"<{form}", self.take(size))[0]

    def take(self, size: int) -> memoryview:
        left = len(self._data) - self._at
        if not 0 <= size <= left:
            raise ModelError(f"the file is cut short: {size} bytes are needed, {left} are left")
        self._at += size
        return memoryview(self._data)[self._at - size : self._at]


def read_params(data: bytes) -> dict[str, np.ndarray]:
    """Name without ``arg:`` or ``aux:`` → array; floats as f32.

    Raises:
        ModelError: the file is damaged, or of another kind.
    """
    reader = _Reader(data)
    if len(data) < 24 or reader.number("Q") != _LIST:
        raise ModelError("not an MXNet parameter file")
    reader.number("Q")
    count = reader.number("Q")
    arrays: list[np.ndarray | None] = []
    for index in range(_plausible(count, data)):
        try:
            arrays.append(_array(reader))
        except ModelError as err:
            raise ModelError(f"array {index}: {err}") from None
    names = [
        bytes(reader.take(reader.number("Q"))).decode("utf-8", "replace")
        for _ in range(_plausible(reader.number("Q"), data))
    ]
    if len(names) != len(arrays):
        raise ModelError(f"{len(arrays)} arrays have {len(names)} names")
    pairs = zip(names, arrays, strict=True)
    return {_bare(name): array for name, array in pairs if array is not None}


def _plausible(count: int, data: bytes) -> int:
    # Nothing takes less than four bytes.
    if count > len(data) // 4:
        raise ModelError(f"{count} arrays or names in {len(data)} bytes")
    return count


def _bare(name: str) -> str:
    kind, colon, rest = name.partition(":")
    return rest if colon and kind in ("arg", "aux") else name


def _array(reader: _Reader) -> np.ndarray | None:
    first = reader.number("I")
    version = _VERSIONS.get(first, 0)
    if version >= 2:
        storage = reader.number("i")
        if storage not in (0, -1):
            raise ModelError(f"it is sparse (storage {storage})")
    rank = first if version == 0 else reader.number("i")
    if rank == (-1 if version == 3 else 0):
        return None
    if not 0 <= rank <= _RANK:
        raise ModelError(f"a rank of {rank} (unknown version?)")
    form = "I" if version == 0 else "q"
    shape = [reader.number(form) for _ in range(rank)]
    reader.take(8)
    kind = reader.number("i")
    if kind not in _TYPES:
        raise ModelError(f"an unknown element type ({kind})")
    dtype = np.dtype(_TYPES[kind])
    count = limits.count(shape)
    array = np.frombuffer(reader.take(count * dtype.itemsize), dtype).reshape(shape)
    with np.errstate(over="ignore"):
        return array.astype(np.float32 if dtype.kind == "f" else dtype.newbyteorder("="))
