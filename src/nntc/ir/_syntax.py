"""The words of the text form: names, numbers, types, attribute values; printed and read back.

Text comes from anywhere: reading it evaluates nothing, allocates no more than the text's own size,
and takes time linear in it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, NoReturn, cast, get_args, get_origin

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.ir.attributes import INT_MAX, INT_MIN
from nntc.ir.graph import TensorType

_MAX_RANK = 32  # NumPy's limit before version 2

_NAME = r"[\w./-]+(?::+[\w./-]+)*"
_STRING = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(
    rf"""
    (?P<space>   \s+ | \#.* )
  | (?P<value>   % (?: {_NAME} | {_STRING} ) )
  | (?P<label>   @ (?: {_NAME} | {_STRING} ) )
  | (?P<string>  {_STRING} )
  | (?P<type>    [a-z]+\d* \[ [\dx]* \] )
  | (?P<hash>    sha256:\w+ )
  | (?P<number>  [-+]? (?: \d+ (?:\.\d*)? (?:[eE][-+]?\d+)? | inf\b | nan\b ) )
  | (?P<word>    [A-Za-z_]\w* )
  | (?P<mark>    [()\[\],:=] )
    """,
    re.VERBOSE | re.ASCII,
)
_BARE = re.compile(_NAME, re.ASCII)
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Token(NamedTuple):
    kind: str
    text: str
    column: int


def is_possible_shape(shape: Sequence[int]) -> bool:
    """Whether NumPy can hold a shape, were there the memory."""
    return len(shape) <= _MAX_RANK and math.prod(max(size, 1) for size in shape) < 1 << 59


def quoted(text: str) -> str:
    """A string in quotes; what cannot be printed is escaped."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def name_text(text: str) -> str:
    """A name as it stands behind % or @: bare where its characters allow."""
    return text if _BARE.fullmatch(text) else quoted(text)


def attribute_text(value: object) -> str:
    """An attribute's value."""
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        return "[" + ", ".join(map(attribute_text, items)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = str(value)
        return text if _WORD.fullmatch(text) and text not in ("inf", "nan") else quoted(text)
    return repr(value)


def array_text(array: np.ndarray) -> str | None:
    """The elements of a constant, flat; None if text cannot hold all their bits (odd NaNs)."""
    flat: np.ndarray[Any, np.dtype[Any]] = np.ravel(array)
    if flat.dtype.kind == "f":
        items = [_float_text(value) for value in flat]
        exact = np.array([float(text) for text in items], flat.dtype).tobytes() == flat.tobytes()
    else:
        items = [attribute_text(value) for value in flat.tolist()]
        exact = True
    return "[" + ", ".join(items) + "]" if exact else None


def _float_text(value: Any) -> str:
    """The shortest decimal that reads back to the same bits through float64.

    NumPy finds the digits; Python writes them, because NumPy's style changes with its version.
    """
    short = repr(float(str(value)))
    return short if type(value)(float(short)) == value else repr(float(value))


def _shown(token: Token) -> str:
    """The token for a message."""
    return token.text if token.kind == "end" else f"'{token.text[:40]}'"


class Line:
    """The tokens of one line, read from left to right.

    Errors name the line and the column (from 1).
    """

    def __init__(self, text: str, number: int) -> None:
        self.number = number
        self._tokens: list[Token] = []
        self._next = 0
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                self._fail(at + 1, f"cannot read {text[at : at + 20]!r}")
            kind = str(match.lastgroup)
            if kind != "space":
                self._tokens.append(Token(kind, match.group(), at + 1))
            at = match.end()
        self._end = Token("end", "the end of the line", len(text) + 1)

    @property
    def peek(self) -> Token:
        """The next token; at the end one of kind 'end'."""
        return self._tokens[self._next] if self._next < len(self._tokens) else self._end

    def _fail(self, column: int, message: str) -> NoReturn:
        raise ModelError(f"line {self.number}, column {column}: {message}")

    def fail(self, token: Token, message: str) -> NoReturn:
        """Refuse *token*.

        Raises:
            ModelError: always.
        """
        self._fail(token.column, message)

    def take(self, kind: str, what: str = "") -> Token:
        """The next token, which must be of *kind*."""
        token = self.peek
        if token.kind != kind:
            self.fail(token, f"expected {what or kind}, found {_shown(token)}")
        self._next += 1
        return token

    def accept(self, text: str) -> bool:
        """Step over the mark or word *text* if it is next."""
        found = self.peek.text == text and self.peek.kind in ("mark", "word")
        self._next += found
        return found

    def expect(self, text: str) -> None:
        """Step over the mark or word *text*, which must be next."""
        if not self.accept(text):
            self.fail(self.peek, f"expected '{text}', found {_shown(self.peek)}")

    def end(self) -> None:
        """Nothing may follow."""
        if self.peek.kind != "end":
            self.fail(self.peek, f"unexpected {_shown(self.peek)}")

    # -- words ------------------------------------------------------------------------------

    def string(self, what: str = "a string in quotes") -> str:
        return self._unquoted(self.take("string", what), 0)

    def name(self, kind: Literal["value", "label"]) -> tuple[Token, str]:
        """A %value or @label: its token and its name."""
        token = self.take(kind, "a %name" if kind == "value" else "an @name")
        if token.text[1] == '"':
            return token, self._unquoted(token, 1)
        return token, token.text[1:]

    def _unquoted(self, token: Token, skip: int) -> str:
        try:
            return str(json.loads(token.text[skip:]))
        except ValueError:
            self.fail(token, f"bad escape in {_shown(token)}")

    def type(self) -> TensorType:
        """An element type and shape, e.g. f32[1x3x8x8]."""
        token = self.take("type", "a type such as f32[1x3]")
        dtype, _, dims = token.text[:-1].partition("[")
        if dtype not in list(DType):
            self.fail(token, f"unknown element type {dtype}, known are {', '.join(DType)}")
        sizes = dims.split("x") if dims else []
        shape = tuple(int(s) for s in sizes if s.isdigit() and len(s) < 19)
        if len(shape) < len(sizes) or not is_possible_shape(shape):
            self.fail(token, f"bad shape [{dims[:40]}]")
        return TensorType(DType(dtype), shape)

    def items(self, item: Callable[[], Any]) -> list[Any]:
        """Items in brackets, parted by commas."""
        self.expect("[")
        found: list[Any] = []
        while not self.accept("]"):
            if found:
                self.expect(",")
            found.append(item())
        return found

    def attribute(self, kind: object) -> Any:
        """A value of the declared attribute type *kind*."""
        if get_origin(kind) is tuple:
            return tuple(self.items(lambda: self.attribute(get_args(kind)[0])))
        if kind is int:
            return self.integer(INT_MIN, INT_MAX)
        if kind is float:
            return float(self.take("number", "a number").text)
        if kind is bool:
            return self._truth()
        if kind is DType:
            word = self.take("word", "an element type")
            if word.text not in list(DType):
                self.fail(word, f"unknown element type {word.text}, known are {', '.join(DType)}")
            return DType(word.text)
        return self.string() if self.peek.kind == "string" else self.take("word", "a name").text

    def array(self, kind: TensorType) -> np.ndarray:
        """The elements of a constant of type *kind*."""
        start = self.peek
        dtype = kind.dtype
        if dtype is DType.BOOL:
            items = self.items(self._truth)
        elif dtype.is_float:
            items = self.items(lambda: float(self.take("number", "a number").text))
        else:
            info = np.iinfo(str(dtype.numpy))
            items = self.items(lambda: self.integer(int(info.min), int(info.max)))
        if len(items) != kind.size:
            self.fail(start, f"{len(items)} elements, {kind} holds {kind.size}")
        with np.errstate(over="ignore"):
            return np.reshape(np.array(items, dtype.numpy), kind.shape)

    def integer(self, low: int, high: int) -> int:
        """Take a whole number of *low* ... *high*."""
        token = self.take("number", "an integer")
        digits = token.text.lstrip("+-")
        # int() takes a time quadratic in the number of digits.
        value = int(token.text) if digits.isdigit() and len(digits) < 21 else None
        if value is None or not low <= value <= high:
            self.fail(token, f"{token.text[:40]} is no integer in {low} ... {high}")
        return value

    def _truth(self) -> bool:
        token = self.take("word", "true or false")
        if token.text not in ("true", "false"):
            self.fail(token, f"expected true or false, found {_shown(token)}")
        return token.text == "true"
