"""Parses a Darknet configuration: sections of options.

Like Darknet: blanks mean nothing anywhere, lines that start with ``#`` or ``;`` are comments, of an
option given twice the first counts. Unlike Darknet, which reads as much of a number as it can, a
number with anything but a comment after it is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nntc.core.errors import ModelError, Problems

# Bytes; the largest published configuration has 40 kB.
_LARGEST = 1 << 22
_LAYERS = 100_000


@dataclass
class Section:
    """One section, e.g. ``[convolutional]``.

    Attributes:
        name: what stands in the brackets, in lower case.
        line: number of its line, from 1.
        options: option → its text and line.
    """

    name: str
    line: int
    options: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __contains__(self, key: str) -> bool:
        return key in self.options

    def text(self, key: str, default: str) -> str:
        return self.options[key][0] if key in self.options else default

    def integer(self, key: str, default: int) -> int:
        """An option as a number without a fraction ("3" or "3.0").

        Raises:
            ModelError: it is something else.
        """
        if key not in self.options:
            return default
        return self._integer(key, self.options[key][0])

    def number(self, key: str, default: float) -> float:
        """Raises ModelError if the option is not a number."""
        if key not in self.options:
            return default
        return self._number(key, self.options[key][0])

    def integers(self, key: str) -> list[int]:
        """A list of numbers separated by commas; empty if the option is absent.

        Raises:
            ModelError: a part is not a number.
        """
        # A list may end in a comma.
        parts = self.text(key, "").split(",")
        return [self._integer(key, part) for part in parts if part]

    def _number(self, key: str, text: str) -> float:
        try:
            # float() also takes nan, inf and 1_0.
            if not set(text) <= set("0123456789+-.eE"):
                raise ValueError
            value = float(text)
            if value in (float("inf"), -float("inf")):
                raise ValueError
            return value
        except ValueError:
            line = self.options[key][1]
            raise ModelError(f"line {line}: {key}={text} is not a number") from None

    def _integer(self, key: str, text: str) -> int:
        value = self._number(key, text)
        if value != int(value) or abs(value) >= 1 << 31:
            line = self.options[key][1]
            raise ModelError(f"line {line}: {key}={text} is not a whole number below 2^31")
        return int(value)


def parse(data: bytes) -> list[Section]:
    """The sections of a configuration, in order.

    Raises:
        ModelError: every line that is neither a section, an option nor a comment.
    """
    if len(data) > _LARGEST:
        raise ModelError(f"{len(data)} bytes are too many for a configuration")
    if b"\0" in data:
        raise ModelError("not a Darknet configuration (it is no text)")
    sections: list[Section] = []
    problems = Problems(ModelError)
    for number, line in _lines(data.decode("utf-8-sig", "replace")):
        if len(problems) >= 20:
            problems.add("and more")
            break
        if line.startswith("["):
            name = line[1:].rstrip("]").lower()
            if not line.endswith("]") or not name:
                problems.add(f"line {number}: {line[:80]} is not a [section]")
            sections.append(Section(name, number))
            continue
        key, equals, value = line.partition("=")
        if not equals or not key:
            problems.add(f"line {number}: {line[:80]} is neither a [section] nor option=value")
        elif not sections:
            problems.add(f"line {number}: {key[:80]}= stands before the first [section]")
        else:
            sections[-1].options.setdefault(key, (value, number))
    problems.raise_if_any()
    if not sections:
        raise ModelError("not a Darknet configuration (it has no [section])")
    if len(sections) > _LAYERS:
        raise ModelError(f"{len(sections)} sections are more than {_LAYERS}")
    if sections[0].name not in ("net", "network"):
        raise ModelError(
            f"line {sections[0].line}: the first section is [{sections[0].name}], not [net]"
        )
    return sections


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbers and contents of the lines that say something, without blanks and comments."""
    for number, line in enumerate(text.split("\n"), 1):
        bare = "".join(line.split())
        if not bare or bare[0] in "#;":
            continue
        yield number, bare.split("#")[0].split(";")[0]
