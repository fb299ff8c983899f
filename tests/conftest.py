"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED_DIR = Path(os.environ.get("NNTC_SHARED_DIR", ROOT.parent / "shared"))
"""Measured facts and real models; may be absent."""


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of measured facts and real models beside the checkout; not part of the project."""
    if not (SHARED_DIR / "isa").is_dir():
        pytest.skip(f"{SHARED_DIR}: measured vectors and models are not here")
    return SHARED_DIR


@pytest.fixture(scope="session")
def cmodel_libs() -> Path:
    """Folder of the chip maker's C-model and runtime libraries."""
    folder = os.environ.get("NNTC_CMODEL_LIBS", "")
    if not folder:
        pytest.skip("NNTC_CMODEL_LIBS is not set: the chip maker's C-model is not here")
    return Path(folder)
