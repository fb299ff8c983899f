"""Protobuf's text format (``.prototxt``) without a schema.

Any field may hold any number of values; what they mean is up to who reads them. Fields that nobody
has read afterwards are known (:meth:`Message.unread`), so that a misspelt option is not overlooked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from nntc.core.errors import ModelError

# Bytes of a file and messages inside each other; real networks have up to 1 MB and 5 levels.
LARGEST = 1 << 23
_DEPTH = 50

_TOKEN = re.compile(
    r"""[ \t\r\n\f\v]+ | \#[^\n]* |
    (?P<word> [A-Za-z_][A-Za-z0-9_.]* ) |
    (?P<number> [-+]? 0[xX][0-9a-fA-F]+ |
        [-+]? (?: \d+\.?\d* | \.\d+ ) (?: [eE][-+]?\d+ )? [fF]? ) |
    (?P<string> "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' ) |
    (?P<mark> [-{}<>\[\]:,;] )""",
    re.VERBOSE,
)
_CLOSING = {"{": "}", "<": ">"}
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_LETTERS = {
    b"n": b"\n",
    b"t": b"\t",
    b"r": b"\r",
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"v": b"\v",
}


class Token(NamedTuple):
    kind: str
    text: str
    line: int


_Fields: TypeAlias = "dict[str, list[Token | Message]]"


@dataclass
class Message:
    """A message: fields in the order of the file.

    Attributes:
        line: number of the line where it begins, from 1.
    """

    line: int = 0
    fields: _Fields = field(default_factory=dict[str, "list[Token | Message]"])
    _read: set[str] = field(default_factory=set[str])

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def _values(self, name: str) -> list[Token | Message]:
        self._read.add(name)
        return self.fields.get(name, [])

    def unread(self) -> list[str]:
        """Fields that nobody has asked for."""
        return [name for name in self.fields if name not in self._read]

    # -- messages ---------------------------------------------------------------------------

    def messages(self, name: str) -> list[Message]:
        """Raises ModelError if a value is no message."""
        found: list[Message] = []
        for value in self._values(name):
            if isinstance(value, Token):
                raise ModelError(f"line {value.line}: {name} is {value.text}, not {{...}}")
            found.append(value)
        return found

    def message(self, name: str) -> Message:
        """The only message, with the fields of all if there are several; empty if absent."""
        found = self.messages(name)
        if len(found) <= 1:
            return found[0] if found else Message(self.line)
        merged = Message(found[0].line)
        for one in found:
            for key, values in one.fields.items():
                merged.fields.setdefault(key, []).extend(values)
        return merged

    # -- numbers and words ------------------------------------------------------------------

    def tokens(self, name: str) -> list[Token]:
        """Raises ModelError if a value is a message."""
        found: list[Token] = []
        for value in self._values(name):
            if isinstance(value, Message):
                raise ModelError(f"line {value.line}: {name} is a message, a value is needed")
            found.append(value)
        return found

    def texts(self, name: str) -> list[str]:
        return [token.text for token in self.tokens(name)]

    def text(self, name: str, default: str = "") -> str:
        """The last value, as protobuf takes it."""
        return (self.texts(name) or [default])[-1]

    def numbers(self, name: str) -> list[float]:
        """Raises ModelError if a value is not a finite number."""
        return [_number(name, token) for token in self.tokens(name)]

    def number(self, name: str, default: float) -> float:
        return (self.numbers(name) or [default])[-1]

    def integers(self, name: str) -> list[int]:
        """Raises ModelError if a value is not a whole number."""
        found: list[int] = []
        for token in self.tokens(name):
            value = _number(name, token)
            if value != int(value) or abs(value) >= 1 << 53:
                raise ModelError(f"line {token.line}: {name} is {token.text}, not a whole number")
            found.append(int(value))
        return found

    def integer(self, name: str, default: int) -> int:
        return (self.integers(name) or [default])[-1]

    def flag(self, name: str, default: bool = False) -> bool:
        """Raises ModelError if the value is neither true nor false."""
        tokens = self.tokens(name)
        if not tokens:
            return default
        token = tokens[-1]
        if token.text in ("true", "True", "t", "1"):
            return True
        if token.text in ("false", "False", "f", "0"):
            return False
        raise ModelError(f"line {token.line}: {name} is {token.text}, not true or false")


def _number(name: str, token: Token) -> float:
    text = token.text
    try:
        if token.kind != "number":
            raise ValueError
        if "x" in text.lower():
            return int(text, 16)
        value = float(text.rstrip("fF"))
        if value in (float("inf"), -float("inf")):
            raise ValueError
        return value
    except ValueError:
        raise ModelError(f"line {token.line}: {name} is {text[:80]}, not a number") from None


def parse(data: bytes) -> Message:
    """The message in a text file.

    Raises:
        ModelError: names the line that cannot be read.
    """
    if len(data) > LARGEST:
        raise ModelError(f"{len(data)} bytes are too many for a prototxt")
    if b"\0" in data:
        raise ModelError("not a prototxt (it is no text)")
    text = data.decode("utf-8-sig", "replace")
    return _Parser(list(_tokens(text))).message(None, 1, 0)


def _tokens(text: str) -> Iterator[Token]:
    at, line = 0, 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ModelError(
                f"line {line}: {text[at : at + 20].split(chr(10))[0]!r} has no meaning"
            )
        if found.lastgroup is not None:
            yield Token(found.lastgroup, found.group(), line)
        line += text.count("\n", at, found.end())
        at = found.end()
    yield Token("end", "the end of the file", line)


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        # The last token stays.
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def message(self, closing: str | None, line: int, depth: int) -> Message:
        """Fields up to the closing bracket, or to the end of the file."""
        if depth > _DEPTH:
            raise ModelError(f"line {line}: more than {_DEPTH} messages inside each other")
        made = Message(line)
        while True:
            token = self._next()
            if token.text == closing and token.kind == "mark":
                return made
            if token.kind == "end":
                if closing is None:
                    return made
                raise ModelError(f"line {line}: the message that begins here has no {closing!r}")
            if token.kind != "word":
                raise ModelError(f"line {token.line}: {token.text[:80]} stands where a name must")
            made.fields.setdefault(token.text, []).extend(self._field(token, depth))
            if self._peek().kind == "mark" and self._peek().text in ",;":
                self._next()

    def _field(self, name: Token, depth: int) -> list[Token | Message]:
        token = self._peek()
        colon = token.kind == "mark" and token.text == ":"
        if colon:
            self._next()
            token = self._peek()
        if token.kind == "mark" and token.text == "[":
            self._next()
            return self._list(name, depth)
        if token.kind == "mark" and token.text in _CLOSING:
            self._next()
            return [self.message(_CLOSING[token.text], token.line, depth + 1)]
        if not colon:
            raise ModelError(
                f"line {token.line}: after {name.text[:80]} comes {token.text[:80]}, "
                "not ':' or '{'"
            )
        return [self._value(name)]

    def _list(self, name: Token, depth: int) -> list[Token | Message]:
        values: list[Token | Message] = []
        while True:
            token = self._peek()
            if token.kind == "mark" and token.text in "],":
                self._next()
                if token.text == "]":
                    return values
            elif token.kind == "mark" and token.text in _CLOSING:
                self._next()
                values.append(self.message(_CLOSING[token.text], token.line, depth + 1))
            else:
                values.append(self._value(name))

    def _value(self, name: Token) -> Token:
        token = self._next()
        if token.kind == "mark" and token.text == "-" and self._peek().kind == "word":
            return Token("word", "-" + self._next().text, token.line)
        if token.kind == "string":
            text = token.text
            parts = [text]
            while self._peek().kind == "string":
                parts.append(self._next().text)
            return Token("string", "".join(map(_unquoted, parts)), token.line)
        if token.kind in ("word", "number"):
            return token
        raise ModelError(f"line {token.line}: {name.text[:80]} has no value, but {token.text[:80]}")


def _unquoted(text: str) -> str:
    """A string without quotes and escapes; one that makes no sense stands for itself."""
    inner = text[1:-1]
    if "\\" not in inner:
        return inner
    return _ESCAPE.sub(_escaped, inner.encode()).decode("utf-8", "replace")


def _escaped(found: re.Match[bytes]) -> bytes:
    octal, hexadecimal, letter = found.groups()
    if letter is not None:
        return _LETTERS.get(letter, letter)
    return bytes([int(octal, 8) & 255 if octal else int(hexadecimal, 16)])


def quoted(text: str) -> str:
    """A string in quotes, as :func:`parse` reads it back.

    Raises:
        ModelError: it holds halves of characters, which no file can.
    """
    if text.isprintable():
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise ModelError(f"the name {text[:80]!r} is no text that a file can hold") from None
    plain = (chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in data)
    return '"' + "".join(plain) + '"'
