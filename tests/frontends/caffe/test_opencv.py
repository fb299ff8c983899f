"""Single layers against OpenCV, which reads Caffe's files itself."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.frontends import caffe
from nntc.ir import interpret
from tests.frontends.caffe.make import inputs, layer, model

RNG = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


# (type, options, blobs, shape of the bottom); OpenCV has defaults of its own.
CASES = [
    ("LRN", "lrn_param { local_size: 5 alpha: 0.5 }", [], (1, 7, 6, 6)),
    ("LRN", "lrn_param { local_size: 3 alpha: 2 norm_region: WITHIN_CHANNEL }", [], (1, 7, 6, 6)),
    ("Normalize", "norm_param { across_spatial: false }", [numbers(1)], (1, 4, 5, 6)),
    ("ELU", "", [], (1, 4, 5, 6)),
    ("Power", "power_param { power: 2 scale: 0.5 shift: 1 }", [], (1, 4, 5, 6)),
    ("ShuffleChannel", "shuffle_channel_param { group: 2 }", [], (1, 4, 5, 6)),
    ("Reorg", "reorg_param { stride: 2 }", [], (1, 8, 4, 6)),
    (
        "Deconvolution",
        "convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 4 }",
        [numbers(4, 1, 4, 4), numbers(4)],
        (1, 4, 5, 6),
    ),
    ("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }", [], (1, 4, 7, 8)),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", [], (1, 4, 8, 7)),
    ("Flatten", "flatten_param { axis: 2 }", [], (1, 4, 5, 6)),
    (
        "InnerProduct",
        "inner_product_param { num_output: 3 axis: 2 }",
        [numbers(3, 30), numbers(3)],
        (2, 4, 5, 6),
    ),
    ("BNLL", "", [], (1, 4, 5, 6)),
    ("Exp", "", [], (1, 4, 5, 6)),
    ("TanH", "", [], (1, 4, 5, 6)),
    ("Interp", "interp_param { height: 9 width: 11 }", [], (1, 4, 5, 6)),
    ("Softmax", "softmax_param { axis: 2 }", [], (1, 4, 5, 6)),
    ("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", [], (1, 4, 5, 6)),
    ("PReLU", "", [numbers(4)], (1, 4, 5, 6)),
]


@pytest.mark.parametrize(("kind", "options", "blobs", "shape"), CASES, ids=lambda v: str(v)[:30])
def test_equals_opencv(
    kind: str, options: str, blobs: list[np.ndarray], shape: tuple[int, ...]
) -> None:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("this OpenCV reads no Caffe files")
    text = (inputs(x=shape) + layer(kind, options, name="it")).encode()
    weights = model({"it": blobs or [np.zeros(1)]})
    x = numbers(*shape)
    found = interpret.run(caffe.load(text, weights), {"x": x})["y"]
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text, np.uint8), np.frombuffer(weights, np.uint8))
    net.setInput(x)
    wanted = net.forward("it")
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
