"""Scales chosen together with the shift: legal for every row, and the best there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nntc.quant import scales


def _check_legal(
    found: scales.Scaling, rows: np.ndarray, bias: np.ndarray, high: int, zero: int
) -> None:
    """Weights in int8, biases in int16, and attributes that the chip has."""
    assert 0 <= found.shift <= 31
    assert found.narrow == 0 or found.narrow in scales.NARROWS
    assert np.isfinite(found.scale).all()
    assert (found.scale > 0).all()
    assert np.isfinite(found.noise)
    weight = rows * (2.0**found.total / found.scale)[:, None]
    assert np.abs(weight).max(initial=0) <= 127 + 1e-6
    offset = bias * 2.0**found.total / found.scale + zero * 2.0**found.total
    if found.narrow:
        offset = offset / 2.0**found.shift
        # The sum before the bias passes through 16 bits.
        assert (np.abs(offset) + (high + 1) * 2.0**found.narrow <= 32767 + 1e-3).all()
    assert (np.abs(offset) <= 32767.5).all()


def _brute(
    rows: np.ndarray, bias: np.ndarray, wanted: np.ndarray, power: np.ndarray, zero: int
) -> float:
    """The least noise of one stage over all shifts."""
    best = np.inf
    for shift in range(scales.MAX_SHIFT + 1):
        scale = wanted.copy()
        for row in range(len(rows)):
            need = np.abs(rows[row]).max(initial=0) * 2.0**shift / 127
            room = 32767 - zero * 2.0**shift if bias[row] > 0 else 32767 + zero * 2.0**shift
            if 32767 - zero * 2.0**shift <= 0:
                need = np.inf
            else:
                need = max(need, abs(bias[row]) * 2.0**shift / room)
            scale[row] = max(scale[row], need)
        noise = (scale**2 * (1 + power / 4.0**shift)).sum() / (wanted**2).sum()
        best = min(best, noise)
    return float(best)


def _random(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    count, columns = int(rng.integers(1, 9)), int(rng.integers(1, 30))
    rows = rng.standard_normal((count, columns)) * 10.0 ** rng.integers(-4, 3)
    rows *= 10.0 ** rng.uniform(-1, 1, (count, 1))
    bias = rng.standard_normal(count) * 10.0 ** rng.integers(-3, 4)
    wanted = 10.0 ** rng.uniform(-4, 1, count)
    power = columns * 10.0 ** rng.uniform(0, 4, count)
    return rows, bias, wanted, power


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 1 << 30), zero=st.sampled_from([0, 8, 64, 112]))
def test_legal_and_best(seed: int, zero: int) -> None:
    rows, bias, wanted, power = _random(seed)
    ones = np.ones(len(rows))
    high = 255 if zero else 127
    found = scales.choose(rows, bias, wanted, power, ones, high=high, zero=zero)
    _check_legal(found, rows, bias, high, zero)
    assert (found.scale >= wanted * (1 - 1e-12)).all()
    assert found.noise <= _brute(rows, bias, wanted, power, zero) * (1 + 1e-9)
    one = scales.choose(rows, bias, wanted, power, ones, high=high, zero=zero, stages=0.0)
    assert one.narrow == 0
    assert one.noise == pytest.approx(_brute(rows, bias, wanted, power, zero))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 30), zero=st.sampled_from([0, 112]))
def test_one_scale_for_all(seed: int, zero: int) -> None:
    rows, bias, wanted, power = _random(seed)
    ones = np.ones(len(rows))
    found = scales.choose(rows, bias, wanted, power, ones, common=True, zero=zero)
    assert np.ptp(found.scale) == 0
    _check_legal(found, rows, bias, 255, zero)
    free = scales.choose(rows, bias, wanted, power, ones, zero=zero)
    assert free.noise <= found.noise * (1 + 1e-9)


@pytest.mark.parametrize(
    ("weight", "bias"),
    [(0.0, 0.0), (0.0, 5.0), (1e30, 0.0), (1.0, 1e30), (1e-30, 0.0), (1e-30, 1e-30), (1e-38, -1.0)],
)
@pytest.mark.parametrize("zero", [0, 112])
def test_extreme_numbers(weight: float, bias: float, zero: int) -> None:
    rows = np.array([[weight, -weight / 3], [1.0, 0.5]])
    offset = np.array([bias, -0.1])
    found = scales.choose(
        rows, offset, np.array([0.01, 0.01]), np.ones(2), np.ones(2), high=255, zero=zero
    )
    _check_legal(found, rows, offset, 255, zero)


def test_a_row_with_large_weights_costs_the_others_nothing() -> None:
    rows = np.array([[1.0], [1e3]])
    found = scales.choose(rows, np.zeros(2), np.full(2, 0.1), np.full(2, 1e4), np.ones(2))
    assert found.scale[0] == 0.1


def test_importance_decides() -> None:
    """The shift suits the row that matters."""
    rows = np.array([[1.0], [100.0]])
    power = np.full(2, 1e4)
    wanted = np.full(2, 0.1)
    first = scales.choose(rows, np.zeros(2), wanted, power, np.array([1.0, 1e-6]))
    second = scales.choose(rows, np.zeros(2), wanted, power, np.array([1e-6, 1.0]))
    assert first.total > second.total
    assert second.scale[1] < first.scale[1]


@pytest.mark.parametrize("unit", [1.0, 2.0**7, 2.0**15, 2.0**22])
@pytest.mark.parametrize("zero", [0, 8, 112])
@pytest.mark.parametrize("limit", [32767.0, 24000.0])
def test_scales_for_a_bias(unit: float, zero: int, limit: float) -> None:
    bias = np.array([-50.0, -1e-3, 0.0, 1e-3, 50.0])
    least = scales._for_bias(bias, unit, zero, limit)
    assert (least >= 0).all()
    if zero * unit >= limit:
        assert np.isinf(least).all()  # not even the zero point fits
        return
    scale = np.maximum(least, 1e-9)
    offset = bias * unit / scale + zero * unit
    assert (np.abs(offset) <= limit * (1 + 1e-12)).all()
    # Tight: a smaller scale would not do.
    for index in (0, 4):
        beyond = bias[index] * unit / (least[index] * 0.99) + zero * unit
        assert abs(beyond) > limit
    assert least[2] == 0
