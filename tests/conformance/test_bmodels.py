"""BModels made by hand, those of the chip maker's compiler, and those in a folder of the user's,
on every path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nntc.bmodel import read, write
from nntc.runtime.selftest import add_model
from tests.conformance.agree import REFERENCE, assert_agreement, outputs_on_every_path
from tests.conftest import SHARED_DIR

FOLDER = os.environ.get("NNTC_CONFORMANCE_BMODELS", "")
"""Folder of further BModels; ``make conformance-peer`` fills one by the chip maker's compiler."""

FILES = sorted(Path(FOLDER).glob("*.bmodel")) if FOLDER else []
SLOW_BYTES = 4 << 20
"""Size of a file above which the reference engine is left out."""


@pytest.mark.cmodel
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (2, 64, 9, 7)])
def test_a_sum(cmodel_libs: Path, tmp_path: Path, shape: tuple[int, int, int, int]) -> None:
    file = tmp_path / "sum.bmodel"
    write(add_model(shape), file)
    found = outputs_on_every_path(file, cmodel_libs, judge=SHARED_DIR / "judge", timeout=60)
    assert_agreement(found)


@pytest.mark.cmodel
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file(cmodel_libs: Path, path: Path) -> None:
    model = read(path)
    if any(stage.is_dynamic for net in model.nets for stage in net.stages):
        pytest.skip("dynamic: the firmware makes its commands at run time")
    without = (REFERENCE,) if path.stat().st_size > SLOW_BYTES else ()
    for net in model.nets:
        found = outputs_on_every_path(
            path, cmodel_libs, net=net.name, judge=SHARED_DIR / "judge", without=without
        )
        print(f"{path.name}: equal bytes on {', '.join(found)}")
        assert_agreement(found)
