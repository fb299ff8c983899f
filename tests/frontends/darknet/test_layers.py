"""Every kind of section against its meaning in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.frontends.darknet.make import config, one, run, weights

RNG = np.random.default_rng(3)


def picture(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def convolve(
    x: np.ndarray, w: np.ndarray, stride: tuple[int, int] = (1, 1), pad: int = 0, dilation: int = 1
) -> np.ndarray:
    """One group, by its definition."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    reach = dilation * (w.shape[2] - 1) + 1
    rows = (x.shape[2] - reach) // stride[0] + 1
    columns = (x.shape[3] - reach) // stride[1] + 1
    y = np.zeros((x.shape[0], w.shape[0], rows, columns))
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride[0], j * stride[1]
            cut = x[:, :, top : top + reach : dilation, left : left + reach : dilation]
            y[:, :, i, j] = np.tensordot(cut, w, ((1, 2, 3), (1, 2, 3)))
    return y


def test_convolution() -> None:
    x, w, b = picture(2, 3, 8, 7), picture(5, 3, 3, 3), picture(5)
    found = one(config("convolutional filters=5 size=3 pad=1 activation=linear"), x, b, w)
    close(found, convolve(x, w, pad=1) + b[:, None, None])


def test_convolution_with_all_options() -> None:
    x, w = picture(1, 4, 9, 9), picture(6, 2, 3, 3)
    bias, scale, mean, variance = picture(6), picture(6), picture(6), picture(6) ** 2
    text = (
        "conv filters=6 size=3 groups=2 padding=1 dilation=2 stride_x=2 stride_y=1 "
        "batch_normalize=1 activation=relu"
    )
    found = one(config(text, channels=4, height=9, width=9), x, bias, scale, mean, variance, w)
    parts = [convolve(x[:, i : i + 2], w[j : j + 3], (1, 2), 2, 2) for i, j in ((0, 0), (2, 3))]
    y = np.concatenate(parts, 1)
    column = (-1, 1, 1)
    y = (y - mean.reshape(column)) / np.sqrt(variance + 1e-5).reshape(column)
    y = y * scale.reshape(column) + bias.reshape(column)
    close(found, np.maximum(y, 0))


def test_flipped_and_shared_weights() -> None:
    x, w, b = picture(1, 3, 8, 8), picture(3, 3, 3, 3), picture(3)
    cfg = config(
        "convolutional filters=3 size=3 pad=1 flipped=1 activation=linear",
        "convolutional filters=3 size=3 pad=1 share_index=-1 activation=linear",
    )
    found = one(cfg, x, b, w.reshape(3, -1).T)
    once = convolve(x, w, pad=1) + b[:, None, None]
    close(found, convolve(once, w, pad=1) + b[:, None, None])


@pytest.mark.parametrize("kind", [1, 2])
def test_blurred_before_pixels_are_dropped(kind: int) -> None:
    x, w, b = picture(1, 3, 8, 8), picture(2, 3, 3, 3), picture(2)
    text = f"convolutional filters=2 size=3 pad=1 stride=2 antialiasing={kind} activation=linear"
    found = one(config(text), x, b, w)
    y = convolve(x, w, pad=1) + b[:, None, None]
    row = np.array([1, 1] if kind == 2 else [1, 2, 1])
    blur = np.outer(row, row) / row.sum() ** 2
    parts = [convolve(y[:, c : c + 1], blur[None, None], (2, 2), 2 - kind) for c in range(2)]
    close(found, np.concatenate(parts, 1))


