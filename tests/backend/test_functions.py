"""How accurate the functions are, over the ranges in which they are used.

The tables are measurements: a bound is about twice what was measured. Errors are against float64.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph, Op
from nntc.ir.ops.elementwise import UNARY
from tests.backend.harness import run

COUNT = 20_000
SMALLEST = 1.2e-38
"""Smaller numbers are zero on the chip."""


def apply(op: Op, *arrays: np.ndarray) -> np.ndarray:
    graph = Graph()
    values = [graph.input(f"x{i}", DType.F32, a.shape) for i, a in enumerate(arrays)]
    graph.outputs = graph.add(op, *values).outputs
    (result,) = run(graph, {v.name: a for v, a in zip(values, arrays, strict=True)}).values()
    return result


def points(low: float, high: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.concatenate([np.linspace(low, high, COUNT), rng.uniform(low, high, COUNT)]).astype(
        "f4"
    )


def magnitudes(low: float, high: float) -> np.ndarray:
    """Both signs, powers of two from 2**low to 2**high."""
    rng = np.random.default_rng(2)
    x = 2.0 ** rng.uniform(low, high, COUNT)
    return np.concatenate([x, -x]).astype("f4")


def errors(fn: str, x: np.ndarray) -> tuple[float, float]:
    """Largest absolute error, and largest relative error of normal results."""
    with np.errstate(all="ignore"):
        wanted = exact(fn, x.astype(np.float64))
    got = apply(ops.Unary(fn), x).astype(np.float64)
    assert np.isfinite(got).all(), x[~np.isfinite(got)][:5]
    error = np.abs(got - wanted)
    normal = np.abs(wanted) >= SMALLEST
    return float(error.max()), float((error[normal] / np.abs(wanted[normal])).max())


def exact(fn: str, x: np.ndarray) -> np.ndarray:
    """In float64; formulas that do not cancel."""
    if fn == "gelu":
        return 0.5 * x * np.vectorize(math.erfc)(-x * math.sqrt(0.5))
    if fn == "gelu_tanh":
        u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return x / (1 + np.exp(-2 * u))
    return UNARY[fn].compute(x)


# function, low, high, absolute error, relative error (infinite: not promised)
INF = math.inf
UNIFORM = [
    ("exp", -87.3, 88.3, INF, 2e-7),
    ("exp", -1, 1, 4e-7, 2e-7),
    ("log", 1e-30, 1e-3, 8e-6, 1.5e-7),
    ("log", 0.5, 2, 1.5e-7, 1.5e-7),
    ("log", 1, 1e30, 8e-6, 1.5e-7),
    ("sqrt", 0, 1e6, INF, 4e-7),
    ("rsqrt", 1e-6, 1e6, INF, 3e-7),
    ("reciprocal", 1e-3, 1e6, INF, 7e-7),
    ("sin", -10, 10, 2e-7, 3e-7),
    ("sin", -1000, 1000, 2e-7, INF),
    ("sin", -100_000, 100_000, 2e-6, INF),
    ("cos", -10, 10, 2e-7, 3e-7),
    ("cos", -1000, 1000, 2e-7, INF),
    ("tan", -1.5, 1.5, INF, 8e-7),
    ("asin", -1, 1, 5e-7, 9e-7),
    ("acos", -0.99, 0.99, 8e-7, 5e-6),
    ("atan", -50, 50, 5e-7, 8e-7),
    ("sinh", -9, 9, 2e-3, INF),
    ("sinh", -0.5, 0.5, 3e-7, INF),
    ("cosh", -9, 9, 2e-3, 3e-7),
    ("tanh", -20, 20, 7e-7, 8e-7),
    ("tanh", -1e-3, 1e-3, 1e-9, 8e-7),
    ("asinh", -100, 100, 8e-7, INF),
    ("acosh", 1.01, 100, 8e-7, 1e-5),
    ("atanh", -0.999, 0.999, 6e-7, INF),
    ("erf", -6, 6, 4e-7, 5e-7),
    ("erf", -1e-3, 1e-3, 1e-9, 5e-7),
    ("sigmoid", -80, 80, 6e-7, 7e-7),
    ("softplus", -10, 10, 1.2e-6, INF),
    ("softplus", -1, 80, 8e-6, 5e-7),
    ("softsign", -100, 100, 8e-7, 8e-7),
    ("mish", -80, 80, 2e-5, 9e-7),
    ("silu", -80, 80, 2e-5, 8e-7),
    ("gelu", -10, 10, 1e-6, INF),
    ("gelu", -1, 1, 5e-7, 3e-6),
    ("gelu_tanh", -9, 9, 3e-6, INF),
    ("gelu_tanh", -1, 1, 5e-7, 8e-7),
    ("hardswish", -10, 10, 6e-7, INF),
]


@pytest.mark.parametrize(("fn", "low", "high", "absolute", "relative"), UNIFORM)
def test_errors(fn: str, low: float, high: float, absolute: float, relative: float) -> None:
    found = errors(fn, points(low, high))
    assert found[0] <= absolute
    assert found[1] <= relative


# function, exponents of the arguments, absolute error, relative error
WIDE = [
    ("tanh", -120, 127, 7e-7, 8e-7),
    ("erf", -120, 127, 5e-7, 5e-7),
    ("atan", -120, 127, 5e-7, 8e-7),
    ("sigmoid", -120, 127, 6e-7, INF),
    ("softsign", -120, 125, 8e-7, 8e-7),
    ("sin", -120, 9, 2e-7, INF),
    ("sinh", -120, 6, INF, INF),
    ("asinh", -120, 60, 1e-5, INF),
    ("hardswish", -120, 120, INF, INF),
    ("reciprocal", -124, 124, INF, 7e-7),
    ("silu", -120, 6, INF, 8e-7),
]


@pytest.mark.parametrize(("fn", "low", "high", "absolute", "relative"), WIDE)
def test_errors_over_all_magnitudes(
    fn: str, low: float, high: float, absolute: float, relative: float
) -> None:
    found = errors(fn, magnitudes(low, high))
    assert found[0] <= absolute
    assert found[1] <= relative


@pytest.mark.parametrize("fn", ["sqrt", "rsqrt", "log"])
def test_errors_over_all_positive_magnitudes(fn: str) -> None:
    assert errors(fn, np.abs(magnitudes(-124, 127)))[1] <= 4e-7


EXACT = ["abs", "neg", "floor", "ceil", "round", "trunc", "sign", "relu"]


@pytest.mark.parametrize("fn", EXACT)
def test_exact_functions(fn: str) -> None:
    """Halves, whole numbers, and numbers too large to have a fraction included."""
    halves = np.arange(-40, 40) / 4
    edges = [2.0**22 - 0.5, 2.0**22 + 0.5, 2.0**23 - 0.5, 2.0**23 + 1, 2.0**24 + 2, 3e38, 1e-30]
    x = np.concatenate([halves, edges, np.negative(edges), magnitudes(-30, 30)]).astype("f4")
    np.testing.assert_array_equal(apply(ops.Unary(fn), x), UNARY[fn].compute(x))


SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, 3.4e38, -3.4e38, 100.0, -100.0], "f4")


@pytest.mark.parametrize(
    ("fn", "wanted"),
    [
        ("exp", [1, 1, np.inf, 0, np.inf, 0, np.inf, 0]),
        ("sigmoid", [0.5, 0.5, 1, 0, 1, 0, 1, 0]),
        ("tanh", [0, 0, 1, -1, 1, -1, 1, -1]),
        ("erf", [0, 0, 1, -1, 1, -1, 1, -1]),
        ("atan", [0, 0, math.pi / 2, -math.pi / 2, math.pi / 2, -math.pi / 2, 1.560797, -1.560797]),
        ("relu", [0, 0, np.inf, 0, 3.4e38, 0, 100, 0]),
        ("sign", [0, 0, 1, -1, 1, -1, 1, -1]),
        ("isnan", [0] * 8),
    ],
)
def test_limits(fn: str, wanted: list[float]) -> None:
    got = apply(ops.Unary(fn), SPECIAL).astype(np.float32)
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-7)


FADING = [ops.Swish(1.5), *map(ops.Unary, ("silu", "gelu", "gelu_tanh", "mish", "hardswish"))]


@pytest.mark.parametrize("op", FADING, ids=str)
def test_large_negative_numbers_fade_out(op: Op) -> None:
    x = np.array([-30, -88, -89, -1000, -1e10], np.float32)
    np.testing.assert_allclose(apply(op, x), np.zeros(5), atol=3e-12)


def test_the_square_root_of_nothing() -> None:
    got = apply(ops.Unary("sqrt"), np.array([0.0, -0.0, 4.0], np.float32))
    np.testing.assert_allclose(got, [0, 0, 2], rtol=4e-7)


@pytest.mark.parametrize("low", [0.1, 1e-6])
def test_powers(low: float) -> None:
    """The exponent's logarithm magnifies: the error grows with the result's exponent."""
    rng = np.random.default_rng(4)
    x, y = rng.uniform(low, 9, COUNT).astype("f4"), rng.uniform(-4, 4, COUNT).astype("f4")
    wanted = x.astype(np.float64) ** y
    error = np.abs(apply(ops.Binary("pow"), x, y) / wanted - 1)
    assert error.max() <= 2e-7 * (4 + np.abs(np.log(wanted)).max())


def test_powers_of_negative_numbers() -> None:
    x = np.array([-2, -2, -2, -3, -1.5, 0, 0, -2, 5], np.float32)
    y = np.array([2, 3, -1, 5, 0, 0, 3, 0, 0], np.float32)
    np.testing.assert_allclose(apply(ops.Binary("pow"), x, y), np.power(x, y), rtol=2e-6)


def test_division() -> None:
    """The chip's division has 22 good bits."""
    a, b = magnitudes(-60, 60), np.random.default_rng(5).permutation(magnitudes(-60, 60))
    error = np.abs(apply(ops.Binary("div"), a, b) / (a.astype(np.float64) / b) - 1)
    assert error.max() <= 7e-7


