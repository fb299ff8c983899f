"""Pooling."""

from __future__ import annotations

import math

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends import limits
from nntc.frontends.onnx.call import Call, RefusedError, reads
from nntc.frontends.onnx.windows import Windows
from nntc.ir import ops
from nntc.ir.graph import Value


def _windows(c: Call, x: Value) -> Windows:
    if len(x.shape) < 3:
        raise ModelError(f"the operand has rank {len(x.shape)}, at least 3 is needed")
    windows = Windows(c, x.shape[2:])
    if min(windows.pads) < 0:
        raise RefusedError(f"pads {list(windows.pads)} are negative")
    return windows


def _wide_pads(windows: Windows) -> bool:
    """Whether a window can lie in the padding entirely; the operators do not take such pads."""
    spatial = len(windows.size)
    return any(p >= windows.extents[i % spatial] for i, p in enumerate(windows.pads))


def _lowest(x: Value) -> float:
    """Padding that never wins a maximum."""
    return -math.inf if x.dtype.is_float else float(np.iinfo(x.dtype.numpy.name).min)


@reads("MaxPool")
def max_pool(c: Call) -> list[Value | None]:
    x = c.x()
    windows = _windows(c, x)
    ceil = c.flag("ceil_mode")
    pads = windows.pads
    if _wide_pads(windows):
        spatial = len(windows.size)
        x = c.b.pad(x, (0, 0, *pads[:spatial], 0, 0, *pads[spatial:]), _lowest(x))
        pads = (0,) * len(pads)
    op = ops.MaxPool(windows.kernel, windows.strides, pads, windows.dilations, ceil)
    y = c.b.op(op, x)
    if not c.wants(1):
        return [y, None]
    return [y, _winner_index(c, windows, y.shape)]


def _winner_index(c: Call, windows: Windows, out: tuple[int, ...]) -> Value:
    """Flat index in the whole operand of each window's first maximum.

    The windows are gathered as rows, so that one ArgReduce finds the tap; the index is a linear
    function of window and tap.
    """
    x = c.x()
    n, channels, *size = x.shape
    spatial = len(size)
    # The last windows of ceil_mode reach beyond the pads.
    reach = [
        (count - 1) * stride + extent
        for count, stride, extent in zip(out[2:], windows.strides, windows.extents, strict=True)
    ]
    begins = windows.pads[:spatial]
    ends = [max(r - s - b, 0) for r, s, b in zip(reach, size, begins, strict=True)]
    padded = c.b.pad(x, (0, 0, *begins, 0, 0, *ends), _lowest(x))
    column = c.flag("storage_order")
    place = np.zeros((1, 1), np.int64)
    index, base, tap = place, place, place
    inner, step = math.prod(padded.shape[2:]), math.prod(size)
    if column:
        step = 1
    for axis in range(spatial):
        inner //= padded.shape[2 + axis]
        if column:
            weight = step
            step *= size[axis]
        else:
            step //= size[axis]
            weight = step
        first = np.arange(out[2 + axis]) * windows.strides[axis]
        taps = np.arange(windows.kernel[axis]) * windows.dilations[axis]
        rows, columns = len(index) * len(first), index.shape[1] * len(taps)
        limits.check_bytes((rows, columns), DType.I64, limits.CONSTANT_BYTES, "the index")
        grid = (first[:, None] + taps) * inner
        index = (index[:, None, :, None] + grid[None, :, None, :]).reshape(rows, columns)
        base = (base[:, None] + (first - begins[axis])[:, None] * weight).reshape(rows, 1)
        tap = (tap[..., None] + taps * weight).reshape(1, columns)
    flat = c.b.reshape(padded, (n * channels, math.prod(padded.shape[2:])))
    rows = c.b.gather(flat, index, 1)
    winner = c.b.op(ops.ArgReduce("max", 2, False, False), rows)
    found = c.b.gather(c.b.const(tap.reshape(-1)), winner, 0)
    planes = np.arange(n * channels).reshape(-1, 1) * math.prod(size)
    found = c.b.add(found, c.b.const(base.reshape(1, -1) + planes))
    return c.b.reshape(found, out)


