"""Element types of tensors, and their NumPy equivalents."""

from __future__ import annotations

from enum import Enum

import numpy as np


class DType(str, Enum):
    """Element type; the value is the short name used in text files."""

    F32 = "f32"
    F16 = "f16"
    F64 = "f64"
    BOOL = "bool"
    I8 = "i8"
    U8 = "u8"
    I16 = "i16"
    U16 = "u16"
    I32 = "i32"
    U32 = "u32"
    I64 = "i64"
    U64 = "u64"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        return _NUMPY[self]

    @property
    def size(self) -> int:
        """Bytes per element in NumPy's plain layout."""
        return _NUMPY[self].itemsize

    @property
    def is_float(self) -> bool:
        return self in (DType.F32, DType.F16, DType.F64)

    @property
    def is_integer(self) -> bool:
        return not self.is_float and self is not DType.BOOL

    def __str__(self) -> str:
        return self.value

    @staticmethod
    def of(array: np.ndarray | np.dtype[np.generic]) -> DType:
        """The DType of a NumPy array or dtype.

        Raises:
            KeyError: NumPy type without an equivalent (complex, string, object).
        """
        dt = np.dtype(getattr(array, "dtype", array))
        return _FROM_NUMPY[dt]


_NUMPY: dict[DType, np.dtype[np.generic]] = {
    DType.F32: np.dtype(np.float32),
    DType.F16: np.dtype(np.float16),
    DType.F64: np.dtype(np.float64),
    DType.BOOL: np.dtype(np.bool_),
    DType.I8: np.dtype(np.int8),
    DType.U8: np.dtype(np.uint8),
    DType.I16: np.dtype(np.int16),
    DType.U16: np.dtype(np.uint16),
    DType.I32: np.dtype(np.int32),
    DType.U32: np.dtype(np.uint32),
    DType.I64: np.dtype(np.int64),
    DType.U64: np.dtype(np.uint64),
}
_FROM_NUMPY = {v: k for k, v in _NUMPY.items()}
