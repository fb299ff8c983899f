"""What calibration knows of the values of a graph.

Statistics of the same samples are equal to the bit whatever the order of the samples and however
they were divided and merged.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

import numpy as np

from nntc.core.errors import Problems, UserError
from nntc.ir.graph import Graph, TensorType, Value
from nntc.quant.histogram import WHOLE_BINS, Histogram, channel_bins

_SHARE = 1 << 16
"""Elements that are worth a thread of their own."""


class ValueStatistics:
    """The numbers that one float value took on. Channels lie along axis 1.

    Args:
        type: the value's; rank 0 and 1 count as one channel.

    Attributes:
        type: see above.
        channel_minimum, channel_maximum: float32 [channels]; +inf and -inf before any number.
        histogram: of all numbers.
        channel_histogram: one for every channel; None where there are so many channels that each
            would have too few bins.
    """

    def __init__(self, type: TensorType) -> None:
        self.type = type
        channels = type.shape[1] if len(type.shape) > 1 else 1
        self.channel_minimum = np.full(channels, np.inf, np.float32)
        self.channel_maximum = np.full(channels, -np.inf, np.float32)
        self.histogram = Histogram.empty((WHOLE_BINS,))
        # Without bins where there are too many channels: then it still knows ranges and zeros.
        self.by_channel = Histogram.empty((channels, channel_bins(channels)))
        self._lock = threading.Lock()

    @property
    def channels(self) -> int:
        return len(self.channel_minimum)

    @property
    def channel_histogram(self) -> Histogram | None:
        return self.by_channel if self.by_channel.bins else None

    @property
    def minimum(self) -> float:
        return float(self.channel_minimum.min(initial=np.inf))

    @property
    def maximum(self) -> float:
        return float(self.channel_maximum.max(initial=-np.inf))

    def add(self, x: np.ndarray) -> bool:
        """Count a float array of the value's shape. Threads may count at the same time.

        Returns:
            False if a number is not finite in float32; the statistics are worth nothing then.
        """
        if not x.size:
            return True
        with np.errstate(over="ignore"):
            numbers = np.ascontiguousarray(x, np.float32)
        with self._lock:
            return self._add(numbers.reshape(len(x) if x.ndim > 1 else 1, self.channels, -1))

    def _add(self, planes: np.ndarray) -> bool:
        """Count [N, channels, length] float32."""
        from nntc.core.native import split
        from nntc.quant import _histogram_kernels

        own = self.by_channel
        finite: list[bool] = []
        lock = threading.Lock()

        def count(first: int, last: int) -> None:
            part = Histogram.empty((1, WHOLE_BINS))
            good = _histogram_kernels.accumulate(
                first, last, planes, planes.view(np.int32), self.channel_minimum,
                self.channel_maximum, own.zeros, own.exponent, own.counts, part.exponent,
                part.counts[0],
            )  # fmt: skip
            with lock:
                finite.append(good)
                self.histogram.merge(part.row(0))

        split(count, self.channels, -(-_SHARE * self.channels // planes.size))
        self.histogram.zeros = own.zeros.sum(keepdims=True)[0]
        return all(finite)

    def merge(self, other: ValueStatistics) -> None:
        """Add what *other*, of a value of the same type, has counted."""
        np.minimum(self.channel_minimum, other.channel_minimum, out=self.channel_minimum)
        np.maximum(self.channel_maximum, other.channel_maximum, out=self.channel_maximum)
        self.histogram.merge(other.histogram)
        self.by_channel.merge(other.by_channel)


class Statistics:
    """Statistics of values of one graph.

    Attributes:
        samples: how many samples have been counted.
        values: value name → its statistics.
    """

    def __init__(self, values: Iterable[Value] = ()) -> None:
        self.samples = 0
        self.values = {v.name: ValueStatistics(v.type) for v in values}

    def merge(self, other: Statistics) -> None:
        """Add the samples of *other*.

        Raises:
            UserError: lists the values that are in one only, or have another type.
        """
        problems = Problems()
        for name in self.values.keys() ^ other.values.keys():
            problems.add(f"value {name}: is in one of the merged statistics only")
        for name in self.values.keys() & other.values.keys():
            mine, theirs = self.values[name].type, other.values[name].type
            if mine != theirs:
                problems.add(f"value {name}: is {mine} in one of the statistics, {theirs} in one")
        problems.raise_if_any()
        for name, value in self.values.items():
            value.merge(other.values[name])
        self.samples += other.samples

    def check(self, graph: Graph) -> None:
        """Refuse statistics of another graph.

        Raises:
            UserError: lists the values that the graph does not have, or has with another type.
        """
        types = {v.name: v.type for v in graph.values() if not v.is_constant}
        problems = Problems()
        for name, value in self.values.items():
            kind = types.get(name)
            if kind is None:
                problems.add(f"value {name}: is in the statistics, but not in the network")
            elif kind != value.type:
                text = f"is {value.type} in the statistics, {kind} in the network"
                problems.add(f"value {name}: {text}")
        problems.raise_if_any()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a file; the same statistics give the same bytes.

        Raises:
            UserError: the file cannot be written.
        """
        from nntc.quant import statistics_file

        statistics_file.write(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str], graph: Graph | None = None) -> Statistics:
        """Read what :meth:`save` wrote.

        Args:
            graph: refuse statistics of another graph, see :meth:`check`.

        Raises:
            UserError: the file is missing, damaged, or belongs to another graph.
        """
        from nntc.quant import statistics_file

        statistics, _ = statistics_file.read(path)
        if graph is not None:
            try:
                statistics.check(graph)
            except UserError as err:
                raise UserError([f"{path}: {text}" for text in err.problems]) from None
        return statistics
