"""Which files make up a dataset."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from nntc.core.errors import UserError
from nntc.core.files import read_bytes
from nntc.data.decode import PICTURE_SUFFIXES

ARRAY_SUFFIXES = (".npz", ".npy")
LIST_SUFFIXES = (".txt", ".lst", ".list")
MAX_LIST_BYTES = 1 << 28

_LABELLED = re.compile(r"(.*\S)\s+(-?[0-9]{1,9})")


@dataclass
class Listing:
    """Files in order, with the class noted for each.

    Attributes:
        folder: what names in messages and the digest are relative to.
        other: names of files of no known kind, which are not used.
    """

    folder: Path
    files: list[Path] = field(default_factory=list)
    labels: list[int | None] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    def noted(self) -> dict[int, int]:
        """The classes by the number of the file."""
        pairs = enumerate(self.labels)
        return {index: label for index, label in pairs if label is not None}


def is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES


def is_array(path: Path) -> bool:
    return path.suffix.lower() in ARRAY_SUFFIXES


def list_folder(folder: Path, below: bool = True) -> Listing:
    """Pictures and array files in *folder* and (*below*) its folders, sorted by relative name.

    Hidden files and folders (``.name``) are passed over; links are followed, each folder once.

    Raises:
        UserError: a folder cannot be read.
    """
    found: list[tuple[list[str], Path]] = []
    listing = Listing(folder)
    seen: set[str] = set()

    def fail(err: OSError) -> None:
        raise UserError(f"{err.filename}: cannot be read: {err.strerror or err}")

    for place, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if below and not name.startswith("."))
        for name in names:
            path = Path(place, name)
            if name.startswith("."):
                continue
            if is_picture(path) or is_array(path):
                found.append((relative_parts(path, folder), path))
            else:
                listing.other.append(name)
    listing.files = [path for _, path in sorted(found)]
    listing.labels = [None] * len(found)
    listing.other.sort()
    return listing


def relative_parts(path: Path, folder: Path) -> list[str]:
    return list(path.relative_to(folder).parts)


def read_list(path: Path, folder: Path | None = None) -> Listing:
    """The files named in a text file, one a line, each with an optional class number behind.

    Names are relative to *folder*, else the list's folder. Empty lines and those that start with
    ``#`` do not count. A name may hold spaces.

    Raises:
        UserError: not readable, not text, or a line names a file of no known kind.
    """
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise UserError(f"{path}: more than {MAX_LIST_BYTES} bytes are no list of files")
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text; a list has one file name a line") from None
    except OSError as err:
        raise UserError(f"{path}: cannot be read: {err.strerror or err}") from None
    listing = Listing(path.parent if folder is None else folder)
    bad: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, label = _name_and_label(entry)
        file = listing.folder / name
        if "\0" in name or not (is_picture(file) or is_array(file)):
            bad.append(f"{path}: line {number}: {name!r} is no picture, .npy or .npz file")
            continue
        listing.files.append(file)
        listing.labels.append(label)
    if bad:
        raise UserError(bad[:20] + [f"{path}: and {len(bad) - 20} lines more"] * (len(bad) > 20))
    return listing


def _name_and_label(entry: str) -> tuple[str, int | None]:
    found = _LABELLED.fullmatch(entry)
    return (found[1], int(found[2])) if found else (entry, None)
