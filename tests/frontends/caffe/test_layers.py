"""Every type of layer against its meaning in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.frontends.caffe.make import inputs, layer, one, run

RNG = np.random.default_rng(5)


def picture(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def column(data: np.ndarray) -> np.ndarray:
    return data.reshape(-1, 1, 1)


def convolve(x: np.ndarray, w: np.ndarray, stride: int = 1, pad: int = 0, dilation: int = 1):
    """One group, by its definition."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    reach = [dilation * (k - 1) + 1 for k in w.shape[2:]]
    rows, columns = ((n - r) // stride + 1 for n, r in zip(x.shape[2:], reach, strict=True))
    y = np.zeros((x.shape[0], w.shape[0], rows, columns))
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride, j * stride
            cut = x[:, :, top : top + reach[0] : dilation, left : left + reach[1] : dilation]
            y[:, :, i, j] = np.tensordot(cut, w, ((1, 2, 3), (1, 2, 3)))
    return y


def test_convolution() -> None:
    x, w, b = picture(2, 4, 9, 8), picture(6, 2, 3, 3), picture(6)
    options = "num_output: 6 kernel_size: 3 stride: 2 pad: 2 dilation: 2 group: 2"
    found = one(layer("Convolution", f"convolution_param {{ {options} }}"), [w, b], x=x)
    parts = [convolve(x[:, i : i + 2], w[j : j + 3], 2, 2, 2) for i, j in ((0, 0), (2, 3))]
    close(found, np.concatenate(parts, 1) + column(b))


def test_convolution_per_axis_and_depthwise() -> None:
    x, w = picture(1, 3, 7, 8), picture(3, 1, 3, 1)
    options = "num_output: 3 kernel_h: 3 kernel_w: 1 bias_term: false"
    text = layer("DepthwiseConvolution", f"convolution_param {{ {options} }}")
    parts = [convolve(x[:, i : i + 1], w[i : i + 1]) for i in range(3)]
    close(one(text, [w], x=x), np.concatenate(parts, 1))
    options = "num_output: 2 kernel_size: 3 kernel_size: 2 bias_term: false"
    w = picture(2, 3, 3, 2)
    close(one(layer("Convolution", f"convolution_param {{ {options} }}"), [w], x=x), convolve(x, w))


def test_deconvolution() -> None:
    x, w, b = picture(1, 4, 3, 4), picture(4, 1, 4, 4), picture(2)
    options = "num_output: 2 kernel_size: 4 stride: 2 pad: 1 group: 2"
    found = one(layer("Deconvolution", f"convolution_param {{ {options} }}"), [w, b], x=x)
    y = np.zeros((1, 2, 8, 10))
    for c in range(4):
        for i in range(3):
            for j in range(4):
                y[0, c // 2, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += x[0, c, i, j] * w[c, 0]
    close(found, y[:, :, 1:-1, 1:-1] + column(b))


@pytest.mark.parametrize(("axis", "transposed"), [(1, False), (1, True), (2, False), (-1, False)])
def test_inner_product(axis: int, transposed: bool) -> None:
    x, b = picture(2, 3, 4, 5), picture(6)
    flat = x.reshape(*x.shape[:axis], -1)
    w = picture(6, flat.shape[-1])
    options = f"num_output: 6 axis: {axis} transpose: {str(transposed).lower()}"
    text = layer("InnerProduct", f"inner_product_param {{ {options} }}")
    close(one(text, [w.T if transposed else w, b], x=x), flat @ w.T + b)


def caffe_pool(x, kernel, stride, pad, method, ceil=True) -> np.ndarray:
    """Caffe's loop."""
    height, width = x.shape[2:]
    rounded = math.ceil if ceil else math.floor
    rows, columns = (rounded((n + 2 * pad - kernel) / stride) + 1 for n in (height, width))
    if pad:
        rows -= (rows - 1) * stride >= height + pad
        columns -= (columns - 1) * stride >= width + pad
    y = np.zeros((*x.shape[:2], rows, columns))
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride - pad, j * stride - pad
            bottom, right = min(top + kernel, height + pad), min(left + kernel, width + pad)
            size = (bottom - top) * (right - left)
            cut = x[:, :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
            y[:, :, i, j] = cut.max((2, 3)) if method == "MAX" else cut.sum((2, 3)) / size
    return y


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1), (5, 3, 2)]
)
@pytest.mark.parametrize("size", [(7, 8), (6, 9), (10, 11)])
def test_pooling(method: str, kernel: int, stride: int, pad: int, size: tuple[int, int]) -> None:
    x = picture(1, 2, *size)
    options = f"pool: {method} kernel_size: {kernel} stride: {stride} pad: {pad}"
    found = one(layer("Pooling", f"pooling_param {{ {options} }}"), x=x)
    close(found, caffe_pool(x, kernel, stride, pad, method))
    found = one(layer("Pooling", f"pooling_param {{ {options} round_mode: FLOOR }}"), x=x)
    close(found, caffe_pool(x, kernel, stride, pad, method, ceil=False))


