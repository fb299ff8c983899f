"""Attribute values of operators: which kinds exist and how a value is brought to its kind.

Attributes are plain immutable Python values, so that operators compare, hash, print and parse:
``int``, ``float``, ``bool``, ``str``, ``Literal[...]`` of strings, ``DType``, and flat tuples.
"""

from __future__ import annotations

import operator
from numbers import Real
from typing import Literal, get_args, get_origin

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError

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


def normalise(kind: object, value: object, what: str) -> object:
    """*value* as the declared *kind*: lists become tuples, NumPy numbers Python's.

    Args:
        what: the attribute's name for the message.

    Raises:
        ModelError: the value is of another kind.
    """
    if get_origin(kind) is tuple:
        if not isinstance(value, (tuple, list, np.ndarray)):
            raise ModelError(f"{what} must be {describe(kind)}, not {value!r}")
        item_kind = get_args(kind)[0]
        items = tuple(normalise(item_kind, item, what) for item in value)
        same = isinstance(value, tuple) and all(a is b for a, b in zip(items, value, strict=True))
        return value if same else items
    if _is(kind, value):
        return value
    if kind is int and isinstance(value, np.integer):
        return operator.index(value)
    if kind is float and isinstance(value, (Real, np.floating)) and not isinstance(value, bool):
        return float(value)
    # ONNX and others write truth values as the integers 0 and 1.
    if kind is bool and isinstance(value, (int, np.integer, np.bool_)) and value in (0, 1):
        return bool(value)
    raise ModelError(f"{what} must be {describe(kind)}, not {value!r}")


def _is(kind: object, value: object) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is int:
        return type(value) is int and INT_MIN <= value <= INT_MAX
    return isinstance(kind, type) and type(value) is kind
