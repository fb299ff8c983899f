"""Recognises activation functions that exporters write as several operators."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Op, Value
from nntc.passes.rewrite import (
    Rewriter,
    is_binary,
    is_f32,
    made_by,
    made_by_binary,
    made_by_unary,
    near,
    operand,
    rewrite,
    scalar,
    with_constant,
)


@dataclass(frozen=True)
class RecogniseActivations:
    """silu, swish, mish, hardswish, hard sigmoid, gelu (erf and tanh forms), softplus, leaky relu
    and softmax, in any order of their factors."""

    name = "recognise-activations"

    def apply(self, graph: Graph) -> Graph:
        return rewrite(graph, _visit)


def _visit(rw: Rewriter, node: Node) -> Value | None:
    if not node.outputs or not is_f32(node.output):
        return None
    if is_binary(node, "mul", "div"):
        return _product(rw, node) or _softmax(rw, node)
    if node.op == ops.Unary("log"):
        return _softplus(rw, node)
    if isinstance(node.op, ops.Clip):
        return _hard_sigmoid(rw, node, 1.0)
    if is_binary(node, "max"):
        return _leaky_relu(rw, node)
    return None


# -- products -----------------------------------------------------------------------------------


@dataclass
class _Product:
    """number * factors[0] * factors[1] * ..."""

    number: float
    factors: list[Value]


def _flatten(value: Value, depth: int = 3) -> _Product:
    """The value as a product; factors are values that are no products themselves."""
    number = scalar(value)
    if number is not None:
        return _Product(number, [])
    node = value.producer
    if node is None or depth == 0:
        return _Product(1.0, [value])
    if is_binary(node, "mul"):
        a, b = (_flatten(operand(node, i), depth - 1) for i in (0, 1))
        return _Product(a.number * b.number, a.factors + b.factors)
    if is_binary(node, "div"):
        divisor = scalar(operand(node, 1))
        if divisor:
            a = _flatten(operand(node, 0), depth - 1)
            return _Product(a.number / divisor, a.factors)
    return _Product(1.0, [value])


def _product(rw: Rewriter, node: Node) -> Value | None:
    product = _flatten(node.output)
    if len(product.factors) == 1:
        return _hard_sigmoid_scaled(rw, node, product)
    if len(product.factors) != 2:
        return None
    for x, gate in (product.factors, product.factors[::-1]):
        if x.type != node.output.type:
            continue
        op = _gated(x, gate, product.number)
        if op is not None:
            return rw.op(op, x)
    return None


def _gated(x: Value, gate: Value, number: float) -> Op | None:
    """The operator that number * x * gate(x) is."""
    maker = gate.producer
    if maker is None:
        return None
    if near(number, 1):
        if maker.op == ops.Unary("sigmoid"):
            return _swish(x, operand(maker, 0))
        if isinstance(maker.op, ops.HardSigmoid) and operand(maker, 0) is x:
            sixth = near(maker.op.alpha, 1 / 6) and near(maker.op.beta, 0.5)
            return ops.Unary("hardswish") if sixth else None
        if maker.op == ops.Unary("tanh"):
            inner = made_by_unary(operand(maker, 0), "softplus")
            return ops.Unary("mish") if inner and operand(inner, 0) is x else None
    if near(number, 1 / 6) and isinstance(maker.op, ops.Clip):
        shifted = _plus(operand(maker, 0), 3)
        if shifted is x and maker.op.min == 0 and near(maker.op.max, 6):
            return ops.Unary("hardswish")
    if near(number, 0.5):
        return _gelu(x, gate)
    return None


def _swish(x: Value, inner: Value) -> Op | None:
    if inner is x:
        return ops.Unary("silu")
    product = _flatten(inner)
    return ops.Swish(product.number) if product.factors == [x] else None


def _plus(value: Value, number: float) -> Value | None:
    """x of x + number."""
    node = made_by_binary(value, "add")
    parts = None if node is None else with_constant(node)
    if parts is None or not near(scalar(parts[1]), number):
        return None
    return parts[0]


def _gelu(x: Value, gate: Value) -> Op | None:
    """gate is 1 + erf(x / sqrt(2)) or 1 + tanh(sqrt(2/pi) * (x + 0.044715 * x^3))."""
    inner = _plus(gate, 1)
    maker = made_by(inner, ops.Unary)
    if maker is None:
        return None
    product = _flatten(operand(maker, 0))
    if maker.op == ops.Unary("erf"):
        exact = product.factors == [x] and near(product.number, math.sqrt(0.5))
        return ops.Unary("gelu") if exact else None
    if maker.op != ops.Unary("tanh") or not near(product.number, math.sqrt(2 / math.pi), 1e-4):
        return None
    match product.factors:
        case [total] if _is_cubic(total, x):
            return ops.Unary("gelu_tanh")
        case [a, b] if (a is x and _is_square_term(b, x)) or (b is x and _is_square_term(a, x)):
            return ops.Unary("gelu_tanh")
    return None


def _is_cubic(total: Value, x: Value) -> bool:
    """x + 0.044715 * x * x * x."""
    node = made_by_binary(total, "add")
    if node is None:
        return False
    for a, b in ((0, 1), (1, 0)):
        product = _flatten(operand(node, b))
        if operand(node, a) is x and product.factors == [x, x, x]:
            return near(product.number, 0.044715, 1e-4)
    return False


def _is_square_term(value: Value, x: Value) -> bool:
    """1 + 0.044715 * x * x."""
    inner = _plus(value, 1)
    if inner is None:
        return False
    product = _flatten(inner)
    return product.factors == [x, x] and near(product.number, 0.044715, 1e-4)


# -- others -------------------------------------------------------------------------------------


def _hard_sigmoid_scaled(rw: Rewriter, node: Node, product: _Product) -> Value | None:
    clip = made_by(product.factors[0], ops.Clip)
    if clip is None or product.factors[0].type != node.output.type:
        return None
    return _hard_sigmoid(rw, clip, product.number)


def _hard_sigmoid(rw: Rewriter, clip: Node, scale: float) -> Value | None:
    """clip(alpha * x + beta, 0, 1 / scale) * scale."""
    assert isinstance(clip.op, ops.Clip)
    if clip.op.min != 0 or not near(clip.op.max * scale, 1):
        return None
    add = made_by_binary(operand(clip, 0), "add")
    parts = None if add is None else with_constant(add)
    beta = None if parts is None else scalar(parts[1])
    if parts is None or beta is None or parts[0].type != clip.output.type:
        return None
    product = _flatten(parts[0])
    if len(product.factors) != 1 or product.factors[0].type != clip.output.type:
        product = _Product(1.0, [parts[0]])
    op = ops.HardSigmoid(product.number * scale, beta * scale)
    return rw.op(op, product.factors[0])


def _softplus(rw: Rewriter, node: Node) -> Value | None:
    """log(1 + exp(x))."""
    inner = made_by_unary(_plus(operand(node, 0), 1), "exp")
    if inner is None or inner.output.type != node.output.type:
        return None
    return rw.unary("softplus", operand(inner, 0))


def _leaky_relu(rw: Rewriter, node: Node) -> Value | None:
    """max(x, alpha * x) with alpha between 0 and 1."""
    for a, b in ((0, 1), (1, 0)):
        x = operand(node, a)
        product = _flatten(operand(node, b))
        if product.factors == [x] and 0 < product.number < 1:
            return rw.op(ops.LeakyRelu(product.number), x)
    return None


def _softmax(rw: Rewriter, node: Node) -> Value | None:
    """exp(x) / sum of exp(x); a maximum that x is lowered by before makes no difference."""
    if not is_binary(node, "div"):
        return None
    power, total = operand(node, 0), made_by(operand(node, 1), ops.Reduce)
    exp = made_by_unary(power, "exp")
    if exp is None or total is None or operand(total, 0) is not power:
        return None
    op = total.op
    assert isinstance(op, ops.Reduce)
    if op.fn != "sum" or len(op.axes) != 1 or not op.keepdims:
        return None
    x = operand(exp, 0)
    shift = made_by_binary(x, "sub")
    if shift is not None:
        top = made_by(operand(shift, 1), ops.Reduce)
        plain = operand(shift, 0)
        if top is not None and top.op == ops.Reduce("max", op.axes, True) and top.inputs == [plain]:
            x = plain
    return rw.op(ops.Softmax(op.axes[0]), x)