def test_global_pooling() -> None:
    x = picture(2, 3, 5, 6)
    text = layer("Pooling", "pooling_param { pool: AVE global_pooling: true }")
    close(one(text, x=x), x.mean((2, 3), keepdims=True))
    text = layer("Pooling", "pooling_param { global_pooling: true }")
    close(one(text, x=x), x.max((2, 3), keepdims=True))


def test_spatial_pyramid() -> None:
    x = picture(2, 3, 8, 8)
    found = one(layer("SPP", "spp_param { pyramid_height: 3 }"), x=x)
    parts = [x.max((2, 3)).reshape(2, -1)]
    for bins in (2, 4):
        cells = x.reshape(2, 3, bins, 8 // bins, bins, 8 // bins).max((3, 5))
        parts.append(cells.reshape(2, -1))
    close(found, np.concatenate(parts, 1))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


ELEMENTWISE = {
    "ReLU": lambda x: np.maximum(x, 0),
    "ReLU relu_param { negative_slope: 0.2 }": lambda x: np.where(x > 0, x, 0.2 * x),
    "ReLU6": lambda x: np.clip(x, 0, 6),
    "ELU elu_param { alpha: 0.7 }": lambda x: np.where(x > 0, x, 0.7 * np.expm1(x)),
    "Sigmoid": sigmoid,
    "TanH": np.tanh,
    "AbsVal": np.abs,
    "BNLL": lambda x: np.log1p(np.exp(x)),
    "Mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "HSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Swish swish_param { beta: 2 }": lambda x: x * sigmoid(2 * x),
    "Clip clip_param { min: -0.5 max: 0.25 }": lambda x: np.clip(x, -0.5, 0.25),
    "Threshold threshold_param { threshold: 0.3 }": lambda x: (x > 0.3).astype(float),
    "Power power_param { power: 2 scale: 3 shift: 1 }": lambda x: (3 * x + 1) ** 2,
    "Power power_param { power: 3 }": lambda x: x**3,
    "Power power_param { power: 0 }": np.ones_like,
    "Power": lambda x: x,
    "Exp": np.exp,
    "Exp exp_param { base: 2 scale: 0.5 shift: 1 }": lambda x: 2 ** (0.5 * x + 1),
    "Log log_param { base: 10 scale: 0.1 shift: 5 }": lambda x: np.log10(0.1 * x + 5),
    "Dropout dropout_param { dropout_ratio: 0.5 }": lambda x: x,
    "Softmax": lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True),
    "Softmax softmax_param { axis: -1 }": lambda x: np.exp(x) / np.exp(x).sum(3, keepdims=True),
    "LogSoftmax": lambda x: x - np.log(np.exp(x).sum(1, keepdims=True)),
    "Reduction reduction_param { axis: 1 coeff: 2 }": lambda x: 2 * x.sum((1, 2, 3)),
    "Reduction reduction_param { operation: ASUM axis: -1 }": lambda x: np.abs(x).sum(3),
    "Reduction reduction_param { operation: SUMSQ }": lambda x: np.array((x**2).sum()),
    "Reduction reduction_param { operation: MEAN axis: 2 }": lambda x: x.mean((2, 3)),
    "Flatten": lambda x: x.reshape(2, -1),
    "Flatten flatten_param { axis: 2 end_axis: 3 }": lambda x: x.reshape(2, 4, 30),
    "Reshape reshape_param { shape { dim: 0 dim: -1 dim: 6 } }": lambda x: x.reshape(2, 20, 6),
    "Reshape reshape_param { shape { dim: 2 dim: -1 } axis: 1 num_axes: 1 }": lambda x: x.reshape(
        2, 2, 2, 5, 6
    ),
    "Reshape reshape_param { shape { dim: -1 } axis: -3 }": lambda x: x.reshape(2, 4, 30),
    "Permute permute_param { order: 0 order: 2 }": lambda x: x.transpose(0, 2, 1, 3),
    "Tile tile_param { axis: 2 tiles: 3 }": lambda x: np.tile(x, (1, 1, 3, 1)),
    "ShuffleChannel shuffle_channel_param { group: 2 }": lambda x: x[:, [0, 2, 1, 3]],
    "MVN": lambda x: (x - x.mean((2, 3), keepdims=True)) / (x.std((2, 3), keepdims=True) + 1e-9),
    "MVN mvn_param { normalize_variance: false across_channels: true }": lambda x: (
        x - x.mean((1, 2, 3), keepdims=True)
    ),
    "ArgMax argmax_param { axis: 1 }": lambda x: x.argmax(1)[:, None].astype(float),
    "ArgMax argmax_param { axis: 1 out_max_val: true }": lambda x: x.max(1, keepdims=True),
    "ArgMax": lambda x: x.reshape(2, -1).argmax(1).reshape(2, 1, 1).astype(float),
    "Upsample upsample_param { scale: 2 }": lambda x: x.repeat(2, 2).repeat(2, 3),
}


