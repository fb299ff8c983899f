"""The scale of every output channel of a convolution, chosen together with its right shift.

With input scales s_x, output scales s_y and a right shift, the integer weights are
``w * s_x / s_y * 2**shift``. A larger shift makes them finer, until one does not fit in int8 or a
bias does not fit in int16; then s_y of that channel has to grow, which makes its results coarser.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WEIGHT_HIGH = 127
BIAS_HIGH = 32767
FACTOR_HIGH = 127
MAX_SHIFT = 22
NARROWS = (8, 7, 6, 5)
"""Right shifts of the second stage, when the sum passes through 16 bits."""


@dataclass(frozen=True)
class Scaling:
    """How a convolution rescales: attributes ``shift`` and ``narrow`` of FixConv, and s_y."""

    shift: int
    narrow: int
    scale: np.ndarray
    noise: float

    @property
    def total(self) -> int:
        return self.shift + self.narrow


def choose(
    rows: np.ndarray,
    bias: np.ndarray,
    wanted: np.ndarray,
    power: np.ndarray,
    importance: np.ndarray,
    *,
    common: bool = False,
    rounding: float = 1.0,
    stages: float = 0.9,
    high: int = 255,
    zero: int = 0,
) -> Scaling:
    """The shift with the least noise in the results.

    Args:
        rows: [M, K] weights times the input's scales: what one step of an input adds to a result.
        bias: [M], in real units.
        wanted: [M] scales that the results' ranges ask for.
        power: [M] expected square of the inputs of each row, in input steps: how much an error of
            one step in all weights adds to the result's variance.
        importance: [M] weight of each result's error.
        common: all channels must have one scale.
        rounding: variance of a rounded weight's error relative to rounding to nearest.
        stages: two stages (16 bits between) must have less than this part of the noise.
        high: largest integer of the result.
        zero: its zero point, which is added with the bias.
    """
    largest = np.abs(rows).max(axis=1, initial=0)
    best = None
    for shift in range(MAX_SHIFT + 1):
        unit = 2.0**shift
        least = largest * unit / WEIGHT_HIGH
        plain = np.maximum(least, _for_bias(bias, unit, zero, BIAS_HIGH))
        found = _scaling(shift, 0, plain, wanted, power, importance, common, rounding)
        if best is None or found.noise < best.noise:
            best = found
    assert best is not None
    wide = None
    for shift in range(best.shift + 1, MAX_SHIFT + 1):
        least = largest * 2.0**shift / WEIGHT_HIGH
        for narrow in NARROWS:
            if narrow >= shift:
                continue
            # The sum before the bias, too, has to fit into 16 bits.
            room = BIAS_HIGH - (high + 1) * 2.0**narrow
            if room <= 0:
                continue
            reach = _for_bias(bias, 2.0**narrow, zero, room)
            found = _scaling(
                shift - narrow,
                narrow,
                np.maximum(least, reach),
                wanted,
                power,
                importance,
                common,
                rounding,
            )
            if found.noise < stages * best.noise and (wide is None or found.noise < wide.noise):
                wide = found
    return wide or best


def _for_bias(bias: np.ndarray, unit: float, zero: int, limit: float) -> np.ndarray:
    """Scales from which on ``bias * unit / scale + zero * unit`` is within the limit."""
    above, below = limit - zero * unit, limit + zero * unit
    if above <= 0:
        return np.full_like(bias, np.inf)
    return np.where(bias > 0, bias / above, -bias / below) * unit


def _scaling(
    shift: int,
    narrow: int,
    least: np.ndarray,
    wanted: np.ndarray,
    power: np.ndarray,
    importance: np.ndarray,
    common: bool,
    rounding: float,
) -> Scaling:
    scale = np.maximum(wanted, least)
    if common:
        scale = np.full_like(scale, scale.max())
    noise = importance * scale**2 * (1 + rounding * power / 4.0 ** (shift + narrow))
    least_noise = importance * wanted**2
    return Scaling(shift, narrow, scale, float(noise.sum() / least_noise.sum()))


def factor_shift(factors: np.ndarray, most: int, least: int = 0) -> int:
    """The largest shift, *least* to *most*, with which ``factors * 2**shift`` fit in int8."""
    largest, shift = np.abs(factors).max(), least
    while largest * 2.0 ** (shift + 1) <= FACTOR_HIGH and shift < most:
        shift += 1
    return shift
