"""The historical LMDB: records to the byte, files against the lmdb package, damage, the tool."""

from __future__ import annotations

import contextlib
import gc
import random
from pathlib import Path

import lmdb
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from nntc.compat import lmdb_info
from nntc.compat.convert_imageset import main as convert_imageset
from nntc.compat.ufwio import LMDB_Dataset, lmdb_data
from nntc.core.errors import UserError
from nntc.data import open_dataset
from nntc.data.datum import DatumError, decode_datum, encode_datum, encode_picture
from nntc.data.lmdb_file import LmdbReader, LmdbWriter
from nntc.data.resize import cv2_bilinear
from tests.data.samples import folder, pixels, refused, save

INPUT = {"x": (1, 3, 4, 5)}
KINDS = ("f4", "f2", "i1", "u1", "i2", "u2", "i4", "u4")


def _datum_class():
    """``ufw.Datum`` as Protocol Buffers' own library makes it from the published description."""
    file = descriptor_pb2.FileDescriptorProto(name="ufw.proto", package="ufw", syntax="proto2")
    shape = file.message_type.add(name="BlobShape")
    dim = shape.field.add(name="dim", number=1, type=3, label=3)
    dim.options.packed = True
    datum = file.message_type.add(name="Datum")
    for name, number, kind, label in (
        ("channels", 1, 5, 1),
        ("height", 2, 5, 1),
        ("width", 3, 5, 1),
        ("data", 4, 12, 1),
        ("label", 5, 5, 1),
        ("float_data", 6, 2, 3),
        ("encoded", 7, 8, 1),
        ("dtype", 9, 5, 1),
    ):
        datum.field.add(name=name, number=number, type=kind, label=label)
    datum.field.add(name="shape", number=8, type=11, label=1, type_name=".ufw.BlobShape")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("ufw.Datum"))


Message = _datum_class()


def values(seed: int = 0, *shape: int, kind: str = "f4") -> np.ndarray:
    found = np.random.default_rng(seed).integers(0, 100, shape or (1, 3, 4, 5))
    return found.astype(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("label", [None, 0, 7, -3, 2**31 - 1])
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (7,), (), (0, 3), (300, 200)])
def test_records_are_those_of_protocol_buffers(
    kind: str, label: int | None, shape: tuple[int, ...]
) -> None:
    array = np.random.default_rng(0).integers(0, 100, shape).astype(kind)
    message = Message()
    message.shape.dim.extend(array.shape)
    if kind == "f4":
        message.float_data.extend(array.ravel().tolist())
    else:
        message.data = array.tobytes()
    message.dtype = KINDS.index(kind)
    if label is not None:
        message.label = label
    record = encode_datum(array, label)
    assert record == message.SerializeToString()
    found = decode_datum(record)
    assert found.label == label
    assert found.array is not None
    assert found.array.dtype == array.dtype
    np.testing.assert_array_equal(found.array, array)


def test_older_and_other_forms() -> None:
    planes = pixels().transpose(2, 0, 1)
    message = Message(channels=3, height=20, width=30, data=planes.tobytes(), label=5)
    assert encode_datum(np.ascontiguousarray(planes), 5, legacy=True) == message.SerializeToString()
    np.testing.assert_array_equal(decode_datum(message.SerializeToString()).array, planes)
    picture = Message(data=b"jpeg", label=-1, encoded=True)
    assert encode_picture(b"jpeg", -1) == picture.SerializeToString()
    assert decode_datum(picture.SerializeToString()).encoded == b"jpeg"
    # Packed floats, shape dimensions that are not, and fields of newer versions.
    packed = b"\x32\x08" + np.float32([1, 2]).tobytes() + b"\x42\x04\x08\x02\x08\x01\x48\x00"
    newer = b"\x78\x05\x7a\x03abc\x79" + bytes(8) + b"\x7d" + bytes(4)
    np.testing.assert_array_equal(decode_datum(packed + newer).array, [[1], [2]])
    # Floats interrupted by another field.
    run = b"\x35" + np.float32(1).tobytes()
    mixed = run + b"\x28\x09" + run + b"\x42\x03\x0a\x01\x02"
    np.testing.assert_array_equal(decode_datum(mixed + b"\x48\x00").array, [1, 1])


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (b"\x35\0", "it ends early"),
        (b"\x22\x05abc", "it ends early"),
        (b"\x80", "it ends early"),
        (b"\xff" * 11, "more than 10 bytes"),
        (b"\x23", "no such kind of field"),
        (b"\x48\x09", "unknown type number 9"),
        (b"\x48\x04\x22\x03abc\x42\x03\x0a\x01\x01", "no whole number"),
        (b"\x22\x03abc\x42\x03\x0a\x01\x02", "3 numbers for shape [2]"),
        (b"\x42\x0c\x0a\x0a" + b"\xff" * 9 + b"\x01", "a dimension of"),
        (b"\x42\x24" + b"\x08\x01" * 18, "17 dimensions"),
        (b"\x32\x03abc", "packed floats"),
    ],
)
def test_damaged_records(record: bytes, why: str) -> None:
    with pytest.raises(DatumError) as caught:
        decode_datum(record)
    assert why in str(caught.value)


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_a_record_or_damaged(record: bytes) -> None:
    with contextlib.suppress(DatumError):
        decode_datum(record)


