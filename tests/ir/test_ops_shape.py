"""Operators that move elements against ONNX Runtime."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.interpret import evaluate
from tests.ir.twin import cases, check, ints, random, same

TYPES = (np.float32, np.int64, np.uint8, np.bool_)


@cases(dtype=TYPES, shape=((6, 4), (24,), (2, 1, 3, 4), (4, 6, 1)))
def test_reshape(case: dict) -> None:
    x = random((2, 3, 4), case["dtype"])
    check(ops.Reshape(case["shape"]), [x], "Reshape", extra=[ints(*case["shape"])])


def test_reshape_edges() -> None:
    same(evaluate(ops.Reshape(()), [random((1, 1))])[0], random((1, 1)).reshape(()))
    same(evaluate(ops.Reshape((3, 0)), [random((0, 5))])[0], np.zeros((3, 0), np.float32))


@cases(dtype=TYPES, perm=((0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0)))
def test_transpose(case: dict) -> None:
    x = random((2, 3, 4), case["dtype"])
    check(ops.Transpose(case["perm"]), [x], "Transpose", {"perm": case["perm"]})


@cases(dtype=TYPES, axis=(0, 1, 2), sizes=((2,), (1, 3), (2, 0, 1)))
def test_concat(case: dict) -> None:
    parts = []
    for size in case["sizes"]:
        shape = [2, 3, 4]
        shape[case["axis"]] = size
        parts.append(random(shape, case["dtype"]))
    check(ops.Concat(case["axis"]), parts, "Concat", {"axis": case["axis"]})


# starts, ends, steps as the operator holds them; ONNX's end for "through the first" is -100
SLICES = [
    ((0, 0), (5, 6), (1, 1)),
    ((1, 2), (4, 6), (1, 2)),
    ((4, 5), (-1, -1), (-1, -1)),
    ((4, 5), (0, -1), (-3, -2)),
    ((2, 3), (2, 3), (1, -1)),
    ((5, 0), (5, 6), (1, 4)),
]


@cases(dtype=TYPES, where=SLICES)
def test_slice(case: dict) -> None:
    starts, ends, steps = case["where"]
    onnx_ends = [-100 if end < 0 else end for end in ends]
    extra = [ints(*starts), ints(*onnx_ends), ints(0, 1), ints(*steps)]
    op = ops.Slice(starts, ends, steps)
    check(op, [random((5, 6), case["dtype"])], "Slice", extra=extra)


def test_slice_is_python_range() -> None:
    x = np.arange(7, dtype=np.int32)
    for start in range(-1, 8):
        for end in range(-1, 8):
            for step in (-3, -1, 1, 2):
                low, high = (0, 7) if step > 0 else (-1, 6)
                if low <= start <= high and low <= end <= high:
                    y = evaluate(ops.Slice((start,), (end,), (step,)), [x])[0]
                    assert y.tolist() == list(range(start, end, step))
    assert evaluate(ops.Slice((-1,), (-1,), (-1,)), [x[:0]])[0].shape == (0,)


@cases(
    mode=("constant", "edge", "reflect", "wrap"),
    pads=((0, 0, 0, 0), (1, 2, 0, 3), (0, 0, 2, 0), (-1, 1, 0, 2), (1, -2, -1, -1)),
    dtype=(np.float32, np.int32, np.int64, np.uint8, np.bool_),
)
def test_pad(case: dict) -> None:
    x = random((4, 5), case["dtype"])
    op = ops.Pad(case["pads"], case["mode"], 1.0)
    extra = [ints(*case["pads"]), np.array(1, x.dtype)]
    check(op, [x], "Pad", {"mode": case["mode"]}, extra=extra)


def test_pad_with_infinity() -> None:
    y = evaluate(ops.Pad((1, 0), value=-math.inf), [random((2,))])[0]
    assert y[0] == -np.inf


@cases(dtype=TYPES, shape=((3, 4), (2, 3, 4), (5, 3, 4)))
def test_expand(case: dict) -> None:
    x = random((3, 1), case["dtype"])
    check(ops.Expand(case["shape"]), [x], "Expand", extra=[ints(*case["shape"])])
    check(ops.Expand((2, 2)), [x[0, 0]], "Expand", extra=[ints(2, 2)])


@cases(dtype=TYPES, repeats=((1, 1), (2, 3), (0, 2)))
def test_tile(case: dict) -> None:
    x = random((3, 2), case["dtype"])
    check(ops.Tile(case["repeats"]), [x], "Tile", extra=[ints(*case["repeats"])])


@cases(mode=("DCR", "CRD"), block=(1, 2, 3))
def test_depth_to_space(case: dict) -> None:
    attributes = {"blocksize": case["block"], "mode": case["mode"]}
    x = random((2, 36, 3, 4))
    check(ops.DepthToSpace(case["block"], case["mode"]), [x], "DepthToSpace", attributes)


@cases(block=(1, 2, 3))
def test_space_to_depth(case: dict) -> None:
    x = random((2, 3, 6, 12))
    op = ops.SpaceToDepth(case["block"])
    check(op, [x], "SpaceToDepth", {"blocksize": case["block"]})
    back = ops.DepthToSpace(case["block"], "DCR")
    same(evaluate(back, evaluate(op, [x]))[0], x)


@pytest.mark.parametrize("dtype", list(DType))
def test_moves_take_any_type(dtype: DType) -> None:
    x = random((2, 4), dtype.numpy, 0, 100)
    for op in (
        ops.Reshape((8,)),
        ops.Transpose((1, 0)),
        ops.Slice((0, 3), (2, -1), (1, -2)),
        ops.Pad((1, 0, 0, 1)),
        ops.Expand((3, 2, 4)),
        ops.Tile((2, 1)),
        ops.Concat(1),
    ):
        assert evaluate(op, [x])[0].dtype == dtype.numpy
