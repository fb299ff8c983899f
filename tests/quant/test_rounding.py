"""Rounding that keeps sums: exact cases, and less error than rounding to nearest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nntc.quant import rounding


def _problem(seed: int, rows: int, columns: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Random rows, and the covariance of inputs with few common causes."""
    rng = np.random.default_rng(seed)
    target = rng.standard_normal((rows, columns)) * 20
    mix = rng.standard_normal((columns, rank))
    return target, mix @ mix.T + 0.05 * np.diag(rng.random(columns))


def _error(target: np.ndarray, integers: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """d H d of every row."""
    d = target - integers
    return np.einsum("ri,ij,rj->r", d, covariance, d)


@pytest.mark.parametrize("columns", [2, 9, 63, 64, 65, 200])
def test_less_error_than_nearest(columns: int) -> None:
    target, covariance = _problem(columns, 32, columns, max(columns // 4, 1))
    plain = _error(target, rounding.nearest(target), covariance)
    fitted = _error(target, rounding.adaptive(target, covariance), covariance)
    assert fitted.sum() < 0.5 * plain.sum()


def test_close_to_the_best_of_all() -> None:
    """All ways to round six weights up or down."""
    target, covariance = _problem(1, 40, 6, 2)
    ways = np.array(list(itertools.product((0, 1), repeat=6)))
    best = np.min([_error(target, np.floor(target) + way, covariance) for way in ways], axis=0)
    fitted = _error(target, rounding.adaptive(target, covariance), covariance)
    plain = _error(target, rounding.nearest(target), covariance)
    assert fitted.sum() - best.sum() < 0.25 * (plain.sum() - best.sum())


@pytest.mark.parametrize("seed", range(5))
def test_the_result_does_not_depend_on_the_block(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, covariance = _problem(seed, 8, 50, 10)
    whole = rounding.adaptive(target, covariance)
    monkeypatch.setattr(rounding, "BLOCK", 7)
    np.testing.assert_array_equal(rounding.adaptive(target, covariance), whole)


def test_rows_do_not_depend_on_each_other() -> None:
    target, covariance = _problem(3, 16, 70, 20)
    whole = rounding.adaptive(target, covariance)
    alone = np.concatenate([rounding.adaptive(row[None], covariance) for row in target])
    np.testing.assert_array_equal(alone, whole)


def test_independent_inputs_are_rounded_to_nearest() -> None:
    target, _ = _problem(4, 10, 30, 5)
    covariance = np.diag(np.linspace(1, 9, 30))
    np.testing.assert_array_equal(rounding.adaptive(target, covariance), np.rint(target))
    many = np.repeat(covariance[None], 10, axis=0)
    np.testing.assert_array_equal(rounding.adaptive_single(target, many), np.rint(target))


def test_whole_numbers_stay() -> None:
    rng = np.random.default_rng(5)
    target = rng.integers(-127, 128, (12, 40)).astype(np.float64)
    _, covariance = _problem(5, 1, 40, 8)
    np.testing.assert_array_equal(rounding.adaptive(target, covariance), target)
    many = np.repeat(covariance[None], 12, axis=0)
    np.testing.assert_array_equal(rounding.adaptive_single(target, many), target)


def test_equal_inputs_keep_the_sum() -> None:
    """Eight times 0.25 is 2, not 0."""
    target = np.full((1, 8), 0.25)
    covariance = np.ones((8, 8))
    assert not rounding.nearest(target).any()
    assert rounding.adaptive(target, covariance).sum() == 2
    assert rounding.adaptive_single(target, covariance[None]).sum() == 2


def test_inputs_that_never_change() -> None:
    target = np.array([[0.4, 0.6, -1.5]])
    nothing = np.zeros((3, 3))
    np.testing.assert_array_equal(rounding.adaptive(target, nothing), [[0, 1, -2]])
    np.testing.assert_array_equal(rounding.adaptive_single(target, nothing[None]), [[0, 1, -2]])


def test_some_inputs_that_never_change() -> None:
    target, covariance = _problem(6, 8, 12, 4)
    covariance[[2, 7]] = 0
    covariance[:, [2, 7]] = 0
    got = rounding.adaptive(target, covariance)
    np.testing.assert_array_equal(got[:, [2, 7]], np.rint(target[:, [2, 7]]))
    plain = _error(target, rounding.nearest(target), covariance).sum()
    assert _error(target, got, covariance).sum() < plain


def test_single_rows_are_what_rows_of_their_own_would_be() -> None:
    """Every row with its covariance; the order of columns differs, so errors are compared."""
    rng = np.random.default_rng(7)
    target = rng.standard_normal((20, 9)) * 10
    many = np.stack([_problem(i, 1, 9, 3)[1] for i in range(20)])
    fitted = rounding.adaptive_single(target, many)
    plain = rounding.nearest(target)
    errors = [
        sum(_error(t[None], q[None], h)[0] for t, q, h in zip(target, integers, many, strict=True))
        for integers in (fitted, plain)
    ]
    assert errors[0] < 0.5 * errors[1]
    again = np.concatenate(
        [rounding.adaptive_single(t[None], h[None]) for t, h in zip(target, many, strict=True)]
    )
    np.testing.assert_array_equal(fitted, again)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    columns=st.integers(1, 20),
    size=st.sampled_from([1e-3, 1.0, 127.0, 1e4]),
    power=st.sampled_from([1e-30, 1e-6, 1.0, 1e6, 1e12]),
)
def test_always_in_range_and_never_far(seed: int, columns: int, size: float, power: float) -> None:
    rng = np.random.default_rng(seed)
    target = rng.uniform(-size, size, (4, columns))
    mix = rng.standard_normal((columns, 3))
    covariance = mix @ mix.T * power
    many = np.repeat(covariance[None], 4, axis=0)
    given_target, given_covariance = target.copy(), covariance.copy()
    for got in (rounding.adaptive(target, covariance), rounding.adaptive_single(target, many)):
        assert got.dtype == np.int8
        assert got.shape == target.shape
        assert got.min() >= -127
    np.testing.assert_array_equal(target, given_target)
    np.testing.assert_array_equal(covariance, given_covariance)
