"""Transposes move until they cancel, and only if that pays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nntc.ir import ops
from nntc.ir.graph import Value
from nntc.passes.transposes import MoveTransposes
from tests.passes.build import Net, array, conv, keeps

TO_LAST, TO_FIRST = ops.Transpose((0, 2, 3, 1)), ops.Transpose((0, 3, 1, 2))
# Between channels last: shape [2, 4, 5, 3].
Between = Callable[[Net, Value], Value]

BETWEEN: dict[str, Between] = {
    "unary": lambda n, y: n.unary("tanh", y),
    "clip": lambda n, y: n(ops.Clip(0.0, 1.0), y),
    "scalar": lambda n, y: n.add(y, 2.0),
    "channels": lambda n, y: n.mul(array(3), y),
    "pixels": lambda n, y: n.add(y, array(4, 5, 1)),
    "all": lambda n, y: n.sub(array(2, 4, 5, 3), y),
    "itself": lambda n, y: n.mul(y, n.unary("exp", y)),
    "prelu": lambda n, y: n(ops.PRelu(), y, array(3)),
    "where": lambda n, y: n(ops.Where(), n(ops.Binary("gt"), y, 0.5), y, array(3)),
    "softmax": lambda n, y: n(ops.Softmax(3), y),
    "pad": lambda n, y: n(ops.Pad((0, 1, 0, 0, 0, 0, 2, 0)), y),
    "slice": lambda n, y: n(ops.Slice((0, 1, 4, 0), (2, 4, -1, 2), (1, 2, -2, 1)), y),
    "tile": lambda n, y: n(ops.Tile((1, 2, 1, 1)), y),
    "concat": lambda n, y: n(ops.Concat(3), y, n.unary("exp", y), array(2, 4, 5, 2)),
    "mean": lambda n, y: n(ops.Reduce("mean", (1, 2), True), y),
    "resize": lambda n, y: n(
        ops.Resize((2, 8, 10, 3), (1.0, 2.0, 2.0, 1.0), "linear", "half_pixel"), y
    ),
    "cumsum": lambda n, y: n(ops.CumSum(2, reverse=True), y),
    "expand": lambda n, y: n(ops.Expand((2, 4, 5, 3)), n(ops.Reduce("max", (1,), True), y)),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_a_pair_cancels_around(name: str) -> None:
    net = Net()
    x = net.unary("relu", net.input(2, 3, 4, 5))
    y = BETWEEN[name](net, net(TO_LAST, x))
    graph = net.done(net.unary("relu", net(TO_FIRST, y)))
    assert "Transpose" not in keeps(graph, MoveTransposes())


def test_a_reduction_that_drops_axes() -> None:
    net = Net()
    y = net(ops.Reduce("mean", (1, 2), False), net(TO_LAST, net.input(2, 3, 4, 5)))
    z = net(ops.ArgReduce("max", 3, False), net(TO_LAST, net.input(2, 3, 4, 5, name="z")))
    names = keeps(net.done(y, z), MoveTransposes())
    assert names.count("Transpose") == 0


def test_two_branches_meet() -> None:
    net = Net()
    a, b = (net.input(2, 3, 4, 5, name=n) for n in "ab")
    y = net.add(net.unary("relu", net(TO_LAST, a)), net(TO_LAST, b))
    graph = net.done(net(TO_FIRST, net(ops.Concat(3), y, net(TO_LAST, a))))
    assert keeps(graph, MoveTransposes()).count("Transpose") == 0


def test_a_block_with_channels_last() -> None:
    """Convolutions as exporters of channels-last frameworks write them."""
    net = Net()
    y = net.input(1, 8, 8, 3)
    for index in range(3):
        channels = y.shape[3]
        z = net(TO_FIRST, y)
        z = net(conv((1, 1, 1, 1)), z, array(6, channels, 3, 3, seed=index))
        z = net.add(net(TO_LAST, z), array(6, seed=index))
        y = net.unary("relu", z) if index % 2 else net.add(net.unary("relu", z), z)
    graph = net.done(net(ops.Reduce("mean", (1, 2), False), y))
    # The input's own stays.
    assert keeps(graph).count("Transpose") == 1


def test_what_does_not_pay_is_undone() -> None:
    net = Net()
    x = net(TO_LAST, net.input(2, 3, 4, 5))
    y = net(ops.Resize((2, 8, 10, 3), (1.0, 2.0, 2.0, 1.0), "nearest"), x)
    graph = net.done(y, net.unary("relu", x))
    before = [(n.op, n.output.name, [v.name for v in n.operands]) for n in graph.nodes]
    assert keeps(graph, MoveTransposes()) == ["Transpose", "Resize", "relu"]
    assert [(n.op, n.output.name, [v.name for v in n.operands]) for n in graph.nodes] == before


def test_different_transposes_do_not_mix() -> None:
    net = Net()
    a, b = net.input(2, 3, 3, 3), net.input(2, 3, 3, 3, name="b")
    y = net.add(net(TO_LAST, a), net(ops.Transpose((0, 1, 3, 2)), b))
    assert keeps(net.done(y), MoveTransposes()) == ["Transpose", "Transpose", "add"]


@pytest.mark.parametrize("transpose_b", [False, True])
def test_flattening_goes_into_the_weights(transpose_b: bool) -> None:
    net = Net()
    x = net.unary("relu", net.input(2, 3, 4, 5))
    flat = net(ops.Reshape((2, 60)), net(TO_LAST, x))
    w = array(7, 60) if transpose_b else array(60, 7)
    graph = net.done(net(ops.MatMul(transpose_b=transpose_b), flat, w, array(7)))
    assert keeps(graph, MoveTransposes()) == ["relu", "Reshape", "MatMul"]


def test_flattening_across_the_batch_stays() -> None:
    net = Net()
    flat = net(ops.Reshape((6, 20)), net(ops.Transpose((1, 0, 2, 3)), net.input(2, 3, 4, 5)))
    graph = net.done(net(ops.MatMul(), flat, array(20, 7)))
    assert keeps(graph, MoveTransposes()) == ["Transpose", "Reshape", "MatMul"]


@pytest.mark.parametrize("seed", range(30))
def test_random_networks_keep_their_meaning(seed: int) -> None:
    """Any mix of operators and transposes: same results, never more bytes moved."""
    rng = np.random.default_rng(seed)
    net = Net()
    values = [net.input(2, 3, 4, 5)]
    for _ in range(14):
        x = values[rng.integers(len(values))]
        kind = rng.integers(7)
        rank = len(x.shape)
        if kind <= 1:
            values.append(net(ops.Transpose(tuple(int(p) for p in rng.permutation(rank))), x))
        elif kind == 2:
            values.append(net.unary(str(rng.choice(["relu", "tanh", "neg"])), x))
        elif kind == 3:
            values.append(net.mul(x, array(x.shape[-1], seed=seed)))
        elif kind == 4 and rank > 2:
            axis = int(rng.integers(rank))
            values.append(net(ops.Reduce("sum", (axis,), bool(rng.integers(2))), x))
        elif kind == 5:
            axis = int(rng.integers(rank))
            values.append(net(ops.Concat(axis), x, net.unary("tanh", x)))
        else:
            same = [v for v in values if v.shape == x.shape]
            values.append(net.add(x, same[rng.integers(len(same))]))
    graph = net.done(*dict.fromkeys([values[-1], values[-2], values[7]]))
    before = sum(n.output.type.size for n in graph.nodes if isinstance(n.op, ops.Transpose))
    keeps(graph, tolerance=1e-5)
    after = sum(n.output.type.size for n in graph.nodes if isinstance(n.op, ops.Transpose))
    assert after <= before
