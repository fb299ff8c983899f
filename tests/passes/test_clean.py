"""Passes that remove and merge: constants, dead code, equal nodes, identities, layout, slices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nntc.core.dtype import DType
from nntc.ir import interpret, ops
from nntc.passes import simplify
from nntc.passes.common_subexpressions import CommonSubexpressions
from nntc.passes.dead_code import DeadCode
from nntc.passes.fold_constants import FoldConstants
from nntc.passes.identities import RemoveIdentities
from nntc.passes.layout import MergeLayout
from nntc.passes.slices import MergeSlices
from nntc.passes.strength import ReduceStrength
from tests.passes.build import Net, array, keeps, op_names


def test_constants_fold() -> None:
    net = Net()
    x = net.input(2)
    y = net.add(x, net.mul(np.ones(2), 3.0))
    graph = net.done(y)
    assert keeps(graph, FoldConstants()) == ["add"]


def test_large_results_are_left() -> None:
    net = Net()
    x = net.input(4)
    y = net.add(x, net(ops.Expand((4,)), np.ones(1)))
    assert keeps(net.done(y), FoldConstants(limit=8)) == ["Expand", "add"]


def test_an_output_on_constants_becomes_one() -> None:
    net = Net()
    net.input(1)
    graph = net.done(net.mul(2.0, 3.0))
    name = graph.outputs[0].name
    simplify(graph)
    assert interpret.run(graph, {"x": np.zeros(1, np.float32)})[name] == 6


def test_dead_code() -> None:
    net = Net()
    x = net.input(2)
    net.unary("exp", x)
    graph = net.done(net.unary("relu", x))
    assert keeps(graph, DeadCode()) == ["relu"]


def test_equal_nodes_are_computed_once() -> None:
    net = Net()
    x = net.input(2)
    a = net.unary("exp", net.add(x, 1.0))
    b = net.unary("exp", net.add(x, 1.0))
    c = net.unary("exp", net.add(x, 2.0))
    graph = net.done(net.add(net.add(a, b), c))
    assert sorted(keeps(graph, CommonSubexpressions())) == ["add"] * 4 + ["exp"] * 2


def test_equal_outputs_stay_two() -> None:
    net = Net()
    x = net.input(2)
    graph = net.done(net.unary("exp", x), net.unary("exp", x))
    assert keeps(graph) == ["exp", "exp"]


IDENTITIES = {
    "reshape": lambda n, x: n(ops.Reshape((2, 3, 4)), x),
    "transpose": lambda n, x: n(ops.Transpose((0, 1, 2)), x),
    "cast": lambda n, x: n(ops.Cast(DType.F32), x),
    "slice": lambda n, x: n(ops.Slice((0, 0, 0), (2, 3, 4), (1, 1, 1)), x),
    "pad": lambda n, x: n(ops.Pad((0,) * 6), x),
    "expand": lambda n, x: n(ops.Expand((2, 3, 4)), x),
    "tile": lambda n, x: n(ops.Tile((1, 1, 1)), x),
    "concat": lambda n, x: n(ops.Concat(1), x),
    "clip": lambda n, x: n(ops.Clip(), x),
    "add": lambda n, x: n.add(x, 0.0),
    "add left": lambda n, x: n.add(np.zeros((3, 1)), x),
    "sub": lambda n, x: n.sub(x, np.zeros(4)),
    "mul": lambda n, x: n.mul(x, np.ones((2, 3, 4))),
    "div": lambda n, x: n.div(x, 1.0),
    "pow": lambda n, x: n(ops.Binary("pow"), x, 1.0),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities(name: str) -> None:
    net = Net()
    x = net.unary("exp", net.input(2, 3, 4))
    y = IDENTITIES[name](net, x)
    assert keeps(net.done(net.unary("tanh", y)), RemoveIdentities()) == ["exp", "tanh"]


CHANGES = {
    "reversed": lambda n, x: n(ops.Slice((1, 0, 0), (-1, 3, 4), (-1, 1, 1)), x),
    "widened": lambda n, x: n.add(n(ops.Reshape((2, 1, 3, 4)), x), np.zeros((2, 1, 1, 1, 1))),
    "zero minus": lambda n, x: n.sub(0.0, x),
    "one by": lambda n, x: n.div(1.0, x),
    "joined": lambda n, x: n(ops.Concat(0), x, x),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_only_looks_like_an_identity_stays(name: str) -> None:
    net = Net()
    x = net.unary("exp", net.input(2, 3, 4))
    graph = net.done(net.unary("tanh", CHANGES[name](net, x)))
    before = len(graph.nodes)
    keeps(graph, RemoveIdentities())
    assert len(graph.nodes) == before


def test_identity_between_input_and_output_becomes_a_copy() -> None:
    net = Net()
    x = net.input(3)
    graph = net.done(net.add(x, 0.0), net.mul(x, 1.0))
    keeps(graph)
    assert keeps(graph) == op_names(graph)
    assert len(graph.nodes) == 2


def test_integers_times_zero_are_known() -> None:
    net = Net()
    x = net.input(1, dtype=DType.I64)
    zero = net.mul(x, np.array([0], np.int64))
    y = net.add(net.input(2, name="y"), net(ops.Cast(DType.F32), zero))
    graph = net.done(y)
    keeps(graph)
    # y + 0, and the input that is not read any more stays.
    assert [v.name for v in graph.inputs] == ["x", "y"]
    assert op_names(graph) in (["add"], ["Reshape"])


def test_floats_times_zero_are_not() -> None:
    net = Net()
    graph = net.done(net.mul(net.input(2), 0.0))
    assert keeps(graph) == ["mul"]


def test_casts_through_a_wider_type() -> None:
    net = Net()
    x = net.input(3, dtype=DType.I16)
    wide = net(ops.Cast(DType.I64), x)
    y = net(ops.Cast(DType.I8), net(ops.Cast(DType.F32), x))
    graph = net.done(net(ops.Cast(DType.I32), wide), net(ops.Cast(DType.I16), wide), y)
    keeps(graph, RemoveIdentities())
    assert [n.op for n in graph.nodes if n.op == ops.Cast(DType.I64)] == []


def test_a_narrowing_cast_stays() -> None:
    net = Net()
    x = net.input(3)
    graph = net.done(net(ops.Cast(DType.F32), net(ops.Cast(DType.I32), x)))
    assert keeps(graph) == ["Cast", "Cast"]


def test_reductions_over_nothing() -> None:
    net = Net()
    x = net.input(2, 1, 3, 1)
    y = net(ops.Reduce("mean", (1, 3), False), x)
    assert keeps(net.done(net(ops.Reduce("max", (), True), y))) == ["Reshape"]


def test_expand_before_a_broadcast() -> None:
    net = Net()
    x, y = net.input(2, 3), net.input(1, 3, name="y")
    wide = net(ops.Expand((2, 3)), y)
    assert keeps(net.done(net.add(x, wide))) == ["add"]


def test_expand_that_sets_the_shape_stays() -> None:
    net = Net()
    x, y = net.input(1, 3), net.input(1, 3, name="y")
    wide = net(ops.Expand((2, 3)), y)
    assert keeps(net.done(net.add(x, wide))) == ["Expand", "add"]


# -- layout -------------------------------------------------------------------------------------


def test_reshapes_merge() -> None:
    net = Net()
    x = net.unary("exp", net.input(2, 3, 4))
    y = net(ops.Reshape((2, 12)), net(ops.Reshape((6, 4)), x))
    z = net(ops.Reshape((2, 3, 4)), net(ops.Reshape((24,)), x))
    graph = net.done(y, net.unary("tanh", z))
    assert keeps(graph, MergeLayout()) == ["exp", "Reshape", "tanh"]


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.product(itertools.permutations(range(3)), repeat=2))
)
def test_transposes_merge(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    net = Net()
    x = net.unary("exp", net.input(2, 3, 4))
    y = net(ops.Transpose(second), net(ops.Transpose(first), x))
    names = keeps(net.done(net.unary("tanh", y)))
    assert names.count("Transpose") == (tuple(first[p] for p in second) != (0, 1, 2))


def test_moving_axes_of_one_is_a_reshape() -> None:
    net = Net()
    x = net.input(1, 3, 1, 4)
    assert keeps(net.done(net(ops.Transpose((1, 0, 3, 2)), x)), MergeLayout()) == ["Reshape"]
    net = Net()
    x = net.input(1, 3, 1, 4)
    assert keeps(net.done(net(ops.Transpose((3, 1, 0, 2)), x)), MergeLayout()) == ["Transpose"]


def test_products_take_in_transposes() -> None:
    net = Net()
    a, b = net.input(2, 5, 3), net.input(2, 4, 5, name="b")
    ta, tb = (net(ops.Transpose((0, 2, 1)), v) for v in (a, b))
    y = net(ops.MatMul(), ta, tb)
    assert keeps(net.done(y)) == ["MatMul"]
    net = Net()
    a, b = net.input(5, 2, 3), net.input(2, 5, 4, name="b")
    y = net(
        ops.MatMul(transpose_b=True),
        net(ops.Transpose((1, 2, 0)), a),
        net(ops.Transpose((0, 2, 1)), b),
    )
    assert keeps(net.done(y)) == ["Transpose", "MatMul"]


# -- slices -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_slices_of_slices(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def random_slice(net: Net, x: object) -> object:
        shape = x.shape  # type: ignore[attr-defined]
        starts = [int(rng.integers(0, d)) for d in shape]
        ends = [int(rng.integers(s + 1, d + 1)) for s, d in zip(starts, shape, strict=True)]
        steps = [int(rng.integers(1, 4)) for _ in shape]
        return net(ops.Slice(tuple(starts), tuple(ends), tuple(steps)), x)

    net = Net()
    x = net.input(13, 9)
    y = random_slice(net, random_slice(net, x))
    assert len(keeps(net.done(y), MergeSlices())) == 1  # type: ignore[arg-type]


def test_slices_of_concatenations() -> None:
    net = Net()
    a, b = net.unary("exp", net.input(2, 3)), net.unary("tanh", net.input(2, 4, name="b"))
    both = net(ops.Concat(1), a, b)
    whole = net(ops.Slice((0, 3), (2, 7), (1, 1)), both)
    part = net(ops.Slice((0, 4), (1, 6), (1, 1)), both)
    across = net(ops.Slice((0, 2), (2, 5), (1, 1)), both)
    graph = net.done(net.unary("relu", whole), part, across)
    names = keeps(graph, MergeSlices())
    assert sorted(names) == ["Concat", "Slice", "Slice", "exp", "relu", "tanh"]


def test_concatenations_merge() -> None:
    net = Net()
    a, b = net.input(2, 3), net.input(2, 4, name="b")
    y = net(ops.Concat(1), net(ops.Concat(1), a, b), a, net(ops.Concat(1), b, b))
    graph = net.done(y)
    assert keeps(graph) == ["Concat"]
    assert len(graph.nodes[0].inputs) == 5


# -- strength -----------------------------------------------------------------------------------

STRENGTH = {
    "sub": (lambda n, x: n.sub(x, 2.5), ["add"]),
    "sub from": (lambda n, x: n.sub(2.5, x), ["sub"]),
    "half": (lambda n, x: n.div(x, 2.0), ["mul"]),
    "powers of two": (lambda n, x: n.div(x, np.array([2.0, 0.25, -8.0])), ["mul"]),
    "third": (lambda n, x: n.div(x, 3.0), ["div"]),
    "reciprocal": (lambda n, x: n.div(1.0, x), ["reciprocal"]),
    "square": (lambda n, x: n(ops.Binary("pow"), x, 2.0), ["mul"]),
    "cube": (lambda n, x: n(ops.Binary("pow"), x, 3.0), ["mul", "mul"]),
    "root": (lambda n, x: n(ops.Binary("pow"), n.unary("abs", x), 0.5), ["abs", "sqrt"]),
    "rsqrt": (
        lambda n, x: n.unary("reciprocal", n.unary("sqrt", n.unary("exp", x))),
        ["exp", "rsqrt"],
    ),
    "relu6": (lambda n, x: n(ops.Clip(-9.0, 6.0), n.unary("relu", x)), ["Clip"]),
    "relu": (lambda n, x: n(ops.Clip(0.0), x), ["relu"]),
    "max": (lambda n, x: n(ops.Binary("max"), x, 0.0), ["relu"]),
    "min": (lambda n, x: n(ops.Binary("min"), 1.5, x), ["Clip"]),
    "clips": (lambda n, x: n(ops.Clip(0.5, 2.0), n(ops.Clip(-1.0, 1.0), x)), ["Clip"]),
    "disjoint clips": (lambda n, x: n(ops.Clip(2.0, 3.0), n(ops.Clip(-1.0, 1.0), x)), ["Clip"]),
}


@pytest.mark.parametrize("name", STRENGTH)
def test_strength(name: str) -> None:
    make, wanted = STRENGTH[name]
    net = Net()
    graph = net.done(make(net, net.input(50, 3)))
    assert keeps(graph, ReduceStrength()) == wanted


def test_exact_replacements_are_exact() -> None:
    for name in ("sub", "half", "powers of two", "clips"):
        net = Net()
        graph = net.done(STRENGTH[name][0](net, net.input(50, 3)))
        x = {"x": array(50, 3)}
        before = interpret.run(graph, x)
        after = interpret.run(ReduceStrength().apply(graph), x)
        for key, value in before.items():
            np.testing.assert_array_equal(after[key], value)


def test_the_pipeline_settles() -> None:
    net = Net()
    x = net.input(1, 3, 8, 8)
    y = net(ops.Transpose((0, 2, 3, 1)), net.unary("relu", x))
    graph = net.done(net(ops.Transpose((0, 3, 1, 2)), net.div(net.sub(y, 1.0), 2.0)))
    keeps(graph)
    once = [(n.op, n.output.name) for n in graph.nodes]
    keeps(graph)
    assert [(n.op, n.output.name) for n in graph.nodes] == once
