"""TensorProto and SparseTensorProto to NumPy arrays, with every size checked first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import SparseTensorProto, TensorProto

from nntc.core.errors import ModelError, UserError
from nntc.frontends import limits
from nntc.frontends.onnx.call import RefusedError, type_name
from nntc.frontends.onnx.file import ExternalData

_T = TensorProto
# Type number → NumPy type in the file; the float types of 16 and 64 bits become float32 later.
_PLAIN: dict[int, str] = {
    _T.FLOAT: "<f4",
    _T.DOUBLE: "<f8",
    _T.FLOAT16: "<f2",
    _T.BOOL: "?",
    _T.INT8: "i1",
    _T.UINT8: "u1",
    _T.INT16: "<i2",
    _T.UINT16: "<u2",
    _T.INT32: "<i4",
    _T.UINT32: "<u4",
    _T.INT64: "<i8",
    _T.UINT64: "<u8",
}
# Packed integers: bits, signed. Elements fill a byte from its low bits on.
_PACKED: dict[int, tuple[int, bool]] = {
    _T.INT4: (4, True),
    _T.UINT4: (4, False),
    **({_T.INT2: (2, True), _T.UINT2: (2, False)} if hasattr(_T, "INT2") else {}),
}
# Small floats: exponent bits, mantissa bits, exponent bias, kind of special values. "fn": no
# infinities, NaN is all ones; "fnuz": also no minus zero, whose code is NaN; "finite": no NaN.
_SMALL_FLOATS: dict[str, tuple[int, int, int, str]] = {
    "FLOAT8E4M3FN": (4, 3, 7, "fn"),
    "FLOAT8E4M3FNUZ": (4, 3, 8, "fnuz"),
    "FLOAT8E5M2": (5, 2, 15, "ieee"),
    "FLOAT8E5M2FNUZ": (5, 2, 16, "fnuz"),
    "FLOAT4E2M1": (2, 1, 1, "finite"),
}


def to_array(tensor: TensorProto, external: ExternalData, name: str = "") -> np.ndarray:
    """The tensor's data; float16, bfloat16, float64 and smaller floats become float32.

    Integers of 4 and 2 bits become 8-bit integers of the same value.

    Raises:
        ModelError: the data does not fit the declared shape, or is not found.
        RefusedError: strings and complex numbers.
    """
    label = name or tensor.name or "tensor"
    shape = tuple(tensor.dims)
    kind = tensor.data_type
    elements = limits.count(shape)
    if elements * _bits(kind) // 8 > limits.TENSOR_BYTES:
        raise ModelError(
            f"tensor '{label}' of shape {list(shape)} is larger than {limits.TENSOR_BYTES} bytes"
        )
    if tensor.HasField("segment"):
        raise RefusedError(f"tensor '{label}' is stored in segments")
    try:
        data = _stored(tensor, external, elements)
    except UserError as err:
        raise type(err)([f"tensor '{label}': {text}" for text in err.problems]) from None
    return np.ascontiguousarray(data).reshape(shape)


def _bits(kind: int) -> int:
    """Bits per element in the file.

    Raises:
        RefusedError: a type without meaning on the chip.
    """
    if kind in _PLAIN:
        return np.dtype(_PLAIN[kind]).itemsize * 8
    if kind == _T.BFLOAT16:
        return 16
    if kind in _PACKED:
        return _PACKED[kind][0]
    name = type_name(kind).upper()
    if name in _SMALL_FLOATS:
        return 4 if name == "FLOAT4E2M1" else 8
    raise RefusedError(f"element type {type_name(kind)} has no equivalent on the chip")


def _stored(tensor: TensorProto, external: ExternalData, elements: int) -> np.ndarray:
    kind = tensor.data_type
    size = -(-elements * _bits(kind) // 8)
    if tensor.data_location == _T.EXTERNAL:
        return _decode(_external_bytes(tensor, external, size), kind, elements)
    if tensor.HasField("raw_data"):
        raw = tensor.raw_data
        if len(raw) != size:
            raise ModelError(
                f"shape {list(tensor.dims)} of {type_name(kind)} needs {size} bytes, "
                f"{len(raw)} are stored"
            )
        return _decode(raw, kind, elements)
    return _from_fields(tensor, elements)


def _external_bytes(tensor: TensorProto, external: ExternalData, size: int) -> bytes:
    entries = {e.key: e.value for e in tensor.external_data}
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries["length"]) if entries.get("length") else size
    except ValueError:
        raise ModelError("offset or length of its external data is not a number") from None
    if length != size:
        raise ModelError(
            f"shape {list(tensor.dims)} of {type_name(tensor.data_type)} needs {size} bytes, "
            f"its external data has {length}"
        )
    return external.read(entries.get("location", ""), offset, length)


def _decode(raw: bytes, kind: int, elements: int) -> np.ndarray:
    """Elements from the little-endian bytes of ``raw_data``."""
    if kind in _PLAIN:
        return _as_f32(np.frombuffer(raw, _PLAIN[kind]))
    if kind == _T.BFLOAT16:
        return _bfloat16(np.frombuffer(raw, "<u2"))
    codes = np.frombuffer(raw, np.uint8)
    if kind in _PACKED:
        bits, signed = _PACKED[kind]
        return (
            _sign(_unpack(codes, bits, elements), bits)
            if signed
            else _unpack(codes, bits, elements)
        )
    name = type_name(kind).upper()
    if name == "FLOAT4E2M1":
        codes = _unpack(codes, 4, elements)
    return _small_float(codes, *_SMALL_FLOATS[name])


def _from_fields(tensor: TensorProto, elements: int) -> np.ndarray:
    """Elements from the typed fields (float_data, int32_data, ...)."""
    kind = tensor.data_type
    stored: Sequence[float] | Sequence[int]
    if kind == _T.FLOAT:
        stored = tensor.float_data
    elif kind == _T.DOUBLE:
        stored = tensor.double_data
    elif kind == _T.INT64:
        stored = tensor.int64_data
    elif kind in (_T.UINT32, _T.UINT64):
        stored = tensor.uint64_data
    else:
        stored = tensor.int32_data
    packed = 8 // _bits(kind) if _bits(kind) < 8 else 1
    if len(stored) != -(-elements // packed):
        raise ModelError(
            f"shape {list(tensor.dims)} has {elements} elements, {len(stored) * packed} are stored"
        )
    if kind in (_T.FLOAT, _T.DOUBLE):
        return np.array(stored, np.float32)
    wide = np.array(stored, np.uint64 if kind in (_T.UINT32, _T.UINT64) else np.int64)
    if kind == _T.FLOAT16:
        return wide.astype(np.uint16).view(np.float16).astype(np.float32)
    if kind == _T.BFLOAT16:
        return _bfloat16(wide.astype(np.uint16))
    if kind in _PLAIN:
        return wide.astype(np.dtype(_PLAIN[kind]))
    return _decode(wide.astype(np.uint8).tobytes(), kind, elements)


def _as_f32(data: np.ndarray) -> np.ndarray:
    if data.dtype.kind != "f" or data.dtype == np.float32:
        return data
    with np.errstate(over="ignore"):
        return data.astype(np.float32)


def _bfloat16(codes: np.ndarray) -> np.ndarray:
    return (codes.astype(np.uint32) << 16).view(np.float32)


def _unpack(data: np.ndarray, bits: int, elements: int) -> np.ndarray:
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return ((data[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:elements]


def _sign(codes: np.ndarray, bits: int) -> np.ndarray:
    return (codes << (8 - bits)).view(np.int8) >> (8 - bits)


def _small_float(
    codes: np.ndarray, exponent_bits: int, mantissa_bits: int, bias: int, special: str
) -> np.ndarray:
    """Values of float codes of up to 8 bits, through a table of all codes."""
    bits = 1 + exponent_bits + mantissa_bits
    table = np.zeros(1 << bits, np.float32)
    for code in range(1 << bits):
        exponent = (code >> mantissa_bits) & ((1 << exponent_bits) - 1)
        mantissa = code & ((1 << mantissa_bits) - 1)
        fraction = mantissa / (1 << mantissa_bits)
        value = (
            fraction * 2.0 ** (1 - bias)
            if exponent == 0
            else (1 + fraction) * 2.0 ** (exponent - bias)
        )
        table[code] = -value if code >> (bits - 1) else value
    half = 1 << (bits - 1)
    if special == "fn":
        table[[half - 1, 2 * half - 1]] = np.nan
    elif special == "fnuz":
        table[half] = np.nan
    elif special == "ieee":
        top = ((1 << exponent_bits) - 1) << mantissa_bits
        table[top] = np.inf
        table[half + top] = -np.inf
        table[top + 1 : half] = np.nan
        table[half + top + 1 :] = np.nan
    return table[codes]


def sparse_to_array(sparse: SparseTensorProto, external: ExternalData) -> np.ndarray:
    """A sparse tensor in full.

    Raises:
        ModelError: indices and values do not fit each other or the shape.
    """
    name = sparse.values.name or "sparse tensor"
    shape = tuple(sparse.dims)
    values = to_array(sparse.values, external, name)
    indices = to_array(sparse.indices, external, f"{name} (indices)")
    if limits.count(shape) * values.itemsize > limits.CONSTANT_BYTES:
        raise ModelError(
            f"tensor '{name}' of shape {list(shape)} is larger than {limits.CONSTANT_BYTES} bytes"
        )
    if values.ndim != 1 or indices.dtype != np.int64 or indices.shape[:1] != values.shape:
        raise ModelError(f"tensor '{name}': its indices do not belong to its values")
    full = np.zeros(shape, values.dtype)
    try:
        where = tuple(indices.T) if indices.ndim == 2 else np.unravel_index(indices, shape)
        if any((w < 0).any() for w in where) or len(where) != len(shape):
            raise IndexError
        full[where] = values
    except (IndexError, ValueError):
        raise ModelError(
            f"tensor '{name}': an index lies outside its shape {list(shape)}"
        ) from None
    return full


def check_numbers(data: np.ndarray, name: str) -> None:
    """Refuse weights that are not numbers; infinities are legal (masks use them).

    Raises:
        ModelError: with the tensor's name.
    """
    if data.dtype.kind != "f" or data.size == 0:
        return
    # One pass without a temporary array: a sum is NaN if an element is, or if infinities cancel.
    with np.errstate(all="ignore"):
        if not np.isnan(np.sum(data)):
            return
    bad = int(np.isnan(data).sum())
    if bad:
        raise ModelError(
            f"tensor '{name}' holds NaN in {bad} of {data.size} elements, every result that uses "
            "it would be NaN; repair or export the model again"
        )
