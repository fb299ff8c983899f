"""How numbers of a float tensor lie on the 8-bit grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nntc.core.dtype import DType


@dataclass(frozen=True, eq=False)
class Grid:
    """value = (integer - zero) * scale.

    Attributes:
        dtype: i8 or u8.
        scale: one number (shape ()), or one for every index of ``axis``; float64, positive.
        axis: the axis along which the scale varies.
        zero: the integer that stands for 0; it is the same for all channels, because it is also
            what the padding of a convolution holds.
    """

    dtype: DType
    scale: np.ndarray
    axis: int = 1
    zero: int = 0

    @property
    def varies(self) -> bool:
        """Whether channels have scales of their own."""
        return self.scale.ndim == 1

    @property
    def low(self) -> int:
        """The least integer."""
        return 0 if self.dtype is DType.U8 else -128

    @property
    def high(self) -> int:
        """The largest integer."""
        return 255 if self.dtype is DType.U8 else 127

    def along(self, rank: int) -> np.ndarray:
        """The scale as it broadcasts to a tensor of *rank*."""
        return self.spread(self.scale, rank)

    def spread(self, numbers: np.ndarray, rank: int) -> np.ndarray:
        """Numbers, one for every channel if the scale varies, as they broadcast."""
        if numbers.ndim == 0:
            return numbers
        return numbers.reshape([-1 if a == self.axis else 1 for a in range(rank)])

    def channels(self, count: int) -> np.ndarray:
        """The scale of each of *count* channels."""
        return np.broadcast_to(self.scale, (count,))

    def real(self, integers: np.ndarray) -> np.ndarray:
        """What integers stand for, in float64."""
        return (integers.astype(np.float64) - self.zero) * self.along(integers.ndim)

    def scaled(self, scale: np.ndarray, axis: int | None = None) -> Grid:
        """The same with other scales."""
        return replace(self, scale=np.asarray(scale), axis=self.axis if axis is None else axis)