def test_flipped_records_agree_with_protocol_buffers() -> None:
    rng = random.Random(0)
    sound = [encode_datum(values(kind=kind), 3) for kind in ("f4", "u1", "i2")]
    agreed = 0
    for _ in range(1500):
        record = bytearray(rng.choice(sound))
        for _ in range(rng.randrange(1, 4)):
            record[rng.randrange(len(record))] = rng.randrange(256)
        try:
            found = decode_datum(bytes(record))
        except DatumError:
            continue
        if found.array is None:
            continue
        message = Message()
        # What is read here is readable there.
        message.ParseFromString(bytes(record))
        if found.array.dtype == np.float32:
            wanted = np.asarray(message.float_data, np.float32)
        else:
            wanted = np.frombuffer(message.data, found.array.dtype)
        np.testing.assert_array_equal(found.array.ravel(), wanted)
        agreed += 1
    assert agreed > 100


def test_what_cannot_be_stored() -> None:
    for array in (np.zeros(3), np.zeros(3, bool), np.zeros(3, np.int64), np.array(["a"])):
        with pytest.raises(DatumError, match="is not stored"):
            encode_datum(array)
    with pytest.raises(DatumError, match="does not fit in 32 bits"):
        encode_datum(values(), 2**31)


def test_the_historical_scripts(tmp_path: Path) -> None:
    path = tmp_path / "made" / "db"
    txn = LMDB_Dataset(str(path))
    for index in range(250):
        txn.put(values(index))
    txn.put([values(1), values(2)], labels=[4, 5], keys=["a", "ü"])
    txn.put(values(3, kind="u1"), 6, "c")
    txn.close()
    txn.close()
    assert [file.name for file in path.iterdir()] == ["data.mdb"]
    found = list(lmdb_data(path))
    assert len(found) == 253
    assert [key for key, _ in found[:2]] == [b"0000000000__ ", b"0000000001__ "]
    assert [key for key, _ in found[-3:]] == [
        b"0000000250__a",
        "0000000251__ü".encode(),
        b"0000000252__c",
    ]
    for index, (_, array) in enumerate(found[:250]):
        np.testing.assert_array_equal(array, values(index))
    assert found[-1][1].dtype == np.uint8
    # As the lmdb package reads it.
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as reading:
        stored = list(reading.cursor())
    assert [key for key, _ in stored] == [key for key, _ in found]
    assert stored[0][1] == encode_datum(values(0))
    assert stored[-1][1] == encode_datum(values(3, kind="u1"), 6)


def test_the_same_calls_give_the_same_file(tmp_path: Path) -> None:
    def write(path: Path) -> bytes:
        with LMDB_Dataset(path, queuesize=7, mapsize=1) as db:
            for index in range(60):
                db.put(values(index, 50, 60), index)
        return (path / "data.mdb").read_bytes()

    assert write(tmp_path / "a") == write(tmp_path / "b")
    # An older file is replaced.
    assert write(tmp_path / "a") == write(tmp_path / "b")


def test_the_map_grows(tmp_path: Path) -> None:
    with LMDB_Dataset(tmp_path, 3, 4096) as db:
        for index in range(20):
            db.put(np.full((300, 300), index, np.float32))
    for index, (_, array) in enumerate(lmdb_data(tmp_path)):
        assert array.shape == (300, 300)
        assert (array == index).all()


