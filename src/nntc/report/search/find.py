"""Finds the layers that have to stay in fp32.

Quantising a large network once takes tens of seconds, and the sets of layers are beyond number, so
the search has three parts:

1. *Harm.* From one network that is in int8 as a whole, each layer alone is put into the fp32
   network, and the outputs are judged by the user's metric (:mod:`nntc.report.search.alone`). This
   is the definition of a layer's harm, and one quantisation serves for all layers, of which none
   makes up for the errors of others (:mod:`nntc.report.search.independent`). What it cannot tell
   is how layers act together: the metric may have a threshold that only several errors cross.
2. *Sets.* So sets are judged by quantising with them in fp32, exactly as the result will be. Along
   a ranking, the shortest beginning that keeps the drop is found by doubling and bisection. There
   are two rankings: by harm, and by noise in the outputs per cycle that fp32 costs. Noise powers
   add up, so the second is the greedy solution of the knapsack problem; it is followed only as far
   as it promises to be cheaper than what is known.
3. *Pruning.* Layers of the best set return to int8, halves of it first and the dearest for their
   noise first, as long as the drop is kept.

Of all networks that were tried and keep the drop, the one with the fewest cycles wins. Every set is
tried once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nntc.core.errors import UserError
from nntc.data import Dataset
from nntc.ir import interpret
from nntc.ir.graph import Graph
from nntc.quant import Quantized, QuantizeOptions, Statistics, quantize
from nntc.quant.calibrate import calibrate, chosen_positions
from nntc.quant.quantize import fitting_samples
from nntc.report.accuracy.metrics import Metric
from nntc.report.accuracy.rows import decibel
from nntc.report.search.alone import Alone
from nntc.report.search.cost import extra_cycles, network_cycles
from nntc.report.search.independent import independent
from nntc.report.search.judge import Judge
from nntc.report.search.options import SearchOptions
from nntc.report.search.result import LayerHarm, SearchError, SearchResult, Trial
from nntc.report.search.units import Unit, find_units

Progress = Callable[[str, int, int], None]

HELD_OUT = 32
"""Samples that are split off to judge, a quarter of the data at most."""

RANKING_SAMPLES = 16
"""Samples on which the layers are fitted that are judged alone, at most."""

ALONE_SAMPLES = 8
"""Samples on which single layers are judged."""

FINALISTS = 4
"""Sets that are calibrated with all data, until one keeps the drop there, too."""


def search(
    graph: Graph,
    statistics: Statistics,
    dataset: Dataset,
    options: QuantizeOptions,
    wanted: SearchOptions,
    *,
    samples: Dataset | None = None,
    recalibrate: Callable[[Dataset], Statistics] | None = None,
    opt: int = 2,
    batch: int = 0,
    progress: Progress | None = None,
) -> SearchResult:
    """Quantise with as many layers in fp32 as the metric asks for.

    Args:
        graph: the float graph, for one sample.
        statistics, dataset: of the result, see :func:`nntc.quant.quantize`.
        options: its layers in fp32 stay there.
        samples: judge; None: a part of *dataset* does, and the trials are calibrated without it.
        recalibrate: statistics of a part of the dataset; default: of all its samples.
        opt, batch: with which cycles are counted, see :func:`nntc.api.compile`.
        progress: called as (stage, done, total).

    Raises:
        UserError: the options, the metric or the data make no sense.
        SearchError: the drop cannot be kept.
    """
    wanted = wanted.opened()
    assert isinstance(wanted.metric, Metric)
    tell = progress or (lambda stage, done, total: None)
    fitted, known = dataset, statistics
    if samples is None:
        numbers, rest = _held_out(dataset, wanted.limit)
        judging, fitted = dataset, dataset.subset(rest)
        known = (recalibrate or (lambda part: calibrate(graph, part, progress=tell)))(fitted)
    else:
        judging, numbers = samples, chosen_positions(len(samples), wanted.limit)
    judge = Judge(graph, wanted.metric, judging, numbers, _steps(tell, "fp32", len(numbers)))
    trials = _Trials(graph, known, fitted, options, wanted, judge, opt, batch, tell)
    first = trials.start()
    fixed = _independent(graph, known, fitted, options, tell)
    ranking = _ranking(graph, fixed, trials.units, judge, opt, batch, tell)
    _Search(trials, ranking).run()
    by_harm = [ranking[i] for i in _by_harm(ranking)]
    if trials.best is None:
        raise _failure(trials, by_harm, wanted)
    found, quantized = trials.best
    final = found
    if samples is None:
        found, final, quantized = _with_all_data(trials, statistics, dataset)
    tell("cycles", 0, 1)
    return SearchResult(
        metric=wanted.metric.name,
        max_drop=wanted.max_drop,
        samples=len(judge.numbers),
        held_out=samples is None,
        before=judge.before,
        ranking=by_harm,
        int8=replace(trials.all_int8, cycles=network_cycles(first.graph, opt, batch)),
        found=found,
        fp32_cycles=network_cycles(graph, opt, batch),
        tried=trials.tried,
        options=trials.options_of(found),
        quantized=quantized,
        final=final,
    )


def _held_out(dataset: Dataset, limit: int) -> tuple[list[int], list[int]]:
    """(samples that judge, all others).

    Raises:
        UserError: there is but one.
    """
    total = len(dataset)
    if total < 2:
        raise UserError(
            f"{dataset.path}: holds one sample, which cannot both calibrate and judge; "
            "give others for the search"
        )
    count = min(limit, total - 1) if limit else min(HELD_OUT, max(1, total // 4))
    chosen = chosen_positions(total, count)
    return chosen, sorted(set(range(total)) - set(chosen))


def _with_all_data(
    trials: _Trials, statistics: Statistics, dataset: Dataset
) -> tuple[Trial, Trial, Quantized]:
    """(trial, the same calibrated with all data, its network): the cheapest that keeps the drop
    both times; or of a few cheap ones the best."""
    made: list[tuple[Trial, Trial, Quantized]] = []
    for found in trials.kept[:FINALISTS]:
        final, quantized = trials.repeated(found, statistics, dataset)
        made.append((found, final, quantized))
        if final.drop <= trials.wanted.max_drop:
            return made[-1]
    return min(made, key=lambda m: m[1].drop)


def _stage(tell: Progress, stage: str) -> Progress:
    """Progress under another name."""
    return lambda _, done, total: tell(stage, done, total)


def _steps(tell: Progress, stage: str, total: int) -> Callable[[], None]:
    """A function that reports one more step every time it is called."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        tell(stage, done, total)

    return step


