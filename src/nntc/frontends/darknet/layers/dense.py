"""Layers over all of a vector, and normalisations."""

from __future__ import annotations

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends import limits
from nntc.frontends.darknet import activations
from nntc.frontends.darknet.call import Call, reads
from nntc.frontends.darknet.layers.conv import EPSILON
from nntc.frontends.errors import RefusedError
from nntc.ir import ops
from nntc.ir.graph import Value


@reads("connected", "conn", becomes="MatMul, BatchNorm, activation")
def connected(c: Call) -> Value:
    reason = "its weights are not in the file"
    c.refuse_flags({"dontload": reason, "dontloadscales": reason})
    outputs = c.integer("output", 1, 1)
    n = c.x.shape[0]
    inputs = c.x.type.size // n
    found = {"biases": c.take((outputs,), "biases")}
    if c.weights.transposed:
        weights = np.ascontiguousarray(c.take((inputs, outputs), "weights").T)
    else:
        weights = c.take((outputs, inputs), "weights")
    flat = c.b.reshape(c.x, (n, inputs))
    if c.flag("batch_normalize"):
        for name in ("scales", "mean", "variance"):
            found[name] = c.take((outputs,), f"batch normalisation's {name}")
        y = c.b.matmul(flat, c.b.const(weights), transpose_b=True)
        y = c.batch_norm(y, found, EPSILON)
    else:
        y = c.b.matmul(flat, c.b.const(weights), c.b.const(found["biases"]), transpose_b=True)
    y = activations.apply(c.b, c.text("activation", "logistic"), y)
    return c.b.reshape(y, (n, outputs, 1, 1))


@reads(
    "softmax",
    "soft",
    becomes="Softmax over all elements of a group; with spatial=1 over channels",
    limits="no tree of classes",
)
def softmax(c: Call) -> Value:
    if "tree" in c.section:
        raise RefusedError("tree=: a softmax over a tree of classes")
    groups = c.integer("groups", 1, 1)
    n, channels, height, width = c.x.shape
    x = c.b.scale(c.x, 1 / _nonzero(c, "temperature", 1.0))
    per_place = c.flag("spatial")
    members = channels if per_place else c.x.type.size // n
    if members % groups:
        raise ModelError(f"groups={groups} does not divide {members} elements")
    if groups == 1 and (per_place or height * width == 1):
        return c.b.op(ops.Softmax(1), x)
    if per_place:
        shape = (n, groups, channels // groups, height * width)
    else:
        shape = (n, groups, members // groups, 1)
    y = c.b.op(ops.Softmax(2), c.b.reshape(x, shape))
    return c.b.reshape(y, c.x.shape)


def _nonzero(c: Call, key: str, default: float) -> float:
    value = c.number(key, default)
    if value == 0:
        raise ModelError(f"{key}={c.text(key, '')} must not be 0")
    return value


@reads("batchnorm", becomes="BatchNorm", limits="the file has biases, as in newer versions")
def batchnorm(c: Call) -> Value:
    names = ("biases", "scales", "mean", "variance")
    found = {name: c.take((c.channels,), name) for name in names}
    return c.batch_norm(c.x, found, EPSILON)


@reads("normalization", "lrn", becomes="a product with a band of ones, Pow, Div")
def normalization(c: Call) -> Value:
    """Response normalisation across channels.

    Darknet slides the sum of squares along the channels but leaves one out when it starts; the
    matrix is what it computes.
    """
    size = c.integer("size", 5, 1)
    channels = c.channels
    limits.check_bytes((channels, channels), DType.F32, limits.CONSTANT_BYTES, "the window")
    window = np.zeros((channels, channels), np.float32)
    window[0, : min(size // 2, channels)] = 1
    for k in range(1, channels):
        window[k] = window[k - 1]
        leaving, entering = k - (size - 1) // 2 - 1, k + size // 2
        if leaving >= 0:
            window[k, leaving] -= 1
        if entering < channels:
            window[k, entering] += 1
    square = c.b.mul(c.x, c.x)
    kernel = c.b.const((window * c.number("alpha", 0.0001)).reshape(channels, channels, 1, 1))
    bias = c.b.const(np.full(channels, c.number("kappa", 1.0), np.float32))
    norm = c.b.op(ops.Conv((1, 1), (0,) * 4, (1, 1), 1), square, kernel, bias)
    return c.b.mul(c.x, c.b.binary("pow", norm, c.b.like(-c.number("beta", 0.75), norm)))


@reads("l2norm", becomes="LpNorm over channels")
def l2norm(c: Call) -> Value:
    return c.b.op(ops.LpNorm(2, 1), c.x)


@reads("activation", becomes="the activation")
def activation(c: Call) -> Value:
    return activations.apply(c.b, c.text("activation", "linear"), c.x)


@reads("logistic", becomes="Sigmoid")
def logistic(c: Call) -> Value:
    return c.b.unary("sigmoid", c.x)


@reads("implicit", becomes="a constant", limits="atoms=1")
def implicit(c: Call) -> Value:
    """Learned numbers, one for each channel."""
    if c.integer("atoms", 1) != 1:
        raise RefusedError(f"atoms={c.text('atoms', '')}")
    filters = c.integer("filters", 128, 1)
    return c.b.const(c.take((1, filters, 1, 1), "weights"))
