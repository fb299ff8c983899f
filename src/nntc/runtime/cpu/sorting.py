"""Layers that sort: TopK in three kinds, ArgSort, sort along a dimension."""

from __future__ import annotations

import math

import numpy as np

from nntc.bmodel.cpu_ops import (
    ArgSortParam,
    CpuDType,
    CpuOp,
    SortPerDimParam,
    TopKMxParam,
    TopKParam,
    TopKReturn,
)
from nntc.runtime.cpu.compiled import kernel
from nntc.runtime.cpu.ordering import partial_sort_order, sort_order
from nntc.runtime.cpu.registry import Call, Output, layer


@layer(
    CpuOp.TOPK,
    "k largest values along an axis; k from the parameter or input 1; with one output that is the "
    "indices, or the values if values_used_only",
    "x:f32 k:i32?",
    "values:f32? indices:i32?",
)
def topk(call: Call[TopKParam]) -> list[Output]:
    return _topk(call, descending=True)


@layer(
    CpuOp.TOPK_ASCENDING,
    "k smallest values if k is the size of the axis; for smaller k the maker's layer gives other "
    "values, and so does this",
    "x:f32 k:i32?",
    "values:f32? indices:i32?",
)
def topk_ascending(call: Call[TopKParam]) -> list[Output]:
    return _topk(call, descending=False)


def _topk(call: Call[TopKParam], descending: bool) -> list[Output]:
    x, param = call.inputs[0], call.param
    axis = x.ndim - 1 if param.axis == -1 else param.axis
    call.require(0 <= axis < x.ndim, f"axis {param.axis} of an input of {x.ndim} dimensions")
    k = param.k
    if len(call.inputs) == 2:
        call.require(call.inputs[1].size, "input 1 (k) is empty")
        k = int(call.ints(1).flat[0])
    call.require(0 <= k <= x.shape[axis], f"k = {k} of an axis of {x.shape[axis]} elements")
    lead = x.shape[:axis] + x.shape[axis + 1 :]
    lanes = np.ascontiguousarray(np.moveaxis(x, axis, -1)).reshape(math.prod(lead), x.shape[axis])
    values, indices = _topk_lanes(lanes, k, param.sorted, descending)
    outputs = [np.moveaxis(v.reshape((*lead, k)), -1, axis) for v in (values, indices)]
    if call.output_count(2) == 1:
        return [outputs[0] if param.values_used_only else outputs[1]]
    return list(outputs)


@kernel
def _before(x: np.ndarray, a: int, b: int, descending: bool) -> bool:
    """Whether element a comes before b: by value, equal values by position."""
    if x[a] == x[b]:
        return a < b
    return x[a] > x[b] if descending else x[a] < x[b]


