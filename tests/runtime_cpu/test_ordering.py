"""The orders of the GNU C++ library's sorts and queues."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.runtime.cpu.ordering import partial_sort_order, queue_order, sort_order

# What std::sort, std::partial_sort (first 8) and std::priority_queue gave for KEYS.
KEYS = np.float32([2, 0, 1, 2, 0, 1, 0, 2, 1, 0, 2, 1, 1, 0, 2, 0, 2, 1, 0, 1])
SORT = [1, 18, 4, 15, 6, 13, 9, 19, 17, 12, 11, 8, 5, 2, 10, 7, 14, 16, 3, 0]
PARTIAL = [1, 4, 18, 9, 13, 15, 6, 8]
QUEUE = [0, 14, 3, 10, 7, 16, 2, 5, 12, 11, 19, 8, 17, 6, 9, 13, 15, 18, 4, 1]


def test_recorded_orders() -> None:
    assert sort_order(KEYS).tolist() == SORT
    assert partial_sort_order(KEYS, 8).tolist() == PARTIAL
    assert queue_order(KEYS).tolist() == QUEUE


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 33, 500])
@pytest.mark.parametrize("levels", [1, 3, 1000])
@pytest.mark.parametrize("descending", [False, True])
def test_orders_sort(count: int, levels: int, descending: bool) -> None:
    keys = np.random.default_rng(count).integers(0, levels, count).astype(np.float32)
    expected = np.sort(keys)[::-1] if descending else np.sort(keys)
    assert (keys[sort_order(keys, descending)] == expected).all()
    assert sorted(sort_order(keys, descending)) == list(range(count))
    half = partial_sort_order(keys, count // 2, descending)
    assert (keys[half] == expected[: count // 2]).all()
    assert len(set(half.tolist())) == count // 2
    if descending:
        assert (keys[queue_order(keys)] == expected).all()


def test_small_sorts_are_stable() -> None:
    assert sort_order(np.float32([1, 0, 1, 0])).tolist() == [1, 3, 0, 2]


def test_deep_recursion_falls_back_to_a_heap() -> None:
    # Median-of-three killer: pivots are always among the smallest.
    half = 500
    keys = np.zeros(2 * half, np.float32)
    for i in range(1, half + 1):
        if i % 2:
            keys[i - 1] = i
            keys[i] = half + i
        keys[half + i - 1] = 2 * i
    assert (np.diff(keys[sort_order(np.floor(keys / 2))]) >= -1).all()


def test_nan_keys_come_last() -> None:
    assert sort_order(np.float32([np.nan, 1, np.nan, 0])).tolist() == [3, 1, 0, 2]
