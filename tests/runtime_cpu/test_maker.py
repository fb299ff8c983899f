"""Every CPU layer against the chip maker's own library, on random cases."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from nntc.bmodel.cpu_ops import CpuOp
from tests.runtime_cpu import cases
from tests.runtime_cpu.case import difference, run_ours
from tests.runtime_cpu.maker import Maker

CASES = 60


@pytest.fixture(scope="module")
def maker(cmodel_libs: Path) -> Maker:
    return Maker(cmodel_libs)


@pytest.mark.cmodel
@pytest.mark.parametrize("op", cases.MAKERS, ids=lambda op: op.name)
def test_same_as_the_makers_library(op: CpuOp, maker: Maker) -> None:
    seed = zlib.crc32(op.name.encode())
    made = [cases.MAKERS[op](np.random.default_rng([seed, n])) for n in range(CASES)]
    for number, (case, theirs) in enumerate(zip(made, maker.run(op, made), strict=True)):
        assert not difference(op, run_ours(op, case), theirs), f"case {number}: {case}"
