"""Reads a ``.weights`` file: a header, then float32 numbers layer after layer, without names."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends import limits


class Weights:
    """The numbers of a weights file, taken from front to back.

    The header is three int32 (major, minor, revision) and how many pictures were seen in training:
    64 bits from version 0.2 on, 32 before. Versions above 1000 mark files of an old converter
    whose connected layers are transposed.

    Raises:
        ModelError: the file is shorter than its header.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) < 16:
            raise ModelError(f"not Darknet weights: {len(data)} bytes hold no header")
        major, minor, self.revision = struct.unpack_from("<3i", data)
        if major < 0 or minor < 0:
            raise ModelError(f"not Darknet weights: version {major}.{minor} does not exist")
        self.version = (major, minor)
        self.transposed = major > 1000 or minor > 1000
        wide = major * 10 + minor >= 2 and not self.transposed
        self.start = 20 if wide else 16
        if len(data) < self.start:
            raise ModelError(f"not Darknet weights: {len(data)} bytes hold no header")
        self.loose = (len(data) - self.start) % 4
        count = (len(data) - self.start) // 4
        # A view: nothing is copied until a layer needs it.
        self._numbers = np.frombuffer(data, "<f4", count, self.start)
        self._taken = 0

    @property
    def left(self) -> int:
        """How many numbers have not been taken."""
        return len(self._numbers) - self._taken

    def take(self, shape: Sequence[int], what: str) -> np.ndarray:
        """The next numbers, f32 in the given shape.

        Raises:
            ModelError: the file ends before; nothing is allocated then.
        """
        count = limits.count(shape)
        if count > self.left:
            raise ModelError(
                f"the weights end here: {what} {list(shape)} are {count} numbers, "
                f"{self.left} of the file's {len(self._numbers)} are left"
            )
        first = self._taken
        self._taken += count
        return self._numbers[first : self._taken].astype(np.float32).reshape(tuple(shape))

    def check_end(self) -> None:
        """Refuse a file that holds more than the layers took.

        Raises:
            ModelError: it does; the configuration is another's.
        """
        if self.left or self.loose:
            over = 4 * self.left + self.loose
            raise ModelError(
                f"{over} bytes are left over after the last layer's {self._taken} numbers: these "
                "weights are of another configuration"
            )
