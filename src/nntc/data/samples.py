"""What a dataset's samples come from, and the rules that every sample keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from nntc.core.errors import UserError

Shape = tuple[int, ...]
Sample = dict[str, np.ndarray]


class Source(Protocol):
    """One kind of data.

    Attributes:
        kind: a word for messages and the digest.
        labels: class of samples for which one is noted.
        broken: samples already known to be unreadable, with the reason.
    """

    kind: str
    labels: dict[int, int]
    broken: dict[int, str]

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The sample's name for messages."""
        ...

    def read(self, index: int) -> Sample:
        """The sample, of any real type, its shape already that of a sample.

        Raises:
            CorruptSampleError: this sample cannot be read.
            UserError: it can, but does not fit the network.
        """
        ...

    def content(self) -> Iterator[bytes]:
        """Everything that the samples depend on, without where the data lies."""
        ...


def sample_shape(found: Shape, wanted: Shape) -> Shape | None:
    """How an array of shape *found* is given to an input of shape *wanted*; None if not at all.

    With the input's whole shape it is given as it is; with the shape of one item of the input's
    batch, in a batch of one.
    """
    if found == wanted:
        return found
    if wanted and found in (wanted[1:], (1, *wanted[1:])):
        return (1, *wanted[1:])
    return None


def describe(inputs: Mapping[str, Shape]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in inputs.items())


def as_float32(array: np.ndarray, where: str, name: str) -> np.ndarray:
    """*array* as contiguous float32.

    Raises:
        UserError: it holds a NaN, an infinity, or a number beyond float32.
    """
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, np.float32).reshape(array.shape)
    if array.dtype.kind == "f":
        finite = np.isfinite(floats)
        if not finite.all():
            nan = int(np.isnan(floats).sum())
            infinite = int(finite.size - finite.sum()) - nan
            kinds = [f"{nan} NaN"] * bool(nan) + [f"{infinite} infinite"] * bool(infinite)
            found = " and ".join(kinds)
            raise UserError(f"{where}: input {name}: {found} of {floats.size} numbers")
    return floats


def relative(path: Path, folder: Path) -> str:
    """*path* below *folder*, with / on every system."""
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return path.as_posix()
