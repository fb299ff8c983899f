"""Files of the maker's compilers, where a folder of them is given in NNTC_MAKER_BMODELS."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from nntc import bmodel
from nntc.bmodel.cpu_ops import unpack_param

FOLDER = os.environ.get("NNTC_MAKER_BMODELS", "")
FILES = sorted(Path(FOLDER).glob("*.bmodel")) if FOLDER else []


@pytest.mark.skipif(not FILES, reason="NNTC_MAKER_BMODELS names no folder with BModels")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_read_and_write(path: Path) -> None:
    model = bmodel.read(path)
    assert model.dropped == ()
    data = bmodel.encode(model)
    assert bmodel.read(data) == model
    assert len(data) <= path.stat().st_size
    flat, binary = struct.unpack_from("<2I", data, 8)
    assert 64 + flat + binary == len(data)
    for net in model.nets:
        for stage in net.stages:
            for subnet in stage.subnets:
                if subnet.cpu is not None:
                    param = unpack_param(subnet.cpu.op_type, subnet.cpu.param)
                    assert param.pack() == subnet.cpu.param