@pytest.mark.parametrize("text", ELEMENTWISE)
def test_one_bottom(text: str) -> None:
    kind, _, options = text.partition(" ")
    x = picture(2, 4, 5, 6)
    close(one(layer(kind, options), x=x), np.asarray(ELEMENTWISE[text](x.astype(np.float64))))


def test_arg_max_of_several() -> None:
    x = picture(2, 7)
    text = layer("ArgMax", "argmax_param { top_k: 3 out_max_val: true }")
    order = np.argsort(-x, 1)[:, :3]
    wanted = np.stack([order, np.take_along_axis(x, order, 1)], 1)
    close(one(text, x=x), wanted)


def test_prelu() -> None:
    x, slopes = picture(2, 4, 5, 6), picture(4)
    close(one(layer("PReLU"), [slopes], x=x), np.where(x > 0, x, x * column(slopes)))
    text = layer("PReLU", "prelu_param { channel_shared: true }")
    close(one(text, [slopes[:1]], x=x), np.where(x > 0, x, x * slopes[0]))


def test_batch_norm() -> None:
    x, mean, variance = picture(2, 4, 5, 6), picture(4), picture(4) ** 2
    found = one(layer("BatchNorm", "batch_norm_param { eps: 0.001 }"),
                [mean * 3, variance * 3, np.array([3.0])], x=x)  # fmt: skip
    close(found, (x - column(mean)) / np.sqrt(column(variance) + 0.001))


def test_scale_and_bias() -> None:
    x, factor, shift = picture(2, 4, 5, 6), picture(4), picture(4)
    text = layer("Scale", "scale_param { bias_term: true }")
    close(one(text, [factor, shift], x=x), x * column(factor) + column(shift))
    close(one(layer("Bias"), [shift], x=x), x + column(shift))
    wide = picture(5, 6)
    text = layer("Scale", "scale_param { axis: 2 num_axes: -1 }")
    close(one(text, [wide], x=x), x * wide)
    text = layer("Scale", "scale_param { axis: 0 }", "x z")
    z = picture(2, 4)
    close(one(text, x=x, z=z), x * z[:, :, None, None])
    text = layer("Bias", "bias_param { axis: 1 }", "x z")
    z = picture(4, 5)
    close(one(text, x=x, z=z), x + z[None, :, :, None])


def test_eltwise() -> None:
    x, z = picture(2, 4, 5, 6), picture(2, 4, 5, 6)
    for options, wanted in (
        ("", x + z),
        ("eltwise_param { operation: SUM coeff: 2 coeff: -1 }", 2 * x - z),
        ("eltwise_param { operation: PROD }", x * z),
        ("eltwise_param { operation: 2 }", np.maximum(x, z)),
    ):
        close(one(layer("Eltwise", options, "x z"), x=x, z=z), wanted)


