"""Normalisations and the outputs of classifiers."""

from __future__ import annotations

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends.errors import RefusedError
from nntc.frontends.mxnet.call import Call, reads
from nntc.ir import ops
from nntc.ir.graph import Value

OUTPUTS = (
    "SoftmaxOutput",
    "Softmax",
    "LinearRegressionOutput",
    "LogisticRegressionOutput",
    "MAERegressionOutput",
    "SVMOutput",
)


@reads("BatchNorm", "BatchNorm_v1", "CuDNNBatchNorm", "SyncBatchNorm", becomes="BatchNorm")
def batch_norm(c: Call) -> Value:
    """With fix_gamma, the default, the factors are 1 whatever the file says."""
    x = c.x()
    rank = len(x.shape)
    axis = c.axis(c.integer("axis", 1), rank) if rank > 1 else 0
    if axis != 1:
        raise RefusedError(f"axis={axis}")
    channels = x.shape[1]
    scale, bias, mean, variance = (
        c.vector(i, channels, what)
        for i, what in ((1, "gamma"), (2, "beta"), (3, "moving_mean"), (4, "moving_var"))
    )
    if c.flag("fix_gamma", True):
        scale = c.b.const(np.ones(channels, np.float32))
    op = ops.BatchNorm(c.number("eps", 1e-3))
    return c.b.op(op, x, scale, bias, mean, variance)


@reads("InstanceNorm", becomes="InstanceNorm")
def instance_norm(c: Call) -> Value:
    x = c.x()
    if len(x.shape) < 3:
        raise ModelError(f"the operand has shape {list(x.shape)}, rank 3 is needed")
    parts = [c.vector(i, x.shape[1], w) for i, w in ((1, "gamma"), (2, "beta"))]
    return c.b.op(ops.InstanceNorm(c.number("eps", 1e-3)), x, *parts)


@reads("LayerNorm", becomes="LayerNorm")
def layer_norm(c: Call) -> Value:
    x = c.x()
    rank = len(x.shape)
    if c.axis(c.integer("axis", -1), rank) != rank - 1:
        raise RefusedError(f"axis={c.integer('axis', -1)}: only the last axis")
    parts = [c.vector(i, x.shape[-1], w) for i, w in ((1, "gamma"), (2, "beta"))]
    return c.b.op(ops.LayerNorm(rank - 1, c.number("eps", 1e-5)), x, *parts)


@reads("LRN", becomes="LRN")
def lrn(c: Call) -> Value:
    size = c.integer("nsize", 5, 1)
    if size % 2 == 0:
        raise ModelError(f"nsize={size}, an odd number is needed")
    alpha, beta = c.number("alpha", 1e-4), c.number("beta", 0.75)
    return c.b.op(ops.LRN(size, alpha, beta, c.number("knorm", 2.0)), c.x())


@reads("L2Normalization", becomes="x / sqrt(sum of squares + eps)")
def l2_normalization(c: Call) -> Value:
    x = c.x()
    rank = len(x.shape)
    if rank < 2:
        raise ModelError(f"the operand has shape {list(x.shape)}, rank 2 is needed")
    mode = c.choice("mode", ("instance", "channel", "spatial"))
    first, end = {"instance": (1, rank), "channel": (1, 2), "spatial": (2, rank)}[mode]
    total = c.b.reduce("sum", c.b.mul(x, x), tuple(range(first, end)))
    norm = c.b.unary("sqrt", c.b.add(total, c.b.like(c.number("eps", 1e-10), x)))
    return c.b.div(x, norm)


@reads("SoftmaxOutput", "Softmax", becomes="Softmax")
def softmax_output(c: Call) -> Value:
    """Over the last axis; with multi_output over channels."""
    x = c.x()
    return c.b.op(ops.Softmax(1 if c.flag("multi_output") else len(x.shape) - 1), x)


@reads("SoftmaxActivation", becomes="Softmax")
def softmax_activation(c: Call) -> Value:
    """Over the last axis, whatever MXNet's own page says; in mode channel over channels."""
    x = c.x()
    is_channel = c.choice("mode", ("instance", "channel")) == "channel"
    return c.b.op(ops.Softmax(1 if is_channel else len(x.shape) - 1), x)


@reads("softmax", "log_softmax", becomes="Softmax, LogSoftmax")
def softmax(c: Call) -> Value:
    if c.flag("use_length"):
        raise RefusedError("use_length: as many elements as an operand says")
    x = c.b.scale(c.x(), 1 / (c.number("temperature", 1.0) or 1.0))
    axis = c.axis(c.integer("axis", -1), len(x.shape))
    return c.b.op(ops.Softmax(axis) if c.op == "softmax" else ops.LogSoftmax(axis), x)


@reads("LogisticRegressionOutput", becomes="Sigmoid")
def logistic(c: Call) -> Value:
    return c.b.unary("sigmoid", c.x())


@reads(
    "LinearRegressionOutput",
    "MAERegressionOutput",
    "SVMOutput",
    "BlockGrad",
    "stop_gradient",
    "MakeLoss",
    "make_loss",
    "IdentityAttachKLSparseReg",
    "Dropout",
    "identity",
    "_copy",
    "_identity_with_attr_like_rhs",
    becomes="nothing",
)
def nothing(c: Call) -> Value:
    return c.x()
