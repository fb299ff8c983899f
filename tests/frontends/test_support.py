"""The table of what becomes of every operator."""

from __future__ import annotations

import subprocess
import sys

from nntc.frontends.onnx.support import support


def test_every_operator_has_an_answer() -> None:
    table = support()
    assert table["Conv"] == "read"
    assert table["SoftmaxCrossEntropyLoss"] == "inlined"
    assert table["RandomNormal"].startswith("refused: its result is random")
    unexplained = [op for op, how in table.items() if "no meaning" in how]
    assert not unexplained, unexplained


def test_importing_the_package_does_not_import_onnx() -> None:
    code = "import sys, nntc, nntc.passes; print('onnx' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "False"
