"""Histograms: exact counts, whatever the order, the range and the rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nntc.core.dtype import DType
from nntc.ir.graph import TensorType
from nntc.quant.histogram import (
    LEAST_EXPONENT,
    WHOLE_BINS,
    Histogram,
    channel_bins,
)
from nntc.quant.statistics import ValueStatistics


def counted(arrays: list[np.ndarray]) -> ValueStatistics:
    value = ValueStatistics(TensorType.of(arrays[0]))
    for array in arrays:
        assert value.add(array)
    return value


def expected(x: np.ndarray, bins: int) -> tuple[int, np.ndarray]:
    """Exponent and counts, computed from all numbers at once in float64."""
    wide = x.astype(np.float64).reshape(-1)
    most = np.abs(wide).max(initial=0)
    exponent = max(int(np.frexp(most)[1]) if most else LEAST_EXPONENT, LEAST_EXPONENT)
    place = np.floor(np.ldexp(wide, -exponent) * (bins // 2)).astype(np.int64) + bins // 2
    return exponent, np.bincount(place, minlength=bins)


def check(value: ValueStatistics, arrays: list[np.ndarray]) -> None:
    """Everything that was counted, against the definition."""
    x = np.concatenate([a.reshape(-1) for a in arrays])
    exponent, counts = expected(x, WHOLE_BINS)
    assert value.histogram.exponent == exponent
    np.testing.assert_array_equal(value.histogram.counts, counts)
    assert value.histogram.zeros == np.count_nonzero(x == 0)
    channels = [np.moveaxis(a, 1, 0) if a.ndim > 1 else a.reshape(1, -1) for a in arrays]
    rows = np.concatenate([c.reshape(len(c), -1) for c in channels], axis=1)
    np.testing.assert_array_equal(value.channel_minimum, rows.min(axis=1))
    np.testing.assert_array_equal(value.channel_maximum, rows.max(axis=1))
    histogram = value.channel_histogram
    assert histogram is not None
    for c, row in enumerate(rows):
        exponent, counts = expected(row, histogram.bins)
        assert histogram.exponent[c] == exponent
        np.testing.assert_array_equal(histogram.counts[c], counts)
        assert histogram.zeros[c] == np.count_nonzero(row == 0)


@pytest.mark.parametrize(
    "shape", [(), (7,), (2, 3), (1, 3, 5), (2, 4, 3, 5), (1, 2, 3, 2, 3), (1, 40, 60, 60)]
)
def test_every_rank(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    arrays = [np.asarray(rng.standard_normal(shape) * 10.0**i, np.float32) for i in (-3, 2, 0, 1)]
    check(counted(arrays), arrays)


@pytest.mark.parametrize(
    "numbers",
    [
        [0.0, -0.0, 0.0, 0.0],
        [3.5, 3.5, 3.5, 3.5],
        [1.0, -1.0, 2.0, -2.0],
        [np.finfo(np.float32).max, -np.finfo(np.float32).max, 1e-38, 0],
        [1e-45, -1e-45, 3e-39, 0],
        [1e-45, -1e-45, 3e38, -1],
        [-1e-45, 0, 0, 0],
        [np.nextafter(np.float32(1), np.float32(0)), 1, -1, 0],
    ],
)
def test_edges(numbers: list[float]) -> None:
    x = np.array(numbers, np.float32).reshape(1, 2, 2)
    check(counted([x]), [x])
    check(counted([x, x * np.float32(0), x]), [x, x * 0, x])


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(floats, min_size=6, max_size=6), min_size=2, max_size=6), st.randoms())
def test_order_and_grouping_do_not_matter(samples: list[list[float]], random) -> None:
    arrays = [np.array(s, np.float32).reshape(1, 3, 2) for s in samples]
    forward = counted(arrays)
    check(forward, arrays)
    shuffled = random.sample(arrays, len(arrays))
    cut = random.randrange(1, len(arrays))
    merged = counted(shuffled[:cut])
    merged.merge(counted(shuffled[cut:]))
    for one, other in ((forward, counted(shuffled)), (forward, merged)):
        np.testing.assert_array_equal(one.histogram.counts, other.histogram.counts)
        np.testing.assert_array_equal(one.by_channel.counts, other.by_channel.counts)
        np.testing.assert_array_equal(one.by_channel.exponent, other.by_channel.exponent)
        np.testing.assert_array_equal(one.by_channel.zeros, other.by_channel.zeros)
        assert one.channel_minimum.tobytes() == other.channel_minimum.tobytes()


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 5000, 9999])
def test_not_finite(bad: float, place: int) -> None:
    x = np.zeros((1, 10, 1000), np.float32)
    x.reshape(-1)[place] = bad
    assert not ValueStatistics(TensorType.of(x)).add(x)


def test_float64_beyond_float32_is_not_finite() -> None:
    x = np.array([1e39])
    assert not ValueStatistics(TensorType.of(x)).add(x)


def test_float16_and_views() -> None:
    x = np.random.default_rng(2).standard_normal((5, 4, 3)).astype(np.float16).transpose(2, 1, 0)
    check(counted([x]), [x])


def test_nothing_to_count() -> None:
    value = ValueStatistics(TensorType(DType.F32, (1, 3, 0)))
    assert value.add(np.zeros((1, 3, 0), np.float32))
    assert value.histogram.counts.sum() == 0


def test_bins_by_channel_are_bounded() -> None:
    for channels in (1, 3, 32, 129, 1152, 2048):
        bins = channel_bins(channels)
        assert 128 <= bins <= 2048
        assert bins & bins - 1 == 0
        assert channels * bins <= 1 << 18
    assert channel_bins(2049) == 0
    many = counted([np.ones((1, 3000, 1), np.float32)])
    assert many.channel_histogram is None
    assert many.channel_maximum.tolist() == [1] * 3000
    assert many.histogram.counts.sum() == 3000


def test_large_counts_add_up() -> None:
    one, other = Histogram.empty((8,)), Histogram.empty((8,))
    one.counts[5], other.counts[5] = 1 << 40, 1
    other.exponent = np.asarray(LEAST_EXPONENT + 1)
    one.merge(other)
    assert one.counts.tolist() == [0, 0, 0, 0, 1 << 40, 1, 0, 0]
