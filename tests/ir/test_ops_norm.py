"""Normalisations and softmaxes against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.ir import ops
from nntc.ir.interpret import evaluate
from tests.ir.twin import cases, check, random, same

IMAGES = [(2, 6), (2, 6, 7), (1, 6, 5, 4), (2, 6, 3, 4, 2)]


@cases(shape=IMAGES, epsilon=(1e-5, 0.1))
def test_batch_norm(case: dict) -> None:
    vectors = [random((6,), low=low, high=high) for low, high in ((-2, 2), (-3, 3), (-1, 1))]
    inputs = [random(case["shape"]), *vectors, random((6,), low=0.1, high=4)]
    op = ops.BatchNorm(case["epsilon"])
    check(op, inputs, "BatchNormalization", {"epsilon": case["epsilon"]}, tolerance=2e-6)


@cases(shape=((4, 5), (2, 3, 4), (2, 3, 4, 5)), axis=(0, 1, -1), bias=(True, False))
def test_layer_norm(case: dict) -> None:
    shape = case["shape"]
    axis = case["axis"] % len(shape)
    inputs = [random(shape), random(shape[axis:], low=0.5, high=2)]
    if case["bias"]:
        inputs.append(random(shape[axis:], low=-1, high=1))
    check(
        ops.LayerNorm(axis, 1e-3),
        inputs,
        "LayerNormalization",
        {"axis": axis, "epsilon": 1e-3},
        tolerance=1e-5,
    )


def test_layer_norm_alone() -> None:
    x = random((4, 7))
    expected = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    same(evaluate(ops.LayerNorm(1), [x])[0], expected, 1e-5)


def test_statistics_survive_a_large_mean() -> None:
    x = random((1, 2, 100, 100)) + np.float32(10000)
    one, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
    wide = x.astype(np.float64)
    mean, var = wide.mean((2, 3), keepdims=True), wide.var((2, 3), keepdims=True)
    y = evaluate(ops.InstanceNorm(), [x, one, zero])[0]
    same(y, ((wide - mean) / np.sqrt(var + 1e-5)).astype(np.float32), 1e-3)


@cases(shape=IMAGES[1:])
def test_instance_norm(case: dict) -> None:
    inputs = [random(case["shape"]), random((6,)), random((6,), low=-1)]
    op = ops.InstanceNorm(1e-4)
    check(op, inputs, "InstanceNormalization", {"epsilon": 1e-4}, tolerance=1e-5)


@cases(shape=IMAGES[1:], groups=(1, 2, 6))
def test_group_norm(case: dict) -> None:
    inputs = [random(case["shape"]), random((6,)), random((6,), low=-1)]
    attributes = {"epsilon": 1e-4, "num_groups": case["groups"]}
    op = ops.GroupNorm(case["groups"], 1e-4)
    check(op, inputs, "GroupNormalization", attributes, tolerance=1e-5)


@cases(shape=((4, 5), (2, 3, 4)), axis=(0, 1, -1))
def test_rms_norm(case: dict) -> None:
    axis = case["axis"] % len(case["shape"])
    inputs = [random(case["shape"]), random(case["shape"][axis:], low=0.5, high=2)]
    attributes = {"axis": axis, "epsilon": 1e-3}
    op = ops.RMSNorm(axis, 1e-3)
    check(op, inputs, "RMSNormalization", attributes, tolerance=1e-5, opset=23)


@cases(size=(1, 3, 4, 5, 20), shape=((2, 6, 4, 3), (1, 1, 2, 2)))
def test_lrn(case: dict) -> None:
    attributes = {"size": case["size"], "alpha": 0.02, "beta": 0.5, "bias": 1.5}
    if case["size"] % 2:
        check(ops.LRN(**attributes), [random(case["shape"])], "LRN", attributes, tolerance=1e-5)
    else:
        # ONNX Runtime takes odd sizes only.
        x = random(case["shape"])
        s, c = case["size"], x.shape[1]
        square = [(x[:, max(0, i - (s - 1) // 2) : i + s // 2 + 1] ** 2).sum(1) for i in range(c)]
        expected = x / (1.5 + 0.02 / s * np.stack(square, 1)) ** np.float32(0.5)
        same(evaluate(ops.LRN(**attributes), [x])[0], expected, 1e-5)


@cases(p=(1, 2), axis=(0, 1, 2))
def test_lp_norm(case: dict) -> None:
    x = random((3, 4, 5))
    x[:, 1, 2] = 0
    x[0, :, 2] = 0
    x[1, 1, :] = 0
    check(ops.LpNorm(**case), [x], "LpNormalization", case, tolerance=1e-6)


@cases(kind=("Softmax", "LogSoftmax", "Hardmax"), shape=((5,), (3, 4), (2, 3, 4)), axis=(0, -1))
def test_softmax(case: dict) -> None:
    axis = case["axis"] % len(case["shape"])
    op = getattr(ops, case["kind"])(axis)
    for scale in (1, 50):
        x = random(case["shape"]) * np.float32(scale)
        check(op, [x], case["kind"], {"axis": axis}, tolerance=1e-6)


def test_softmax_of_infinity() -> None:
    x = np.array([[-np.inf, 0, 1], [-np.inf, -np.inf, 3]], np.float32)
    check(ops.Softmax(1), [x], "Softmax", {"axis": 1}, tolerance=1e-6)
    assert np.isnan(evaluate(ops.Softmax(0), [np.full((2,), -np.inf, np.float32)])[0]).all()


def test_hardmax_takes_the_first_of_equal_ones() -> None:
    x = np.array([[1, 3, 3], [2, 2, 2]], np.float32)
    assert evaluate(ops.Hardmax(1), [x])[0].tolist() == [[0, 1, 0], [1, 0, 0]]
    assert evaluate(ops.Hardmax(1), [x[:0]])[0].shape == (0, 3)


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax", "LpNorm"])
def test_half_floats_and_nothing(kind: str) -> None:
    op = ops.LpNorm(2, 1) if kind == "LpNorm" else getattr(ops, kind)(1)
    x = random((2, 9), np.float16)
    wide = evaluate(op, [x.astype(np.float32)])[0]
    same(evaluate(op, [x])[0], wide.astype(np.float16))
    assert evaluate(op, [np.zeros((3, 0), np.float32)])[0].shape == (3, 0)
