"""Operators that run on the host: as layers of the runtime's CPU library.

Where the TPU can do an operator with reasonable work, it does; see ``shapes``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nntc.backend.legalize.builder import Builder
from nntc.backend.legalize.registry import TABLE, rewrites
from nntc.backend.legalize.shapes import from_end, take
from nntc.backend.memory import memory_root
from nntc.backend.ops import CpuCall
from nntc.bmodel import cpu_ops
from nntc.bmodel.cpu_ops import CpuOp
from nntc.core.dtype import DType
from nntc.core.errors import UnsupportedError
from nntc.ir import ops
from nntc.ir.graph import Node, TensorType, Value

SCATTER_STEPS = 16
"""Updates along the axis up to which a scatter is a chain of selections on the TPU."""


def call(
    b: Builder,
    layer: CpuOp,
    param: cpu_ops.CpuParam,
    inputs: Sequence[Value],
    results: Sequence[TensorType],
) -> list[Value]:
    """Append a CPU layer; its inputs get memory of their own where they need it."""
    op = CpuCall(int(layer), param.pack(), tuple(results))
    return b.several(op, *(_own(b, v) for v in inputs))


def _own(b: Builder, value: Value) -> Value:
    """A value that a subnet can name: not the reshaped form of another subnet's tensor."""
    root = memory_root(value)
    if value is root or value.is_constant:
        return value
    if root.is_constant or root in b.graph.inputs or _is_call(root):
        return b(ops.Expand(value.shape), value)
    return value


def _is_call(value: Value) -> bool:
    return value.producer is not None and isinstance(value.producer.op, CpuCall)


def _ints(b: Builder, value: Value) -> Value:
    return b.i32(value)


@rewrites(ops.TopK, place="CPU")
def top_k(b: Builder, node: Node) -> list[Value]:
    """The layer TOPK; smallest values by negating twice."""
    op = node.op
    assert isinstance(op, ops.TopK)
    x = b.f32(node.operands[0])
    axis = op.axis % len(x.shape)
    if not op.largest:
        # The library's ascending layer is right for k = n only.
        x = b.unary("neg", x)
    param = cpu_ops.TopKParam(k=op.k, axis=axis, sorted=True)
    shape = node.output.shape
    values, indices = call(
        b,
        CpuOp.TOPK,
        param,
        [x],
        [TensorType(DType.F32, shape), TensorType(DType.I32, shape)],
    )
    return [values if op.largest else b.unary("neg", values), indices]


@rewrites(ops.NonMaxSuppression, place="CPU")
def non_max_suppression(b: Builder, node: Node) -> Value:
    """The layer knows corner boxes; centres and sizes are turned into corners first."""
    op = node.op
    assert isinstance(op, ops.NonMaxSuppression)
    boxes, scores = b.f32(node.operands[0]), b.f32(node.operands[1])
    if op.center_point_box:
        centre, size = b.slice(boxes, 2, 0, 2), b.slice(boxes, 2, 2, 4)
        half = b.mul(size, 0.5)
        low, high = b.sub(centre, half), b.add(centre, half)
        # x, y order becomes y, x; the overlap does not care, but the layer's order is kept.
        parts = [b.slice(v, 2, i, i + 1) for v in (low, high) for i in (1, 0)]
        boxes = b.concat(parts, 2)
    score = max(op.score, float(np.finfo(np.float32).min))
    limits = [
        b.graph.constant(np.array([op.max_output], np.int32), "max_output"),
        b.constant(np.array([op.iou]), "iou_threshold"),
        b.constant(np.array([score]), "score_threshold"),
    ]
    param = cpu_ops.OnnxNmsParam(0, op.max_output)
    result = TensorType(DType.I32, node.output.shape)
    return call(b, CpuOp.ONNX_NMS, param, [boxes, scores, *limits], [result])[0]


