"""Trained networks as read, against OpenCV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nntc import api
from nntc.ir import interpret

# Network → output: OpenCV's layer. MTCNN, YOLO and others are in tests/models.
NETWORKS = {
    "landmark106/landmark106": {"bn6_3": "bn6_3_scale"},
    "samplenet/SampLeNet": {"fc3": "fc3"},
    "ultralight_rfb_320/RFB-320": {"scores": "scores", "boxes": "boxes"},
    "tiny_darknet/tiny_darknet": {"prob": "prob"},
    "wechat_qr_detect/detect": {"mbox_loc": "mbox_loc", "mbox_conf_flatten": "mbox_conf_flatten"},
    "mtcnn/det3": {"prob1": "prob1", "conv6-2": "conv6-2", "conv6-3": "conv6-3"},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_opencv(shared_dir: Path, name: str) -> None:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("this OpenCV reads no Caffe files")
    path = shared_dir / "models" / "caffe" / f"{name}.prototxt"
    graph = api.load(path, output_names=list(NETWORKS[name]))
    (source,) = graph.inputs
    x = np.random.default_rng(0).random(source.shape, np.float32)
    found = interpret.run(graph, {source.name: x})
    net = cv2.dnn.readNetFromCaffe(str(path), str(path.with_suffix(".caffemodel")))
    net.setInput(x)
    for output, other in NETWORKS[name].items():
        wanted = net.forward(other)
        assert found[output].size == wanted.size
        a, b = (v.ravel().astype(np.float64) for v in (found[output], wanted))
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) >= 0.999999
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(b).max())
