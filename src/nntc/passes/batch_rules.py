"""For every operator: where the axis of the samples goes, and which attributes hold its size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nntc.ir import ops
from nntc.ir.graph import Op
from nntc.passes.batch_step import ALL, Axis, Step

Placed = tuple[Op, Axis]
Rule = Callable[[Step, Any], Placed]


def place(step: Step) -> Placed:
    """The operator for the new batch, and where its results have the samples.

    Raises:
        UnsupportedError: it mixes samples, or no rule is known.
    """
    rule = _RULES.get(type(step.node.op))
    if rule is None:
        raise step.refuse("no rule says what it does with other samples")
    return rule(step, step.node.op)


def _same(step: Step, op: Op) -> Placed:
    """Every element by itself."""
    return op, step.only()


def _leading(step: Step, op: Op) -> Placed:
    """Works on each x[n] by itself."""
    return op, step.leading()


def _along(step: Step, op: Any) -> Placed:
    """Works along the one axis that the attribute names."""
    return op, step.apart(step.only(), op.axis)


def _broadcast(step: Step, op: Op) -> Placed:
    return op, step.aligned(range(len(step.inputs)), len(step.node.output.shape))


def _scaled(step: Step, op: Any) -> Placed:
    """Quantize and its like: numbers for the whole or for every index of an axis."""
    axis = step.only()
    for index in range(1, len(step.inputs)):
        if step.shape(index) and op.axis == axis.index:
            step.repeat(index, 0, axis.each)
    return op, axis


def _fix_sum(step: Step, op: ops.FixSum) -> Placed:
    axis = step.together((0, 2))
    for index in (1, 3, *range(4, len(step.inputs))):
        if step.axes[index] is not None:
            raise step.refuse("a factor depends on the samples")
        if step.shape(index) and op.axis == axis.index:
            step.repeat(index, 0, axis.each)
    return op, axis


def _fix_mul(step: Step, op: ops.FixMul) -> Placed:
    axis = step.aligned(range(2), len(step.node.output.shape))
    for index in range(2, len(step.inputs)):
        if step.shape(index) and op.axis == axis.index:
            step.repeat(index, 0, axis.each)
    return op, axis


def _norm(step: Step, op: Any) -> Placed:
    """Works on all axes from *axis* on."""
    axis = step.only()
    return op, step.apart(axis, *range(op.axis, len(step.shape(0))))


def _reduce(step: Step, op: ops.Reduce) -> Placed:
    axis = step.apart(step.only(), *op.axes)
    gone = 0 if op.keepdims else sum(a < axis.index for a in op.axes)
    return op, replace(axis, index=axis.index - gone)


def _arg_reduce(step: Step, op: ops.ArgReduce) -> Placed:
    axis = step.apart(step.only(), op.axis)
    gone = not op.keepdims and op.axis < axis.index
    return op, replace(axis, index=axis.index - gone)


def _matmul(step: Step, op: ops.MatMul) -> Placed:
    """Axes are counted from the last: 2 rows, 1 columns, more: stacked matrices."""
    ranks = [len(step.shape(i)) for i in (0, 1)]
    swapped = [op.transpose_a, op.transpose_b]
    ends: list[int] = []
    for index in (0, 1):
        axis = step.axes[index]
        end = 0 if axis is None else ranks[index] - axis.index
        ends.append(3 - end if end in (1, 2) and swapped[index] else end)
    rank = len(step.node.output.shape)
    vectors = (ranks[0] == 1) + (ranks[1] == 1)
    given = step.axes[0] or step.axes[1]
    if given is None:
        raise step.refuse("the bias alone depends on the samples")
    if ends[1] == 0 and ends[0] == 2:
        end = 2 - (ranks[1] == 1)
    elif ends[0] == 0 and ends[1] == 1 and ranks[1] > 1:
        end = 1
    elif max(ends) > 2 and set(ends) <= {0, max(ends)}:
        if step.axes[0] and step.axes[1] and step.axes[0].each != step.axes[1].each:
            raise step.refuse("its operands have the samples in different places")
        for index in (0, 1):
            if not ends[index]:
                step.broadcast(index, max(ends), given.each)
        end = max(ends) - vectors
    else:
        raise step.refuse("it adds up over the samples")
    if len(step.inputs) > 2 and step.inputs[2] is not None:
        bias = step.axes[2]
        if bias is None:
            step.broadcast(2, end, given.each)
        elif (len(step.shape(2)) - bias.index, bias.each) != (end, given.each):
            raise step.refuse("the bias has the samples in another place")
    return op, Axis(rank - end, given.each)


def _reshape(step: Step, op: ops.Reshape) -> Placed:
    """The samples stay where the same number of elements lies before them."""
    axis, shape = step.only(), step.shape(0)
    before = math.prod(shape[: axis.index])
    fitting = [
        index
        for index, size in enumerate(op.shape)
        if math.prod(op.shape[:index]) == before and size % step.old == 0
    ]
    if not fitting or 0 in shape:
        raise step.refuse(f"the samples of {list(shape)} are on no axis of {list(op.shape)}")
    # Of several axes of size 1 any would do here; the same place is what networks mean.
    index = min(fitting, key=lambda i: (op.shape[i] != step.old, i != axis.index, i))
    found = Axis(index, op.shape[index] // step.old)
    return ops.Reshape(_put(op.shape, index, step.size(found))), found


def _transpose(step: Step, op: ops.Transpose) -> Placed:
    axis = step.only()
    return op, replace(axis, index=op.perm.index(axis.index))


def _concat(step: Step, op: ops.Concat) -> Placed:
    return op, step.apart(step.together(range(len(step.inputs))), op.axis)


def _slice(step: Step, op: ops.Slice) -> Placed:
    axis = step.only()
    i, size = axis.index, step.shape(0)[axis.index]
    if (op.starts[i], op.ends[i], op.steps[i]) != (0, size, 1):
        raise step.refuse(f"it takes some of the samples, which are on axis {i}")
    return ops.Slice(op.starts, _put(op.ends, i, step.size(axis)), op.steps), axis


def _pad(step: Step, op: ops.Pad) -> Placed:
    axis, rank = step.only(), len(step.shape(0))
    if op.pads[axis.index] or op.pads[axis.index + rank]:
        raise step.refuse(f"it pads axis {axis.index}, on which the samples are")
    return op, axis


def _expand(step: Step, op: ops.Expand) -> Placed:
    axis, shape = step.only(), step.shape(0)
    index = axis.index + len(op.shape) - len(shape)
    if op.shape[index] != shape[axis.index]:
        raise step.refuse(f"it repeats along axis {index}, on which the samples are")
    moved = Axis(index, axis.each)
    return ops.Expand(_put(op.shape, index, step.size(moved))), moved


def _tile(step: Step, op: ops.Tile) -> Placed:
    axis = step.only()
    if op.repeats[axis.index] != 1:
        raise step.refuse(f"it repeats along axis {axis.index}, on which the samples are")
    return op, axis


def _resize(step: Step, op: ops.Resize) -> Placed:
    axis = step.only()
    i, size = axis.index, step.shape(0)[axis.index]
    if op.sizes[i] != size or op.scales[i] != 1 or op.coordinate == "tf_crop_and_resize":
        raise step.refuse(f"it resizes axis {i}, on which the samples are")
    return replace(op, sizes=_put(op.sizes, i, step.size(axis))), axis


def _gather(step: Step, op: ops.Gather) -> Placed:
    if step.axes[0] is None:
        axis = step.only(1)
        return op, replace(axis, index=op.axis + axis.index)
    axis = step.apart(step.only(), op.axis)
    more = len(step.shape(1)) - 1 if axis.index > op.axis else 0
    return op, replace(axis, index=axis.index + more)


def _by_element(step: Step, op: Any) -> Placed:
    """All operands have the samples on one axis, and indices are along another."""
    return op, step.apart(step.together(range(len(step.inputs))), op.axis)


def _gather_nd(step: Step, op: ops.GatherND) -> Placed:
    if step.axes[0] is None:
        return op, step.apart(step.only(1), len(step.shape(1)) - 1)
    axis = step.together((0, 1))
    if axis.index >= op.batch_dims:
        raise step.refuse("its indices may point to other samples")
    return op, axis


def _one_hot(step: Step, op: ops.OneHot) -> Placed:
    axis = step.only()
    return op, replace(axis, index=axis.index + (axis.index >= op.axis))


def _trilu(step: Step, op: ops.Trilu) -> Placed:
    rank = len(step.shape(0))
    return op, step.apart(step.only(), rank - 1, rank - 2)


def _reverse_sequence(step: Step, op: ops.ReverseSequence) -> Placed:
    axis = step.axes[0]
    if axis is None or axis.index != op.batch_axis:
        raise step.refuse("the samples are not on its batch_axis")
    if step.axes[1] is None:
        step.repeat(1, 0, axis.each)
    elif step.axes[1] != Axis(0, axis.each):
        raise step.refuse("its operands have the samples in different places")
    return op, axis


def _grid_sample(step: Step, op: ops.GridSample) -> Placed:
    axis = step.together((0, 1))
    if axis.index != 0:
        raise step.refuse(f"its operands have the samples on axis {axis.index}, not 0")
    return op, axis


def _found(step: Step, op: Op) -> Placed:
    """Rows of all samples, in the order of the samples, without gaps between them."""
    if any(step.axes[i] != Axis(0, 1) for i in (0, 1)) or any(step.axes[2:]):
        raise step.refuse("boxes and scores must have the samples on axis 0")
    return op, ALL


def _put(values: tuple[int, ...], index: int, value: int) -> tuple[int, ...]:
    return (*values[:index], value, *values[index + 1 :])


def _table() -> dict[type[Op], Rule]:
    same = (ops.Unary, ops.Cast, ops.Celu, ops.Clip, ops.Elu, ops.HardSigmoid, ops.IsInf)
    same += (ops.LeakyRelu, ops.Lut, ops.Selu, ops.Shrink, ops.Swish, ops.ThresholdedRelu)
    leading = (ops.Conv, ops.ConvTranspose, ops.FixConv, ops.FixConvTranspose, ops.AveragePool)
    leading += (ops.MaxPool, ops.LpPool, ops.BatchNorm, ops.InstanceNorm, ops.GroupNorm, ops.LRN)
    leading += (ops.DepthToSpace, ops.SpaceToDepth)
    along = (ops.Softmax, ops.LogSoftmax, ops.Hardmax, ops.LpNorm, ops.CumSum, ops.TopK)
    return {
        **dict.fromkeys(same, _same),
        **dict.fromkeys(leading, _leading),
        **dict.fromkeys(along, _along),
        **dict.fromkeys((ops.Binary, ops.Where, ops.PRelu), _broadcast),
        **dict.fromkeys((ops.Quantize, ops.Dequantize, ops.FixAffine), _scaled),
        **dict.fromkeys((ops.LayerNorm, ops.RMSNorm), _norm),
        **dict.fromkeys((ops.GatherElements, ops.ScatterElements), _by_element),
        **dict.fromkeys((ops.DetectionOutput, ops.NonMaxSuppression), _found),
        ops.FixSum: _fix_sum,
        ops.FixMul: _fix_mul,
        ops.Reduce: _reduce,
        ops.ArgReduce: _arg_reduce,
        ops.MatMul: _matmul,
        ops.Reshape: _reshape,
        ops.Transpose: _transpose,
        ops.Concat: _concat,
        ops.Slice: _slice,
        ops.Pad: _pad,
        ops.Expand: _expand,
        ops.Tile: _tile,
        ops.Resize: _resize,
        ops.Gather: _gather,
        ops.GatherND: _gather_nd,
        ops.OneHot: _one_hot,
        ops.Trilu: _trilu,
        ops.ReverseSequence: _reverse_sequence,
        ops.GridSample: _grid_sample,
    }


_RULES = _table()
