"""A comparison as one self-contained HTML page: nothing is loaded, names are escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from nntc.quant import ValueStatistics
from nntc.report.accuracy import plots
from nntc.report.accuracy.rows import CEILING, Row, ranked
from nntc.report.accuracy.sums import ErrorSums
from nntc.report.accuracy.table import (
    decibels,
    named_decibels,
    output_text,
    share,
    shortened,
    summary,
)

if TYPE_CHECKING:
    from nntc.report.accuracy.compare import Comparison

MAX_ROWS = 3000
"""Rows above which the table is cut: browsers become too slow to be useful."""

MAX_DRAWN = 200
MAX_COLUMNS = 256
BINS = 160
WORST_SAMPLES = 10
GUILTY = 5
"""How many of the worst layers are marked."""

HEADINGS = (
    "#", "value", "operator", "node", "place", "shape", "SQNR dB", "drop dB", "own dB",
    "cosine", "max error", "of range", "saturated", "clipping", "offset", "grid dB", "range used",
    "worst channel", "why",
)  # fmt: skip


def page(comparison: Comparison, top: int, sort: str) -> str:
    """See :meth:`nntc.report.accuracy.Comparison.html`."""
    rows = ranked(comparison.rows, sort)
    shown = rows[:MAX_ROWS]
    drawn = rows[: min(top or MAX_DRAWN, MAX_DRAWN)]
    more = f"<p>{len(rows) - MAX_ROWS} more values are left out.</p>" if rows[MAX_ROWS:] else ""
    parts = {
        "TITLE": escape(f"{comparison.b} compared with {comparison.a}"),
        "SUMMARY": _lines([*summary(comparison), *_data(comparison)]),
        "COURSE": _course(comparison, {row.order for row in drawn}),
        "CEILING": f"{CEILING:.0f}",
        "HEADINGS": "".join(f"<th>{escape(heading)}</th>" for heading in HEADINGS),
        "ROWS": "\n".join(_row(row) for row in shown),
        "MORE": more,
        "OUTPUTS": _outputs(comparison),
        "SAMPLES": _samples(comparison),
        "DETAILS": "\n".join(_details(comparison, row) for row in drawn),
    }
    template = resources.files("nntc.report.accuracy").joinpath("page.html")
    text = template.read_text(encoding="utf-8")
    # In one pass: a name from a model that looks like a place in the template stays a name.
    return re.sub(r"@([A-Z]+)@", lambda match: parts[match.group(1)], text)


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"<div>{escape(line)}</div>" for line in lines)


def _data(comparison: Comparison) -> list[str]:
    lines = [f"data: {comparison.data}"] if comparison.data else []
    if comparison.statistics is not None:
        lines.append(f"calibration: {comparison.statistics.samples} samples")
    return lines


def _course(comparison: Comparison, drawn: set[int]) -> str:
    guilty = {row.order for row in ranked(comparison.rows, "own")[:GUILTY] if row.sqnr < CEILING}
    points: list[plots.Point] = []
    ratios = [ratio for row in comparison.rows for ratio in (row.sqnr, row.own)]
    top = max([CEILING, *(ratio for ratio in ratios if math.isfinite(ratio))])
    for row in comparison.rows:
        style = "int" if row.place.startswith("int") else "fp"
        points.append(
            plots.Point(
                max(-20.0, min(row.sqnr, top)),
                "bad" if row.order in guilty else style,
                f"{row.value} ({row.operator or row.place}): {_ratios(row)}. {row.why}",
                f"{'v' if row.order in drawn else 'r'}{row.order}",
                None if math.isnan(row.own) else max(-20.0, min(row.own, top)),
            )
        )
    return plots.course(points, top)


def _ratios(row: Row) -> str:
    named = (("SQNR", row.sqnr), ("drop", row.drop), ("own", row.own))
    return ", ".join(named_decibels(name, number) for name, number in named)


def _cell(text: str, value: float | None = None) -> str:
    """A cell; *value* is what it is sorted by."""
    if value is None:
        return f"<td>{escape(text)}</td>"
    # NaN sorts as the least, infinity as the most.
    key = "-1e999" if math.isnan(value) else f"{value:.9g}".replace("inf", "1e999")
    return f'<td class="n" data-v="{key}">{escape(text)}</td>'


def _row(row: Row) -> str:
    worst = f"{row.worst_channel} ({share(row.worst_share)})"
    cells = [
        _cell(str(row.order), row.order),
        _cell(row.value),
        _cell(row.operator),
        _cell(row.source),
        _cell(row.place),
        _cell("x".join(map(str, row.shape)) or "scalar"),
        _cell(decibels(row.sqnr), row.sqnr),
        _cell(decibels(row.drop), row.drop),
        _cell(decibels(row.own), row.own),
        _cell(f"{row.cosine:.6f}", row.cosine),
        _cell(f"{row.max_error:.4g}", row.max_error),
        _cell(share(row.relative), row.relative),
        _cell(share(row.saturated), row.saturated),
        _cell(share(row.clipping), row.clipping),
        _cell(share(row.offset), row.offset),
        _cell(decibels(row.rounding), row.rounding),
        _cell(share(row.used), row.used),
        _cell("-" if math.isnan(row.worst_share) else worst, row.worst_share),
        _cell(row.why),
    ]
    kind = ' class="output"' if row.is_output else ""
    return f'<tr id="r{row.order}"{kind}>{"".join(cells)}</tr>'


def _figure(drawing: str, caption: str) -> str:
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _outputs(comparison: Comparison) -> str:
    by_value = {row.value: row for row in comparison.rows}
    cards: list[str] = []
    for output in comparison.outputs:
        row = by_value[output.name]
        figures = [_figure(plots.scatter(output.points), "B (up) against A (across)")]
        figures += _error_figure(comparison.sums[row.order])
        cards.append(
            f'<div class="card"><h3>{escape(output.name)}</h3>'
            f"<div>{escape(output_text(output, row))}</div>"
            f'<div class="plots">{"".join(figures)}</div></div>'
        )
    return "\n".join(cards) or "<p>No outputs were compared.</p>"


def _samples(comparison: Comparison) -> str:
    judged = bool(comparison.metric)
    worst = sorted(
        comparison.samples, key=lambda s: (s.after if judged else s.sqnr, s.sqnr, s.position)
    )
    rows = [
        "<tr>"
        + _cell(s.name)
        + _cell(decibels(s.sqnr), s.sqnr)
        + _cell(f"{s.cosine:.6f}", s.cosine)
        + (_cell(f"{s.after:.6g}", s.after) if judged else "")
        + "</tr>"
        for s in worst[:WORST_SAMPLES]
    ]
    titles = ["sample", "SQNR dB", "cosine", *([comparison.metric] if judged else [])]
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


# -- the plots of one value ---------------------------------------------------------------------


def _details(comparison: Comparison, row: Row) -> str:
    sums = comparison.sums[row.order]
    figures: list[str] = []
    statistics = comparison.statistics
    calibrated = None if statistics is None else statistics.values.get(row.reference)
    figures += _distribution_figure(sums, calibrated)
    figures += _error_figure(sums)
    figures += _channel_figures(sums)
    text = ", ".join(
        part
        for part in (
            _ratios(row),
            row.operator,
            row.place,
            row.why,
        )
        if part
    )
    return (
        f'<div class="card" id="v{row.order}"><h3>{escape(shortened(row.value, 120))}</h3>'
        f"<div>{escape(text)}</div>"
        f'<div class="plots">{"".join(figures)}</div></div>'
    )


def _range_text(numbers: np.ndarray) -> str:
    low, high = float(numbers.min()), float(numbers.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g} by channel"


def _distribution_figure(sums: ErrorSums, calibrated: ValueStatistics | None) -> list[str]:
    if sums.distributions is None:
        return []
    a, b = (counted.histogram for counted in sums.distributions[:2])
    ends = [end for h in (a, b) if (end := plots.extent(h)) is not None]
    ends += [] if sums.limits is None else [(float(sums.limits[0]), float(sums.limits[1]))]
    if not ends:
        return []
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    edges = _edges(low, high, whole=sums.limits is not None)
    curves = [("a", plots.counts_between(a, edges)), ("b", plots.counts_between(b, edges))]
    if calibrated is not None:
        counts = _calibrated_counts(calibrated, sums.scale, edges)
        curves += [] if counts is None else [("c", counts)]
    caption, marks = "distribution of the numbers", []
    if sums.limits is not None and sums.scale is not None:
        marks = [(float(limit), f"limit {limit}") for limit in sums.limits]
        caption = (
            f"in steps of {_range_text(sums.scale)}; threshold "
            f"{_range_text(sums.scale * sums.limits[1])}"
        )
    return [_figure(plots.distribution(curves, edges, marks), caption)]


def _edges(low: float, high: float, whole: bool, bins: int = BINS) -> np.ndarray:
    """Limits of bins that hold everything; for integers each holds equally many of them."""
    margin = 0.03 * (high - low) or 1.0
    if not whole:
        return np.linspace(low - margin, high + margin, bins + 1)
    width = np.ceil((high - low + 2 * margin) / bins)
    first = np.floor((low - margin) / width)
    last = np.ceil((high + margin) / width)
    return np.arange(first, last + 1) * width - 0.5


def _calibrated_counts(
    calibrated: ValueStatistics, scale: np.ndarray | None, edges: np.ndarray
) -> np.ndarray | None:
    """Counts of a calibration between edges in steps; None if it lacks what channels need."""
    if scale is None:
        return plots.counts_between(calibrated.histogram, edges)
    if float(scale.min()) == float(scale.max()):
        return plots.counts_between(calibrated.histogram, edges * float(scale[0]))
    each = calibrated.channel_histogram
    if each is None or calibrated.channels != len(scale):
        return None
    rows = [plots.counts_between(each.row(c), edges * scale[c]) for c in range(len(scale))]
    return np.sum(rows, axis=0)


def _error_figure(sums: ErrorSums) -> list[str]:
    if sums.distributions is None:
        return []
    errors = sums.distributions[2].histogram
    end = plots.extent(errors)
    if end is None or not sums.noise.any():
        return []
    low, high = end
    edges = np.linspace(low, high, BINS // 2 + 1)
    curve = ("e", plots.counts_between(errors, edges))
    unit = "" if sums.limits is None else ", in steps"
    return [_figure(plots.distribution([curve], edges, size=(300, 150)), f"errors{unit}")]


def _channel_figures(sums: ErrorSums) -> list[str]:
    if sums.channels < 2:
        return []
    figures: list[str] = []
    groups = np.array_split(np.arange(sums.channels), min(sums.channels, MAX_COLUMNS))
    names = [_channels_text(group) for group in groups]
    if sums.limits is not None and sums.scale is not None:
        reach = sums.reach / np.maximum(sums.scale * sums.limits[1], 1e-300)
        heights = [float(reach[group].max()) for group in groups]
        texts = [f"{n}: {h:.2f} of the threshold" for n, h in zip(names, heights, strict=True)]
        top = min(max(1.2, *heights), 4.0)
        figures.append(
            _figure(
                plots.columns(heights, top, texts, 1.0), "largest number by channel / threshold"
            )
        )
    noise = float(sums.noise.sum())
    if noise:
        heights = [float(sums.noise[group].sum()) / noise for group in groups]
        texts = [f"{n}: {h:.2%} of the noise" for n, h in zip(names, heights, strict=True)]
        figures.append(_figure(plots.columns(heights, max(heights), texts), "noise by channel"))
    return figures


def _channels_text(group: np.ndarray) -> str:
    first, last = int(group[0]), int(group[-1])
    return f"channel {first}" if first == last else f"channels {first} to {last}"
