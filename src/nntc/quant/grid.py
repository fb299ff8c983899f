"""How numbers of a float tensor lie on the 8-bit grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nntc.core.dtype import DType


@dataclass(frozen=True, eq=False)
class Grid:
    """value = integer * scale.

    Attributes:
        dtype: i8 or u8.
        scale: one number (shape ()), or one for every index of ``axis``; float64, positive.
        axis: the axis along which the scale varies.
    """

    dtype: DType
    scale: np.ndarray
    axis: int = 1

    @property
    def varies(self) -> bool:
        """Whether channels have scales of their own."""
        return self.scale.ndim == 1

    @property
    def high(self) -> int:
        """The largest integer."""
        return 255 if self.dtype is DType.U8 else 127

    def along(self, rank: int) -> np.ndarray:
        """The scale as it broadcasts to a tensor of *rank*."""
        if not self.varies:
            return self.scale
        return self.scale.reshape([-1 if a == self.axis else 1 for a in range(rank)])

    def channels(self, count: int) -> np.ndarray:
        """The scale of each of *count* channels."""
        return np.broadcast_to(self.scale, (count,))