def test_axpy_and_concat() -> None:
    x, z, a = picture(2, 4, 5, 6), picture(2, 4, 5, 6), picture(2, 4, 1, 1)
    close(one(layer("Axpy", "", "a x z"), a=a, x=x, z=z), a * x + z)
    close(one(layer("Concat", "", "x z"), x=x, z=z), np.concatenate([x, z], 1))
    text = layer("Concat", "concat_param { concat_dim: 0 }", "x z")
    close(one(text, x=x, z=z), np.concatenate([x, z], 0))


def test_slice_and_split() -> None:
    x = picture(2, 6, 3, 3)
    head = inputs(x=x.shape)
    options = "slice_param { slice_point: 1 slice_point: 4 }"
    found = run(head + layer("Slice", options, "x", "a b c"), x=x)[1]
    for name, wanted in zip("abc", (x[:, :1], x[:, 1:4], x[:, 4:]), strict=True):
        close(found[name], wanted)
    found = run(head + layer("Slice", "slice_param { axis: 0 }", "x", "a b"), x=x)[1]
    close(found["b"], x[1:])
    text = (
        layer("Split", "", "x", "a b") + layer("ReLU", "", "a", "a") + layer("TanH", "", "b", "b")
    )
    found = run(head + text, x=x)[1]
    close(found["a"], np.maximum(x, 0))
    close(found["b"], np.tanh(x))