# -- 1. harm ------------------------------------------------------------------------------------


def _independent(
    graph: Graph,
    statistics: Statistics,
    dataset: Dataset,
    options: QuantizeOptions,
    tell: Progress,
) -> Graph:
    """The int8 graph whose layers are judged alone."""
    few = replace(options, samples=min(options.samples, RANKING_SAMPLES))
    samples = fitting_samples(graph, dataset, few)
    return independent(graph, statistics, samples, few, _stage(tell, "int8 for the ranking"))


def _ranking(
    graph: Graph,
    fixed: Graph,
    units: Sequence[Unit],
    judge: Judge,
    opt: int,
    batch: int,
    tell: Progress,
) -> list[LayerHarm]:
    """What every unit alone does, in the order of the units."""
    alone = Alone(graph, fixed)
    parts = [alone.part(unit) for unit in units]
    signal, before = 0.0, 0.0
    noise, score = np.zeros((2, len(units)))
    count = min(ALONE_SAMPLES, len(judge.numbers))
    step = _steps(tell, "harm of each layer", count * len(units))
    for number, sample, wanted in judge.samples(ALONE_SAMPLES):
        exact = interpret.run(graph, sample, values=True)
        before += judge.metric(wanted, wanted, number) / count
        signal += _power(wanted, None)
        for index, part in enumerate(parts):
            found = alone.run(part, exact)
            score[index] += judge.metric(wanted, found, number) / count
            noise[index] += _power(found, wanted)
            step()
    made: list[LayerHarm] = []
    least = network_cycles(fixed, opt, batch)
    for index, (unit, part) in enumerate(zip(units, parts, strict=True)):
        tell("cost of each layer", index, len(units))
        harm = judge.drop(float(score[index]), before)
        cycles = extra_cycles(alone, fixed, unit, part, opt, batch)
        extra = None if cycles is None or least is None else cycles - least
        ratio = decibel(signal, float(noise[index]))
        made.append(LayerHarm(unit.name, unit.float_layers, unit.operators, harm, ratio, extra))
    return made


