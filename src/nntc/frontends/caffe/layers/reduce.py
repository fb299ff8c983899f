"""Sums and maxima over axes."""

from __future__ import annotations

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends.caffe.call import Call, reads
from nntc.ir import ops
from nntc.ir.graph import Value

_OPERATIONS = {"SUM": "sum", "ASUM": "l1", "SUMSQ": "sum_square", "MEAN": "mean"}


@reads("Reduction", param="reduction_param", becomes="Reduce, Mul")
def reduction(c: Call) -> Value:
    """Over all axes from one on."""
    x = c.x()
    rank = len(x.shape)
    axis = c.axis("axis", 0, rank)
    fn = _OPERATIONS[c.choice("operation", ("", *_OPERATIONS), "SUM")]
    y = c.b.reduce(fn, x, tuple(range(axis, rank)), keepdims=False)
    return c.b.scale(y, c.param.number("coeff", 1.0))


@reads("ArgMax", param="argmax_param", becomes="ArgReduce or TopK; indices as floats")
def arg_max(c: Call) -> Value:
    x = c.x()
    rank = len(x.shape)
    k = c.positive("top_k", 1)
    with_value = c.param.flag("out_max_val")
    has_axis = "axis" in c.param
    if has_axis:
        axis = c.axis("axis", 0, rank)
    else:
        # Over all of a picture, in a shape of three axes.
        axis, x = 1, c.b.reshape(x, (x.shape[0], x.type.size // x.shape[0]))
    if k > x.shape[axis]:
        raise ModelError(f"top_k {k} of {x.shape[axis]} elements")
    if k == 1:
        index = c.b.op(ops.ArgReduce("max", axis, True), x)
        value = c.b.reduce("max", x, (axis,)) if with_value else None
    else:
        value, index = c.b.multi(ops.TopK(k, axis), x)
    index = c.b.cast(index, DType.F32)
    if has_axis:
        return value if with_value and value is not None else index
    index = c.b.unsqueeze(index, 1)
    if not with_value or value is None:
        return index
    return c.b.concat([index, c.b.unsqueeze(value, 1)], 1)
