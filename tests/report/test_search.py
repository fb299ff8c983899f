"""The search for layers that have to stay in fp32: it finds a layer that was planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nntc import api
from nntc.core.dtype import DType
from nntc.core.errors import UserError
from nntc.ir import interpret, ops
from nntc.ir.graph import Graph
from nntc.quant import QuantizeOptions
from nntc.report.search import SearchError, SearchOptions, SearchResult
from nntc.report.search.alone import Alone
from nntc.report.search.cost import _with_unit_in_fp32, extra_cycles, network_cycles
from nntc.report.search.units import find_units

SHAPE = (1, 4, 8, 8)
LAYERS = 5
PLANTED = 2
CLASSES = 6


def weights(layer: int, planted: int) -> np.ndarray:
    """f32 [out, 8, 1, 1]; the planted layer adds and takes away the same large number."""
    channels = SHAPE[1] if layer == 0 else 8
    made = CLASSES if layer == LAYERS - 1 else 8
    generator = np.random.default_rng(layer)
    found = generator.standard_normal((made, channels, 1, 1)).astype(np.float32) / channels**0.5
    if layer == planted - 1:
        found[1] = found[0]
    if layer == planted:
        # Channels 0 and 1 are equal, so nothing of this is left; but int8 has to hold it.
        found[:, 0], found[:, 1] = 1000, -1000
    return found


def network(planted: int = PLANTED) -> Graph:
    """x → (1x1 convolution, ReLU) five times → y [1, 6] by mean."""
    graph = Graph("planted")
    value = graph.input("x", DType.F32, SHAPE)
    for layer in range(LAYERS):
        weight = graph.constant(weights(layer, planted), f"w{layer}")
        conv = ops.Conv((1, 1), (0, 0, 0, 0), (1, 1), 1)
        value = graph.add(conv, value, weight, name=f"conv{layer}").output
        if layer < LAYERS - 1:
            value = graph.add(ops.Unary("relu"), value, name=f"relu{layer}").output
    value = graph.add(ops.Reduce("mean", (2, 3), False), value, name="y").output
    graph.outputs = [value]
    return graph


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    array = np.random.default_rng(3).standard_normal((24, *SHAPE[1:])).astype(np.float32)
    np.savez(path, x=array)
    return path


QUICK = QuantizeOptions(samples=8)


def searched(path: Path, planted: int = PLANTED, **options: object) -> SearchResult:
    wanted = SearchOptions(**options)  # type: ignore[arg-type]
    result = api.quantize(network(planted), path, options=QUICK, batch=4, search=wanted)
    assert result.search is not None
    assert result.quantized is result.search.quantized
    return result.search


@pytest.mark.parametrize("planted", [1, 2])
def test_finds_exactly_the_planted_layer(data: Path, planted: int) -> None:
    found = searched(data, planted, metric="cosine", max_drop=0.001)
    assert found.ranking[0].layer == f"conv{planted}"
    assert found.ranking[0].harm > 10 * found.ranking[1].harm
    assert found.int8.drop > 0.001 >= found.found.drop
    assert found.found.layers == (f"conv{planted}",)
    assert found.options.float_layers == (f"conv{planted}", f"relu{planted}")
    places = {entry.node: entry.place for entry in found.quantized.report}
    assert [n for n, place in places.items() if place == "fp32"] == [
        f"conv{planted}",
        f"relu{planted}",
    ]
    assert found.held_out
    assert found.samples == 6


def test_the_result_can_be_repeated_without_a_search(data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.bmodel", tmp_path / "b.bmodel"
    wanted = SearchOptions(max_drop=0.001)
    result = api.quantize(network(), data, first, options=QUICK, net_name="n", search=wanted).search
    assert result is not None
    api.quantize(network(), data, second, options=result.options, net_name="n")
    assert first.read_bytes() == second.read_bytes()
    assert result.command() == "--float_layers conv2,relu2"


def test_is_deterministic(data: Path) -> None:
    runs = [searched(data, metric="sqnr", max_drop=0.003) for _ in range(2)]
    assert runs[0].lines() == runs[1].lines()
    assert runs[0].found == runs[1].found


def test_nothing_to_do_where_int8_is_good_enough(data: Path) -> None:
    found = searched(data, planted=-1, max_drop=0.01)
    assert (len(found.tried), found.found.layers, found.command()) == (1, (), "")
    assert found.found.cycles == found.int8.cycles
    assert [row.layer for row in found.ranking if row.harm > 0.01] == []


def test_everything_in_fp32_loses_nothing(data: Path) -> None:
    found = searched(data, max_drop=0.0)
    assert found.found.drop == 0
    assert len(found.found.layers) == LAYERS


def test_a_drop_that_cannot_be_kept(data: Path) -> None:
    """Integers at the border lose something whatever stays in fp32."""
    options = QuantizeOptions(samples=8, int8_inputs=True)
    with pytest.raises(SearchError) as caught:
        api.quantize(network(), data, options=options, search=SearchOptions(max_drop=0.0))
    (problem,) = caught.value.problems
    assert "cosine cannot be kept within a drop of 0" in problem
    assert "the best has a drop of" in problem
    assert caught.value.best.drop > 0
    assert caught.value.ranking[0].layer == "conv2"


def test_trials_end(data: Path) -> None:
    with pytest.raises(SearchError, match="1 trials, which is as many as were allowed"):
        searched(data, max_drop=0.001, trials=1)


def test_a_function_of_the_user(data: Path, tmp_path: Path) -> None:
    """It gets the sample's number in the data, and both outputs."""
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "SEEN = set()\n"
        "def score(reference, outputs, index):\n"
        "    assert index % 4 == 0 and 0 <= index < 24\n"
        "    a, b = reference['y'], outputs['y']\n"
        "    return 5 - float(np.abs(a - b).max() / np.abs(a).max())\n"
    )
    found = searched(data, metric=f"{tmp_path}/mine.py:score", max_drop=0.1)
    assert found.before == 5
    assert found.found.layers == ("conv2",)
    assert 0 < found.found.drop <= 0.1
    assert found.found.score == pytest.approx(5 - found.found.drop)


