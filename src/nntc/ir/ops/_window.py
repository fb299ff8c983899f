"""Sliding windows: the geometry of convolutions and pools, and their kernels in NumPy.

Loops run over the few kernel taps or blocks of rows, never over single elements. Convolutions
gather windows into a matrix (im2col) for one BLAS product per block of output rows, so that the
matrix stays small whatever the size of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nntc.ir.ops._rules import need_at_least, need_length, require

# Elements of the gathered matrix of one block: large enough for BLAS, small enough for the cache.
_BLOCK = 1 << 21


@dataclass(frozen=True)
class Window:
    """Geometry of windows over spatial axes; one entry per axis, pads: begins, then ends."""

    size: Sequence[int]
    kernel: Sequence[int]
    strides: Sequence[int]
    pads: Sequence[int]
    dilations: Sequence[int]

    @property
    def begins(self) -> Sequence[int]:
        return self.pads[: len(self.size)]

    @property
    def ends(self) -> Sequence[int]:
        return self.pads[len(self.size) :]

    @property
    def extents(self) -> list[int]:
        """Span of the dilated kernel."""
        return [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]

    def out(self, ceil_mode: bool = False) -> tuple[int, ...]:
        """Number of windows along each axis."""
        result: list[int] = []
        for size, begin, end, extent, stride in zip(
            self.size, self.begins, self.ends, self.extents, self.strides, strict=True
        ):
            room = size + begin + end - extent
            count = room // stride + 1
            if ceil_mode:
                count = -(-room // stride) + 1
                if (count - 1) * stride >= size + begin:
                    count -= 1
            result.append(max(count, 0))
        return tuple(result)

    def transposed_out(self, output_padding: Sequence[int]) -> tuple[int, ...]:
        """Spatial shape of a transposed convolution's result."""
        return tuple(
            stride * (size - 1) + more + extent - begin - end
            for size, begin, end, extent, stride, more in zip(
                self.size,
                self.begins,
                self.ends,
                self.extents,
                self.strides,
                output_padding,
                strict=True,
            )
        )

    def counts(self, ceil_mode: bool, include_pads: bool) -> np.ndarray:
        """Elements of each window inside the input, or inside input and padding; [*out]."""
        total = np.ones((), np.int64)
        for axis, count in enumerate(self.out(ceil_mode)):
            begin, end = self.begins[axis], self.ends[axis]
            low, high = (-begin, self.size[axis] + end) if include_pads else (0, self.size[axis])
            first = np.arange(count) * self.strides[axis] - begin
            taps = np.arange(self.kernel[axis]) * self.dilations[axis]
            position = first[:, None] + taps
            inside = ((position >= low) & (position < high)).sum(1)
            total = total[..., None] * inside
        return total


def check(
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
) -> Window:
    """The window, after the rules that all window operators share.

    Raises:
        ModelError: wrong lengths, values below 1 (pads: below 0).
    """
    need_length(strides, len(size), "strides")
    need_length(dilations, len(size), "dilations")
    need_length(pads, 2 * len(size), "pads")
    need_at_least(kernel, 1, "kernel")
    need_at_least(strides, 1, "strides")
    need_at_least(dilations, 1, "dilations")
    need_at_least(pads, 0, "pads")
    window = Window(size, kernel, strides, pads, dilations)
    padded = [s + b + e for s, b, e in zip(size, window.begins, window.ends, strict=True)]
    require(
        all(p >= e for p, e in zip(padded, window.extents, strict=True)),
        f"windows of {tuple(window.extents)} do not fit in the padded size {tuple(padded)}",
    )
    return window
