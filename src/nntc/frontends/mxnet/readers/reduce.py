"""Sums, maxima and their places."""

from __future__ import annotations

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends.errors import RefusedError
from nntc.frontends.mxnet.call import Call, reads
from nntc.ir import ops
from nntc.ir.graph import Value

_REDUCTIONS = {
    "sum": "sum",
    "sum_axis": "sum",
    "mean": "mean",
    "max": "max",
    "max_axis": "max",
    "min": "min",
    "min_axis": "min",
    "prod": "prod",
}


def _reduce(c: Call) -> Value:
    x = c.x()
    return _over(c, x, _REDUCTIONS[c.op])


def _over(c: Call, x: Value, fn: str) -> Value:
    rank = len(x.shape)
    axes = sorted({c.axis(a, rank) for a in c.integers("axis")}) or list(range(rank))
    if c.flag("exclude"):
        axes = [a for a in range(rank) if a not in axes]
    y = c.b.reduce(fn, x, tuple(axes), c.flag("keepdims"))
    # MXNet has no scalars.
    return y if y.shape else c.b.reshape(y, (1,))


for _name, _fn in _REDUCTIONS.items():
    reads(_name, becomes=f"Reduce ({_fn})")(_reduce)


@reads("norm", becomes="Reduce (l1, l2)")
def norm(c: Call) -> Value:
    order = c.integer("ord", 2)
    if order not in (1, 2):
        raise ModelError(f"ord={order}, 1 or 2 is needed")
    return _over(c, c.x(), f"l{order}")


@reads("argmax", "argmin", "argmax_channel", becomes="ArgReduce; indices as floats")
def arg_extreme(c: Call) -> Value:
    x = c.x()
    if c.op == "argmax_channel":
        axis = 1
    elif not c.has("axis"):
        raise RefusedError("no axis: over all elements")
    else:
        axis = c.integer("axis", 0)
    axis = c.axis(axis, len(x.shape))
    op = ops.ArgReduce("min" if c.op == "argmin" else "max", axis, c.flag("keepdims"))
    return c.b.cast(c.b.op(op, x), DType.F32)


@reads("topk", becomes="TopK, on the CPU; indices as floats")
def top_k(c: Call) -> Value | list[Value]:
    x = c.x()
    axis = c.axis(c.integer("axis", -1), len(x.shape))
    kind = c.choice("ret_typ", ("indices", "value", "both", "mask"))
    if kind == "mask":
        raise RefusedError("ret_typ=mask")
    k = c.integer("k", 1) or x.shape[axis]
    op = ops.TopK(k, axis, not c.flag("is_ascend"))
    values, indices = c.b.multi(op, x)
    places = c.b.cast(indices, DType.F32)
    return {"indices": places, "value": values, "both": [values, places]}[kind]
