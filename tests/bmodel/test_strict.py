"""Whatever the bytes, reading ends in a sound model or in a BModelError, soon."""

from __future__ import annotations

import random
import struct
import time
from pathlib import Path

import flatbuffers
import pytest

from nntc import bmodel
from nntc.bmodel.schema import TABLES
from nntc.core.errors import BModelError, UserError
from tests.bmodel.flatten import HEADER, join, mutate, split
from tests.bmodel.samples import full_model, simple_model

PATIENCE = 5.0
"""Seconds that reading a few kilobytes may take on a busy machine; usual are milliseconds."""


def read_safely(data: bytes) -> bool:
    """True for a sound model, whose every part is then used; False for a BModelError."""
    start = time.perf_counter()
    try:
        model = bmodel.read(data)
    except BModelError as err:
        model, lines = None, err.problems
    else:
        lines = []
    assert time.perf_counter() - start < PATIENCE
    if model is None:
        assert 0 < len(lines) <= 21
        assert all(line and "\n" not in line for line in lines)
        return False
    assert bmodel.info(model)
    for net in model.nets:
        for stage in net.stages:
            for tensor in [*stage.inputs, *stage.outputs]:
                assert tensor.stored_bytes <= max(stage.ctx_size, sum(stage.ctx_sizes), len(data))
    # Not equality: alignment and padding around fields of unknown type may change.
    assert bmodel.info(bmodel.read(bmodel.encode(model))) == bmodel.info(model)
    return True


@pytest.mark.parametrize("size", [0, 1, 4, 63, 64, 65, 68, 100, 500, 1000, 2000, -256, -1])
def test_truncated(size: int) -> None:
    data = bmodel.encode(full_model())
    assert not read_safely(data[:size])


def test_truncated_with_a_header_that_fits() -> None:
    """Every length of the flatbuffer, so every table, vector and string is cut somewhere."""
    flat, binary = split(bmodel.encode(simple_model()))
    for size in range(len(flat.rstrip(b"\0")) + 1):  # without the padding at the end
        assert not read_safely(join(flat[:size], binary))
    for size in range(0, len(binary), 61):
        assert not read_safely(join(flat, binary[:size]))


def test_one_byte_more() -> None:
    data = bmodel.encode(simple_model())
    with pytest.raises(BModelError, match=rf"the file has {len(data) + 1}$"):
        bmodel.read(data + b"\0")


@pytest.mark.parametrize(
    ("magic", "message"), [(0xFF55AAFF, "older format"), (0x08, "not a BModel")]
)
def test_other_formats(magic: int, message: str) -> None:
    data = struct.pack("<I", magic) + bytes(100)
    with pytest.raises(BModelError, match=message):
        bmodel.read(data)


def test_header_size() -> None:
    data = bytearray(bmodel.encode(simple_model()))
    data[4] = 128
    with pytest.raises(BModelError, match="header size 128 is not 64"):
        bmodel.read(data)


def test_messages_name_file_offset_field_and_values(tmp_path: Path) -> None:
    data = bytearray(bmodel.encode(simple_model()))
    at = data.index(b"conv.weight") - 4
    data[at : at + 4] = struct.pack("<I", 2**32 - 1)
    path = tmp_path / "broken.bmodel"
    path.write_bytes(data)
    with pytest.raises(BModelError) as err:
        bmodel.read(path)
    (line,) = err.value.problems
    assert line.startswith(f"{path}: offset {at + 4:#x}: ")
    assert "Model.net[0].parameter[0].coeff_mem.location[0].name: 4294967295 elements" in line


def test_every_problem_is_reported() -> None:
    data = bytearray(bmodel.encode(full_model()))
    flat, _ = split(data)
    for name in (b"conv.weight", b"cpuop.so", b"feature"):
        at = flat.index(name) + HEADER
        data[at] = 0xFF
    with pytest.raises(BModelError) as err:
        bmodel.read(data)
    assert sum("is not UTF-8 at byte 0" in line for line in err.value.problems) == 3


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        bmodel.read(tmp_path / "none.bmodel")


