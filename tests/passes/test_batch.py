"""Another batch: every sample gets what it got before, or the change is refused."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.core.dtype import DType
from nntc.core.errors import UnsupportedError, UserError
from nntc.ir import interpret, ops
from nntc.ir.graph import Graph
from nntc.ir.verify import verify
from nntc.passes.batch import batch_of, one_sample, with_batch, with_input_shapes
from nntc.passes.batch_rules import _RULES
from tests.backend.random_fixed import Maker
from tests.passes.build import Net, array, conv, inputs_of


def check(graph: Graph, samples: int = 4) -> Graph:
    """Change the batch, run both graphs, compare every output; the changed graph."""
    made = with_batch(graph, samples)
    verify(made)
    assert [v.name for v in made.inputs] == [v.name for v in graph.inputs]
    assert [v.name for v in made.outputs] == [v.name for v in graph.outputs]
    assert [n.name for n in made.nodes] == [n.name for n in graph.nodes]
    old = batch_of(graph)
    assert batch_of(made) == samples
    inputs = inputs_of(made)
    whole = interpret.run(made, inputs)
    for start in range(0, samples - old + 1, old):
        part = {name: data[start : start + old] for name, data in inputs.items()}
        for name, wanted in interpret.run(graph, part).items():
            each = len(wanted) // old
            got = whole[name][start * each : (start + old) * each]
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5, err_msg=name)
    return made


X = (1, 4, 6, 6)
ALONE = [
    (ops.Unary("sigmoid"), X),
    (ops.Clip(0, 6), X),
    (ops.MaxPool((2, 2), (2, 2), (0, 0, 0, 0), (1, 1)), X),
    (ops.Softmax(1), X),
    (ops.LayerNorm(2), X),
    (ops.Reduce("mean", (2, 3), True), X),
    (ops.Reduce("sum", (1,), False), X),
    (ops.ArgReduce("max", 1, False), X),
    (ops.Reshape((1, 144)), X),
    (ops.Reshape((1, 4, 36)), X),
    (ops.Reshape((1, 2, 2, 6, 6)), X),
    (ops.Reshape((4, 36)), X),
    (ops.Reshape((2, 12, 6)), (2, 3, 4, 6)),
    (ops.Transpose((0, 2, 3, 1)), X),
    (ops.Slice((0, 1, 0, 5), (1, 3, 6, -1), (1, 1, 2, -1)), X),
    (ops.Pad((0, 0, 1, 1, 0, 0, 1, 1)), X),
    (ops.Expand((1, 4, 6, 6)), (1, 4, 6, 1)),
    (ops.Tile((1, 2, 1, 1)), X),
    (ops.Resize((1, 4, 12, 12), (1.0, 1.0, 2.0, 2.0)), X),
    (ops.DepthToSpace(2), X),
    (ops.TopK(3, 1), X),
    (ops.Trilu(), X),
    (ops.LRN(3, 1e-4, 0.75, 1.0), X),
]


@pytest.mark.parametrize(("op", "shape"), ALONE, ids=lambda v: getattr(v, "name", ""))
def test_operators_of_one_operand(op: ops.Unary, shape: tuple[int, ...]) -> None:
    net = Net()
    check(net.done(net(op, net.input(*shape))))


def test_constants_are_broadcast_or_repeated() -> None:
    net = Net()
    x = net.input(1, 4, 6)
    y = net.add(x, array(4, 1))
    y = net(ops.Concat(1), array(1, 2, 6, seed=1), y)
    y = net.mul(y, array(1, 6, 6, seed=2))
    rows = net(ops.Reshape((6, 6)), y)  # 6 rows of each sample
    rows = net.add(rows, array(6, 1, seed=3))
    made = check(net.done(net(ops.MatMul(), rows, array(6, 5))))
    assert [v.shape for v in made.outputs] == [(24, 5)]


def test_matrix_products() -> None:
    net = Net()
    x = net.input(1, 3, 4)
    a = net(ops.MatMul(), x, array(4, 5), array(5))
    b = net(ops.MatMul(False, True), a, a)  # of each sample with itself
    c = net(ops.MatMul(), b, array(1, 3, 2))
    d = net(ops.MatMul(), array(2, 3), c)
    e = net(ops.MatMul(True, True), c, array(7, 3))
    v = net(ops.MatMul(), x, array(4))
    check(net.done(a, b, c, d, e, v))


def test_attention_with_heads_and_samples_on_one_axis() -> None:
    net = Net()
    x = net.input(1, 5, 8)
    heads = net(ops.Transpose((0, 2, 1, 3)), net(ops.Reshape((1, 5, 2, 4)), x))
    heads = net(ops.Reshape((2, 5, 4)), heads)
    likely = net(ops.Softmax(2), net(ops.MatMul(False, True), heads, heads))
    y = net(ops.Reshape((1, 2, 5, 4)), net(ops.MatMul(), likely, heads))
    y = net(ops.Reshape((1, 5, 8)), net(ops.Transpose((0, 2, 1, 3)), y))
    check(net.done(y))


def test_the_samples_on_another_axis() -> None:
    net = Net()
    x = net(ops.Transpose((1, 0, 2)), net.input(1, 5, 8))
    y = net(ops.LayerNorm(2), net(ops.MatMul(), x, array(8, 3)), array(3), array(3))
    check(net.done(net(ops.Transpose((1, 0, 2)), y)))


def test_embedding_and_one_hot() -> None:
    net = Net()
    ids = net.input(1, 5, name="ids", dtype=DType.I32)
    rows = net(ops.Gather(0), array(9, 4), ids)
    hot = net(ops.OneHot(2, 9), ids, np.array([0, 1], np.float32))
    check(net.done(rows, net(ops.MatMul(), hot, array(9, 2))))


def test_random_networks_of_integers() -> None:
    refused = 0
    for seed in range(16):
        graph = Maker(seed, 12, batch=1).graph
        try:
            made = with_batch(graph, 4)
        except UnsupportedError:
            refused += 1
            continue
        verify(made)
        inputs = inputs_of(made)
        whole = interpret.run(made, inputs)
        for index in range(4):
            part = {name: data[index : index + 1] for name, data in inputs.items()}
            for name, wanted in interpret.run(graph, part).items():
                rows = slice(index * len(wanted), (index + 1) * len(wanted))
                np.testing.assert_array_equal(whole[name][rows], wanted)
    assert refused < 8


def test_to_fewer_samples() -> None:
    net = Net()
    x = net(conv(), net.input(4, 3, 6, 6), array(2, 3, 3, 3))
    y = net.add(net(ops.Reshape((4, 32)), x), np.tile(array(1, 32), (4, 1)))
    graph = net.done(y)
    made = with_batch(graph, 1)
    inputs = inputs_of(graph)
    whole = interpret.run(graph, inputs)["Binary"]
    one = interpret.run(made, {"x": inputs["x"][2:3]})["Binary"]
    np.testing.assert_allclose(one, whole[2:3], rtol=1e-5, atol=1e-5)


def test_the_same_batch_is_the_same_graph() -> None:
    net = Net()
    graph = net.done(net.unary("relu", net.input(2, 3)))
    assert with_batch(graph, 2) is graph


def test_scales_stay() -> None:
    net = Net()
    x = net.input(1, 3, 4, dtype=DType.U8)
    x.scale = net.const(np.float32(0.5))
    y = net(ops.Lut(), x, np.arange(256, dtype=np.uint8))
    y.scale = net.const(np.ones(3, np.float32))
    made = check(net.done(y))
    assert made.inputs[0].scale is not None
    assert made.inputs[0].scale.name == x.scale.name
    assert made.outputs[0].scale is not None


REFUSED = [
    (ops.Reduce("sum", (0,), True), X, "it works along axis 0, on which the samples are"),
    (ops.Softmax(0), X, "it works along axis 0"),
    (ops.Reshape((2, 2, 36)), (3, 2, 24), "the samples of [3, 2, 24] are on no axis"),
    (ops.Slice((0, 0), (2, 3), (1, 1)), (3, 3), "it takes some of the samples"),
    (ops.Pad((1, 0, 0, 0)), (1, 3), "it pads axis 0"),
    (ops.Expand((5, 3)), (1, 3), "it repeats along axis 0"),
    (ops.Tile((2, 1)), (1, 3), "it repeats along axis 0"),
]


@pytest.mark.parametrize(("op", "shape", "message"), REFUSED, ids=[r[0].name for r in REFUSED])
def test_mixing_samples_is_refused(op: ops.Unary, shape: tuple[int, ...], message: str) -> None:
    net = Net()
    graph = net.done(net(op, net.input(*shape), name="bad"))
    with pytest.raises(UnsupportedError) as caught:
        with_batch(graph, 7)
    assert message in str(caught.value)
    assert op.name in str(caught.value)
    assert f"from {shape[0]} to 7" in str(caught.value)


def test_every_refused_node_is_named_once() -> None:
    net = Net()
    x = net.input(2, 3)
    bad = net(ops.Reduce("sum", (0,), False), x)
    after = net.unary("relu", bad)
    different = net.add(x, array(2, 3))
    with pytest.raises(UnsupportedError) as caught:
        with_batch(net.done(after, different), 3)
    assert len(caught.value.problems) == 2
    assert "differs between the samples" in caught.value.problems[1]


def test_samples_that_meet_crosswise() -> None:
    net = Net()
    x = net.input(1, 4)
    table = net.mul(net(ops.Transpose((1, 0)), x), x)
    with pytest.raises(UnsupportedError, match="the samples in different places"):
        with_batch(net.done(table), 2)
    net = Net()
    x = net.input(1, 4)
    with pytest.raises(UnsupportedError, match="it adds up over the samples"):
        with_batch(net.done(net(ops.MatMul(), net(ops.Transpose((1, 0)), x), x)), 2)


def test_lists_of_boxes_only_as_outputs() -> None:
    def detector(more: bool) -> Graph:
        net = Net()
        boxes, scores = net.input(1, 9, 4, name="boxes"), net.input(1, 2, 9, name="scores")
        found = net(ops.NonMaxSuppression(max_output=3, iou=0.5, score=0.1), boxes, scores)
        return net.done(net(ops.Cast(DType.F32), found) if more else found)

    assert with_batch(detector(False), 4).outputs[0].shape == (24, 3)
    with pytest.raises(UnsupportedError, match="its rows are of all samples"):
        with_batch(detector(True), 4)


@pytest.mark.parametrize("samples", [0, -1, 1 << 30])
def test_impossible_numbers(samples: int) -> None:
    net = Net()
    graph = net.done(net.unary("relu", net.input(1, 3)))
    with pytest.raises(UnsupportedError, match=f"a batch of {samples}: 1 to 65536"):
        with_batch(graph, samples)


def test_inputs_without_a_common_batch() -> None:
    net = Net()
    graph = net.done(net.add(net.input(1, 3), net.input(3, name="b")))
    with pytest.raises(UnsupportedError, match=r"no batch in common: x \[1, 3\], b \[3\]"):
        with_batch(graph, 2)


def test_every_operator_has_a_rule_or_a_reason() -> None:
    # Regions are lists with their sample's number in them; ScatterND writes to any sample.
    without = {"RoiAlign", "RoiPool", "ScatterND"}
    assert {name for name, op in ops.OPS.items() if op not in _RULES} == without


def test_shapes_may_differ_in_the_batch_only() -> None:
    net = Net()
    graph = net.done(net.add(net.input(1, 3, 4), net.input(1, 3, 4, name="b")))
    assert with_input_shapes(graph, [(1, 3, 4), (1, 3, 4)]) is graph
    assert with_input_shapes(graph, {"x": (5, 3, 4), "b": (5, 3, 4)}).outputs[0].shape == (5, 3, 4)
    for shapes, message in (
        ([(2, 3, 4)], "1 shapes are given for the inputs x, b"),
        ([(2, 3, 5), (2, 3, 4)], "only the batch of a UModel can change"),
        ({"x": (2, 3, 4)}, "the inputs would have different batches"),
        ({"c": (2, 3, 4)}, "no input is called c; there are x, b"),
    ):
        with pytest.raises(UserError, match=message):
            with_input_shapes(graph, shapes)


def test_one_sample() -> None:
    net = Net()
    graph = net.done(net.unary("relu", net.input(4, 3)))
    assert one_sample(graph).inputs[0].shape == (1, 3)
    net = Net()
    mixed = net.done(net.add(net.input(4, 3), net.input(3, name="b")))
    assert one_sample(mixed) is mixed
