"""The parameter structs of the CPU layers have the C layout."""

from __future__ import annotations

import struct

import pytest

from nntc.bmodel.cpu_ops import (
    PARAMS,
    BoxCoderParam,
    CpuOp,
    DistributeFpnProposalsParam,
    DistributeFpnRoiAlignConcatParam,
    MulticlassNmsParam,
    PytorchRoiAlignParam,
    RandomUniformParam,
    ScatterNdParam,
    TopKParam,
    unpack_param,
)
from nntc.core.errors import BModelError

# sizeof() of each struct with the natural alignment of x86-64.
SIZES = {
    0: 52, 1: 52, 2: 76, 4: 12, 5: 20, 6: 40, 7: 8, 8: 16, 9: 4, 10: 12, 11: 8, 12: 8, 13: 144,
    14: 0, 15: 12, 16: 12, 17: 12, 18: 28, 19: 8, 20: 8, 21: 32, 22: 1, 23: 4, 24: 8, 25: 20,
    26: 8, 27: 36, 28: 56, 29: 4, 30: 8, 31: 20, 32: 40, 33: 36, 34: 36, 35: 12, 36: 20, 37: 100,
    38: 20, 39: 16, 40: 12, 41: 28, 42: 48, 43: 12, 44: 8, 45: 12, 46: 8, 47: 52, 48: 32, 49: 428,
    50: 28, 51: 48, 52: 36, 53: 8, 54: 168, 55: 12, 56: 8, 57: 4, 58: 60, 59: 44, 88888: 16,
}  # fmt: skip


def test_sizes() -> None:
    assert {int(op): cls.size() for op, cls in PARAMS.items()} == SIZES


@pytest.mark.parametrize("op", PARAMS, ids=lambda op: op.name)
def test_round_trip(op: CpuOp) -> None:
    cls = PARAMS[op]
    raw = bytes(range(1, 101)) * 5
    once = cls.unpack(raw[: cls.size()])
    assert cls.unpack(once.pack()) == once
    assert len(once.pack()) == cls.size()
    assert cls.unpack(cls().pack()) == cls()


def test_bytes_seen_in_files() -> None:
    param = TopKParam(k=5, axis=1)
    assert param.pack() == bytes.fromhex("050000000100000001010000")
    assert unpack_param(17, param.pack()) == param


def test_members_are_where_c_puts_them() -> None:
    data = RandomUniformParam(2, (3, 4), -1.0, 2.0, 7).pack()
    assert struct.unpack("<9i2f4xq", data) == (2, 3, 4, 0, 0, 0, 0, 0, 0, -1.0, 2.0, 7)
    flags = MulticlassNmsParam(normalized=True, has_output_nms_num=False, has_batch=True).pack()
    assert flags[24:] == b"\1\0\1\0"
    coder = BoxCoderParam(1, False, 18, b"encode_center_size")
    assert BoxCoderParam.unpack(coder.pack()).code_type.rstrip(b"\0") == b"encode_center_size"


def test_nested_structs() -> None:
    dfp = DistributeFpnProposalsParam(224, 4, 5, 2, True)
    aligns = [PytorchRoiAlignParam(7, 7, 1 / 2**i, 2, False) for i in range(2, 6)]
    packed = DistributeFpnRoiAlignConcatParam.make(dfp, aligns).pack()
    read = DistributeFpnRoiAlignConcatParam.unpack(packed)
    assert read.dfp == dfp
    assert read.roi_aligns == aligns


def test_shorter_struct_is_an_older_one() -> None:
    assert TopKParam.unpack(TopKParam(3, 1).pack()[:8]) == TopKParam(3, 1, False, False, False)


def test_errors_name_the_member() -> None:
    with pytest.raises(BModelError, match="13 bytes, the struct has 12"):
        TopKParam.unpack(bytes(13))
    with pytest.raises(BModelError) as err:
        ScatterNdParam(2**40, (1,) * 9).pack()
    assert len(err.value.problems) == 2
    assert "ScatterNdParam.dim" in err.value.problems[0]
    with pytest.raises(BModelError, match="60: not one of"):
        unpack_param(60, b"")
