"""Functions that exporters spell out are recognised, in any order of their factors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from nntc.ir import ops
from nntc.ir.graph import Value
from tests.passes.build import Net, array, keeps

Make = Callable[[Net, Value], Value]


def names_of(make: Make, *shape: int, tolerance: float = 2e-6) -> list[str]:
    net = Net()
    return keeps(net.done(make(net, net.input(*(shape or (40, 5))))), tolerance=tolerance)


def clip6(net: Net, x: Value) -> Value:
    return net(ops.Clip(0.0, 6.0), net.add(x, 3.0))


def erf_gate(net: Net, x: Value) -> Value:
    return net.add(net.unary("erf", net.div(x, math.sqrt(2))), 1.0)


def tanh_gate(net: Net, x: Value) -> Value:
    cube = net(ops.Binary("pow"), x, 3.0)
    inner = net.mul(net.add(x, net.mul(0.044715, cube)), math.sqrt(2 / math.pi))
    return net.add(1.0, net.unary("tanh", inner))


def tanh_gate_square(net: Net, x: Value) -> Value:
    square = net.add(net.mul(net.mul(x, x), 0.044715), 1.0)
    inner = net.mul(net.mul(x, math.sqrt(2 / math.pi)), square)
    return net.add(net.unary("tanh", inner), 1.0)


def products(x: Value, gate: Make, number: float) -> list[Make]:
    """number * x * gate(x) in every order and grouping."""
    del x
    forms: list[Make] = []
    for order in itertools.permutations(range(3)):
        for left in (True, False):

            def make(
                net: Net, x: Value, order: tuple[int, ...] = order, left: bool = left
            ) -> Value:
                parts = [number, x, gate(net, x)]
                a, b, c = (parts[i] for i in order)
                return net.mul(net.mul(a, b), c) if left else net.mul(a, net.mul(b, c))

            forms.append(make)
    return forms


@pytest.mark.parametrize("form", range(12))
@pytest.mark.parametrize(
    ("gate", "number", "wanted"),
    [
        (clip6, 1 / 6, "hardswish"),
        (erf_gate, 0.5, "gelu"),
        (tanh_gate, 0.5, "gelu_tanh"),
        (tanh_gate_square, 0.5, "gelu_tanh"),
    ],
    ids=["hardswish", "gelu", "gelu_tanh", "gelu_tanh_square"],
)
def test_gated_products(gate: Make, number: float, wanted: str, form: int) -> None:
    make = products(None, gate, number)[form]  # type: ignore[arg-type]
    assert names_of(make, tolerance=1e-5) == [wanted]


SINGLE: dict[str, tuple[Make, list[str]]] = {
    "silu": (lambda n, x: n.mul(x, n.unary("sigmoid", x)), ["silu"]),
    "silu left": (lambda n, x: n.mul(n.unary("sigmoid", x), x), ["silu"]),
    "swish": (lambda n, x: n.mul(x, n.unary("sigmoid", n.mul(x, 1.702))), ["Swish"]),
    "mish": (lambda n, x: n.mul(x, n.unary("tanh", n.unary("softplus", x))), ["mish"]),
    "mish spelt out": (
        lambda n, x: n.mul(x, n.unary("tanh", n.unary("log", n.add(n.unary("exp", x), 1.0)))),
        ["mish"],
    ),
    "softplus": (lambda n, x: n.unary("log", n.add(1.0, n.unary("exp", x))), ["softplus"]),
    "hardswish quotient": (lambda n, x: n.div(n.mul(x, clip6(n, x)), 6.0), ["hardswish"]),
    "hardswish of parts": (lambda n, x: n.mul(x, n.div(clip6(n, x), 6.0)), ["hardswish"]),
    "hardswish of hard sigmoid": (
        lambda n, x: n.mul(x, n(ops.HardSigmoid(1 / 6, 0.5), x)),
        ["hardswish"],
    ),
    "hard sigmoid": (lambda n, x: n.div(clip6(n, x), 6.0), ["HardSigmoid"]),
    "hard sigmoid 0.2": (
        lambda n, x: n(ops.Clip(0.0, 1.0), n.add(n.mul(x, 0.2), 0.5)),
        ["HardSigmoid"],
    ),
    "leaky relu": (lambda n, x: n(ops.Binary("max"), x, n.mul(x, 0.1)), ["LeakyRelu"]),
    "softmax": (lambda n, x: _softmax(n, x, False), ["Softmax"]),
    "softmax with maximum": (lambda n, x: _softmax(n, x, True), ["Softmax"]),
}


def _softmax(net: Net, x: Value, shift: bool) -> Value:
    if shift:
        x = net.sub(x, net(ops.Reduce("max", (1,), True), x))
    power = net.unary("exp", x)
    return net.div(power, net(ops.Reduce("sum", (1,), True), power))


@pytest.mark.parametrize("name", SINGLE)
def test_functions(name: str) -> None:
    make, wanted = SINGLE[name]
    assert names_of(make, tolerance=1e-5) == wanted


OTHERS: dict[str, Make] = {
    "another operand": lambda n, x: n.mul(n.unary("exp", x), n.unary("sigmoid", x)),
    "relu7": lambda n, x: n.mul(n.mul(x, n(ops.Clip(0.0, 7.0), n.add(x, 3.0))), 1 / 6),
    "other root": lambda n, x: n.mul(n.mul(x, 0.5), n.add(n.unary("erf", n.mul(x, 0.7)), 1.0)),
    "steep": lambda n, x: n(ops.Binary("max"), x, n.mul(x, 1.5)),
    "other sum": lambda n, x: n.div(
        n.unary("exp", x), n(ops.Reduce("sum", (0,), False), n.unary("exp", x))
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_only_looks_like_them_keeps_its_meaning(name: str) -> None:
    found = names_of(OTHERS[name])
    known = {"silu", "hardswish", "gelu", "gelu_tanh", "LeakyRelu", "Softmax", "mish"}
    assert not known & set(found)


# -- normalisations -----------------------------------------------------------------------------


def layer_norm(net: Net, x: Value, axes: tuple[int, ...], how: str, twice: bool = False) -> Value:
    def centred() -> Value:
        return net.sub(x, net(ops.Reduce("mean", axes, True), x))

    first = centred()
    second = centred() if twice else first
    if how == "pow":
        square = net(ops.Binary("pow"), second, 2.0)
    else:
        square = net.mul(second, second)
    variance = net.add(net(ops.Reduce("mean", axes, True), square), 1e-5)
    if how == "rsqrt":
        return net.mul(first, net.unary("rsqrt", variance))
    if how == "reciprocal":
        return net.mul(net.unary("reciprocal", net.unary("sqrt", variance)), first)
    return net.div(first, net.unary("sqrt", variance))


@pytest.mark.parametrize("how", ["pow", "mul", "rsqrt", "reciprocal"])
@pytest.mark.parametrize("axes", [(2,), (1, 2)])
@pytest.mark.parametrize("affine", [0, 1, 2])
def test_layer_norm(how: str, axes: tuple[int, ...], affine: int) -> None:
    shape = tuple((3, 4, 5)[a] for a in axes)

    def make(net: Net, x: Value) -> Value:
        y = layer_norm(net, x, axes, how, twice=how == "pow")
        if affine > 0:
            y = net.mul(y, array(*shape))
        return net.add(array(*shape, seed=1), y) if affine > 1 else y

    net = Net()
    graph = net.done(make(net, net.input(3, 4, 5)))
    assert keeps(graph, tolerance=1e-5) == ["LayerNorm"]
    assert len(graph.nodes[0].operands) == 1 + affine


def test_a_norm_over_other_axes_stays() -> None:
    found = names_of(lambda n, x: layer_norm(n, x, (1,), "mul"), 3, 4, 5, tolerance=1e-5)
    assert "LayerNorm" not in found


def test_rms_norm() -> None:
    def make(net: Net, x: Value) -> Value:
        power = net.add(net(ops.Reduce("mean", (2,), True), net.mul(x, x)), 1e-6)
        return net.mul(array(5), net.mul(x, net.unary("rsqrt", power)))

    assert names_of(make, 3, 4, 5, tolerance=1e-5) == ["RMSNorm"]


def test_a_factor_of_another_shape_stays_outside() -> None:
    def make(net: Net, x: Value) -> Value:
        return net.mul(layer_norm(net, x, (2,), "mul"), array(4, 1))

    assert names_of(make, 3, 4, 5, tolerance=1e-5) == ["LayerNorm", "mul"]


def test_numbers_of_exporters_are_rounded() -> None:
    """1.4142135 and 0.16666667 count, 0.7 does not."""
    gate: Make = lambda n, x: n.add(n.unary("erf", n.div(x, np.float32(1.4142135))), 1.0)  # noqa: E731
    assert names_of(lambda n, x: n.mul(n.mul(x, gate(n, x)), 0.5)) == ["gelu"]
    assert names_of(lambda n, x: n.mul(n.mul(x, clip6(n, x)), np.float32(0.16666667))) == [
        "hardswish"
    ]
