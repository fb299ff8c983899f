"""What every option of the quantiser changes."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from nntc import api
from nntc.core.dtype import DType
from nntc.core.errors import UserError
from nntc.ir import interpret, ops
from nntc.ir.graph import Graph, Value
from nntc.quant import QuantizeOptions, Statistics, calibrate, quantize
from nntc.quant.thresholds import METHODS
from tests.backend import harness
from tests.quant import checks
from tests.quant.cases_rules import Build


def _graph(batch: int = 1) -> Graph:
    """Two branches that meet; names of nodes, sources and values all differ."""
    b = Build(batch)
    y = b.relu(b.conv(b.x, name="stem"))
    left = b(ops.Swish(1.0), b.conv(y, name="left"), name="silu")
    right = b.relu(b.conv(y, group=8, name="right"))
    joined = b(ops.Binary("add"), left, right, name="joined")
    pooled = b(ops.MaxPool((2, 2), (2, 2), (0,) * 4, (1, 1)), joined, name="pool")
    b.graph.outputs = [b.conv(pooled, 4, name="head")]
    return b.graph


@functools.cache
def _data() -> tuple[Graph, list[checks.Sample], Statistics]:
    graph = _graph()
    given = checks.samples(graph, 12)
    return graph, given, calibrate(graph, checks.Arrays(given))


def _quantized(**options: object):  # type: ignore[no-untyped-def]
    graph, given, statistics = _data()
    chosen = QuantizeOptions(**options)  # type: ignore[arg-type]
    made = quantize(graph, statistics, checks.Arrays(given), chosen)
    borders = chosen.int8_inputs or chosen.int8_outputs
    checks.check_sound(made, graph, fixed_borders=borders)
    return made


def _sqnr(made) -> float:  # type: ignore[no-untyped-def]
    graph, given, _ = _data()
    name = graph.outputs[0].name
    wanted = np.stack([interpret.run(graph, sample)[name] for sample in given])
    got = np.stack([interpret.run(made.graph, sample)[name] for sample in given])
    return checks.decibels(wanted, got)


def _floats(made) -> set[str]:  # type: ignore[no-untyped-def]
    return {r.source.removeprefix("/") for r in made.report if r.place == "fp32"}


def _numbers(value: Value) -> np.ndarray:
    assert value.data is not None
    return value.data


# -- float islands --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["left.node", "/left", "left"])
def test_layers_are_found_by_node_source_and_value(name: str) -> None:
    made = _quantized(float_layers=(name,))
    # What fp32 a curve reads it need not turn to integers first.
    assert _floats(made) == {"left", "silu"}
    convs = [n for n in made.graph.nodes if isinstance(n.op, ops.Conv)]
    assert [n.source for n in convs] == ["/left"]
    assert convs[0].output.name == "left"


@pytest.mark.parametrize(
    ("options", "floats"),
    [
        ({"float_layers": ("stem", "joined")}, {"stem", "joined"}),
        ({"float_inputs": ("left",)}, {"stem", "unary", "left"}),
        ({"float_inputs": ("joined",)}, {"stem", "unary", "left", "silu", "right", "joined"}),
        ({"float_outputs": ("joined",)}, {"joined", "pool", "head"}),
        ({"float_outputs": ("head",)}, {"head"}),
        ({"float_blocks": ("stem",)}, {"stem", "unary"}),
        ({"float_blocks": ("silu",)}, {"silu", "joined", "pool"}),
        ({"float_blocks": ("left", "head")}, {"left", "silu", "joined", "pool", "head"}),
        ({"float_inputs": ("stem",), "float_outputs": ("head",)}, {"stem", "head"}),
    ],
)
def test_islands(options: dict[str, tuple[str, ...]], floats: set[str]) -> None:
    made = _quantized(**options)
    assert _floats(made) >= floats
    # What only picks or bends numbers stays in fp32 behind what does.
    assert _floats(made) <= floats | {"unary", "silu", "pool"}
    assert _sqnr(made) > 27
    graph, given, _ = _data()
    wanted = interpret.run(made.graph, given[0])
    got = harness.run_compiled(made.graph, api.compile(made.graph, net_name="n"), given[0])
    for key, array in wanted.items():
        assert checks.decibels(array, got[key]) > 30
    assert [v.name for v in made.graph.outputs] == [v.name for v in graph.outputs]


def test_everything_in_float_is_the_float_network() -> None:
    made = _quantized(float_outputs=("stem",))
    assert _sqnr(made) > 120
    assert not any(n.op.name.startswith("Fix") for n in made.graph.nodes)


def test_unknown_names_are_listed_at_once_with_hints() -> None:
    with pytest.raises(UserError) as caught:
        _quantized(
            float_layers=("lefd", "stem"),
            float_inputs=("nothing of the kind",),
            float_outputs=("/hed",),
            float_blocks=("joinet",),
        )
    texts = caught.value.problems
    assert len(texts) == 4
    for bad, hint in (("lefd", "left"), ("/hed", "/head"), ("joinet", "joined")):
        (text,) = [t for t in texts if bad in t]
        assert f"is {hint} meant" in text
    (text,) = [t for t in texts if "nothing of the kind" in t]
    assert "meant" not in text
    assert not any("stem" in t for t in texts)


# -- how layers are fitted ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "off",
    [
        ("adaptive",),
        ("correct_bias",),
        ("per_channel",),
        ("asymmetric",),
        ("adaptive", "correct_bias", "per_channel", "asymmetric"),
    ],
)
def test_parts_can_be_switched_off(off: tuple[str, ...]) -> None:
    made = _quantized(**dict.fromkeys(off, False))
    assert _sqnr(made) > 27
    values = list(made.graph.values())
    if "asymmetric" in off:
        assert not any(v.zero for v in values)
        assert not any(getattr(n.op, "zero", 0) for n in made.graph.nodes)
    if "per_channel" in off:
        scales = [v.scale.data for v in values if v.scale is not None]
        assert scales
        assert all(s is not None and s.ndim == 0 for s in scales)
    graph, given, _ = _data()
    wanted = interpret.run(made.graph, given[0])
    got = harness.run_compiled(made.graph, api.compile(made.graph, net_name="n"), given[0])
    np.testing.assert_array_equal(got[graph.outputs[0].name], wanted[graph.outputs[0].name])


def test_the_default_uses_zero_points_and_scales_by_channel() -> None:
    values = list(_quantized().graph.values())
    assert any(v.zero for v in values)
    assert any(v.scale is not None and v.scale.shape for v in values)


def test_bias_correction_keeps_the_means() -> None:
    graph, given, _ = _data()
    name = graph.outputs[0].name

    def shift(made) -> float:  # type: ignore[no-untyped-def]
        wanted = np.stack([interpret.run(graph, s)[name] for s in given])
        got = np.stack([interpret.run(made.graph, s)[name] for s in given])
        return float(np.abs((got - wanted).mean(axis=(0, 1, 3, 4))).max())

    plain = shift(_quantized(adaptive=False, correct_bias=False))
    fitted = shift(_quantized(adaptive=False))
    last = _quantized().graph.nodes[-1]
    assert isinstance(last.op, ops.Dequantize)
    step = float(_numbers(last.operands[1]).max())
    assert fitted < 0.1 * step
    assert fitted < plain


@pytest.mark.parametrize("method", METHODS)
def test_every_method(method: str) -> None:
    made = _quantized(method=method)
    # Methods that cut much off may; the network still has to be itself.
    assert _sqnr(made) > 15


def test_an_unknown_method() -> None:
    with pytest.raises(UserError, match="MINMAX") as caught:
        _quantized(method="MINMAX")
    assert "MSE" in str(caught.value)


def test_thresholds_by_name() -> None:
    """The result's grid follows the number given."""
    made = _quantized(thresholds=(("x", 12.7),), asymmetric=False)
    (fixed,) = [v for v in made.graph.values() if v.name == "x.fixed"]
    _, given, _ = _data()
    most = max(float(np.abs(s["x"]).max()) for s in given)
    assert fixed.scale is not None
    assert float(fixed.scale.data) == pytest.approx(min(12.7, most) / 127, rel=1e-5)  # type: ignore[arg-type]
    made = _quantized(thresholds=(("x", 1.27),), asymmetric=False)
    (fixed,) = [v for v in made.graph.values() if v.name == "x.fixed"]
    assert fixed.scale is not None
    assert float(fixed.scale.data) == pytest.approx(0.01, rel=1e-5)  # type: ignore[arg-type]
    assert _sqnr(made) < _sqnr(_quantized())


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 0.0, -1.0])
def test_thresholds_have_to_be_positive_numbers(number: float) -> None:
    with pytest.raises(UserError, match="threshold"):
        _quantized(thresholds=(("x", number),))