@rewrites(ops.GatherND, place="TPU for known indices, else CPU")
def gather_nd(b: Builder, node: Node) -> Value:
    """Known indices are copies; else the layer GATHERND_TF, batch dimensions as indices."""
    op = node.op
    assert isinstance(op, ops.GatherND)
    data, indices = node.operands
    x = b.any(data)
    if indices.data is not None and op.batch_dims == 0:
        depth = indices.shape[-1]
        sizes = data.shape[:depth]
        tuples = np.asarray(indices.data).reshape(-1, depth)
        tuples = np.where(tuples < 0, tuples + np.asarray(sizes), tuples)
        flat = np.asarray(np.ravel_multi_index(tuple(tuples.T), sizes))
        rows = b.reshape(x, (math.prod(sizes), *data.shape[depth:]))
        return b.reshape(take(b, rows, flat, 0), node.output.shape)
    wanted = _positions(b, indices, data.shape[op.batch_dims :][: indices.shape[-1]])
    batch = indices.shape[: op.batch_dims]
    if op.batch_dims:
        lead = np.indices(batch).reshape(op.batch_dims, *batch)
        lead = np.moveaxis(lead, 0, -1)
        middle = indices.shape[op.batch_dims : -1]
        lead = lead.reshape(*batch, *(1,) * len(middle), op.batch_dims)
        lead = np.broadcast_to(lead, (*batch, *middle, op.batch_dims)).astype(np.int32)
        wanted = b.concat(
            [b.graph.constant(np.ascontiguousarray(lead), "batch"), wanted], len(wanted.shape) - 1
        )
    rows = math.prod(wanted.shape[:-1])
    depth = wanted.shape[-1]
    rest = data.shape[depth:]
    result = TensorType(x.dtype, (rows, *rest))
    param = cpu_ops.GatherNdParam(1, 0)
    flat = b.reshape(wanted, (rows, depth))
    y = call(b, CpuOp.GATHERND_TF, param, [x, flat], [result])[0]
    return b.reshape(y, node.output.shape)


def _positions(b: Builder, indices: Value, sizes: Sequence[int]) -> Value:
    """Index tuples as int32 with negative ones counted from the end."""
    if indices.data is not None:
        data = np.asarray(indices.data)
        data = np.where(data < 0, data + np.asarray(sizes), data)
        return b.graph.constant(data.astype(np.int32), indices.name)
    x = b.f32(indices)
    below = b.compare("lt", x, 0.0)
    return b.to_int(b.add(x, b.mul(below, b.constant(np.asarray(sizes), "sizes"))))


_SCATTER = {
    "none": cpu_ops.ScatterFn.ASSIGN,
    "add": cpu_ops.ScatterFn.ADD,
    "mul": cpu_ops.ScatterFn.MUL,
}


def _scatter(b: Builder, node: Node, x: Value, indices: Value, updates: Value, fn: str) -> Value:
    if fn not in _SCATTER:
        raise UnsupportedError(
            f"{node.source}: {node.op.name} with reduction {fn}: the runtime's layer has no {fn}"
        )
    rows, depth = math.prod(indices.shape[:-1]), indices.shape[-1]
    param = cpu_ops.TensorScatterParam(cpu_ops.CpuDType.F32, _SCATTER[fn])
    # The layer wants the inner axes at the same positions in both tensors, and none of size 1
    # in all.
    batch = (rows, *(1,) * (depth - 1))
    inner = x.shape[depth:] if math.prod(x.shape[depth:]) > 1 else ()
    target = b.reshape(x, (*x.shape[:depth], *inner))
    flat = b.reshape(indices, (*batch, depth))
    rest = b.reshape(updates, (*batch, *inner))
    result = TensorType(DType.F32, target.shape)
    y = call(b, CpuOp.TENSOR_SCATTER, param, [target, flat, rest], [result])[0]
    return b.reshape(y, x.shape)


@rewrites(ops.ScatterND, place="CPU")
def scatter_nd(b: Builder, node: Node) -> Value:
    """The layer TENSOR_SCATTER."""
    op = node.op
    assert isinstance(op, ops.ScatterND)
    data, indices, updates = node.operands
    wanted = _positions(b, indices, data.shape[: indices.shape[-1]])
    return _scatter(b, node, b.f32(data), wanted, b.f32(updates), op.reduction)


