"""Run two models on the same samples and compare what they compute."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from nntc.core.errors import UserError
from nntc.data import CorruptSampleError
from nntc.quant import Statistics
from nntc.report.accuracy.alone import run_layers
from nntc.report.accuracy.metrics import Metric, classes, output_cosine, output_sqnr
from nntc.report.accuracy.pairs import Pair, match, origins, renamed, unmatched
from nntc.report.accuracy.rows import Row, make_rows
from nntc.report.accuracy.runners import (
    GraphRunner,
    RecordedRunner,
    Runner,
    batches,
    joined,
    run_group,
)
from nntc.report.accuracy.sums import ErrorSums

Progress = Callable[[str, int, int], None]

SCATTER_POINTS = 1500
"""Points of an output's scatter plot, over all samples."""


class Samples(Protocol):
    """What is needed of a dataset; see :class:`nntc.data.Dataset`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, np.ndarray]: ...


@dataclass
class OutputScore:
    """A network output over all samples.

    Attributes:
        agree: rows in which both models have the same largest class; None: no classifier.
        rows: how many there are.
        labelled: rows whose true class is known; right_a, right_b: classified so.
        points: (A's, B's) numbers of evenly spread elements, for a plot.
    """

    name: str
    reference: str
    agree: int | None = None
    rows: int = 0
    labelled: int = 0
    right_a: int = 0
    right_b: int = 0
    points: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class SampleScore:
    """The outputs of one sample; the worst of several outputs.

    Attributes:
        before, after: the metric of A's own outputs (NaN for built-in metrics), and of B's.
    """

    position: int
    name: str
    sqnr: float
    cosine: float
    before: float
    after: float


@dataclass
class Comparison:
    """What :func:`compare` finds.

    Attributes:
        a, b: what was compared; A is the reference.
        data: where the samples are from.
        rows: every compared tensor, in order of execution.
        sums: their error sums, for plots.
        outputs: how the networks' results compare.
        samples: every sample's outputs.
        skipped: samples that cannot be read: name and reason.
        unmatched: tensors of B that stand for nothing in A.
        metric: name of the metric; empty: none.
        statistics: of A's values on calibration data, if given.
    """

    a: str
    b: str
    data: str
    rows: list[Row] = field(default_factory=list)
    sums: list[ErrorSums] = field(default_factory=list)
    outputs: list[OutputScore] = field(default_factory=list)
    samples: list[SampleScore] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unmatched: int = 0
    metric: str = ""
    statistics: Statistics | None = None

    def table(self, top: int = 20, sort: str = "own") -> str:
        """A summary and the worst tensors as lines of text; top = 0: all tensors."""
        from nntc.report.accuracy.table import text

        return text(self, top, sort)

    def html(self, top: int = 20, sort: str = "own") -> str:
        """One self-contained page; the *top* worst tensors are drawn."""
        from nntc.report.accuracy.page import page

        return page(self, top, sort)


def compare(
    a: Runner,
    b: Runner,
    samples: Samples | None,
    *,
    data: str = "",
    positions: Sequence[int] | None = None,
    metric: Metric | None = None,
    statistics: Statistics | None = None,
    distributions: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two models.

    One pass; in memory are the sums, of one group of samples the tensors of A that B has, too, and
    a line for every sample.

    Args:
        a: the reference.
        samples: None only if both models are recorded outputs.
        data: the dataset's name, for people.
        positions: the samples to use; None: all.
        metric: of the outputs of every sample.
        statistics: of A's values, kept for the report.
        distributions: count those of all values and errors, for :meth:`Comparison.html`.
        progress: called as (stage, done, total).

    Raises:
        UserError: the models have no tensor in common or other inputs, or samples do not fit.
    """
    pairs = match(a, b)
    names = _input_names(a, b)
    count = _count(a, b, samples)
    chosen = range(count) if positions is None else positions
    result = Comparison(a.title, b.title, data, statistics=statistics)
    result.metric = "" if metric is None else metric.name
    result.unmatched = unmatched(b, pairs)
    run = _Run(a, b, pairs, names, metric, distributions, len(chosen))
    tell = progress or (lambda stage, done, total: None)
    done = 0
    tell("compare", 0, len(chosen))
    for item in _readable(samples, chosen, result.skipped):
        run.add(item)
        done += 1
        tell("compare", done + len(result.skipped), len(chosen))
    run.finish()
    if not done:
        raise UserError(f"{data}: not one of {len(chosen)} samples can be read")
    tell("compare", len(chosen), len(chosen))
    run.count_labels(getattr(samples, "labels", None))
    pairs = [pair for pair in pairs if run.sums[pair.value].count]
    if not pairs:
        raise UserError(f"{a.title} and {b.title}: no value of one shape was found in both")
    graph = a.graph or b.graph
    compared = {p.reference for p in pairs} if a.graph else {p.value for p in pairs}
    known = origins(graph, compared)
    if not a.graph:
        known = renamed(known, pairs)
    result.sums = [run.sums[pair.value] for pair in pairs]
    shapes = [b.forms[pair.value].shape for pair in pairs]
    result.rows = make_rows(pairs, result.sums, shapes, known)
    result.outputs = [run.outputs[pair.value] for pair in pairs if pair.is_output]
    result.samples = run.samples
    return result


