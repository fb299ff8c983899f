"""Layers that write elements by index."""

from __future__ import annotations

import math

import numpy as np

from nntc.bmodel.cpu_ops import (
    CpuDType,
    CpuOp,
    IndexPutParam,
    ScatterFn,
    ScatterNdParam,
    TensorScatterParam,
)
from nntc.runtime.cpu.registry import Call, Output, layer


@layer(
    CpuOp.SCATTER_ND,
    "adds the updates, to zeros if input 2 is 1-D (a shape) and else to the data in input 2",
    "indices:i32 updates:f32 shape_or_data:any",
    "result:f32",
)
def scatter_nd(call: Call[ScatterNdParam]) -> list[Output]:
    param, indices, updates = call.param, call.ints(0), call.inputs[1].reshape(-1)
    call.require(1 <= param.dim <= len(param.shape), f"dim {param.dim} is not in 1..8")
    from_shape = call.inputs[2].ndim == 1
    sizes = call.ints(2) if from_shape else np.array(call.inputs[2].shape)
    call.require(len(sizes) >= param.dim, f"input 2 {call.inputs[2].shape} has not {param.dim}")
    shape = call.room(0, sizes[: param.dim].tolist())
    depth = indices.shape[-1] if indices.ndim > 1 else 1
    call.require(
        1 <= depth <= min(param.dim, 7), f"tuples of {depth} indices into {param.dim} dimensions"
    )
    result = np.zeros(int(np.prod(shape, dtype=np.int64)), np.float32)
    if not from_shape:
        result[:] = call.inputs[2].reshape(-1)[: result.size]
    inner = int(np.prod(shape[depth:], dtype=np.int64))
    steps = np.array([int(np.prod(shape[i + 1 : depth])) for i in range(depth)], np.int64)
    tuples = indices.reshape(-1, depth).astype(np.int64)
    rows = (tuples * steps).sum(axis=1)
    call.require(updates.size >= len(rows) * inner, "fewer updates than indices")
    if inner:
        call.in_range(rows, result.size // inner, "row of index tuple:")
        np.add.at(result.reshape(-1, inner), rows, updates[: len(rows) * inner].reshape(-1, inner))
    declared = list(param.shape[: param.dim])
    call.require(list(shape) == declared, f"the result is {shape}, the parameter says {declared}")
    return [result.reshape(shape)]


@layer(
    CpuOp.TENSOR_SCATTER,
    "a copy of the tensor with updates assigned, added, subtracted or multiplied; max and min "
    "add the maximum or minimum to the old value, as the maker's layer does",
    "tensor:any indices:i32 updates:any",
    "result:any",
)
def tensor_scatter(call: Call[TensorScatterParam]) -> list[Output]:
    param, tensor, indices, updates = call.param, call.inputs[0], call.ints(1), call.inputs[2]
    word_types = (CpuDType.F32, CpuDType.I32)
    call.require(param.input_dtype in word_types, f"element type {param.input_dtype}, not 0 or 6")
    call.require(0 <= param.scatter_op <= ScatterFn.MUL, f"scatter_op {param.scatter_op}")
    call.require(indices.ndim >= 2, f"indices {indices.shape} need 2 dimensions at least")
    depth, batch = indices.shape[-1], indices.shape[:-1]
    call.require(1 <= depth <= tensor.ndim, f"tuples of {depth} indices into {tensor.shape}")
    inner_shape = tensor.shape[depth:]
    inner = int(np.prod(inner_shape, dtype=np.int64))
    # The maker's layer compares the trailing sizes at equal positions and treats an inner size
    # of 1 as no inner axes; other models stop its process.
    call.require(
        updates.shape[: len(batch)] == batch
        and updates.shape[depth:] == inner_shape
        and updates.ndim == len(batch) + len(inner_shape)
        and (inner > 1) == (depth < tensor.ndim),
        f"updates {updates.shape} for indices {indices.shape} into {tensor.shape}",
    )
    kind = np.int32 if param.input_dtype == CpuDType.I32 else np.float32
    result = tensor.view(kind).copy()
    steps = np.array([int(np.prod(tensor.shape[i + 1 :])) for i in range(depth)], np.int64)
    starts = (indices.reshape(-1, depth).astype(np.int64) * steps).sum(axis=1)
    call.in_range(starts, result.size - inner + 1, "place of index tuple:")
    flat, new = result.reshape(-1), updates.view(kind).reshape(-1, inner)
    combine = _COMBINE[ScatterFn(param.scatter_op)]
    for start, row in zip(starts, new, strict=True):
        old = flat[start : start + inner]
        old[:] = combine(old, row)
    return [result]


_COMBINE = {
    ScatterFn.ASSIGN: lambda old, new: new,
    ScatterFn.ADD: lambda old, new: old + new,
    ScatterFn.SUB: lambda old, new: old - new,
    ScatterFn.MUL: lambda old, new: old * new,
    ScatterFn.MAX: lambda old, new: old + np.where(old < new, new, old),
    ScatterFn.MIN: lambda old, new: old + np.where(new < old, new, old),
}


@layer(
    CpuOp.INDEX_PUT,
    "x[index] = values (or +=) for one 1-D index over axis 0",
    "x:any index:i32 values:any",
    "result:any",
)
def index_put(call: Call[IndexPutParam]) -> list[Output]:
    call.require(call.param.mode == 1, f"mode {call.param.mode}, only 1 exists")
    call.rank(1, 1)
    x, index, values = call.inputs[0], call.ints(1), call.inputs[2].reshape(-1)
    call.require(x.ndim >= 1, "x has no dimensions")
    call.in_range(index, x.shape[0], "index")
    result = x.copy()
    rows = result.reshape(x.shape[0], math.prod(x.shape[1:]))
    call.require(values.size >= len(index) * rows.shape[1], "fewer values than indexed elements")
    new = values[: len(index) * rows.shape[1]].reshape(len(index), rows.shape[1])
    if call.param.accumulate:
        np.add.at(rows, index, new)
    else:
        for place, row in zip(index, new, strict=True):
            rows[place] = row
    return [result]
