"""Thresholds: which real number the largest integer should stand for.

A threshold T means the scale T / 127 for 8 signed bits, T / 255 for 8 unsigned ones; numbers beyond
T are cut off. Every method balances that loss against the coarseness of the steps in its own way;
what each is good for is in docs/int8.md. Inside a bin, numbers are taken as evenly spread.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from nntc.core.errors import UserError
from nntc.quant.histogram import LEAST_EXPONENT, Histogram
from nntc.quant.statistics import ValueStatistics

METHODS = ("KL", "SYMKL", "JSD", "ADMM", "ACIQ", "MAX", "PERCENTILE9999", "MSE")

DEAD = 1.0
"""Threshold where nothing is known: no numbers but zeros, and no other channel to go by."""

LEAST = 2.0**LEAST_EXPONENT
"""No threshold is smaller, so that scales and their reciprocals are normal float32 numbers."""

_PERCENTILE = 0.9999
_ADMM_ROUNDS = 100
_ADMM_CHANGE = 1e-7
_SHARE = 1 << 15


def threshold(
    method: str,
    counts: np.ndarray,
    limit: np.ndarray | float,
    bits: int = 8,
    signed: bool = True,
    zeros: np.ndarray | int = 0,
) -> np.ndarray:
    """The real number for the largest integer, from a histogram.

    Args:
        method: one of :data:`METHODS`, in any case.
        counts: [bins] or [channels, bins], over [-limit, limit).
        limit: () or [channels].
        bits: 2 to 16, of the integers.
        signed: integers of both signs; else numbers below zero become 0 whatever the threshold.
        zeros: () or [channels], how many of the numbers are exactly 0; they have no error.

    Returns:
        float64 () or [channels], at least :data:`LEAST`, never beyond the last bin that is used. A
        channel whose numbers are all zero gets the largest threshold of the others, or
        :data:`DEAD`.

    Raises:
        UserError: unknown method, or bits out of range.
    """
    function = _METHODS.get(method.upper())
    if function is None:
        raise UserError(f"threshold method {method}: is unknown, known are {', '.join(METHODS)}")
    if not 2 <= bits <= 16:
        raise UserError(f"threshold for {bits} bits: 2 to 16 are possible")
    counts = np.asarray(counts)
    shape = counts.shape[:-1]
    mass = _mass(counts.reshape(-1, counts.shape[-1]), np.reshape(zeros, -1), signed)
    used = mass.shape[1] - np.argmax(mass[:, ::-1] > 0, axis=1)
    alive = mass.any(axis=1)
    result = np.zeros(len(mass))
    if alive.any():
        largest = (1 << bits - signed) - 1
        found = function(mass[alive], used[alive], largest)
        width = np.broadcast_to(np.reshape(limit, -1), len(mass))[alive] / mass.shape[1]
        result[alive] = np.maximum(np.minimum(found, used[alive]) * width, LEAST)
    result[~alive] = result.max() if alive.any() else DEAD
    return result.reshape(shape)


def value_threshold(
    method: str,
    value: ValueStatistics,
    *,
    by_channel: bool = False,
    bits: int = 8,
    signed: bool | None = None,
) -> np.ndarray:
    """The threshold of a value, or of each of its channels; not beyond its largest number.

    Args:
        by_channel: where the value has too many channels for histograms, MAX is used.
        signed: None: whether the value has a negative number.

    Returns:
        float64 () or [channels], positive.

    Raises:
        UserError: see :func:`threshold`.
    """
    if signed is None:
        signed = value.minimum < 0
    low, high = value.channel_minimum, value.channel_maximum
    extreme = np.maximum(high, -low if signed else 0).astype(np.float64)
    extreme = np.where(extreme > 0, np.maximum(extreme, LEAST), 0)
    if not by_channel:
        extreme = extreme.max(initial=0)
        result = _of_histogram(method, value.histogram, bits, signed)
    elif value.channel_histogram is not None:
        result = _of_histogram(method, value.channel_histogram, bits, signed)
    else:
        dead = extreme.max(initial=0) or DEAD
        return np.where(extreme > 0, extreme, dead)
    return np.where(extreme > 0, np.minimum(result, extreme), result)


def _of_histogram(method: str, histogram: Histogram, bits: int, signed: bool) -> np.ndarray:
    return threshold(method, histogram.counts, histogram.limit, bits, signed, histogram.zeros)


def _mass(counts: np.ndarray, zeros: np.ndarray, signed: bool) -> np.ndarray:
    """Rows of counts of |x|, or of positive x, from zero up; float64 [rows, bins / 2]."""
    half = counts.shape[1] // 2
    mass = counts[:, half:].astype(np.float64)
    mass[:, 0] -= np.minimum(zeros, mass[:, 0])
    if signed:
        mass += counts[:, half - 1 :: -1]
    return mass


# -- the methods: masses [rows, bins], used bins [rows], largest integer → thresholds in bins ------


def _max(mass: np.ndarray, used: np.ndarray, largest: int) -> np.ndarray:
    return used.astype(np.float64)


def _percentile(mass: np.ndarray, used: np.ndarray, largest: int) -> np.ndarray:
    """Below which 99.99 % of the numbers other than zero lie."""
    rows = np.arange(len(mass))
    total = np.cumsum(mass, axis=1)
    wanted = total[:, -1] * _PERCENTILE
    place = np.argmax(total >= wanted[:, None], axis=1)
    here = mass[rows, place]
    return place + 1 - (total[rows, place] - wanted) / here


def _mse(mass: np.ndarray, used: np.ndarray, largest: int) -> np.ndarray:
    from nntc.quant import _threshold_kernels as kernels

    return _by_rows(kernels.least_squares, mass, used, largest)


def _divergence(kind: int, mass: np.ndarray, used: np.ndarray, largest: int) -> np.ndarray:
    from nntc.quant import _threshold_kernels as kernels

    return _by_rows(kernels.least_divergence, mass, used, largest + 1, kind)


def _by_rows(function: Callable[..., object], mass: np.ndarray, used: np.ndarray, *more: int):
    """Run a compiled loop over the rows on all cores."""
    from nntc.core.native import split

    result = np.empty(len(mass))
    split(
        lambda first, last: function(first, last, mass, used, *more, result),
        len(mass),
        -(-_SHARE // mass.shape[1]),
    )
    return result


def _admm(mass: np.ndarray, used: np.ndarray, largest: int) -> np.ndarray:
    """Alternate between the best integers for a scale and the best scale for the integers.

    With q the integer of x, the best scale is sum(x * q) / sum(q * q). It starts at the maximum
    and ends in the nearest local minimum of the squared error.
    """
    scale = used / largest
    edges = np.arange(mass.shape[1] + 1, dtype=np.float64)
    for _ in range(_ADMM_ROUNDS):
        s = scale[:, None]
        n = np.minimum(np.floor(edges / s + 0.5), largest)
        start = (n - 0.5) * s
        # Integrals of x*q and q*q from 0 to the edges: whole cells, then the open one.
        squares = (n - 1) * n * (2 * n - 1) / 6
        xq = squares * s * s + np.where(n > 0, n * (edges**2 - start**2) / 2, 0)
        qq = squares * s + np.where(n > 0, n * n * (edges - start), 0)
        better = (mass * np.diff(xq)).sum(1) / (mass * np.diff(qq)).sum(1)
        change = np.abs(better - scale) / scale
        scale = better
        if change.max() < _ADMM_CHANGE:
            break
    return scale * largest


def _aciq(mass: np.ndarray, used: np.ndarray, largest: int) -> np.ndarray:
    """The best threshold of the Laplace or normal distribution, whichever is more likely."""
    centres = np.arange(mass.shape[1]) + 0.5
    total = mass.sum(1)
    mean = mass @ centres / total
    deviation = np.sqrt(mass @ (centres**2 + 1 / 12) / total)
    # Mean log likelihood, up to the terms they share.
    laplace = -np.log(mean) - 1
    normal = 0.5 * math.log(2 / math.pi) - np.log(deviation) - 0.5
    by_laplace, by_normal = _clipping(largest + 1)
    return np.where(laplace > normal, by_laplace * mean, by_normal * deviation)


@functools.cache
def _clipping(levels: int) -> tuple[float, float]:
    """Best thresholds for |x| of mean 1 (Laplace) and of mean square 1 (normal distribution).

    They minimise what is cut off plus the noise of *levels* even steps, (T / levels)**2 / 12
    (Banner et al., "Post training 4-bit quantization of convolutional networks", 2019).
    """
    noise = 1 / (6 * levels**2)

    def laplace(t: float) -> float:
        return noise * t - 2 * math.exp(-t)

    def normal(t: float) -> float:
        density = math.sqrt(2 / math.pi) * math.exp(-t * t / 2)
        return noise * t + 2 * t * math.erfc(t / math.sqrt(2)) - 2 * density

    return _root(laplace), _root(normal)


def _root(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return high


_METHODS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "KL": functools.partial(_divergence, 0),
    "SYMKL": functools.partial(_divergence, 1),
    "JSD": functools.partial(_divergence, 2),
    "ADMM": _admm,
    "ACIQ": _aciq,
    "MAX": _max,
    "PERCENTILE9999": _percentile,
    "MSE": _mse,
}
