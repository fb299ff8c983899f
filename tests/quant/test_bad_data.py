"""Data and weights at the edge: handled, or one clear message."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from nntc import api
from nntc.core.errors import UserError
from nntc.ir import interpret, ops
from nntc.ir.graph import Graph, Value
from nntc.quant import QuantizeOptions, calibrate, quantize
from tests.backend import harness
from tests.quant import checks
from tests.quant.cases_rules import Build


def _network(change) -> Graph:  # type: ignore[no-untyped-def]
    """Convolutions, a ReLU, a depthwise one and a gate, with changed weights."""
    b = Build()
    y = b.relu(b.conv(b.x, 8, name="first"))
    y = b(ops.Swish(1.0), b.conv(y, 8, group=8, name="depthwise"))
    g = b(ops.Reduce("mean", (2, 3), True), y, name="mean")
    g = b(ops.Unary("sigmoid"), b.conv(g, 8, (1, 1), name="squeeze"), name="gate")
    y = b(ops.Binary("mul"), y, g, name="scaled")
    z = b.conv(y, 8, name="second")
    y = b(ops.Binary("add"), z, y, name="sum")
    b.graph.outputs = [b.conv(y, 4, name="last")]
    constants = {v.name: v for v in b.graph.values() if v.data is not None}
    change(constants)
    return b.graph


def _set(name: str, index: object, number: float):  # type: ignore[no-untyped-def]
    def change(constants: dict[str, Value]) -> None:
        data = constants[name].data
        assert data is not None
        data[index] = number  # type: ignore[index]

    return change


def _several(*changes):  # type: ignore[no-untyped-def]
    def change(constants: dict[str, Value]) -> None:
        for one in changes:
            one(constants)

    return change


WEIGHTS = {
    "a channel of zeros": _several(_set("first.w", 3, 0), _set("first.b", 3, 0)),
    "a channel of zeros with a bias": _set("first.w", 3, 0),
    "a channel that is never positive": _set("first.b", 2, -100),
    "all channels never positive": _set("first.b", slice(None), -100),
    "an input that nobody reads": _set("second.w", (slice(None), 3), 0),
    "a layer of zeros": _several(_set("second.w", ..., 0), _set("second.b", ..., 0)),
    "a depthwise channel of zeros": _several(_set("depthwise.w", 5, 0), _set("depthwise.b", 5, 0)),
    "a gate that is shut": _set("squeeze.b", ..., -200),
    "a gate that is open": _set("squeeze.b", ..., 200),
    "the last layer is zero": _several(_set("last.w", ..., 0), _set("last.b", ..., 0)),
    "a last layer of biases": _set("last.w", ..., 0),
    "one huge bias": _set("first.b", 1, 1e5),
    "one huge weight": _set("first.w", (1, 2, 1, 1), 1e4),
    "a huge channel": _set("second.w", 1, 1e6),
    "a tiny channel": _several(_set("second.w", 1, 1e-9), _set("second.b", 1, 0)),
    "a channel of subnormal numbers": _several(
        _set("first.w", 1, 1e-42), _set("first.b", 1, 1e-42)
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", WEIGHTS)
def test_odd_weights(name: str) -> None:
    graph = _network(WEIGHTS[name])
    given = checks.samples(graph, 8)
    made = checks.quantized(graph, given)
    checks.check_sound(made, graph)
    key = graph.outputs[0].name
    wanted = np.stack([interpret.run(graph, s)[key] for s in given])
    got = np.stack([interpret.run(made.graph, s)[key] for s in given])
    assert np.isfinite(got).all()
    if wanted.any():
        assert checks.decibels(wanted, got) > 18
    else:
        assert not got.any()
    found = harness.run_compiled(made.graph, api.compile(made.graph, net_name="n"), given[0])
    np.testing.assert_array_equal(found[key], got[0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e-36, 1e-30, 1e-10, 1e10, 1e25, 1e30])
@pytest.mark.parametrize("where", ["inputs", "weights"])
def test_sizes_of_numbers(size: float, where: str) -> None:
    """Only proportions matter."""
    b = Build()
    y = b.relu(b.conv(b.x, 8, name="first", bias=False))
    b.graph.outputs = [b.conv(y, 4, name="last", bias=False)]
    given = checks.samples(b.graph, 8)
    if where == "inputs":
        given = [{"x": (s["x"] * np.float32(size))} for s in given]
    else:
        weight = b.graph.nodes[0].operands[1].data
        assert weight is not None
        weight *= np.float32(size)
    made = checks.quantized(b.graph, given)
    checks.check_sound(made, b.graph)
    key = b.graph.outputs[0].name
    wanted = np.stack([interpret.run(b.graph, s)[key] for s in given])
    got = np.stack([interpret.run(made.graph, s)[key] for s in given])
    assert np.isfinite(got).all()
    if size > 1e-30:
        # fp32 squares of less are zero; the comparison scales.
        factor = 1 / float(np.abs(wanted).max())
        assert checks.decibels(wanted * np.float64(factor), got * np.float64(factor)) > 25


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [0.0, 1.0, -3.0, 1e-20, 1e20])
def test_constant_samples(number: float) -> None:
    graph = _network(lambda constants: None)
    given = [{"x": np.full((1, 6, 10, 10), number, np.float32)}] * 3
    made = checks.quantized(graph, given)
    checks.check_sound(made, graph)
    key = graph.outputs[0].name
    wanted, got = (interpret.run(g, given[0])[key] for g in (graph, made.graph))
    assert np.isfinite(got).all()
    assert checks.decibels(wanted, got) > 18
    # And the network does not break down on what it has not seen.
    other = checks.samples(graph, 1)[0]
    assert np.isfinite(interpret.run(made.graph, other)[key]).all()


def test_one_sample() -> None:
    graph = _network(lambda constants: None)
    made = checks.quantized(graph, checks.samples(graph, 1))
    checks.check_sound(made, graph)
    given = checks.samples(graph, 4, seed=9)
    key = graph.outputs[0].name
    wanted = np.stack([interpret.run(graph, s)[key] for s in given])
    got = np.stack([interpret.run(made.graph, s)[key] for s in given])
    assert checks.decibels(wanted, got) > 14


# -- refusals -------------------------------------------------------------------------------------


def _simple() -> tuple[Graph, list[checks.Sample]]:
    b = Build()
    b.graph.outputs = [b.relu(b.conv(b.x, name="conv"))]
    return b.graph, checks.samples(b.graph, 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(bad: float) -> None:
    graph, given = _simple()
    given[2]["x"][0, 1, 2, 3] = bad
    with pytest.raises(UserError) as caught:
        checks.quantized(graph, given)
    (text,) = caught.value.problems
    assert "sample 2: input x: 1 of 600 numbers" in text
    assert "[0, 1, 2, 3]" in text


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_fitting_on_samples_that_are_no_numbers(bad: float) -> None:
    """The statistics are of good samples; the data is not the same."""
    graph, given = _simple()
    statistics = calibrate(graph, checks.Arrays(given))
    given[1]["x"][0, 0, 0, 0] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match="sample 1"):
            quantize(graph, statistics, checks.Arrays(given))


def test_results_that_overflow() -> None:
    graph, given = _simple()
    weight = graph.nodes[0].operands[1].data
    assert weight is not None
    weight *= np.float32(1e38)
    given = [{"x": s["x"] * np.float32(1e3)} for s in given]
    with pytest.raises(UserError, match=r"/conv: value conv: .* are NaN or infinite"):
        checks.quantized(graph, given)


def test_weights_that_are_no_numbers() -> None:
    graph, given = _simple()
    weight = graph.nodes[0].operands[1].data
    assert weight is not None
    weight[0, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match=r"value conv: .* are NaN or infinite"):
        checks.quantized(graph, given)


def test_samples_of_other_shapes_and_names() -> None:
    graph, given = _simple()
    statistics = calibrate(graph, checks.Arrays(given))
    for bad in (
        {"x": np.zeros((1, 6, 9, 10), np.float32)},
        {"y": given[0]["x"]},
        {"x": given[0]["x"].astype(np.float64)},
    ):
        with pytest.raises(UserError, match="x"):
            quantize(graph, statistics, checks.Arrays([*given, bad]))


def test_no_samples() -> None:
    graph, given = _simple()
    statistics = calibrate(graph, checks.Arrays(given))
    with pytest.raises(UserError, match="empty"):
        checks.quantized(graph, [])
    with pytest.raises(UserError, match="empty"):
        quantize(graph, statistics, checks.Arrays([]))


def test_statistics_of_another_network() -> None:
    graph, given = _simple()
    other = _network(lambda constants: None)
    statistics = calibrate(other, checks.Arrays(checks.samples(other, 2)))
    with pytest.raises(UserError) as caught:
        quantize(graph, statistics, checks.Arrays(given))
    assert any("first" in text for text in caught.value.problems)


def test_statistics_of_a_part() -> None:
    graph, given = _simple()
    statistics = calibrate(graph, checks.Arrays(given), values=["x"])
    with pytest.raises(UserError, match="statistics do not hold"):
        quantize(graph, statistics, checks.Arrays(given))


def test_statistics_without_samples() -> None:
    from nntc.quant import Statistics

    graph, given = _simple()
    values = [v for v in graph.values() if v.data is None]
    with pytest.raises(UserError, match="hold no samples"):
        quantize(graph, Statistics(values), checks.Arrays(given), QuantizeOptions())