def _input_names(a: Runner, b: Runner) -> dict[str, str]:
    """Input of B → input of A: the same name, or the same place.

    Raises:
        UserError: other inputs.
    """
    if not a.inputs or not b.inputs:
        return dict(zip(b.inputs, b.inputs, strict=True))
    if set(a.inputs) == set(b.inputs):
        return {name: name for name in b.inputs}
    tails = [[shape[1:] for shape in runner.inputs.values()] for runner in (a, b)]
    if tails[0] == tails[1]:
        return dict(zip(b.inputs, a.inputs, strict=True))
    texts = [
        f"{runner.title} has {', '.join(f'{n} {list(s)}' for n, s in runner.inputs.items())}"
        for runner in (a, b)
    ]
    raise UserError(f"the inputs differ: {'; '.join(texts)}")


def _count(a: Runner, b: Runner, samples: Samples | None) -> int:
    """How many samples there are.

    Raises:
        UserError: there is no data, or another number has been recorded.
    """
    counts = {r.title: r.count for r in (a, b) if isinstance(r, RecordedRunner)}
    if samples is not None:
        counts["the dataset"] = len(samples)
    elif not all(isinstance(r, RecordedRunner) for r in (a, b)):
        raise UserError("a model is compared on samples: give a dataset with --data")
    if len(set(counts.values())) > 1:
        texts = ", ".join(f"{count} in {name}" for name, count in counts.items())
        raise UserError(f"the numbers of samples differ: {texts}")
    return next(iter(counts.values()))


@dataclass(frozen=True)
class _Item:
    position: int
    name: str
    arrays: Mapping[str, np.ndarray]


def _readable(
    samples: Samples | None, positions: Sequence[int], skipped: list[tuple[str, str]]
) -> Iterator[_Item]:
    """The samples one by one; those that cannot be read are noted."""
    name = getattr(samples, "name", None)
    for position in positions:
        label = str(name(position)) if callable(name) else f"sample {position}"
        try:
            arrays = {} if samples is None else samples[position]
        except CorruptSampleError as err:
            skipped.append((label, "; ".join(err.problems)))
            continue
        yield _Item(position, label, arrays)


