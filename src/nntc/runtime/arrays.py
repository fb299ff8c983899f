"""Arrays from and to files: .npz and .npy, without pickles and without surprises in size."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from nntc.core.errors import Problems, UserError
from nntc.core.files import atomic_path

if TYPE_CHECKING:
    from nntc.runtime.tensors import TensorInfo

MAX_INPUT_BYTES = 8 << 30
"""Declared size of all arrays of a file above which it is refused before anything is read."""

NpInputs = dict[str, np.ndarray] | list[np.ndarray]


def load_inputs(path: str | os.PathLike[str]) -> NpInputs:
    """The arrays of an .npz by name, or the array of an .npy.

    An .npz made without names (``arr_0``, ``arr_1``, …) gives a list.

    Raises:
        UserError: missing, not an array file, damaged, holds Python objects, or is too large.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(6)
            file.seek(0)
            if start.startswith(b"PK"):
                return _read_npz(path, file)
            if start == b"\x93NUMPY":
                return [_read_npy(path, path.name, file)]
    except OSError as err:
        raise UserError(f"{path}: cannot be read: {err.strerror or err}") from None
    raise UserError(f"{path}: is neither an .npz nor an .npy file")


def _read_npz(path: Path, file: IO[bytes]) -> NpInputs:
    arrays: dict[str, np.ndarray] = {}
    problems = Problems()
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            declared = sum(member.file_size for member in members)
            if declared > MAX_INPUT_BYTES:
                raise UserError(f"{path}: {declared} bytes of arrays; {MAX_INPUT_BYTES} are read")
            for member in members:
                name = member.filename.removesuffix(".npy")
                with problems.collect(), archive.open(member) as content:
                    arrays[name] = _read_npy(path, name, content)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as err:
        raise UserError(f"{path}: damaged .npz file: {err}") from None
    problems.raise_if_any()
    if not arrays:
        raise UserError(f"{path}: holds no array")
    numbered = [f"arr_{index}" for index in range(len(arrays))]
    if set(numbered) == set(arrays):
        return [arrays[name] for name in numbered]
    return arrays


def _read_npy(path: Path, name: str, file: IO[bytes]) -> np.ndarray:
    where = f"{path}: array {name!r}"
    try:
        version = np.lib.format.read_magic(file)
        reader = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = reader(file)
        if dtype.hasobject:
            raise UserError(f"{where}: holds Python objects, not numbers")
        if dtype.kind not in "biuf":
            raise UserError(f"{where}: {dtype} is no type of numbers")
        count = 1
        for dim in shape:
            if dim < 0:
                raise UserError(f"{where}: damaged: shape {shape}")
            count *= dim
        if count * dtype.itemsize > MAX_INPUT_BYTES:
            raise UserError(f"{where}: shape {shape} is too large")
        data = file.read(count * dtype.itemsize)
        if len(data) != count * dtype.itemsize:
            raise UserError(f"{where}: damaged: {len(data)} bytes for shape {shape}")
        flat = np.frombuffer(data, dtype)
        return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    except (ValueError, SyntaxError, zipfile.BadZipFile, EOFError) as err:
        raise UserError(f"{where}: damaged: {err}") from None


def save_npz(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays under their names; the same arrays give the same bytes.

    Raises:
        UserError: cannot be written.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            # ZipInfo's own date is constant, and force_zip64 lets one array pass 4 GB.
            member = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(member, "w", force_zip64=True) as out:
                np.lib.format.write_array(out, np.asanyarray(array), allow_pickle=False)


def random_inputs(tensors: Sequence[TensorInfo], seed: int) -> dict[str, np.ndarray]:
    """Normal numbers for float and scaled tensors, whole numbers over the 8-bit range for others.

    The same seed gives the same arrays.
    """
    generator = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for tensor in tensors:
        if tensor.is_real:
            values = generator.standard_normal(tensor.shape).astype(np.float32)
            if tensor.dtype.kind in "iu":
                # Spread over the whole range of the quantised type.
                limit = np.iinfo(tensor.dtype).max  # type: ignore[type-var]
                values *= np.float32(limit / (2.5 * abs(tensor.scale)))
            arrays[tensor.name] = values
        else:
            low, high = (0, 256) if tensor.dtype.kind == "u" else (-128, 128)
            arrays[tensor.name] = generator.integers(low, high, tensor.shape).astype(tensor.dtype)
    return arrays
