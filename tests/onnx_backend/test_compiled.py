"""The onnx package's own tests, compiled and simulated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.conftest import ROOT
from tests.onnx_backend.cases import KINDS, Case, all_cases
from tests.onnx_backend.compiled import KNOWN_FAILURES, Compiler, Verdict, verdicts
from tests.onnx_backend.page import page

PAGE = ROOT / "docs" / "onnx-operators.md"
SAMPLE = 4
"""One case of so many is in the quick tests."""


def unexpected(found: list[Verdict]) -> list[str]:
    return [
        f"{v.case.name}: {v.reason}"
        for v in found
        if v.status == "failed" and v.case.name not in KNOWN_FAILURES
    ]


def test_a_sample() -> None:
    cases = [case for case in all_cases() if not case.excluded]
    found = list(verdicts(cases[::SAMPLE]))
    assert not unexpected(found)
    statuses = Counter(v.status for v in found)
    assert statuses["TPU"] > 0.8 * len(found)


def test_the_place_is_told() -> None:
    cases = {case.name: case for case in all_cases()}
    chosen = [cases[name] for name in ("test_add", "test_gathernd_example_float32")]
    assert [v.status for v in verdicts(chosen)] == ["TPU", "CPU"]


def test_a_wrong_result_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(c for c in all_cases() if c.name == "test_add")
    right = Compiler.__call__

    def wrong(self: Compiler, case: Case) -> dict[str, np.ndarray]:
        return {name: array + 0.01 for name, array in right(self, case).items()}

    monkeypatch.setattr(Compiler, "__call__", wrong)
    (verdict,) = verdicts([case])
    assert verdict.status == "failed"
    assert "Mismatch" in verdict.reason


@pytest.mark.slow
def test_all_and_the_page_that_lists_them(tmp_path: Path) -> None:
    found = list(verdicts(all_cases(KINDS)))
    static = Counter(v.status for v in found if v.case.is_static)
    print(static)
    assert not unexpected(found)
    assert static["TPU"] + static["CPU"] >= 0.8 * static.total()
    text = PAGE.read_text(encoding="utf-8")
    if f"package onnx {onnx.__version__} " not in text:
        pytest.skip(f"the page is of another version of onnx than {onnx.__version__}")
    if text != page(found):
        (tmp_path / "page.md").write_text(page(found), encoding="utf-8")
        pytest.fail(f"{PAGE} is not up to date: see {tmp_path / 'page.md'}")
    failed = {v.case.name for v in found if v.status == "failed"}
    assert failed == set(KNOWN_FAILURES), "a known failure is none any more"
