"""Files of a newer schema: what we do not know is read, kept and written again."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from nntc import bmodel
from nntc.bmodel import build, flat, schema
from nntc.bmodel.convert import lower
from nntc.bmodel.schema import (
    BLOB,
    BLOBS,
    F32,
    I32S,
    TEXT,
    U32,
    U64,
    U64S,
    FieldDef,
    Record,
    table,
    tables,
)
from tests.bmodel.flatten import join
from tests.bmodel.samples import full_model

ADDED = {
    "Model": (("note", TEXT), ("serial", U64), ("nested", table("New")), ("many", tables("New"))),
    "Net": (("hash", BLOB), ("level", U32)),
    "NetParameter": (("gain", F32), ("more", tables("New")), ("codes", BLOBS)),
    "Tensor": (("stride", U64S), ("axis", U32)),
    "SubNet": (("cores", I32S), ("comment", TEXT)),
    "New": (("number", U32), ("text", TEXT), ("inner", table("New")), ("raw", BLOB)),
}


@pytest.fixture
def newer() -> Mapping[str, tuple[FieldDef, ...]]:
    tables_ = {name: list(fields) for name, fields in schema.TABLES.items()}
    for name, fields in ADDED.items():
        known = tables_.setdefault(name, [])
        known += [FieldDef(len(known) + i, f, kind) for i, (f, kind) in enumerate(fields)]
    return {name: tuple(fields) for name, fields in tables_.items()}


def new(number: int, **values: object) -> Record:
    return Record("New", {"number": number, "text": f"table {number}", **values})


def newer_root() -> Record:
    """The full model with values in the added fields."""
    root = lower(full_model())
    inner = new(3, inner=new(4), raw=b"inner blob")
    root.values |= {"note": "written later", "serial": 2**40 + 5, "nested": inner}
    root.values["many"] = [new(7), new(8, raw=b"eight")]
    for net in root.values["net"]:
        net.values |= {"hash": b"\1\2\3" * 20, "level": 6}
        for stage in net.values["parameter"]:
            stage.values |= {"gain": 0.5, "more": [new(9)], "codes": [b"one", b"two blobs"]}
            for subnet in stage.values["sub_net"]:
                subnet.values |= {"cores": (3, -4, 5), "comment": "on core 3"}
                for tensor in subnet.values["input_tensor"]:
                    tensor.values |= {"stride": (2**33, 1), "axis": 11}
    return root


def encode_newer(
    root: Record, newer: Mapping[str, tuple[FieldDef, ...]], patch: pytest.MonkeyPatch
) -> bytes:
    with patch.context() as context:
        context.setattr(build, "TABLES", newer)
        return join(*build.build(root))


def decode_newer(
    data: bytes, newer: Mapping[str, tuple[FieldDef, ...]], patch: pytest.MonkeyPatch
) -> Record:
    """All fields of a file, by the newer schema."""
    with patch.context() as context:
        context.setattr(flat, "TABLES", newer)
        from nntc.bmodel.flat import Blobs, FlatReader
        from nntc.core.errors import BModelError, Problems

        size = int.from_bytes(data[8:12], "little")
        problems = Problems(BModelError)
        blobs = Blobs(data, 64 + size, len(data) - 64 - size)
        record = FlatReader(data[64 : 64 + size], 64, blobs, problems).root()
        problems.raise_if_any()
        assert record is not None
        return record


def test_read_and_write_keep_everything(
    newer: Mapping[str, tuple[FieldDef, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode_newer(newer_root(), newer, monkeypatch)
    model = bmodel.read(data)
    assert model.dropped == ()
    assert model.nets[0].stages[0].inputs == full_model().nets[0].stages[0].inputs
    again = bmodel.encode(model)
    assert decode_newer(again, newer, monkeypatch) == decode_newer(data, newer, monkeypatch)
    assert bmodel.read(again) == model


def test_the_model_without_them_is_the_same(
    newer: Mapping[str, tuple[FieldDef, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = bmodel.read(encode_newer(newer_root(), newer, monkeypatch))
    assert set(model.extra) == {"#11", "#12", "#13", "#14"}
    model.extra.clear()
    assert model.nets[0].name == "two stages"
    assert bmodel.info(model) == bmodel.info(full_model())


def test_blobs_of_unknown_fields_follow_when_others_grow(
    newer: Mapping[str, tuple[FieldDef, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = bmodel.read(encode_newer(newer_root(), newer, monkeypatch))
    assert model.cpuop_module is not None
    model.cpuop_module.data = b"much longer than before" * 50
    record = decode_newer(bmodel.encode(model), newer, monkeypatch)
    assert record.values["nested"].values["raw"] == b"inner blob"
    assert record.values["net"][1].values["hash"] == b"\1\2\3" * 20


def test_what_cannot_be_told_is_dropped_and_named(
    newer: Mapping[str, tuple[FieldDef, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that happens to lead into a hole of the buffer could be an offset."""
    root = lower(full_model())
    root.values["note"] = "\x01\x02 not a text"
    data = encode_newer(root, newer, monkeypatch)
    model = bmodel.read(data)
    assert len(model.dropped) + len([k for k in model.extra if k == "#11"]) == 1


def test_fields_known_but_not_in_the_model_are_kept() -> None:
    model = full_model()
    model.extra["bmodel_type"] = 1
    model.nets[0].extra["cascade"] = Record("Cascade", {"device_id": 1, "main_name": "m"})
    model.nets[0].stages[0].extra |= {"net_stat": b"stat", "dynamic_ctx_addr": 2**34}
    model.nets[0].stages[0].inputs[0].extra["relentry"] = bytes(range(12))
    subnet = model.nets[0].stages[0].subnets[0]
    subnet.extra["core_commands"] = [
        Record("CoreCommands", {"sdma_commands": [b"one", b"two"], "cdma_commands": [b"one"]})
    ]
    subnet.groups[0].extra["reloc_entries"] = [bytes(12), bytes(range(12))]
    assert bmodel.read(bmodel.encode(model)) == model


def test_files_older_than_2019() -> None:
    """Their stages have other tables; they are converted as the runtime does."""
    root = lower(full_model())
    net = root.values["net"][0]
    stages = net.values.pop("parameter")
    for stage in stages:
        stage.table = "NetStatic"
        for name in ("ctx_sizes", "core_num"):
            stage.values.pop(name)
    net.values["net_static"] = stages
    dynamic = root.values["net"][3]
    (stage,) = dynamic.values.pop("parameter")
    stage.table = "NetDynamic"
    dynamic.values["net_dynamic"] = [stage]
    model = bmodel.read(join(*build.build(root)))
    expected = full_model()
    for s in expected.nets[0].stages:
        s.ctx_sizes, s.core_num = (), 0
    assert model == expected