class _Run:
    """The sums of a comparison while it runs."""

    def __init__(
        self,
        a: Runner,
        b: Runner,
        pairs: Sequence[Pair],
        names: Mapping[str, str],
        metric: Metric | None,
        distributions: bool,
        total: int,
    ) -> None:
        self.a, self.b = a, b
        self.metric = metric
        self.names = names
        self.pairs = {pair.value: pair for pair in pairs}
        self.sums = {
            p.value: ErrorSums(b.forms[p.value], b.forms[p.value].shape, distributions)
            for p in pairs
        }
        self.outputs = {p.value: OutputScore(p.value, p.reference) for p in pairs if p.is_output}
        self.samples: list[SampleScore] = []
        self._classes: dict[str, list[tuple[int, np.ndarray, np.ndarray]]] = {}
        self._readers = Counter(pair.reference for pair in pairs)
        self._quota = max(1, SCATTER_POINTS // max(1, total))
        self._every = -(-total // SCATTER_POINTS) or 1
        self._batches: tuple[int, int] | None = None
        self._waiting: list[_Item] = []

    def add(self, item: _Item) -> None:
        """Take a sample; it runs when there are enough for a batch."""
        if self._batches is None:
            self._batches = batches(self.a, item.arrays), batches(self.b, self._renamed(item))
            if max(self._batches) % min(self._batches):
                raise UserError(
                    f"batches of {self._batches[0]} ({self.a.title}) and of {self._batches[1]} "
                    f"({self.b.title}) samples cannot be compared: one has to divide the other"
                )
        self._waiting.append(item)
        if len(self._waiting) == max(self._batches):
            self._run(self._waiting)
            self._waiting = []

    def finish(self) -> None:
        """Run what is left."""
        if self._waiting:
            self._run(self._waiting)

    def _run(self, items: Sequence[_Item]) -> None:
        assert self._batches is not None
        group = max(self._batches)
        filled = [*items, *[items[-1]] * (group - len(items))]
        positions = [item.position for item in filled]
        try:
            self._run_group(len(items), filled, positions)
        except UserError as err:
            where = items[0].name if group == 1 else f"{items[0].name} ..."
            raise UserError([f"{where}: {text}" for text in err.problems]) from None

    def _renamed(self, item: _Item) -> Mapping[str, np.ndarray]:
        """The sample under the names of B's inputs."""
        return {name: item.arrays[other] for name, other in self.names.items() if item.arrays}

    def _run_group(self, count: int, filled: Sequence[_Item], positions: Sequence[int]) -> None:
        """Run both models; the first *count* items count."""
        assert self._batches is not None
        group = len(filled)
        expected: dict[str, np.ndarray] = {}
        left = Counter(self._readers)
        results: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        a, b = self.a, self.b
        # Only where both take one batch: tensors of several would have to be divided.
        graphs = (
            (a, b)
            if isinstance(a, GraphRunner)
            and isinstance(b, GraphRunner)
            and self._batches == (group, group)
            else None
        )

        def keep(name: str, array: np.ndarray) -> None:
            expected[name] = a.forms[name].real(array)

        def judge(name: str, array: np.ndarray) -> None:
            pair = self.pairs[name]
            reference = expected.get(pair.reference)
            if reference is None or reference.shape != array.shape:
                return
            arrays = _real_part(reference, count, group), _real_part(array, count, group)
            self.sums[name].add(*arrays)
            if pair.is_output:
                results[name] = arrays[0], b.forms[name].real(arrays[1])
            left[pair.reference] -= 1
            if not left[pair.reference] and graphs is None:
                del expected[pair.reference]

        def judge_own(name: str, reference: np.ndarray, array: np.ndarray) -> None:
            arrays = (_real_part(v, count, group) for v in (reference, array))
            self.sums[name].add_own(*arrays)

        given = [item.arrays for item in filled]
        renamed = [self._renamed(item) for item in filled]
        run_group(a, self._batches[0], given, positions, self._readers, keep)
        run_group(b, self._batches[1], renamed, positions, self.pairs, judge)
        if graphs is not None:
            pairs = list(self.pairs.values())
            inputs = joined(given, a), joined(renamed, b)
            run_layers(*graphs, pairs, expected, inputs, judge_own)
        for number, item in enumerate(filled[:count]):
            self._score(item, {n: _part(p, number, count) for n, p in results.items()})

    def _score(self, item: _Item, results: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Judge the outputs of one sample."""
        for name, (a, b) in results.items():
            output = self.outputs[name]
            if len(self.samples) % self._every == 0:
                step = np.linspace(0, a.size - 1, min(self._quota, a.size)).astype(int)
                numbers = (v.reshape(-1)[step].astype(float).tolist() for v in (a, b))
                output.points += zip(*numbers, strict=True)
            best = [classes(v) for v in (a, b)]
            if best[0] is None or best[1] is None:
                continue
            picks = best[0].argmax(1), best[1].argmax(1)
            output.agree = (output.agree or 0) + int((picks[0] == picks[1]).sum())
            output.rows += len(picks[0])
            self._classes.setdefault(name, []).append((item.position, *picks))
        if not results:
            return
        before = after = math.nan
        if self.metric is not None:
            expected = {self.outputs[n].reference: a for n, (a, _) in results.items()}
            found = {self.outputs[n].reference: b for n, (_, b) in results.items()}
            after = self.metric(expected, found, item.position)
            before = self.metric(expected, expected, item.position) if self.metric.own else math.nan
        self.samples.append(
            SampleScore(
                item.position,
                item.name,
                min(output_sqnr(a, b) for a, b in results.values()),
                min(output_cosine(a, b) for a, b in results.values()),
                before,
                after,
            )
        )

    def count_labels(self, labels: Sequence[int | None] | None) -> None:
        """Compare the classes found with the true ones, where these are known."""
        for name, found in self._classes.items():
            output = self.outputs[name]
            for position, a, b in found:
                label = labels[position] if labels is not None else None
                if label is None:
                    continue
                output.labelled += len(a)
                output.right_a += int((a == label).sum())
                output.right_b += int((b == label).sum())


def _real_part(array: np.ndarray, count: int, group: int) -> np.ndarray:
    """Without what belongs to the samples that only fill the last batch."""
    if count == group or not array.ndim or array.shape[0] % group:
        return array
    return array[: array.shape[0] // group * count]


def _part(
    pair: tuple[np.ndarray, np.ndarray], number: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """One sample's rows of both arrays; all rows where they do not divide."""
    if count == 1 or not pair[0].ndim or pair[0].shape[0] % count:
        return pair
    size = pair[0].shape[0] // count
    rows = slice(number * size, (number + 1) * size)
    return pair[0][rows], pair[1][rows]
