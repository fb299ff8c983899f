"""What front ends say about a user's file."""

from __future__ import annotations

import logging

from nntc.core.errors import ModelError

log = logging.getLogger("nntc")


# What reading malformed files can raise below; anything else is a defect of this program.
MALFORMED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


class RefusedError(Exception):
    """The node is valid, but cannot be expressed; the text is the reason a user sees."""


def one_line(text: str, limit: int = 600) -> str:
    """Names in a damaged file may hold anything; a message is one line of bounded length."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= limit else f"{plain[:limit]} ..."


def malformed(name: str, err: BaseException) -> ModelError:
    """The message for a file whose contents make a reader fail in a way that nobody foresaw."""
    log.debug("%s", name, exc_info=True)
    return ModelError(one_line(f"{name}: the file is malformed ({type(err).__name__}: {err})"))
