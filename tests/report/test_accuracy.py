"""Comparing two models on samples: numbers, ranking, batches, errors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from nntc import api
from nntc.core.dtype import DType
from nntc.core.errors import UserError
from nntc.data import open_dataset
from nntc.ir import ops
from nntc.ir.graph import Graph
from nntc.report.accuracy import Comparison, compare
from nntc.report.accuracy.metrics import Metric, open_metric
from nntc.report.accuracy.rows import CEILING, Row, ranked
from nntc.report.accuracy.runners import GraphRunner
from nntc.report.accuracy.sums import ErrorSums
from nntc.runtime.arrays import save_npz
from tests.report.int8_graphs import SHAPE, float_graph, int8_graph, note, ranges, samples

SAMPLES = samples(12)
LARGEST = ranges(SAMPLES)


def compared(**options: object) -> Comparison:
    return compare(
        GraphRunner(float_graph()),
        GraphRunner(int8_graph(LARGEST, **options)),  # type: ignore[arg-type]
        SAMPLES,
    )


def row(comparison: Comparison, value: str) -> Row:
    return next(r for r in comparison.rows if r.value == value)


# -- the numbers --------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_definitions() -> None:
    a, b = float_graph(), int8_graph(LARGEST)
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for sample in SAMPLES:
        from nntc.ir.interpret import run

        expected = run(a, sample, values=True)["relu2"].astype(np.float64)
        integers = run(b, sample, values=True)["relu2"]
        kept.append((expected, integers))
    x, q = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))
    error = q * np.float64(np.float32(LARGEST[2] / 255)) - x
    found = row(compared(), "relu2")
    assert found.sqnr == pytest.approx(10 * math.log10((x**2).sum() / (error**2).sum()))
    y = x + error
    cosine = (x * y).sum() / math.sqrt((x**2).sum() * (y**2).sum())
    assert found.cosine == pytest.approx(cosine, abs=1e-9)
    assert found.max_error == pytest.approx(np.abs(error).max())
    assert found.relative == pytest.approx(np.abs(error).max() / (x.max() - x.min()))
    assert found.saturated == pytest.approx((q == 255).mean())
    assert found.worst_channel == (error**2).sum(axis=(0, 2, 3)).argmax()
    assert (found.place, found.shape) == ("int8", (1, 8, 6, 6))
    assert found.operator == "Conv + Unary relu"


def test_blocks_and_samples_add_up() -> None:
    """Sums over many blocks and runs are those over everything."""
    generator = np.random.default_rng(0)
    a = generator.standard_normal((2, 700, 40, 40)).astype(np.float32)
    b = a + 0.01 * generator.standard_normal(a.shape).astype(np.float32)
    form = GraphRunner(_identity(a.shape)).forms["y"]
    whole = ErrorSums(form, a.shape)
    whole.add(a, b)
    error = b.astype(np.float64) - a
    np.testing.assert_allclose(whole.noise, (error**2).sum(axis=(0, 2, 3)))
    np.testing.assert_allclose(whole.offset, error.sum(axis=(0, 2, 3)), rtol=1e-9, atol=1e-9)
    parts = ErrorSums(form, a.shape)
    for index in range(2):
        parts.add(a[index : index + 1], b[index : index + 1])
    np.testing.assert_allclose(parts.signal, whole.signal)
    assert (parts.count, parts.largest_error) == (whole.count, whole.largest_error)


def _identity(shape: tuple[int, ...]) -> Graph:
    graph = Graph("identity")
    x = graph.input("x", DType.F32, shape)
    graph.outputs = [graph.add(ops.Unary("abs"), x, name="y").output]
    return graph


def test_equal_models_are_exact() -> None:
    found = compare(GraphRunner(float_graph()), GraphRunner(float_graph()), SAMPLES)
    assert len(found.rows) == 9
    assert all(r.sqnr == math.inf and r.drop == 0 and r.cosine == 1 for r in found.rows)
    assert found.outputs[0].agree == found.outputs[0].rows == len(SAMPLES)
    assert "exact" in found.table()


def test_nan_in_one_model_is_the_worst_there_is() -> None:
    spoilt = float_graph()
    bad = spoilt.constant(np.full((8, 1, 1), np.nan, np.float32), "nan")
    node = next(n for n in spoilt.nodes if n.name == "relu2")
    node.inputs = [bad, node.inputs[0]]
    node.op = ops.Binary("add")
    found = compare(GraphRunner(float_graph()), GraphRunner(spoilt), SAMPLES)
    for sort in ("own", "drop", "sqnr"):
        assert ranked(found.rows, sort)[0].value == "relu2"
    worst = row(found, "relu2")
    assert worst.own == worst.sqnr == -math.inf
    assert worst.not_finite == 8 * 36 * len(SAMPLES)
    assert "NaN" in worst.why
    assert "lost" in found.table()
    assert "</html>" in found.html()


def test_zeros_and_constants() -> None:
    """Nothing divides by zero where a value has no signal."""
    zero = [{"x": np.zeros(SHAPE, np.float32)}] * 2
    found = compare(GraphRunner(float_graph()), GraphRunner(int8_graph(LARGEST)), zero)
    assert all(r.sqnr == math.inf and r.relative == 0 for r in found.rows)
    found = compare(
        GraphRunner(float_graph()), GraphRunner(int8_graph(LARGEST, shifted=1)), zero,
        distributions=True,
    )  # fmt: skip
    assert row(found, "relu1").sqnr == -math.inf
    assert "</html>" in found.html()


# -- who is guilty ------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", range(4))
@pytest.mark.parametrize(
    ("fault", "why"), [("coarse", ""), ("clipped", "threshold too small"), ("shifted", "bias")]
)
def test_the_guilty_layer_is_ranked_first(fault: str, why: str, layer: int) -> None:
    found = compared(**{fault: layer})
    worst, second = ranked(found.rows, "drop")[:2]
    assert worst.value == f"relu{layer}"
    assert worst.drop > second.drop + 10
    assert why in worst.why
    worst, second = ranked(found.rows, "own")[:2]
    assert worst.value == f"relu{layer}"
    assert worst.own < second.own - 10
    for later in range(layer + 1, 4):
        assert row(found, f"relu{later}").why == "inherited"


def test_own_is_a_layer_on_exact_inputs() -> None:
    found = compared(coarse=1)
    good = compared()
    for layer in (0, 2, 3):
        assert row(found, f"relu{layer}").own == row(good, f"relu{layer}").own
    assert row(found, "relu2").own > row(found, "relu2").sqnr + 10
    # The first layer inherits the rounding of the network's input, nothing else.
    assert row(good, "relu0").own > row(good, "relu0").sqnr
    assert row(good, "x.fixed").own == pytest.approx(row(good, "x.fixed").sqnr)


@pytest.mark.parametrize("read_twice", [False, True])
def test_rounding_is_charged_to_who_rounds(read_twice: bool) -> None:
    """abs in fp32, rounded coarsely, then a convolution by one that loses nothing by itself."""
    a, b = Graph("a"), Graph("b")
    for graph in (a, b):
        x = graph.input("x", DType.F32, (1, 1, 4, 4))
        value = graph.add(ops.Unary("abs"), x, name="abs").output
        if read_twice:
            graph.outputs = [graph.add(ops.Unary("neg"), value, name="neg").output]
        geometry = ((1, 1), (0, 0, 0, 0), (1, 1), 1)
        if graph is a:
            weight = graph.constant(np.ones((1, 1, 1, 1), np.float32), "w")
            value = graph.add(ops.Conv(*geometry), value, weight, name="y").output
        else:
            two = graph.constant(np.asarray(2, np.float32), "two")
            value = graph.add(ops.Quantize(DType.U8), value, two, name="abs.fixed").output
            note(graph, value, np.float32(0.5), True)
            weight = graph.constant(np.ones((1, 1, 1, 1), np.int8), "w")
            fixed = ops.FixConv(*geometry, 0, DType.U8)
            value = graph.add(fixed, value, weight, name="y").output
            note(graph, value, np.float32(0.5), True)
        graph.outputs.append(value)
    given = [{"x": s["x"][:, :1, :4, :4]} for s in SAMPLES]
    found = compare(GraphRunner(a), GraphRunner(b), given)
    rounding = row(found, "abs.fixed")
    assert rounding.own == rounding.sqnr < 30
    # Where fp32 is read as well, A's layer gets that, and the reader answers for the rounding.
    assert row(found, "y").own == (pytest.approx(rounding.own) if read_twice else math.inf)
    assert read_twice or row(found, "y").why == "inherited"


def test_orders() -> None:
    found = compared(clipped=1)
    assert [r.order for r in ranked(found.rows, "order")] == list(range(6))
    ratios = [r.sqnr for r in ranked(found.rows, "sqnr")]
    assert ratios == sorted(ratios)
    with pytest.raises(UserError, match="sort colour: is unknown"):
        ranked(found.rows, "colour")


def test_the_drop_counts_from_the_inputs() -> None:
    found = compared()
    first, second = row(found, "relu0"), row(found, "relu1")
    fixed = row(found, "x.fixed")
    assert fixed.operator == "Quantize"
    assert fixed.drop == pytest.approx(CEILING - min(CEILING, fixed.sqnr))
    assert first.drop == pytest.approx(min(CEILING, fixed.sqnr) - first.sqnr)
    assert second.drop == pytest.approx(first.sqnr - second.sqnr)


# -- what is compared with what -----------------------------------------------------------------


def test_a_dequantised_output_is_computed_in_integers(tmp_path: Path) -> None:
    ints = int8_graph(LARGEST)
    ints.nodes = ints.nodes[:-1]
    ints.outputs = [ints.nodes[-1].output]
    floats = float_graph()
    floats.nodes = floats.nodes[:-1]
    floats.outputs = [floats.nodes[-1].output]
    save_npz(tmp_path / "x.npz", {"x": np.concatenate([s["x"] for s in SAMPLES])})
    data = open_dataset(tmp_path / "x.npz", {"x": SHAPE})
    found = api.compare(floats, ints, data)
    output = found.rows[-1]
    assert (output.value, output.reference, output.place) == ("relu3.float", "relu3", "int8")
    assert found.data == str(tmp_path / "x.npz")
    assert output.sqnr == pytest.approx(row(found, "relu3").sqnr, abs=1e-3)


def test_integers_without_a_scale_are_not_compared() -> None:
    found = compared(scales=False)
    assert [r.value for r in found.rows] == ["mean"]
    assert found.unmatched == 4
    assert "4 values of B stand for nothing in A" in found.table()


def test_nothing_in_common_is_one_clear_message() -> None:
    other = Graph("other")
    x = other.input("x", DType.F32, SHAPE)
    other.outputs = [other.add(ops.Unary("abs"), x, name="z").output]
    with pytest.raises(UserError, match=r"no value in common: outputs mean fp32 \[1, 8\] and z"):
        compare(GraphRunner(float_graph(), "A"), GraphRunner(other, "B"), SAMPLES)


def test_other_inputs_are_refused() -> None:
    other = Graph("other")
    x = other.input("image", DType.F32, (1, 3, 5, 5))
    other.outputs = [other.add(ops.Reduce("mean", (2, 3), False), x, name="mean").output]
    other.outputs += [float_graph().outputs[0]]
    graph = float_graph()
    graph.inputs[0].name = "other"
    graph.inputs[0].type = graph.inputs[0].type.__class__(DType.F32, (1, 3, 6, 6))
    with pytest.raises(UserError, match=r"inputs differ: A has x \[1, 4, 6, 6\]; B has other"):
        compare(GraphRunner(float_graph(), "A"), GraphRunner(graph, "B"), SAMPLES)


def test_renamed_inputs_and_outputs_are_matched_by_order() -> None:
    found = compare(GraphRunner(float_graph()), GraphRunner(float_graph(prefix="other_")), SAMPLES)
    assert [(r.reference, r.value, r.sqnr) for r in found.rows] == [
        ("mean", "other_mean", math.inf)
    ]


def test_batches() -> None:
    """A batch of four against one by one; the last batch is not full."""
    one = compared()
    four = compare(
        GraphRunner(float_graph()), GraphRunner(int8_graph(LARGEST, batch=4)), SAMPLES[:10]
    )
    alone = compare(GraphRunner(float_graph()), GraphRunner(int8_graph(LARGEST)), SAMPLES[:10])
    assert [r.value for r in four.rows] == [r.value for r in one.rows]
    for x, y in zip(four.rows, alone.rows, strict=True):
        assert x.sqnr == pytest.approx(y.sqnr)
        assert x.saturated == pytest.approx(y.saturated, nan_ok=True)
    assert [s.sqnr for s in four.samples] == pytest.approx([s.sqnr for s in alone.samples])
    assert four.outputs[0].rows == 10
    both = compare(
        GraphRunner(float_graph(4)), GraphRunner(int8_graph(LARGEST, batch=4)), SAMPLES[:10]
    )
    assert [r.sqnr for r in both.rows] == pytest.approx([r.sqnr for r in alone.rows])
    with pytest.raises(UserError, match="one has to divide the other"):
        compare(GraphRunner(float_graph(3)), GraphRunner(int8_graph(LARGEST, batch=4)), SAMPLES)


def test_the_simulated_chip_gives_the_same(tmp_path: Path) -> None:
    save_npz(tmp_path / "x.npz", {"x": np.concatenate([s["x"] for s in SAMPLES[:3]])})
    graph = int8_graph(LARGEST, coarse=1)
    numpy = api.compare(float_graph(), graph, tmp_path / "x.npz")
    chip = api.compare(float_graph(), graph, tmp_path / "x.npz", simulate=True)
    # The mean is in fp32, whose sums depend on the order.
    assert chip.rows[:-1] == numpy.rows[:-1]
    assert chip.rows[-1].sqnr == pytest.approx(numpy.rows[-1].sqnr)
    model = api.compile(graph).model
    whole = api.compare(float_graph(), model, tmp_path / "x.npz")
    assert [r.value for r in whole.rows] == ["mean"]
    assert whole.rows[0].sqnr == pytest.approx(numpy.rows[-1].sqnr)
    assert math.isfinite(whole.rows[0].drop)


def test_recorded_outputs(tmp_path: Path) -> None:
    from nntc.ir.interpret import run

    outputs = np.concatenate([run(float_graph(), s)["mean"] for s in SAMPLES])
    save_npz(tmp_path / "x.npz", {"x": np.concatenate([s["x"] for s in SAMPLES])})
    save_npz(tmp_path / "a.npz", {"mean": outputs})
    save_npz(tmp_path / "b.npz", {"mean": outputs + np.float32(0.001)})
    (tmp_path / "b").mkdir()
    for number, one in enumerate(outputs):
        save_npz(tmp_path / "b" / f"{number:03}.npz", {"mean": one[None]})
    recorded = api.compare(tmp_path / "a.npz", tmp_path / "b.npz")
    assert recorded.rows[0].max_error == pytest.approx(0.001, rel=1e-3)
    assert math.isnan(recorded.rows[0].drop)
    against = api.compare(float_graph(), tmp_path / "b", tmp_path / "x.npz")
    assert against.rows[0].sqnr == math.inf
    save_npz(tmp_path / "b.npz", {"mean": outputs[:-1]})
    with pytest.raises(UserError, match="numbers of samples differ"):
        api.compare(tmp_path / "a.npz", tmp_path / "b.npz")
    with pytest.raises(UserError, match="give a dataset with --data"):
        api.compare(float_graph(), tmp_path / "b.npz")


def test_recorded_inner_values_know_their_layers(tmp_path: Path) -> None:
    from nntc.ir.interpret import run

    (tmp_path / "a").mkdir()
    for number, sample in enumerate(SAMPLES):
        save_npz(tmp_path / "a" / f"{number:03}.npz", run(float_graph(), sample, values=True))
    save_npz(tmp_path / "x.npz", {"x": np.concatenate([s["x"] for s in SAMPLES])})
    found = api.compare(tmp_path / "a", int8_graph(LARGEST, coarse=2), tmp_path / "x.npz")
    worst = ranked(found.rows, "own")[0]
    assert (worst.value, worst.operator) == ("relu2", "FixConv")
    assert math.isnan(worst.own)
    assert worst.drop == pytest.approx(row(found, "relu1").sqnr - worst.sqnr)


# -- metrics ------------------------------------------------------------------------------------


def test_built_in_metrics() -> None:
    a = {"y": np.array([[1.0, 2.0, 3.0]], np.float32)}
    b = {"y": np.array([[1.0, 4.0, 3.0]], np.float32)}
    assert open_metric("top1")(a, b, 0) == 0
    assert open_metric("top1")(a, a, 0) == 1
    assert open_metric("sqnr")(a, b, 0) == pytest.approx(10 * math.log10(14 / 4))
    assert open_metric("cosine")(a, b, 0) == pytest.approx(18 / math.sqrt(14 * 26))
    with pytest.raises(UserError, match="no output of shape"):
        open_metric("top1")({"y": np.zeros(3)}, {"y": np.zeros(3)}, 0)


def test_a_users_metric(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Box:\n    x: float = 0\n"
        "def gap(a, b, index):\n    return index - abs(a['mean'] - b['mean']).max()\n"
        "def broken(a, b, index):\n    return a['none']\n"
        "def text(a, b, index):\n    return 'good'\n"
        "def nan(a, b, index):\n    return float('nan')\n"
    )
    metric = open_metric(f"{file}:gap")
    found = compare(
        GraphRunner(float_graph()), GraphRunner(int8_graph(LARGEST)), SAMPLES,
        positions=[3, 5], metric=metric,
    )  # fmt: skip
    assert [s.before for s in found.samples] == [3.0, 5.0]
    assert all(s.after < s.before for s in found.samples)
    assert f"metric {file}:gap: 4 -> 3.9" in found.table()
    for name, message in {
        "broken": "sample 0: KeyError: 'none' (mine.py, line 9)",
        "text": "gives str, a number is needed",
        "nan": "gives nan, a finite number is needed",
    }.items():
        with pytest.raises(UserError) as err:
            open_metric(f"{file}:{name}")({"y": np.zeros(1)}, {"y": np.zeros(1)}, 0)
        assert message in str(err.value)
    for text, message in {
        "speed": "metric speed: is unknown; there are cosine, sqnr, top1, and FILE.py:function",
        f"{file}:none": "has no function none",
        "none.py:f": "none.py: cannot be read",
    }.items():
        with pytest.raises(UserError, match=message):
            open_metric(text)
    file.write_text("1 / 0\n")
    with pytest.raises(UserError, match="fails: ZeroDivisionError"):
        open_metric(f"{file}:gap")


class Labelled(list):  # type: ignore[type-arg]
    """Samples whose classes are known, except the first."""

    def __init__(self, labels: list[int | None]) -> None:
        super().__init__(SAMPLES)
        self.labels = labels


def test_accuracy_where_labels_are_known() -> None:
    from nntc.ir.interpret import run

    best = [int(run(float_graph(), s)["mean"].argmax()) for s in SAMPLES]
    labels: list[int | None] = [None, (best[1] + 1) % 8, *best[2:]]
    found = compare(GraphRunner(float_graph()), GraphRunner(int8_graph(LARGEST)), Labelled(labels))
    output = found.outputs[0]
    assert (output.labelled, output.right_a) == (11, 10)
    assert f"right: 10 -> {output.right_b} of 11" in found.table()


def test_bounded_table() -> None:
    found = compared()
    lines = found.table(top=2, sort="sqnr").splitlines()
    assert lines[-1] == "... 4 more"
    assert len(found.table(top=0).splitlines()) == len(lines) + 3
    assert Metric("m", lambda a, b, i: 1.0)({}, {}, 0) == 1.0
