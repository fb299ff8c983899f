"""Which real numbers the 8-bit integers of a value cover.

A value that is never negative takes u8 from 0. One that is about as negative as positive takes i8.
In between (hard-swish, SiLU, leaky ReLU: a little below zero, far above) u8 with a zero point
covers the range with up to twice as many steps.

The range of a whole tensor comes from the threshold method. A channel may have a smaller range of
its own, but only as far as the samples can show it: for a channel seen at few places, the largest
number seen says little about the largest number possible, and numbers that are cut off do more harm
than coarse steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import UserError
from nntc.ir.graph import Value
from nntc.quant.agreement import Agreement
from nntc.quant.grid import Grid
from nntc.quant.options import QuantizeOptions
from nntc.quant.statistics import Statistics, ValueStatistics
from nntc.quant.thresholds import value_threshold

LEAST = float(np.finfo(np.float32).tiny) * 2.0**24
"""No range is smaller: scales and their reciprocals stay normal fp32 numbers."""

MARGIN = 1.1
"""A channel's own range, relative to what the samples show."""

UNSURE, SURE = 1e4, 1e5
"""Numbers of a channel with which its own range counts nothing, and fully."""

LEAST_SHARE = 0.05
"""A channel's own range is at least this part of the tensor's."""

LEAKY_SHARE = 0.2
"""How much of the negative range counts where a leaky ReLU follows."""

ZEROS = (8, 16, 24, 32, 48, 64, 80, 96, 112)
"""Zero points that are tried."""

WORTHWHILE = 0.15
"""Bits that a zero point must gain."""


class Ranges:
    """Answers for all values of a graph; see :class:`nntc.quant.agreement.Agreement`."""

    def __init__(
        self, statistics: Statistics, agreement: Agreement, options: QuantizeOptions
    ) -> None:
        self._statistics = statistics
        self._agreement = agreement
        self._options = options
        self._thresholds: Mapping[str, float] = dict(options.thresholds)
        self._kinds: dict[Value, tuple[DType, int]] = {}

    def threshold(self, value: Value) -> float:
        """The largest magnitude that is to be covered.

        Raises:
            UserError: the statistics do not know the value.
        """
        if value.name in self._thresholds:
            return self._thresholds[value.name]
        # What decides the network's answer are its largest results: none is cut off.
        method = "MAX" if self._agreement.head(value) else self._options.method
        return float(value_threshold(method, self._known(value)))

    def grid(self, value: Value) -> Grid:
        """The grid of a value with one scale."""
        dtype, zero = self._kind(value)
        scale = _scale(dtype, zero, *self._useful(value, self._tensor(value)))
        return Grid(dtype, scale, zero=zero)

    def channels(self, value: Value) -> np.ndarray:
        """Scales that the channels' own ranges ask for, on the kind of grid that ``grid`` gives."""
        dtype, zero = self._kind(value)
        return _scale(dtype, zero, *self._useful(value, self._by_channel(value)))

    def bounds(self, value: Value) -> tuple[np.ndarray, np.ndarray]:
        """(scales that cover the channels' positive numbers, scales that cover all)."""
        dtype, zero = self._kind(value)
        low, high = self._by_channel(value)
        return _scale(dtype, zero, np.zeros_like(low), high), _scale(dtype, zero, low, high)

    # -- ranges ------------------------------------------------------------------------------

    def _known(self, value: Value) -> ValueStatistics:
        known = self._statistics.values.get(value.name)
        if known is None:
            raise UserError(
                f"value {value.name}: the statistics do not hold it; they are of another network"
            )
        return known

    def _tensor(self, value: Value) -> tuple[np.ndarray, np.ndarray]:
        """(largest magnitude below zero, above zero)."""
        known, most = self._known(value), max(self.threshold(value), LEAST)
        low, high = min(max(-known.minimum, 0), most), min(max(known.maximum, 0), most)
        return np.asarray(low), np.asarray(high)

    def _by_channel(self, value: Value) -> tuple[np.ndarray, np.ndarray]:
        known = self._known(value)
        low, high = self._tensor(value)
        if not self._options.per_channel:
            return np.full(known.channels, low), np.full(known.channels, high)
        seen = self._statistics.samples * value.type.size / max(known.channels, 1)
        trust = np.clip(math.log(max(seen, 1) / UNSURE) / math.log(SURE / UNSURE), 0, 1)
        if self._agreement.head(value):
            trust = 0
        share = 1 - trust * (1 - LEAST_SHARE)
        own = value_threshold(self._options.method, known, by_channel=True)
        below = np.clip(-known.channel_minimum.astype(np.float64), 0, None) * MARGIN
        above = np.clip(known.channel_maximum.astype(np.float64), 0, None) * MARGIN
        most = np.maximum(own, self.threshold(value))
        below, above = np.minimum(below, most), np.minimum(above, most)
        return np.maximum(below, share * low), np.maximum(above, share * high)

    def _useful(
        self, value: Value, interval: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Without numbers that the only reader, a curve, makes little difference between."""
        low, high = interval
        least = self._agreement.least_useful(value)
        if least is not None:
            low = np.minimum(low, -least)
        elif self._agreement.leaky_slope(value) is not None:
            low = low * LEAKY_SHARE
        return low, high

    # -- kinds of grids ------------------------------------------------------------------------

    def _kind(self, value: Value) -> tuple[DType, int]:
        """Type and zero point, the same for all values that share integers."""
        root = self._agreement.root(value)
        if root not in self._kinds:
            self._kinds[root] = self._choose(root)
        return self._kinds[root]

    def _choose(self, root: Value) -> tuple[DType, int]:
        if not self._agreement.signed(root):
            return DType.U8, 0
        if not self._options.asymmetric or not self._agreement.takes_zero(root):
            return DType.I8, 0
        members = [v for v in self._agreement.members(root) if v.name in self._statistics.values]
        ranges = [self._useful(v, self._by_channel(v)) for v in members]
        best = (_bits(DType.I8, 0, ranges) - WORTHWHILE, DType.I8, 0)
        for zero in ZEROS:
            bits = _bits(DType.U8, zero, ranges)
            if bits < best[0]:
                best = (bits, DType.U8, zero)
        return best[1], best[2]


def _scale(dtype: DType, zero: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The smallest scales that cover the ranges."""
    if dtype is DType.I8:
        return np.maximum(np.maximum(low, high), LEAST) / 127
    scale = np.maximum(high, LEAST) / (255 - zero)
    return np.maximum(scale, np.asarray(low) / zero) if zero else scale


def _bits(dtype: DType, zero: int, ranges: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean binary logarithm of the scales: the less, the finer."""
    return float(np.mean([np.log2(_scale(dtype, zero, *r)).mean() for r in ranges]))
