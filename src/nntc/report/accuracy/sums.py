"""Error sums of one tensor over all samples; memory does not depend on their number."""

from __future__ import annotations

import numpy as np

from nntc.core.dtype import DType
from nntc.ir.graph import TensorType
from nntc.quant import ValueStatistics
from nntc.report.accuracy.runners import Form, Shape

_BLOCK = 1 << 19
"""Elements that are worked on at a time."""


class ErrorSums:
    """What is needed of a tensor's reference a and its numbers b.

    Channels lie along axis 1; tensors of rank 0 and 1 have one.

    Attributes:
        signal, noise, product, offset: float64 [channels]: sums of a², (b-a)², a(b-a), b-a.
        clipped: sum of (b-a)² where the integer is at a limit and the reference lies beyond.
        reach: float64 [channels]: the largest |a|.
        used: int64 [channels]: the largest |integer - zero|.
        nonzero: int64 [channels]: integers that do not stand for 0.
        largest_error, low, high: the largest |b-a|; the range of a.
        own_noise: sum of (b-a)² if the inputs were exact; None if that is not known.
        limits: the smallest and largest integer - zero, None for real numbers.
        distributions: of a, of b and of b-a, in steps of the grid where there is one; None if
            they are not wanted.
    """

    def __init__(self, form: Form, shape: Shape, distributions: bool = False) -> None:
        channels = shape[1] if len(shape) > 1 else 1
        self.form = form
        self.signal, self.noise, self.product, self.offset, self.reach = np.zeros((5, channels))
        self.used, self.nonzero = np.zeros((2, channels), np.int64)
        self.clipped = 0.0
        self.count = 0
        self.saturated = 0
        self.not_finite = 0
        self.largest_error = 0.0
        self.own_noise: float | None = None
        self.low, self.high = np.inf, -np.inf
        self.limits: tuple[int, int] | None = None
        if form.scale is not None:
            info = np.iinfo(form.dtype.name)
            self.limits = (int(info.min) - form.zero, int(info.max) - form.zero)
        self.distributions: tuple[ValueStatistics, ...] | None = None
        if distributions:
            # Of all channels together: histograms of each would need megabytes.
            kind = TensorType(DType.F32, (1,))
            self.distributions = tuple(ValueStatistics(kind) for _ in range(3))

    @property
    def channels(self) -> int:
        return len(self.signal)

    @property
    def scale(self) -> np.ndarray | None:
        """[channels], of the integers."""
        if self.form.scale is None:
            return None
        return np.broadcast_to(self.form.scale, (self.channels,))

    def add(self, a: np.ndarray, raw: np.ndarray) -> None:
        """Count one run.

        Args:
            a: reference numbers.
            raw: as the runner gives them, of the same shape.
        """
        if not a.size:
            return
        rows = len(a) if a.ndim > 1 else 1
        expected = a.reshape(rows, self.channels, -1)
        found = raw.reshape(rows, self.channels, -1)
        step = max(1, _BLOCK // max(1, expected.shape[0] * expected.shape[2]))
        for first in range(0, self.channels, step):
            block = slice(first, first + step)
            self._add(block, expected[:, block], found[:, block])

    def add_own(self, a: np.ndarray, raw: np.ndarray) -> None:
        """Count what comes of exact inputs; arguments as of :meth:`add`."""
        b = self.form.real(raw)
        with np.errstate(invalid="ignore", over="ignore"):
            error = b.astype(np.float64) - a
        error[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
        noise = float(np.square(error, out=error).sum())
        self.own_noise = (self.own_noise or 0.0) + (noise if np.isfinite(noise) else np.inf)

    def _add(self, block: slice, expected: np.ndarray, raw: np.ndarray) -> None:
        a = expected.astype(np.float64)
        scale = self.scale
        b = raw.astype(np.float64)
        if scale is not None:
            b = (b - self.form.zero) * scale[block, None]
        bad = ~(np.isfinite(a) & np.isfinite(b))
        if bad.any():
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            self.not_finite += int((bad & ~same).sum())
            a[bad] = b[bad] = 0.0
        error = b - a
        self.count += a.size
        self.signal[block] += np.einsum("ncx,ncx->c", a, a)
        self.noise[block] += np.einsum("ncx,ncx->c", error, error)
        self.product[block] += np.einsum("ncx,ncx->c", a, error)
        self.offset[block] += error.sum(axis=(0, 2))
        self.reach[block] = np.maximum(self.reach[block], np.abs(a).max(axis=(0, 2)))
        self.largest_error = max(self.largest_error, float(np.abs(error).max()))
        self.low, self.high = min(self.low, float(a.min())), max(self.high, float(a.max()))
        if self.limits is not None:
            self._add_integers(block, a, b, error, raw)
        if self.distributions is not None:
            unit = 1.0 if scale is None else scale[block, None]
            for counted, numbers in zip(self.distributions, (a, b, error), strict=True):
                largest = np.finfo(np.float32).max
                counted.add(np.clip(numbers / unit, -largest, largest).reshape(-1))

    def _add_integers(
        self, block: slice, a: np.ndarray, b: np.ndarray, error: np.ndarray, raw: np.ndarray
    ) -> None:
        assert self.limits is not None
        low, high = self.limits
        steps = raw.astype(np.int64) - self.form.zero
        # The 0 of unsigned integers is where a ReLU cuts off, no accident.
        at_limit = (steps == high) | (steps == low) if low else steps == high
        self.saturated += int(at_limit.sum())
        self.clipped += float(np.square(error[at_limit & (np.abs(a) > np.abs(b))]).sum())
        self.used[block] = np.maximum(self.used[block], np.abs(steps).max(axis=(0, 2)))
        self.nonzero[block] += np.count_nonzero(steps, axis=(0, 2))
