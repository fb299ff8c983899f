"""Finds the second file of a model that consists of two: its layers and its weights."""

from __future__ import annotations

import os
from pathlib import Path

from nntc.core.errors import UserError


def beside(path: str | os.PathLike[str], ending: str) -> Path:
    """The file of the same name with another ending.

    Raises:
        UserError: it does not exist; names the files of that ending that lie there.
    """
    model = Path(path)
    wanted = model.with_suffix(ending)
    if wanted.is_file():
        return wanted
    try:
        there = sorted(p.name for p in model.parent.iterdir() if p.suffix == ending)
    except OSError:
        there = []
    more = f"; there are {', '.join(there[:5])}" if there else ""
    raise UserError(
        f"{model}: the file that belongs to it is not beside it ({wanted.name}){more}; name it"
    )
