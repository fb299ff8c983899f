"""Arrays from and to files: .npz and .npy, without pickles and without surprises in size."""

from __future__ import annotations

import ast
import lzma
import math
import os
import struct
import zipfile
import zlib
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

MAX_HEADER_BYTES = 65535

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,  # a compression method or version that nobody uses
    OverflowError,
    RuntimeError,  # an encrypted member; a header of too many brackets
    MemoryError,  # the same, in other versions of Python
    SyntaxError,
    TypeError,
    ValueError,
)
"""What reading a damaged array file raises."""

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
    except _DAMAGE as err:
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
        shape, fortran, dtype = _read_header(file)
        if dtype.hasobject:
            raise UserError(f"{where}: holds Python objects, not numbers")
        if dtype.kind not in "biuf":
            raise UserError(f"{where}: {dtype} is no type of numbers")
        size = math.prod(shape) * dtype.itemsize
        if size > MAX_INPUT_BYTES:
            raise UserError(f"{where}: shape {shape} is too large")
        data = file.read(size)
    except _DAMAGE as err:
        raise UserError(f"{where}: damaged: {err}") from None
    if len(data) != size:
        raise UserError(f"{where}: damaged: {len(data)} bytes for shape {shape}")
    flat = np.frombuffer(data, dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, whether in Fortran order, and type of an .npy file.

    NumPy's own reader repairs headers of Python 2 and raises anything on damaged ones.

    Raises:
        one of _DAMAGE: not such a header.
    """
    magic, major = file.read(6), file.read(2)[:1]
    if magic != b"\x93NUMPY" or major not in (b"\1", b"\2", b"\3"):
        raise ValueError("not an .npy file")
    length = int.from_bytes(file.read(2 if major == b"\1" else 4), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes")
    fields = ast.literal_eval(file.read(length).decode("utf-8").strip())
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise ValueError("unknown header")
    shape = fields["shape"]
    if not isinstance(shape, tuple) or not all(isinstance(d, int) and d >= 0 for d in shape):
        raise ValueError(f"shape {shape!r}")
    return shape, bool(fields["fortran_order"]), np.dtype(fields["descr"])


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
