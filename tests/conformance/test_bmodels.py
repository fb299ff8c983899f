"""BModels made by hand, and those in a folder of the user's, on every path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nntc.bmodel import read
from nntc.runtime.selftest import add_model
from tests.conformance.agree import assert_agreement, outputs_on_every_path

FOLDER = os.environ.get("NNTC_CONFORMANCE_BMODELS", "")
"""Folder of further BModels, such as those of the chip maker's compiler."""

FILES = sorted(Path(FOLDER).glob("*.bmodel")) if FOLDER else []


@pytest.mark.cmodel
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (2, 64, 9, 7)])
def test_a_sum(cmodel_libs: Path, shape: tuple[int, int, int, int]) -> None:
    assert_agreement(outputs_on_every_path(add_model(shape), cmodel_libs, timeout=60))


@pytest.mark.cmodel
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file(cmodel_libs: Path, path: Path) -> None:
    model = read(path)
    if any(stage.is_dynamic for net in model.nets for stage in net.stages):
        pytest.skip("dynamic: the firmware makes its commands at run time")
    for net in model.nets:
        assert_agreement(outputs_on_every_path(path, cmodel_libs, net=net.name))