@rewrites(ops.ScatterElements, place="TPU for few updates, else CPU")
def scatter_elements(b: Builder, node: Node) -> Value:
    """Few updates along the axis: one selection each; else the runtime's scatter."""
    op = node.op
    assert isinstance(op, ops.ScatterElements)
    data, indices, updates = node.operands
    rank = len(data.shape)
    axis = op.axis % rank
    count = indices.shape[axis]
    if count <= SCATTER_STEPS:
        return _scatter_chain(b, node, axis, op.reduction)
    if op.reduction not in _SCATTER:
        return _scatter(b, node, b.f32(data), b.f32(indices), b.f32(updates), op.reduction)
    grid = np.indices(indices.shape).astype(np.int32)
    parts: list[Value] = []
    for a in range(rank):
        if a == axis:
            column = _positions(b, indices, [data.shape[axis]])
            parts.append(b.reshape(column, (*indices.shape, 1)))
        else:
            fixed = np.ascontiguousarray(grid[a][..., None])
            parts.append(b.graph.constant(fixed, "position"))
    return _scatter(b, node, b.f32(data), b.concat(parts, rank), b.f32(updates), op.reduction)


def _scatter_chain(b: Builder, node: Node, axis: int, fn: str) -> Value:
    data, indices, updates = node.operands
    y = b.f32(data)
    rank, size = len(data.shape), data.shape[axis]
    wanted, values = from_end(b, b.f32(indices), size), b.f32(updates)
    # Positions without an update never match.
    pads = [0] * rank + [0 if a == axis else data.shape[a] - indices.shape[a] for a in range(rank)]
    wanted, values = b.pad(wanted, pads, -1.0), b.pad(values, pads)
    steps = np.arange(size, dtype=np.float32).reshape(
        [size if a == axis else 1 for a in range(rank)]
    )
    numbers = b.constant(steps, "positions")
    for k in range(indices.shape[axis]):
        here = b.compare("eq", b.slice(wanted, axis, k, k + 1), numbers)
        value = b.slice(values, axis, k, k + 1)
        changed = value if fn == "none" else b.binary(fn, y, value)
        y = b.select(here, changed, y)
    return y


@rewrites(ops.GridSample, place="CPU")
def grid_sample(b: Builder, node: Node) -> Value:
    """The layer GRID_SAMPLER; nearest positions are rounded on the TPU first."""
    op = node.op
    assert isinstance(op, ops.GridSample)
    if op.mode == "cubic":
        raise UnsupportedError(f"{node.source}: GridSample: the runtime's layer has no cubic mode")
    mode = cpu_ops.GridMode.BILINEAR if op.mode == "linear" else cpu_ops.GridMode.NEAREST
    padding = {
        "zeros": cpu_ops.GridPadding.ZEROS,
        "border": cpu_ops.GridPadding.BORDER,
        "reflection": cpu_ops.GridPadding.REFLECTION,
    }[op.padding]
    param = cpu_ops.GridSamplerParam(mode, padding, op.align_corners)
    inputs = [b.f32(v) for v in node.operands]
    if op.mode == "nearest":
        inputs[1] = _centred(b, inputs[1], node.operands[0].shape[2:], op.align_corners)
    result = TensorType(DType.F32, node.output.shape)
    return call(b, CpuOp.GRID_SAMPLER, param, inputs, [result])[0]


