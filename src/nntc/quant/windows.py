"""What a convolution's window sees at sampled places of the calibration data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """A convolution over one or two spatial axes; one axis is seen as two, the first of size 1."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    begins: tuple[int, int]
    transposed: bool = False

    @staticmethod
    def of(
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        dilations: Sequence[int],
        transposed: bool = False,
    ) -> Geometry:
        def two(values: Sequence[int], filler: int) -> tuple[int, int]:
            return (values[0], values[1]) if len(values) == 2 else (filler, values[0])

        return Geometry(
            two(kernel, 1),
            two(strides, 1),
            two(dilations, 1),
            two(pads[: len(kernel)], 0),
            transposed,
        )

    def source(
        self, tap: tuple[int, int], rows: np.ndarray, cols: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Input rows and columns that a tap reads for results at *rows*, *cols*, and which of
        them are on the grid of a transposed convolution's input."""
        (sy, sx), (dy, dx), (top, left) = self.strides, self.dilations, self.begins
        if not self.transposed:
            y = rows * sy - top + tap[0] * dy
            x = cols * sx - left + tap[1] * dx
            return y, x, np.ones(y.shape, bool)
        y, x = rows + top - tap[0] * dy, cols + left - tap[1] * dx
        return y // sy, x // sx, (y % sy == 0) & (x % sx == 0)


class Places:
    """Places of a layer's result, the same for its inputs and its outputs.

    Args:
        spatial: spatial shape of the result.
        images: over all samples.
        wanted: about how many places in all of them together.
    """

    def __init__(
        self, rng: np.random.Generator, spatial: Sequence[int], images: int, wanted: int
    ) -> None:
        size = int(np.prod(spatial))
        each = min(size, max(1, -(-wanted // images)))
        self._width = spatial[-1]
        if each == size:
            self._where = [np.arange(size)] * images
        else:
            self._where = [np.sort(rng.choice(size, each, replace=False)) for _ in range(images)]

    def inputs(
        self, arrays: Sequence[np.ndarray], geometry: Geometry, outside: int = 0
    ) -> np.ndarray:
        """The window's inputs: float32 [channels, taps, places].

        Args:
            arrays: the input on every sample, [N, C, (H,) W].
            outside: what the padding holds.
        """
        images = [image for array in arrays for image in _planes(array)]
        kh, kw = geometry.kernel
        count = sum(at.size for at in self._where)
        seen = np.full((images[0].shape[0], kh * kw, count), outside, np.float32)
        start = 0
        for image, at in zip(images, self._where, strict=True):
            rows, cols = at // self._width, at % self._width
            for tap in range(kh * kw):
                y, x, inside = geometry.source((tap // kw, tap % kw), rows, cols)
                inside &= (y >= 0) & (y < image.shape[1]) & (x >= 0) & (x < image.shape[2])
                found = np.flatnonzero(inside)
                seen[:, tap, start + found] = image[:, y[found], x[found]]
            start += at.size
        return seen

    def outputs(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The results: float32 [channels, places]."""
        images = [image for array in arrays for image in _planes(array)]
        found = [
            image.reshape(image.shape[0], -1)[:, at]
            for image, at in zip(images, self._where, strict=True)
        ]
        return np.concatenate(found, axis=1).astype(np.float32, copy=False)


def _planes(array: np.ndarray) -> np.ndarray:
    """[N, C, (H,) W] with two spatial axes."""
    return array.reshape(*array.shape[:2], -1, array.shape[-1])
