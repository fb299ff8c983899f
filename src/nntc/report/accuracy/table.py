"""A comparison as lines of text."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nntc.report.accuracy.rows import Row, ranked

if TYPE_CHECKING:
    from nntc.report.accuracy.compare import Comparison, OutputScore

HEADER = (
    "value", "operator", "place", "shape", "SQNR dB", "drop dB", "own dB", "cosine", "max error",
    "of range", "saturated", "why",
)  # fmt: skip
RIGHT = "llllrrrrrrrl"
MAX_NAME = 44


def text(comparison: Comparison, top: int, sort: str) -> str:
    """See :meth:`nntc.report.accuracy.Comparison.table`."""
    rows = ranked(comparison.rows, sort)
    shown = rows[:top] if top else rows
    lines = [*summary(comparison), ""]
    lines += aligned([HEADER, *(cells(row) for row in shown)], RIGHT)
    if len(shown) < len(rows):
        lines.append(f"... {len(rows) - len(shown)} more")
    return "\n".join(lines)


def summary(comparison: Comparison) -> list[str]:
    """What was compared, and how the outputs fare."""
    count = len(comparison.samples) or "no"
    rest = f"; {comparison.unmatched} values of B stand for nothing in A"
    lines = [
        f"A: {comparison.a}",
        f"B: {comparison.b}",
        f"compared {len(comparison.rows)} values on {count} samples"
        f"{rest if comparison.unmatched else ''}",
    ]
    for name, reason in comparison.skipped[:5]:
        lines.append(f"skipped {name}: {reason}")
    if len(comparison.skipped) > 5:
        lines.append(f"skipped {len(comparison.skipped) - 5} more samples")
    by_value = {row.value: row for row in comparison.rows}
    for output in comparison.outputs:
        lines.append(f"output {output.name}: {output_text(output, by_value[output.name])}")
    if comparison.metric:
        lines.append(metric_text(comparison))
    return lines


def output_text(output: OutputScore, row: Row) -> str:
    """One output in words."""
    parts = [named_decibels("SQNR", row.sqnr), f"cosine {row.cosine:.6f}"]
    parts.append(f"largest error {row.relative:.3%} of the range")
    if output.agree is not None:
        share = output.agree / max(1, output.rows)
        parts.append(f"same top-1 in {output.agree} of {output.rows} ({share:.1%})")
    if output.labelled:
        parts.append(
            f"right: {output.right_a} -> {output.right_b} of {output.labelled} "
            f"({output.right_a / output.labelled:.1%} -> {output.right_b / output.labelled:.1%})"
        )
    return ", ".join(parts)


def metric_text(comparison: Comparison) -> str:
    """The metric's mean and its worst sample."""
    scores = comparison.samples
    if not scores:
        return f"metric {comparison.metric}: no outputs were compared"
    mean = sum(s.after for s in scores) / len(scores)
    before = sum(s.before for s in scores) / len(scores)
    worst = min(scores, key=lambda s: s.after)
    change = f"{before:.6g} -> " if not math.isnan(before) else ""
    return (
        f"metric {comparison.metric}: {change}{mean:.6g} on average; "
        f"least {worst.after:.6g} ({worst.name})"
    )


def cells(row: Row) -> tuple[str, ...]:
    """The texts of a row, as in :data:`HEADER`."""
    return (
        shortened(row.value) + (" (output)" if row.is_output else ""),
        row.operator or "-",
        row.place,
        "x".join(map(str, row.shape)) or "scalar",
        decibels(row.sqnr),
        decibels(row.drop),
        decibels(row.own),
        f"{row.cosine:.6f}",
        f"{row.max_error:.4g}",
        share(row.relative),
        share(row.saturated),
        row.why,
    )


def shortened(name: str, limit: int = MAX_NAME) -> str:
    """Long names keep both ends."""
    if len(name) <= limit:
        return name
    head = limit // 3
    return f"{name[:head]}…{name[len(name) - (limit - head - 1) :]}"


def decibels(number: float) -> str:
    if math.isnan(number):
        return "-"
    if math.isinf(number):
        return "exact" if number > 0 else "lost"
    return f"{number:.1f}"


def named_decibels(name: str, number: float) -> str:
    unit = " dB" if math.isfinite(number) else ""
    return f"{name} {decibels(number)}{unit}"


def share(number: float) -> str:
    return "-" if not math.isfinite(number) else f"{number:.2%}"


def aligned(rows: Sequence[Sequence[str]], right: str) -> list[str]:
    """Cells in columns; the first row is the header."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        parts = []
        for cell, width, side in zip(row, widths, right, strict=True):
            gap = " " * (width - _width(cell))
            parts.append(gap + cell if side == "r" else cell + gap)
        lines.append("  ".join(parts).rstrip())
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
