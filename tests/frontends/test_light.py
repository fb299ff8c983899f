"""Classic networks that the onnx package ships, with weights made by operators."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx.backend.test
import pytest

from nntc.frontends.onnx import load
from tests.frontends.agree import agree, random_inputs

FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"
# VGG and AlexNet add only time.
NAMES = sorted(
    p.stem for p in FOLDER.glob("*.onnx") if not p.stem.endswith(("vgg19", "alexnet", "zfnet512"))
)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_equals_onnx_runtime(name: str) -> None:
    path = FOLDER / f"{name}.onnx"
    graph = agree(path, inputs=random_inputs(load(path)), tolerance=1e-4)
    counts = Counter(node.op.name for node in graph.nodes)
    assert not counts.keys() & {"BatchNorm", "Pad", "Expand", "Cast"}
