"""Calibration: run the float graph on samples and count the numbers of its values."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from nntc.core.errors import Problems, UserError
from nntc.data import CorruptSampleError
from nntc.ir import interpret
from nntc.ir.graph import Graph, Value
from nntc.ir.text import print_graph
from nntc.quant import statistics_file
from nntc.quant.statistics import Statistics

Progress = Callable[[str, int, int], None]
_T = TypeVar("_T")

SAVE_SECONDS = 30.0
"""How often the state of a resumable calibration is written."""

PARALLEL = 0
"""Samples run at the same time; 0: as many as there are threads."""

_MOST_PROBLEMS = 20

NamedSample: TypeAlias = "tuple[str, Mapping[str, np.ndarray]]"


class Samples(Protocol):
    """What calibration needs of a dataset; see :class:`nntc.data.Dataset`.

    ``samples[i]`` raises CorruptSampleError for a sample that is to be skipped.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, np.ndarray]: ...


def calibrate(
    graph: Graph,
    dataset: Samples,
    *,
    values: Collection[str] | None = None,
    limit: int = 0,
    progress: Progress | None = None,
    resume: str | os.PathLike[str] | None = None,
) -> Statistics:
    """Statistics of the graph's float values over the samples.

    One pass; in memory are the counts, and for every thread one sample and the values that it
    still needs.

    Args:
        values: names of the values to count; None: all float values that are computed or fed.
        limit: use so many samples, spread evenly over the dataset; 0: all.
        progress: called as (stage, done, total) after every sample.
        resume: file that keeps the state while this runs: a calibration that was stopped goes on
            from there, and gives what it would have given. Removed at the end.

    Raises:
        UserError: no sample can be read; a sample does not fit the network; a value becomes NaN or
            infinite; *values* names what the graph does not have; the state at *resume* is that of
            another calibration.
    """
    part, wanted = counted_part(graph, values)
    positions = chosen_positions(len(dataset), limit)
    statistics, done = Statistics(wanted), 0
    state = None if resume is None else _State(resume, part, wanted, dataset, positions)
    if state is not None:
        statistics, done = state.read(statistics)
        # Now, not after minutes: the file may not be writable.
        state.write(statistics, done)
    tell = progress or _silent
    tell("calibrate", done, len(positions))
    for tried, samples in grouped_samples(dataset, positions[done:]):
        add_samples(part, statistics, samples)
        before, done = done, done + tried
        if state is not None:
            state.write_if_due(statistics, done)
        for count in range(before, done):
            tell("calibrate", count + 1, len(positions))
    need_samples(statistics, len(positions))
    if state is not None:
        state.remove()
    return statistics


def counted_part(graph: Graph, values: Collection[str] | None) -> tuple[Graph, list[Value]]:
    """The part of the graph that computes the values to count, and these values.

    Raises:
        UserError: lists the names that are no float values of the graph.
    """
    found = {v.name: v for v in graph.values() if not v.is_constant and v.dtype.is_float}
    names = set(found if values is None else values)
    problems = Problems()
    for name in sorted(names):
        if name not in found:
            problems.add(f"value {name}: the network computes no float value of this name")
    problems.raise_if_any()
    wanted = [value for name, value in found.items() if name in names]
    part = Graph(graph.name)
    part.inputs, part.nodes, part.outputs = graph.inputs, list(graph.nodes), wanted
    part.prune()
    return part, wanted


