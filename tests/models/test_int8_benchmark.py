"""The benchmark of int8 accuracy measures what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")
pytest.importorskip("PIL")

from benchmarks import calibration_sets, int8_networks
from benchmarks.darknet_onnx import convert, sections
from benchmarks.drawn_text import line_of_text, page_of_text
from benchmarks.int8_networks import CASES, bmodel_outputs, distance, fp32_outputs

from tests.models import text

CONFIG = """
[net]
channels=2
height=4
width=4
[convolutional]
batch_normalize=1
filters=3
size=3
stride=1
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
filters=2
size=1
stride=1
pad=1
activation=linear
[avgpool]
[softmax]
"""


def test_distance() -> None:
    fp32 = [{"y": np.array([3.0, 4])}, {"y": np.array([0.0, 5])}]
    assert str(distance(fp32, fp32)) == "1.0000 | inf"
    turned = [{"y": np.array([4.0, -3])}, {"y": np.array([0.0, 10])}]
    found = distance(turned, fp32)
    assert found.cosine == pytest.approx(0.5)
    assert found.sqnr == pytest.approx(10 * np.log10(50 / 75))
    nothing = [{"y": np.zeros(2)}, {"y": np.zeros(2)}]
    assert distance(nothing, fp32).cosine == 0


def test_outputs_are_told_apart_by_their_sizes() -> None:
    like = {"scores": np.zeros((1, 2, 2)), "boxes": np.zeros((1, 2, 4))}
    found = {"a": np.arange(8).reshape(1, 2, 4, 1), "b": np.arange(4)}
    renamed = int8_networks._renamed(found, like)
    assert renamed["boxes"].ravel().tolist() == list(range(8))
    assert renamed["scores"].shape == (1, 2, 2)
    with pytest.raises(SystemExit, match="no output has the shape"):
        int8_networks._renamed({"a": np.arange(8)}, like)


def test_boxes_are_paired_once() -> None:
    expected = np.array([[0, 0, 10, 10, 0.9], [20, 20, 30, 30, 0.9]], np.float32)
    boxes = np.array([[1, 0, 11, 10, 0.8], [0, 1, 10, 11, 0.7]], np.float32)
    pairs = int8_networks._pairs(boxes, expected)
    assert [(a[0], b[0]) for a, b in pairs] == [(1, 0)]


def test_darknet_networks_become_onnx(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    bias, gain, mean = rng.normal(size=(3, 3)).astype(np.float32)
    variance = rng.uniform(0.5, 2, 3).astype(np.float32)
    kernel = rng.normal(size=(3, 2, 3, 3)).astype(np.float32)
    last_bias, last = np.float32([1, -1]), rng.normal(size=(2, 3, 1, 1)).astype(np.float32)
    config, weights = tmp_path / "net.cfg", tmp_path / "net.weights"
    config.write_text(CONFIG)
    numbers = [bias, gain, mean, variance, kernel, last_bias, last]
    weights.write_bytes(bytes(16) + b"".join(a.tobytes() for a in numbers))

    image = rng.normal(size=(1, 2, 4, 4)).astype(np.float32)
    padded = np.pad(image[0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    sums = np.einsum("chwij,ocij->ohw", windows, kernel)
    scale = (gain / np.sqrt(variance))[:, None, None]
    normal = (sums - mean[:, None, None]) * scale + bias[:, None, None]
    leaky = np.maximum(normal, 0.1 * normal)
    pooled = leaky.reshape(3, 2, 2, 2, 2).max((2, 4)).mean((1, 2))
    logits = last[:, :, 0, 0] @ pooled + last_bias
    expected = np.exp(logits) / np.exp(logits).sum()

    import onnxruntime

    session = onnxruntime.InferenceSession(convert(config, weights).SerializeToString())
    found = session.run(None, {"data": image})[0]
    np.testing.assert_allclose(found[0], expected, rtol=1e-4)
    assert [kind for kind, _ in sections(CONFIG)].count("convolutional") == 2

    weights.write_bytes(weights.read_bytes() + bytes(4))
    with pytest.raises(ValueError, match="1 numbers are left over"):
        convert(config, weights)


@pytest.mark.parametrize("draw", [page_of_text, line_of_text])
def test_drawn_text_is_the_same_each_time(draw) -> None:
    background = np.full((300, 400, 3), 90, np.uint8)
    for under in (None, background):
        first = [draw(rng, under) for rng in (np.random.default_rng(5),) for _ in range(6)]
        again = [draw(rng, under) for rng in (np.random.default_rng(5),) for _ in range(6)]
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert max(picture.std() for picture in first) > 10


@pytest.mark.parametrize("name", ["face/zidane.jpg", "ocr/en.jpg", "imagenet/a.jpg"])
def test_tested_pictures_calibrate_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="is tested"):
        calibration_sets.photo(tmp_path, name)


def test_calibration_sets(shared_dir: Path) -> None:
    images = shared_dir / "models" / "images"
    sizes = {"faces": (240, 320), "pages": (text.PAGE, text.PAGE), "lines": (48, 320)}
    for name, make in calibration_sets.SETS.items():
        shapes = {picture.shape[:2] for picture in make(images)}
        if name == "objects":
            assert all(min(shape) == 256 and max(shape) <= 640 for shape in shapes)
        else:
            assert shapes == {sizes[name]}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_preprocessing_as_text_is_the_preprocessing_of_the_test(case) -> None:
    import cv2

    from nntc.data.preprocess import Preprocess

    height, width = case.shape[2:] or ((240, 320) if case.calibration == "faces" else (256, 301))
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    png = cv2.imencode(".png", picture)[1].tobytes()
    found = Preprocess.parse(case.preprocess).picture(png)
    np.testing.assert_allclose(found, case.array(picture), rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_fp32_reaches_what_is_known(case, shared_dir: Path) -> None:
    samples = case.samples(shared_dir, 4)
    found = fp32_outputs(case, shared_dir, samples)
    score = case.score(shared_dir, [name for name, _ in samples], found, found)
    expected = {
        "efficientnet_lite0": "3 of 4 right, 4 as fp32",
        "tiny_darknet": "4 of 4 right, 4 as fp32",
        "rfb_320": "1, 1, 2, 2 faces, 0 lost, 0 extra, corners moved up to 0.0 px",
        "rfb_320_simplified": "1, 1, 2, 2 faces, 0 lost, 0 extra, corners moved up to 0.0 px",
        "ppocr_v4_det": "18, 7, 11 regions, IoU 1.0000, 1.0000, 1.0000",
        "ppocr_v4_rec": "2 of 2 exact: " + " / ".join(f"“{s}”" for s in text.LINES.values()),
    }
    assert score == expected[case.name]


@pytest.mark.slow
def test_a_compiled_network_is_compared(shared_dir: Path, tmp_path: Path) -> None:
    from nntc import api

    case = CASES["rfb_320_simplified"]
    samples = case.samples(shared_dir, 1)
    fp32 = fp32_outputs(case, shared_dir, samples)
    path = tmp_path / "net.bmodel"
    api.compile(case.onnx(shared_dir), path, net_name=case.name)
    far = distance(bmodel_outputs(path, samples, fp32[0]), fp32)
    assert far.cosine > 0.999999
    assert far.sqnr > 80
