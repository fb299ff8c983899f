"""C structs as frozen dataclasses: natural alignment, little endian, shorter versions read."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from nntc.bmodel.cpu_enums import CpuOp
from nntc.core.errors import BModelError


def _member(code: str, count: int, default: Any) -> Any:
    return dataclasses.field(default=default, metadata={"code": code, "count": count})


def int_(default: int = 0) -> Any:
    return _member("i", 1, default)


def ints(count: int) -> Any:
    return _member("i", count, (0,) * count)


def int64_(default: int = 0) -> Any:
    return _member("q", 1, default)


def float_(default: float = 0.0) -> Any:
    return _member("f", 1, default)


def floats(count: int) -> Any:
    return _member("f", count, (0.0,) * count)


def bool_(default: bool = False) -> Any:
    return _member("?", 1, default)


def chars(count: int) -> Any:
    return _member("s", count, bytes(count))


P = TypeVar("P", bound="CpuParam")


@dataclass(frozen=True)
class CpuParam:
    """Base of the parameter structs: a dataclass whose fields are the C members in order."""

    @classmethod
    def size(cls) -> int:
        """``sizeof`` of the C struct."""
        return _layout(cls).size

    def pack(self) -> bytes:
        """The C struct's bytes; padding and values not given of an array are zero.

        Raises:
            BModelError: a value does not fit its member.
        """
        flat: list[Any] = []
        problems: list[str] = []
        for member in dataclasses.fields(self):
            value = getattr(self, member.name)
            try:
                flat += _member_values(member.metadata["code"], member.metadata["count"], value)
            except (struct.error, OverflowError, TypeError) as err:
                problems.append(f"{type(self).__name__}.{member.name} = {value!r}: {err}")
        if problems:
            raise BModelError(problems)
        return _layout(type(self)).pack(*flat)

    @classmethod
    def unpack(cls: type[P], data: bytes) -> P:
        """Read a struct; members beyond the end of a shorter (older) struct are zero.

        Raises:
            BModelError: longer than the struct.
        """
        layout = _layout(cls)
        if len(data) > layout.size:
            raise BModelError(
                f"{cls.__name__}: parameter of {len(data)} bytes, the struct has {layout.size}"
            )
        flat = list(layout.unpack(data.ljust(layout.size, b"\0")))
        made: dict[str, Any] = {}
        for member in dataclasses.fields(cls):
            count = 1 if member.metadata["code"] == "s" else member.metadata["count"]
            values, flat = flat[:count], flat[count:]
            made[member.name] = values[0] if count == 1 else tuple(values)
        return cls(**made)


def _member_values(code: str, count: int, value: Any) -> list[Any]:
    """The values to pack for one member, checked one by one so that an error names the member."""
    if code == "s":
        if len(value) > count:
            raise struct.error(f"more than {count} bytes")
        return [value]
    values = [value] if count == 1 else list(value)
    if len(values) > count:
        raise struct.error(f"more than {count} values")
    values += [0] * (count - len(values))
    struct.pack(f"<{count}{code}", *values)
    return values


@cache
def _layout(cls: type[CpuParam]) -> struct.Struct:
    # Natural alignment spelled out, so that the bytes do not depend on the machine running this.
    fmt, offset, widest = "<", 0, 1
    for member in dataclasses.fields(cls):
        code, count = member.metadata["code"], member.metadata["count"]
        width = struct.calcsize(f"<{code}")
        pad = -offset % width
        fmt += f"{pad}x{count}{code}"
        offset += pad + width * count
        widest = max(widest, width)
    return struct.Struct(f"{fmt}{-offset % widest}x")


PARAMS: dict[CpuOp, type[CpuParam]] = {}
"""The parameter struct of each op."""


def param(*ops: CpuOp) -> Callable[[type[P]], type[P]]:
    """Register a struct as the parameter of *ops*."""

    def register(cls: type[P]) -> type[P]:
        PARAMS.update(dict.fromkeys(ops, cls))
        return cls

    return register
