"""List the records of a sample folder: ``python -m nntc.compat.lmdb_info FOLDER``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np

from nntc.cli.main import guard
from nntc.compat.ufwio import lmdb_data


def lines(path: str) -> Iterator[str]:
    """One line a record: key, type, shape, first and last values."""
    yield f"{'Name':>29},{'DType':>10},  Shape,  Data"
    for key, array in lmdb_data(path):
        name = key.decode("utf-8", "backslashreplace")
        values = np.array2string(array.ravel(), threshold=6, edgeitems=3, max_line_width=1000)
        yield f"{name:>29},{array.dtype.name:>10},  {tuple(array.shape)},  {values}"


def main(argv: Sequence[str] | None = None) -> int:
    def run() -> None:
        parser = argparse.ArgumentParser(prog="lmdb_info", description=__doc__)
        parser.add_argument("path", metavar="FOLDER")
        for line in lines(parser.parse_args(argv).path):
            print("".join(c if c.isprintable() else "?" for c in line))

    return guard(run)


if __name__ == "__main__":
    raise SystemExit(main())