def test_without_close_and_after_an_error(tmp_path: Path) -> None:
    db = LMDB_Dataset(tmp_path / "a", queue_size=5, map_size=1e6)
    db.put(values())
    del db
    gc.collect()
    assert len(list(lmdb_data(tmp_path / "a"))) == 1
    before = (tmp_path / "a" / "data.mdb").read_bytes()
    with contextlib.suppress(ZeroDivisionError), LMDB_Dataset(tmp_path / "a") as db:
        db.put(values())
        raise ZeroDivisionError
    assert (tmp_path / "a" / "data.mdb").read_bytes() == before
    assert len(list((tmp_path / "a").iterdir())) == 1


def test_errors_of_writing(tmp_path: Path) -> None:
    with LMDB_Dataset(tmp_path) as db:
        assert "2 arrays, 1 labels and 2 keys" in refused(db.put, [values()] * 2, 3)[0]
        assert "sample 0: type float64 is not stored" in refused(db.put, np.zeros(3))[0]
    assert "is closed" in refused(db.put, values())[0]
    assert list(lmdb_data(tmp_path)) == []
    (tmp_path / "file").write_text("x")
    assert "is a file, a folder is needed" in refused(LMDB_Dataset, tmp_path / "file")[0]
    writer = LmdbWriter(tmp_path)
    writer.put([(b"b", b"1")])
    assert "does not come after" in refused(writer.put, [(b"a", b"2")])[0]
    assert "1 to 511 bytes" in refused(writer.put, [(b"c" * 512, b"2")])[0]
    writer.discard()
    assert list(lmdb_data(tmp_path)) == []


class _FullDisk:
    """An environment that cannot write."""

    def __init__(self, real: object) -> None:
        self.close = real.close  # type: ignore[attr-defined]

    def begin(self, write: bool) -> object:
        raise lmdb.DiskError("No space left on device")


def test_a_full_disk(tmp_path: Path) -> None:
    made(tmp_path)
    before = (tmp_path / "data.mdb").read_bytes()
    db = LMDB_Dataset(tmp_path, queuesize=2)
    db.put(values())
    db._writer._env = _FullDisk(db._writer._env)
    assert "No space left" in refused(db.put, values())[0]
    assert "is closed" in refused(db.put, values())[0]
    db.close()
    assert [file.name for file in tmp_path.iterdir()] == ["data.mdb"]
    assert (tmp_path / "data.mdb").read_bytes() == before