def _centred(b: Builder, grid: Value, sizes: Sequence[int], align_corners: bool) -> Value:
    """Grid positions moved to the nearest pixel's centre, halves to even.

    The layer rounds halves away from zero; at a centre there is nothing left to round.
    """
    size = b.constant(np.asarray(sizes[::-1], np.float32), "sizes")
    if align_corners:
        scale = b.constant((np.asarray(sizes[::-1], np.float32) - 1) / 2, "scale")
        pixel = b.unary("round", b.mul(b.add(grid, 1.0), scale))
        return b.sub(b.div(pixel, scale), 1.0)
    pixel = b.sub(b.mul(b.mul(b.add(grid, 1.0), size), 0.5), 0.5)
    pixel = b.unary("round", pixel)
    return b.sub(b.div(b.add(b.mul(pixel, 2.0), 1.0), size), 1.0)


@rewrites(ops.RoiAlign, place="CPU")
def roi_align(b: Builder, node: Node) -> Value:
    """The layer PYTORCH_ROI_ALIGN."""
    op = node.op
    assert isinstance(op, ops.RoiAlign)
    if op.mode != "avg":
        raise UnsupportedError(
            f"{node.source}: RoiAlign: the runtime's layer has no mode {op.mode}"
        )
    x, rois, image = (b.f32(v) for v in node.operands)
    regions = b.concat([b.reshape(image, (rois.shape[0], 1)), rois], 1)
    param = cpu_ops.PytorchRoiAlignParam(
        op.output_height,
        op.output_width,
        op.spatial_scale,
        op.sampling_ratio,
        op.coordinate == "half_pixel",
    )
    result = TensorType(DType.F32, node.output.shape)
    return call(b, CpuOp.PYTORCH_ROI_ALIGN, param, [x, regions], [result])[0]


@rewrites(ops.ReverseSequence, place="CPU")
def reverse_sequence(b: Builder, node: Node) -> Value:
    """The layer REVERSE_SEQUENCE."""
    op = node.op
    assert isinstance(op, ops.ReverseSequence)
    x = b.any(node.operands[0])
    param = cpu_ops.ReverseSequenceParam(op.time_axis, op.batch_axis)
    result = TensorType(x.dtype, x.shape)
    inputs = [x, b.i32(node.operands[1])]
    return call(b, CpuOp.REVERSE_SEQUENCE, param, inputs, [result])[0]


def _large_gather(b: Builder, node: Node) -> Value:
    """Too many positions to compare: rows picked on the host."""
    op = node.op
    assert isinstance(op, ops.Gather)
    table, indices = node.operands
    axis = op.axis % len(table.shape)
    x = b.any(table)
    order = [axis] + [a for a in range(len(x.shape)) if a != axis]
    rows = b.transpose(x, order)
    rest = rows.shape[1:]
    flat = b.reshape(rows, (rows.shape[0], math.prod(rest)))
    wanted = _positions(b, indices, [table.shape[axis]])
    count = indices.type.size
    result = TensorType(x.dtype, (count, math.prod(rest)))
    ids = b.reshape(wanted, (count,))
    y = call(b, CpuOp.GATHER, cpu_ops.GatherParam(0), [flat, ids], [result])[0]
    where = len(indices.shape)
    y = b.reshape(y, (*indices.shape, *rest))
    perm = [where + a for a in range(axis)] + list(range(where))
    perm += [where + a for a in range(axis, len(rest))]
    return b.reshape(b.transpose(y, perm), node.output.shape)


def _large_gather_elements(b: Builder, node: Node) -> Value:
    op = node.op
    assert isinstance(op, ops.GatherElements)
    table, indices = node.operands
    rank = len(table.shape)
    if rank > 4:
        raise UnsupportedError(
            f"{node.source}: GatherElements of rank {rank}: the runtime's layer takes at most 4"
        )
    x = b.any(table)
    wanted = _positions(b, indices, [table.shape[op.axis % rank]])
    result = TensorType(x.dtype, indices.shape)
    param = cpu_ops.GatherParam(op.axis % rank)
    return call(b, CpuOp.GATHER_PT, param, [x, wanted], [result])[0]


LARGE = {ops.Gather: _large_gather, ops.GatherElements: _large_gather_elements}
"""What ``shapes`` leaves to the host when the TPU would have to compare too much."""

__all__ = ["LARGE", "TABLE", "call"]
