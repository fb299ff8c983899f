"""Rounding and saturation of the TIU's integer results."""

from __future__ import annotations

import numpy as np


def shift_round(total: np.ndarray, shift: int) -> np.ndarray:
    """Arithmetic right shift, halves rounded up."""
    return (total + ((1 << shift) >> 1)) >> shift


def saturate(total: np.ndarray, size: int, signed: bool) -> np.ndarray:
    """Clipped to the range of a signed or unsigned integer of *size* bytes, in that type."""
    dtype = integer(size, signed)
    info = np.iinfo(dtype)
    return np.clip(total, info.min, info.max).astype(dtype)


def integer(size: int, signed: bool | int) -> np.dtype[np.signedinteger | np.unsignedinteger]:
    """The little-endian integer type of *size* bytes."""
    return np.dtype(f"<{'i' if signed else 'u'}{size}")
