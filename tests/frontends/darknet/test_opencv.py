"""Networks with random weights against OpenCV, which reads Darknet's files itself."""

from __future__ import annotations

import numpy as np
import pytest

from tests.frontends.darknet.make import config, random_weights, run

CONV = "convolutional filters={} size={} stride={} pad=1 batch_normalize=1 activation={}"


def conv(
    filters: int, size: int, stride: int = 1, activation: str = "leaky", more: str = ""
) -> str:
    return f"{CONV.format(filters, size, stride, activation)} {more}"


NETWORKS = {
    "classifier": (
        conv(8, 3),
        "maxpool size=2 stride=2",
        conv(12, 3, activation="relu"),
        "maxpool size=2 stride=1",
        conv(10, 1, activation="linear"),
        "avgpool",
        "softmax",
    ),
    "two heads": (
        conv(8, 3, 2, "mish"),
        conv(8, 3, 1, "swish", "groups=8"),
        "shortcut from=-2 activation=linear",
        "dropout probability=.2",
        conv(16, 3, 2, "mish"),
        "maxpool size=5 stride=1",
        "route layers=-2",
        "maxpool size=9 stride=1",
        "route layers=-1,-3,-4",
        conv(6, 1),
        "upsample stride=2",
        "route layers=-1,2",
        "convolutional filters=5 size=3 pad=1 activation=logistic",
    ),
    "cross stage": (
        conv(8, 3, 2),
        "route layers=-1 groups=2 group_id=1",
        conv(4, 3),
        conv(4, 3),
        "route layers=-1,-2",
        conv(8, 1),
        "route layers=-6,-1",
        "maxpool size=2 stride=2",
        "convolutional filters=9 size=1 activation=tanh",
    ),
    "second version": (
        conv(8, 3),
        "maxpool size=2 stride=2",
        conv(8, 3),
        "route layers=-3",
        conv(4, 1),
        "reorg stride=2",
        "route layers=-1,-4",
        "convolutional filters=6 size=3 pad=1 activation=linear",
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_opencv(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV reads no Darknet files")
    cfg = config(*NETWORKS[name], height=32, width=32)
    data = random_weights(cfg, monkeypatch)
    x = np.random.default_rng(1).random((1, 3, 32, 32), np.float32)
    _, (found,) = run(cfg, data, x)
    net = cv2.dnn.readNetFromDarknet(np.frombuffer(cfg, np.uint8), np.frombuffer(data, np.uint8))
    net.setInput(x)
    wanted = net.forward()
    assert found.shape == wanted.shape
    # OpenCV adds another number to the variances, and approximates mish.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
