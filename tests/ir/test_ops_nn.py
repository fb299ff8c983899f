"""Convolutions, matrix products and pools against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nntc.ir import ops
from nntc.ir.interpret import evaluate
from nntc.ir.ops import _window
from tests.ir.twin import cases, check, onnx_run, random, same

SIZES = {1: (13,), 2: (9, 11), 3: (5, 6, 7)}


def spatial(rank: int, value: Any) -> tuple[int, ...]:
    """*value* for every axis, or its first entries."""
    return (value,) * rank if isinstance(value, int) else tuple(value[:rank])


def pads(rank: int, begins: Any, ends: Any) -> tuple[int, ...]:
    return spatial(rank, begins) + spatial(rank, ends)


PADS = [(0, 0), (1, 1), ((0, 2, 1), (1, 0, 2))]
GROUPS = [(1, 3, 5), (2, 4, 6), (4, 4, 4), (3, 3, 6)]


@cases(
    rank=(1, 2, 3),
    kernel=(1, 2, (3, 2, 1)),
    stride=(1, (2, 1, 3)),
    pad=PADS,
    dilation=(1, (1, 2, 2)),
    group=(GROUPS[0], GROUPS[1]),
)
def test_conv(case: dict) -> None:
    check_conv(case, bias=case["stride"] == 1)


@cases(rank=(1, 2, 3), kernel=(3,), stride=(1, 2), pad=PADS, dilation=(1, 2), group=GROUPS[2:])
def test_conv_depthwise(case: dict) -> None:
    check_conv(case, bias=True)


def check_conv(case: dict, bias: bool) -> None:
    rank, (group, c, m) = case["rank"], case["group"]
    kernel, stride = spatial(rank, case["kernel"]), spatial(rank, case["stride"])
    dilation, pad = spatial(rank, case["dilation"]), pads(rank, *case["pad"])
    x, w = random((2, c, *SIZES[rank])), random((m, c // group, *kernel), low=-1, high=1)
    attributes = {"strides": stride, "pads": pad, "dilations": dilation, "group": group}
    b = random((m,)) if bias else None
    op = ops.Conv(stride, pad, dilation, group)
    check(op, [x, w, b] if bias else [x, w], "Conv", attributes, tolerance=1e-6)


def test_conv_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = random((2, 4, 17, 5)), random((6, 2, 3, 3))
    op = ops.Conv((2, 1), (1, 1, 1, 1), (1, 1), 2)
    whole = evaluate(op, [x, w])[0]
    monkeypatch.setattr(_window, "_BLOCK", 1)
    same(evaluate(op, [x, w])[0], whole, 1e-6)


def test_conv_of_nothing() -> None:
    w = random((4, 3, 1, 1))
    op = ops.Conv((1, 1), (0, 0, 0, 0), (1, 1))
    assert evaluate(op, [np.zeros((0, 3, 5, 5), np.float32), w])[0].shape == (0, 4, 5, 5)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.int8])
def test_conv_types(dtype: type) -> None:
    x, w = random((1, 3, 8, 8), dtype), random((4, 3, 3, 3), dtype)
    op = ops.Conv((1, 1), (1, 1, 1, 1), (1, 1))
    y = evaluate(op, [x, w])[0]
    wide = evaluate(op, [x.astype(np.float64), w.astype(np.float64)])[0]
    if np.dtype(dtype).kind == "f":
        same(y, wide.astype(dtype), 1e-3 if dtype is np.float16 else 1e-12)
    else:
        same(y, wide.astype(np.int64).astype(dtype))


@cases(
    rank=(1, 2, 3),
    kernel=(1, 3, (3, 2, 4)),
    stride=(1, (2, 1, 3)),
    pad=PADS[:2],
    dilation=(1, (1, 2, 2)),
    group=GROUPS[:2],
)
def test_conv_transpose(case: dict) -> None:
    rank, (group, c, m) = case["rank"], case["group"]
    kernel, stride = spatial(rank, case["kernel"]), spatial(rank, case["stride"])
    dilation, pad = spatial(rank, case["dilation"]), pads(rank, *case["pad"])
    extra = tuple(s - 1 for s in stride)
    x, w = random((2, c, *SIZES[rank])), random((c, m // group, *kernel), low=-1, high=1)
    attributes = {
        "strides": stride,
        "pads": pad,
        "dilations": dilation,
        "group": group,
        "output_padding": extra,
    }
    op = ops.ConvTranspose(stride, pad, dilation, group, extra)
    check(op, [x, w, random((m,))], "ConvTranspose", attributes, tolerance=1e-6)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4), (4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
        ((2, 3, 4), (4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((3, 4), (2, 4, 5)),
        ((4,), (2, 4, 5)),
        ((2, 3, 4), (4,)),
        ((3, 0), (0, 5)),
        ((0, 4), (4, 5)),
    ],
)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    check(ops.MatMul(), [random(a), random(b)], "MatMul", tolerance=1e-6)
    for dtype in (np.int32, np.int64):
        expected = np.matmul(random(a, dtype), random(b, dtype))
        same(evaluate(ops.MatMul(), [random(a, dtype), random(b, dtype)])[0], np.array(expected))


def test_matmul_of_large_integers_wraps() -> None:
    a = np.array([[2**40, 3], [-(2**62), 1]], np.int64)
    check(ops.MatMul(), [a, a.T.copy()], "MatMul")


@cases(a=(False, True), b=(False, True), bias=((5,), (3, 1), (3, 5), ()))
def test_matmul_like_gemm(case: dict) -> None:
    a = random((4, 3) if case["a"] else (3, 4))
    b = random((5, 4) if case["b"] else (4, 5))
    attributes = {"transA": int(case["a"]), "transB": int(case["b"])}
    op = ops.MatMul(case["a"], case["b"])
    check(op, [a, b, random(case["bias"])], "Gemm", attributes, tolerance=1e-6)


WINDOWS = [
    {"kernel": 2, "stride": 2, "pad": (0, 0), "dilation": 1},
    {"kernel": 3, "stride": 2, "pad": (1, 1), "dilation": 1},
    {"kernel": (3, 2, 1), "stride": (1, 2, 3), "pad": ((1, 0, 0), (2, 1, 0)), "dilation": 1},
    {"kernel": 2, "stride": 3, "pad": (1, 0), "dilation": 2},
    {"kernel": 5, "stride": 3, "pad": (2, 2), "dilation": 1},
]


def pool_attributes(rank: int, window: dict) -> dict[str, tuple[int, ...]]:
    return {
        "kernel": spatial(rank, window["kernel"]),
        "strides": spatial(rank, window["stride"]),
        "pads": pads(rank, *window["pad"]),
        "dilations": spatial(rank, window["dilation"]),
    }


def onnx_pool(attributes: dict) -> dict[str, Any]:
    return {"kernel_shape" if k == "kernel" else k: v for k, v in attributes.items()}


@cases(rank=(1, 2, 3), window=WINDOWS, ceil=(0, 1), dtype=(np.float32, np.uint8, np.int8))
def test_max_pool(case: dict) -> None:
    given = pool_attributes(case["rank"], case["window"])
    x = random((2, 3, *SIZES[case["rank"]]), case["dtype"], -9, 9)
    attributes = {**onnx_pool(given), "ceil_mode": case["ceil"]}
    if case["dtype"] is np.int8:
        wide = ops.MaxPool(**given, ceil_mode=case["ceil"])
        same(
            evaluate(wide, [x])[0],
            onnx_run("MaxPool", [x.astype(np.float32)], attributes)[0].astype(np.int8),
        )
    else:
        check(ops.MaxPool(**given, ceil_mode=case["ceil"]), [x], "MaxPool", attributes)


@cases(rank=(1, 2, 3), window=WINDOWS, ceil=(0, 1), include=(0, 1))
def test_average_pool(case: dict) -> None:
    given = pool_attributes(case["rank"], case["window"])
    x = random((2, 3, *SIZES[case["rank"]]))
    flags = {"ceil_mode": case["ceil"], "count_include_pad": case["include"]}
    op = ops.AveragePool(**given, **flags)
    check(op, [x], "AveragePool", {**onnx_pool(given), **flags}, tolerance=1e-6)


@cases(rank=(1, 2, 3), window=[w for w in WINDOWS if w["dilation"] == 1], ceil=(0, 1), p=(1, 2, 3))
def test_lp_pool(case: dict) -> None:
    given = pool_attributes(case["rank"], case["window"])
    flags = {"ceil_mode": case["ceil"], "p": case["p"]}
    x = random((2, 3, *SIZES[case["rank"]]))
    attributes = {**onnx_pool(given), **flags}
    check(ops.LpPool(**given, **flags), [x], "LpPool", attributes, tolerance=1e-5)


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "LpPool"])
def test_global_pools_are_pools_over_everything(kind: str) -> None:
    x = random((2, 3, 7, 9))
    base = {"kernel": (7, 9), "strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    op = ops.LpPool(p=2, **base) if kind == "LpPool" else getattr(ops, kind)(**base)
    attributes = {"p": 2} if kind == "LpPool" else {}
    check(op, [x], f"Global{kind}", attributes, tolerance=1e-6, opset=21)


def test_ceil_mode_drops_a_window_that_starts_in_the_end_padding() -> None:
    x = random((1, 1, 4, 4))
    op = ops.MaxPool((1, 1), (2, 2), (0, 0, 0, 0), (1, 1), ceil_mode=True)
    assert evaluate(op, [x])[0].shape == (1, 1, 2, 2)
    check(op, [x], "MaxPool", {"kernel_shape": [1, 1], "strides": [2, 2], "ceil_mode": 1})


DIRECT = [
    ((1, 1), (1, 1, 1, 1), (1, 1), (3, 3)),
    ((2, 3), (2, 0, 1, 3), (1, 2), (5, 3)),
    ((4, 4), (0, 0, 0, 0), (1, 1), (2, 2)),
    ((1, 1), (3, 3, 3, 3), (3, 3), (3, 3)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int8, np.uint8])
@pytest.mark.parametrize("channels", [(1, 1), (2, 3)])
@pytest.mark.parametrize("geometry", DIRECT)
def test_conv_with_few_channels_a_group(
    geometry: tuple, channels: tuple[int, int], dtype: type
) -> None:
    """Compiled loops against the same convolution written as a dense one; integers wrap."""
    strides, pads, dilations, kernel = geometry
    group, (inputs, outputs) = 3, channels
    x = random((2, group * inputs, 70, 83), dtype)
    w = random((group * outputs, inputs, *kernel), dtype)
    dense = np.zeros((group, outputs, group, inputs, *kernel), w.dtype)
    for g in range(group):
        dense[g, :, g] = w.reshape(group, outputs, inputs, *kernel)[g]
    y = evaluate(ops.Conv(strides, pads, dilations, group), [x, w])[0]
    other = dense.reshape(-1, group * inputs, *kernel)
    same(y, evaluate(ops.Conv(strides, pads, dilations), [x, other])[0], 1e-5)


def test_conv_takes_views() -> None:
    x, w = random((2, 9, 8, 4)).transpose(0, 3, 1, 2), random((3, 3, 1, 4)).transpose(3, 2, 0, 1)
    op = ops.Conv((1, 2), (1, 1, 1, 1), (1, 1), 4)
    plain = evaluate(op, [x.copy(), w.copy()])[0]
    same(evaluate(op, [x, w])[0], plain)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.int8, np.uint8])
def test_max_pool_types(dtype: type) -> None:
    x = random((2, 3, 9, 11), dtype)
    y = evaluate(ops.MaxPool((3, 2), (2, 1), (1, 1, 2, 0), (1, 2)), [x])[0]
    wide = x.astype(np.float64)
    same(y, evaluate(ops.MaxPool((3, 2), (2, 1), (1, 1, 2, 0), (1, 2)), [wide])[0].astype(dtype))


def test_max_pool_gives_nan_where_it_meets_one() -> None:
    x = np.zeros((1, 1, 6, 6), np.float32)
    x[0, 0, 2, 3] = np.nan
    x[0, 0, :, 4:] = np.inf
    y = evaluate(ops.MaxPool((3, 3), (3, 3), (0, 0, 0, 0), (1, 1)), [x])[0]
    assert np.isnan(y[0, 0]).tolist() == [[False, True], [False, False]]
