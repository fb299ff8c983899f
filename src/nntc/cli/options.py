"""Values of options: shapes and lists of names in all the spellings that scripts use."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nntc.core.errors import UserError

_BRACKETED = re.compile(r"[\[\](),\s\dxX]*")
_NAMED = re.compile(r"\s*,?\s*([^\s=,;\[\]()]+)\s*=\s*([\[(][^\[\]()]*[\])]|[0-9xX]+)\s*")
_GROUP = re.compile(r"\[([^\[\]]*)\]")
_DIMENSION = re.compile(r"[0-9]+")

ParsedShapes = dict[str, tuple[int, ...]] | list[tuple[int, ...]]


def _depth(text: str) -> int:
    return sum(text.count(c) for c in "[(") - sum(text.count(c) for c in "])")


def join_brackets(argv: Sequence[str]) -> list[str]:
    """Put back together what the shell split: ``--shapes [1, 3, 4, 4]`` is one value."""
    joined: list[str] = []
    pending = False
    for token in argv:
        if pending and joined and _depth(joined[-1]) > 0 and _BRACKETED.fullmatch(token):
            joined[-1] += " " + token
            continue
        pending = token.startswith("--shapes") or (
            bool(joined) and joined[-1].startswith("--shapes")
        )
        joined.append(token)
    return joined


def parse_shapes(texts: Sequence[str]) -> ParsedShapes:
    """Shapes of the inputs, from every use of the option.

    Spellings: ``[1,3,4,4]``, ``[[1,3],[5]]``, ``[1,3],[5]`` (in the order of the inputs, spaces
    and round brackets allowed, also ``1,3,4,4`` and ``1x3x4x4`` for one), or by name:
    ``data=1x3x4x4``, ``data=[1,3,4,4]``, several separated by spaces or commas.

    Raises:
        UserError: not understood, or a dimension that is not a positive number.
    """
    named: dict[str, tuple[int, ...]] = {}
    listed: list[tuple[int, ...]] = []
    for text in texts:
        if "=" in text:
            named.update(_named_shapes(text))
        else:
            listed.extend(_listed_shapes(text))
    if named and listed:
        raise UserError(f"--shapes {' '.join(texts)}: name all inputs or none")
    return named or listed


def _named_shapes(text: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    position = 0
    while position < len(text):
        match = _NAMED.match(text, position)
        if match is None:
            raise UserError(f"--shapes {text}: write NAME=1x3x224x224, not {text[position:]!r}")
        name, dims = match.groups()
        if name in shapes:
            raise UserError(f"--shapes {text}: {name} is given twice")
        shapes[name] = _dimensions(dims.strip("[]()"), text)
        position = match.end()
    return shapes


def _listed_shapes(text: str) -> list[tuple[int, ...]]:
    body = text.strip().strip("\"'").replace("(", "[").replace(")", "]").strip()
    if body and "[" not in body and "]" not in body:
        return [_dimensions(body, text)]
    if body.startswith("[[") or re.match(r"\[\s*\[", body):
        body = body[1:].rstrip()
        if not body.endswith("]"):
            raise UserError(f"--shapes {text}: brackets do not match")
        body = body[:-1]
    shapes: list[tuple[int, ...]] = []
    position = 0
    for match in _GROUP.finditer(body):
        if body[position : match.start()].strip() not in ("", ","):
            break
        shapes.append(_dimensions(match.group(1), text))
        position = match.end()
    if not shapes or body[position:].strip() not in ("", ","):
        raise UserError(f"--shapes {text}: not understood; write [1,3,224,224] or [1,3],[5]")
    return shapes


def _dimensions(body: str, text: str) -> tuple[int, ...]:
    if not body.strip():
        return ()
    dims: list[int] = []
    for part in re.split(r"\s*[,xX]\s*|\s+", body.strip().rstrip(",")):
        if not _DIMENSION.fullmatch(part) or not 0 < int(part) < 1 << 31:
            raise UserError(f"--shapes {text}: {part!r} is not a positive whole number")
        dims.append(int(part))
    return tuple(dims)


def parse_names(text: str | None) -> list[str] | None:
    """``a,b``, ``[a, b]`` or ``['a', 'b']`` as a list; None stays None."""
    if text is None:
        return None
    body = text.strip()
    if body.startswith("[") and body.endswith("]"):
        body = body[1:-1]
    names = [part.strip().strip("\"'") for part in body.split(",")]
    names = [name for name in names if name]
    if not names:
        raise UserError(f"{text!r}: a list of names is expected, such as a,b")
    return names
