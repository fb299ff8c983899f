"""Loops on several threads, and products that do not depend on how many there are."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from nntc.core import blas, native
from nntc.ir import ops
from nntc.ir.ops._numeric import product


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(("count", "least"), [(0, 1), (1, 1), (7, 1), (7, 3), (100, 0), (9, 50)])
def test_split_covers_the_range(
    threads: int, count: int, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "THREADS", threads)
    ranges: list[tuple[int, int]] = []
    native.split(lambda first, last: ranges.append((first, last)), count, least)
    assert sorted(i for first, last in ranges for i in range(first, last)) == list(range(count))
    assert len(ranges) <= threads
    assert len(ranges) == 1 or all(last - first >= least for first, last in ranges)


def test_split_inside_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads that are waited for must not wait for threads."""
    monkeypatch.setattr(native, "THREADS", 2)
    found: list[tuple[int, int]] = []

    def outer(first: int, last: int) -> None:
        for i in range(first, last):
            native.split(lambda a, b, i=i: found.extend((i, j) for j in range(a, b)), 6)

    worker = threading.Thread(target=native.split, args=(outer, 8), daemon=True)
    worker.start()
    worker.join(30)
    assert not worker.is_alive()
    assert sorted(found) == [(i, j) for i in range(8) for j in range(6)]


@pytest.mark.parametrize("bad", [0, 3])
def test_split_passes_errors_on(bad: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "THREADS", 2)

    def fail(first: int, last: int) -> None:
        if first <= bad < last:
            raise KeyError(bad)

    with pytest.raises(KeyError):
        native.split(fail, 4)
    native.split(lambda first, last: None, 4)


def test_one_thread_is_restored() -> None:
    read, _ = blas._controls()
    before = read()
    with blas.one_thread():
        assert read() == 1
        with blas.one_thread():
            assert read() == 1
        assert read() == 1
    assert read() == before


@pytest.mark.parametrize("shape", [(200, 300, 900), (900, 300, 200), (64, 1152, 49), (1, 700, 90)])
def test_products_do_not_depend_on_threads(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, inner, columns = shape
    rng = np.random.default_rng(3)
    a = rng.standard_normal((rows, inner)).astype(np.float32)
    b = rng.standard_normal((inner, columns)).astype(np.float32)
    read, write = blas._controls()
    before = read()
    results: set[bytes] = set()
    try:
        for threads in (1, 2, 3):
            monkeypatch.setattr(native, "THREADS", threads)
            write(threads)
            results.add(product(a, b).tobytes())
    finally:
        write(before)
    assert len(results) == 1
    np.testing.assert_allclose(product(a, b), a.astype(np.float64) @ b, atol=1e-3)


def test_large_products_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches, vectors and integers too; and convolutions of many blocks."""
    monkeypatch.setattr("nntc.ir.ops._numeric._LEAST_WORK", 1000)
    monkeypatch.setattr("nntc.ir.ops._window._BLOCK", 3000)
    rng = np.random.default_rng(4)
    for left, right in [
        ((5, 40, 30), (30, 70)),
        ((3, 1, 40, 30), (2, 30, 20)),
        ((90, 30), (4, 30, 20)),
        ((30,), (30, 50)),
        ((2, 50, 30), (30,)),
    ]:
        a, b = rng.integers(-9, 9, left), rng.integers(-9, 9, right)
        np.testing.assert_array_equal(product(a, b), np.matmul(a, b))
        floats = product(a.astype(np.float32), b.astype(np.float32))
        np.testing.assert_array_equal(floats, np.matmul(a, b))
    x, w = rng.integers(-9, 9, (2, 6, 33, 31)), rng.integers(-9, 9, (8, 3, 3, 3))
    op = ops.Conv((1, 2), (1, 1, 0, 2), (1, 1), 2)
    (whole,) = op.compute(x, w)
    (floats,) = op.compute(x.astype(np.float32), w.astype(np.float32))
    np.testing.assert_array_equal(floats, whole)