def test_thresholds_of_unknown_values() -> None:
    with pytest.raises(UserError) as caught:
        _quantized(thresholds=(("joinde", 1.0), ("nobody at all", 2.0)))
    assert len(caught.value.problems) == 2
    assert "is joined meant" in str(caught.value)


@pytest.mark.parametrize("samples", [1, 2, 1000])
def test_numbers_of_samples(samples: int) -> None:
    assert _sqnr(_quantized(samples=samples)) > 25


@pytest.mark.parametrize("samples", [0, -1])
def test_no_samples_are_refused(samples: int) -> None:
    with pytest.raises(UserError, match="samples"):
        _quantized(samples=samples)


def test_little_memory_means_few_samples() -> None:
    """The result is that of one sample, and not worse than useless."""
    little, one = _quantized(memory=1), _quantized(samples=1)
    assert _sqnr(little) == _sqnr(one) > 25


# -- integers at the borders ----------------------------------------------------------------------


def test_integers_in_and_out() -> None:
    made = _quantized(int8_inputs=True, int8_outputs=True)
    (x,), (y,) = made.graph.inputs, made.graph.outputs
    for value in (x, y):
        assert value.dtype in (DType.I8, DType.U8)
        assert value.scale is not None
        assert value.scale.shape == ()
    graph, given, _ = _data()
    scale_x, scale_y = (float(v.scale.data) for v in (x, y))  # type: ignore[union-attr, arg-type]
    wanted, got = [], []
    for sample in given:
        limits = np.iinfo(x.dtype.numpy.name)
        steps = np.clip(np.rint(sample["x"] / scale_x) + x.zero, limits.min, limits.max)
        result = interpret.run(made.graph, {"x": steps.astype(x.dtype.numpy)})[y.name]
        got.append((result.astype(np.float64) - y.zero) * scale_y)
        wanted.append(interpret.run(graph, sample)[y.name])
    assert checks.decibels(np.stack(wanted), np.stack(got)) > 28
    model = api.compile(made.graph, net_name="n").model
    stage = model.nets[0].stages[0]
    (given_x,), (given_y,) = stage.inputs, stage.outputs
    assert given_x.dtype.numpy == x.dtype.numpy
    assert given_y.dtype.numpy == y.dtype.numpy
    assert given_x.scale == pytest.approx(1 / scale_x)
    assert given_y.scale == pytest.approx(scale_y)
    feed = {"x": np.random.default_rng(0).integers(0, 100, x.shape).astype(x.dtype.numpy)}
    found = harness.run_compiled(made.graph, api.compile(made.graph, net_name="n"), feed)
    np.testing.assert_array_equal(found[y.name], interpret.run(made.graph, feed)[y.name])


