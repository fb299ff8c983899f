"""What integers cover, the convolutions they make, and that no field overflows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nntc.core.dtype import DType
from nntc.ir import interpret, ops
from nntc.ir.graph import Graph, Value
from nntc.quant import QuantizeOptions, calibrate
from nntc.quant.agreement import Agreement
from nntc.quant.ranges import LEAST, Ranges
from tests.quant import checks
from tests.quant.cases_rules import Build


def _identity_conv(b: Build, x: Value, name: str) -> Value:
    """Reads a value as convolutions do, so that it is no head."""
    w = b.constant(np.eye(x.shape[1])[:, :, None, None], f"{name}.w")
    return b(ops.Conv((1, 1), (0,) * 4, (1, 1)), x, w, name=name)


def _ranges(
    array: np.ndarray, between: tuple[ops.Op, ...] = (), **options: object
) -> tuple[Ranges, Graph]:
    """Ranges for a network that reads samples *array* [samples, C, H, W]."""
    b = Build(1, array.shape[1:])
    y = b.x
    for op in between:
        y = b(op, y)
    b.graph.outputs = [_identity_conv(b, y, "last")]
    statistics = calibrate(
        b.graph, checks.Arrays([{"x": a[None].astype(np.float32)} for a in array])
    )
    chosen = QuantizeOptions(**{"method": "MAX", **options})  # type: ignore[arg-type]
    return Ranges(statistics, Agreement(b.graph, statistics, set(), False), chosen), b.graph


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, shape)


def test_never_negative_is_unsigned() -> None:
    ranges, graph = _ranges(np.abs(_noise(4, 3, 8, 8)))
    grid = ranges.grid(graph.inputs[0])
    assert (grid.dtype, grid.zero) == (DType.U8, 0)


def test_as_negative_as_positive_is_signed() -> None:
    ranges, graph = _ranges(_noise(4, 3, 8, 8))
    grid = ranges.grid(graph.inputs[0])
    assert (grid.dtype, grid.zero) == (DType.I8, 0)


@pytest.mark.parametrize("below", [0.03, 0.1, 0.3])
def test_a_little_below_zero_takes_a_zero_point(below: float) -> None:
    array = np.where(_noise(4, 3, 8, 8) < 0, -below, 1.0) * np.abs(_noise(4, 3, 8, 8))
    ranges, graph = _ranges(array)
    grid = ranges.grid(graph.inputs[0])
    assert grid.dtype is DType.U8
    assert grid.zero > 0
    # Everything fits, on finer steps than symmetrical ones.
    assert (grid.low - grid.zero) * grid.scale <= array.min() * 0.999
    assert (grid.high - grid.zero) * grid.scale >= array.max() * 0.999
    assert grid.scale < array.max() / 127
    symmetrical, graph = _ranges(array, asymmetric=False)
    assert symmetrical.grid(graph.inputs[0]).dtype is DType.I8


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1.0, 1e30, 3e38])
@pytest.mark.parametrize("low", [0.0, -0.1, -1.0])
def test_grids_cover_what_was_seen(scale: float, low: float) -> None:
    array = np.random.default_rng(0).uniform(low, 1, (4, 3, 8, 8)) * scale
    ranges, graph = _ranges(array)
    value = graph.inputs[0]
    grid = ranges.grid(value)
    assert grid.scale >= LEAST / 255
    assert np.isfinite(np.float32(grid.scale))
    assert np.isfinite(np.float32(1) / np.float32(grid.scale))
    if scale > LEAST:
        seen = array.astype(np.float32).astype(np.float64)
        assert (grid.high - grid.zero) * grid.scale >= seen.max() * (1 - 1e-6)
        assert (grid.low - grid.zero) * grid.scale <= min(seen.min(), 0) * (1 - 1e-2)
        steps = ops.Quantize(grid.dtype, 1, grid.zero).compute(
            array.astype(np.float32), np.asarray(1 / grid.scale, np.float32)
        )[0]
        error = np.abs(grid.real(steps) - seen)
        assert error.max() <= grid.scale * (0.51 if low > -1 else 1.01)


def test_channels_of_few_numbers_have_the_range_of_all() -> None:
    array = _noise(2, 4, 3, 3) * np.array([1, 0.1, 0.01, 0])[:, None, None]
    ranges, graph = _ranges(array)
    np.testing.assert_allclose(ranges.channels(graph.inputs[0]), ranges.grid(graph.inputs[0]).scale)


def test_channels_that_are_well_known_have_their_own() -> None:
    array = _noise(60, 4, 60, 60) * np.array([1, 0.5, 0.01, 0])[:, None, None]
    ranges, graph = _ranges(array)
    scale = ranges.channels(graph.inputs[0])
    assert (np.diff(scale) <= 0).all()
    assert scale[1] == pytest.approx(0.55 / 127, rel=0.02)  # with a margin
    # No channel is finer than a part of the whole.
    assert scale[2] == scale[3] == pytest.approx(scale[0] * 0.05, rel=0.02)
    off, graph = _ranges(array, per_channel=False)
    assert np.ptp(off.channels(graph.inputs[0])) == 0


def test_a_value_that_is_always_zero() -> None:
    ranges, graph = _ranges(np.zeros((3, 2, 4, 4)))
    grid = ranges.grid(graph.inputs[0])
    assert grid.dtype is DType.U8
    assert grid.scale > 0
    assert (ranges.channels(graph.inputs[0]) > 0).all()


@pytest.mark.parametrize(
    "op", [ops.Pad((0, 0, 1, 1, 0, 0, 1, 1)), ops.Transpose((0, 1, 3, 2)), ops.DepthToSpace(1)]
)
def test_values_that_share_integers_share_the_kind(op: ops.Op) -> None:
    array = np.where(_noise(4, 3, 8, 8) < 0, -0.1, 1.0) * np.abs(_noise(4, 3, 8, 8))
    ranges, graph = _ranges(array, (op,))
    first, second = (ranges.grid(v) for v in (graph.inputs[0], graph.nodes[0].output))
    assert (first.dtype, first.zero) == (second.dtype, second.zero)


# -- fields of the convolutions made --------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1 << 30),
    weight=st.sampled_from([1e-20, 1e-6, 1e-2, 1.0, 1e3, 1e12]),
    spread=st.sampled_from([0.0, 1.0, 6.0]),
    bias=st.sampled_from([0.0, 1e-6, 1.0, 1e3, 1e9]),
    offset=st.sampled_from([0.0, -0.8, 3.0, 50.0]),
    grouped=st.booleans(),
    relu=st.booleans(),
    options=st.sampled_from(
        [
            {},
            {"adaptive": False},
            {"correct_bias": False},
            {"per_channel": False},
            {"correct_bias": False, "adaptive": False, "asymmetric": False},
        ]
    ),
)
def test_convolutions_are_always_legal(
    seed: int,
    weight: float,
    spread: float,
    bias: float,
    offset: float,
    grouped: bool,
    relu: bool,
    options: dict[str, bool],
) -> None:
    """Whatever the sizes of weights and biases: legal fields, small errors."""
    b = Build(1, (4, 6, 6))
    rng = b.rng = np.random.default_rng(seed)
    y = b(ops.Swish(1.0), b.conv(b.x, 4, name="first"))
    group = 4 if grouped else 1
    rows = rng.standard_normal((8, 4 // group, 3, 3)) * 10.0 ** rng.uniform(
        -spread, 0, (8, 1, 1, 1)
    )
    w = b.constant(rows * weight, "w")
    v = b.constant(rng.standard_normal(8) * bias * weight, "v")
    y = b(ops.Conv((1, 1), (1,) * 4, (1, 1), group), y, w, v, name="middle")
    y = b.relu(y) if relu else y
    b.graph.outputs = [b.conv(y, 3, name="last")]
    given_samples = checks.samples(b.graph, 4, offset, seed)
    made = checks.quantized(b.graph, given_samples, QuantizeOptions(**options))  # type: ignore[arg-type]
    checks.check_sound(made, b.graph)
    for node in made.graph.nodes:
        if not isinstance(node.op, ops.FixConv):
            continue
        assert 0 <= node.op.shift <= 31
        assert node.op.narrow in (0, 5, 6, 7, 8)
        steps = node.operands[2].data
        assert steps is not None
        assert steps.dtype == np.int16
    key = b.graph.outputs[0].name
    wanted = np.stack([interpret.run(b.graph, s)[key] for s in given_samples]).astype(np.float64)
    got = np.stack([interpret.run(made.graph, s)[key] for s in given_samples]).astype(np.float64)
    most = max(np.abs(wanted).max(), 1e-30)
    assert checks.decibels(wanted / most, got / most) > 12
