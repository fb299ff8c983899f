"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of measured facts and real models beside the checkout; not part of the project."""
    folder = Path(os.environ.get("NNTC_SHARED_DIR", ROOT.parent / "shared"))
    if not (folder / "isa").is_dir():
        pytest.skip(f"{folder}: measured vectors and models are not here")
    return folder


@pytest.fixture(scope="session")
def cmodel_libs() -> Path:
    """Folder of the chip maker's C-model and runtime libraries."""
    folder = os.environ.get("NNTC_CMODEL_LIBS", "")
    if not folder:
        pytest.skip("NNTC_CMODEL_LIBS is not set: the chip maker's C-model is not here")
    return Path(folder)
