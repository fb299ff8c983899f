"""Normalisations."""

from __future__ import annotations

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends.caffe.call import Call, reads
from nntc.frontends.caffe.layers.pool import pool
from nntc.frontends.errors import RefusedError
from nntc.ir import ops
from nntc.ir.graph import Value


@reads(
    "BatchNorm",
    param="batch_norm_param",
    becomes="BatchNorm",
    limits="use_global_stats, as in the test phase",
)
def batch_norm(c: Call) -> Value:
    """Means and variances are sums over the batches of training, the third blob their number."""
    x = c.x()
    if len(x.shape) < 2:
        raise ModelError(f"the bottom has shape {list(x.shape)}, rank 2 is needed")
    if not c.param.flag("use_global_stats", True):
        raise RefusedError("use_global_stats false: statistics of the batch")
    channels = x.shape[1:2]
    mean, variance = (c.blob(i, channels, w) for i, w in enumerate(("means", "variances")))
    count = float(c.blob(2, (1,), "number of batches")[0])
    factor = np.float32(0 if count == 0 else 1 / count)
    op = ops.BatchNorm(c.param.number("eps", 1e-5))
    ones = np.ones(channels, np.float32)
    parameters = (ones, 0 * ones, mean * factor, variance * factor)
    return c.b.op(op, x, *map(c.b.const, parameters))


@reads(
    "LRN",
    param="lrn_param",
    becomes="LRN; within channels AveragePool, Pow, Mul",
    limits="odd local_size",
)
def lrn(c: Call) -> Value:
    x = c.picture()
    size = c.positive("local_size", 5)
    if size % 2 == 0:
        raise ModelError(f"local_size is {size}, an odd number is needed")
    alpha, beta = c.param.number("alpha", 1.0), c.param.number("beta", 0.75)
    constant = c.param.number("k", 1.0)
    if c.choice("norm_region", ("ACROSS_CHANNELS", "WITHIN_CHANNEL")) == "ACROSS_CHANNELS":
        return c.b.op(ops.LRN(size, alpha, beta, constant), x)
    # Here Caffe adds 1 whatever k says.
    half = size // 2
    mean = pool(c, c.b.mul(x, x), "AVE", (size, size), (1, 1), (half, half), True)
    norm = c.b.add(c.b.scale(mean, alpha), c.b.like(1.0, x))
    return c.b.mul(x, c.b.binary("pow", norm, c.b.like(-beta, x)))


@reads("Softmax", param="softmax_param", becomes="Softmax")
def softmax(c: Call) -> Value:
    return c.b.op(ops.Softmax(c.axis("axis", 1, len(c.x().shape))), c.x())


@reads("LogSoftmax", param="softmax_param", becomes="LogSoftmax")
def log_softmax(c: Call) -> Value:
    return c.b.op(ops.LogSoftmax(c.axis("axis", 1, len(c.x().shape))), c.x())


@reads(
    "Normalize",
    "NormalizeBBox",
    param="norm_param",
    becomes="x / sqrt(sum of squares + eps), Mul",
)
def normalize(c: Call) -> Value:
    """Over the channels of each pixel or, across_spatial, over all of a picture."""
    x = c.x()
    if len(x.shape) < 2:
        raise ModelError(f"the bottom has shape {list(x.shape)}, rank 2 is needed")
    axes = tuple(range(1, len(x.shape))) if c.param.flag("across_spatial", True) else (1,)
    total = c.b.reduce("sum", c.b.mul(x, x), axes)
    eps = c.param.number("eps", 1e-10)
    norm = c.b.unary("sqrt", c.b.add(total, c.b.like(eps, x)))
    shared = c.param.flag("channel_shared", True)
    factor = c.blob(0, (1,) if shared else x.shape[1:2], "factors")
    return c.b.mul(c.b.div(x, norm), c.spread(factor, 1, len(x.shape)))


@reads("MVN", param="mvn_param", becomes="less the mean, by the deviation + eps")
def mean_variance(c: Call) -> Value:
    x = c.x()
    if len(x.shape) < 3:
        raise ModelError(f"the bottom has shape {list(x.shape)}, rank 3 is needed")
    across = c.param.flag("across_channels")
    axes = tuple(range(1 if across else 2, len(x.shape)))
    centred = c.b.sub(x, c.b.reduce("mean", x, axes))
    if not c.param.flag("normalize_variance", True):
        return centred
    variance = c.b.reduce("mean", c.b.mul(centred, centred), axes)
    deviation = c.b.unary("sqrt", variance)
    return c.b.div(centred, c.b.add(deviation, c.b.like(c.param.number("eps", 1e-9), x)))
