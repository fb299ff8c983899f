"""What is written is read back, byte for byte the same each time."""

from __future__ import annotations

import copy
import struct
from pathlib import Path

import pytest

from nntc import bmodel
from nntc.bmodel import BDataType, BModel, CommandGroup, SubNetMode, Tensor
from nntc.core.errors import BModelError, UserError
from tests.bmodel.samples import commands, full_model, simple_model, tensor


def test_everything_comes_back() -> None:
    model = full_model()
    again = bmodel.read(bmodel.encode(model))
    assert again == model
    assert again.dropped == ()


def test_same_model_same_bytes() -> None:
    once = bmodel.encode(full_model())
    assert bmodel.encode(full_model()) == once
    assert bmodel.encode(bmodel.read(once)) == once


def test_writing_does_not_change_the_model() -> None:
    model = full_model()
    before = copy.deepcopy(model)
    bmodel.encode(model)
    assert model == before


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "m.bmodel"
    bmodel.write(simple_model(), path)
    assert path.read_bytes() == bmodel.encode(simple_model())
    assert bmodel.read(path) == simple_model()
    assert bmodel.read(str(path)) == simple_model()
    assert [p.name for p in tmp_path.iterdir()] == ["m.bmodel"]


def test_header_and_size() -> None:
    data = bmodel.encode(simple_model())
    magic, header, flat, binary = struct.unpack_from("<4I", data)
    assert (magic, header) == (0xFF55AAEE, 64)
    assert data[16:64] == bytes(48)
    assert len(data) == 64 + flat + binary


def test_equal_blobs_are_written_once() -> None:
    """The stage's list of groups repeats the subnets': it must not repeat the bytes."""
    model = simple_model()
    binary = struct.unpack_from("<4I", bmodel.encode(model))[3]
    assert binary == 256 + (3 + 4 + 1 + 2) * 128
    model.nets.append(copy.deepcopy(model.nets[0]))
    model.nets[1].name = "other"
    assert struct.unpack_from("<4I", bmodel.encode(model))[3] == binary


def test_derived_values() -> None:
    model = simple_model()
    assert model.neuron_size == 0x8000
    assert len(model.nets[0].stages[0].groups) == 2
    assert model.time == "Thu Jan  1 00:00:00 1970\n"
    int8 = Tensor("t", BDataType.INT8, (1, 3, 4), bmodel.StoreMode.N4)
    assert int8.size == 48
    assert Tensor("t", BDataType.INT8, (1, 3, 4), size=0).size == 0


def test_scale_is_what_the_file_keeps() -> None:
    assert tensor("t", (1,), 0, scale=0.1).scale == struct.unpack("<f", struct.pack("<f", 0.1))[0]


@pytest.mark.parametrize(("name", "value"), [("core_num", -1), ("cpu_mem_size", 2**32)])
def test_number_that_does_not_fit(name: str, value: int) -> None:
    model = simple_model()
    setattr(model.nets[0].stages[0], name, value)
    with pytest.raises(BModelError, match=rf"NetParameter.{name}: {value} does not fit 4 bytes"):
        bmodel.encode(model)


def test_nothing_is_written_when_a_rule_is_broken(tmp_path: Path) -> None:
    model = simple_model()
    model.nets[0].stages[0].subnets[0].groups[0] = CommandGroup(b"abc", commands(0, 1))
    with pytest.raises(BModelError, match="3 bytes of TIU commands"):
        bmodel.write(model, tmp_path / "m.bmodel")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="cannot be written"):
        bmodel.write(simple_model(), tmp_path / "no" / "m.bmodel")


def test_static_tpu_subnet_without_commands() -> None:
    """The runtime crashes when the vector of groups is absent, so it is there even when empty."""
    model = simple_model()
    model.nets[0].stages[0].subnets[0].groups = []
    again = bmodel.read(bmodel.encode(model))
    assert again.nets[0].stages[0].subnets[0].mode == SubNetMode.TPU
    assert again == model


def test_groups_of_cpu_subnets_do_not_count() -> None:
    model: BModel = full_model()
    stage = model.nets[1].stages[0]
    assert [g.gdma_count for g in stage.groups] == [2, 2]
    assert [g.tiu_count for g in stage.groups] == [2, 0]
