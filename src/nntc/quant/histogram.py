"""Histograms that can be merged exactly, in any order.

The bins of a histogram divide [-2**exponent, 2**exponent) evenly. Their number is fixed; where a
number does not fit, the exponent grows and neighbouring bins are merged in pairs. The bin of a
number is ``floor(x / width)`` with a power of two as width, and
``floor(floor(x / width) / 2) == floor(x / (2 * width))``; so a histogram depends only on the
numbers in it, not on their order or on how they were grouped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WHOLE_BINS = 8192
"""Bins of a tensor's histogram."""

MOST_CHANNEL_BINS, LEAST_CHANNEL_BINS = 2048, 128
_CHANNEL_BUDGET = 1 << 18

LEAST_EXPONENT, MOST_EXPONENT = -100, 128
"""Where the exponent starts (all numbers below are near zero), and that of the largest float32."""


def channel_bins(channels: int) -> int:
    """Bins for each of so many channels: a power of two; 0 if there would be too few of them."""
    if channels < 1 or channels * LEAST_CHANNEL_BINS > _CHANNEL_BUDGET:
        return 0
    return min(MOST_CHANNEL_BINS, 1 << (_CHANNEL_BUDGET // channels).bit_length() - 1)


@dataclass(eq=False)
class Histogram:
    """Counts of one tensor, or of every channel of one.

    Attributes:
        counts: int64 [bins] or [channels, bins].
        exponent: int64 () or [channels]; the bins divide [-limit, limit), limit = 2**exponent.
        zeros: int64 () or [channels]: how many numbers are exactly zero (they are counted, too).
    """

    counts: np.ndarray
    exponent: np.ndarray
    zeros: np.ndarray

    @staticmethod
    def empty(shape: tuple[int, ...]) -> Histogram:
        """Without any number. *shape* is that of the counts."""
        rows = shape[:-1]
        exponent = np.full(rows, LEAST_EXPONENT, np.int64)
        return Histogram(np.zeros(shape, np.int64), exponent, np.zeros(rows, np.int64))

    @property
    def limit(self) -> np.ndarray:
        """2**exponent, float64."""
        return np.ldexp(1.0, self.exponent)

    @property
    def bins(self) -> int:
        return self.counts.shape[-1]

    def row(self, channel: int) -> Histogram:
        """One channel's."""
        return Histogram(self.counts[channel], self.exponent[channel], self.zeros[channel])

    def merge(self, other: Histogram) -> None:
        """Add the numbers of *other*, which has the same number of bins and channels."""
        exponent = np.maximum(self.exponent, other.exponent)
        mine, theirs = (_reaching(h, exponent) for h in (self, other))
        self.counts = mine + theirs
        self.exponent = exponent
        self.zeros = self.zeros + other.zeros


def _reaching(histogram: Histogram, exponent: np.ndarray) -> np.ndarray:
    """Counts in bins that reach to 2**exponent."""
    from nntc.quant import _histogram_kernels

    if np.array_equal(histogram.exponent, exponent):
        return histogram.counts
    steps = np.reshape(exponent - histogram.exponent, -1)
    counts = histogram.counts.reshape(len(steps), histogram.bins).copy()
    _histogram_kernels.coarsen_all(counts, steps)
    return counts.reshape(histogram.counts.shape)
