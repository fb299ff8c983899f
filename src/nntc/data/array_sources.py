"""Samples from .npy and .npz files: one file with all of them, or a folder with a file for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nntc.core.errors import Problems, UserError
from nntc.data.decode import CorruptSampleError
from nntc.data.listing import Listing
from nntc.data.npy import DamagedFileError, StoredArray, arrays_of, chunks
from nntc.data.samples import Sample, Shape, describe, relative, sample_shape

MAX_PROBLEMS = 20
MAX_SAMPLES = 1 << 40


class ArraySource:
    """One .npy, or one .npz with an array for each input, with a leading axis of samples."""

    kind = "arrays"

    def __init__(self, path: Path, inputs: Mapping[str, Shape]) -> None:
        """Raises: UserError: names every array that is missing or does not fit."""
        self._path = path
        self._arrays = match(arrays_of(path, inputs), inputs, str(path))
        self._shapes: dict[str, Shape] = {}
        problems = Problems()
        for name, wanted in inputs.items():
            array = self._arrays[name]
            found = sample_shape(array.shape[1:], tuple(wanted)) if array.shape else None
            if found is None:
                problems.add(
                    f"{array.where}: shape {list(array.shape)} is no [samples, "
                    f"{_inside(wanted[1:])}], as input {name} of shape {list(wanted)} needs"
                )
            else:
                self._shapes[name] = found
                with problems.collect():
                    array.check_samples()
        counts = {array.shape[0] for array in self._arrays.values() if array.shape}
        if len(counts) > 1:
            each = ", ".join(f"{a.name} {a.shape[0]}" for a in self._arrays.values() if a.shape)
            problems.add(f"{path}: different numbers of samples: {each}")
        problems.raise_if_any()
        self._count = counts.pop()
        if self._count > MAX_SAMPLES:
            raise UserError(f"{path}: {self._count} samples; {MAX_SAMPLES} are read")
        self.labels: dict[int, int] = {}
        self.broken: dict[int, str] = {}

    def __len__(self) -> int:
        return self._count

    def name(self, index: int) -> str:
        return f"{self._path}: sample {index}"

    def read(self, index: int) -> Sample:
        return {
            name: array.sample(index).reshape(self._shapes[name])
            for name, array in self._arrays.items()
        }

    def content(self) -> Iterator[bytes]:
        yield from chunks(self._path)


class ArrayFolderSource:
    """Files of one sample each, with or without the axis of the batch."""

    kind = "array files"

    def __init__(self, listing: Listing, inputs: Mapping[str, Shape]) -> None:
        """Reads the headers of all files.

        Raises:
            UserError: names the files that do not fit the inputs.
        """
        self._listing = listing
        self._inputs = {name: tuple(shape) for name, shape in inputs.items()}
        self.labels = listing.noted()
        self.broken: dict[int, str] = {}
        problems: list[str] = []
        for index in range(len(listing.files)):
            try:
                self._open(index)
            except CorruptSampleError as err:
                self.broken[index] = "; ".join(err.problems)
            except UserError as err:
                problems += err.problems
        if problems:
            more = len(problems) - MAX_PROBLEMS
            raise UserError(
                problems[:MAX_PROBLEMS] + [f"{listing.folder}: and {more} more"] * (more > 0)
            )

    def __len__(self) -> int:
        return len(self._listing.files)

    def name(self, index: int) -> str:
        return str(self._listing.files[index])

    def read(self, index: int) -> Sample:
        sample: Sample = {}
        for name, (array, shape) in self._open(index).items():
            try:
                sample[name] = array.read().reshape(shape)
            except DamagedFileError as err:
                raise CorruptSampleError(self._reasons(index, err)) from None
        return sample

    def content(self) -> Iterator[bytes]:
        for file in self._listing.files:
            yield relative(file, self._listing.folder).encode(errors="surrogateescape")
            try:
                yield from chunks(file)
            except OSError as err:
                yield str(err.strerror).encode()

    def _open(self, index: int) -> dict[str, tuple[StoredArray, Shape]]:
        """The arrays for every input, with the shape to give them."""
        path = self._listing.files[index]
        try:
            stored = arrays_of(path, self._inputs)
        except DamagedFileError as err:
            raise CorruptSampleError(self._reasons(index, err)) from None
        matched = match(stored, self._inputs, str(path))
        problems = Problems()
        found: dict[str, tuple[StoredArray, Shape]] = {}
        for name, wanted in self._inputs.items():
            array = matched[name]
            shape = sample_shape(array.shape, wanted)
            if shape is None:
                problems.add(
                    f"{array.where}: shape {list(array.shape)} does not fit input {name} of "
                    f"shape {list(wanted)}"
                )
            else:
                found[name] = (array, shape)
        problems.raise_if_any()
        return found

    def _reasons(self, index: int, err: UserError) -> list[str]:
        prefix = f"{self._listing.files[index]}: "
        return [problem.removeprefix(prefix) for problem in err.problems]


def match(
    arrays: Sequence[StoredArray], inputs: Mapping[str, Shape], where: str
) -> dict[str, StoredArray]:
    """The array for every input: by name; the only one for the only input; arr_0, arr_1 in order.

    Raises:
        UserError: an input has none.
    """
    named = {array.name: array for array in arrays}
    missing = [name for name in inputs if name not in named]
    if not missing:
        return {name: named[name] for name in inputs}
    if len(inputs) == len(arrays) == 1:
        return {next(iter(inputs)): arrays[0]}
    numbered = [f"arr_{index}" for index in range(len(inputs))]
    if sorted(named) == sorted(numbered):
        return {name: named[number] for name, number in zip(inputs, numbered, strict=True)}
    there = ", ".join(f"{array.name} {list(array.shape)}" for array in arrays if array.name)
    raise UserError(
        f"{where}: no array for input {', '.join(missing)}; the network needs {describe(inputs)}, "
        f"there are {there or 'one array without a name'}"
    )


def _inside(shape: Shape) -> str:
    return ", ".join(map(str, shape)) or "..."
