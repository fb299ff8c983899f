"""Pooling."""

from __future__ import annotations

from nntc.core.errors import ModelError
from nntc.frontends.caffe.call import Call, reads
from nntc.frontends.caffe.layers.windows import kernel, sizes
from nntc.frontends.caffe.text import Message
from nntc.frontends.errors import RefusedError
from nntc.ir import ops
from nntc.ir.graph import Value

_METHODS = ("MAX", "AVE", "STOCHASTIC")


@reads(
    "Pooling",
    param="pooling_param",
    becomes="MaxPool, AveragePool (counting the padding); Reduce with global_pooling",
    limits="no STOCHASTIC, no mask as a second top",
)
def pooling(c: Call) -> Value:
    x = c.picture()
    method = c.choice("pool", _METHODS)
    if method == "STOCHASTIC":
        raise RefusedError("pool STOCHASTIC")
    c.refuse_top(1, "which element was the largest")
    if c.param.flag("global_pooling"):
        for name in ("stride", "stride_h", "stride_w", "pad", "pad_h", "pad_w"):
            c.param.texts(name)
        return c.b.reduce("max" if method == "MAX" else "mean", x, (2, 3))
    size = kernel(c.param, 2)
    strides, pads = sizes(c.param, "stride", 2, 1, 1), sizes(c.param, "pad", 2, 0, 0)
    return pool(c, x, method, size, strides, pads, _ceil(c.param))


def _ceil(param: Message) -> bool:
    """Whether a last window that is only partly inside counts; Caffe's default."""
    mode = param.text("round_mode", "CEIL")
    if mode not in ("CEIL", "FLOOR", "0", "1"):
        raise ModelError(f"round_mode is {mode}, not CEIL or FLOOR")
    return mode in ("CEIL", "0") and param.flag("ceil_mode", True)


def pool(
    c: Call,
    x: Value,
    method: str,
    size: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    ceil: bool,
) -> Value:
    """MaxPool or AveragePool with Caffe's sizes.

    Raises:
        RefusedError: windows that lie in the padding or outside.
    """
    if any(pad >= k for pad, k in zip(pads, size, strict=True)):
        raise RefusedError(f"pad {list(pads)} with a kernel of {list(size)}")
    if any(n + 2 * p < k for n, p, k in zip(x.shape[2:], pads, size, strict=True)):
        raise ModelError(f"the kernel {list(size)} is larger than the bottom {list(x.shape)}")
    for n, p, k, s in zip(x.shape[2:], pads, size, strides, strict=True):
        # Without padding Caffe keeps a last window that begins beyond the edge.
        if ceil and not any(pads) and -(-(n + 2 * p - k) // s) * s >= n:
            raise RefusedError(f"stride {list(strides)}: a window lies outside of the bottom")
    both = (*pads, *pads)
    if method == "MAX":
        return c.b.op(ops.MaxPool(size, strides, both, (1, 1), ceil), x)
    return c.b.op(ops.AveragePool(size, strides, both, (1, 1), ceil, True), x)


@reads(
    "SPP",
    param="spp_param",
    becomes="MaxPool or AveragePool at each level, Concat",
    limits="no STOCHASTIC",
)
def pyramid(c: Call) -> Value:
    """Pooling into 1, 4, 16 ... cells, whatever the picture's size."""
    x = c.picture()
    method = c.choice("pool", _METHODS)
    levels = c.positive("pyramid_height", 0)
    if method == "STOCHASTIC" or levels > 10:
        raise RefusedError(f"pool {method} at {levels} levels")
    rows: list[Value] = []
    for level in range(levels):
        bins = 1 << level
        size = tuple(-(-n // bins) for n in x.shape[2:])
        pads = tuple((k * bins - n + 1) // 2 for k, n in zip(size, x.shape[2:], strict=True))
        y = pool(c, x, method, size, size, pads, True)
        rows.append(c.b.reshape(y, (x.shape[0], y.type.size // x.shape[0])))
    return c.b.concat(rows, 1)
