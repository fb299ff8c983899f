"""One node as its reader sees it, and the table of readers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends.builder import Builder
from nntc.frontends.errors import RefusedError
from nntc.frontends.mxnet.symbol import Node
from nntc.ir.graph import Value

_INTEGER = re.compile(r"-?\d+")


@dataclass
class Call:
    """A node to read.

    Attributes:
        operand: gives the value of an input by its number; those not asked for (labels) need none.
    """

    b: Builder
    node: Node
    operand: Callable[[int], Value]
    operands: int

    @property
    def op(self) -> str:
        return self.node.op

    def __len__(self) -> int:
        return self.operands

    # -- operands ---------------------------------------------------------------------------

    def x(self, index: int = 0) -> Value:
        """Raises ModelError if the node has fewer operands."""
        if index >= self.operands:
            raise ModelError(f"{self.operands} operands, at least {index + 1} are needed")
        return self.operand(index)

    def xs(self) -> list[Value]:
        return [self.x(i) for i in range(self.operands)]

    def picture(self, index: int = 0) -> Value:
        """Raises ModelError unless its rank is 4."""
        x = self.x(index)
        if len(x.shape) != 4:
            raise ModelError(f"operand {index} has shape {list(x.shape)}, rank 4 is needed")
        return x

    def vector(self, index: int, count: int, what: str) -> Value:
        """An operand of *count* numbers, as a list.

        Raises:
            ModelError: it has another size.
        """
        x = self.x(index)
        if x.type.size != count:
            raise ModelError(f"{what} has shape {list(x.shape)}, {count} numbers are needed")
        return self.b.reshape(x, (count,))

    def const(self, index: int, what: str) -> np.ndarray:
        """Raises RefusedError if the operand is not constant."""
        data = self.x(index).data
        if data is None:
            raise RefusedError(f"{what} is not constant")
        return data

    # -- options ----------------------------------------------------------------------------

    def has(self, key: str) -> bool:
        return self.node.attrs.get(key, "None") not in ("None", "")

    def text(self, key: str, default: str) -> str:
        return self.node.attrs[key] if self.has(key) else default

    def choice(self, key: str, names: Sequence[str]) -> str:
        """One of these names, by default the first.

        Raises:
            ModelError: it is none of them.
        """
        text = self.text(key, names[0])
        if text not in names:
            raise ModelError(f"{key}={text[:80]} is not known; known are {', '.join(names)}")
        return text

    def number(self, key: str, default: float) -> float:
        """Raises ModelError if the option is not a finite number."""
        if not self.has(key):
            return default
        text = self.node.attrs[key]
        try:
            value = float(text)
            if not np.isfinite(value):
                raise ValueError
            return value
        except ValueError:
            raise ModelError(f"{key}={text[:80]} is not a number") from None

    def integer(self, key: str, default: int, low: int = -(1 << 53)) -> int:
        """Raises ModelError if the option is no whole number, or below *low*."""
        value = self.number(key, default)
        if value != int(value) or not low <= value < 1 << 53:
            raise ModelError(f"{key}={self.text(key, '')[:80]} is no whole number from {low} on")
        return int(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """Raises ModelError if the option is neither true nor false."""
        text = self.text(key, str(default)).lower()
        if text not in ("true", "false", "1", "0"):
            raise ModelError(f"{key}={text[:80]} is neither True nor False")
        return text in ("true", "1")

    def integers(self, key: str) -> tuple[int, ...]:
        """A tuple such as (3, 3) or (3L,); empty if the option is absent.

        Raises:
            ModelError: it is something else.
        """
        text = self.text(key, "()")
        if not set(text) <= set("0123456789-,()[] L"):
            raise ModelError(f"{key}={text[:80]} is no list of whole numbers")
        return tuple(int(n) for n in _INTEGER.findall(text)[:64] if len(n) < 18)

    def sizes(self, key: str, axes: int, default: int, low: int) -> tuple[int, ...]:
        """One number for each spatial axis.

        Raises:
            ModelError: too many or few, or one below *low*.
        """
        given = self.integers(key) or (default,) * axes
        if len(given) != axes or min(given) < low:
            raise ModelError(f"{key}={given}: {axes} numbers from {low} on are needed")
        return given

    def axis(self, value: int, rank: int) -> int:
        """Raises ModelError if there is no such axis."""
        if not -rank <= value < rank:
            raise ModelError(f"axis {value} of {rank}")
        return value % rank


Reader = Callable[[Call], "Value | list[Value]"]

READERS: dict[str, Reader] = {}
"""Operator → how it is read."""

BECOMES: dict[str, str] = {}
"""Operator → its meaning in the graph, for the documentation."""

REFUSED: dict[str, str] = {
    "RNN": "recurrent layers in one operator",
    "Custom": "it runs Python code of the user",
}
"""Operator → why it is not read."""


def reads(*names: str, becomes: str) -> Callable[[Reader], Reader]:
    """Register a reader for operators of these names."""

    def register(reader: Reader) -> Reader:
        for name in names:
            assert name not in READERS, name
            READERS[name] = reader
            BECOMES[name] = becomes
        return reader

    return register
