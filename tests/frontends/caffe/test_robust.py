"""Damaged files: whatever is in them, the outcome is a graph or one of our messages."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator

import numpy as np
import pytest

from nntc.core.errors import UserError
from nntc.frontends.caffe import load
from nntc.ir.verify import verify
from tests.frontends.caffe.make import inputs, layer, model

SECONDS = 10
NUMBERS = ("0", "-1", "1", "2", "7", "65536", "2147483647", "-2147483648", "1e9", "1e99", "x", "{")
RNG = np.random.default_rng(8)


def _blobs(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [RNG.uniform(0.5, 1, shape).astype(np.float32) for shape in shapes]


DETECTOR = (
    inputs(x=(1, 3, 16, 16))
    + layer("Convolution", "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }", "x", "c")
    + layer("BatchNorm", "batch_norm_param { eps: 0.001 }", "c", "c")
    + layer("Scale", "scale_param { bias_term: true }", "c", "c")
    + layer("PReLU", "", "c", "c")
    + layer("Pooling", "pooling_param { pool: MAX kernel_size: 3 stride: 2 }", "c", "p")
    + layer("PriorBox", "prior_box_param { min_size: 4 aspect_ratio: 2 }", "p x", "prior")
    + layer("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", "p", "q")
    + layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }", "q", "flat")
    + layer("InnerProduct", "inner_product_param { num_output: 768 }", "flat", "loc")
    + layer("Slice", "slice_param { axis: 1 slice_point: 384 }", "loc", "s t")
    + layer("DetectionOutput", "detection_output_param { num_classes: 2 keep_top_k: 5 }",
            "loc s prior", "boxes")
    + layer("LRN", "lrn_param { local_size: 3 }", "p", "n")
    + layer("Deconvolution", "convolution_param { num_output: 2 kernel_size: 2 stride: 2 }",
            "n", "d")
    + layer("Crop", "crop_param { axis: 2 offset: 0 }", "d p", "e")
    + layer("Interp", "interp_param { zoom_factor: 2 }", "e", "f")
    + layer("Eltwise", "eltwise_param { operation: MAX }", "f f", "g")
)  # fmt: skip
BLOBS = {
    "Convolution": _blobs((4, 3, 3, 3), (4,)),
    "BatchNorm": _blobs((4,), (4,), (1,)),
    "Scale": _blobs((4,), (4,)),
    "PReLU": _blobs((4,)),
    "InnerProduct": _blobs((768, 256), (768,)),
    "Deconvolution": _blobs((4, 2, 2, 2), (2,)),
}


def mutations(count: int, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Damaged copies of the network and its weights."""
    rng = random.Random(seed)
    text, data = DETECTOR.encode(), model(BLOBS)
    for _ in range(count):
        kind = rng.randrange(5)
        if kind == 0:
            yield text, data[: rng.randrange(len(data))]
        elif kind == 1:
            # Near the beginning are names, shapes and lengths.
            spoilt = bytearray(data)
            for _ in range(rng.choice((1, 2, 8))):
                spoilt[rng.randrange(rng.choice((200, len(spoilt))))] = rng.randrange(256)
            yield text, bytes(spoilt)
        elif kind == 2:
            spoilt = bytearray(text)
            for _ in range(rng.choice((1, 2, 8))):
                spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
            yield bytes(spoilt), data
        elif kind == 3:
            yield text[: rng.randrange(len(text))], data
        else:
            parts = re.split(r"(?<=: )(-?[\w.]+)", DETECTOR)
            for _ in range(rng.choice((1, 1, 3))):
                parts[rng.randrange(1, len(parts), 2)] = rng.choice(NUMBERS)
            yield "".join(parts).encode(), data


def check(text: bytes, data: bytes) -> bool:
    """Load; True if it gave a graph. Anything but our own errors is let through."""
    start = time.monotonic()
    problems: list[str] = []
    try:
        verify(load(text, data, strict=True))
    except UserError as err:
        problems = err.problems
        assert problems
    assert time.monotonic() - start < SECONDS
    assert all(line and "\n" not in line for line in problems)
    return not problems


def test_the_whole_network_is_good() -> None:
    graph = load(DETECTOR.encode(), model(BLOBS))
    verify(graph)
    assert [v.name for v in graph.outputs] == ["boxes", "g", "t"]


def test_mutations() -> None:
    good = sum(check(*pair) for pair in mutations(300, seed=4))
    # Some damage does not matter, most does.
    assert 0 < good < 200


@pytest.mark.slow
def test_many_mutations() -> None:
    for pair in mutations(3000, seed=5):
        check(*pair)


def test_many_layers_take_no_long() -> None:
    start = time.monotonic()
    text = inputs(x=(1, 1)) + layer("ReLU", "", "x", "x", "r") * 5000
    load(text.encode())
    assert time.monotonic() - start < SECONDS
