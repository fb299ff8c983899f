"""Attribute values of operators: which kinds exist and how a value is brought to its kind.

Attributes are plain immutable Python values, so that operators compare, hash, print and parse:
``int``, ``float``, ``bool``, ``str``, ``Literal[...]`` of strings, ``DType``, and flat tuples.
"""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError

_NUMPY_SCALAR: Any = np.generic
INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1


def describe(kind: object) -> str:
    """The kind in words, for messages."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"a tuple of {getattr(get_args(kind)[0], '__name__', kind)}"
    if kind is DType:
        return "one of " + ", ".join(map(str, DType))
    return {int: "an integer of 64 bits", float: "a number", bool: "true or false"}.get(
        kind,  # type: ignore[arg-type]
        "a string",
    )


def normalise(kind: object, value: Any, what: str) -> object:
    """*value* as the declared *kind*: lists become tuples, NumPy numbers Python's.

    Args:
        what: the attribute's name for the message.

    Raises:
        ModelError: the value is of another kind.
    """
    if get_origin(kind) is tuple:
        return _normalise_tuple(kind, value, what)
    if _is(kind, value):
        return value
    plain = value.item() if isinstance(value, _NUMPY_SCALAR) else value
    if kind is float and type(plain) is int:
        return float(plain)
    # ONNX and others write truth values as the integers 0 and 1.
    if kind is bool and type(plain) is int and plain in (0, 1):
        return bool(plain)
    if _is(kind, plain):
        return plain
    raise ModelError(f"{what} must be {describe(kind)}, not {value!r}")


def _normalise_tuple(kind: object, value: Any, what: str) -> object:
    if type(value) not in (tuple, list, np.ndarray):
        raise ModelError(f"{what} must be {describe(kind)}, not {value!r}")
    given: tuple[Any, ...] = tuple(value)
    items = tuple(normalise(get_args(kind)[0], item, what) for item in given)
    same = type(value) is tuple and all(a is b for a, b in zip(items, given, strict=True))
    return given if same else items


def _is(kind: object, value: object) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is int:
        return type(value) is int and INT_MIN <= value <= INT_MAX
    return isinstance(kind, type) and type(value) is kind
