"""Normalisations, softmax and reductions as element-wise operators and plain reductions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nntc.backend.legalize.builder import Builder
from nntc.backend.legalize.registry import rewrites
from nntc.ir import ops
from nntc.ir.graph import Node, Value

ROW_LIMIT = 16384
"""Elements that one reduction takes within a lane; longer ones go in two stages."""


def reduce_axes(b: Builder, fn: str, x: Value, axes: Sequence[int]) -> Value:
    """sum, mean, max, min or prod, axes kept with size 1, of any size."""
    wanted = [a % len(x.shape) for a in axes if x.shape[a] != 1]
    if not wanted:
        return x
    count = math.prod(x.shape[a] for a in wanted)
    full = tuple(1 if a in wanted else size for a, size in enumerate(x.shape))
    contiguous = wanted == list(range(wanted[0], wanted[-1] + 1)) or all(
        a in wanted or x.shape[a] == 1 for a in range(wanted[0], wanted[-1] + 1)
    )
    if not contiguous:
        # One run of axes after the other: fewer local dimensions are needed at once.
        last = wanted[-1]
        return reduce_axes(b, fn, reduce_axes(b, fn, x, [last]), wanted[:-1])
    if count <= ROW_LIMIT:
        return b.reduce(fn, x, wanted)
    if fn == "mean":
        return b.mul(reduce_axes(b, "sum", x, axes), 1.0 / count)
    outer = math.prod(x.shape[: wanted[0]])
    inner = math.prod(x.shape[wanted[-1] + 1 :])
    flat = b.reshape(x, (outer, count, inner))
    while count > ROW_LIMIT:
        piece = next((p for p in range(ROW_LIMIT, 1, -1) if count % p == 0), 0)
        if piece < 64:
            piece = 4096
            extra = -count % piece
            neutral = {"sum": 0.0, "max": -math.inf, "min": math.inf, "prod": 1.0}[fn]
            flat = b.pad(flat, (0, 0, 0, 0, extra, 0), neutral)
            count += extra
        flat = b.reshape(flat, (outer * (count // piece), piece, inner))
        flat = b.reduce(fn, flat, [1])
        count //= piece
        flat = b.reshape(flat, (outer, count, inner))
    return b.reshape(b.reduce(fn, flat, [1]), full)


@rewrites(ops.Reduce)
def reduce(b: Builder, node: Node) -> Value:
    """Pairwise combination within a lane."""
    op = node.op
    assert isinstance(op, ops.Reduce)
    x = b.f32(node.operands[0])
    axes = op.axes
    match op.fn:
        case "sum" | "max" | "min" | "prod" | "mean":
            y = reduce_axes(b, op.fn, x, axes)
            if op.fn == "mean" and node.output.dtype.is_integer:
                y = b.unary("trunc", y)
        case "l1":
            y = reduce_axes(b, "sum", b.unary("abs", x), axes)
        case "l2":
            y = b.unary("sqrt", reduce_axes(b, "sum", b.mul(x, x), axes))
        case "sum_square":
            y = reduce_axes(b, "sum", b.mul(x, x), axes)
        case "log_sum":
            y = b.unary("log", reduce_axes(b, "sum", x, axes))
        case _:
            top = reduce_axes(b, "max", x, axes)
            total = reduce_axes(b, "sum", b.unary("exp", b.sub(x, top)), axes)
            y = b.add(b.unary("log", total), top)
    return b.reshape(y, node.output.shape)


@rewrites(ops.ArgReduce)
def arg_reduce(b: Builder, node: Node) -> Value:
    """The first (or last) index where the extreme value stands."""
    op = node.op
    assert isinstance(op, ops.ArgReduce)
    x = b.f32(node.operands[0])
    return b.reshape(
        arg_index(b, x, op.axis % len(x.shape), op.fn, op.select_last), node.output.shape
    )


def arg_index(b: Builder, x: Value, axis: int, fn: str, last: bool = False) -> Value:
    """Index of the extreme value along an axis that is kept with size 1."""
    size = x.shape[axis]
    index = np.arange(size, dtype=np.float32).reshape(
        [size if a == axis else 1 for a in range(len(x.shape))]
    )
    best = reduce_axes(b, fn, x, [axis])
    hit = b.compare("eq", x, best)
    numbers = b.constant(index, "index")
    if last:
        return reduce_axes(b, "max", b.select(hit, numbers, -1.0), [axis])
    return reduce_axes(b, "min", b.select(hit, numbers, float(size)), [axis])


@rewrites(ops.Softmax)
def softmax(b: Builder, node: Node) -> Value:
    """exp(x - max) times the reciprocal of its sum."""
    x = b.f32(node.operands[0])
    axis = node.op.axis % len(x.shape)  # type: ignore[attr-defined]
    powers = b.unary("exp", b.sub(x, reduce_axes(b, "max", x, [axis])))
    return b.mul(powers, b.div(1.0, reduce_axes(b, "sum", powers, [axis])))


@rewrites(ops.LogSoftmax)
def log_softmax(b: Builder, node: Node) -> Value:
    """x - max - log(sum(exp(x - max)))."""
    x = b.f32(node.operands[0])
    axis = node.op.axis % len(x.shape)  # type: ignore[attr-defined]
    shifted = b.sub(x, reduce_axes(b, "max", x, [axis]))
    total = reduce_axes(b, "sum", b.unary("exp", shifted), [axis])
    return b.sub(shifted, b.unary("log", total))


@rewrites(ops.Hardmax)
def hardmax(b: Builder, node: Node) -> Value:
    """1 at the first position of the maximum."""
    x = b.f32(node.operands[0])
    axis = node.op.axis % len(x.shape)  # type: ignore[attr-defined]
    first = arg_index(b, x, axis, "max")
    index = np.arange(x.shape[axis], dtype=np.float32).reshape(
        [x.shape[axis] if a == axis else 1 for a in range(len(x.shape))]
    )
    return b.compare("eq", b.constant(index, "index"), first)


def _normalise(b: Builder, x: Value, axes: Sequence[int], epsilon: float) -> Value:
    """(x - mean) / sqrt(variance + epsilon)."""
    centred = b.sub(x, reduce_axes(b, "mean", x, axes))
    variance = reduce_axes(b, "mean", b.mul(centred, centred), axes)
    return b.mul(centred, b.unary("rsqrt", b.add(variance, epsilon)))


def _channelwise(b: Builder, value: Value, rank: int) -> Value:
    """A vector per channel as [C, 1, ...] that broadcasts over axis 1 of a rank-*rank* tensor."""
    return b.reshape(b.f32(value), (value.shape[0], *(1,) * (rank - 2)))


@rewrites(ops.LayerNorm)
def layer_norm(b: Builder, node: Node) -> Value:
    """Mean, variance and reciprocal square root within a lane."""
    op = node.op
    assert isinstance(op, ops.LayerNorm)
    x = b.f32(node.operands[0])
    rank = len(x.shape)
    y = _normalise(b, x, range(op.axis % rank, rank), op.epsilon)
    return _affine(b, node, y)


def _affine(b: Builder, node: Node, y: Value) -> Value:
    for fn, value in zip(("mul", "add"), node.inputs[1:3], strict=False):
        if value is not None:
            y = b.binary(fn, y, b.f32(value))
    return y


@rewrites(ops.RMSNorm)
def rms_norm(b: Builder, node: Node) -> Value:
    """Mean square and reciprocal square root within a lane."""
    op = node.op
    assert isinstance(op, ops.RMSNorm)
    x = b.f32(node.operands[0])
    rank = len(x.shape)
    square = reduce_axes(b, "mean", b.mul(x, x), range(op.axis % rank, rank))
    return _affine(b, node, b.mul(x, b.unary("rsqrt", b.add(square, op.epsilon))))


@rewrites(ops.InstanceNorm)
def instance_norm(b: Builder, node: Node) -> Value:
    """Mean and variance of every image and channel."""
    op = node.op
    assert isinstance(op, ops.InstanceNorm)
    x = b.f32(node.operands[0])
    rank = len(x.shape)
    y = _normalise(b, x, range(2, rank), op.epsilon)
    y = b.mul(y, _channelwise(b, node.operands[1], rank))
    return b.add(y, _channelwise(b, node.operands[2], rank))


@rewrites(ops.GroupNorm)
def group_norm(b: Builder, node: Node) -> Value:
    """Mean and variance of groups of channels."""
    op = node.op
    assert isinstance(op, ops.GroupNorm)
    x = b.f32(node.operands[0])
    n, c = x.shape[:2]
    grouped = b.reshape(x, (n, op.groups, math.prod(x.shape[2:]) * (c // op.groups)))
    y = b.reshape(_normalise(b, grouped, [2], op.epsilon), x.shape)
    y = b.mul(y, _channelwise(b, node.operands[1], len(x.shape)))
    return b.add(y, _channelwise(b, node.operands[2], len(x.shape)))


@rewrites(ops.BatchNorm)
def batch_norm(b: Builder, node: Node) -> Value:
    """A factor and a summand per channel."""
    op = node.op
    assert isinstance(op, ops.BatchNorm)
    x = b.f32(node.operands[0])
    rank = len(x.shape)
    data = [v.data for v in node.operands[1:]]
    if all(d is not None for d in data):
        scale, shift, mean, variance = (np.asarray(d, np.float64) for d in data)
        factor = scale / np.sqrt(variance + op.epsilon)
        shape = (len(factor), *(1,) * (rank - 2))
        y = b.mul(x, b.constant(factor.reshape(shape), f"{node.name}.scale"))
        rest = (shift - mean * factor).reshape(shape)
        return b.add(y, b.constant(rest, f"{node.name}.bias"))
    s, t, m, v = (_channelwise(b, value, rank) for value in node.operands[1:])
    factor = b.mul(s, b.unary("rsqrt", b.add(v, op.epsilon)))
    return b.add(b.mul(b.sub(x, m), factor), t)


@rewrites(ops.LpNorm)
def lp_norm(b: Builder, node: Node) -> Value:
    """Division by the norm; a vector of zeros stays."""
    op = node.op
    assert isinstance(op, ops.LpNorm)
    x = b.f32(node.operands[0])
    if op.p == 1:
        norm = reduce_axes(b, "sum", b.unary("abs", x), [op.axis])
    else:
        norm = b.unary("sqrt", reduce_axes(b, "sum", b.mul(x, x), [op.axis]))
    # 0/0 is defined as 0 here: an all-zero vector stays zero.
    safe = b.select(b.compare("eq", norm, 0.0), 1.0, norm)
    return b.div(x, safe)


@rewrites(ops.LRN)
def lrn(b: Builder, node: Node) -> Value:
    """The sum over neighbouring channels is a pooling along them."""
    op = node.op
    assert isinstance(op, ops.LRN)
    x = b.f32(node.operands[0])
    n, c = x.shape[:2]
    rest = math.prod(x.shape[2:])
    square = b.reshape(b.mul(x, x), (n, 1, c, rest))
    before = (op.size - 1) // 2
    pads = (before, 0, op.size - 1 - before, 0)
    pool = ops.AveragePool((op.size, 1), (1, 1), pads, (1, 1), False, True)
    mean = b.reshape(b(pool, square), x.shape)
    power = b.binary("pow", b.add(b.mul(mean, op.alpha), op.bias), -op.beta)
    return b.mul(x, power)


@rewrites(ops.CumSum)
def cum_sum(b: Builder, node: Node) -> Value:
    """A product with a triangular matrix of ones."""
    op = node.op
    assert isinstance(op, ops.CumSum)
    x = b.f32(node.operands[0])
    rank, axis = len(x.shape), op.axis % len(x.shape)
    size = x.shape[axis]
    ones = np.triu(np.ones((size, size), np.float32), 1 if op.exclusive else 0)
    if op.reverse:
        ones = ones.T
    perm = [a for a in range(rank) if a != axis] + [axis]
    turned = b.transpose(x, perm)
    flat = b.reshape(turned, (math.prod(turned.shape[:-1]), size))
    y = b.reshape(b.matmul(flat, b.constant(ones, "ones")), turned.shape)
    return b.transpose(y, list(np.argsort(perm)))
