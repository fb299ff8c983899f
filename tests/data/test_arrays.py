"""Array files as datasets."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nntc.core.errors import UserError
from nntc.data import CorruptSampleError, open_dataset
from tests.data.samples import refused

INPUT = {"x": (1, 2, 3)}
TWO = {"x": (1, 2, 3), "h": (2, 1, 4)}


def values(*shape: int, kind: str = "f4") -> np.ndarray:
    return np.random.default_rng(1).integers(-90, 90, shape).astype(kind)


@pytest.mark.parametrize("kind", ["f4", ">f4", "f2", "f8", "i1", "u1", "i4", "i8", "?"])
@pytest.mark.parametrize("fortran", [False, True])
def test_npy(tmp_path: Path, kind: str, fortran: bool) -> None:
    array = values(7, 2, 3).astype(kind)
    path = tmp_path / "a.npy"
    np.save(path, np.asfortranarray(array) if fortran else array)
    data = open_dataset(path, INPUT)
    assert len(data) == 7
    for index in (0, 1, 6, 3, -1):
        sample = data[index]["x"]
        assert sample.dtype == np.float32
        assert sample.shape == (1, 2, 3)
        np.testing.assert_array_equal(sample[0], array[index].astype(np.float32))
    np.testing.assert_array_equal(np.concatenate([s["x"] for s in data]), array.astype("f4"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, save) -> None:
    x, h = values(5, 2, 3), values(5, 2, 1, 4, kind="u1")
    path = tmp_path / "a.npz"
    save(path, x=x, h=h, labels=np.arange(5))
    data = open_dataset(path, TWO)
    for index in [0, 1, 2, 3, 4, 2, 0, 4, 3, 3]:
        sample = data[index]
        assert list(sample) == ["x", "h"]
        np.testing.assert_array_equal(sample["x"], x[index : index + 1])
        np.testing.assert_array_equal(sample["h"], h[index])
    assert len(list(data)) == len(list(data)) == 5


def test_the_batch_axis(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for shape in ((5, 2, 3), (5, 1, 2, 3)):
        np.save(path, values(*shape))
        for batch in (1, 4):
            sample = open_dataset(path, {"x": (batch, 2, 3)})[2]["x"]
            np.testing.assert_array_equal(sample[0], values(*shape)[2].reshape(2, 3))
            assert sample.shape == (1, 2, 3)
    np.save(path, values(5, 4, 2, 3))
    assert open_dataset(path, {"x": (4, 2, 3)})[0]["x"].shape == (4, 2, 3)
    np.save(path, values(5))
    assert open_dataset(path, {"x": ()})[0]["x"].shape == ()
    assert open_dataset(path, {"x": (1,)})[0]["x"].shape == (1,)


def test_which_array_is_which(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, anything=values(3, 2, 3))
    assert len(open_dataset(path, INPUT)) == 3
    np.savez(path, values(3, 2, 3), values(3, 2, 1, 4))
    assert open_dataset(path, TWO)[0]["h"].shape == (2, 1, 4)
    np.savez(path, x=values(3, 2, 3), other=values(3, 4))
    assert refused(open_dataset, path, TWO) == [
        f"{path}: no array for input h; the network needs x [1, 2, 3], h [2, 1, 4], there are "
        "x [3, 2, 3], other [3, 4]"
    ]
    np.save(tmp_path / "a.npy", values(3, 2, 3))
    assert "one array without a name" in refused(open_dataset, tmp_path / "a.npy", TWO)[0]


def test_shapes_and_counts_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=values(3, 2, 4), h=values(4, 5))
    problems = refused(open_dataset, path, TWO)
    assert problems == [
        f"{path}: array 'x': shape [3, 2, 4] is no [samples, 2, 3], as input x of shape "
        "[1, 2, 3] needs",
        f"{path}: array 'h': shape [4, 5] is no [samples, 1, 4], as input h of shape [2, 1, 4] "
        "needs",
        f"{path}: different numbers of samples: x 3, h 4",
    ]
    np.save(tmp_path / "a.npy", np.float32(3))
    assert "shape [] is no [samples, 2, 3]" in refused(open_dataset, tmp_path / "a.npy", INPUT)[0]
    np.save(tmp_path / "a.npy", values(0, 2, 3))
    assert refused(open_dataset, tmp_path / "a.npy", INPUT)[0].endswith("holds no sample")


def test_types_that_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=values(3, 2, 3).astype("c8"), h=np.array(["a"]), o=np.array([{}, 3]))
    problems = refused(open_dataset, path, {**TWO, "o": (1,)})
    assert "array 'x': type complex64 is no type of real numbers" in problems[0]
    assert "array 'h': type <U1 is no type of real numbers" in problems[1]
    assert "array 'o': holds Python objects, not numbers" in problems[2]


def test_other_arrays_in_the_file_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=values(3, 2, 3), names=np.array(["a"]), notes=np.array([{}]))
    assert len(list(open_dataset(path, INPUT))) == 3
    np.savez(path, x=values(2, 3), notes=np.array([{}]))
    assert len(list(open_dataset(tmp_path, INPUT))) == 1
    np.savez(path, x=np.array([{}]))
    assert "holds Python objects" in refused(open_dataset, tmp_path, INPUT)[0]


def test_fortran_order_and_compressed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.asfortranarray(values(3, 2, 3)))
    assert "compressed in Fortran order" in refused(open_dataset, path, INPUT)[0]


def test_damage_in_the_middle_is_said_once_and_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    rng = np.random.default_rng(0)
    np.savez_compressed(path, x=rng.integers(0, 9, (400, 2000), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 1000] = bytes(1000)
    path.write_bytes(data)
    dataset = open_dataset(path, {"x": (1, 2000)})
    problems = refused(dataset.check)
    assert len(problems) == 1
    assert "array 'x': damaged" in problems[0]


def test_nan_and_infinity_are_errors_that_name_all_samples(tmp_path: Path) -> None:
    array = values(6, 2, 3)
    array[1, 0, 0] = np.nan
    array[4, 1] = np.inf
    array[4, 0, 0] = np.nan
    path = tmp_path / "a.npy"
    np.save(path, array)
    data = open_dataset(path, INPUT)
    assert refused(list, data) == [
        f"{path}: sample 1: input x: 1 NaN of 6 numbers",
        f"{path}: sample 4: input x: 1 NaN and 3 infinite of 6 numbers",
    ]
    assert data[0]["x"].shape == (1, 2, 3)
    assert data.skipped == []
    np.save(path, np.full((30, 2, 3), np.nan))
    problems = refused(open_dataset(path, INPUT).check)
    assert len(problems) == 21
    assert problems[-1] == f"{path}: and 10 more"
    np.save(path, np.full((2, 2, 3), 1e39))
    assert "6 infinite of 6" in refused(open_dataset(path, INPUT).check)[0]


def test_arrays_are_not_preprocessed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values(3, 2, 3))
    for path in (tmp_path, tmp_path / "a.npy"):
        assert "preprocessing (div=2" in refused(open_dataset, path, INPUT, "div=2")[0]


def test_a_folder(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=values(2, 3), h=values(2, 1, 4))
    np.savez_compressed(tmp_path / "b.npz", x=values(1, 2, 3, kind="i1"), h=values(1, 4))
    (tmp_path / "c.npz").write_bytes(b"PK\3\4damaged")
    (tmp_path / "d.npz").write_bytes(b"")
    data = open_dataset(tmp_path, TWO)
    assert len(data) == 4
    assert [Path(name).name for name, _ in data.skipped] == ["c.npz", "d.npz"]
    samples = list(data)
    assert [sample["x"].shape for sample in samples] == [(1, 2, 3)] * 2
    assert [sample["h"].shape for sample in samples] == [(2, 1, 4), (1, 1, 4)]
    np.testing.assert_array_equal(samples[1]["x"], values(1, 2, 3))
    with pytest.raises(CorruptSampleError):
        data[2]
    digest = open_dataset(tmp_path, TWO).digest
    assert data.digest == digest
    np.savez(tmp_path / "e.npz", x=values(5, 3), h=values(9))
    np.savez(tmp_path / "f.npz", y=values(5, 3), z=values(9))
    problems = refused(open_dataset, tmp_path, TWO)
    assert len(problems) == 3
    assert "e.npz: array 'x': shape [5, 3] does not fit input x of shape [1, 2, 3]" in problems[0]
    assert "f.npz: no array for input x, h" in problems[2]


def test_a_folder_of_npy_and_a_list_of_them(tmp_path: Path) -> None:
    for index in range(3):
        np.save(tmp_path / f"{index}.npy", values(2, 3) + index)
    data = open_dataset(tmp_path, INPUT)
    assert [float(s["x"][0, 0, 0] - values(2, 3)[0, 0]) for s in data] == [0, 1, 2]
    (tmp_path / "list.txt").write_text("2.npy 1\n0.npy 5\n")
    listed = open_dataset(tmp_path / "list.txt", INPUT)
    assert listed.labels == [1, 5]
    np.testing.assert_array_equal(listed[0]["x"], data[2]["x"])
    digest = data.digest
    np.save(tmp_path / "1.npy", values(2, 3))
    assert open_dataset(tmp_path, INPUT).digest != digest


def test_all_of_a_folder_damaged(tmp_path: Path) -> None:
    for index in range(30):
        (tmp_path / f"{index}.npy").write_bytes(b"\x93NUMPY\1\0\0\0")
    problems = refused(open_dataset(tmp_path, INPUT).check)
    assert "not one of 30 samples can be read" in problems[0]
    assert problems[-1] == f"{tmp_path}: and 10 more"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_check_sum_that_is_wrong(tmp_path: Path, save) -> None:
    path = tmp_path / "a.npz"
    array = values(4, 2000, 3)
    save(path, x=array)
    assert len(list(open_dataset(path, {"x": (1, 2000, 3)}))) == 4
    with zipfile.ZipFile(path) as archive:
        noted = archive.infolist()[0].CRC.to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(noted, bytes(4)))
    data = open_dataset(path, {"x": (1, 2000, 3)})
    np.testing.assert_array_equal(data[1]["x"], array[1:2])
    problem = refused(data.check)[0]
    assert "check sum is wrong" in problem or "Bad CRC-32" in problem


def _flipped(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    if rng.random() < 0.2:
        return bytes(out[: rng.randrange(len(out))])
    for _ in range(rng.randrange(1, 5)):
        out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


@pytest.mark.parametrize("kind", ["npy", "npz", "compressed"])
def test_damaged_files_are_user_errors(tmp_path: Path, kind: str) -> None:
    out = io.BytesIO()
    array = values(4, 2, 3)
    if kind == "npy":
        np.save(out, array)
    elif kind == "npz":
        np.savez(out, x=array)
    else:
        np.savez_compressed(out, x=array)
    rng = random.Random(kind)
    path = tmp_path / ("a.npy" if kind == "npy" else "a.npz")
    folder = tmp_path / "folder"
    folder.mkdir()
    kept = refusals = 0
    for _ in range(300):
        data = _flipped(out.getvalue(), rng)
        path.write_bytes(data)
        (folder / path.name).write_bytes(data)
        for place, shape in ((path, (1, 2, 3)), (folder, (4, 2, 3))):
            try:
                kept += len(list(open_dataset(place, {"x": shape})))
            except UserError:
                refusals += 1
    assert refusals
    assert kept or kind != "npy"


def test_a_header_that_lies_about_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 2, 3)}
        )
        file.write(bytes(24))
    problem = refused(open_dataset, path, INPUT)[0]
    assert "shape [1099511627776, 2, 3] takes 26388279066624 bytes, 24 are there" in problem


def test_two_arrays_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    out = io.BytesIO()
    np.save(out, values(3, 2, 3))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", out.getvalue())
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", out.getvalue())
    assert "two arrays of one name" in refused(open_dataset, path, INPUT)[0]


def test_a_compressed_array_that_claims_to_be_huge(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 30, 2, 3)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(1000))
    sizes = (len(header.getvalue()) + 1000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(sizes, b"\xff\xff\xff\xfe"))
    assert "bytes, " in refused(open_dataset, path, INPUT)[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values(2, 3))
    os.mkfifo(tmp_path / "b.npy")
    data = open_dataset(tmp_path, INPUT)
    assert data.skipped == [(str(tmp_path / "b.npy"), "not a file")]


_MEASURE = """
import resource, sys
import numpy as np
from nntc.data import open_dataset
data = open_dataset(sys.argv[1], {"x": (1, 1024, 1024)})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
total = sum(float(sample["x"][0, 0, 0]) for sample in data)
assert len(data.digest) == 64
assert total == sum(range(48)), total
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory as Linux does")
@pytest.mark.parametrize("kind", ["npy", "npz", "compressed"])
def test_memory_holds_one_sample(tmp_path: Path, kind: str) -> None:
    """48 samples of 4 MB: 192 MB in the file."""
    array = np.zeros((48, 1024, 1024), np.float32)
    array[:, 0, 0] = np.arange(48)
    path = tmp_path / ("a.npy" if kind == "npy" else "a.npz")
    if kind == "npy":
        np.save(path, array)
    else:
        (np.savez if kind == "npz" else np.savez_compressed)(path, x=array)
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 40
