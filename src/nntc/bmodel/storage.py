"""Element types and storage modes of tensors in device memory.

The BM1684 keeps 8-bit tensors with four batch items in one 32-bit word (4N), 16-bit ones with two
(2N), and 32-bit ones plainly (1N). A stored tensor of shape [N, ...] is an array of shape
[ceil(N/k), ..., k]; the batch is padded to a multiple of k, for N = 1 too.
"""

# NumPy's stubs leave reshape and view partly unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from nntc.core.dtype import DType
from nntc.core.errors import UserError

Array = npt.NDArray[Any]


class BDataType(IntEnum):
    """Element types; the numbers are those of the file and of the runtime's C API."""

    FLOAT32 = 0
    FLOAT16 = 1
    INT8 = 2
    UINT8 = 3
    INT16 = 4
    UINT16 = 5
    INT32 = 6
    UINT32 = 7

    @property
    def dtype(self) -> DType:
        return _DTYPES[self]

    @property
    def numpy(self) -> np.dtype[np.generic]:
        return self.dtype.numpy

    @property
    def size(self) -> int:
        """Bytes per element."""
        return self.dtype.size

    @property
    def text(self) -> str:
        """The name that the maker's tools print."""
        return self.name.lower()

    @property
    def store_mode(self) -> StoreMode:
        """The storage mode that both engines work in for this type."""
        return _MODE_OF_SIZE[self.size]

    @staticmethod
    def of(dtype: DType) -> BDataType:
        """The file's type for a DType.

        Raises:
            KeyError: a type that the device does not have (f64, i64, u64, bool).
        """
        return _FROM_DTYPE[dtype]


class StoreMode(IntEnum):
    """How the batch axis is stored; the numbers are those of the file."""

    N1 = 0
    N2 = 1
    N4 = 2

    @property
    def group(self) -> int:
        """Batch items in one group."""
        return 1 << self

    def bytes(self, shape: Sequence[int], item_size: int) -> int:
        """Bytes of a stored tensor, padding included.

        Args:
            shape: plain shape, N first; an empty shape is one element.
            item_size: bytes per element.
        """
        batch = shape[0] if shape else 1
        return -(-batch // self.group) * self.group * prod(shape[1:]) * item_size

    def store(self, array: Array) -> Array:
        """Plain array [N, ...] -> stored array [ceil(N/k), ..., k]; padding is zero.

        In 1N the array comes back unchanged (no last axis is added).
        """
        if self is StoreMode.N1:
            return array
        plain = array if array.ndim else array.reshape(1)
        groups = -(-plain.shape[0] // self.group)
        padded = np.zeros((groups * self.group, *plain.shape[1:]), plain.dtype)
        padded[: plain.shape[0]] = plain
        grouped = padded.reshape(groups, self.group, *plain.shape[1:])
        return np.ascontiguousarray(np.moveaxis(grouped, 1, -1))

    def load(self, stored: Array, shape: Sequence[int]) -> Array:
        """Stored elements (any shape, see :meth:`store`) -> plain array of *shape*.

        Raises:
            UserError: the number of elements is not that of *shape* with padding.
        """
        needed = self.bytes(shape, 1)
        if stored.size != needed:
            raise UserError(
                f"stored tensor: {stored.size} elements, shape {list(shape)} stored as "
                f"{self.group}N has {needed}"
            )
        if self is StoreMode.N1:
            return stored.reshape(tuple(shape))
        batch, rest = (shape[0] if shape else 1), tuple(shape[1:])
        grouped = stored.reshape(-(-batch // self.group), *rest, self.group)
        plain = np.moveaxis(grouped, -1, 1).reshape(-1, *rest)[:batch]
        return np.ascontiguousarray(plain).reshape(tuple(shape))


_DTYPES = {
    BDataType.FLOAT32: DType.F32,
    BDataType.FLOAT16: DType.F16,
    BDataType.INT8: DType.I8,
    BDataType.UINT8: DType.U8,
    BDataType.INT16: DType.I16,
    BDataType.UINT16: DType.U16,
    BDataType.INT32: DType.I32,
    BDataType.UINT32: DType.U32,
}
_FROM_DTYPE = {dtype: code for code, dtype in _DTYPES.items()}
_MODE_OF_SIZE = {4: StoreMode.N1, 2: StoreMode.N2, 1: StoreMode.N4}


def to_device(array: Array, shape: Sequence[int], dtype: BDataType, mode: StoreMode) -> Array:
    """Plain array -> its bytes in device memory (u8, 1-D); cast and reshaped as needed."""
    plain = np.ascontiguousarray(array, dtype.numpy).reshape(tuple(shape))
    return np.ascontiguousarray(mode.store(plain)).reshape(-1).view(np.uint8)


def from_device(data: Array, shape: Sequence[int], dtype: BDataType, mode: StoreMode) -> Array:
    """Bytes of device memory (u8, at least those of the tensor) -> plain array."""
    stored = np.ascontiguousarray(data[: mode.bytes(shape, dtype.size)]).view(dtype.numpy)
    return mode.load(stored, shape)