def test_changed_coefficients_are_noticed() -> None:
    data = bytearray(bmodel.encode(simple_model()))
    at = data.index(bytes(range(256)))
    data[at + 100] ^= 1
    with pytest.raises(BModelError, match="is not the SHA-256 of the 256 bytes"):
        bmodel.read(data)


def test_groups_of_stage_and_subnets_must_agree() -> None:
    """A stage whose list of groups differs loads in the runtime and computes something else."""
    data = bmodel.encode(simple_model())
    model = simple_model()
    groups = model.nets[0].stages[0].subnets[0].groups
    swapped = data.replace(groups[0].tiu, groups[0].tiu[::-1])
    assert bmodel.read(swapped).nets[0].stages[0].groups[0].tiu == groups[0].tiu[::-1]
    model.nets[0].stages[0].subnets[0].groups = groups[:1]
    assert read_safely(bmodel.encode(model))
    from nntc.bmodel.build import build
    from nntc.bmodel.convert import lower

    root = lower(simple_model())
    root.values["net"][0].values["parameter"][0].values["cmd_group"].pop()
    with pytest.raises(BModelError, match="its 1 command groups are not the 2 of its static"):
        bmodel.read(join(*build(root)))


def test_number_of_commands_must_match_their_bytes() -> None:
    from nntc.bmodel.build import build
    from nntc.bmodel.convert import lower

    root = lower(simple_model())
    root.values["net"][0].values["parameter"][0].values["cmd_group"][0].values["bdc_num"] = 4
    with pytest.raises(BModelError, match="bdc: 384 bytes of commands for bdc_num 4"):
        bmodel.read(join(*build(root)))


def test_shared_tables_do_not_multiply() -> None:
    """A few kilobytes that describe a million stages are refused at once."""
    builder = flatbuffers.Builder(0)

    def repeat(table: int, count: int) -> int:
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(table)
        return builder.EndVector()

    text = builder.CreateString("B")

    def table(fields: dict[int, int]) -> int:
        builder.StartObject(max(fields) + 1)
        for index, value in fields.items():
            builder.PrependUOffsetTRelativeSlot(index, value, 0)
        return builder.EndObject()

    tensors = repeat(table({0: text}), 1)
    stages = repeat(table({0: tensors, 1: tensors}), 2000)
    nets = repeat(table({0: text, 3: stages}), 2000)
    builder.Finish(table({0: text, 1: text, 2: text, 3: text, 4: nets}))
    start = time.perf_counter()
    with pytest.raises(BModelError, match="overlap"):
        bmodel.read(join(bytes(builder.Output()), b""))
    assert time.perf_counter() - start < PATIENCE


def test_overlapping_blobs_do_not_multiply() -> None:
    builder = flatbuffers.Builder(0)
    size = 100_000
    builder.StartVector(16, 1000, 8)
    for i in range(1000):
        builder.Prep(8, 16)
        builder.PrependUint64(size - i)
        builder.PrependUint64(i)
    blobs = builder.EndVector()
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(1, blobs, 0)
    core = builder.EndObject()
    builder.Finish(core)
    flat = bytes(builder.Output())
    from nntc.bmodel.flat import Blobs, FlatReader
    from nntc.core.errors import Problems

    problems = Problems(BModelError)
    reader = FlatReader(flat, HEADER, Blobs(bytes(size), 0, size), problems)
    reader.read_table(int.from_bytes(flat[:4], "little"), "CoreCommands")
    assert "blobs overlap" in "".join(problems)


def test_field_ids_are_dense() -> None:
    """Ids from the last known one on are unknown fields: there must be no gap before it."""
    for fields in TABLES.values():
        assert [f.id for f in fields] == list(range(len(fields)))


def run_mutations(count: int, seed: int) -> tuple[int, int]:
    rng = random.Random(seed)
    models = [bmodel.encode(simple_model()), bmodel.encode(full_model())]
    sound = sum(read_safely(mutate(rng.choice(models), rng)) for _ in range(count))
    return sound, count - sound


def test_mutations() -> None:
    sound, refused = run_mutations(400, seed=1)
    assert refused > 200
    assert sound > 10


@pytest.mark.slow
def test_many_mutations() -> None:
    sound, refused = run_mutations(10_000, seed=2)
    assert refused > 5000
    assert sound > 100