def _power(a: dict[str, np.ndarray], b: dict[str, np.ndarray] | None) -> float:
    """Sum of squares of all numbers, or of how far they are from others."""
    total = 0.0
    for name, array in a.items():
        numbers = array.astype(np.float64)
        total += float(np.square(numbers if b is None else numbers - b[name]).sum())
    return total if math.isfinite(total) else math.inf


def _by_harm(ranking: Sequence[LayerHarm]) -> list[int]:
    return sorted(range(len(ranking)), key=lambda i: (-ranking[i].harm, ranking[i].sqnr, i))


def _noise_per_cycle(row: LayerHarm) -> float:
    noise = 10 ** (-row.sqnr / 10) if row.sqnr > -math.inf else math.inf
    return noise / max(row.extra or 0, 1)


# -- 2., 3. sets --------------------------------------------------------------------------------


class _SpentError(Exception):
    """No more trials."""


@dataclass
class _Trials:
    """Quantises and judges; remembers what was tried.

    Attributes:
        units: that may be put into fp32.
        count: of the trials so far.
        best: the cheapest that keeps the drop; least: the one with the least drop.
    """

    graph: Graph
    statistics: Statistics
    dataset: Dataset
    options: QuantizeOptions
    wanted: SearchOptions
    judge: Judge
    opt: int
    batch: int
    tell: Progress

    def __post_init__(self) -> None:
        self.units: list[Unit] = []
        self.count = 0
        self.best: tuple[Trial, Quantized] | None = None
        self._known: dict[frozenset[int], Trial] = {}

    def start(self) -> Quantized:
        """Everything in int8."""
        made = self._quantized(())
        self.units = find_units(self.graph, made.report)
        self._known[frozenset()] = self._judged((), made)
        return made

    @property
    def all_int8(self) -> Trial:
        return self._known[frozenset()]

    @property
    def kept(self) -> list[Trial]:
        """Those that keep the drop, the cheapest first."""
        found = [t for t in self._known.values() if t.drop <= self.wanted.max_drop]
        return sorted(found, key=_price)

    @property
    def tried(self) -> list[Trial]:
        """All, in order."""
        return list(self._known.values())

    @property
    def least(self) -> Trial:
        return min(self._known.values(), key=lambda t: (t.drop, len(t.layers)))

    def __call__(self, chosen: frozenset[int]) -> Trial:
        """Some units in fp32.

        Raises:
            _SpentError: it would be one trial too many.
        """
        if chosen not in self._known:
            if self.count >= self.wanted.trials:
                raise _SpentError
            units = [self.units[index] for index in sorted(chosen)]
            self._known[chosen] = self._judged(units, self._quantized(units))
        return self._known[chosen]

    def meets(self, chosen: frozenset[int]) -> bool:
        """Whether the drop is kept.

        Raises:
            _SpentError: see :meth:`__call__`.
        """
        return self(chosen).drop <= self.wanted.max_drop

    def repeated(
        self, trial: Trial, statistics: Statistics, dataset: Dataset
    ) -> tuple[Trial, Quantized]:
        """The same layers in fp32, with other data to calibrate."""
        stage = f"all data, {len(trial.layers) or 'no'} layers in fp32"
        chosen = self.options_of(trial)
        made = quantize(self.graph, statistics, dataset, chosen, _stage(self.tell, stage))
        score = self.judge.run(made.graph, _steps(self.tell, "judge", len(self.judge.numbers)))
        cycles = network_cycles(made.graph, self.opt, self.batch)
        drop = self.judge.drop(score)
        return replace(trial, score=score, drop=drop, cycles=cycles), made

    def options_of(self, trial: Trial) -> QuantizeOptions:
        """The options that repeat a trial."""
        chosen = set(trial.layers)
        return self._options([unit for unit in self.units if unit.name in chosen])

    def _options(self, units: Sequence[Unit]) -> QuantizeOptions:
        names = [*self.options.float_layers, *(n for unit in units for n in unit.float_layers)]
        return replace(self.options, float_layers=tuple(names))

    def _stage(self, units: Sequence[Unit]) -> str:
        return f"trial {self.count}, {len(units) or 'no'} layers in fp32"

    def _quantized(self, units: Sequence[Unit]) -> Quantized:
        self.count += 1
        stage, judging = self._stage(units), len(self.judge.numbers)

        def tell(_: str, done: int, total: int) -> None:
            self.tell(stage, done, total + judging)

        return quantize(self.graph, self.statistics, self.dataset, self._options(units), tell)

    def _judged(self, units: Sequence[Unit], made: Quantized) -> Trial:
        nodes, judging = len(self.graph.nodes), len(self.judge.numbers)
        stage, done = self._stage(units), 0

        def step() -> None:
            nonlocal done
            done += 1
            self.tell(stage, nodes + done, nodes + judging)

        score = self.judge.run(made.graph, step)
        trial = Trial(tuple(unit.name for unit in units), score, self.judge.drop(score))
        if trial.drop <= self.wanted.max_drop:
            trial = replace(trial, cycles=network_cycles(made.graph, self.opt, self.batch))
            if self.best is None or _price(trial) < _price(self.best[0]):
                self.best = trial, made
        return trial