def test_lrn() -> None:
    x = picture(2, 7, 5, 6)
    options = "local_size: 3 alpha: 0.5 beta: 0.75 k: 2"
    padded = np.pad(x.astype(float) ** 2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    total = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    close(one(layer("LRN", f"lrn_param {{ {options} }}"), x=x), x / (2 + 0.5 / 3 * total) ** 0.75)
    options = "local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL"
    norm = 1 + 0.5 * caffe_pool(x.astype(float) ** 2, 3, 1, 1, "AVE")
    close(one(layer("LRN", f"lrn_param {{ {options} }}"), x=x), x * norm**-0.75)


def test_normalize() -> None:
    x, factors = picture(2, 4, 5, 6), picture(4)
    options = "norm_param { across_spatial: false channel_shared: false }"
    norm = np.sqrt((x**2).sum(1, keepdims=True) + 1e-10)
    close(one(layer("Normalize", options), [factors], x=x), x / norm * column(factors))
    norm = np.sqrt((x**2).sum((1, 2, 3), keepdims=True) + 1e-10)
    close(one(layer("Normalize"), [factors[:1]], x=x), x / norm * factors[0])


def test_crop_and_interp() -> None:
    x, like = picture(1, 4, 9, 8), picture(1, 9, 5, 4)
    text = layer("Crop", "crop_param { axis: 2 offset: 1 offset: 3 }", "x like")
    close(one(text, x=x, like=like), x[:, :, 1:6, 3:7])
    rows, columns = np.linspace(0, 8, 17), np.linspace(0, 7, 15)
    wanted = np.stack(
        [np.interp(rows, np.arange(9), v) for v in x.transpose(0, 1, 3, 2).reshape(-1, 9)]
    )
    wanted = wanted.reshape(4, 8, 17).transpose(0, 2, 1).reshape(-1, 8)
    wanted = np.stack([np.interp(columns, np.arange(8), v) for v in wanted]).reshape(1, 4, 17, 15)
    for options in ("height: 17 width: 15", "zoom_factor: 2"):
        close(one(layer("Interp", f"interp_param {{ {options} }}"), x=x), wanted)
    text = layer("Interp", "interp_param { shrink_factor: 2 pad_end: -1 }")
    assert one(text, x=x).shape == (1, 4, 4, 4)


def test_reorg() -> None:
    """Equal to Darknet's; only the way back is plain."""
    x = picture(1, 8, 4, 6)
    y = one(layer("Reorg", "reorg_param { stride: 2 reverse: true }"), x=x)
    assert y.shape == (1, 2, 8, 12)
    close(y[:, :, 1::2, ::2], x[:, 4:6])
    assert one(layer("Reorg", "reorg_param { stride: 2 }"), x=x).shape == (1, 32, 2, 3)


def test_embed_and_parameter() -> None:
    table, shift = picture(5, 3), picture(3)
    x = np.array([[1, 4], [0, 2]], np.float32)
    text = layer("Embed", "embed_param { input_dim: 5 num_output: 3 }")
    close(one(text, [table, shift], x=x), table[x.astype(int)] + shift)
    z = picture(2, 3)
    text = layer("Parameter", "parameter_param { shape { dim: 2 dim: 3 } }", "", "p")
    text += layer("Eltwise", "", "x p")
    (found,) = run(inputs(x=(2, 3)) + text, {"Parameter": [z]}, x=z)[1].values()
    close(found, z + z)
    options = "dummy_data_param { shape { dim: 2 dim: 3 } data_filler { value: 2 } }"
    text = layer("DummyData", options, "", "p")
    (found,) = run(inputs(x=(2, 3)) + text + layer("Eltwise", "", "x p"), x=z)[1].values()
    close(found, z + 2)


def test_prior_boxes() -> None:
    x, image = picture(1, 3, 2, 3), picture(1, 3, 40, 60)
    options = """prior_box_param { min_size: 10 max_size: 20 aspect_ratio: 2 clip: true
                 variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }"""
    text = layer("PriorBox", options, "x image") + layer("Eltwise", "", "y z", "w")
    head = inputs(x=x.shape, image=image.shape, z=(1, 2, 96))
    zero = np.zeros((1, 2, 96), np.float32)
    (found,) = run(head + text, z=zero, x=x, image=image)[1].values()
    assert found.shape == (1, 2, 96)
    boxes = found[0, 0].reshape(2, 3, 4, 4)
    root = math.sqrt(2)
    for row in range(2):
        for place in range(3):
            x0, y0 = (place + 0.5) * 20, (row + 0.5) * 20
            for box, (w, h) in zip(
                boxes[row, place],
                ((10, 10), (200**0.5, 200**0.5), (10 * root, 10 / root), (10 / root, 10 * root)),
                strict=True,
            ):
                corners = [
                    (x0 - w / 2) / 60,
                    (y0 - h / 2) / 40,
                    (x0 + w / 2) / 60,
                    (y0 + h / 2) / 40,
                ]
                np.testing.assert_allclose(box, np.clip(corners, 0, 1), atol=1e-6)
    np.testing.assert_allclose(found[0, 1].reshape(-1, 4)[7], [0.1, 0.1, 0.2, 0.2])


def test_detection_output() -> None:
    """Two boxes of one class that overlap: the better one stays."""
    priors = np.array([[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.6], [0.6, 0.6, 0.9, 0.9]])
    priors = np.concatenate([priors.reshape(-1), np.tile([0.1, 0.1, 0.2, 0.2], 3)])
    options = """detection_output_param { num_classes: 2 code_type: CENTER_SIZE keep_top_k: 5
                 nms_param { nms_threshold: 0.5 top_k: 10 } confidence_threshold: 0.3 }"""
    scores = np.array([[0.2, 0.8, 0.1, 0.9, 0.6, 0.4]], np.float32)
    found = one(
        layer("DetectionOutput", options, "l s p"),
        l=np.zeros((1, 12), np.float32),
        s=scores,
        p=priors.reshape(1, 2, 12).astype(np.float32),
    )
    assert found.shape == (1, 1, 3, 7)
    np.testing.assert_allclose(found[0, 0, 0], [0, 1, 0.9, 0.1, 0.1, 0.5, 0.6], atol=1e-6)
    np.testing.assert_allclose(found[0, 0, 1], [0, 1, 0.4, 0.6, 0.6, 0.9, 0.9], atol=1e-6)
    np.testing.assert_array_equal(found[0, 0, 2], -1)


def test_roi_pooling() -> None:
    x = picture(2, 3, 8, 8)
    rois = np.array([[0, 0, 0, 7, 7], [1, 4, 4, 11, 11]], np.float32)
    options = "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }"
    found = one(layer("ROIPooling", options, "x r"), x=x, r=rois)
    # 0 ... 7 times a half is 0 ... 3.5, rounded to 4: five pixels, in cells of 2.5 that overlap.
    close(found[0, :, 0, 0], x[0, :, 0:3, 0:3].max((1, 2)))
    close(found[0, :, 1, 1], x[0, :, 2:5, 2:5].max((1, 2)))
    close(found[1, :, 1, 0], x[1, :, 4:7, 2:5].max((1, 2)))