@pytest.mark.parametrize("border", ["int8_inputs", "int8_outputs"])
def test_integers_at_one_border(border: str) -> None:
    made = _quantized(**{border: True})
    kinds = [v.dtype is not DType.F32 for v in (*made.graph.inputs, *made.graph.outputs)]
    assert kinds == [border == "int8_inputs", border == "int8_outputs"]


def test_integer_outputs_that_share_integers_say_what_each_means() -> None:
    b = Build()
    y = b.relu(b.conv(b.x, name="y"))
    twice = b(ops.Binary("mul"), y, b.constant(2.0), name="twice")
    same = b(ops.LeakyRelu(0.1), y, name="same")
    b.graph.outputs = [y, twice, same]
    given = checks.samples(b.graph, 8)
    made = checks.quantized(b.graph, given, QuantizeOptions(int8_outputs=True))
    checks.check_sound(made, b.graph, fixed_borders=True)
    wanted = interpret.run(b.graph, given[0])
    got = interpret.run(made.graph, given[0])
    for value in made.graph.outputs:
        assert value.dtype is DType.U8
        assert value.scale is not None
        steps = got[value.name].astype(np.float64) - value.zero
        real = steps * _numbers(value.scale)
        assert checks.decibels(wanted[value.name], real) > 30, value.name
    found = harness.run_compiled(made.graph, api.compile(made.graph, net_name="n"), given[0])
    for key, array in got.items():
        np.testing.assert_array_equal(found[key], array)


def test_integer_borders_of_an_island() -> None:
    """What is computed in fp32 has no integers to give."""
    made = _quantized(int8_inputs=True, int8_outputs=True, float_layers=("stem", "head"))
    assert made.graph.inputs[0].dtype in (DType.I8, DType.U8)
    assert made.graph.outputs[0].dtype is DType.F32
    assert {"stem", "head"} <= _floats(made)


def test_outputs_have_their_names_although_helpers_are_called_so() -> None:
    b = Build()
    y = b.relu(b.conv(b.x, name="y.fixed"))
    b.conv(y, name="x.fixed")
    z = b(ops.Softmax(1), b.conv(y, name="x.multiplier"), name="y.fixed.float")
    b.graph.outputs = [b.graph.nodes[2].output, y, z]
    given = checks.samples(b.graph, 8)
    for options in (QuantizeOptions(), QuantizeOptions(int8_outputs=True)):
        made = checks.quantized(b.graph, given, options)
        checks.check_sound(made, b.graph, fixed_borders=options.int8_outputs)
