"""The demonstration's own arithmetic: regions, boxes, characters."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def ocr() -> ModuleType:
    pytest.importorskip("PIL")
    path = Path(__file__).resolve().parents[2] / "demo" / "ocr.py"
    spec = importlib.util.spec_from_file_location("nntc_demo_ocr", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_regions(ocr: ModuleType) -> None:
    mask = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [1, 0, 0, 0]], bool)
    labels, count = ocr.label(mask)
    assert count == 2
    assert (labels > 0).tolist() == mask.tolist()
    assert labels[0, 0] == labels[1, 1] == labels[2, 0] != labels[0, 3] == labels[1, 3]
    assert ocr.label(np.zeros((2, 2), bool))[1] == 0
    assert ocr.label(np.ones((2, 2), bool))[1] == 1


def test_boxes(ocr: ModuleType) -> None:
    likelihood = np.zeros((40, 60), np.float32)
    likelihood[20:24, 10:40] = 0.9  # a line
    likelihood[5:9, 10:40] = 0.4  # too faint
    likelihood[30:32, 50:52] = 0.9  # too small
    margin = round(ocr.GROWTH * 120 / 68)
    (box,) = ocr.find_boxes(likelihood)
    assert (box.left, box.top) == (10 - margin, 20 - margin)
    assert (box.right, box.bottom) == (40 + margin, 24 + margin)


def test_characters(ocr: ModuleType) -> None:
    alphabet = ["", "a", "b"]
    best = [0, 1, 1, 0, 1, 2, 2, 0]
    likelihood = np.full((8, 3), 0.1, np.float32)
    likelihood[np.arange(8), best] = 0.8
    text, certainty = ocr.read_characters(likelihood, alphabet)
    assert text == "aab"
    assert certainty == pytest.approx(0.8)
    assert ocr.read_characters(likelihood[:1], alphabet) == ("", 0.0)
    likelihood = np.eye(3, dtype=np.float32)[[1, 1, 2]]
    assert ocr.read_characters(likelihood, alphabet)[0] == "ab"
