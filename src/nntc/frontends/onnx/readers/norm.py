"""Normalisations and softmaxes."""

from __future__ import annotations

import math

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends.onnx.call import Call, RefusedError, reads
from nntc.ir import ops
from nntc.ir.graph import Op, Value


@reads("BatchNormalization")
def batch_norm(c: Call) -> list[Value | None]:
    x, scale, bias, mean, var = (c.x(i) for i in range(5))
    epsilon = c.f("epsilon", 1e-5)
    if c.since < 9 and not c.flag("spatial", True):
        # One set of statistics for every element instead of every channel.
        factor = c.b.unary("rsqrt", c.b.add(var, c.b.like(epsilon, var)))
        centred = c.b.mul(c.b.sub(x, mean), factor)
        return [c.b.add(c.b.mul(centred, scale), bias)]
    if c.flag("training_mode"):
        return _batch_statistics(c, epsilon)
    if len(x.shape) < 2:
        raise ModelError(f"the operand has rank {len(x.shape)}, at least 2 is needed")
    return [c.b.op(ops.BatchNorm(epsilon), x, scale, bias, mean, var)]


def _batch_statistics(c: Call, epsilon: float) -> list[Value | None]:
    """Training mode: statistics of the batch itself, and the running ones updated."""
    x, scale, bias, mean, var = (c.x(i) for i in range(5))
    axes = [i for i in range(len(x.shape)) if i != 1]
    column = (x.shape[1], *(1,) * (len(x.shape) - 2))
    average = c.b.reduce("mean", x, axes)
    centred = c.b.sub(x, average)
    variance = c.b.reduce("mean", c.b.mul(centred, centred), axes)
    factor = c.b.unary("rsqrt", c.b.add(variance, c.b.like(epsilon, x)))
    y = c.b.mul(c.b.mul(centred, factor), c.b.reshape(scale, column))
    y = c.b.add(y, c.b.reshape(bias, column))
    momentum = c.f("momentum", 0.9)
    running = []
    for old, new in ((mean, average), (var, variance)):
        part = c.b.scale(c.b.reshape(new, (x.shape[1],)), 1 - momentum)
        running.append(c.b.add(c.b.scale(old, momentum), part))
    return [y, *running]


@reads("InstanceNormalization")
def instance_norm(c: Call) -> Value:
    return c.b.op(ops.InstanceNorm(c.f("epsilon", 1e-5)), c.x(0), c.x(1), c.x(2))


