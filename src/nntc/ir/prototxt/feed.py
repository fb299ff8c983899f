"""The data of Data layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nntc.core.errors import UserError
from nntc.ir.prototxt.keys import Feed

if TYPE_CHECKING:
    from nntc.data import Dataset, Preprocess


def preprocess(feed: Feed) -> Preprocess | None:
    """What the layer does to its samples; None: they are fed as they are stored.

    Raises:
        UserError: names every field that is wrong.
    """
    from nntc.data import from_transform_ops

    if not feed.transforms:
        return None
    try:
        return from_transform_ops(feed.transforms, gray=feed.gray)
    except UserError as err:
        raise UserError([f"Data layer of {feed.top}: {text}" for text in err.problems]) from None


def place(feed: Feed, folder: Path) -> Path:
    """Where the data are: from the working folder, as in Caffe, or beside the prototxt."""
    source = Path(feed.source)
    beside = folder / source
    return beside if not source.exists() and beside.exists() else source


def shape(feed: Feed, folder: Path) -> tuple[int, ...]:
    """The shape of the input that a Data layer makes, from its data.

    Raises:
        UserError: they cannot be read.
    """
    from nntc.data.datum import DatumError, decode_datum
    from nntc.data.lmdb_file import LmdbReader

    treatment = preprocess(feed)
    if treatment is not None and treatment.geometry:
        last = treatment.geometry[-1]
        sizes = {last.size(97, 1009), last.size(1009, 97), last.size(53, 59)}
        if len(sizes) == 1:
            return (max(feed.batch_size, 1), 1 if feed.gray else 3, *sizes.pop())
    reader = LmdbReader(place(feed, folder))
    if not reader.entries:
        raise UserError(f"{feed.source}: holds no sample")
    try:
        array = decode_datum(reader.value(0)).array
    except DatumError as err:
        raise UserError(f"{feed.source}: the first record is damaged: {err}") from None
    if array is None:
        raise UserError(f"{feed.source}: holds picture files; their size has to be given")
    return array.shape if feed.batch_size == 0 else (feed.batch_size, *array.shape[-3:])


def dataset(
    feeds: Sequence[Feed], inputs: Mapping[str, tuple[int, ...]], folder: Path
) -> Dataset | Rows | Together | None:
    """The samples for a network; None if it has no Data layers.

    Args:
        inputs: shape of every input of the network.
        folder: of the prototxt.

    Raises:
        UserError: data cannot be read or do not fit, or some inputs have no Data layer.
    """
    from nntc.data import open_dataset

    if not feeds:
        return None
    without = [name for name in inputs if name not in {feed.top for feed in feeds}]
    if without:
        raise UserError(f"inputs {', '.join(without)} have no Data layer, others have one")
    sets: list[Dataset | Rows] = []
    for feed in feeds:
        where, wanted = place(feed, folder), inputs[feed.top]
        rows = _rows(feed, where, wanted)
        one = open_dataset(where, {feed.top: (rows, *wanted[1:])}, preprocess(feed))
        sets.append(one if rows == wanted[0] else Rows(one, rows))
    return sets[0] if len(sets) == 1 else Together(sets)


def _rows(feed: Feed, where: Path, wanted: tuple[int, ...]) -> int:
    """How many samples a stored record holds: the first axis of the first one, where it fits."""
    from nntc.data.datum import DatumError, decode_datum
    from nntc.data.lmdb_file import FILE_NAME, LmdbReader

    if feed.transforms or wanted[:1] != (1,) or not (where / FILE_NAME).is_file():
        return wanted[0] if wanted else 1
    reader = LmdbReader(where)
    try:
        array = decode_datum(reader.value(0)).array if reader.entries else None
    except DatumError:
        return 1
    fits = array is not None and array.ndim == len(wanted) and array.shape[1:] == wanted[1:]
    return max(array.shape[0], 1) if fits and array is not None else 1


class Rows:
    """A dataset whose samples hold several each, one by one."""

    def __init__(self, whole: Dataset, rows: int) -> None:
        self._whole, self._each = whole, rows
        self.path = whole.path

    def __len__(self) -> int:
        return len(self._whole) * self._each

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        sample, row = divmod(index, self._each)
        found = self._whole[sample]
        return {name: np.ascontiguousarray(a[row : row + 1]) for name, a in found.items()}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return _readable(self)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        return self._whole.skipped

    @property
    def digest(self) -> str:
        return f"{self._each} {self._whole.digest}"

    def name(self, index: int) -> str:
        return f"{self._whole.name(index // self._each)}[{index % self._each}]"


def _readable(data: Rows | Together) -> Iterator[dict[str, np.ndarray]]:
    from nntc.data import CorruptSampleError

    for index in range(len(data)):
        try:
            yield data[index]
        except CorruptSampleError:
            continue


class Together:
    """Datasets for different inputs, taken in step. Behaves like :class:`nntc.data.Dataset`."""

    def __init__(self, sets: Sequence[Dataset | Rows]) -> None:
        self._sets = list(sets)
        lengths = sorted({len(one) for one in sets})
        if len(lengths) > 1:
            names = ", ".join(f"{one.path} {len(one)}" for one in sets)
            raise UserError(f"the Data layers have different numbers of samples: {names}")
        self.path = self._sets[0].path

    def __len__(self) -> int:
        return len(self._sets[0])

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        sample: dict[str, np.ndarray] = {}
        for one in self._sets:
            sample.update(one[index])
        return sample

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return _readable(self)

    @property
    def skipped(self) -> list[tuple[str, str]]:
        return [item for one in self._sets for item in one.skipped]

    @property
    def digest(self) -> str:
        import hashlib

        return hashlib.sha256("".join(one.digest for one in self._sets).encode()).hexdigest()

    def name(self, index: int) -> str:
        return self._sets[0].name(index)
