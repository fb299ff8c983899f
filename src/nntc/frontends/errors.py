"""What front ends say about a user's file."""

from __future__ import annotations


class RefusedError(Exception):
    """The node is valid, but cannot be expressed; the text is the reason a user sees."""


def one_line(text: str, limit: int = 600) -> str:
    """Names in a damaged file may hold anything; a message is one line of bounded length."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= limit else f"{plain[:limit]} ..."
