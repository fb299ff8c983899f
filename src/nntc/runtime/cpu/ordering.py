"""Orders in which the maker's layers visit equal scores.

The maker's layers sort with the GNU C++ library's ``std::sort``, ``std::partial_sort`` and
``std::priority_queue``. These are not stable: which of several equal scores comes first depends
on the algorithm, and quantised scores are often equal. So the same published algorithms
(introsort with median of three and insertion sort below 17 elements; binary heap with sift-down
to the bottom then sift-up) are followed here step by step on arrays of positions.

Keys are compared with ``<`` only; a descending order is the ascending order of ``-keys``, which
treats equal values and NaN alike. ``std::sort`` on NaN is undefined and may leave the array, so
NaN keys are refused by :func:`sort_order`'s callers or replaced by a stable order with NaN last.
"""

from __future__ import annotations

import numpy as np

from nntc.runtime.cpu.compiled import kernel

_SMALL = 16


def sort_order(keys: np.ndarray, descending: bool = False) -> np.ndarray:
    """Positions in the order of ``std::sort`` over *keys* (1-D f32); int64."""
    keys = -keys if descending else keys
    order = np.argsort(keys, kind="stable")
    if _all_distinct(keys[order]) or np.isnan(keys).any():
        return order
    return _introsort(keys.astype(np.float32))


def partial_sort_order(keys: np.ndarray, count: int, descending: bool = False) -> np.ndarray:
    """The first *count* positions in the order of ``std::partial_sort`` over *keys*; int64."""
    keys = (-keys if descending else keys).astype(np.float32)
    order = np.arange(len(keys))
    if count > 0:
        _partial_sort(order, 0, count, len(keys), keys)
    return order[:count]


def queue_order(scores: np.ndarray) -> np.ndarray:
    """Positions in the order a max ``std::priority_queue`` gives them, pushed one by one; int64."""
    order = np.argsort(-scores, kind="stable")
    if _all_distinct(scores[order]):
        return order
    return _drain_queue(scores.astype(np.float32))


def _all_distinct(ordered: np.ndarray) -> bool:
    return not (ordered[1:] == ordered[:-1]).any()


@kernel
def _sift_up(heap: np.ndarray, hole: int, top: int, value: int, keys: np.ndarray) -> None:
    parent = (hole - 1) // 2
    while hole > top and keys[heap[parent]] < keys[value]:
        heap[hole] = heap[parent]
        hole = parent
        parent = (hole - 1) // 2
    heap[hole] = value


@kernel
def _sift_down(heap: np.ndarray, hole: int, length: int, value: int, keys: np.ndarray) -> None:
    """Move the hole to a leaf along the larger children, then the value up from there."""
    top = hole
    child = hole
    while child < (length - 1) // 2:
        child = 2 * (child + 1)
        if keys[heap[child]] < keys[heap[child - 1]]:
            child -= 1
        heap[hole] = heap[child]
        hole = child
    if length % 2 == 0 and child == (length - 2) // 2:
        child = 2 * (child + 1)
        heap[hole] = heap[child - 1]
        hole = child - 1
    _sift_up(heap, hole, top, value, keys)


@kernel
def heap_push(heap: np.ndarray, size: int, value: int, keys: np.ndarray) -> None:
    """Add position *value* to a max-heap of *size* positions, as ``std::push_heap`` does."""
    _sift_up(heap, size, 0, value, keys)


@kernel
def heap_pop(heap: np.ndarray, size: int, keys: np.ndarray) -> int:
    """Remove and return the top of a heap of *size* positions, as ``std::pop_heap`` does."""
    top = heap[0]
    if size > 1:
        _sift_down(heap, 0, size - 1, heap[size - 1], keys)
    return top


@kernel
def _make_heap(heap: np.ndarray, length: int, keys: np.ndarray) -> None:
    for parent in range((length - 2) // 2, -1, -1):
        if length >= 2:
            _sift_down(heap, parent, length, heap[parent], keys)


@kernel
def _partial_sort(order: np.ndarray, first: int, middle: int, last: int, keys: np.ndarray) -> None:
    heap = order[first:middle]
    length = middle - first
    _make_heap(heap, length, keys)
    for i in range(middle, last):
        if keys[order[i]] < keys[heap[0]]:
            value = order[i]
            order[i] = heap[0]
            _sift_down(heap, 0, length, value, keys)
    for end in range(length - 1, 0, -1):
        value = heap[end]
        heap[end] = heap[0]
        _sift_down(heap, 0, end, value, keys)


@kernel
def _median_to_first(order: np.ndarray, to: int, a: int, b: int, c: int, keys: np.ndarray) -> None:
    ka, kb, kc = keys[order[a]], keys[order[b]], keys[order[c]]
    if ka < kb:
        if kb < kc:
            chosen = b
        elif ka < kc:
            chosen = c
        else:
            chosen = a
    elif ka < kc:
        chosen = a
    elif kb < kc:
        chosen = c
    else:
        chosen = b
    order[to], order[chosen] = order[chosen], order[to]


@kernel
def _insert(order: np.ndarray, at: int, lowest: int, keys: np.ndarray) -> None:
    value = order[at]
    while at > lowest and keys[value] < keys[order[at - 1]]:
        order[at] = order[at - 1]
        at -= 1
    order[at] = value


@kernel
def _introsort(keys: np.ndarray) -> np.ndarray:
    count = len(keys)
    order = np.arange(count)
    depth = 0
    size = count
    while size > 1:
        size >>= 1
        depth += 1
    # The parts still to do: the right half first, as the recursion does; the halves do not
    # touch each other, so their order has no influence on the result.
    firsts = np.zeros(2 * depth + 2, np.int64)
    lasts = np.zeros(2 * depth + 2, np.int64)
    depths = np.zeros(2 * depth + 2, np.int64)
    lasts[0] = count
    depths[0] = 2 * depth
    waiting = 1
    while waiting > 0:
        waiting -= 1
        first, last, left = firsts[waiting], lasts[waiting], depths[waiting]
        while last - first > _SMALL:
            if left == 0:
                _partial_sort(order, first, last, last, keys)
                break
            left -= 1
            middle = first + (last - first) // 2
            _median_to_first(order, first, first + 1, middle, last - 1, keys)
            pivot = keys[order[first]]
            low, high = first + 1, last
            while True:
                while keys[order[low]] < pivot:
                    low += 1
                high -= 1
                while pivot < keys[order[high]]:
                    high -= 1
                if low >= high:
                    break
                order[low], order[high] = order[high], order[low]
                low += 1
            firsts[waiting], lasts[waiting], depths[waiting] = low, last, left
            waiting += 1
            last = low
    for at in range(1, count):
        _insert(order, at, 0, keys)
    return order


@kernel
def _drain_queue(scores: np.ndarray) -> np.ndarray:
    count = len(scores)
    heap = np.zeros(count, np.int64)
    for i in range(count):
        heap_push(heap, i, i, scores)
    order = np.zeros(count, np.int64)
    for i in range(count):
        order[i] = heap_pop(heap, count - i, scores)
    return order
