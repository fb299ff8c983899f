"""The HTML page of a comparison."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from nntc import api, quant
from nntc.core.dtype import DType
from nntc.core.errors import UserError
from nntc.ir import ops
from nntc.ir.graph import Graph
from nntc.quant.histogram import Histogram
from nntc.report.accuracy import Comparison, compare, page, plots
from nntc.report.accuracy.runners import GraphRunner
from nntc.runtime.arrays import save_npz
from tests.report.int8_graphs import float_graph, int8_graph, ranges, samples
from tests.report.test_view import Balance

SAMPLES = samples(8)
LARGEST = ranges(SAMPLES)


class Page(Balance):
    VOID = ("meta",)


def compared(**options: int) -> Comparison:
    a, b = GraphRunner(float_graph()), GraphRunner(int8_graph(LARGEST, **options))  # type: ignore[arg-type]
    return compare(a, b, SAMPLES, distributions=True)


def test_the_page_is_well_formed_and_alone() -> None:
    text = compared(clipped=1).html()
    parser = Page()
    parser.feed(text)
    assert parser.open == []
    assert "threshold too small" in parser.text
    assert not re.search(r"https?:|<link|src=|@import|url\(", text)
    assert text.count('<tr id="r') == 6
    assert text.count('class="card" id="v') == 6
    assert "nan" not in re.findall(r"<svg.*</svg>", text, re.S)[0]


def test_equal_input_equal_bytes() -> None:
    assert compared().html() == compared().html()


def test_hostile_names_are_escaped() -> None:
    name = "</td><script>alert('@ROWS@')</script>\"&"
    graphs = []
    for factor in (1.0, 1.01):
        graph = Graph(name)
        x = graph.input("x", DType.F32, (1, 4))
        by = graph.constant(np.full(4, factor, np.float32), "by")
        node = graph.add(ops.Binary("mul"), x, by, name=name, outputs=[name], source=name)
        graph.outputs = [node.output]
        graphs.append(graph)
    given = [{"x": np.ones((1, 4), np.float32)}]
    a, b = (GraphRunner(graph, graph.name) for graph in graphs)
    found = compare(a, b, given, data=name, distributions=True)
    text = found.html()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#x27;@ROWS@" in text
    parser = Page()
    parser.feed(text)
    assert parser.open == []


def test_rows_and_plots_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MAX_ROWS", 4)
    monkeypatch.setattr(page, "MAX_DRAWN", 3)
    text = compared().html(top=0)
    assert text.count('<tr id="r') == 4
    assert "2 more values are left out" in text
    assert text.count('class="card" id="v') == 3
    assert compared().html(top=1).count('class="card" id="v') == 1


def test_the_size_does_not_grow_with_the_samples() -> None:
    a, b = (GraphRunner(g) for g in (float_graph(), int8_graph(LARGEST)))
    few = compare(a, b, SAMPLES[:4], distributions=True).html()
    many = compare(a, b, SAMPLES * 20, distributions=True).html()
    assert len(many) < 1.5 * len(few) + 20_000


def test_without_distributions_there_is_still_a_page() -> None:
    found = compare(GraphRunner(float_graph()), GraphRunner(int8_graph(LARGEST)), SAMPLES)
    assert "filled" not in found.html().split("</style>")[1]


def test_a_calibration_is_drawn(tmp_path: Path) -> None:
    save_npz(tmp_path / "x.npz", {"x": np.concatenate([s["x"] for s in SAMPLES])})
    quant.calibrate(float_graph(), SAMPLES).save(tmp_path / "s")
    found = api.compare(
        float_graph(), int8_graph(LARGEST), tmp_path / "x.npz", statistics=tmp_path / "s"
    )
    text = found.html()
    assert text.count('class="line c"') == 6 + 1  # and the curve of the layers' own
    assert "calibration: 8 samples" in text
    other = Graph("other")
    x = other.input("x", DType.F32, (1, 4))
    other.outputs = [other.add(ops.Unary("abs"), x, name="y").output]
    with pytest.raises(UserError, match="in the statistics, but not in the network"):
        api.compare(other, other, tmp_path / "x.npz", statistics=tmp_path / "s")


# -- plots --------------------------------------------------------------------------------------


def test_counts_between_edges_are_kept() -> None:
    histogram = Histogram(np.array([0, 2, 6, 0]), np.array(1), np.array(0))
    counts = plots.counts_between(histogram, np.array([-2.0, -0.5, 0.0, 0.5, 2.0]))
    np.testing.assert_allclose(counts, [1, 1, 3, 3])
    assert plots.extent(histogram) == (-1.0, 1.0)
    assert plots.extent(Histogram.empty((8,))) is None


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3e-9, 5e-9), (0, 40), (1e20, 3e20), (-7, 250)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    found = plots.ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-9 * (high - low) <= tick <= high + 1e-9 * (high - low) for tick in found)


def test_degenerate_ranges() -> None:
    assert plots.ticks(2.0, 2.0) == [2.0]
    assert "<circle" in plots.scatter([(1.0, 1.0), (float("nan"), 2.0)])
    assert plots.scatter([]) == ""
    assert "<circle" in plots.course([plots.Point(3.0, "int", "only", "v0")], 40.0)
