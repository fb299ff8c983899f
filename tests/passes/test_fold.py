"""Passes that fold arithmetic and padding into weights and windows."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Value
from nntc.passes.batch_norm import LowerBatchNorm
from nntc.passes.fold_affine import FoldAffine
from nntc.passes.fold_input_affine import FoldInputAffine
from nntc.passes.fold_pad import FoldPad
from tests.passes.build import Net, array, conv, keeps


def batch_norm(net: Net, x: Value, seed: int = 5) -> Value:
    count = x.shape[1]
    parts = [array(count, seed=seed + i) for i in range(3)]
    return net(ops.BatchNorm(1e-3), x, *parts, np.abs(array(count, seed=seed + 3)) + 0.1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("group", [1, 2, 6])
def test_batch_norm_goes_into_a_convolution(group: int, bias: bool) -> None:
    net = Net()
    x = net.input(2, 6, 5, 5)
    operands = [x, array(12, 6 // group, 3, 3), *([array(12, seed=1)] if bias else [])]
    y = batch_norm(net, net(conv((1, 1, 1, 1), group=group), *operands))
    assert keeps(net.done(y)) == ["Conv"]


@pytest.mark.parametrize("group", [1, 3])
def test_batch_norm_goes_into_a_transposed_convolution(group: int) -> None:
    net = Net()
    x = net.input(2, 6, 5, 5)
    op = ops.ConvTranspose((2, 2), (1, 1, 0, 0), (1, 1), group, (0, 1))
    y = batch_norm(net, net(op, x, array(6, 4, 3, 3)))
    assert keeps(net.done(y)) == ["ConvTranspose"]


@pytest.mark.parametrize("transpose", [False, True])
def test_batch_norm_goes_into_a_product(transpose: bool) -> None:
    net = Net()
    x = net.input(3, 6)
    w = array(8, 6) if transpose else array(6, 8)
    y = batch_norm(net, net(ops.MatMul(transpose_b=transpose), x, w))
    assert keeps(net.done(y)) == ["MatMul"]


def test_batch_norm_alone_is_a_product_and_a_sum() -> None:
    net = Net()
    x = net.input(2, 3, 4, 4)
    graph = net.done(batch_norm(net, x))
    assert keeps(graph, LowerBatchNorm()) == ["mul", "add"]


def test_batch_norm_with_run_time_statistics_stays() -> None:
    net = Net()
    x, mean = net.input(2, 3, 4), net.input(3, name="mean")
    y = net(ops.BatchNorm(1e-3), x, array(3), array(3, seed=1), mean, np.ones(3))
    assert keeps(net.done(y)) == ["BatchNorm"]


def test_a_negative_variance_stays() -> None:
    net = Net()
    x = net.input(2, 3, 4)
    y = net(ops.BatchNorm(1e-3), x, array(3), array(3), array(3), -np.ones(3))
    assert keeps(net.done(net(ops.Unary("isnan"), y))) == ["BatchNorm", "isnan"]


AFFINE = {
    "per channel": lambda n, y: n.mul(y, array(4, 1, 1)),
    "scalar": lambda n, y: n.mul(2.5, y),
    "four axes": lambda n, y: n.add(y, array(1, 4, 1, 1)),
    "quotient": lambda n, y: n.div(y, array(4, 1, 1) + 3),
    "chain": lambda n, y: n.mul(n.add(n.mul(n.add(y, 1.0), array(4, 1, 1)), 2.0), 3.0),
}


@pytest.mark.parametrize("name", AFFINE)
def test_factors_and_offsets_go_into_a_convolution(name: str) -> None:
    net = Net()
    y = net(conv((1, 1, 1, 1)), net.input(1, 3, 5, 5), array(4, 3, 3, 3), array(4, seed=1))
    assert keeps(net.done(AFFINE[name](net, y))) == ["Conv"]


NOT_AFFINE = {
    "per column": (lambda n, y: n.mul(y, array(5)), ["Conv", "mul"]),
    "per pixel": (lambda n, y: n.add(y, array(5, 5)), ["Conv", "add"]),
    "one by": (lambda n, y: n.div(2.0, y), ["Conv", "div"]),
    "widened": (lambda n, y: n.mul(y, array(2, 1, 1, 1)), ["Conv", "mul"]),
    "infinite": (lambda n, y: n.mul(y, np.inf), ["Conv", "mul"]),
}


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_others_stay(name: str) -> None:
    net = Net()
    make, wanted = NOT_AFFINE[name]
    y = net(conv((1, 1, 1, 1)), net.input(1, 3, 5, 5), array(4, 3, 3, 3))
    result = make(net, y)
    if name == "infinite":
        result = net(ops.IsInf(), result)
        wanted = [*wanted, "IsInf"]
    assert keeps(net.done(result)) == wanted


def test_a_result_with_two_readers_stays() -> None:
    net = Net()
    y = net(conv(), net.input(1, 3, 5, 5), array(4, 3, 3, 3))
    graph = net.done(net.mul(y, 2.0), net.unary("relu", y))
    assert keeps(graph, FoldAffine()) == ["Conv", "mul", "relu"]
    net = Net()
    y = net(conv(), net.input(1, 3, 5, 5), array(4, 3, 3, 3))
    assert keeps(net.done(net.mul(y, 2.0), y)) == ["Conv", "mul"]


def test_a_product_takes_a_bias() -> None:
    net = Net()
    y = net.add(array(7), net(ops.MatMul(), net.input(2, 4, 5), array(5, 7)))
    assert keeps(net.done(y)) == ["MatMul"]
    net = Net()
    y = net.add(net(ops.MatMul(), net.input(2, 4, 5), array(5, 7)), array(4, 1))
    assert keeps(net.done(y)) == ["MatMul", "add"]


def test_run_time_weights_stay() -> None:
    net = Net()
    y = net(ops.MatMul(), net.input(4, 5), net.input(5, 7, name="w"))
    assert keeps(net.done(net.mul(y, 2.0))) == ["MatMul", "mul"]


def test_chains_of_constants_merge() -> None:
    net = Net()
    x = net.input(2, 3)
    y = net.add(net.add(net.mul(net.mul(x, 2.5), array(3)), array(3)), array(2, 1))
    names = keeps(net.done(y))
    # The last sum would need a larger constant than either of its parts.
    assert names == ["mul", "add", "add"]


# -- before the weights -------------------------------------------------------------------------

BEFORE = {
    "both": lambda n, x: n.add(n.mul(x, array(3, 1, 1)), array(3, 1, 1, seed=1)),
    "scalars": lambda n, x: n.add(n.mul(x, 1.5), 0.25),
    "factor": lambda n, x: n.mul(array(3, 1, 1), x),
    "offset": lambda n, x: n.add(x, 0.75),
}


@pytest.mark.parametrize("name", BEFORE)
@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 1, 2)])
def test_factors_and_offsets_before_a_convolution(
    name: str, group: int, pads: tuple[int, ...]
) -> None:
    net = Net()
    x = BEFORE[name](net, net.unary("exp", net.input(2, 3, 5, 5)))
    y = net(conv(pads, group=group), x, array(6, 3 // group, 3, 3), array(6, seed=2))
    names = keeps(net.done(y), tolerance=5e-6)
    # The offset cannot pass zero padding.
    shifts = any(pads) and name != "factor"
    assert names == (["exp", "add", "Conv"] if shifts else ["exp", "Conv"])


@pytest.mark.parametrize("transpose", [False, True])
def test_factors_and_offsets_before_a_product(transpose: bool) -> None:
    net = Net()
    x = net.add(net.mul(net.unary("exp", net.input(2, 4, 5)), array(5)), array(5, seed=1))
    w = array(7, 5) if transpose else array(5, 7)
    y = net(ops.MatMul(transpose_b=transpose), x, w)
    assert keeps(net.done(y), FoldInputAffine()) == ["exp", "MatMul"]


def test_an_operand_with_two_readers_stays() -> None:
    net = Net()
    x = net.mul(net.input(1, 3, 5, 5), 1.5)
    graph = net.done(net(conv(), x, array(4, 3, 1, 1)), net.unary("relu", x))
    assert keeps(graph, FoldInputAffine()) == ["mul", "Conv", "relu"]


# -- padding ------------------------------------------------------------------------------------


def padded(net: Net, x: Value, value: float = 0.0) -> Value:
    return net(ops.Pad((0, 0, 1, 0, 0, 0, 1, 2), "constant", value), x)


def test_padding_goes_into_a_convolution() -> None:
    net = Net()
    y = net(conv((0, 1, 1, 0)), padded(net, net.input(1, 3, 5, 5)), array(4, 3, 3, 3))
    graph = net.done(y)
    assert keeps(graph) == ["Conv"]
    assert graph.nodes[0].op == conv((1, 1, 2, 2))


@pytest.mark.parametrize(
    "pad",
    [
        ops.Pad((0, 0, 1, 0, 0, 0, 1, 2), "constant", 1.0),
        ops.Pad((0, 0, 1, 0, 0, 0, 1, 2), "edge"),
        ops.Pad((0, 1, 1, 0, 0, -1, 1, 2)),
        ops.Pad((0, 0, -1, 0, 0, 0, 1, 2)),
    ],
)
def test_other_padding_stays(pad: ops.Pad) -> None:
    net = Net()
    x = net(pad, net.input(1, 3, 5, 5))
    assert keeps(net.done(net(conv(), x, array(4, 3, 3, 3)))) == ["Pad", "Conv"]


POOL = ((3, 3), (2, 2), (0, 0, 0, 0), (1, 1))


def test_padding_goes_into_an_average_that_counts_it() -> None:
    net = Net()
    graph = net.done(net(ops.AveragePool(*POOL), padded(net, net.input(1, 2, 7, 7))))
    assert keeps(graph, FoldPad()) == ["AveragePool"]
    net = Net()
    pool = ops.AveragePool((3, 3), (2, 2), (1, 1, 1, 1), (1, 1))
    graph = net.done(net(pool, padded(net, net.input(1, 2, 7, 7))))
    assert keeps(graph, FoldPad()) == ["Pad", "AveragePool"]
    net = Net()
    pool = ops.AveragePool(*POOL, ceil_mode=True)
    graph = net.done(net(pool, padded(net, net.input(1, 2, 7, 7))))
    assert keeps(graph, FoldPad()) == ["Pad", "AveragePool"]


@pytest.mark.parametrize(
    ("value", "before", "folds"),
    [(-np.inf, "neg", True), (0.0, "relu", True), (0.0, "neg", False), (1.0, "relu", False)],
)
def test_padding_that_cannot_win_goes_into_a_maximum(
    value: float, before: str, folds: bool
) -> None:
    net = Net()
    x = padded(net, net.unary(before, net.input(1, 2, 7, 7)), value)
    names = keeps(net.done(net(ops.MaxPool(*POOL), x)), FoldPad())
    assert names == ([before, "MaxPool"] if folds else [before, "Pad", "MaxPool"])


def test_unsigned_integers_are_never_negative() -> None:
    net = Net()
    x = net.input(1, 2, 7, 7, dtype=DType.U8)
    y = net(ops.MaxPool(*POOL), net(ops.Pad((0, 0, 1, 1, 0, 0, 1, 1)), x))
    graph = net.done(y)
    FoldPad().apply(graph)
    assert [n.op.name for n in graph.nodes] == ["MaxPool"]
