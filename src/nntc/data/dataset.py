"""A dataset: samples read one by one when they are asked for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nntc.core.errors import UserError
from nntc.data.array_sources import MAX_PROBLEMS, ArrayFolderSource, ArraySource
from nntc.data.decode import CorruptSampleError
from nntc.data.listing import LIST_SUFFIXES, Listing, is_array, is_picture, list_folder, read_list
from nntc.data.lmdb_file import FILE_NAME
from nntc.data.lmdb_source import LmdbSource
from nntc.data.pictures import PictureSource
from nntc.data.preprocess import Preprocess
from nntc.data.samples import Sample, Shape, Source, as_float32

_KINDS = (
    "a folder of pictures, of .npz or of .npy files; an .npz or .npy file; a text file that lists "
    "files; or an LMDB folder"
)


class Dataset:
    """Samples by number and in order; only the one that is read is in memory.

    ``dataset[i]`` gives {input name: f32 array with a batch of one}. Numbers are stable: a sample
    that cannot be read keeps its own, ``dataset[i]`` raises CorruptSampleError for it, iteration
    passes over it, and ``skipped`` names it.

    Attributes:
        path: where the data is.
        inputs: shape of every input, as asked for.
    """

    def __init__(
        self,
        source: Source,
        path: Path,
        inputs: Mapping[str, Shape],
        preprocess: Preprocess | None,
        indices: Sequence[int] | None = None,
    ) -> None:
        self.path = path
        self.inputs = {name: tuple(shape) for name, shape in inputs.items()}
        self._source = source
        self._preprocess = preprocess
        self._indices = range(len(source)) if indices is None else indices
        self._digest = ""

    def __len__(self) -> int:
        """Number of samples, those that turn out unreadable included."""
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        """One sample.

        Raises:
            IndexError: there are fewer.
            CorruptSampleError: it cannot be read; from now on it is in ``skipped``.
            UserError: it does not fit the network, or holds NaN or infinite numbers.
        """
        return self._read(self._indices[index])

    def __iter__(self) -> Iterator[Sample]:
        """All readable samples.

        Raises:
            UserError: names the samples that do not fit the network or hold NaN (the rest is read
                to find all); or not one sample can be read.
        """
        given = 0
        for position, index in enumerate(self._indices):
            try:
                sample = self._read(index)
            except CorruptSampleError:
                continue
            except UserError as err:
                raise UserError(self._all_problems(err.problems, position + 1)) from None
            given += 1
            yield sample
        if not given and len(self):
            reasons = [f"{name}: {reason}" for name, reason in self.skipped]
            shown = [*reasons[:MAX_PROBLEMS], *_more(reasons, self.path)]
            raise UserError([f"{self.path}: not one of {len(self)} samples can be read", *shown])

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """The samples found unreadable so far, in order: name and reason."""
        broken = self._source.broken
        if not broken:
            return []
        return [(self._source.name(i), broken[i]) for i in self._indices if i in broken]

    @property
    def labels(self) -> list[int | None]:
        """The class noted for every sample, where one is (lists of files, LMDB once read)."""
        return [self._source.labels.get(index) for index in self._indices]

    @property
    def preprocess(self) -> Preprocess | None:
        return self._preprocess

    @property
    def digest(self) -> str:
        """SHA-256 over the data and what is done to it.

        It depends on the bytes of all files, their names below the dataset's folder, their order,
        the preprocessing and the inputs; not on where the dataset lies or when it was written.
        Computed when first asked for: everything is read once.

        Raises:
            UserError: a file cannot be read.
        """
        if not self._digest:
            total = hashlib.sha256()
            parts = (self._source.kind, str(self._preprocess), repr(list(self.inputs.items())))
            everything = range(len(self._source))
            whole = self._indices == everything or list(self._indices) == list(everything)
            for part in (*parts, "all" if whole else repr(list(self._indices))):
                total.update(hashlib.sha256(part.encode()).digest())
            try:
                for piece in self._source.content():
                    total.update(len(piece).to_bytes(8, "little"))
                    total.update(piece)
            except OSError as err:
                raise UserError(f"{self.path}: cannot be read: {err.strerror or err}") from None
            self._digest = total.hexdigest()
        return self._digest

    def name(self, index: int) -> str:
        """A sample's name for messages: its file, or its number or key in one."""
        return self._source.name(self._indices[index])

    def subset(self, indices: Sequence[int]) -> Dataset:
        """The samples with these numbers, in this order.

        Raises:
            IndexError: there are fewer samples.
        """
        chosen = [self._indices[index] for index in indices]
        return Dataset(self._source, self.path, self.inputs, self._preprocess, chosen)

    def spread(self, count: int) -> Dataset:
        """*count* samples, or all, spread evenly: files sorted by name are sorted by class."""
        total = len(self)
        return self.subset([i * total // count for i in range(count)]) if count < total else self

    def split(self, count: int) -> tuple[Dataset, Dataset]:
        """(*count* samples spread evenly, all others): for calibration and test.

        Raises:
            UserError: there are not more than *count*.
        """
        total = len(self)
        if not 0 < count < total:
            raise UserError(f"{self.path}: {count} samples cannot be split off {total}")
        chosen = [i * total // count for i in range(count)]
        others = sorted(set(range(total)) - set(chosen))
        return self.subset(chosen), self.subset(others)

    def check(self) -> None:
        """Read everything once.

        Raises:
            UserError: as iterating does.
        """
        for _ in self:
            pass

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes open the data themselves."""
        return _reopen, (self.path, self.inputs, self._preprocess, list(self._indices))

    def _read(self, index: int) -> Sample:
        known = self._source.broken.get(index)
        if known is not None:
            raise CorruptSampleError(known)
        where = self._source.name(index)
        try:
            sample = self._source.read(index)
        except CorruptSampleError as err:
            self._source.broken[index] = "; ".join(err.problems)
            raise
        except UserError as err:
            raise UserError([_named(where, problem) for problem in err.problems]) from None
        problems: list[str] = []
        for name, array in sample.items():
            try:
                sample[name] = as_float32(array, where, name)
            except UserError as err:
                problems += err.problems
        if problems:
            raise UserError(problems)
        return sample

    def _all_problems(self, first: list[str], position: int) -> list[str]:
        """*first* and the problems of all samples from *position*."""
        problems = list(first)
        for index in self._indices[position:]:
            try:
                self._read(index)
            except CorruptSampleError:
                continue
            except UserError as err:
                problems += err.problems
        # What is wrong with a file that holds many samples is said for each of them.
        problems = list(dict.fromkeys(problems))
        return [*problems[:MAX_PROBLEMS], *_more(problems, self.path)]


def _more(items: Sequence[str], path: Path) -> list[str]:
    return [f"{path}: and {len(items) - MAX_PROBLEMS} more"] * (len(items) > MAX_PROBLEMS)


def _named(where: str, problem: str) -> str:
    """*problem* with the sample's name before it, unless it names the file itself."""
    file = where.partition(": ")[0]
    return problem if problem.startswith(f"{file}:") else f"{where}: {problem}"


def _reopen(
    path: Path, inputs: Mapping[str, Shape], preprocess: Preprocess | None, indices: list[int]
) -> Dataset:
    return open_dataset(path, inputs, preprocess).subset(indices)


def open_dataset(
    path: str | os.PathLike[str],
    inputs: Mapping[str, Shape],
    preprocess: Preprocess | str | os.PathLike[str] | None = None,
) -> Dataset:
    """The samples at *path*; what is cheap to check is checked now, pixels are read later.

    Args:
        path: a folder of pictures, or of .npz or .npy files with one sample each; one .npz or
            .npy with a leading axis of samples; a text file that lists files; an LMDB folder.
        inputs: the network's inputs and their shapes. Samples come with a batch of one.
        preprocess: for pictures and LMDB records; its text form and a file are taken too.

    Raises:
        UserError: nothing there, nothing usable, or names everything that does not fit.
    """
    where = Path(path)
    treatment = None if preprocess is None else Preprocess.of(preprocess)
    if not inputs:
        raise UserError(f"{where}: the network has no input to feed")
    source = _source(where, inputs, treatment)
    if not len(source):
        raise UserError(f"{where}: holds no sample")
    return Dataset(source, where, inputs, treatment)


def _source(path: Path, inputs: Mapping[str, Shape], preprocess: Preprocess | None) -> Source:
    try:
        folder, file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as err:
        raise UserError(f"{path}: cannot be read: {err}") from None
    if folder and (path / FILE_NAME).is_file():
        return LmdbSource(path, inputs, preprocess)
    if folder:
        return _files(list_folder(path), path, inputs, preprocess)
    if not file:
        raise UserError(f"{path}: there is no such file or folder; a dataset is {_KINDS}")
    if path.suffix.lower() == ".mdb":
        return LmdbSource(path, inputs, preprocess)
    if path.suffix.lower() in LIST_SUFFIXES:
        return _files(read_list(path), path, inputs, preprocess)
    if is_array(path):
        _no_preprocess(path, preprocess)
        return ArraySource(path, inputs)
    if is_picture(path):
        return PictureSource(Listing(path.parent, [path], [None]), inputs, preprocess, str(path))
    raise UserError(f"{path}: is of no known kind; a dataset is {_KINDS}")


def _files(
    listing: Listing, path: Path, inputs: Mapping[str, Shape], preprocess: Preprocess | None
) -> Source:
    pictures = sum(map(is_picture, listing.files))
    arrays = len(listing.files) - pictures
    if pictures and arrays:
        raise UserError(
            f"{path}: holds {pictures} pictures and {arrays} array files; keep one kind"
        )
    if not listing.files:
        others = f" (there is {', '.join(listing.other[:3])})" if listing.other else ""
        raise UserError(f"{path}: holds no pictures, .npz or .npy files{others}")
    if pictures:
        return PictureSource(listing, inputs, preprocess, str(path))
    _no_preprocess(path, preprocess)
    return ArrayFolderSource(listing, inputs)


def _no_preprocess(path: Path, preprocess: Preprocess | None) -> None:
    if preprocess is not None:
        raise UserError(
            f"{path}: arrays are fed as they are; preprocessing ({preprocess}) is for pictures"
        )
