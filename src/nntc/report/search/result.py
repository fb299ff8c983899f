"""What a search finds, and how it is told to people."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field

from nntc.core.errors import UserError
from nntc.quant import Quantized, QuantizeOptions
from nntc.report.accuracy.table import aligned, decibels, shortened

HEADER = ("layer", "operators", "harm", "SQNR dB", "fp32 costs cycles", "place")
RIGHT = "llrrrl"


@dataclass(frozen=True)
class LayerHarm:
    """What a layer alone does to the network's outputs.

    Attributes:
        layer: name of the convolution or matrix product.
        nodes: names of all nodes that go into fp32 with it.
        operators: theirs, for people.
        harm: drop of the metric if this layer alone is in int8.
        sqnr: signal to noise of the network's outputs then, dB.
        extra: cycles that the int8 network takes more with this layer in fp32, its inputs and
            results converted; None: it cannot be compiled.
    """

    layer: str
    nodes: tuple[str, ...]
    operators: str
    harm: float
    sqnr: float
    extra: int | None


@dataclass(frozen=True)
class Trial:
    """A network that was quantised and judged.

    Attributes:
        layers: those in fp32, in order.
        score, drop: of the metric.
        cycles: of the whole network; None: it cannot be compiled, or its drop is too large for
            that to matter.
    """

    layers: tuple[str, ...]
    score: float
    drop: float
    cycles: int | None = None


@dataclass(frozen=True)
class SearchResult:
    """What :func:`nntc.report.search.find.search` finds.

    Attributes:
        metric, max_drop: what was asked for.
        samples: how many judged. held_out: they were split off the calibration data.
        before: score of fp32.
        ranking: the layers, the most harmful first.
        int8: everything in int8.
        found: the cheapest of the sets that keep the drop; judged on samples that it was not
            calibrated with.
        fp32_cycles: everything in fp32.
        tried: all sets, in order.
        options: with the layers found in ``float_layers``: they repeat the result without a search.
        quantized: the result, calibrated with all data.
        final: that, judged again. Only if all sets that were tried with all data lose more there,
            its drop is more than allowed.
    """

    metric: str
    max_drop: float
    samples: int
    held_out: bool
    before: float
    ranking: list[LayerHarm]
    int8: Trial
    found: Trial
    fp32_cycles: int | None
    tried: list[Trial] = field(repr=False)
    options: QuantizeOptions
    quantized: Quantized = field(repr=False)
    final: Trial

    def lines(self, top: int = 20) -> list[str]:
        """The report; top = 0: all layers."""
        shown = self.ranking[:top] if top else self.ranking
        chosen = set(self.found.layers)
        rows = [
            (
                shortened(row.layer),
                row.operators,
                f"{row.harm:.3g}",
                decibels(row.sqnr),
                "-" if row.extra is None else f"{row.extra:+,}",
                "fp32" if row.layer in chosen else "int8",
            )
            for row in shown
        ]
        lines = aligned([HEADER, *rows], RIGHT)
        if len(shown) < len(self.ranking):
            lines.append(f"... {len(self.ranking) - len(shown)} more")
        origin = "held-out samples" if self.held_out else "samples"
        lines += [
            "",
            f"metric {self.metric} on {self.samples} {origin}: fp32 {self.before:.6g}, "
            f"drop {self.max_drop:g} allowed; {len(self.tried)} trials",
            *aligned(
                [("", "layers in fp32", "score", "drop", "cycles", ""), *self._rows()], "lrrrrl"
            ),
        ]
        command = self.command()
        if command:
            lines += ["", "the same without a search:", f"  {command}"]
        if self.final.drop > self.max_drop:
            lines += ["", "calibrated with all data it loses more than is allowed"]
        return lines

    def _rows(self) -> list[tuple[str, ...]]:
        least = self.int8.cycles
        rows: list[tuple[str, ...]] = []
        for title, trial in (("all int8", self.int8), ("found", self.found)):
            rows.append(_trial(title, trial, least))
        if self.held_out:
            rows.append(_trial("result, calibrated with all data", self.final, least))
        cycles = self.fp32_cycles
        rows.append(
            ("all fp32", "all", f"{self.before:.6g}", "0", _count(cycles), _ratio(cycles, least))
        )
        return rows

    def command(self) -> str:
        """The options of ``nntc quantize`` that repeat the result; empty: none are needed."""
        names = self.options.float_layers
        if any(set(name) & set(",[]'\"") for name in names):
            # The command line divides names at commas.
            return f"QuantizeOptions(float_layers={names!r})"
        return f"--float_layers {shlex.quote(','.join(names))}" if names else ""


class SearchError(UserError):
    """No set of layers that was tried keeps the drop.

    Attributes:
        best: the trial with the least drop.
        ranking: the layers, the most harmful first.
    """

    def __init__(self, message: str, best: Trial, ranking: list[LayerHarm]) -> None:
        super().__init__(message)
        self.best = best
        self.ranking = ranking


def _trial(title: str, trial: Trial, least: int | None) -> tuple[str, ...]:
    return (
        title,
        str(len(trial.layers)),
        f"{trial.score:.6g}",
        f"{trial.drop:.3g}",
        _count(trial.cycles),
        _ratio(trial.cycles, least),
    )


def _count(cycles: int | None) -> str:
    return "-" if cycles is None else f"{cycles:,}"


def _ratio(cycles: int | None, least: int | None) -> str:
    if cycles is None or not least:
        return ""
    ratio = cycles / least
    return f"{ratio:.2f} times all int8" if math.isfinite(ratio) else ""
