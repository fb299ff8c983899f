"""Legal forms of convolutions, poolings and matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nntc.backend.kernels.window import MAX_FIELD
from nntc.backend.legalize.builder import Builder
from nntc.backend.legalize.registry import rewrites
from nntc.backend.ops import PackedConv
from nntc.ir import ops
from nntc.ir.graph import Node, Value
from nntc.isa.layout import ceil_div


def _reach(kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    return [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]


def _pad_spatial(
    b: Builder, x: Value, begins: Sequence[int], ends: Sequence[int], value: float = 0.0
) -> Value:
    return b.pad(x, (0, 0, *begins, 0, 0, *ends), value)


@rewrites(ops.Conv)
def conv(b: Builder, node: Node) -> Value:
    """The convolution instruction; depthwise, grouped, 1-D and 3-D forms; any weights."""
    op = node.op
    assert isinstance(op, ops.Conv)
    x, w = b.f32(node.operands[0]), b.f32(node.operands[1])
    bias = b.f32(node.operands[2]) if len(node.operands) > 2 else None
    return convolve(b, x, w, bias, op)


def convolve(b: Builder, x: Value, w: Value, bias: Value | None, op: ops.Conv) -> Value:
    """A convolution whose fields fit the chip."""
    if len(x.shape) == 5:
        return _conv3d(b, x, w, bias, op)
    x, w, made = fit_fields(b, x, w, op)
    if w.is_constant and (bias is None or bias.is_constant):
        return b(made, x, w, *([] if bias is None else [bias]))
    return _packed(b, x, w, bias, made)


def fit_fields(
    b: Builder, x: Value, w: Value, op: ops.Conv, value: float = 0.0
) -> tuple[Value, Value, ops.Conv]:
    """Input, weights and operator with pads, strides and dilations that the chip's fields hold.

    Args:
        value: what the padding holds.
    """
    spatial = len(x.shape) - 2
    begins, ends = list(op.pads[:spatial]), list(op.pads[spatial:])
    dilations, strides = list(op.dilations), list(op.strides)
    for i in range(spatial):
        if dilations[i] > MAX_FIELD + 1:
            w = _insert_zeros(b, w, 2 + i, dilations[i])
            dilations[i] = 1
    reach = _reach(w.shape[2:], dilations)
    # Large pads do not fit their fields; pads beyond the kernel would make tiles without input.
    if any(p > MAX_FIELD or p >= r for p, r in zip(begins + ends, reach * 2, strict=True)):
        x = _pad_spatial(b, x, begins, ends, value)
        begins, ends = [0] * spatial, [0] * spatial
    if any(s > MAX_FIELD for s in strides):
        x = _pad_spatial(b, x, begins, ends, value)
        begins, ends = [0] * spatial, [0] * spatial
        for i in range(spatial):
            if strides[i] > MAX_FIELD:
                if dilations[i] != 1:
                    w = _insert_zeros(b, w, 2 + i, dilations[i])
                    dilations[i] = 1
                x, w = _blocks_to_channels(b, x, w, i, strides[i])
                strides[i] = 1
    return x, w, ops.Conv(tuple(strides), (*begins, *ends), tuple(dilations), op.group)


def _packed(
    b: Builder, x: Value, w: Value, bias: Value | None, op: ops.Conv | ops.ConvTranspose
) -> Value:
    """A convolution with weights of the run time, put in the chip's order by data movement."""
    types = [x.type, w.type]
    result = op.infer(*types)[0].shape
    transposed = isinstance(op, ops.ConvTranspose)
    kernel = w.shape[2:]
    taps = math.prod(kernel)
    if not transposed and w.shape[1] == 1 and w.shape[0] == op.group > 1:
        inner = 0
        packed = b.reshape(w, (w.shape[0], *kernel))
    else:
        if transposed:
            c, m = w.shape[:2]
            grouped = b.reshape(w, (op.group, c // op.group, m, taps))
            turned = b.reshape(
                b.transpose(grouped, [0, 2, 3, 1]), (op.group * m, taps, c // op.group)
            )
        else:
            m, c = w.shape[:2]
            turned = b.transpose(b.reshape(w, (m, c, taps)), [0, 2, 1])
        inner = turned.shape[2]
        packed = b.pad(turned, (0, 0, 0, 0, 0, inner % 2))
    made = PackedConv(
        result, kernel, op.strides, op.pads, op.dilations, op.group, inner, transposed
    )
    return b(made, x, packed, *([] if bias is None else [bias]))


def _insert_zeros(b: Builder, x: Value, axis: int, step: int) -> Value:
    """Put step - 1 zeros between the elements of an axis."""
    if step == 1:
        return x
    shape = x.shape
    x = b.reshape(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    x = b.pad(x, _one_end(len(x.shape), axis + 1, step - 1))
    x = b.reshape(x, (*shape[:axis], shape[axis] * step, *shape[axis + 1 :]))
    return b.slice(x, axis, 0, (shape[axis] - 1) * step + 1)


def _blocks_to_channels(
    b: Builder, x: Value, w: Value, axis: int, stride: int
) -> tuple[Value, Value]:
    """A stride above the field's range: blocks of *stride* elements become channels.

    The kernel is filled with zeros to whole blocks; the result is a convolution with stride 1
    along the axis.

    Args:
        x: [N, C, *in], w: [M, C/group, *kernel]; no padding, no dilation along the axis.
        axis: spatial axis.
    """
    at = 2 + axis
    kernel = w.shape[at]
    taps = ceil_div(kernel, stride)
    out = (x.shape[at] - kernel) // stride + 1
    length = (out - 1 + taps) * stride
    if length < x.shape[at]:
        x = b.slice(x, at, 0, length)
    x = b.pad(x, _one_end(len(x.shape), at, length - x.shape[at]))
    n, c = x.shape[:2]
    x = b.reshape(x, (n, c, *x.shape[2:at], length // stride, stride, *x.shape[at + 1 :]))
    rank = len(x.shape)
    order = [0, 1, at + 1, *(a for a in range(2, rank) if a != at + 1)]
    x = b.transpose(x, order)
    x = b.reshape(x, (n, c * stride, *x.shape[3:]))
    m, ic = w.shape[:2]
    w = b.pad(w, _one_end(len(w.shape), at, taps * stride - kernel))
    w = b.reshape(w, (m, ic, *w.shape[2:at], taps, stride, *w.shape[at + 1 :]))
    w = b.transpose(w, order)
    return x, b.reshape(w, (m, ic * stride, *w.shape[3:]))


def _one_end(rank: int, axis: int, count: int) -> list[int]:
    """Pads that add *count* elements at the end of one axis."""
    pads = [0] * (2 * rank)
    pads[rank + axis] = count
    return pads


def _conv3d(b: Builder, x: Value, w: Value, bias: Value | None, op: ops.Conv) -> Value:
    """A sum over the kernel's depth of two-dimensional convolutions, depth taken as batch."""
    n, c = x.shape[:2]
    x = b.pad(x, (0, 0, op.pads[0], 0, 0, 0, 0, op.pads[3], 0, 0))
    depth = x.shape[2]
    reach = (w.shape[2] - 1) * op.dilations[0] + 1
    out_depth = (depth - reach) // op.strides[0] + 1
    x = b.transpose(x, [0, 2, 1, 3, 4])
    plane = ops.Conv(op.strides[1:], (*op.pads[1:3], *op.pads[4:6]), op.dilations[1:], op.group)
    total: Value | None = None
    for k in range(w.shape[2]):
        start = k * op.dilations[0]
        stop = start + (out_depth - 1) * op.strides[0] + 1
        piece = b.slice(x, 1, start, stop, op.strides[0])
        piece = b.reshape(piece, (n * out_depth, c, *piece.shape[3:]))
        if w.data is not None:
            kernel = b.constant(np.ascontiguousarray(w.data[:, :, k]), "plane")
        else:
            kernel = b.slice(w, 2, k, k + 1)
            kernel = b.reshape(kernel, (*w.shape[:2], *w.shape[3:]))
        y = convolve(b, piece, kernel, bias if k == 0 else None, plane)
        total = y if total is None else b.add(total, y)
    assert total is not None
    y = b.reshape(total, (n, out_depth, *total.shape[1:]))
    return b.transpose(y, [0, 2, 1, 3, 4])


@rewrites(ops.ConvTranspose)
def conv_transpose(b: Builder, node: Node) -> Value:
    """A convolution with zeros inserted between the inputs."""
    op = node.op
    assert isinstance(op, ops.ConvTranspose)
    x, w = b.f32(node.operands[0]), b.f32(node.operands[1])
    bias = b.f32(node.operands[2]) if len(node.operands) > 2 else None
    if len(x.shape) == 5 or not transposed_fits(op, w.shape[2:]):
        x, w, made = spread_input(b, x, w, op)
        return convolve(b, x, w, bias, made)
    if w.is_constant and (bias is None or bias.is_constant):
        return b(op, x, w, *([] if bias is None else [bias]))
    return _packed(b, x, w, bias, op)


def transposed_fits(op: ops.ConvTranspose | ops.FixConvTranspose, kernel: tuple[int, ...]) -> bool:
    """Whether the chip's fields hold the zeros between the inputs, the dilation and the pads."""
    spatial = len(kernel)
    if max(*op.strides, *op.dilations) > MAX_FIELD + 1:
        return False
    ends = [o - p for o, p in zip(op.output_padding, op.pads[spatial:], strict=True)]
    extra = [*(-p for p in op.pads[:spatial]), *ends]
    reach = _reach(kernel, op.dilations)
    return max(r - 1 + e for r, e in zip(reach * 2, extra, strict=True)) <= MAX_FIELD


def spread_input(
    b: Builder, x: Value, w: Value, op: ops.ConvTranspose | ops.FixConvTranspose
) -> tuple[Value, Value, ops.Conv]:
    """Zeros between the input elements by data movement, then an ordinary convolution."""
    spatial = len(x.shape) - 2
    for i, stride in enumerate(op.strides):
        x = _insert_zeros(b, x, 2 + i, stride)
    reach = _reach(w.shape[2:], op.dilations)
    begins = [r - 1 - p for r, p in zip(reach, op.pads[:spatial], strict=True)]
    ends = [
        r - 1 - p + o for r, p, o in zip(reach, op.pads[spatial:], op.output_padding, strict=True)
    ]
    x = _pad_spatial(b, x, begins, ends)
    weight = _transposed_weight(b, w, op.group)
    return x, weight, ops.Conv((1,) * spatial, (0,) * (2 * spatial), op.dilations, op.group)


def _transposed_weight(b: Builder, w: Value, group: int) -> Value:
    """[C, M/group, ...] → [M, C/group, ...] with the kernel turned by 180 degrees."""
    c, m = w.shape[:2]
    spatial = w.shape[2:]
    if w.data is not None:
        data = np.asarray(w.data).reshape(group, c // group, m, *spatial).swapaxes(1, 2)
        data = data.reshape(group * m, c // group, *spatial)
        return b.constant(np.flip(data, tuple(range(2, data.ndim))).copy(), "turned")
    rank = len(w.shape)
    turned = b(
        ops.Slice(
            tuple(0 if a < 2 else w.shape[a] - 1 for a in range(rank)),
            tuple(w.shape[a] if a < 2 else -1 for a in range(rank)),
            tuple(1 if a < 2 else -1 for a in range(rank)),
        ),
        w,
    )
    turned = b.reshape(turned, (group, c // group, m, *spatial))
    turned = b.transpose(turned, [0, 2, 1, *range(3, 3 + len(spatial))])
    return b.reshape(turned, (group * m, c // group, *spatial))


def explicit_pads(node: Node) -> tuple[list[int], list[int]]:
    """Pads with which the window formula gives the output size exactly (ceil mode included)."""
    op, x, y = node.op, node.operands[0], node.output
    assert isinstance(op, (ops.MaxPool, ops.AveragePool, ops.LpPool))
    spatial = len(op.kernel)
    begins, ends = list(op.pads[:spatial]), list(op.pads[spatial:])
    reach = _reach(op.kernel, op.dilations)
    for i in range(spatial):
        need = (y.shape[2 + i] - 1) * op.strides[i] + reach[i] - x.shape[2 + i] - begins[i]
        ends[i] = max(ends[i], need) if op.ceil_mode else ends[i]
    return begins, ends


@rewrites(ops.MaxPool)
def max_pool(b: Builder, node: Node) -> Value:
    """The pooling instruction; dilated windows as maxima of slices."""
    op = node.op
    assert isinstance(op, ops.MaxPool)
    begins, ends = explicit_pads(node)
    return _max_pool(b, b.f32(node.operands[0]), op.kernel, op.strides, op.dilations, begins, ends)


def _max_pool(
    b: Builder,
    x: Value,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    begins: Sequence[int],
    ends: Sequence[int],
) -> Value:
    n, c = x.shape[:2]
    spatial = len(kernel)
    lowest = float(np.finfo(np.float32).min)
    if spatial == 3:
        depth, plane = x.shape[2], x.shape[3:]
        y = _max_pool(
            b,
            b.reshape(x, (n, c * depth, *plane)),
            kernel[1:],
            strides[1:],
            dilations[1:],
            begins[1:],
            ends[1:],
        )
        out = y.shape[2:]
        y = b.reshape(y, (n, c, depth, math.prod(out)))
        y = _max_pool(
            b,
            y,
            (kernel[0], 1),
            (strides[0], 1),
            (dilations[0], 1),
            (begins[0], 0),
            (ends[0], 0),
        )
        return b.reshape(y, (n, c, y.shape[2], *out))
    dilated = any(d != 1 for d in dilations)
    big = max(*begins, *ends, *strides) > MAX_FIELD
    if dilated or big:
        x = b.pad(x, (0, 0, *begins, 0, 0, *ends), lowest)
        begins, ends = [0] * spatial, [0] * spatial
    if dilated or max(strides) > MAX_FIELD:
        # The maximum over the kernel positions of strided slices.
        reach = _reach(kernel, dilations)
        out = [(s - r) // t + 1 for s, r, t in zip(x.shape[2:], reach, strides, strict=True)]
        for axis in range(spatial):
            best: Value | None = None
            for k in range(kernel[axis]):
                start = k * dilations[axis]
                stop = start + (out[axis] - 1) * strides[axis] + 1
                piece = b.slice(x, 2 + axis, start, stop, strides[axis])
                best = piece if best is None else b.binary("max", best, piece)
            assert best is not None
            x = best
        return x
    ones = (1,) * spatial
    return b(ops.MaxPool(tuple(kernel), tuple(strides), (*begins, *ends), ones), x)


def window_sum(
    b: Builder,
    x: Value,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    begins: Sequence[int],
    ends: Sequence[int],
) -> Value:
    """Mean over whole windows, padded zeros included: the chip's average pooling."""
    n, c = x.shape[:2]
    spatial = len(kernel)
    if spatial == 3:
        depth, plane = x.shape[2], x.shape[3:]
        y = window_sum(
            b,
            b.reshape(x, (n, c * depth, *plane)),
            kernel[1:],
            strides[1:],
            dilations[1:],
            begins[1:],
            ends[1:],
        )
        out = y.shape[2:]
        y = window_sum(
            b,
            b.reshape(y, (n, c, depth, math.prod(out))),
            (kernel[0], 1),
            (strides[0], 1),
            (dilations[0], 1),
            (begins[0], 0),
            (ends[0], 0),
        )
        return b.reshape(y, (n, c, y.shape[2], *out))
    reach = _reach(kernel, dilations)
    beyond = any(p >= r for p, r in zip([*begins, *ends], reach * 2, strict=True))
    if beyond or max(*begins, *ends, *strides) > MAX_FIELD:
        x = b.pad(x, (0, 0, *begins, 0, 0, *ends))
        begins, ends = [0] * spatial, [0] * spatial
    keep = list(strides)
    stepped = [s if s <= MAX_FIELD else 1 for s in strides]
    pool = ops.AveragePool(
        tuple(kernel), tuple(stepped), (*begins, *ends), tuple(dilations), False, True
    )
    y = b(pool, x)
    for i, (s, t) in enumerate(zip(keep, stepped, strict=True)):
        if s != t:
            y = b.slice(y, 2 + i, 0, y.shape[2 + i], s)
    return y


@rewrites(ops.AveragePool)
def average_pool(b: Builder, node: Node) -> Value:
    """The chip divides by the whole window; border windows are corrected by a factor."""
    op = node.op
    assert isinstance(op, ops.AveragePool)
    x = b.f32(node.operands[0])
    begins, ends = explicit_pads(node)
    y = window_sum(b, x, op.kernel, op.strides, op.dilations, begins, ends)
    spatial = len(op.kernel)
    factor = np.ones((1,) * spatial)
    for i in range(spatial):
        size, begin = x.shape[2 + i], op.pads[i]
        low, high = 0, size
        if op.count_include_pad:
            low, high = -begin, size + op.pads[spatial + i]
        starts = np.arange(y.shape[2 + i]) * op.strides[i] - begin
        taps = starts[:, None] + np.arange(op.kernel[i]) * op.dilations[i]
        inside = ((taps >= low) & (taps < high)).sum(1)
        factor = factor * (op.kernel[i] / np.maximum(inside, 1)).reshape(
            [-1 if a == i else 1 for a in range(spatial)]
        )
    if (factor != 1.0).any():
        y = b.mul(y, b.constant(factor, "border"))
    return y


@rewrites(ops.LpPool)
def lp_pool(b: Builder, node: Node) -> Value:
    """Average pooling of powers."""
    op = node.op
    assert isinstance(op, ops.LpPool)
    x = b.unary("abs", b.f32(node.operands[0]))
    power = x if op.p == 1 else b.binary("pow", x, float(op.p))
    begins, ends = explicit_pads(node)
    mean = window_sum(b, power, op.kernel, op.strides, op.dilations, begins, ends)
    total = b.mul(mean, float(math.prod(op.kernel)))
    return total if op.p == 1 else b.binary("pow", total, 1.0 / op.p)


@rewrites(ops.MatMul)
def matmul(b: Builder, node: Node) -> Value:
    """The matrix product instruction."""
    op = node.op
    assert isinstance(op, ops.MatMul)
    a, w = (b.f32(v) for v in node.operands[:2])
    bias = b.f32(node.operands[2]) if len(node.operands) > 2 else None
    if op.transpose_a:
        a = _swap_last(b, a)
    if op.transpose_b:
        w = _swap_last(b, w)
    if len(a.shape) == 1:
        a = b.reshape(a, (1, a.shape[0]))
    if len(w.shape) == 1:
        w = b.reshape(w, (w.shape[0], 1))
    k, n = w.shape[-2:]
    # One matrix on the right: all rows of the left are one matrix.
    if math.prod(w.shape[:-2]) == 1:
        rows = math.prod(a.shape[:-1])
        flat = b.matmul(b.reshape(a, (rows, k)), b.reshape(w, (k, n)), _vector(b, bias, n))
        y = b.reshape(flat, (*np.broadcast_shapes(a.shape[:-2], w.shape[:-2]), a.shape[-2], n))
    else:
        y = b.matmul(a, w, _vector(b, bias, n))
    if bias is not None and _vector(b, bias, n) is None:
        y = b.add(b.reshape(y, node.output.shape), bias)
    return b.reshape(y, node.output.shape)


def _vector(b: Builder, bias: Value | None, n: int) -> Value | None:
    """The bias as one row, if it is one."""
    if bias is None or bias.type.size != n or bias.shape[-1:] != (n,):
        return None
    return b.reshape(bias, (n,))


def _swap_last(b: Builder, x: Value) -> Value:
    if x.data is not None:
        return b.constant(np.ascontiguousarray(np.swapaxes(x.data, -1, -2)), x.name)
    rank = len(x.shape)
    return b.transpose(x, [*range(rank - 2), rank - 1, rank - 2])


__all__ = ["ceil_div", "convolve", "window_sum"]
