"""Writing a BModel file.

The same model gives the same bytes: the time is part of the model (a fixed text by default), and
equal blobs are written once, in the order they are met.
"""

from __future__ import annotations

import os

from nntc.bmodel.build import build
from nntc.bmodel.convert import lower
from nntc.bmodel.model import BModel
from nntc.bmodel.reader import HEADER, MAGIC
from nntc.bmodel.rules import problems
from nntc.core.errors import BModelError
from nntc.core.files import write_bytes

MAX_SECTION = 2**32 - 1


def encode(model: BModel) -> bytes:
    """The file's bytes.

    Raises:
        BModelError: the model breaks the rules of the format, or is too large for it (4 GiB).
    """
    broken = problems(model)
    if broken:
        raise BModelError(broken)
    flat, binary = build(lower(model))
    if len(binary) > MAX_SECTION:
        raise BModelError(
            f"the binary section would be {len(binary)} bytes, the format ends at {MAX_SECTION}"
        )
    header = HEADER.pack(MAGIC, HEADER.size, len(flat), len(binary), *[0] * 12)
    return header + flat + binary


def write(model: BModel, path: str | os.PathLike[str]) -> None:
    """Write the file, whole or not at all.

    Raises:
        BModelError: see :func:`encode`.
        UserError: the file cannot be written.
    """
    write_bytes(path, encode(model))
