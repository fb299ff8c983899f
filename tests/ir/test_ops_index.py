"""Operators that pick and place elements against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.core.errors import ModelError
from nntc.ir import ops
from nntc.ir.interpret import evaluate
from tests.ir.twin import cases, check, onnx_run, random, same

INDEX_TYPES = (np.int32, np.int64)


@cases(axis=(0, 1, 2), shape=((), (3,), (2, 2), (0,)), index=INDEX_TYPES, dtype=(np.float32, bool))
def test_gather(case: dict) -> None:
    x = random((4, 5, 6), case["dtype"])
    indices = random(case["shape"], case["index"], -4, 3)
    check(ops.Gather(case["axis"]), [x, indices], "Gather", {"axis": case["axis"]})


@cases(axis=(0, 1), shape=((4, 5), (2, 3), (1, 5), (0, 2)), index=INDEX_TYPES)
def test_gather_elements(case: dict) -> None:
    shape = list(case["shape"])
    shape[case["axis"]] *= 2
    indices = random(shape, case["index"], -4, 3)
    op = ops.GatherElements(case["axis"])
    check(op, [random((4, 5)), indices], "GatherElements", {"axis": case["axis"]})


@pytest.mark.parametrize(
    ("x", "indices", "batch"),
    [
        ((4, 5), (3, 2), 0),
        ((4, 5), (3, 1), 0),
        ((4, 5, 6), (2, 3, 2), 0),
        ((2, 4, 5), (2, 3, 1), 1),
        ((2, 4, 5), (2, 1), 1),
        ((2, 3, 4, 5), (2, 3, 2, 1), 2),
        ((2, 3, 4, 5), (2, 3, 6, 2), 1),
        ((4, 5), (2,), 0),
        ((4, 5), (0, 2), 0),
    ],
)
def test_gather_nd(x: tuple[int, ...], indices: tuple[int, ...], batch: int) -> None:
    inputs = [random(x), random(indices, np.int64, -3, 2)]
    check(ops.GatherND(batch), inputs, "GatherND", {"batch_dims": batch})


@cases(
    axis=(0, 1),
    reduction=("none", "add", "mul", "max", "min"),
    index=INDEX_TYPES,
    dtype=(np.float32, np.int32, np.int64),
)
def test_scatter_elements(case: dict) -> None:
    shape = (3, 4)
    if case["reduction"] == "none":
        line = np.array([3, -4, 1, 2], case["index"])[: shape[case["axis"]]]
        line = line.reshape((-1, 1) if case["axis"] == 0 else (1, -1))
        indices = np.broadcast_to(line, shape).copy()
    else:
        indices = random(shape, case["index"], -4, 3)
    inputs = [random((4, 5), case["dtype"]), indices, random(shape, case["dtype"])]
    attributes = {"axis": case["axis"], "reduction": case["reduction"]}
    op = ops.ScatterElements(**attributes)
    check(op, inputs, "ScatterElements", attributes, tolerance=1e-6)


@cases(
    reduction=("none", "add", "mul", "max", "min"),
    depth=(1, 2),
    dtype=(np.float32, np.int32, np.int64),
)
def test_scatter_nd(case: dict) -> None:
    x, depth = random((4, 5, 6), case["dtype"]), case["depth"]
    if case["reduction"] == "none":
        indices = np.array([[3, 1], [0, -2], [1, 4]], np.int64)[:, :depth]
    else:
        indices = random((3, depth), np.int64, -4, 3)
    updates = random((3, *x.shape[depth:]), case["dtype"])
    attributes = {"reduction": case["reduction"]}
    op = ops.ScatterND(case["reduction"])
    check(op, [x, indices, updates], "ScatterND", attributes, tolerance=1e-6)


def test_the_last_of_equal_indices_wins() -> None:
    x, updates = np.zeros(3, np.float32), np.array([1, 2, 3], np.float32)
    indices = np.array([1, 1, 1], np.int64)
    assert evaluate(ops.ScatterElements(), [x, indices, updates])[0].tolist() == [0, 3, 0]
    assert evaluate(ops.ScatterND(), [x, indices[:, None], updates])[0].tolist() == [0, 3, 0]
    assert evaluate(ops.ScatterND("add"), [x, indices[:, None], updates])[0].tolist() == [0, 6, 0]
    assert not x.any()


@pytest.mark.parametrize("wrong", [3, -4, 2**40])
def test_index_outside(wrong: int) -> None:
    x, indices = random((3, 3)), np.array([[wrong, 0, 0]], np.int64)
    for op, inputs in (
        (ops.Gather(), [x, indices]),
        (ops.GatherElements(), [x, indices]),
        (ops.GatherND(), [x, indices[:, :1]]),
        (ops.ScatterElements(), [x, indices, x[:1]]),
        (ops.ScatterND(), [x, indices[:, :2], x[0, :1]]),
    ):
        with pytest.raises(ModelError, match=f"index {wrong} is outside -3 ... 2"):
            evaluate(op, inputs)


@cases(axis=(0, 1, 2), dtypes=((np.int64, np.float32), (np.float32, np.int64)))
def test_one_hot(case: dict) -> None:
    indices = random((3, 4), case["dtypes"][0], -7, 7)
    values = np.array([2, 5], case["dtypes"][1])
    op = ops.OneHot(case["axis"], 5)
    depth = np.array(5, np.int64)
    expected = onnx_run("OneHot", [indices, depth, values], {"axis": case["axis"]})[0]
    same(evaluate(op, [indices, values])[0], expected)


@cases(upper=(0, 1), k=(0, 1, -2, 9, -9), shape=((4, 5), (2, 5, 3)), dtype=(np.float32, np.int64))
def test_trilu(case: dict) -> None:
    k = np.array(case["k"], np.int64)
    op = ops.Trilu(case["upper"], case["k"])
    x = random(case["shape"], case["dtype"])
    check(op, [x], "Trilu", {"upper": case["upper"]}, extra=[k])
    same(evaluate(ops.Trilu(True, 2**62), [x])[0], np.zeros_like(x))


@cases(axes=((0, 1), (1, 0)), lengths=((1, 2, 3, 4), (4, 1, 3, 1)))
def test_reverse_sequence(case: dict) -> None:
    batch, time = case["axes"]
    lengths = np.array(case["lengths"], np.int64)
    attributes = {"batch_axis": batch, "time_axis": time}
    op = ops.ReverseSequence(batch, time)
    check(op, [random((4, 4, 3)), lengths], "ReverseSequence", attributes)


def test_reverse_sequence_other_axes() -> None:
    x = random((2, 3, 4))
    y = evaluate(ops.ReverseSequence(0, 2), [x, np.array([3, 0], np.int64)])[0]
    same(y[0, :, :3], x[0, :, 2::-1])
    same(y[0, :, 3], x[0, :, 3])
    same(y[1], x[1])
    with pytest.raises(ModelError, match=r"must lie in 0 \.\.\. 4"):
        evaluate(ops.ReverseSequence(0, 2), [x, np.array([5, 0], np.int64)])


@cases(axis=(0, 1), largest=(0, 1), k=(0, 1, 4), dtype=(np.float32, np.int32, np.int64))
def test_top_k(case: dict) -> None:
    x = np.round(random((6, 5), case["dtype"], -2, 2))  # many equal elements
    op = ops.TopK(case["k"], case["axis"], case["largest"])
    attributes = {"axis": case["axis"], "largest": case["largest"], "sorted": 1}
    extra = [np.array([case["k"]], np.int64)]
    check(op, [x], "TopK", attributes, extra=extra, outputs=2)
