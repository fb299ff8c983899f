"""Threshold methods: known distributions, definitions computed the slow way, edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nntc.core.errors import UserError
from nntc.ir.graph import TensorType
from nntc.quant.statistics import ValueStatistics
from nntc.quant.thresholds import DEAD, LEAST, METHODS, threshold, value_threshold

RNG = np.random.default_rng(7)
COUNT = 200_000


def outliers(count: int) -> np.ndarray:
    x = RNG.standard_normal(count)
    x[: count // 2000] *= 12
    return x


SIGNED = {
    "normal": RNG.standard_normal(COUNT),
    "laplace": RNG.laplace(size=COUNT) * 0.3,
    "uniform": RNG.uniform(-5, 5, COUNT),
    "outliers": outliers(COUNT),
    "two peaks": RNG.choice([-1.0, 1.0], COUNT) * RNG.normal(3, 0.1, COUNT),
}
DISTRIBUTIONS = {
    **{name: (x.astype(np.float32), True) for name, x in SIGNED.items()},
    **{f"relu {n}": (np.maximum(x, 0).astype(np.float32), False) for n, x in SIGNED.items()},
    "relu6": (np.clip(RNG.standard_normal(COUNT) * 4, 0, 6).astype(np.float32), False),
}


def counted(x: np.ndarray) -> ValueStatistics:
    value = ValueStatistics(TensorType.of(x))
    assert value.add(x)
    return value


def squared_error(x: np.ndarray, t: float, signed: bool, bits: int) -> float:
    """Mean squared error of quantising *x*; symmetric."""
    largest = (1 << bits - signed) - 1
    s = t / largest
    q = np.clip(np.rint(np.asarray(x, np.float64) / s), -largest if signed else 0, largest)
    return float(((q * s - x) ** 2).mean())


def brute_force(x: np.ndarray, signed: bool, bits: int) -> tuple[float, float]:
    """(T, error) with the least error out of many T."""
    top = float(np.abs(x).max())
    errors = {t: squared_error(x, t, signed, bits) for t in np.linspace(top / 150, top, 600)}
    best = min(errors, key=lambda t: errors[t])
    return best, errors[best]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_mse_finds_the_least_error_of_the_samples(name: str, bits: int) -> None:
    x, signed = DISTRIBUTIONS[name]
    _, least = brute_force(x, signed, bits)
    value = counted(x)
    t = float(value_threshold("MSE", value, bits=bits, signed=signed))
    assert squared_error(x, t, signed, bits) <= least * 1.005
    # The bins of a channel are coarser: 2048, often only a few hundred of them used.
    t = float(value_threshold("MSE", value, by_channel=True, bits=bits, signed=signed)[0])
    assert squared_error(x, t, signed, bits) <= least * 1.05


@pytest.mark.parametrize("name", ["normal", "laplace", "relu normal", "outliers"])
def test_mse_finds_the_threshold_of_the_samples(name: str) -> None:
    x, signed = DISTRIBUTIONS[name]
    top = float(np.abs(x).max())
    best, _ = brute_force(x, signed, 4)
    t = float(value_threshold("MSE", counted(x), bits=4, signed=signed))
    assert abs(t - best) < top / 100


@pytest.mark.parametrize(
    ("bits", "laplace", "normal"),
    [(2, 2.83, 1.71), (3, 3.89, 2.15), (4, 5.03, 2.56), (8, 9.9, 3.92)],
)
def test_aciq_knows_the_published_optima(bits: int, laplace: float, normal: float) -> None:
    """In units of mean deviation and of standard deviation (Banner et al., 2019)."""
    x = RNG.laplace(size=COUNT).astype(np.float32) * 3
    assert float(value_threshold("ACIQ", counted(x), bits=bits)) == pytest.approx(
        laplace * 3, rel=0.01
    )
    x = RNG.standard_normal(COUNT).astype(np.float32) / 5
    assert float(value_threshold("ACIQ", counted(x), bits=bits)) == pytest.approx(
        normal / 5, rel=0.01
    )


def test_aciq_of_one_sign() -> None:
    """As many steps again on one side: as good as one bit more, whatever the zeros are."""
    x = np.abs(RNG.laplace(size=COUNT)).astype(np.float32)
    x[: COUNT // 2] = 0
    assert float(value_threshold("ACIQ", counted(x))) == pytest.approx(11.16, rel=0.01)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_percentile(name: str) -> None:
    x, signed = DISTRIBUTIONS[name]
    value = counted(x)
    width = float(value.histogram.limit) / 4096
    wanted = np.percentile(np.abs(x[x != 0]), 99.99)
    # Numbers are sparse there: the neighbours in order may be some bins away.
    sizes = np.sort(np.abs(x[x != 0]))
    place = np.searchsorted(sizes, wanted)
    slack = sizes[min(place + 1, len(sizes) - 1)] - sizes[max(place - 2, 0)]
    t = float(value_threshold("PERCENTILE9999", value, signed=signed))
    assert abs(t - wanted) <= width + slack


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_max_is_the_largest_number(name: str) -> None:
    x, signed = DISTRIBUTIONS[name]
    value = counted(x)
    assert float(value_threshold("MAX", value, signed=signed)) == float(np.abs(x).max())
    alone = threshold("MAX", value.histogram.counts, value.histogram.limit, signed=signed)
    assert 0 <= alone - np.abs(x).max() <= value.histogram.limit / 4096


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_admm_ends_where_neither_half_step_changes_anything(name: str) -> None:
    x, signed = DISTRIBUTIONS[name]
    t = float(value_threshold("ADMM", counted(x), bits=4, signed=signed))
    largest = (1 << 4 - signed) - 1
    s = t / largest
    q = np.clip(np.rint(x.astype(np.float64) / s), -largest if signed else 0, largest)
    top = float(np.abs(x).max())
    better = (x * q).sum() / (q * q).sum() * largest
    assert min(better, top) == pytest.approx(t, rel=0.003)
    assert squared_error(x, t, signed, 4) <= squared_error(x, top, signed, 4) * 1.001


def divergence(method: str, mass: np.ndarray, n: int, levels: int) -> float:
    """The definition, in plain words: see least_divergence."""
    true = mass[:n].astype(float)
    quantised = np.zeros(n)
    for g in range(levels):
        group = range(g * n // levels, (g + 1) * n // levels)
        filled = [i for i in group if mass[i]]
        for i in filled:
            quantised[i] = sum(mass[j] for j in group) / len(filled)
    true[-1] += mass[n:].sum()
    p, q = true / true.sum(), quantised / quantised.sum()

    def kl(a: np.ndarray, b: np.ndarray) -> float:
        return sum(i * math.log(i / max(j, 1e-12)) for i, j in zip(a, b, strict=True) if i > 0)

    if method == "JSD":
        middle = (p + q) / 2
        return kl(p, middle) / 2 + kl(q, middle) / 2
    return kl(p, q) + (kl(q, p) if method == "SYMKL" else 0)


@pytest.mark.parametrize("method", ["KL", "SYMKL", "JSD"])
@pytest.mark.parametrize("shape", ["normal", "laplace", "outliers"])
def test_divergence_by_its_definition(method: str, shape: str) -> None:
    counts, _ = np.histogram(SIGNED[shape], bins=512, range=(-16, 16))
    mass = counts[256:] + counts[255::-1]
    used = int(np.flatnonzero(mass)[-1]) + 1
    levels = 16
    values = {n: divergence(method, mass, n, levels) for n in range(levels, used + 1)}
    t = float(threshold(method, counts, 16.0, bits=5))
    assert values[round(t * 16)] == pytest.approx(min(values.values()), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("method", ["KL", "SYMKL", "JSD", "ACIQ", "PERCENTILE9999"])
def test_a_few_outliers_are_cut_off(method: str) -> None:
    x = RNG.standard_normal(COUNT).astype(np.float32)
    x[:3] = 60
    assert 3 < float(value_threshold(method, counted(x))) < 12


# -- edge cases ------------------------------------------------------------------------------


def every(counts: np.ndarray, limit: object = 1.0, **options: object) -> dict[str, np.ndarray]:
    return {m: threshold(m, counts, limit, **options) for m in METHODS}  # type: ignore[arg-type]


@pytest.mark.parametrize("signed", [True, False])
def test_nothing_counted(signed: bool) -> None:
    for t in every(np.zeros(64, np.int64), signed=signed).values():
        assert t == DEAD


@pytest.mark.parametrize("signed", [True, False])
def test_only_zeros(signed: bool) -> None:
    counts = np.zeros(64, np.int64)
    counts[32] = 1000
    for t in every(counts, 2.0**-100, signed=signed, zeros=1000).values():
        assert t == DEAD


def test_numbers_below_zero_for_unsigned_integers() -> None:
    counts = np.zeros(64, np.int64)
    counts[3] = 5
    for t in every(counts, signed=False).values():
        assert t == DEAD


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("place", [32, 33, 40, 63])
def test_one_bin(place: int, signed: bool) -> None:
    counts = np.zeros(64, np.int64)
    counts[place] = 7
    low, high = (place - 32) / 32, (place - 31) / 32
    for method, t in every(counts, signed=signed).items():
        # The best scale may lie a step below the number.
        assert max(low * 0.99, 0) < t <= high, method


def test_one_number() -> None:
    for number in (3.7, -3.7):
        value = counted(np.full((1, 2, 5), number, np.float32))
        for method in METHODS:
            t = value_threshold(method, value, by_channel=True)
            assert t == pytest.approx([3.7, 3.7], rel=0.01), method


def test_dead_channels_go_by_the_others() -> None:
    counts = np.zeros((3, 256), np.int64)
    counts[0, 128:160] = 10
    counts[2, 120:136] = 10
    for method, t in every(counts, np.array([1.0, 1.0, 8.0])).items():
        assert t[1] == max(t[0], t[2]) > 0, method


@pytest.mark.parametrize("scale", [1e-45, 1e-38, 1e38])
def test_extreme_ranges(scale: float) -> None:
    value = counted((RNG.uniform(-1, 1, (1, 3, 500)) * scale).astype(np.float32))
    for method in METHODS:
        for by_channel in (False, True):
            t = value_threshold(method, value, by_channel=by_channel)
            assert np.all(t >= LEAST), method
            assert np.all(np.isfinite((127 / t).astype(np.float32))), method
            assert np.all(np.isfinite(t.astype(np.float32))), method


def test_too_many_channels_for_histograms() -> None:
    x = np.arange(3000, dtype=np.float32).reshape(1, 3000, 1)
    t = value_threshold("MSE", counted(x), by_channel=True)
    assert t[1:].tolist() == x[0, 1:, 0].tolist()
    assert t[0] == 2999


@pytest.mark.parametrize("method", METHODS)
def test_channels_are_independent(method: str) -> None:
    counts = RNG.poisson(np.exp(-np.abs(np.arange(-128, 128)) / RNG.uniform(5, 40, (200, 1))) * 99)
    limits = 2.0 ** RNG.integers(-8, 8, 200)
    together = threshold(method, counts, limits)
    assert together.shape == (200,)
    for c in range(0, 200, 23):
        assert together[c] == threshold(method, counts[c], limits[c])


@pytest.mark.parametrize("method", METHODS)
def test_thresholds_scale_with_the_numbers(method: str) -> None:
    counts, _ = np.histogram(SIGNED["laplace"], bins=2048, range=(-4, 4))
    one = threshold(method, counts, 4.0)
    assert threshold(method, counts, 64.0) == one * 16
    assert threshold(method.lower(), counts * 10, 4.0) == pytest.approx(one, rel=1e-9)


def test_unknown_method_and_bits() -> None:
    with pytest.raises(UserError, match="method BEST: is unknown, known are KL, SYMKL"):
        threshold("BEST", np.ones(8), 1.0)
    with pytest.raises(UserError, match="threshold for 1 bits"):
        threshold("MAX", np.ones(8), 1.0, bits=1)