def test_reading_against_the_lmdb_package(tmp_path: Path) -> None:
    rng = random.Random(1)
    for case in range(12):
        path = tmp_path / str(case)
        wanted: dict[bytes, bytes] = {}
        with lmdb.open(str(path), map_size=1 << 26, lock=False) as env:
            for _ in range(rng.choice([0, 1, 4])):
                with env.begin(write=True) as writing:
                    for _ in range(rng.randrange(400)):
                        key = rng.randbytes(rng.randrange(1, rng.choice([9, 400])))
                        value = rng.randbytes(rng.choice([0, 3, 100, 2100, 30000]))
                        writing.put(key, value)
                        wanted[key] = value
                    for key in rng.sample(sorted(wanted), len(wanted) // 3):
                        writing.delete(key)
                        del wanted[key]
        reader = LmdbReader(path)
        found = {key: reader.value(index) for index, (key, _) in enumerate(reader.entries)}
        assert found == wanted
        assert list(found) == sorted(wanted)


def made(path: Path, count: int = 8) -> Path:
    with LMDB_Dataset(path) as db:
        for index in range(count):
            db.put(values(index))
    return path


def test_damaged_files(tmp_path: Path) -> None:
    sound = (made(tmp_path / "a", 60) / "data.mdb").read_bytes()
    broken = tmp_path / "broken"
    broken.mkdir()
    file = broken / "data.mdb"
    for data, why in (
        (b"", "0 bytes"),
        (b"x" * 9000, "is no LMDB file"),
        (sound[: len(sound) // 2], "cut off"),
        (sound[:300], "damaged LMDB file"),
        (sound[:20] + b"\x07" + sound[21:], "LMDB format 7"),
    ):
        file.write_bytes(data)
        problem = refused(open_dataset, broken, INPUT)[0]
        assert why in problem
        assert str(file) in problem
    rng = random.Random(0)
    read = refusals = 0
    for _ in range(300):
        data = bytearray(sound)
        for _ in range(rng.randrange(1, 30)):
            # Mostly where keys and pages are described.
            place = rng.randrange(rng.choice([200, 5000, len(data)]))
            data[place] = rng.randrange(256)
        file.write_bytes(data)
        try:
            read += len(list(open_dataset(broken, INPUT)))
        except UserError:
            refusals += 1
    assert read
    assert refusals


def test_a_dataset(tmp_path: Path) -> None:
    path = made(tmp_path / "db")
    data = open_dataset(path, INPUT)
    assert len(data) == 8
    assert data.name(3) == f"{path}: record 0000000003__"
    for index, sample in enumerate(data):
        np.testing.assert_array_equal(sample["x"], values(index))
    np.testing.assert_array_equal(open_dataset(path / "data.mdb", INPUT)[5]["x"], values(5))
    with LMDB_Dataset(tmp_path / "copy") as db:
        for index in range(8):
            db.put(values(index))
    assert open_dataset(tmp_path / "copy", INPUT).digest == data.digest
    assert open_dataset(made(tmp_path / "less", 7), INPUT).digest != data.digest
    problems = refused(open_dataset(path, {"x": (1, 3, 4, 6)}).check)
    assert len(problems) == 8
    assert problems[0] == (
        f"{path}: record 0000000000__: shape [1, 3, 4, 5] does not fit input x of shape "
        "[1, 3, 4, 6]; it can be changed by preprocessing"
    )
    assert "feed one input" in refused(open_dataset, path, {**INPUT, "y": (1,)})[0]
    (tmp_path / "empty").mkdir()
    LMDB_Dataset(tmp_path / "empty").close()
    assert "holds no sample" in refused(open_dataset, tmp_path / "empty", INPUT)[0]


def test_corrupt_records_are_skipped_and_nan_is_not(tmp_path: Path) -> None:
    writer = LmdbWriter(tmp_path)
    nan = values()
    nan[0, 0, 0] = np.nan
    writer.put(
        [
            (b"a", encode_datum(values(), 9)),
            (b"b", encode_datum(values())[:-30]),
            (b"c", encode_datum(values(kind="u1")[0])),
        ]
    )
    writer.close()
    data = open_dataset(tmp_path, INPUT)
    assert len(list(data)) == 2
    assert data.labels == [9, None, None]
    assert len(data.skipped) == 1
    assert data.skipped[0][0] == f"{tmp_path}: record b"
    assert "no record of an array" in data.skipped[0][1]
    with LMDB_Dataset(tmp_path) as db:
        db.put(nan)
    assert "input x: 5 NaN of 60" in refused(open_dataset(tmp_path, INPUT).check)[0]


def test_preprocessing_of_records(tmp_path: Path) -> None:
    array = pixels(0, 8, 10)
    planes = np.ascontiguousarray(array.transpose(2, 0, 1))
    with LMDB_Dataset(tmp_path / "a") as db:
        db.put([planes, planes[None], planes.astype(np.float32)])
    kept = open_dataset(tmp_path / "a", INPUT, "resize=4x5,div=2,order=bgr,interpolation=cv2")
    wanted = cv2_bilinear(array, 4, 5).transpose(2, 0, 1)[None].astype(np.float32) / 2
    samples = [sample["x"] for sample in kept]
    np.testing.assert_array_equal(samples[0], wanted)
    np.testing.assert_array_equal(samples[1], wanted)
    np.testing.assert_allclose(samples[2], wanted, atol=0.6)
    swapped = open_dataset(tmp_path / "a", INPUT, "resize=4x5,div=2,order=rgb,interpolation=cv2")
    np.testing.assert_array_equal(swapped[0]["x"], wanted[:, ::-1])
    unsaid = open_dataset(tmp_path / "a", INPUT, "resize=4x5")
    assert "the order of the stored channels has to be said" in refused(unsaid.check)[0]
    with LMDB_Dataset(tmp_path / "b") as db:
        db.put([values(0, 7), values(0, 1, 8, 10)])
    gray = open_dataset(tmp_path / "b", {"x": (1, 1, 4, 5)}, "resize=4x5,order=gray")
    assert refused(gray.check) == [
        f"{tmp_path / 'b'}: record 0000000000__: shape [7] is no picture; preprocessing needs "
        "[1, C, H, W] or [C, H, W] of 1 or 3 channels"
    ]
    assert gray[1]["x"].shape == (1, 1, 4, 5)


def test_lmdb_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LMDB_Dataset(tmp_path) as db:
        db.put(np.arange(60, dtype=np.float32).reshape(1, 3, 4, 5))
    assert lmdb_info.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    wanted = "0000000000__ , float32, (1, 3, 4, 5), [ 0. 1. 2. ... 57. 58. 59.]"
    assert " ".join(printed[1].split()) == wanted
    assert lmdb_info.main([str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_convert_imageset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "pictures"
    for index in range(4):
        save(source / f"{index}.png", pixels(index))
    (source / "4.jpg").write_text("no picture")
    folder(source / "below")
    options = [f"--imageset_rootfolder={source}", "--resize_height=4", "--resize_width", "5"]
    target = tmp_path / "db"
    command = [*options, f"--imageset_lmdbfolder={target}", "--bgr2rgb=False", "--gray=false"]
    assert convert_imageset([*command, "--shuffle=False"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "4 pictures written, 1 left out\n"
    assert captured.err.startswith(f"warning: {source / '4.jpg'}: left out: not a picture")
    found = [array for _, array in lmdb_data(target)]
    for index, array in enumerate(found):
        wanted = cv2_bilinear(pixels(index)[:, :, ::-1], 4, 5).transpose(2, 0, 1)[None]
        np.testing.assert_array_equal(array, wanted.astype(np.float32))
    assert len(list(open_dataset(target, INPUT))) == 4
    assert convert_imageset([*command, "--shuffle=True"]) == 0
    mixed = [array for _, array in lmdb_data(target)]
    assert sorted(a.tobytes() for a in mixed) == sorted(a.tobytes() for a in found)
    assert convert_imageset([*options, "--bgr2rgb", "True"]) == 0
    np.testing.assert_array_equal(next(lmdb_data(source))[1], found[0][:, ::-1])
    assert convert_imageset([*options[:1], "--gray"]) == 0
    assert next(lmdb_data(source))[1].shape == (1, 1, 20, 30)


def test_convert_imageset_in_its_older_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder(tmp_path / "pictures")
    listing = tmp_path / "list.txt"
    listing.write_text("class1/p3.webp 1\nclass0/p0.png 7\n")
    command = [f"{source}/", str(listing), str(tmp_path / "db")]
    assert convert_imageset([*command, "--resize_width=5", "--resize_height=4"]) == 0
    with lmdb.open(str(tmp_path / "db"), readonly=True, lock=False) as env, env.begin() as reading:
        (first, _), (second, value) = list(reading.cursor())
    assert (first, second) == (b"00000000_class1/p3.webp", b"00000001_class0/p0.png")
    wanted = cv2_bilinear(pixels(0)[:, :, ::-1], 4, 5).transpose(2, 0, 1)
    message = Message(channels=3, height=4, width=5, data=wanted.tobytes(), label=7)
    assert value == message.SerializeToString()
    assert open_dataset(tmp_path / "db", INPUT)[1]["x"].shape == (1, 3, 4, 5)
    assert convert_imageset([*command, "--encoded"]) == 0
    data = open_dataset(tmp_path / "db", INPUT, "resize=4x5")
    assert len(list(data)) == 2
    assert data.labels == [1, 7]
    assert "preprocessing is needed" in refused(open_dataset(tmp_path / "db", INPUT).check)[0]
    save(source / "odd.png", pixels(0, 9, 9))
    listing.write_text("odd.png 1\nclass0/p0.png 7\n")
    capsys.readouterr()
    assert convert_imageset([*command, "--check_size"]) == 2
    assert "sizes differ" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([], "--imageset_rootfolder is needed"),
        (["a", "b"], "ROOTFOLDER LISTFILE DB_NAME are needed"),
        (["--imageset_rootfolder=none"], "none: cannot be read"),
        (["--imageset_rootfolder=.", "--gray=maybe"], "true or false is expected"),
        (["--imageset_rootfolder=.", "--resize_width=-1"], "is no size in pixels"),
        (["--imageset_rootfolder=."], "holds no pictures"),
        (["--backend=leveldb"], "leveldb"),
    ],
)
def test_convert_imageset_errors(
    options: list[str],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert convert_imageset(options) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert why in captured.err
    assert list(tmp_path.iterdir()) == []
