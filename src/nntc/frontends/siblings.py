"""Finds the file with a model's weights beside the one with its layers."""

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
    raise UserError(f"{model}: its weights are not beside it ({wanted.name}){more}; name the file")