@reads("GroupNormalization")
def group_norm(c: Call) -> Value:
    """Up to version 18 scale and bias have one entry per group."""
    x, scale, bias = c.x(0), c.x(1), c.x(2)
    groups = c.i("num_groups", 0)
    if len(x.shape) < 2 or groups < 1 or x.shape[1] % groups:
        raise ModelError(f"the operand {list(x.shape)} does not split in {groups} groups")
    if c.since < 21:
        index = np.repeat(np.arange(groups), x.shape[1] // groups)
        scale, bias = (c.b.gather(v, index, 0) for v in (scale, bias))
    return c.b.op(ops.GroupNorm(groups, c.f("epsilon", 1e-5)), x, scale, bias)


def _stash(c: Call) -> None:
    # The type of the statistics; here they are always at least float32.
    c.i("stash_type", 1)


@reads("LayerNormalization")
def layer_norm(c: Call) -> list[Value | None]:
    x, scale, bias = c.x(0), c.x(1), c.opt(2)
    _stash(c)
    axis, epsilon = c.axis("axis", -1, len(x.shape)), c.f("epsilon", 1e-5)
    shape = x.shape[axis:]
    results: list[Value | None] = []
    operands = [_to_shape(c, v, shape) for v in (scale, bias) if v is not None]
    if all(v is not None for v in operands):
        results.append(c.b.op(ops.LayerNorm(axis, epsilon), x, *operands))
    else:
        # Scale or bias differ along the other axes too.
        y = c.b.mul(c.b.op(ops.LayerNorm(axis, epsilon), x), scale)
        results.append(y if bias is None else c.b.add(y, bias))
    if c.wants(1) or c.wants(2):
        axes = range(axis, len(x.shape))
        mean = c.b.reduce("mean", x, axes)
        centred = c.b.sub(x, mean)
        variance = c.b.reduce("mean", c.b.mul(centred, centred), axes)
        results += [mean, c.b.unary("rsqrt", c.b.add(variance, c.b.like(epsilon, x)))]
    return results


def _to_shape(c: Call, v: Value, shape: tuple[int, ...]) -> Value | None:
    """A scale or bias in the normalised shape; None if it varies beyond it."""
    extra = len(v.shape) - len(shape)
    if extra > 0 and any(d != 1 for d in v.shape[:extra]):
        return None
    v = c.b.reshape(v, v.shape[max(extra, 0) :])
    return v if v.shape == shape else c.b.expand(v, shape)


@reads("RMSNormalization")
def rms_norm(c: Call) -> Value:
    x, scale = c.x(0), c.x(1)
    _stash(c)
    axis, epsilon = c.axis("axis", -1, len(x.shape)), c.f("epsilon", 1e-5)
    shape = x.shape[axis:]
    fitted = _to_shape(c, scale, shape)
    if fitted is not None:
        return c.b.op(ops.RMSNorm(axis, epsilon), x, fitted)
    ones = c.b.full(shape, 1, x.dtype)
    return c.b.mul(c.b.op(ops.RMSNorm(axis, epsilon), x, ones), scale)


@reads("MeanVarianceNormalization")
def mean_variance_norm(c: Call) -> Value:
    """(x - mean) / (standard deviation + 1e-9)."""
    x = c.x()
    axes = [a % len(x.shape) for a in c.ints("axes") or (0, 2, 3)]
    centred = c.b.sub(x, c.b.reduce("mean", x, axes))
    variance = c.b.reduce("mean", c.b.mul(centred, centred), axes)
    deviation = c.b.add(c.b.unary("sqrt", variance), c.b.like(1e-9, x))
    return c.b.div(centred, deviation)


@reads("LRN")
def lrn(c: Call) -> Value:
    op = ops.LRN(c.i("size", 0), c.f("alpha", 1e-4), c.f("beta", 0.75), c.f("bias", 1.0))
    return c.b.op(op, c.x())


@reads("LpNormalization")
def lp_norm(c: Call) -> Value:
    x = c.x()
    p = c.i("p", 2)
    if p not in (1, 2):
        raise RefusedError(f"norm p={p}; 1 and 2 are defined")
    return c.b.op(ops.LpNorm(p, c.axis("axis", -1, len(x.shape))), x)


_SOFTMAX = {"Softmax": ops.Softmax, "LogSoftmax": ops.LogSoftmax, "Hardmax": ops.Hardmax}


def _softmax(c: Call, x: Value, axis: int) -> Value:
    make: type[ops.Softmax] = _SOFTMAX[c.op]  # type: ignore[assignment]
    op: Op = make(axis)
    return c.b.op(op, x)


@reads(*_SOFTMAX)
def softmax_flat(c: Call) -> Value:
    """Before version 13 all axes from the given one on are taken together."""
    x = c.x()
    axis = c.axis("axis", 1, len(x.shape)) if x.shape else 0
    if axis == len(x.shape) - 1:
        return _softmax(c, x, axis)
    if all(d == 1 for d in x.shape[axis + 1 :]):
        return _softmax(c, x, axis)
    flat = c.b.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
    return c.b.reshape(_softmax(c, flat, 1), x.shape)


@reads(*_SOFTMAX, since=13)
def softmax(c: Call) -> Value:
    x = c.x()
    return _softmax(c, x, c.axis("axis", -1, len(x.shape)))
