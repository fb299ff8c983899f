"""Adaptive pooling."""

from __future__ import annotations

import numpy as np

from nntc.bmodel.cpu_ops import AdaptivePoolParam, CpuOp
from nntc.runtime.cpu.compiled import kernel
from nntc.runtime.cpu.registry import Call, Output, layer


@layer(
    CpuOp.ADAPTIVE_AVG_POOL,
    "torch.adaptive_avg_pool2d; output size from the parameter or the int32 input 1",
    "x:f32 size:i32?",
    "y:f32",
)
def average_pool(call: Call[AdaptivePoolParam]) -> list[Output]:
    return [_pool(call, 2, average=True)]


@layer(
    CpuOp.ADAPTIVE_AVG_POOL_3D,
    "torch.adaptive_avg_pool3d; output size from the parameter or the int32 input 1",
    "x:f32 size:i32?",
    "y:f32",
)
def average_pool_3d(call: Call[AdaptivePoolParam]) -> list[Output]:
    return [_pool(call, 3, average=True)]


@layer(
    CpuOp.ADAPTIVE_MAX_POOL,
    "torch.adaptive_max_pool2d, values only: with an index output the maker's layer writes both "
    "in the input's strides, beyond their buffers, so that is refused",
    "x:f32 size:i32?",
    "y:f32",
)
def max_pool(call: Call[AdaptivePoolParam]) -> list[Output]:
    call.require(call.output_count(1) == 1, "an index output is not possible")
    return [_pool(call, 2, average=False)]


def _pool(call: Call[AdaptivePoolParam], axes: int, average: bool) -> np.ndarray:
    call.rank(0, axes + 2)
    x = call.inputs[0]
    sizes = list(call.param.output_shape)
    if len(call.inputs) > 1:
        sizes = [int(v) for v in call.ints(1).reshape(-1)]
    call.require(len(sizes) >= axes, f"output size {sizes}, needs {axes} numbers")
    sizes = sizes[:axes]
    call.require(min(sizes) >= 1 and min(x.shape) >= 1, f"output size {sizes} of {x.shape}")
    shape = call.room(0, (*x.shape[:2], *sizes))
    spans = [_spans(out, size) for out, size in zip(sizes, x.shape[2:], strict=True)]
    if axes == 2:
        spans.insert(0, np.array([[0, 1]]))
    lanes = x.reshape(-1, *(1,) * (3 - axes), *x.shape[2:])
    deep, rows, columns = spans
    return _pool_lanes(lanes, deep, rows, columns, average).reshape(shape)


def _spans(out: int, size: int) -> np.ndarray:
    """First and end input place of each output place; places are computed in f32."""
    steps = (np.arange(1, out, dtype=np.int64) * size).astype(np.float32) / np.float32(out)
    first = np.concatenate([[0], np.floor(steps)])
    end = np.concatenate([np.ceil(steps), [size]])
    return np.stack([first, end], -1).astype(np.int64)


@kernel
def _pool_lanes(
    lanes: np.ndarray, deep: np.ndarray, rows: np.ndarray, columns: np.ndarray, average: bool
) -> np.ndarray:
    """Sums are taken in order, in f32."""
    result = np.zeros((len(lanes), len(deep), len(rows), len(columns)), np.float32)
    for lane in range(len(lanes)):
        for t in range(len(deep)):
            for h in range(len(rows)):
                for w in range(len(columns)):
                    total = np.float32(0)
                    best = lanes[lane, deep[t, 0], rows[h, 0], columns[w, 0]]
                    for i in range(deep[t, 0], deep[t, 1]):
                        for j in range(rows[h, 0], rows[h, 1]):
                            for k in range(columns[w, 0], columns[w, 1]):
                                value = lanes[lane, i, j, k]
                                total += value
                                if value > best:
                                    best = value
                    size = deep[t, 1] - deep[t, 0]
                    size *= rows[h, 1] - rows[h, 0]
                    size *= columns[w, 1] - columns[w, 0]
                    result[lane, t, h, w] = total / np.float32(size) if average else best
    return result