def _price(trial: Trial) -> tuple[float, int, float]:
    cycles = math.inf if trial.cycles is None else trial.cycles
    return cycles, len(trial.layers), trial.drop


class _Search:
    """Chooses what is tried."""

    def __init__(self, trials: _Trials, ranking: Sequence[LayerHarm]) -> None:
        self._trials = trials
        self._ranking = ranking
        self._index = {unit.name: index for index, unit in enumerate(trials.units)}

    def run(self) -> None:
        """Leaves what was found in the trials."""
        if self._best() == frozenset() or not self._ranking:
            return
        try:
            self._shortest(_by_harm(self._ranking), len(self._ranking))
            known = self._best()
            if known is not None:
                order = sorted(range(len(self._ranking)), key=self._dearness, reverse=True)
                self._shortest(order, self._promising(order, known))
            best = self._best()
            if best:
                self._prune(best)
        except _SpentError:
            return

    def _best(self) -> frozenset[int] | None:
        """The cheapest set that keeps the drop."""
        best = self._trials.best
        return None if best is None else frozenset(self._index[name] for name in best[0].layers)

    def _dearness(self, index: int) -> tuple[float, int]:
        return _noise_per_cycle(self._ranking[index]), -index

    def _extra(self, chosen: Sequence[int] | frozenset[int]) -> int:
        return sum(self._ranking[index].extra or 0 for index in chosen)

    def _promising(self, order: Sequence[int], known: frozenset[int]) -> int:
        """Length of the longest beginning that is likely to be cheaper than a known set."""
        limit = self._extra(known)
        return max((n for n in range(len(order)) if self._extra(order[:n]) < limit), default=0)

    def _shortest(self, order: Sequence[int], most: int) -> None:
        """Try beginnings of a ranking."""
        short, size = 0, min(1, most)
        while size and not self._trials.meets(frozenset(order[:size])):
            if size == most:
                return
            short, size = size, min(2 * size, most)
        while size - short > 1:
            middle = (short + size) // 2
            if self._trials.meets(frozenset(order[:middle])):
                size = middle
            else:
                short = middle

    def _prune(self, chosen: frozenset[int]) -> None:
        """Try what of a set can return to int8."""
        waiting = [sorted(chosen, key=self._dearness)]
        while waiting:
            chunk = waiting.pop()
            left = chosen - set(chunk)
            if self._trials.meets(left) and self._best() == left:
                chosen = left
            elif len(chunk) > 1:
                half = len(chunk) // 2
                waiting += [chunk[half:], chunk[:half]]


def _failure(trials: _Trials, ranking: list[LayerHarm], wanted: SearchOptions) -> SearchError:
    best = trials.least
    tried = f"{trials.count} trials"
    if len(best.layers) < len(trials.units) and trials.count >= wanted.trials:
        tried += ", which is as many as were allowed"
    where, shown = "everything in int8", ""
    if best.layers:
        where = f"{len(best.layers)} of {len(trials.units)} layers in fp32"
        shown = f": {', '.join(best.layers[:8])}{' ...' if len(best.layers) > 8 else ''}"
    return SearchError(
        f"search: {trials.judge.metric.name} cannot be kept within a drop of "
        f"{wanted.max_drop:g} in {tried}; the best has a drop of {best.drop:.4g} "
        f"(score {best.score:.6g}, fp32 {trials.judge.before:.6g}) with {where}{shown}",
        best,
        ranking,
    )