@kernel
def _rise(heap: np.ndarray, hole: int, value: int, x: np.ndarray, descending: bool) -> None:
    while hole > 0 and _before(x, heap[(hole - 1) // 2], value, descending):
        heap[hole] = heap[(hole - 1) // 2]
        hole = (hole - 1) // 2
    heap[hole] = value


@kernel
def _sink(
    heap: np.ndarray, hole: int, length: int, value: int, x: np.ndarray, descending: bool
) -> None:
    top = hole
    while 2 * hole + 2 < length:
        child = 2 * hole + 2
        if _before(x, heap[child], heap[child - 1], descending):
            child -= 1
        heap[hole] = heap[child]
        hole = child
    if 2 * hole + 2 == length:
        heap[hole] = heap[length - 1]
        hole = length - 1
    while hole > top and _before(x, heap[(hole - 1) // 2], value, descending):
        heap[hole] = heap[(hole - 1) // 2]
        hole = (hole - 1) // 2
    heap[hole] = value


@kernel
def _topk_lanes(
    lanes: np.ndarray, k: int, ordered: bool, descending: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Keep a heap of k elements whose top is the one to lose.

    An element enters if the top is smaller than it. The maker's layer asks the same question when
    it looks for the smallest, so its ascending result is right for k = n only.
    """
    count, n = lanes.shape
    values = np.zeros((count, k), np.float32)
    indices = np.zeros((count, k), np.int32)
    heap = np.zeros(k, np.int64)
    if k == 0:
        return values, indices
    for lane in range(count):
        x = lanes[lane]
        for i in range(k):
            heap[i] = i
        for parent in range((k - 2) // 2, -1, -1):
            if k >= 2:
                _sink(heap, parent, k, heap[parent], x, descending)
        for i in range(k, n):
            if x[heap[0]] < x[i]:
                if k > 1:
                    _sink(heap, 0, k - 1, heap[k - 1], x, descending)
                _rise(heap, k - 1, i, x, descending)
        if ordered:
            for end in range(k - 1, -1, -1):
                indices[lane, end] = heap[0]
                if end > 0:
                    _sink(heap, 0, end, heap[end], x, descending)
        else:
            indices[lane, :] = np.sort(heap)
        for i in range(k):
            values[lane, i] = x[indices[lane, i]]
    return values, indices


@layer(CpuOp.ARGSORT, "positions that sort an axis, as floats", "x:f32", "positions:f32")
def argsort(call: Call[ArgSortParam]) -> list[Output]:
    x, param = call.inputs[0], call.param
    call.require(0 <= param.axis < x.ndim, f"axis {param.axis} of an input of {x.ndim} dimensions")
    order = _sort_lanes(x, param.axis, stable=False, descending=not param.is_ascend)
    return [order.astype(np.float32)]


@layer(
    CpuOp.SORT_PER_DIM,
    "int32 positions that sort an axis, and unless is_argsort the sorted values",
    "x:f32",
    "positions:i32 values:f32?",
)
def sort_per_dim(call: Call[SortPerDimParam]) -> list[Output]:
    x, param = call.inputs[0], call.param
    call.require(0 <= param.dim < x.ndim, f"dim {param.dim} of an input of {x.ndim} dimensions")
    order = _sort_lanes(x, param.dim, param.stable, param.descending)
    outputs: list[Output] = [order.astype(np.int32)]
    if not param.is_argsort:
        outputs.append(np.take_along_axis(x, order, param.dim))
    return outputs


def _sort_lanes(x: np.ndarray, axis: int, stable: bool, descending: bool) -> np.ndarray:
    if stable:
        return np.argsort(-x if descending else x, axis=axis, kind="stable")
    lanes = np.ascontiguousarray(np.moveaxis(x, axis, -1))
    order = np.zeros(lanes.shape, np.int64)
    for place in np.ndindex(lanes.shape[:-1]):
        order[place] = sort_order(lanes[place], descending)
    return np.moveaxis(order, -1, axis)


@layer(
    CpuOp.TOPK_MX,
    "first k of an axis (or of the flattened input if axis >= rank) as values, indices, both or a "
    "mask of ones; indices are floats if dtype is 0, else int32",
    "x:f32",
    "result:any indices:any?",
)
def topk_mx(call: Call[TopKMxParam]) -> list[Output]:
    x, param = call.inputs[0], call.param
    dtypes = (CpuDType.F32, CpuDType.I32, CpuDType.U32)
    call.require(param.dtype in dtypes, f"index type {param.dtype}, needs 0, 6 or 7")
    call.require(0 <= param.ret_type <= 3, f"ret_type {param.ret_type} is not in 0..3")
    flat = param.axis >= x.ndim
    axis = 0 if flat else param.axis + (x.ndim if param.axis < 0 else 0)
    call.require(axis >= 0, f"axis {param.axis} of an input of {x.ndim} dimensions")
    lanes = x.reshape(-1) if flat else np.moveaxis(x, axis, -1)
    n = lanes.shape[-1]
    k = param.k if param.k > 0 else n
    call.require(1 <= k <= n, f"k = {param.k} of {n} elements")
    order = np.zeros((*lanes.shape[:-1], k), np.int64)
    for place in np.ndindex(lanes.shape[:-1]):
        # The maker's layer sorts the whole lane when k is a large part of it.
        if k * 8 > n:
            order[place] = sort_order(lanes[place], not param.is_ascend)[:k]
        else:
            order[place] = partial_sort_order(lanes[place], k, not param.is_ascend)
    if param.ret_type == TopKReturn.MASK:
        mask = np.zeros(lanes.shape, np.float32)
        np.put_along_axis(mask, order, np.float32(1), -1)
        return [mask.reshape(x.shape) if flat else np.moveaxis(mask, -1, axis)]
    indices = order.astype(np.float32 if param.dtype == CpuDType.F32 else np.int32)
    values = np.take_along_axis(lanes, order, -1)
    chosen = {
        TopKReturn.INDICES: [indices],
        TopKReturn.VALUE: [values],
        TopKReturn.BOTH: [values, indices],
    }[TopKReturn(param.ret_type)]
    return [a if flat else np.moveaxis(a, -1, axis) for a in chosen]
