"""Trained networks, compiled here, on every path, and against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nntc import api
from nntc.ir.graph import Graph
from tests.conformance.agree import FAST, REFERENCE, assert_agreement, outputs_on_every_path

NETWORKS: dict[str, tuple[str, list[tuple[int, ...]] | None]] = {
    "samplenet": ("samplenet/samplenet.onnx", None),
    "ultralight": ("ultralight_rfb_320/version-RFB-320.onnx", None),
    "ultralight_simplified": ("ultralight_rfb_320/version-RFB-320_simplified.onnx", None),
    "mtcnn_p": ("mtcnn/pnet.onnx", [(1, 96, 128, 3)]),
    "mtcnn_r": ("mtcnn/rnet.onnx", [(4, 24, 24, 3)]),
    "mtcnn_o": ("mtcnn/onet.onnx", [(2, 48, 48, 3)]),
    "efficientnet_lite0": ("efficientnet_lite0/efficientnet_lite0.onnx", None),
    "ppocr_v4_rec": ("ppocr_v4_rec/ch_PP-OCRv4_rec_infer.onnx", [(1, 3, 48, 320)]),
    "ppocr_v4_det": ("ppocr_v4_det/ch_PP-OCRv4_det_infer.onnx", [(1, 3, 640, 640)]),
    "silero_vad": ("silero_vad/silero_vad_16k_op15.onnx", [(1, 576), (2, 1, 128), ()]),
}
"""Name → file in the folder of models, shapes of the inputs that the file leaves open."""

SMALL = ("samplenet", "mtcnn_r", "mtcnn_o")
"""Networks that the reference engine, too, runs in a few seconds."""


def network_inputs(graph: Graph) -> dict[str, np.ndarray]:
    """Numbers like those of pictures and sounds; silero_vad's one integer is the sample rate."""
    generator = np.random.default_rng(11)
    return {
        value.name: generator.standard_normal(value.shape).astype(np.float32)
        if value.dtype.is_float
        else np.full(value.shape, 16000, value.dtype.numpy)
        for value in graph.inputs
    }


def assert_close(expected: np.ndarray, found: np.ndarray) -> None:
    """Cosine at least 0.999999, and no element off by more than 1e-4 of the range."""
    a, b = expected.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    assert a.size == b.size
    # A lone probability near 0 has no range of its own.
    assert np.abs(a - b).max() <= 1e-4 * max(np.ptp(a), np.abs(a).max(), 1e-3)
    assert a @ b >= 0.999999 * np.sqrt((a @ a) * (b @ b))


@pytest.mark.cmodel
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network(shared_dir: Path, cmodel_libs: Path, tmp_path: Path, name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    file, shapes = NETWORKS[name]
    source = shared_dir / "models" / "onnx" / file
    graph = api.load(source, shapes=shapes)
    inputs = network_inputs(graph)
    api.compile(graph, tmp_path / "net.bmodel", net_name=name)
    without = () if name in SMALL else (REFERENCE,)
    found = outputs_on_every_path(tmp_path / "net.bmodel", cmodel_libs, inputs, without=without)
    assert_agreement(found)
    session = onnxruntime.InferenceSession(source)
    names = [output.name for output in session.get_outputs()]
    for output, expected in zip(names, session.run(names, inputs), strict=True):
        assert_close(np.asarray(expected), found[FAST][output])
