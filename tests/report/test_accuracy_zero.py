"""Integers with a zero point count as the numbers that they stand for."""

from __future__ import annotations

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph
from nntc.report.accuracy import compare
from nntc.report.accuracy.runners import GraphRunner

SHAPE = (1, 3, 4, 4)


def _float() -> Graph:
    graph = Graph("float")
    x = graph.input("x", DType.F32, SHAPE)
    graph.outputs = [graph.add(ops.Unary("abs"), x, name="y").output]
    return graph


def _fixed(zero: int) -> Graph:
    graph = Graph("fixed")
    x = graph.input("x", DType.F32, SHAPE)
    y = graph.add(ops.Unary("abs"), x, name="size").output
    by = graph.constant(np.float32(4), "by")
    y = graph.add(ops.Quantize(DType.U8, zero=zero), y, by, name="y").output
    y.scale = graph.constant(np.float32(0.25), "scale")
    y.zero = zero
    graph.outputs = [y]
    return graph


def test_zero_points_are_taken_off() -> None:
    sample = np.arange(48, dtype=np.float32).reshape(SHAPE) / 4
    compared = compare(GraphRunner(_float()), GraphRunner(_fixed(100)), [{"x": sample}])
    (row,) = compared.rows
    assert row.max_error == 0
    assert row.saturated == 0
    full = compare(GraphRunner(_float()), GraphRunner(_fixed(208)), [{"x": sample}])
    # 255 - 208 = 47 steps of 0.25: the largest number is at the limit.
    assert full.rows[0].saturated == 1 / 48
    assert full.rows[0].used == 31 / 47  # of the median channel


def test_form_there_and_back() -> None:
    form = GraphRunner(_fixed(9)).forms["y"]
    numbers = np.array([-3.0, 0.0, 1.25], np.float32)
    integers = form.given(numbers)
    assert integers.tolist() == [0, 9, 14]
    assert form.real(integers).tolist() == [-2.25, 0.0, 1.25]
