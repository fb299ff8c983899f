"""How good a network is on the samples that judge, against its fp32 form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from nntc.core.errors import UserError
from nntc.data import CorruptSampleError, Dataset
from nntc.ir import interpret
from nntc.ir.graph import Graph
from nntc.quant.calibrate import chosen_positions
from nntc.report.accuracy.metrics import Metric, classes
from nntc.report.accuracy.runners import GraphRunner

Arrays = dict[str, np.ndarray]
Step = Callable[[], None]

TINY = 1e-12
"""Differences that are none: sums of fp64 numbers in another order."""


class Judge:
    """Scores networks with a metric.

    Attributes:
        before: score of fp32.
        numbers: of the samples that can be read, in the dataset.
    """

    def __init__(
        self, graph: Graph, metric: Metric, dataset: Dataset, numbers: Sequence[int], step: Step
    ) -> None:
        """
        Args:
            numbers: of the samples that are to judge.
            step: called for every sample.

        Raises:
            UserError: the metric fails, or no sample can be read.
        """
        self.graph = graph
        self._dataset = dataset
        self._wanted: list[Arrays] = []
        self.numbers: list[int] = []
        for number in numbers:
            step()
            try:
                sample = dataset[number]
            except CorruptSampleError:
                continue
            self._wanted.append(interpret.run(graph, _fed(graph, sample)))
            self.numbers.append(number)
        if not self.numbers:
            raise UserError(f"{dataset.path}: not one of {len(numbers)} samples can be read")
        self.metric = metric
        # Labels of an LMDB are known once it has been read.
        noted = dataset.labels
        labels = {n: label for n in self.numbers if (label := noted[n]) is not None}
        if metric.name == "top1" and len(labels) == len(self.numbers):
            self.metric = replace(self.metric, function=_right(labels), own=True)
        found = zip(self._wanted, self.numbers, strict=True)
        self.before = float(np.mean([self.metric(a, a, number) for a, number in found]))

    def samples(self, limit: int = 0) -> Iterator[tuple[int, Arrays, Arrays]]:
        """(number, inputs, outputs in fp32) of all samples, or of some, spread evenly."""
        for index in chosen_positions(len(self.numbers), limit):
            number = self.numbers[index]
            yield number, _fed(self.graph, self._dataset[number]), self._wanted[index]

    def drop(self, score: float, before: float | None = None) -> float:
        """What is lost from the score of fp32; see :class:`SearchOptions`."""
        if self.metric.name == "sqnr":
            return 10 ** (-score / 10) if score < 150 else 0.0
        lost = (self.before if before is None else before) - score
        return 0.0 if abs(lost) < TINY else lost

    def run(self, graph: Graph, step: Step) -> float:
        """Score of another form of the network."""
        runner = GraphRunner(graph)
        scores: list[float] = []
        for number, sample, wanted in self.samples():
            made: Arrays = {}
            runner.run(sample, number, set(runner.outputs), made.__setitem__)
            found = {
                value.name: runner.forms[name].real(made[name])
                for value, name in zip(self.graph.outputs, runner.outputs, strict=True)
            }
            scores.append(self.metric(wanted, found, number))
            step()
        return float(np.mean(scores))


def _fed(graph: Graph, sample: Mapping[str, np.ndarray]) -> Arrays:
    return {v.name: sample[v.name] for v in graph.inputs}


def _right(labels: Mapping[int, int]) -> Callable[[Arrays, Arrays, int], float]:
    """A metric that says whether the largest class is the one that the data notes."""

    def right(a: Arrays, b: Arrays, index: int) -> float:
        found = [x for array in b.values() if (x := classes(array)) is not None]
        if not found:
            raise UserError("no output of shape [N, classes]")
        return float(np.mean([x.argmax(1) == labels[index] for x in found]))

    return right