def chosen_positions(count: int, limit: int) -> list[int]:
    """The samples to use out of *count*.

    Raises:
        UserError: there is none, or the limit is negative.
    """
    if limit < 0:
        raise UserError(f"calibration with {limit} samples: the number cannot be negative")
    if not count:
        raise UserError("calibration: the dataset is empty")
    if not limit or limit >= count:
        return list(range(count))
    # Files sorted by name are sorted by class, so the first ones are not typical.
    return [i * count // limit for i in range(limit)]


def grouped_samples(
    dataset: Samples, positions: Sequence[int]
) -> Iterator[tuple[int, list[NamedSample]]]:
    """(positions tried, samples that could be read), for groups that are run at the same time.

    The next group is read while the caller works on this one.

    Raises:
        UserError: a sample can be read, but does not fit; the rest is read to find all of them.
    """
    from nntc.core.native import THREADS

    def read(position: int) -> NamedSample | None:
        try:
            return sample_name(dataset, position), dataset[position]
        except CorruptSampleError:
            return None

    size = PARALLEL or THREADS
    group: list[NamedSample] = []
    for index, result in enumerate(_ahead(read, positions, size)):
        try:
            sample = result()
        except UserError as err:
            raise UserError(_all_problems(err, read, positions[index + 1 :])) from None
        group += [sample] if sample is not None else []
        if (index + 1) % size == 0 or index + 1 == len(positions):
            yield index % size + 1, group
            group = []


def _all_problems(
    first: UserError, read: Callable[[int], object], positions: Iterable[int]
) -> list[str]:
    """The problem met first and those of the samples that follow."""
    problems = list(first.problems)
    for position in positions:
        try:
            read(position)
        except UserError as err:
            problems += err.problems
    more = [f"and {len(problems) - _MOST_PROBLEMS} more"] * (len(problems) > _MOST_PROBLEMS)
    return [*problems[:_MOST_PROBLEMS], *more]


def _ahead(
    function: Callable[[int], _T], items: Iterable[int], ahead: int
) -> Iterator[Callable[[], _T]]:
    """For every item a function that gives ``function(item)``, started *ahead* items before."""
    thread = ThreadPoolExecutor(1, "nntc-samples")
    try:
        started: deque[Future[_T]] = deque()
        for item in items:
            started.append(thread.submit(function, item))
            if len(started) > ahead:
                yield started.popleft().result
        while started:
            yield started.popleft().result
    finally:
        thread.shutdown(cancel_futures=True)


def sample_name(dataset: Samples, position: int) -> str:
    """How messages call a sample."""
    name = getattr(dataset, "name", None)
    return str(name(position)) if callable(name) else f"sample {position}"


def add_samples(part: Graph, statistics: Statistics, samples: Sequence[NamedSample]) -> None:
    """Run samples at the same time, each on one thread, and count.

    Raises:
        UserError: samples do not fit the network, or a value becomes NaN or infinite.
    """
    from nntc.core.native import split

    problems: list[list[str]] = [[] for _ in samples]
    # Outputs would be kept to the end of a run.
    counting = Graph(part.name)
    counting.inputs, counting.nodes = part.inputs, part.nodes

    def run(first: int, last: int) -> None:
        for index in range(first, last):
            try:
                _add_sample(counting, statistics, *samples[index])
            except UserError as err:
                problems[index] = err.problems

    split(run, len(samples))
    if any(problems):
        raise UserError([text for texts in problems for text in texts])
    statistics.samples += len(samples)


def _add_sample(
    graph: Graph, statistics: Statistics, name: str, sample: Mapping[str, np.ndarray]
) -> None:
    """Run one sample, which messages call *name*, and count.

    Raises:
        UserError: the sample does not fit the network, or a value becomes NaN or infinite.
    """
    kinds = {v.name: v.dtype.numpy for v in graph.inputs}
    fed = {key: np.asarray(array, kinds.get(key)) for key, array in sample.items()}

    def count(value: Value, array: np.ndarray) -> None:
        counted = statistics.values.get(value.name)
        if counted is not None and not counted.add(array):
            raise UserError(_not_finite(value, array, name))

    try:
        interpret.run(graph, fed, visit=count)
    except UserError as err:
        raise UserError(
            [text if text.startswith(name) else f"{name}: {text}" for text in err.problems]
        ) from None


def _not_finite(value: Value, array: np.ndarray, sample: str) -> str:
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32)
    bad = ~np.isfinite(numbers)
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    where = "input" if value.producer is None else f"{value.producer.source}: value"
    return (
        f"{sample}: {where} {value.name}: {int(bad.sum())} of {bad.size} numbers are NaN or "
        f"infinite, the first is {numbers[place]} at {list(place)}"
    )


def need_samples(statistics: Statistics, tried: int) -> None:
    """Refuse statistics without samples.

    Raises:
        UserError: there are none.
    """
    if not statistics.samples:
        raise UserError(f"calibration: not one of {tried} samples can be read")


class _State:
    """The state of a calibration in a file, so that it can go on after a stop."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        part: Graph,
        wanted: Sequence[Value],
        dataset: Samples,
        positions: Sequence[int],
    ) -> None:
        self._path = Path(path)
        names = [value.name for value in wanted]
        data = getattr(dataset, "digest", "")
        text = f"{names!r} {data} {list(positions)!r} {print_graph(part)}"
        self._key = hashlib.sha256(text.encode()).hexdigest()
        self._last = time.monotonic()

    def read(self, fresh: Statistics) -> tuple[Statistics, int]:
        """The statistics so far and how many samples have been tried; or *fresh* and 0.

        Raises:
            UserError: the state is damaged, or that of another calibration.
        """
        if not self._path.exists():
            return fresh, 0
        statistics, notes = statistics_file.read(self._path)
        done = notes.get("done")
        if notes.get("key") != self._key or type(done) is not int:
            raise UserError(
                f"{self._path}: is the state of a calibration of another network, or with other "
                "samples or values; remove it to begin anew"
            )
        return statistics, done

    def write(self, statistics: Statistics, done: int) -> None:
        statistics_file.write(statistics, self._path, {"key": self._key, "done": done})
        self._last = time.monotonic()

    def write_if_due(self, statistics: Statistics, done: int) -> None:
        if time.monotonic() - self._last >= SAVE_SECONDS:
            self.write(statistics, done)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""
