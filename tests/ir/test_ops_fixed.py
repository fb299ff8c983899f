"""The operators on 8-bit integers against sums in Python's integers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.ir import ops
from nntc.ir.graph import Op
from nntc.ir.interpret import evaluate

LIMITS = {DType.I8: (-128, 127), DType.U8: (0, 255)}


def integers(rng: np.random.Generator, dtype: DType, *shape: int) -> np.ndarray:
    info = np.iinfo(dtype.numpy.name)
    return rng.integers(info.min, info.max, shape, endpoint=True).astype(dtype.numpy)


def right(value: int, shift: int) -> int:
    return (value + (1 << shift >> 1)) >> shift


def cut(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def expected_conv(
    op: ops.FixConv, x: np.ndarray, w: np.ndarray, b: np.ndarray | None
) -> np.ndarray:
    kh, kw = w.shape[2:]
    up, left, down, rest = op.pads
    padded = np.pad(x.astype(object), ((0, 0), (0, 0), (up, down), (left, rest)))
    high = (padded.shape[2] - op.dilations[0] * (kh - 1) - 1) // op.strides[0] + 1
    wide = (padded.shape[3] - op.dilations[1] * (kw - 1) - 1) // op.strides[1] + 1
    result = np.zeros((x.shape[0], w.shape[0], high, wide), int)
    inner = w.shape[1]
    for n, m, i, j in np.ndindex(*result.shape):
        first = m // (w.shape[0] // op.group) * inner
        total = 0
        for c, a, e in np.ndindex(inner, kh, kw):
            row, col = (
                i * op.strides[0] + a * op.dilations[0],
                j * op.strides[1] + e * op.dilations[1],
            )
            total += int(padded[n, first + c, row, col]) * int(w[m, c, a, e])
        bias = 0 if b is None else int(b[m])
        if op.narrow:
            value = right(cut(right(total, op.shift), -32768, 32767) + bias, op.narrow)
        else:
            value = right(total + bias, op.shift)
        result[n, m, i, j] = cut(value, *LIMITS[op.to])
    return result.astype(op.to.numpy)


CONVS = list(
    itertools.product(
        [1, 2],
        [(0, 0, 0, 0), (1, 0, 2, 1)],
        [(1, 1), (2, 1)],
        [DType.I8, DType.U8],
        [(7, 0), (2, 5)],
    )
)


@pytest.mark.parametrize(("group", "pads", "strides", "to", "shifts"), CONVS)
def test_conv(group, pads, strides, to, shifts) -> None:
    rng = np.random.default_rng(0)
    x = integers(rng, DType.U8 if group == 1 else DType.I8, 2, 4, 5, 6)
    w = integers(rng, DType.I8, 4, 4 // group, 3, 2)
    b = integers(rng, DType.I16, 4)
    op = ops.FixConv(strides, pads, (1, 2), group, shifts[0], to, shifts[1])
    np.testing.assert_array_equal(evaluate(op, [x, w, b])[0], expected_conv(op, x, w, b))


def test_conv_sums_beyond_fp32() -> None:
    """4096 products of 255 * 127 need 27 bits: every one counts."""
    x = np.full((1, 4096, 1, 1), 255, np.uint8)
    x[0, 7] = 254
    w = np.full((1, 4096, 1, 1), 127, np.int8)
    w[0, 9] = 126
    op = ops.FixConv((1, 1), (0, 0, 0, 0), (1, 1), 1, 20, DType.U8)
    exact = 4096 * 255 * 127 - 127 - 255
    np.testing.assert_array_equal(evaluate(op, [x, w, None])[0].ravel(), [right(exact, 20)])
    sharp = ops.FixConv((1, 1), (0, 0, 0, 0), (1, 1), 1, 12, DType.I8, 1)
    b = np.array([-32390], np.int16)
    want = cut(right(cut(right(exact, 12), -32768, 32767) - 32390, 1), -128, 127)
    np.testing.assert_array_equal(evaluate(sharp, [x, w, b])[0].ravel(), [want])


def test_transposed_conv_is_the_conv_of_the_spread_image() -> None:
    rng = np.random.default_rng(1)
    x, w, b = integers(rng, DType.I8, 2, 3, 4, 5), integers(rng, DType.I8, 3, 2, 3, 2), None
    b = integers(rng, DType.I16, 2)
    op = ops.FixConvTranspose((2, 3), (1, 0, 0, 1), (1, 1), 1, (1, 0), 8, DType.I8)
    spread = np.zeros((2, 3, 7, 13), np.int8)
    spread[:, :, ::2, ::3] = x
    twin = ops.FixConv((1, 1), (1, 1, 3, 0), (1, 1), 1, 8, DType.I8)
    turned = np.ascontiguousarray(w.swapaxes(0, 1)[:, :, ::-1, ::-1])
    np.testing.assert_array_equal(
        evaluate(op, [x, w, b])[0], evaluate(twin, [spread, turned, b])[0]
    )


@pytest.mark.parametrize("to", [DType.I8, DType.U8])
@pytest.mark.parametrize("shift", [1, 2, 7, 9])
def test_sum(to: DType, shift: int) -> None:
    rng = np.random.default_rng(2)
    a, b = integers(rng, DType.U8, 2, 3, 50), integers(rng, DType.I8, 2, 3, 50)
    ka, kb = integers(rng, DType.I8, 3), integers(rng, DType.I8)
    got = evaluate(ops.FixSum(shift, to), [a, ka, b, kb])[0]
    for n, c, i in np.ndindex(*a.shape):
        half = right(int(a[n, c, i]) * int(ka[c]) + int(b[n, c, i]) * int(kb), 1)
        assert got[n, c, i] == cut(right(half, shift - 1), *LIMITS[to])


@pytest.mark.parametrize(
    ("left", "other", "to"),
    [
        (DType.I8, DType.I8, DType.I8),
        (DType.U8, DType.I8, DType.I8),
        (DType.U8, DType.U8, DType.U8),
    ],
)
def test_product(left: DType, other: DType, to: DType) -> None:
    rng = np.random.default_rng(3)
    a, b = integers(rng, left, 2, 3, 40), integers(rng, other, 3, 1)
    got = evaluate(ops.FixMul(6, to), [a, b])[0]
    for n, c, i in np.ndindex(*a.shape):
        assert got[n, c, i] == cut(right(int(a[n, c, i]) * int(b[c, 0]), 6), *LIMITS[to])


@pytest.mark.parametrize("to", [DType.I8, DType.U8])
def test_offsets(to: DType) -> None:
    rng = np.random.default_rng(5)
    a, b = integers(rng, DType.U8, 2, 3, 30), integers(rng, DType.I8, 2, 3, 30)
    ka, kb, offset = (
        integers(rng, DType.I8, 3),
        integers(rng, DType.I8),
        integers(rng, DType.I16, 3),
    )
    total = evaluate(ops.FixSum(7, to), [a, ka, b, kb, offset])[0]
    line = evaluate(ops.FixAffine(7, to), [a, ka, offset])[0]
    product = evaluate(ops.FixMul(7, to, 12), [a, b[:1, :, :1], offset])[0]
    for n, c, i in np.ndindex(*a.shape):
        x = int(a[n, c, i])
        half = right(x * int(ka[c]) + int(b[n, c, i]) * int(kb), 1) + int(offset[c])
        assert total[n, c, i] == cut(right(half, 6), *LIMITS[to])
        assert line[n, c, i] == cut(right(x * int(ka[c]) + int(offset[c]), 7), *LIMITS[to])
        part = (x - 12) * int(b[0, c, 0]) + int(offset[c])
        assert product[n, c, i] == cut(right(part, 7), *LIMITS[to])


def test_padding_holds_a_number() -> None:
    rng = np.random.default_rng(6)
    x, w = integers(rng, DType.U8, 1, 2, 4, 4), integers(rng, DType.I8, 3, 2, 3, 3)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 0), (2, 1)), constant_values=9)
    op = ops.FixConv((1, 1), (1, 2, 0, 1), (1, 1), 1, 7, DType.I8, pad_value=9)
    twin = ops.FixConv((1, 1), (0, 0, 0, 0), (1, 1), 1, 7, DType.I8)
    np.testing.assert_array_equal(evaluate(op, [x, w])[0], evaluate(twin, [padded, w])[0])


def test_zero() -> None:
    x = np.array([[-1.0, 0.0, 100.0]], np.float32)
    q = evaluate(ops.Quantize(DType.U8, zero=10), [x, np.float32(4)])[0]
    np.testing.assert_array_equal(q, [[6, 10, 255]])
    back = evaluate(ops.Dequantize(zero=10), [q, np.float32(0.25)])[0]
    np.testing.assert_array_equal(back, [[-1.0, 0.0, 61.25]])


def test_table() -> None:
    table = np.arange(256)[::-1].astype(np.uint8)
    x = np.array([0, 1, 127, -128, -1], np.int8)
    np.testing.assert_array_equal(evaluate(ops.Lut(), [x, table])[0], [255, 254, 128, 127, 0])


def test_quantize_rounds_halves_to_even_and_saturates() -> None:
    x = np.array([[0.25, 0.75, -0.25], [1e30, -1e30, 64.2]], np.float32)
    by = np.array([2.0, 2.0, 2.0], np.float32)
    np.testing.assert_array_equal(
        evaluate(ops.Quantize(DType.I8), [x, by])[0], [[0, 2, 0], [127, -128, 127]]
    )
    np.testing.assert_array_equal(
        evaluate(ops.Quantize(DType.U8), [x, np.float32(2)])[0], [[0, 2, 0], [255, 0, 128]]
    )


def test_dequantize_by_channel() -> None:
    x = np.array([[[1, -2]], [[3, 4]]], np.int8)
    scale = np.array([0.5, 2.0], np.float32)
    np.testing.assert_array_equal(
        evaluate(ops.Dequantize(0), [x, scale])[0], [[[0.5, -1.0]], [[6.0, 8.0]]]
    )


REFUSED: list[tuple[Op, list[np.ndarray], str]] = [
    (ops.FixMul(8, DType.U8), [np.zeros(3, np.int8), np.zeros(3, np.uint8)], "gives i8, not u8"),
    (ops.FixSum(0, DType.I8), [np.zeros((1, 2), np.int8), np.int8(1)] * 2, "shift is 0, 1 to 31"),
    (ops.Lut(), [np.zeros(3, np.int8), np.zeros(255, np.int8)], "(256,) is needed"),
    (ops.Quantize(DType.I16), [np.zeros(3, np.float32), np.float32(1)], "would be i16"),
    (
        ops.FixConv((1, 1), (0, 0, 0, 0), (1, 1), 1, 3, DType.I8, 2),
        [np.zeros((1, 1, 2, 2), np.int8), np.zeros((1, 1, 1, 1), np.int8)],
        "narrow is for a bias",
    ),
]


@pytest.mark.parametrize(("op", "operands", "message"), REFUSED, ids=lambda v: str(v)[:20])
def test_refused(op: Op, operands: list[np.ndarray], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        evaluate(op, operands)
    assert message in str(caught.value)
