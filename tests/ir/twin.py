"""ONNX Runtime as a second opinion: one-node models built from an operator's ONNX twin."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from nntc.ir.graph import Op
from nntc.ir.interpret import evaluate

OPSET = 21


def cases(**lists: Sequence[Any]) -> pytest.MarkDecorator:
    """The test matrix: the test runs once per combination of the listed values, in ``case``."""
    rows = [dict(zip(lists, row, strict=True)) for row in itertools.product(*lists.values())]
    return pytest.mark.parametrize("case", rows, ids=lambda row: "-".join(map(_id, row.values())))


def _id(value: Any) -> str:
    return getattr(value, "__name__", str(value)).replace(" ", "")


def random(shape: Sequence[int], dtype: Any = np.float32, low: float = -4, high: float = 4) -> Any:
    """Numbers between *low* and *high*, the same in every run."""
    seed = zlib.crc32(f"{tuple(shape)}{np.dtype(dtype)}{low}{high}".encode())
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.uniform(low, high, shape).astype(dtype)
    if np.dtype(dtype).kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    floor = max(int(low), 0) if np.dtype(dtype).kind == "u" else int(low)
    return rng.integers(floor, int(high) + 1, shape).astype(dtype)


def onnx_run(
    kind: str,
    inputs: Sequence[np.ndarray | None],
    attributes: dict[str, Any] | None = None,
    outputs: int = 1,
    opset: int = OPSET,
) -> list[np.ndarray]:
    """Results of one ONNX node in ONNX Runtime."""
    names = [f"i{n}" if a is not None else "" for n, a in enumerate(inputs)]
    wanted = [f"o{n}" for n in range(outputs)]
    node = helper.make_node(kind, names, wanted, **(attributes or {}))
    present = [(n, np.asarray(a)) for n, a in zip(names, inputs, strict=True) if a is not None]
    graph = helper.make_graph(
        [node],
        "one",
        [_info(name, a) for name, a in present],
        [helper.make_empty_tensor_value_info(name) for name in wanted],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, dict(present))


def _info(name: str, array: np.ndarray) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, array.shape)


def check(
    op: Op,
    inputs: Sequence[np.ndarray | None],
    kind: str,
    attributes: dict[str, Any] | None = None,
    extra: Sequence[np.ndarray | None] = (),
    tolerance: float = 0,
    outputs: int = 1,
    opset: int = OPSET,
) -> None:
    """The operator equals its ONNX twin on *inputs*.

    Args:
        extra: inputs of the twin that are attributes of the operator.
        tolerance: allowed error relative to the value, plus as much of the result's range.
    """
    got = evaluate(op, inputs)
    expected = onnx_run(kind, [*inputs, *extra], attributes, outputs, opset)
    assert len(got) == len(expected)
    for mine, other in zip(got, expected, strict=True):
        same(mine, other, tolerance)


def same(mine: np.ndarray, other: np.ndarray, tolerance: float = 0) -> None:
    """Equal types, shapes, and elements within the tolerance; NaN equals NaN."""
    assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
    if tolerance == 0 or mine.dtype.kind != "f":
        np.testing.assert_array_equal(mine, other)
        return
    finite = np.abs(other[np.isfinite(other)])
    scale = float(finite.max(initial=0))
    np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance * min(scale, 1e6))


def ints(*values: int) -> np.ndarray:
    """An i64 vector, as ONNX passes shapes and axes."""
    return np.array(values, np.int64)
