"""Pillow and lmdb are imported on use, and named when they are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nntc.compat.ufwio import LMDB_Dataset, lmdb_data
from nntc.data import decode, open_dataset
from tests.data.samples import PICTURE_INPUT, TREATMENT, folder, refused


def test_nothing_is_imported_early() -> None:
    code = "import nntc.data, nntc.compat.ufwio, sys; print({'PIL', 'lmdb'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "set()\n"


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = folder(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    decode.pillow.cache_clear()
    problems = refused(open_dataset, pictures, PICTURE_INPUT, TREATMENT)
    assert problems == ["reading pictures needs Pillow (pip install pillow)"]


def test_without_lmdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LMDB_Dataset(tmp_path) as db:
        db.put(np.zeros((1, 3, 4, 5), np.float32))
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert len(list(lmdb_data(tmp_path))) == 1
    assert "writing LMDB files needs lmdb" in refused(LMDB_Dataset, tmp_path)[0]
