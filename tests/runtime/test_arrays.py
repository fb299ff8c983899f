"""Arrays from and to files."""

from __future__ import annotations

import contextlib
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nntc.core.errors import UserError
from nntc.runtime.arrays import load_inputs, random_inputs, save_npz
from nntc.runtime.picture import load_picture
from nntc.runtime.tensors import TensorInfo


def test_round_trip_with_awkward_names(tmp_path: Path) -> None:
    arrays = {
        "file": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a/b:0": np.array(7, np.int64),
        "层": np.zeros((0, 3), np.uint8),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    }
    path = tmp_path / "x.npz"
    save_npz(path, arrays)
    for found in (load_inputs(path), dict(np.load(path))):
        assert isinstance(found, dict)
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype
    first = path.read_bytes()
    save_npz(path, arrays)
    assert path.read_bytes() == first


def test_npy_and_unnamed_npz_give_lists(tmp_path: Path) -> None:
    x = np.arange(4, dtype=">i4")
    np.save(tmp_path / "x.npy", x)
    (found,) = load_inputs(tmp_path / "x.npy")
    np.testing.assert_array_equal(found, x)
    np.savez(tmp_path / "x.npz", x, x + 1)
    listed = load_inputs(tmp_path / "x.npz")
    assert isinstance(listed, list)
    np.testing.assert_array_equal(listed[1], x + 1)


class Trap:
    def __reduce__(self) -> object:
        return (pytest.fail, ("unpickled",))


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([Trap()], object), allow_pickle=True)
    with pytest.raises(UserError, match="Python objects"):
        load_inputs(tmp_path / "x.npy")
    (tmp_path / "y.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match="neither"):
        load_inputs(tmp_path / "y.npz")


def npy(shape: str, data: bytes = b"", descr: str = "<f4") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither"),
        (b"\x93NUMPY", "damaged"),
        (npy("(2,)", b"1234"), "damaged: 4 bytes"),
        (npy("(1000000, 1000000)"), "too large"),
        (npy("(-1,)"), "damaged"),
        (npy("(1,)", b"abcd", "<U1"), "no type of numbers"),
        (npy("(__import__('os'),)"), "damaged"),
        (b"PK\x03\x04 not a zip", "damaged .npz"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_inputs(path)


def test_bad_members_are_all_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"junk")
        archive.writestr("b.npy", npy("(9,)", b"short"))
    with pytest.raises(UserError) as caught:
        load_inputs(path)
    assert len(caught.value.problems) == 2
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(UserError, match="holds no array"):
        load_inputs(path)


def test_truncated_npz_never_escapes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(1000.0), b=np.arange(10))
    whole = buffer.getvalue()
    path = tmp_path / "x.npz"
    for cut in range(0, len(whole), 37):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError):
            load_inputs(path)
    generator = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[generator.integers(len(whole))] ^= 1 << generator.integers(8)
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(UserError):
            load_inputs(path)


def info(shape: tuple[int, ...], dtype: type = np.float32, scale: float = 1.0) -> TensorInfo:
    return TensorInfo("x", np.dtype(dtype), (shape,), scale)


def test_random_inputs_repeat_and_fit() -> None:
    tensors = [info((2, 3)), info((100,), np.int8, 0.5), info((100,), np.uint8), info(())]
    tensors = [TensorInfo(f"x{i}", t.dtype, t.shapes, t.scale) for i, t in enumerate(tensors)]
    first, second = random_inputs(tensors, 3), random_inputs(tensors, 3)
    for tensor in tensors:
        np.testing.assert_array_equal(first[tensor.name], second[tensor.name])
        assert first[tensor.name].shape == tensor.shape
    assert np.abs(first["x1"] * 0.5).max() > 60
    assert first["x2"].max() > 127


def picture(path: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[:, :, 0] = 200
    pixels[:, 2:, 2] = 100
    image.fromarray(pixels).save(path)
    return path


def test_pictures(tmp_path: Path) -> None:
    path = picture(tmp_path / "x.png")
    array = load_picture(path, [info((1, 3, 2, 4))], [100.0, 0, 0], [0.5])
    assert array.shape == (1, 3, 2, 4)
    assert array.dtype == np.float32
    assert array[0, :, 0, 0].tolist() == [50, 0, 0]
    assert array[0, :, 1, 3].tolist() == [50, 0, 50]
    nhwc = load_picture(path, [info((1, 2, 4, 3))], bgr=True)
    assert nhwc[0, 0, 3].tolist() == [100, 0, 200]
    assert load_picture(path, [info((1, 1, 1, 2))]).shape == (1, 1, 1, 2)


def test_pictures_that_do_not_fit(tmp_path: Path) -> None:
    path = picture(tmp_path / "x.png")
    with pytest.raises(UserError, match="is no picture"):
        load_picture(path, [info((1, 10))])
    with pytest.raises(UserError, match="one input"):
        load_picture(path, [info((1, 3, 2, 2))] * 2)
    with pytest.raises(UserError, match="--mean: 2 numbers for 3 channels"):
        load_picture(path, [info((1, 3, 2, 2))], mean=[1, 2])
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match="cannot be read as a picture"):
        load_picture(path, [info((1, 3, 2, 2))])
