"""Small drawings in SVG. Coordinates have one decimal, so the same numbers give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from nntc.quant.histogram import Histogram

LEFT, TOP, BOTTOM = 44.0, 8.0, 24.0


@dataclass(frozen=True)
class Frame:
    """A plot's area and what its sides stand for.

    Attributes:
        x, y: (low, high) numbers at the left and right, bottom and top.
    """

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, number: float) -> float:
        low, high = self.x
        return LEFT + (self.width - LEFT - 8) * (number - low) / ((high - low) or 1)

    def up(self, number: float) -> float:
        low, high = self.y
        floor = self.height - BOTTOM
        return floor - (floor - TOP) * (number - low) / ((high - low) or 1)

    def svg(self, parts: Sequence[str], x_ticks: Sequence[float], y_ticks: Sequence[float]) -> str:
        """The parts inside axes with labels."""
        bottom, right = self.height - BOTTOM, self.width - 8
        lines = [
            f'<svg width="{self.width:.0f}" height="{self.height:.0f}" '
            f'viewBox="0 0 {self.width:.0f} {self.height:.0f}">'
        ]
        for tick in y_ticks:
            y = self.up(tick)
            lines.append(f'<path class="grid" d="M{LEFT:.1f} {y:.1f}H{right:.1f}"/>')
            lines.append(
                f'<text x="{LEFT - 4:.1f}" y="{y + 4:.1f}" class="end">{number(tick)}</text>'
            )
        for tick in x_ticks:
            x = self.across(tick)
            lines.append(
                f'<text x="{x:.1f}" y="{bottom + 15:.1f}" class="mid">{number(tick)}</text>'
            )
        lines += parts
        lines.append(
            f'<path class="axis" d="M{LEFT:.1f} {TOP:.1f}V{bottom:.1f}H{right:.1f}"/></svg>'
        )
        return "".join(lines)


def number(value: float) -> str:
    """A short label."""
    return f"{value:.4g}"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from *low* to *high*."""
    span = high - low
    if not (span > 0 and math.isfinite(span)):
        return [low]
    step = 10.0 ** math.floor(math.log10(span / most))
    step = next(step * m for m in (1, 2, 5, 10, 20) if span / (step * m) <= most)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def counts_between(histogram: Histogram, edges: np.ndarray) -> np.ndarray:
    """How many numbers lie between neighbouring edges; those of one bin count as evenly spread."""
    limit = float(histogram.limit)
    own = np.linspace(-limit, limit, histogram.bins + 1)
    total = np.concatenate([[0.0], np.cumsum(histogram.counts.astype(np.float64))])
    return np.diff(np.interp(edges, own, total))


def extent(histogram: Histogram) -> tuple[float, float] | None:
    """From the first to the last bin in use; None if there is none."""
    used = np.flatnonzero(histogram.counts)
    if not len(used):
        return None
    limit = float(histogram.limit)
    width = 2 * limit / histogram.bins
    return float(used[0] * width - limit), float((used[-1] + 1) * width - limit)


def distribution(
    curves: Sequence[tuple[str, np.ndarray]],
    edges: np.ndarray,
    marks: Sequence[tuple[float, str]] = (),
    size: tuple[float, float] = (420, 150),
) -> str:
    """Shares of numbers, on a logarithmic axis.

    Args:
        curves: (CSS class, counts between the edges); the first is filled.
        marks: (number, tooltip) of vertical lines.
    """
    logs: list[tuple[str, np.ndarray]] = []
    least = -1.0
    for style, counts in curves:
        total = counts.sum()
        if total:
            shares = counts / total
            least = min(least, float(np.log10(shares[shares > 0].min())))
            logs.append((style, shares))
    least = float(max(math.floor(least), -8))
    frame = Frame(*size, (float(edges[0]), float(edges[-1])), (least, 0.0))
    floor = frame.up(least)
    parts: list[str] = []
    for place, (style, shares) in enumerate(logs):
        with np.errstate(divide="ignore"):
            heights = np.maximum(np.log10(shares), least)
        path = [f"M{frame.across(float(edges[0])):.1f} {floor:.1f}"]
        for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
            y = frame.up(float(height))
            path.append(
                f"L{frame.across(float(left)):.1f} {y:.1f}H{frame.across(float(right)):.1f}"
            )
        path.append(f"V{floor:.1f}")
        kind = "filled" if place == 0 else "line"
        parts.append(f'<path class="{kind} {style}" d="{"".join(path)}"/>')
    for value, text in marks:
        x = frame.across(value)
        parts.append(
            f'<path class="mark" d="M{x:.1f} {TOP:.1f}V{floor:.1f}"><title>{escape(text)}</title>'
            "</path>"
        )
    powers = [p for p in range(int(least), 1) if (p - int(least)) % 2 == 0]
    drawing = frame.svg(parts, ticks(*frame.x), [])
    labels = "".join(
        f'<text x="{LEFT - 4:.1f}" y="{frame.up(p) + 4:.1f}" class="end">1e{p}</text>'
        for p in powers
    )
    return drawing.replace("</svg>", f"{labels}</svg>")


