"""System memory: coefficients, and the place of every tensor in the context area."""

from __future__ import annotations

import hashlib

import numpy as np

from nntc.backend.plan import Storage
from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Value
from nntc.isa import Fmt
from nntc.isa.chip import CONTEXT_BASE, WORD_BYTES
from nntc.isa.layout import align_up

PAGE = 4096
"""Alignment of tensors in the context area, as the chip maker's compilers have it."""

COEFFICIENT_ALIGN = 256
"""Constants start and end on this boundary, so that reading a little past a tensor is harmless."""

_FORMATS = {
    DType.I8: Fmt.INT8,
    DType.U8: Fmt.UINT8,
    DType.BOOL: Fmt.UINT8,
}


class Coefficients:
    """The constants of a network, one copy of equal data."""

    def __init__(self) -> None:
        self._blobs: list[bytes] = []
        self._known: dict[bytes, Storage] = {}
        self.size = 0

    def add(self, data: np.ndarray, label: str) -> Storage:
        """Place an array; equal bytes are shared."""
        raw = np.ascontiguousarray(data).tobytes()
        key = hashlib.sha256(raw).digest()
        if key not in self._known:
            storage = Storage(len(raw), label, coefficient=True)
            storage.address = CONTEXT_BASE + self.size
            padded = align_up(max(len(raw), 1), COEFFICIENT_ALIGN)
            self._blobs.append(raw.ljust(padded, b"\0"))
            self.size += padded
            self._known[key] = storage
        return self._known[key]

    def blob(self) -> bytes:
        return b"".join(self._blobs)


def memory_root(value: Value) -> Value:
    """The value whose memory a chain of reshapes shares."""
    while value.producer is not None and isinstance(value.producer.op, ops.Reshape):
        value = value.producer.operands[0]
    return value


class Placement:
    """Where values lie in system memory; a reshaped value shares its source's storage."""

    def __init__(self, coefficients: Coefficients) -> None:
        self.coefficients = coefficients
        self._storage: dict[Value, Storage] = {}
        self.storages: list[Storage] = []

    def known(self, value: Value) -> bool:
        return memory_root(value) in self._storage

    def of(self, value: Value) -> Storage:
        """The value's storage, made on first use."""
        value = memory_root(value)
        storage = self._storage.get(value)
        if storage is None:
            if value.data is not None:
                storage = self.coefficients.add(value.data, value.name)
            else:
                storage = Storage(value.type.size * element_bytes(value.dtype), value.name)
                self.storages.append(storage)
            self._storage[value] = storage
        return storage


def element_bytes(dtype: DType) -> int:
    """Bytes per element in system memory: 1 for the 8-bit types of network inputs and outputs."""
    return 1 if dtype in _FORMATS else WORD_BYTES


def fmt(dtype: DType) -> Fmt:
    """GDMA format of a value in system memory."""
    return _FORMATS.get(dtype, Fmt.FP32)


def allocate(storages: list[Storage], births: dict[Storage, int], start: int) -> int:
    """Give every storage an address; storages that never live together share memory.

    Args:
        births: the step at which each one is first written; ``dies`` is its last use.
        start: first byte of the context area.

    Returns:
        The size of the context area.
    """
    top = 0
    placed: list[tuple[int, int, int, int]] = []  # birth, death, start, stop
    for storage in sorted(storages, key=lambda s: (births[s], -s.size)):
        size = align_up(max(storage.size, 1), PAGE)
        birth = births[storage]
        death = storage.dies if not storage.pinned else 1 << 60
        birth = birth if not storage.pinned else -1
        taken = sorted((a, b) for t0, t1, a, b in placed if t0 <= death and birth <= t1)
        cursor = 0
        for low, high in taken:
            if low - cursor >= size:
                break
            cursor = max(cursor, high)
        placed.append((birth, death, cursor, cursor + size))
        storage.address = start + cursor
        top = max(top, cursor + size)
    return top
