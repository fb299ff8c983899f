"""Replaces operators by cheaper ones of the same meaning."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value
from nntc.passes.rewrite import (
    Rewriter,
    is_binary,
    is_f32,
    made_by,
    made_by_unary,
    operand,
    rewrite,
    scalar,
)


@dataclass(frozen=True)
class ReduceStrength:
    """Exact: x - c becomes x + (-c); x / c becomes x * (1/c) where c is a power of two; x ** 2
    becomes x * x; chains of clips become one; max and min with a constant become clips.
    Within rounding: x ** 0.5 becomes sqrt, 1 / x reciprocal, reciprocal of sqrt rsqrt."""

    name = "reduce-strength"

    def apply(self, graph: Graph) -> Graph:
        return rewrite(graph, _visit)


def _visit(rw: Rewriter, node: Node) -> Value | None:
    op = node.op
    if isinstance(op, ops.Binary) and is_f32(operand(node, 0)):
        return _BINARY[op.fn](rw, node) if op.fn in _BINARY else None
    if op == ops.Unary("reciprocal"):
        root = made_by_unary(operand(node, 0), "sqrt")
        return None if root is None else rw.unary("rsqrt", operand(root, 0))
    return _clip_of_clip(rw, node)


def _subtract(rw: Rewriter, node: Node) -> Value | None:
    x, c = operand(node, 0), operand(node, 1)
    if c.data is None or x.data is not None:
        return None
    return rw.binary("add", x, rw.const(-c.data))


def _divide(rw: Rewriter, node: Node) -> Value | None:
    x, c = operand(node, 0), operand(node, 1)
    if c.data is not None:
        mantissa, exponent = np.frexp(c.data)
        # Powers of two whose reciprocal is a normal number.
        if c.data.size and (np.abs(mantissa) == 0.5).all() and (np.abs(exponent) < 125).all():
            return rw.binary("mul", x, rw.const(1 / c.data))
    if scalar(x) == 1 and c.type == node.output.type:
        return rw.unary("reciprocal", c)
    return None


def _power(rw: Rewriter, node: Node) -> Value | None:
    x = operand(node, 0)
    exponent = scalar(operand(node, 1))
    if x.type != node.output.type:
        return None
    if exponent == 2:
        return rw.binary("mul", x, x)
    if exponent == 3:
        return rw.binary("mul", rw.binary("mul", x, x), x)
    if exponent == 0.5:
        return rw.unary("sqrt", x)
    if exponent == -1:
        return rw.unary("reciprocal", x)
    if exponent == -0.5:
        return rw.unary("rsqrt", x)
    return None


def _bound(rw: Rewriter, node: Node) -> Value | None:
    """max(x, c) and min(x, c)."""
    for x, c in ((0, 1), (1, 0)):
        value, limit = operand(node, x), scalar(operand(node, c))
        if limit is None or value.type != node.output.type or math.isnan(limit):
            continue
        if is_binary(node, "min"):
            return rw.op(ops.Clip(-math.inf, limit), value)
        if limit == 0:
            return rw.unary("relu", value)
        return rw.op(ops.Clip(limit, math.inf), value)
    return None


_BINARY = {
    "sub": _subtract,
    "div": _divide,
    "pow": _power,
    "max": _bound,
    "min": _bound,
}


def _limits(node: Node | None) -> tuple[float, float] | None:
    """Limits of a clip or relu."""
    if node is None:
        return None
    if isinstance(node.op, ops.Clip):
        return node.op.min, node.op.max
    return (0.0, math.inf) if node.op == ops.Unary("relu") else None


def _clip_of_clip(rw: Rewriter, node: Node) -> Value | None:
    outer = _limits(node)
    if outer is None:
        return None
    x = operand(node, 0)
    if isinstance(node.op, ops.Clip) and outer == (0.0, math.inf) and is_f32(x):
        return rw.unary("relu", x)
    inner = _limits(made_by(x, ops.Clip) or made_by_unary(x, "relu"))
    if inner is None or x.producer is None:
        return None
    low = min(max(inner[0], outer[0]), outer[1])
    high = min(max(inner[1], outer[0]), outer[1])
    return rw.op(ops.Clip(low, high), operand(x.producer, 0))
