"""Operators against their meaning in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.frontends.caffe.test_layers import caffe_pool, convolve
from tests.frontends.mxnet.make import Net, one, run

RNG = np.random.default_rng(5)


def picture(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def column(data: np.ndarray) -> np.ndarray:
    return data.reshape(-1, 1, 1)


def soft(x: np.ndarray, axis: int) -> np.ndarray:
    power = np.exp(x)
    return power / power.sum(axis, keepdims=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# (operator, options, its meaning for one operand of shape 2x4x5x6)
ONE: list[tuple[str, dict[str, Any], Any]] = [
    ("Activation", {"act_type": "relu"}, lambda x: np.maximum(x, 0)),
    ("Activation", {"act_type": "softrelu"}, lambda x: np.log1p(np.exp(x))),
    ("Activation", {"act_type": "softsign"}, lambda x: x / (1 + np.abs(x))),
    ("Activation", {"act_type": "tanh"}, np.tanh),
    ("Activation", {"act_type": "sigmoid"}, sigmoid),
    ("LeakyReLU", {}, lambda x: np.where(x > 0, x, 0.25 * x)),
    ("LeakyReLU", {"act_type": "elu", "slope": 0.5}, lambda x: np.where(x > 0, x, np.expm1(x) / 2)),
    ("LeakyReLU", {"act_type": "rrelu", "lower_bound": 0.1, "upper_bound": 0.3},
     lambda x: np.where(x > 0, x, 0.2 * x)),
    ("hard_sigmoid", {}, lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    ("clip", {"a_min": -0.5, "a_max": 0.25}, lambda x: np.clip(x, -0.5, 0.25)),
    ("square", {}, np.square),
    ("negative", {}, np.negative),
    ("arctan", {}, np.arctan),
    ("rint", {}, np.rint),
    ("_plus_scalar", {"scalar": 2}, lambda x: x + 2),
    ("_rminus_scalar", {"scalar": "2.5"}, lambda x: 2.5 - x),
    ("_RDivScalar", {"scalar": 2}, lambda x: 2 / x),
    ("_power_scalar", {"scalar": 2}, lambda x: x**2),
    ("_rpower_scalar", {"scalar": 2}, lambda x: 2**x),
    ("_maximum_scalar", {"scalar": 0.1}, lambda x: np.maximum(x, 0.1)),
    ("_greater_scalar", {"scalar": 0.1}, lambda x: (x > 0.1).astype(float)),
    ("softmax", {"axis": 1}, lambda x: soft(x, 1)),
    ("softmax", {"temperature": 2}, lambda x: soft(x / 2, 3)),
    ("log_softmax", {}, lambda x: np.log(soft(x, 3))),
    ("SoftmaxActivation", {}, lambda x: soft(x, 3)),
    ("SoftmaxActivation", {"mode": "channel"}, lambda x: soft(x, 1)),
    ("SoftmaxOutput", {"multi_output": True}, lambda x: soft(x, 1)),
    ("SoftmaxOutput", {"preserve_shape": True}, lambda x: soft(x, 3)),
    ("SoftmaxOutput", {}, lambda x: soft(x, 3)),
    ("LogisticRegressionOutput", {}, sigmoid),
    ("Dropout", {"p": 0.5}, lambda x: x),
    ("BlockGrad", {}, lambda x: x),
    ("Flatten", {}, lambda x: x.reshape(2, -1)),
    ("Reshape", {"shape": "(0, -1)"}, lambda x: x.reshape(2, -1)),
    ("Reshape", {"shape": "(-2,)"}, lambda x: x),
    ("Reshape", {"shape": "(-3, -2)"}, lambda x: x.reshape(8, 5, 6)),
    ("Reshape", {"shape": "(0, -4, 2, -1, -2)"}, lambda x: x.reshape(2, 2, 2, 5, 6)),
    ("Reshape", {"shape": "(-1, 0)", "reverse": True}, lambda x: x.reshape(40, 6)),
    ("transpose", {"axes": "(0, 2, 3, 1)"}, lambda x: x.transpose(0, 2, 3, 1)),
    ("transpose", {}, lambda x: x.T),
    ("SwapAxis", {"dim1": 1, "dim2": 3}, lambda x: x.swapaxes(1, 3)),
    ("expand_dims", {"axis": -1}, lambda x: x[..., None]),
    ("slice_axis", {"axis": 1, "begin": 1, "end": "None"}, lambda x: x[:, 1:]),
    ("slice_axis", {"axis": 3, "begin": -4, "end": -1}, lambda x: x[..., -4:-1]),
    ("slice", {"begin": "(None, 1)", "end": "(None, 3)"}, lambda x: x[:, 1:3]),
    ("slice", {"begin": "(0, 0)", "end": "(2, 4)", "step": "(1, 2)"}, lambda x: x[:, ::2]),
    ("Crop", {"h_w": "(3, 2)", "center_crop": True}, lambda x: x[:, :, 1:4, 2:4]),
    ("Pad", {"mode": "constant", "pad_width": "(0,0,0,0,1,2,3,0)", "constant_value": 7},
     lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (3, 0)), constant_values=7)),
    ("Pad", {"mode": "edge", "pad_width": "(0,0,0,0,1,1,1,1)"},
     lambda x: np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "edge")),
    ("tile", {"reps": "(2, 1)"}, lambda x: np.tile(x, (2, 1))),
    ("repeat", {"repeats": 2, "axis": 1}, lambda x: x.repeat(2, 1)),
    ("mean", {"axis": "(2, 3)", "keepdims": True}, lambda x: x.mean((2, 3), keepdims=True)),
    ("sum", {"axis": 1}, lambda x: x.sum(1)),
    ("max", {"axis": "(1,)", "exclude": True}, lambda x: x.max((0, 2, 3))),
    ("min", {}, lambda x: x.min().reshape(1)),
    ("norm", {"ord": 1, "axis": -1}, lambda x: np.abs(x).sum(-1)),
    ("argmax", {"axis": 1}, lambda x: x.argmax(1).astype(float)),
    ("topk", {"axis": 1, "k": 2, "ret_typ": "value"}, lambda x: -np.sort(-x, 1)[:, :2]),
    ("L2Normalization", {}, lambda x: x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True))),
    ("L2Normalization", {"mode": "channel"}, lambda x: x / np.sqrt((x**2).sum(1, keepdims=True))),
    ("UpSampling", {"scale": 2, "sample_type": "nearest"}, lambda x: x.repeat(2, 2).repeat(2, 3)),
    ("depth_to_space", {"block_size": 2},
     lambda x: x.reshape(2, 2, 2, 1, 5, 6).transpose(0, 3, 4, 1, 5, 2).reshape(2, 1, 10, 12)),
    ("Pooling", {"global_pool": True, "pool_type": "avg", "kernel": "(7, 7)"},
     lambda x: x.mean((2, 3), keepdims=True)),
    ("_contrib_AdaptiveAvgPooling2D", {"output_size": 1}, lambda x: x.mean((2, 3), keepdims=True)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "options", "meaning"), ONE, ids=lambda v: "" if callable(v) else str(v)[:40]
)
def test_one_operand(op: str, options: dict[str, Any], meaning: Any) -> None:
    x = picture(2, 4, 5, 6)
    close(one(op, options, x), np.asarray(meaning(x.astype(np.float64))))


def test_convolution() -> None:
    x, w, b = picture(2, 4, 9, 8), picture(6, 2, 3, 3), picture(6)
    options = {"kernel": "(3, 3)", "num_filter": 6, "stride": "(2, 2)", "pad": "(2L, 2L)"}
    options |= {"dilate": "(2, 2)", "num_group": 2}
    parts = [convolve(x[:, i : i + 2], w[j : j + 3], 2, 2, 2) for i, j in ((0, 0), (2, 3))]
    wanted = np.concatenate(parts, 1)
    close(one("Convolution", options, x, w, b, weights=2), wanted + column(b))
    close(one("Convolution", {**options, "no_bias": True}, x, w, weights=1), wanted)


def test_deconvolution() -> None:
    x, w = picture(1, 3, 4, 4), picture(3, 2, 4, 4)
    full = np.zeros((1, 2, 10, 10))
    for i in range(4):
        for j in range(4):
            full[0, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.tensordot(x[0, :, i, j], w, 1)
    options = {"kernel": "(4, 4)", "num_filter": 2, "stride": "(2, 2)"}
    close(
        one("Deconvolution", {**options, "pad": "(1, 1)"}, x, w, weights=1), full[:, :, 1:-1, 1:-1]
    )
    found = one("Deconvolution", {**options, "target_shape": "(8, 8)"}, x, w, weights=1)
    close(found, full[:, :, 1:-1, 1:-1])


def test_fully_connected() -> None:
    x, w, b = picture(2, 3, 4), picture(5, 12), picture(5)
    close(one("FullyConnected", {"num_hidden": 5}, x, w, b, weights=2), x.reshape(2, -1) @ w.T + b)
    w = picture(5, 4)
    options = {"num_hidden": 5, "flatten": False, "no_bias": True}
    close(one("FullyConnected", options, x, w, weights=1), x @ w.T)


@pytest.mark.parametrize("method", ["max", "avg"])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 0), (3, 2, 1)])
def test_pooling(method: str, kernel: int, stride: int, pad: int) -> None:
    x = picture(1, 2, 8, 8)
    options = {"pool_type": method, "kernel": (kernel,) * 2, "stride": (stride,) * 2}
    options["pad"] = (pad,) * 2
    kind = "MAX" if method == "max" else "AVE"
    close(one("Pooling", options, x), caffe_pool(x, kernel, stride, pad, kind, ceil=False))
    if not pad:
        full = one("Pooling", {**options, "pooling_convention": "full"}, x)
        close(full, caffe_pool(x, kernel, stride, pad, kind))


def test_batch_norm() -> None:
    x, gamma, beta, mean = picture(2, 4, 5, 6), picture(4), picture(4), picture(4)
    variance = picture(4) ** 2
    plain = (x - column(mean)) / np.sqrt(column(variance) + 1e-3)
    found = one("BatchNorm", {"fix_gamma": False}, x, gamma, beta, mean, variance, weights=4)
    close(found, plain * column(gamma) + column(beta))
    close(one("BatchNorm", {}, x, gamma, beta, mean, variance, weights=4), plain + column(beta))


def test_normalisations() -> None:
    x, gamma, beta = picture(2, 4, 5, 6), picture(4), picture(4)
    centred = x - x.mean((2, 3), keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean((2, 3), keepdims=True) + 1e-3)
    found = one("InstanceNorm", {}, x, gamma, beta, weights=2)
    close(found, wanted * column(gamma) + column(beta))
    gamma, beta = picture(6), picture(6)
    centred = x - x.mean(3, keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean(3, keepdims=True) + 1e-5)
    close(one("LayerNorm", {}, x, gamma, beta, weights=2), wanted * gamma + beta)
    padded = np.pad(x.astype(float) ** 2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    total = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    options = {"nsize": 3, "alpha": 0.5, "knorm": 2}
    close(one("LRN", options, x), x / (2 + 0.5 / 3 * total) ** 0.75)


def test_prelu() -> None:
    x, slopes = picture(2, 4, 5, 6), picture(4)
    found = one("LeakyReLU", {"act_type": "prelu"}, x, slopes, weights=1)
    close(found, np.where(x > 0, x, x * column(slopes)))


def test_two_operands() -> None:
    x, z = picture(2, 4, 5, 6), picture(2, 4, 5, 6)
    for op, wanted in (
        ("elemwise_add", x + z),
        ("_minus", x - z),
        ("_Mul", x * z),
        ("broadcast_div", x / z),
        ("broadcast_maximum", np.maximum(x, z)),
        ("broadcast_lesser", (x < z).astype(float)),
        ("ElementWiseSum", x + z),
        ("Concat", np.concatenate([x, z], 1)),
    ):
        close(one(op, {}, x, z), wanted)
    small = picture(2, 4, 1, 1)
    close(one("broadcast_mul", {}, x, small), x * small)
    close(one("broadcast_like", {}, small, x), np.broadcast_to(small, x.shape))
    close(one("slice_like", {"axes": "(2, 3)"}, x, picture(9, 9, 3, 4)), x[:, :, :3, :4])
    close(one("where", {}, np.sign(np.maximum(x, 0)), x, z), np.where(x > 0, x, z))
    close(one("stack", {"axis": 1}, x, z), np.stack([x, z], 1))
    a, b = picture(3, 4), picture(5, 4)
    close(one("dot", {"transpose_b": True}, a, b), a @ b.T)
    a, b = picture(2, 3, 4), picture(2, 4, 5)
    close(one("batch_dot", {}, a, b), a @ b)
    table, index = picture(7, 3), np.array([[1, 6], [0, 2]])
    close(
        one("Embedding", {"input_dim": 7, "output_dim": 3}, index, table, weights=1), table[index]
    )


def test_several_results() -> None:
    x = picture(2, 4, 3, 3)
    net = Net().add("SliceChannel", "s", "x", num_outputs=2, axis=1)
    net.add("elemwise_sub", "d", "s s.1")
    found = run(net.json([1, 1, 0], [2, 0, 0]), {"x": x})
    assert list(found) == ["s_output1", "d_output"]
    close(found["s_output1"], x[:, 2:])
    close(found["d_output"], x[:, :2] - x[:, 2:])


def test_bilinear_upsampling() -> None:
    """With the weights that MXNet gives it, pixels in the middle are interpolated."""
    x = picture(1, 2, 5, 6)
    factor = 1 - abs(np.arange(4) / 2 - 0.75)
    kernel = np.broadcast_to(np.outer(factor, factor), (2, 1, 4, 4)).astype(np.float32)
    options = {"scale": 2, "sample_type": "bilinear", "num_filter": 2}
    found = one("UpSampling", options, x, kernel, weights=1)
    assert found.shape == (1, 2, 10, 12)
    middle = 0.75 * x[..., 2, :] + 0.25 * x[..., 1, :]
    close(found[..., 4, 5], (0.75 * middle[..., 2] + 0.25 * middle[..., 3]))
    assert math.isclose(kernel[0, 0].sum(), 4)
