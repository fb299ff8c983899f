"""Reductions and running sums against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nntc.ir import ops
from nntc.ir.interpret import evaluate
from nntc.ir.ops.reduce import REDUCTIONS
from tests.ir.twin import cases, check, ints, onnx_run, random, same

TWINS = {
    "sum": "ReduceSum",
    "mean": "ReduceMean",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "prod": "ReduceProd",
    "l1": "ReduceL1",
    "l2": "ReduceL2",
    "log_sum": "ReduceLogSum",
    "log_sum_exp": "ReduceLogSumExp",
    "sum_square": "ReduceSumSquare",
}


def test_every_reduction_has_a_twin() -> None:
    assert set(TWINS) == set(REDUCTIONS)


def check_reduce(fn: str, axes: tuple[int, ...], keep: int, x: Any, tolerance: float) -> None:
    attributes = {"keepdims": keep}
    op = ops.Reduce(fn, axes, bool(keep))
    check(op, [x], TWINS[fn], attributes, extra=[ints(*axes)], tolerance=tolerance)


@cases(fn=tuple(TWINS), axes=((0,), (2,), (1, 2), (0, 2), (0, 1, 2)), keep=(0, 1))
def test_reduce_float(case: dict) -> None:
    x = random((3, 4, 5), low=0.1 if case["fn"] == "log_sum" else -3, high=3)
    check_reduce(case["fn"], case["axes"], case["keep"], x, 5e-6)


@cases(fn=("sum", "mean", "max", "min", "prod", "l1", "sum_square"), dtype=(np.int32, np.int64))
def test_reduce_integer(case: dict) -> None:
    x = random((3, 4, 5), case["dtype"], -4, 4)
    if case["dtype"] is np.int64 and case["fn"] in ("mean", "l1"):
        expected = onnx_run(TWINS[case["fn"]], [x.astype(np.int32), ints(1)], {"keepdims": 0})[0]
        same(evaluate(ops.Reduce(case["fn"], (1,), False), [x])[0], expected.astype(np.int64))
    else:
        check_reduce(case["fn"], (1,), 0, x, 0)


@cases(fn=("max", "min"), dtype=(np.int8, np.uint8, np.bool_))
def test_reduce_small_types(case: dict) -> None:
    check_reduce(case["fn"], (0, 2), 1, random((3, 4, 5), case["dtype"], -90, 90), 0)


def test_integer_sums_wrap() -> None:
    x = np.full((3,), 2**31 - 1, np.int32)
    assert evaluate(ops.Reduce("sum", (0,), False), [x])[0] == np.int32(2**31 - 3)


@pytest.mark.parametrize("fn", ["sum", "prod", "max", "min", "l1", "l2", "log_sum", "log_sum_exp"])
def test_reduce_nothing(fn: str) -> None:
    x = np.zeros((2, 0, 4), np.float32)
    check_reduce(fn, (1,), 1, x, 0)


def test_no_axes_reduce_nothing() -> None:
    x = random((2, 3))
    same(evaluate(ops.Reduce("sum", ()), [x])[0], x)
    same(evaluate(ops.Reduce("l1", ()), [x])[0], np.abs(x))


def test_log_sum_exp_does_not_overflow() -> None:
    x = np.array([[1000, 1000], [-np.inf, -np.inf], [-1000, -np.inf]], np.float32)
    y = evaluate(ops.Reduce("log_sum_exp", (1,), False), [x])[0]
    np.testing.assert_allclose(y, [1000 + np.log(2), -np.inf, -1000], rtol=1e-6)


@cases(fn=("max", "min"), axis=(0, 1, 2), keep=(0, 1), last=(0, 1), dtype=(np.float32, np.int32))
def test_arg_reduce(case: dict) -> None:
    x = random((3, 4, 5), case["dtype"], -2, 2)
    x = np.round(x)  # many equal elements
    attributes = {
        "axis": case["axis"],
        "keepdims": case["keep"],
        "select_last_index": case["last"],
    }
    op = ops.ArgReduce(case["fn"], case["axis"], case["keep"], case["last"])
    check(op, [x], "ArgMax" if case["fn"] == "max" else "ArgMin", attributes)


@cases(axis=(0, 1), exclusive=(0, 1), reverse=(0, 1), dtype=(np.float32, np.int32, np.int64))
def test_cum_sum(case: dict) -> None:
    x = random((4, 5), case["dtype"])
    attributes = {"exclusive": case["exclusive"], "reverse": case["reverse"]}
    op = ops.CumSum(case["axis"], case["exclusive"], case["reverse"])
    axis = np.array(case["axis"], np.int64)
    check(op, [x], "CumSum", attributes, extra=[axis], tolerance=1e-6)


def test_cum_sum_of_nothing() -> None:
    for exclusive in (False, True):
        y = evaluate(ops.CumSum(0, exclusive), [np.zeros((0, 2), np.int32)])[0]
        assert y.shape == (0, 2)
