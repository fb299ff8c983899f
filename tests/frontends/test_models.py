"""Real trained models, where the folder of models lies beside the checkout."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nntc.frontends.onnx import load
from nntc.passes import simplify
from tests.frontends.agree import agree, random_inputs

MODELS: dict[str, tuple[str, list[list[int]] | None]] = {
    "efficientnet": ("efficientnet_lite0/efficientnet_lite0.onnx", None),
    "samplenet": ("samplenet/samplenet.onnx", None),
    "rfb": ("ultralight_rfb_320/version-RFB-320.onnx", None),
    "rfb_simplified": ("ultralight_rfb_320/version-RFB-320_simplified.onnx", None),
    "pnet": ("mtcnn/pnet.onnx", [[1, 60, 80, 3]]),
    "rnet": ("mtcnn/rnet.onnx", [[3, 24, 24, 3]]),
    "onet": ("mtcnn/onet.onnx", [[2, 48, 48, 3]]),
    "ppocr_rec": ("ppocr_v4_rec/ch_PP-OCRv4_rec_infer.onnx", [[1, 3, 48, 320]]),
    "ppocr_det": ("ppocr_v4_det/ch_PP-OCRv4_det_infer.onnx", [[1, 3, 640, 640]]),
    "silero": ("silero_vad/silero_vad_16k_op15.onnx", [[1, 576], [2, 1, 128], []]),
}
# Operators that shape arithmetic and exporters' habits must not leave behind.
COUNTS: dict[str, dict[str, int]] = {
    "efficientnet": {"Conv": 49, "Pad": 0, "Reshape": 1, "Transpose": 0, "Slice": 0},
    "rfb": {"Conv": 52, "BatchNorm": 0, "Transpose": 8, "Reshape": 8},
    "rnet": {"Transpose": 1},
    "onet": {"Transpose": 1},
    "ppocr_rec": {"LayerNorm": 5, "BatchNorm": 0},
    "ppocr_det": {"Conv": 62, "BatchNorm": 0, "Clip": 0},
    "silero": {"MatMul": 2, "Cast": 0},
}


def folder(shared_dir: Path, name: str) -> Path:
    return shared_dir / "models" / "onnx" / MODELS[name][0]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "ppocr_det" else n for n in MODELS]
)
def test_equals_onnx_runtime(shared_dir: Path, name: str) -> None:
    path, shapes = folder(shared_dir, name), MODELS[name][1]
    inputs = random_inputs(load(path, shapes))
    if name == "silero":
        inputs["sr"] = np.array(16000, np.int64)
    if name == "ppocr_det":
        # On noise every pixel is far from text, and the runtime's own sigmoid is off by 1e-7.
        inputs["x"] = _page(shared_dir)
    graph = agree(path, shapes, inputs, 1e-4)
    counts = Counter(node.op.name for node in graph.nodes)
    for op, wanted in COUNTS.get(name, {}).items():
        assert counts[op] == wanted, op


def _page(shared_dir: Path) -> np.ndarray:
    image_module = pytest.importorskip("PIL.Image")
    files = sorted((shared_dir / "models" / "images").glob("ocr*/*.jpg"))
    if not files:
        pytest.skip("no page of text")
    image = image_module.open(files[0]).convert("RGB").resize((640, 640))
    data = np.asarray(image, np.float32) / 255
    return ((data - 0.5) / 0.5).transpose(2, 0, 1)[None].copy()


def test_inputs_and_outputs_keep_their_names(shared_dir: Path) -> None:
    graph = simplify(load(folder(shared_dir, "silero"), MODELS["silero"][1]))
    assert [v.name for v in graph.inputs] == ["input", "state", "sr"]
    assert [v.name for v in graph.outputs] == ["output", "stateN"]


def test_efficientnet_loads_fast(shared_dir: Path) -> None:
    """The target is 1.5 s on one core; the limit leaves room for a busy machine."""
    start = time.process_time()
    simplify(load(folder(shared_dir, "efficientnet")))
    assert time.process_time() - start < 1.5
