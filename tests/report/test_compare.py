"""Comparing a compiled model with its graph."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nntc import api
from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph
from nntc.report.compare import Comparison, compare, difference, random_inputs


def compared(expected: object, found: object, **options: float) -> bool:
    a, b = np.asarray(expected), np.asarray(found)
    return difference("v", "made", a, b.astype(a.dtype), **options).ok


def test_floats_are_judged_by_the_range() -> None:
    x = np.array([0.0, 100.0], np.float32)
    assert compared(x, x + 0.009)
    assert not compared(x, x + 0.011)
    assert compared(x, x + 0.011, tolerance=2e-4)
    # A constant is judged by its size, and zero by nothing but zero.
    assert compared([5.0, 5.0], [5.0004, 5.0])
    assert not compared([0.0, 0.0], [0.0, 1e-20])


def test_values_that_are_no_numbers() -> None:
    inf, nan = np.inf, np.nan
    assert compared([1.0, inf, -inf, nan], [1.0, inf, -inf, nan])
    for found in ([1.0, 1.0], [1.0, -inf], [1.0, nan]):
        assert not compared([1.0, inf], found)
    assert not compared([1.0, 2.0], [1.0, nan])
    assert not compared([1.0, nan], [1.0, 2.0])
    assert compared(np.zeros((0, 3)), np.zeros((0, 3)))


def test_integers_must_be_equal() -> None:
    assert compared([1, 2], [1, 2])
    assert not compared([1, 1000000], [1, 1000001])
    assert not compared([True, False], [True, True])


def test_shapes_must_be_equal() -> None:
    found = difference("v", "made", np.zeros((2, 3)), np.zeros((3, 2)))
    assert not found.ok
    assert "(3, 2)" in str(found)


def test_the_first_difference_is_named() -> None:
    good = difference("a", "Add one", np.ones(3), np.ones(3))
    bad = difference("b", "Mul two", np.ones((1, 3)), np.array([[1.0, 2.0, 1.0]]))
    worse = difference("c", "Mul three", np.ones(3), np.full(3, 9.0))
    report = Comparison([good, bad, worse], {"NumPy": [good]})
    assert report.first is bad
    assert not report.passed
    line = "FIRST DIFFERENCE: b (Mul two, 1x3): at [0,1] expected 1, found 2, 1 of the range"
    assert line in report.text()
    assert Comparison([good], {"NumPy": [bad]}).passed is False
    assert Comparison([good], {"NumPy": [good]}).passed


def small_graph() -> Graph:
    graph = Graph("small")
    x = graph.input("x", DType.F32, (1, 4, 3, 5))
    scale = graph.constant(np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1), "scale")
    product = graph.add(ops.Binary("mul"), x, scale, name="times").output
    graph.outputs = [graph.add(ops.Unary("exp"), product, name="power").output]
    return graph


def test_a_compiled_graph_agrees_and_a_spoiled_one_does_not() -> None:
    graph = small_graph()
    inputs = random_inputs(graph, 3)
    kept, model = api.compile(graph, keep_values=True), api.compile(graph).model
    report = compare(graph, kept, model, inputs)
    assert report.passed, report.text()
    assert [d.value for d in report.values] == ["times", "power"]

    other = small_graph()
    scale = other.nodes[0].operands[1]
    assert scale.data is not None
    scale.data = scale.data + 1
    report = compare(other, kept, model, inputs)
    assert report.first is not None
    assert report.first.value == "times"
    # The operator after it is judged on what it was given, and is right.
    assert report.values[1].ok
    assert not report.outputs["the graph in NumPy"][0].ok


def test_random_inputs_fit_the_graph() -> None:
    graph = Graph("g")
    graph.input("f", DType.F32, (2, 3))
    graph.input("i", DType.I64, ())
    graph.input("b", DType.BOOL, (50,))
    arrays = random_inputs(graph, 1)
    for value in graph.inputs:
        assert arrays[value.name].shape == value.shape
        assert arrays[value.name].dtype == value.dtype.numpy
    again = random_inputs(graph, 1)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)


def test_a_tolerance_is_part_of_the_result() -> None:
    found = difference("v", "made", np.ones(2), np.ones(2))
    assert dataclasses.replace(found, error=0.5, tolerance=0.6).ok
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.error = 1.0  # type: ignore[misc]


def test_rows_that_were_not_found_are_minus_one() -> None:
    expected = np.array([[[[0, 1], [-1, -1]]]], np.float32)
    assert compared(expected, [[[[0, 1]]]])
    assert not compared(expected, [[[[0, 2]]]])
    assert not compared(expected + 1, [[[[0, 1]]]])
