"""Weights on disk: safetensors files, written whole and read as views of the mapped file.

The format: 8 bytes with the length of a header, the header as JSON (name → type, shape, first byte
and end), then the tensors one after another. The reader is our own because a file comes from
anywhere: every rule of the format is checked, nothing is copied.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file  # pyright: ignore[reportUnknownVariableType]

from nntc.core.dtype import DType
from nntc.core.errors import ModelError, Problems, UserError
from nntc.ir._syntax import is_possible_shape
from nntc.ir.graph import TensorType

_Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"
_DTYPES = {("BOOL" if d is DType.BOOL else d.value.upper()): d for d in DType}
_MOST_HEADER_BYTES = 100_000_000


def write_weights(tensors: Mapping[str, np.ndarray], path: Path) -> None:
    """Write the tensors; the same tensors give the same bytes.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        save_file({k: np.require(v, requirements="C") for k, v in tensors.items()}, path)
    except SafetensorError as err:
        raise OSError(0, str(err)) from None


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Tensors of a safetensors file as read-only views of the mapped file.

    Raises:
        UserError: the file cannot be opened.
        ModelError: lists the rules of the format that it breaks.
    """
    content = _map(path)
    try:
        return _tensors(*_split(content))
    except ModelError as err:
        raise ModelError([f"{path}: {problem}" for problem in err.problems]) from None


def _map(path: Path) -> _Bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return np.zeros(0, np.uint8)
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except OSError as err:
        raise UserError(f"{path}: cannot be read: {err.strerror or err}") from None


def _split(content: _Bytes) -> tuple[dict[str, Any], _Bytes]:
    """The header's entries and the bytes of all tensors."""
    length = int.from_bytes(content[:8].tobytes(), "little")
    if len(content) < 8 or not 2 <= length <= min(len(content) - 8, _MOST_HEADER_BYTES):
        raise ModelError(f"is no safetensors file: {len(content)} bytes, a header of {length}")
    try:
        header: Any = json.loads(content[8 : 8 + length].tobytes())
    except (ValueError, RecursionError):
        raise ModelError("is no safetensors file: the header is no JSON") from None
    if not isinstance(header, dict):
        raise ModelError("is no safetensors file: the header is no table")
    entries = cast("dict[str, Any]", header)
    entries.pop("__metadata__", None)
    return entries, content[8 + length :]


def _tensors(entries: dict[str, Any], data: _Bytes) -> dict[str, np.ndarray]:
    """The tensors, which fill *data* one after another without gap or overlap."""
    problems = Problems(ModelError)
    places: list[tuple[int, int, str, TensorType]] = []
    for name, entry in entries.items():
        with problems.collect():
            places.append(_place(name, entry))
    problems.raise_if_any()
    found: dict[str, np.ndarray] = {}
    end = 0
    for begin, stop, name, kind in sorted(places, key=lambda place: place[:2]):
        if begin != end or stop > len(data):
            raise ModelError(
                f"tensor {name}: lies at bytes {begin} to {stop}, but the tensor before ends at "
                f"{end} and the file at {len(data)}"
            )
        end = stop
        content: Any = data[begin:stop]
        if kind.dtype is DType.BOOL and content.max(initial=0) > 1:
            raise ModelError(f"tensor {name}: holds bytes other than 0 and 1 as truth values")
        found[name] = np.reshape(content.view(kind.dtype.numpy), kind.shape)
    if end != len(data):
        raise ModelError(f"{len(data) - end} bytes follow the last tensor")
    return found


def _place(name: str, entry: Any) -> tuple[int, int, str, TensorType]:
    """First byte, end, name and type of one tensor as the header states them."""
    try:
        dtype = _DTYPES[entry["dtype"]]
        shape = tuple(entry["shape"])
        begin, end = entry["data_offsets"]
        if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
            raise ValueError
        if not is_possible_shape(shape):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        entry_text = json.dumps(entry)[:100]
        raise ModelError(f"tensor {name}: cannot read the entry {entry_text}") from None
    kind = TensorType(dtype, shape)
    size = kind.size * dtype.size
    if end - begin != size:
        raise ModelError(f"tensor {name}: {kind} has {size} bytes, {end - begin} are stored")
    return begin, end, name, kind
