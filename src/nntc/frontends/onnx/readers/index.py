"""Operators that pick, place, sort and sum along axes."""

from __future__ import annotations

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends.onnx.call import Call, front_axes, front_axis, reads
from nntc.ir import ops
from nntc.ir.graph import Value


def _index(c: Call, position: int) -> Value:
    """Indices in a type the operators take."""
    index = c.x(position)
    return index if index.dtype in (DType.I32, DType.I64) else c.b.cast(index, DType.I64)


@reads("Gather")
def gather(c: Call) -> Value:
    x, index = c.x(), _index(c, 1)
    axis = c.axis("axis", 0, len(x.shape))
    if index.data is not None:
        positions = np.where(index.data < 0, index.data + x.shape[axis], index.data)
        if ((positions < 0) | (positions >= x.shape[axis])).any():
            raise ModelError(f"an index is outside axis {axis} of {list(x.shape)}")
        # One element or a run of neighbours is a slice.
        flat = positions.reshape(-1)
        if x.data is None and flat.size and (np.diff(flat) == 1).all():
            part = c.b.slice(x, axis, int(flat[0]), int(flat[-1]) + 1)
            return c.b.reshape(part, (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))
        index = c.b.const(positions)
    return c.b.gather(x, index, axis)


@reads("GatherElements")
def gather_elements(c: Call) -> Value:
    x = c.x()
    return c.b.op(ops.GatherElements(c.axis("axis", 0, len(x.shape))), x, _index(c, 1))


@reads("GatherND")
def gather_nd(c: Call) -> Value:
    return c.b.op(ops.GatherND(c.i("batch_dims", 0)), c.x(), _index(c, 1))


_REDUCTIONS = ("none", "add", "mul", "max", "min")


@reads("Scatter", "ScatterElements")
def scatter_elements(c: Call) -> Value:
    x = c.x()
    op = ops.ScatterElements(
        c.axis("axis", 0, len(x.shape)), c.choice("reduction", "none", _REDUCTIONS)
    )
    return c.b.op(op, x, _index(c, 1), c.x(2))


@reads("ScatterND")
def scatter_nd(c: Call) -> Value:
    op = ops.ScatterND(c.choice("reduction", "none", _REDUCTIONS))
    return c.b.op(op, c.x(), _index(c, 1), c.x(2))


@reads("TensorScatter")
def tensor_scatter(c: Call) -> Value:
    """Write a block of rows into a cache, from a position per batch on."""
    cache, update = c.x(0), c.x(1)
    rank = len(cache.shape)
    axis = c.axis("axis", -2, rank)
    if axis == 0 or len(update.shape) != rank:
        raise ModelError("the axis must not be the batch, and the update needs the cache's rank")
    size, steps = cache.shape[axis], update.shape[axis]
    start = _index(c, 2) if c.opt(2) is not None else c.b.const(np.zeros(cache.shape[0], np.int64))
    ones = (1,) * (rank - axis - 1)
    offset = np.arange(steps).reshape(steps, *ones)
    first = c.b.reshape(c.b.cast(start, DType.I64), (cache.shape[0], *(1,) * (rank - 1)))
    index = c.b.add(first, c.b.const(offset))
    if c.choice("mode", "linear", ("linear", "circular")) == "circular":
        index = c.b.binary("mod", index, c.b.const(np.int64(size)))
    return c.b.op(ops.ScatterElements(axis), cache, c.b.expand(index, update.shape), update)


@reads("Trilu")
def trilu(c: Call) -> Value:
    x = c.x()
    k = c.const_int(1, "the diagonal") if c.opt(1) is not None else 0
    k = max(-(1 << 31), min(k, 1 << 31))
    return c.b.op(ops.Trilu(c.flag("upper", True), k), x)


@reads("ReverseSequence")
def reverse_sequence(c: Call) -> Value:
    op = ops.ReverseSequence(c.i("batch_axis", 1), c.i("time_axis", 0))
    return c.b.op(op, c.x(), _index(c, 1))


@reads("TopK")
def top_k(c: Call) -> list[Value]:
    x = c.x()
    k = c.i("k", 0) if c.since < 10 else c.const_int(1, "k")
    axis = c.axis("axis", -1, len(x.shape))
    return c.b.multi(ops.TopK(k, axis, c.flag("largest", True), c.flag("sorted", True)), x)


@reads("CumSum")
def cum_sum(c: Call) -> Value:
    x = c.x()
    axis = front_axis(c.const_int(1, "the axis"), len(x.shape))
    return c.b.op(ops.CumSum(axis, c.flag("exclusive"), c.flag("reverse")), x)


@reads("CumProd")
def cum_prod(c: Call) -> Value:
    """Products over ever longer runs: each step doubles the run, shifting in ones."""
    x = c.x()
    axis = front_axis(c.const_int(1, "the axis"), len(x.shape))
    size, reverse = x.shape[axis], c.flag("reverse")

    def shift(value: Value, by: int) -> Value:
        by = min(by, size)
        ones = list(value.shape)
        ones[axis] = by
        fill = c.b.full(ones, 1, value.dtype)
        if reverse:
            return c.b.concat([c.b.slice(value, axis, by, size), fill], axis)
        return c.b.concat([fill, c.b.slice(value, axis, 0, size - by)], axis)

    run = 1
    while run < size:
        x = c.b.mul(x, shift(x, run))
        run *= 2
    return shift(x, 1) if c.flag("exclusive") else x


# -- reductions ---------------------------------------------------------------------------------

_REDUCE = {
    "ReduceSum": ("sum", 13),
    "ReduceMean": ("mean", 18),
    "ReduceMax": ("max", 18),
    "ReduceMin": ("min", 18),
    "ReduceProd": ("prod", 18),
    "ReduceL1": ("l1", 18),
    "ReduceL2": ("l2", 18),
    "ReduceLogSum": ("log_sum", 18),
    "ReduceLogSumExp": ("log_sum_exp", 18),
    "ReduceSumSquare": ("sum_square", 18),
}


@reads(*_REDUCE)
def reduce(c: Call) -> Value:
    """The axes became an operand in the version that the table names."""
    fn, operand_since = _REDUCE[c.op]
    x = c.x()
    rank = len(x.shape)
    axes = c.opt_ints(1, "the axes") if c.since >= operand_since else c.ints("axes")
    if not axes:
        if c.flag("noop_with_empty_axes"):
            return c.b.reduce(fn, x, (), True) if fn in _CHANGES_ONE else x
        axes = range(rank)
    return c.b.reduce(fn, x, front_axes(axes, rank), c.flag("keepdims", True))


# Over single elements these still do something.
_CHANGES_ONE = ("l1", "l2", "log_sum", "sum_square")


@reads("ArgMax", "ArgMin")
def arg_reduce(c: Call) -> Value:
    x = c.x()
    op = ops.ArgReduce(
        "max" if c.op == "ArgMax" else "min",
        c.axis("axis", 0, len(x.shape)),
        c.flag("keepdims", True),
        c.flag("select_last_index"),
    )
    return c.b.op(op, x)
