"""Where the maker's layers differ from what their names promise; the compiler must know."""

from __future__ import annotations

import numpy as np

from nntc.bmodel.cpu_ops import (
    BinaryParam,
    BoxNmsParam,
    CpuDType,
    CpuOp,
    GatherParam,
    NmsParam,
    OnnxNmsParam,
    ScatterFn,
    ScatterNdParam,
    TensorScatterParam,
    TopKParam,
)
from nntc.runtime import cpu


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_gather_on_a_later_axis_is_written_index_by_index() -> None:
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    (result,) = cpu.run(CpuOp.GATHER, GatherParam(1).pack(), [data, _ints(0, 2)])
    assert result.shape == (2, 2)
    assert result.ravel().tolist() == [0, 3, 2, 5]  # not 0, 2, 3, 5
    (first,) = cpu.run(CpuOp.GATHER, GatherParam(0).pack(), [data, _ints(1)])
    assert first.tolist() == [[3, 4, 5]]


def test_topk_ascending_is_right_for_the_whole_axis_only() -> None:
    x = np.float32([2, 0, 1, 3])
    whole, _ = cpu.run(CpuOp.TOPK_ASCENDING, TopKParam(4).pack(), [x])
    assert whole.tolist() == [0, 1, 2, 3]
    part, _ = cpu.run(CpuOp.TOPK_ASCENDING, TopKParam(2).pack(), [x])
    assert part.tolist() == [0, 3]


def test_topk_does_not_read_descending() -> None:
    x = np.float32([2, 0, 1, 3])
    values, _ = cpu.run(CpuOp.TOPK, TopKParam(2, descending=False).pack(), [x])
    assert values.tolist() == [3, 2]


def test_topk_takes_the_first_of_equal_values() -> None:
    _, indices = cpu.run(CpuOp.TOPK, TopKParam(3).pack(), [np.float32([1, 5, 5, 0, 5, 5])])
    assert indices.view(np.int32).tolist() == [1, 2, 4]


def test_scatter_nd_adds() -> None:
    param = ScatterNdParam(1, (3,)).pack()
    (zeros,) = cpu.run(
        CpuOp.SCATTER_ND, param, [_ints(1, 1)[:, None], np.float32([5, 6]), _ints(3)]
    )
    assert zeros.tolist() == [0, 11, 0]
    param = ScatterNdParam(2, (2, 1)).pack()
    data = np.float32([[1], [2]])
    (result,) = cpu.run(CpuOp.SCATTER_ND, param, [_ints(1)[:, None], np.float32([5]), data])
    assert result.tolist() == [[1], [7]]


def test_tensor_scatter_max_adds_the_maximum() -> None:
    inputs = [np.float32([1, 2, 3]), _ints(1, 2)[:, None], np.float32([7, 1])]
    param = TensorScatterParam(CpuDType.F32, ScatterFn.MAX).pack()
    (result,) = cpu.run(CpuOp.TENSOR_SCATTER, param, inputs)
    assert result.tolist() == [1, 2 + 7, 3 + 3]


def test_nms_gives_a_box_without_area_again_and_again() -> None:
    boxes = np.float32([[0, 0, 0, 0], [0, 0, 1, 1]])
    inputs = [boxes, np.float32([0.9, 0.8]), _ints(3)]
    (found,) = cpu.run(CpuOp.NMS, NmsParam(0.5, 0.1).pack(), inputs)
    assert found.view(np.int32).tolist() == [0, 0, 0]


def test_onnx_nms_without_a_limit_finds_nothing() -> None:
    boxes, scores = np.float32([[[0, 0, 1, 1]]]), np.float32([[[0.9]]])
    param = OnnxNmsParam(0, 5).pack()
    (none,) = cpu.run(CpuOp.ONNX_NMS, param, [boxes, scores])
    assert none.shape == (0, 3)
    (one,) = cpu.run(CpuOp.ONNX_NMS, param, [boxes, scores, _ints(5)])
    assert one.view(np.int32).tolist() == [[0, 0, 0]]


def test_binary_truncates_floats_and_rounds_toward_zero() -> None:
    a, b = np.float32([7.9, -7.9]), np.float32([2.5, 2.5])
    (div,) = cpu.run(CpuOp.BINARY, BinaryParam(1, CpuDType.F32).pack(), [a, b])
    (mod,) = cpu.run(CpuOp.BINARY, BinaryParam(0, CpuDType.F32).pack(), [a, b])
    assert div.tolist() == [3, -3]
    assert mod.tolist() == [1, -1]


def test_box_nms_truncates_half_sizes_of_center_boxes() -> None:
    rows = np.float32([[0.9, 0.5, 0.5, 1.0, 1.0], [0.8, 0.5, 0.5, 1.0, 1.0]])
    param = BoxNmsParam(0.5, 0.0, coord_start=1, in_format=1, out_format=1).pack()
    (kept,) = cpu.run(CpuOp.BOXNMS, param, [rows])
    assert kept.tolist() == rows.tolist()  # two equal boxes: half of 1.0 counts as 0