def scatter(points: Sequence[tuple[float, float]], size: tuple[float, float] = (300, 300)) -> str:
    """B's numbers over A's; the diagonal is where they are equal."""
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not finite:
        return ""
    low = min(min(point) for point in finite)
    high = max(max(point) for point in finite)
    frame = Frame(*size, (low, high), (low, high))
    parts = [
        f'<path class="grid" d="M{frame.across(low):.1f} {frame.up(low):.1f}'
        f'L{frame.across(high):.1f} {frame.up(high):.1f}"/>'
    ]
    # Points that would lie on each other are drawn once.
    spots = dict.fromkeys((f"{frame.across(x):.1f}", f"{frame.up(y):.1f}") for x, y in finite)
    parts += [f'<circle cx="{x}" cy="{y}" r="1.6"/>' for x, y in spots]
    marks = ticks(low, high, 5)
    return frame.svg(parts, marks, marks)


@dataclass(frozen=True)
class Point:
    """One tensor on the curve of the network; *own* is its height on the second curve."""

    height: float
    style: str
    tooltip: str
    link: str
    own: float | None = None


def course(points: Sequence[Point], top: float, size: tuple[float, float] = (980, 240)) -> str:
    """SQNR in order of execution, and each layer's own."""
    own = [(i, p.own) for i, p in enumerate(points) if p.own is not None]
    low = min([0.0, *(p.height for p in points), *(height for _, height in own)])
    frame = Frame(*size, (0, max(1, len(points) - 1)), (low, top))
    path = "L".join(f"{frame.across(i):.1f} {frame.up(p.height):.1f}" for i, p in enumerate(points))
    parts = [f'<path class="line course" d="M{path}"/>']
    if own:
        path = "L".join(f"{frame.across(i):.1f} {frame.up(height):.1f}" for i, height in own)
        parts.insert(0, f'<path class="line c" d="M{path}"/>')
    for i, point in enumerate(points):
        dot = (
            f'<circle class="{point.style}" cx="{frame.across(i):.1f}" '
            f'cy="{frame.up(point.height):.1f}" r="3.5"><title>{escape(point.tooltip)}</title>'
            "</circle>"
        )
        parts.append(f'<a href="#{point.link}">{dot}</a>')
    return frame.svg(parts, [], ticks(low, top))


def columns(
    heights: Sequence[float], top: float, tooltips: Sequence[str], mark: float | None = None,
    size: tuple[float, float] = (300, 150),
) -> str:  # fmt: skip
    """One thin column for each channel."""
    frame = Frame(*size, (0, len(heights)), (0, top or 1))
    floor = frame.up(0)
    parts: list[str] = []
    for i, (height, text) in enumerate(zip(heights, tooltips, strict=True)):
        x, right, y = frame.across(i), frame.across(i + 1), frame.up(min(height, top))
        style = " beyond" if mark is not None and height > 1.005 * mark else ""
        parts.append(
            f'<rect class="column{style}" x="{x:.1f}" y="{y:.1f}" '
            f'width="{max(right - x - 0.2, 0.3):.1f}" height="{floor - y:.1f}">'
            f"<title>{escape(text)}</title></rect>"
        )
    if mark is not None:
        parts.append(f'<path class="mark" d="M{LEFT:.1f} {frame.up(mark):.1f}H{size[0] - 8:.1f}"/>')
    return frame.svg(parts, ticks(0, len(heights), 5), ticks(0, top or 1, 4))