def test_classes(data: Path, tmp_path: Path) -> None:
    """top1 is agreement with fp32, or with the classes that the data notes."""
    found = searched(data, metric="top1", max_drop=0.0, limit=12)
    assert found.before == 1
    assert found.found.score == 1
    folder = tmp_path / "listed"
    folder.mkdir()
    lines = []
    for index, sample in enumerate(np.load(data)["x"]):
        np.savez(folder / f"{index:02}.npz", x=sample[None])
        wanted = int(interpret.run(network(), {"x": sample[None]})["y"].argmax())
        lines.append(f"{index:02}.npz {wanted if index % 2 else (wanted + 1) % CLASSES}\n")
    (folder / "list.txt").write_text("".join(lines))
    found = searched(folder / "list.txt", metric="top1", max_drop=0.25, limit=8)
    # Of samples 0, 3, 6 ... half have a wrong label.
    assert found.before == 0.5


def test_samples_that_judge_can_be_others(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    array = np.random.default_rng(4).standard_normal((5, *SHAPE[1:])).astype(np.float32)
    np.savez(other, x=array)
    found = searched(data, max_drop=0.001, data=other)
    assert not found.held_out
    assert found.samples == 5
    assert found.final == found.found
    assert found.found.layers == ("conv2",)


def test_bad_options(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        searched(data, max_drop=-1, limit=-2, trials=0)
    assert len(caught.value.problems) == 3
    with pytest.raises(UserError, match="metric best: is unknown"):
        searched(data, max_drop=1, metric="best")
    one = tmp_path / "one.npz"
    np.savez(one, x=np.ones(SHAPE, np.float32))
    with pytest.raises(UserError, match="one sample, which cannot both calibrate and judge"):
        searched(one, max_drop=1)


# -- parts --------------------------------------------------------------------------------------


def test_a_layer_alone_is_what_it_says(data: Path) -> None:
    """The definition: int8 integers of one layer, everything else in fp32."""
    result = api.quantize(network(), data, options=QUICK)
    graph, fixed = result.source, result.quantized.graph
    sample = {"x": np.load(data)["x"][:1]}
    exact = interpret.run(graph, sample, values=True)
    alone = Alone(graph, fixed)
    units = find_units(graph, result.quantized.report)
    assert [unit.name for unit in units] == [f"conv{i}" for i in range(LAYERS)]
    assert units[-1].operators == "Conv + Reduce mean"
    node = next(n for n in fixed.nodes if n.outputs[0].name == "relu2")
    x = node.operands[0]
    assert x.scale is not None
    assert x.scale.data is not None
    steps = np.rint(exact["relu1"] / x.scale.data.reshape(1, -1, 1, 1)).clip(0, 255)
    constants = [v.data for v in node.operands[1:]]
    y = interpret.evaluate(node.op, [steps.astype(np.uint8), *constants])[0]
    made = node.outputs[0].scale
    assert made is not None
    assert made.data is not None
    numbers = y.astype(np.float32) * made.data.reshape(-1, *(1, 1) if made.data.ndim else ())
    for layer in (3, 4):
        w = weights(layer, PLANTED)[:, :, 0, 0]
        numbers = np.einsum("oi,nihw->nohw", w, numbers)
        numbers = np.maximum(numbers, 0) if layer < LAYERS - 1 else numbers
    found = alone.run(alone.part(units[2]), exact)
    np.testing.assert_allclose(found["y"], numbers.mean(axis=(2, 3)), rtol=1e-4, atol=1e-5)
    assert not np.allclose(found["y"], exact["y"], rtol=1e-2)


def test_a_branch_belongs_to_the_latest_layer() -> None:
    """Units depend on earlier units only."""
    graph = Graph("branches")
    x = graph.input("x", DType.F32, (1, 4, 4, 4))
    w = graph.constant(np.ones((4, 4, 1, 1), np.float32), "w")
    conv = ops.Conv((1, 1), (0, 0, 0, 0), (1, 1), 1)
    first = graph.add(conv, graph.add(ops.Unary("abs"), x, name="abs").output, w, name="a").output
    side = graph.add(ops.Unary("relu"), graph.add(conv, first, w, name="b").output, name="c").output
    total = graph.add(ops.Binary("add"), first, side, name="sum").output
    graph.outputs = [total]
    assert [(u.name, u.float_layers) for u in find_units(graph, [])] == [
        ("abs", ("abs",)),
        ("a", ("a",)),
        ("b", ("b", "c", "sum")),
    ]


def test_cycles_of_a_layer(data: Path) -> None:
    """The network with one layer in fp32 computes what it says, and takes longer."""
    result = api.quantize(network(), data, options=QUICK)
    graph, fixed = result.source, result.quantized.graph
    alone = Alone(graph, fixed)
    least = network_cycles(fixed, 2, 4)
    assert least
    sample = {"x": np.load(data)["x"][:1]}
    exact = interpret.run(graph, sample)["y"]
    for unit in find_units(graph, result.quantized.report):
        part = alone.part(unit)
        count = extra_cycles(alone, fixed, unit, part, 2, 4)
        assert count
        assert 0.5 * least < count < 2 * least
        mixed = _with_unit_in_fp32(alone, fixed, unit, part)
        assert {n.op for n in unit.nodes} <= {n.op for n in mixed.nodes}
        error = np.abs(interpret.run(mixed, sample)["y"] - exact).max()
        assert error < 0.5 * np.abs(exact).max()
    assert network_cycles(graph, 2, 4) != network_cycles(graph, 2, 1)


def test_all_data_may_be_worse_than_the_trial(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the next set is taken; if there is none, the report says so."""
    from nntc.report.search import find as module

    tried: list[tuple[str, ...]] = []
    right = module._Trials.repeated

    def worse(self, trial, statistics, dataset):  # type: ignore[no-untyped-def]
        tried.append(trial.layers)
        final, made = right(self, trial, statistics, dataset)
        return module.replace(final, drop=0.5 / len(tried)), made

    monkeypatch.setattr(module._Trials, "repeated", worse)
    found = searched(data, max_drop=0.001)
    assert tried[0] == ("conv2",)
    assert found.final.drop == 0.5 / len(tried)
    assert found.lines()[-1] == "calibrated with all data it loses more than is allowed"


def test_names_that_a_command_line_cannot_hold() -> None:
    from dataclasses import replace
    from types import SimpleNamespace

    for names, text in (
        ((), ""),
        (("a", "b c"), "--float_layers 'a,b c'"),
        (("a,b",), "QuantizeOptions(float_layers=('a,b',))"),
    ):
        options = replace(QUICK, float_layers=names)
        assert SearchResult.command(SimpleNamespace(options=options)) == text  # type: ignore[arg-type]