def test_integer_division_is_exact() -> None:
    graph = Graph()
    a, b = graph.input("a", DType.I32, (COUNT,)), graph.input("b", DType.I32, (COUNT,))
    graph.outputs = [graph.add(ops.Binary(fn), a, b).output for fn in ("div", "mod", "fmod")]
    rng = np.random.default_rng(6)
    x = rng.integers(-(2**20), 2**20, COUNT).astype(np.int32)
    y = rng.integers(1, 50, COUNT).astype(np.int32) * rng.choice([-1, 1], COUNT).astype(np.int32)
    x[:1000] = y[:1000] * 7
    quotient, modulo, remainder = run(graph, {"a": x, "b": y}).values()
    np.testing.assert_array_equal(quotient, np.trunc(x / y).astype(np.int32))
    np.testing.assert_array_equal(modulo, np.mod(x, y))
    np.testing.assert_array_equal(remainder, np.fmod(x, y))


@pytest.mark.parametrize(
    ("source", "target", "values"),
    [
        (DType.I32, DType.F32, [0, 1, -1, 2**24, 2**24 + 1, 2**31 - 1, -(2**31), 123456789]),
        (DType.F32, DType.I32, [0.0, 0.9, -0.9, 1.5, -2.5, 2**24, 2.0**30, -(2.0**31)]),
        (DType.I32, DType.I8, [0, 127, 128, 255, 256, -128, -129, 1000]),
        (DType.I32, DType.U8, [0, 127, 128, 255, 256, -1, -129, 1000]),
        (DType.U8, DType.I8, [0, 127, 128, 200, 255, 1, 2, 3]),
        (DType.I32, DType.U16, [0, 65535, 65536, -1, 70000, 1, 2, 3]),
        (DType.F32, DType.BOOL, [0.0, -0.0, 0.5, -3.0, 1e-30, np.inf, 1.0, 2.0]),
    ],
)
def test_casts_at_the_edges(source: DType, target: DType, values: list[float]) -> None:
    x = np.array(values, source.numpy)
    graph = Graph()
    value = graph.input("x", source, x.shape)
    graph.outputs = graph.add(ops.Cast(target), value).outputs
    (got,) = run(graph, {"x": x}).values()
    np.testing.assert_array_equal(got, x.astype(target.numpy))