def test_deconvolution() -> None:
    x, w, b = picture(1, 3, 4, 4), picture(3, 2, 3, 3), picture(2)
    text = "deconvolutional filters=2 size=3 stride=2 pad=1 activation=linear"
    found = one(config(text, height=4, width=4), x, b, w)
    y = np.zeros((1, 2, 9, 9))
    for i in range(4):
        for j in range(4):
            y[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += np.tensordot(x[0, :, i, j], w, 1)
    close(found, y[:, :, 1:-1, 1:-1] + b[:, None, None])


@pytest.mark.parametrize(("pad", "stride"), [(0, 1), (1, 2)])
def test_local(pad: int, stride: int) -> None:
    x = picture(2, 3, 6, 6)
    size = (6 + 2 * pad - 3) // stride + 1
    w, b = picture(size * size, 4, 27), picture(4, size, size)
    text = f"local filters=4 size=3 stride={stride} pad={pad} activation=leaky"
    found = one(config(text, height=6, width=6), x, b, w)
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    y = np.zeros((2, 4, size, size))
    for i in range(size):
        for j in range(size):
            cut = padded[:, :, i * stride : i * stride + 3, j * stride : j * stride + 3]
            y[:, :, i, j] = cut.reshape(2, -1) @ w[i * size + j].T
    y += b
    close(found, np.where(y > 0, y, 0.1 * y))


@pytest.mark.parametrize("version", [(0, 1), (0, 2), (1, 0), (1001, 0)])
def test_connected(version: tuple[int, int]) -> None:
    x, w, b = picture(2, 3, 4, 4), picture(5, 48), picture(5)
    matrix = w.T if version[0] > 1000 else w
    cfg = config("connected output=5 activation=tanh", height=4, width=4)
    (found,) = run(cfg, weights(b, matrix, version=version), x)[1]
    close(found, np.tanh(x.reshape(2, -1) @ w.T + b)[:, :, None, None])


def test_connected_with_batch_norm() -> None:
    x, w, b = picture(2, 3, 4, 4), picture(5, 48), picture(5)
    scale, mean, variance = picture(5), picture(5), picture(5) ** 2
    cfg = config("connected output=5 batch_normalize=1 activation=linear", height=4, width=4)
    found = one(cfg, x, b, w, scale, mean, variance)
    y = (x.reshape(2, -1) @ w.T - mean) / np.sqrt(variance + 1e-5) * scale + b
    close(found, y[:, :, None, None])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _stair(x: np.ndarray) -> np.ndarray:
    whole = np.floor(x)
    return np.where(whole % 2 == 0, np.floor(x / 2), x - whole + np.floor(x / 2))


def _normal(x: np.ndarray) -> np.ndarray:
    positive = np.maximum(x, 0)
    return positive / (positive.sum(1, keepdims=True) + 1e-4)


def _softmax(x: np.ndarray, top: np.ndarray | float) -> np.ndarray:
    power = np.exp(x - top)
    return power / (power.sum(1, keepdims=True) + 1e-4)


ACTIVATIONS = {
    "linear": lambda x: x,
    "logistic": _sigmoid,
    "loggy": lambda x: 2 / (1 + np.exp(-x)) - 1,
    "relu": lambda x: x * (x > 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "elu": lambda x: np.where(x >= 0, x, np.exp(x) - 1),
    "selu": lambda x: np.where(x >= 0, 1.0507 * x, 1.0507 * 1.6732 * (np.exp(x) - 1)),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(0.797885 * x + 0.035677 * x**3)),
    "relie": lambda x: np.where(x > 0, x, 0.01 * x),
    "ramp": lambda x: x * (x > 0) + 0.1 * x,
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "revleaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "tanh": np.tanh,
    "plse": lambda x: np.select(
        [x < -4, x > 4], [0.01 * (x + 4), 0.01 * (x - 4) + 1], 0.125 * x + 0.5
    ),
    "stair": _stair,
    "hardtan": lambda x: np.clip(x, -1, 1),
    "lhtan": lambda x: np.select([x < 0, x > 1], [0.001 * x, 0.001 * (x - 1) + 1], x),
    "swish": lambda x: x * _sigmoid(x),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "hard_mish": lambda x: np.select([x > 0, x > -2], [x, x * x / 2 + x], 0.0),
    "normalize_channels": _normal,
    "normalize_channels_softmax": lambda x: _softmax(x, 0.0),
    "normalize_channels_softmax_maxval": lambda x: _softmax(x, x.max(1, keepdims=True)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str) -> None:
    x = np.linspace(-9.3, 9.4, 3 * 8 * 8, dtype=np.float32).reshape(1, 3, 8, 8)
    found = one(config(f"activation activation={name}"), x)
    # Darknet writes the constants of gelu with six digits.
    wanted = ACTIVATIONS[name](x.astype(np.float64))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 if name == "gelu" else 1e-5)


def windows(x: np.ndarray, size: int, stride: int, before: int, out: int):
    for i in range(out):
        for j in range(out):
            top, left = i * stride - before, j * stride - before
            yield i, j, x[:, :, max(top, 0) : top + size, max(left, 0) : left + size]


@pytest.mark.parametrize(
    ("options", "size", "stride", "padding"),
    [
        ("size=2 stride=2", 2, 2, 1),
        ("size=2 stride=1", 2, 1, 1),
        ("size=3 stride=2 padding=0", 3, 2, 0),
        ("size=5 stride=1", 5, 1, 4),
        ("stride=3", 3, 3, 2),
    ],
)
def test_pools(options: str, size: int, stride: int, padding: int) -> None:
    x = picture(1, 2, 7, 7)
    out = (7 + padding - size) // stride + 1
    best, mean = np.zeros((1, 2, out, out)), np.zeros((1, 2, out, out))
    for i, j, cut in windows(x, size, stride, padding // 2, out):
        best[:, :, i, j], mean[:, :, i, j] = cut.max((2, 3)), cut.mean((2, 3))
    shape = {"channels": 2, "height": 7, "width": 7}
    close(one(config(f"maxpool {options}", **shape), x), best)
    close(one(config(f"local_avgpool {options}", **shape), x), mean)


def test_avgpool() -> None:
    x = picture(2, 3, 8, 8)
    close(one(config("avgpool"), x), x.mean((2, 3), keepdims=True))


def test_softmax() -> None:
    x = picture(2, 4, 3, 3)
    shape = {"channels": 4, "height": 3, "width": 3}

    def soft(values: np.ndarray, axis: int) -> np.ndarray:
        power = np.exp(values)
        return power / power.sum(axis, keepdims=True)

    close(
        one(config("softmax groups=2 temperature=2", **shape), x),
        soft(x.reshape(2, 2, 18) / 2, 2).reshape(x.shape),
    )
    close(one(config("softmax spatial=1", **shape), x), soft(x, 1))
    close(
        one(config("softmax spatial=1 groups=2", **shape), x),
        soft(x.reshape(2, 2, 2, 3, 3), 2).reshape(x.shape),
    )


def test_batchnorm() -> None:
    x, scale, bias, mean, variance = (picture(2, 3, 8, 8), *(picture(3) for _ in range(4)))
    found = one(config("batchnorm"), x, bias, scale, mean, variance**2)
    column = (-1, 1, 1)
    y = (x - mean.reshape(column)) / np.sqrt(variance**2 + 1e-5).reshape(column)
    close(found, y * scale.reshape(column) + bias.reshape(column))


def test_normalization_slides_as_darknet_does() -> None:
    x = picture(1, 9, 2, 2)
    cfg = config("normalization size=5 alpha=.5 beta=.7 kappa=2", channels=9, height=2, width=2)
    square = x.astype(np.float64) ** 2
    norm = np.zeros_like(square)
    norm[:, 0] = 2 + 0.5 * square[:, :2].sum(1)
    for k in range(1, 9):
        norm[:, k] = norm[:, k - 1]
        if k - 3 >= 0:
            norm[:, k] -= 0.5 * square[:, k - 3]
        if k + 2 < 9:
            norm[:, k] += 0.5 * square[:, k + 2]
    close(one(cfg, x), x * norm**-0.7)


def test_l2norm_and_logistic() -> None:
    x = picture(1, 3, 8, 8)
    found = one(config("l2norm", "logistic"), x)
    close(found, _sigmoid(x / np.sqrt((x**2).sum(1, keepdims=True))))


def test_route() -> None:
    x = picture(1, 4, 4, 4)
    shape = {"channels": 4, "height": 4, "width": 4}
    layers = ("activation activation=tanh", "activation activation=relu")
    y, z = np.tanh(x), np.maximum(np.tanh(x), 0)
    close(one(config(*layers, "route layers=-1,-2", **shape), x), np.concatenate([z, y], 1))
    close(one(config(*layers, "route layers=0", **shape), x), y)
    text = "route layers=0,1 groups=2 group_id=1"
    close(one(config(*layers, text, **shape), x), np.concatenate([y[:, 2:], z[:, 2:]], 1))


def test_shortcut() -> None:
    x = picture(1, 4, 4, 4)
    shape = {"channels": 4, "height": 4, "width": 4}
    layers = ("activation activation=tanh", "activation activation=relu")
    y, z = np.tanh(x), np.maximum(np.tanh(x), 0)
    cfg = config(*layers, "shortcut from=0 activation=leaky", **shape)
    close(one(cfg, x), np.where(y + z > 0, y + z, 0.1 * (y + z)))
    close(one(config(*layers, "shortcut from=-2,-2", **shape), x), z + y + y)


@pytest.mark.parametrize("rule", ["none", "relu", "softmax"])
@pytest.mark.parametrize("kind", ["per_feature", "per_channel"])
def test_weighted_shortcut(kind: str, rule: str) -> None:
    x = picture(1, 4, 4, 4)
    w = picture(2, 4 if kind == "per_channel" else 1)
    text = f"shortcut from=-2 weights_type={kind} weights_normalization={rule}"
    layers = ("activation activation=tanh", "activation activation=relu", text)
    factors = {"none": w, "relu": np.maximum(w, 1e-3), "softmax": np.exp(w - w.max(0))}[rule]
    if rule != "none":
        factors = factors / (factors.sum(0) + 1e-4)
    y = np.tanh(x)
    found = one(config(*layers, channels=4, height=4, width=4), x, w)
    column = (-1, 1, 1)
    close(found, np.maximum(y, 0) * factors[0].reshape(column) + y * factors[1].reshape(column))


def test_shortcut_of_other_shapes() -> None:
    """Channels beyond the layer's are left out, absent ones count as 0, pixels are skipped."""
    x, w, b = picture(1, 3, 8, 8), picture(5, 3, 1, 1), picture(5)
    layers = (
        "activation activation=tanh",
        "convolutional filters=5 size=1 stride=2 activation=linear",
        "shortcut from=0",
    )
    y = np.tanh(x)
    z = convolve(y, w, (2, 2)) + b[:, None, None]
    wanted = z.copy()
    wanted[:, :3] += y[:, :, ::2, ::2]
    close(one(config(*layers), x, b, w), wanted)
    narrow, few = picture(2, 3, 1, 1), picture(2)
    layers = (layers[0], "convolutional filters=2 size=1 activation=linear", "shortcut from=0")
    z = convolve(y, narrow) + few[:, None, None]
    close(one(config(*layers), x, few, narrow), z + y[:, :2])


def test_scale_channels_and_sam() -> None:
    x = picture(1, 3, 8, 8)
    y = np.tanh(x)
    cfg = config("activation activation=tanh", "avgpool", "scale_channels from=0 activation=relu")
    close(one(cfg, x), np.maximum(y * y.mean((2, 3), keepdims=True), 0))
    w, b = picture(1, 3, 1, 1), picture(1)
    layers = (
        "activation activation=tanh",
        "convolutional filters=1 size=1 activation=logistic",
        "scale_channels from=-2 scale_wh=1",
    )
    close(one(config(*layers), x, b, w), y * _sigmoid(convolve(y, w) + b))
    cfg = config("activation activation=tanh", "activation activation=relu", "sam from=-2")
    close(one(cfg, x), y * np.maximum(y, 0))


def test_learned_numbers() -> None:
    x, w, v = picture(1, 3, 8, 8), picture(3), picture(3)
    cfg = config(
        "implicit filters=3",
        "implicit filters=3",
        "route layers=1",
        "activation activation=linear",
    )
    close(one(cfg, x, w, v), v.reshape(1, 3, 1, 1))
    cfg = config(
        "activation activation=tanh",
        "implicit filters=3",
        "route layers=0",
        "shift_channels from=1",
        "control_channels from=1",
    )
    column = w.reshape(1, 3, 1, 1)
    close(one(cfg, x, w), (np.tanh(x) + column) * column)


def test_upsample() -> None:
    x = picture(1, 3, 8, 8)
    close(one(config("upsample stride=2 scale=0.5"), x), x.repeat(2, 2).repeat(2, 3) * 0.5)
    close(one(config("upsample stride=-2"), x), x.reshape(1, 3, 4, 2, 4, 2).sum((3, 5)))
    close(one(config("upsample stride=1", "activation activation=relu"), x), np.maximum(x, 0))


def darknet_reorg(x: np.ndarray, stride: int, forward: bool) -> np.ndarray:
    """Darknet's loop, which takes the operand's sizes for the smaller picture's."""
    _, channels, height, width = x.shape
    flat, out = x.ravel(), np.zeros(x.size, np.float32)
    deep = channels // stride**2
    for k in range(channels):
        for j in range(height):
            for i in range(width):
                near = i + width * (j + height * k)
                column = i * stride + k // deep % stride
                row = j * stride + k // deep // stride
                far = column + width * stride * (row + height * stride * (k % deep))
                if forward:
                    out[far] = flat[near]
                else:
                    out[near] = flat[far]
    return out


def test_reorg() -> None:
    x = picture(1, 8, 4, 6)
    shape = {"channels": 8, "height": 4, "width": 6}
    close(
        one(config("reorg stride=2", **shape), x), darknet_reorg(x, 2, False).reshape(1, 32, 2, 3)
    )
    close(
        one(config("reorg stride=2 reverse=1", **shape), x),
        darknet_reorg(x, 2, True).reshape(1, 2, 8, 12),
    )
    y = one(config("reorg3d stride=2", **shape), x)
    close(y[:, 8:16], x[:, :, ::2, 1::2])
    close(y[:, 16:24], x[:, :, 1::2, ::2])
    close(one(config("reorg3d stride=2", "reorg3d stride=2 reverse=1", **shape), x), x)
    close(
        one(config("reorg stride=2 flatten=1", **shape), x),
        x.transpose(0, 2, 3, 1).reshape(1, 32, 2, 3),
    )


def test_crop() -> None:
    x = picture(1, 3, 8, 8)
    close(one(config("crop crop_height=4 crop_width=5"), x), x[:, :, 2:6, 1:6] * 2 - 1)
    cfg = config("crop crop_height=4 crop_width=5 noadjust=1 flip=1", "dropout")
    close(one(cfg, x), x[:, :, 2:6, 1:6])


def test_heads_are_outputs_wherever_they_stand() -> None:
    x, w, b = picture(1, 3, 4, 4), picture(14, 3, 1, 1), picture(14)
    cfg = config(
        "convolutional filters=14 size=1 activation=linear",
        "yolo mask=0,1 num=6 classes=2 anchors=1,2,3,4",
        "route layers=0",
        "region num=2 classes=2 coords=4",
        "route layers=1",
        "avgpool",
        "cost type=sse",
        height=4,
        width=4,
    )
    graph, (first, second, third) = run(cfg, weights(b, w), x)
    assert [v.name for v in graph.outputs] == ["yolo_1", "region_3", "avgpool_5"]
    wanted = convolve(x, w) + b[:, None, None]
    close(first, wanted)
    close(second, wanted)
    close(third, wanted.mean((2, 3), keepdims=True))


def test_first_yolos_head() -> None:
    """Classes of all cells come first."""
    count = 2 * 2 * (3 + 2 * 5)
    x = picture(1, count, 1, 1)
    shape = {"channels": count, "height": 1, "width": 1}
    text = "detection side=2 classes=3 num=2 coords=4"
    close(one(config("activation activation=linear", text, **shape), x), x)
    found = one(config("activation activation=linear", f"{text} softmax=1", **shape), x).ravel()
    likely = np.exp(x.ravel()[:12].reshape(4, 3))
    close(found[:12].reshape(4, 3), likely / likely.sum(1, keepdims=True))
    close(found[12:], x.ravel()[12:])


def test_shapes_can_be_changed() -> None:
    x = picture(3, 3, 5, 9)
    w, b = picture(2, 3, 3, 3), picture(2)
    found = one(config("convolutional filters=2 size=3 pad=1 activation=linear"), x, b, w)
    assert found.shape == (3, 2, 5, 9)
    close(found, convolve(x, w, pad=1) + b[:, None, None])