@reads("AveragePool")
def average_pool(c: Call) -> Value:
    x = c.x()
    windows = _windows(c, x)
    include = c.flag("count_include_pad")
    pads, ceil = windows.pads, c.flag("ceil_mode")
    if _wide_pads(windows):
        if not include:
            raise RefusedError(f"pads {list(pads)} as large as the window, which are not counted")
        if ceil:
            raise RefusedError(f"pads {list(pads)} as large as the window, with ceil_mode")
        spatial = len(windows.size)
        x = c.b.pad(x, (0, 0, *pads[:spatial], 0, 0, *pads[spatial:]))
        pads = (0,) * len(pads)
    op = ops.AveragePool(windows.kernel, windows.strides, pads, windows.dilations, ceil, include)
    return c.b.op(op, x)


@reads("LpPool")
def lp_pool(c: Call) -> Value:
    x = c.x()
    windows = _windows(c, x)
    if c.since < 2:
        raise RefusedError("LpPool of version 1 (p is a number with a fraction)")
    op = ops.LpPool(
        c.i("p", 2),
        windows.kernel,
        windows.strides,
        windows.pads,
        windows.dilations,
        c.flag("ceil_mode"),
    )
    return c.b.op(op, x)


@reads("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(c: Call) -> Value:
    x = c.x()
    if len(x.shape) < 3:
        raise ModelError(f"the operand has rank {len(x.shape)}, at least 3 is needed")
    axes = range(2, len(x.shape))
    if c.op == "GlobalAveragePool":
        return c.b.reduce("mean", x, axes)
    if c.op == "GlobalMaxPool":
        return c.b.reduce("max", x, axes)
    p = c.f("p", 2.0) if c.since < 2 else c.i("p", 2)
    if p in (1, 2):
        return c.b.reduce(f"l{int(p)}", x, axes)
    total = c.b.reduce("sum", c.b.binary("pow", c.b.unary("abs", x), c.b.like(p, x)), axes)
    return c.b.binary("pow", total, c.b.like(1 / p, x))


@reads("MaxUnpool")
def max_unpool(c: Call) -> Value:
    """Values go back to where their flat index in the unpooled tensor says."""
    x, index = c.x(0), c.x(1)
    windows = _windows(c, x)
    spatial = len(windows.size)
    shape = [*x.shape[:2]]
    for i in range(spatial):
        before = (windows.size[i] - 1) * windows.strides[i] + windows.kernel[i]
        shape.append(before - windows.pads[i] - windows.pads[spatial + i])
    target = c.opt_ints(2, "the result's shape")
    wanted = tuple(shape if target is None else target)
    if len(wanted) != len(x.shape):
        raise ModelError(f"shape {list(wanted)} and operand {list(x.shape)} differ in rank")
    flat = c.b.full((math.prod(wanted),), 0, x.dtype)
    count = (x.type.size,)
    index = c.b.cast(index, DType.I64)
    op = ops.ScatterElements(0)
    y = c.b.op(op, flat, c.b.reshape(index, count), c.b.reshape(x, count))
    return c.b.reshape(y, wanted)


@reads("MaxRoiPool")
def max_roi_pool(c: Call) -> Value:
    """Maximum over the cells of boxes that are known while compiling."""
    x, rois = c.x(), c.const(1, "the boxes")
    shape = c.ints("pooled_shape") or ()
    if len(x.shape) != 4 or len(shape) != 2 or rois.ndim != 2 or rois.shape[1] != 5:
        raise ModelError(f"operand {list(x.shape)}, boxes {list(rois.shape)}, result {shape}")
    scale = c.f("spatial_scale", 1.0)
    results = []
    for batch, *corners in rois.tolist():
        box = [math.floor(v * scale + 0.5) for v in corners]
        image = c.b.slice(x, 0, int(batch), int(batch) + 1)
        rows = []
        for row in range(shape[0]):
            low, high = _cell(box[1], box[3], row, shape[0], x.shape[2])
            strip = c.b.slice(image, 2, low, max(high, low))
            cells = []
            for column in range(shape[1]):
                left, right = _cell(box[0], box[2], column, shape[1], x.shape[3])
                cell = c.b.slice(strip, 3, left, max(right, left))
                if cell.type.size == 0:
                    cells.append(c.b.full((1, x.shape[1], 1, 1), 0, x.dtype))
                else:
                    cells.append(c.b.reduce("max", cell, (2, 3)))
            rows.append(c.b.concat(cells, 3))
        results.append(c.b.concat(rows, 2))
    return c.b.concat(results, 0)


def _cell(first: int, last: int, index: int, cells: int, size: int) -> tuple[int, int]:
    """Pixels of one cell of a box, inside the image."""
    extent = max(last - first + 1, 1)
    low = first + math.floor(index * extent / cells)
    high = first + math.ceil((index + 1) * extent / cells)
    return min(max(low, 0), size), min(max(high, 0), size)
