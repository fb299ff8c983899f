"""Gather and scatter: copies for known indices, comparisons on the TPU, or the host."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nntc.backend.legalize.builder import Builder
from nntc.backend.legalize.host import call
from nntc.backend.legalize.norms import reduce_axes
from nntc.backend.legalize.registry import rewrites
from nntc.backend.legalize.shapes import from_end, take
from nntc.backend.moves import row_major
from nntc.bmodel import cpu_ops
from nntc.bmodel.cpu_ops import CpuOp
from nntc.core.dtype import DType
from nntc.core.errors import UnsupportedError
from nntc.ir import ops
from nntc.ir.graph import Node, TensorType, Value

ONE_HOT_LIMIT = 1 << 22
"""Elements of a comparison with all positions that are still cheap enough on the TPU."""

SCATTER_STEPS = 16
"""Updates along the axis up to which a scatter is a chain of selections on the TPU."""


@rewrites(ops.Gather, place="TPU; CPU for large tables")
def gather(b: Builder, node: Node) -> Value:
    """Known indices are copies; others pick rows by a product with ones and zeros."""
    op = node.op
    assert isinstance(op, ops.Gather)
    table, indices = node.operands
    axis = op.axis % len(table.shape)
    if indices.data is not None:
        x = b.any(table)
        y = take(b, x, np.asarray(indices.data).reshape(-1), axis)
        return b.reshape(y, node.output.shape)
    size, count = table.shape[axis], indices.type.size
    if size * count > ONE_HOT_LIMIT:
        return _large_gather(b, node)
    x = b.f32(table)
    rank = len(x.shape)
    order = [axis] + [a for a in range(rank) if a != axis]
    rows = b.transpose(x, order)
    rest = rows.shape[1:]
    wanted = from_end(b, b.reshape(b.f32(indices), (count, 1)), size)
    steps = b.constant(np.arange(size, dtype=np.float32)[None], "positions")
    ones = b.compare("eq", wanted, steps)
    y = b.matmul(ones, b.reshape(rows, (size, math.prod(rest))))
    # [indices..., others...] → the indices' axes go where the gathered axis was.
    where = len(indices.shape)
    y = b.reshape(y, (*indices.shape, *rest))
    perm = [where + a for a in range(axis)] + list(range(where))
    perm += [where + a for a in range(axis, len(rest))]
    return b.reshape(b.transpose(y, perm), node.output.shape)


@rewrites(ops.GatherElements, place="TPU; CPU for large tables")
def gather_elements(b: Builder, node: Node) -> Value:
    """Sum over the axis of elements times "is this the wanted position"."""
    op = node.op
    assert isinstance(op, ops.GatherElements)
    table, indices = node.operands
    rank = len(table.shape)
    axis = op.axis % rank
    size = table.shape[axis]
    if indices.type.size * size > ONE_HOT_LIMIT:
        return _large_gather_elements(b, node)
    x = b.f32(table)
    for a in range(rank):
        if a != axis:
            x = b.slice(x, a, 0, indices.shape[a])
    # [.., wanted, ..] against [.., 1, .., size] along a new last axis.
    perm = [a for a in range(rank) if a != axis] + [axis]
    rows = b.transpose(x, perm)
    wanted = b.transpose(from_end(b, b.f32(indices), size), perm)
    outer = math.prod(rows.shape[:-1])
    count = wanted.shape[-1]
    rows = b.reshape(rows, (outer, 1, size))
    wanted = b.reshape(wanted, (outer, count, 1))
    steps = b.constant(np.arange(size, dtype=np.float32), "positions")
    hit = b.select(b.compare("eq", wanted, steps), rows, 0.0)
    y = reduce_axes(b, "sum", hit, [2])
    turned = [indices.shape[p] for p in perm]
    return b.transpose(b.reshape(y, turned), list(np.argsort(perm)))


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


@rewrites(ops.ScatterND, place="TPU for few updates, else CPU")
def scatter_nd(b: Builder, node: Node) -> Value:
    """Few updates: one selection each; else the layer TENSOR_SCATTER."""
    op = node.op
    assert isinstance(op, ops.ScatterND)
    data, indices, updates = node.operands
    rows, depth = math.prod(indices.shape[:-1]), indices.shape[-1]
    if rows <= SCATTER_STEPS:
        lead, rest = data.shape[:depth], math.prod(data.shape[depth:])
        tuples = b.f32(indices)
        sizes = b.constant(np.asarray(lead), "sizes")
        tuples = b.add(tuples, b.mul(b.compare("lt", tuples, 0.0), sizes))
        # The position in the flattened leading axes: one row of them is one element to replace.
        strides = b.constant(np.asarray(row_major(lead)), "strides")
        flat = reduce_axes(b, "sum", b.mul(tuples, strides), [len(indices.shape) - 1])
        y = _chain(
            b,
            b.reshape(b.f32(data), (math.prod(lead), rest)),
            b.reshape(flat, (rows, 1)),
            b.reshape(b.f32(updates), (rows, rest)),
            0,
            op.reduction,
        )
        return b.reshape(y, data.shape)
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
    return _chain(b, y, b.pad(wanted, pads, -1.0), b.pad(values, pads), axis, fn)


def _chain(b: Builder, y: Value, wanted: Value, values: Value, axis: int, fn: str) -> Value:
    """One selection per update along an axis: where its position is, the new value."""
    size = y.shape[axis]
    steps = np.arange(size, dtype=np.float32).reshape(
        [size if a == axis else 1 for a in range(len(y.shape))]
    )
    numbers = b.constant(steps, "positions")
    for k in range(wanted.shape[axis]):
        here = b.compare("eq", b.slice(wanted, axis, k, k + 1), numbers)
        value = b.slice(values, axis, k, k + 1)
        changed = value if fn == "none" else b.binary(fn, y, value)
        y = b.select(here, changed, y)
    return y
