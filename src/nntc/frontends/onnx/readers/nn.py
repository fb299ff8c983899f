"""Convolutions and matrix products."""

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


def convolve(c: Call, x: Value, w: Value, bias: Value | None) -> Value:
    """Conv with the node's attributes; negative pads cut first."""
    if len(w.shape) != len(x.shape):
        raise ModelError(f"weights {list(w.shape)} and operand {list(x.shape)} differ in rank")
    windows = Windows(c, x.shape[2:], w.shape[2:])
    pads = windows.pads
    if min(pads) < 0:
        spatial = len(windows.size)
        cut = [min(p, 0) for p in pads]
        x = c.b.pad(x, (0, 0, *cut[:spatial], 0, 0, *cut[spatial:]))
        pads = tuple(max(p, 0) for p in pads)
    op = ops.Conv(windows.strides, pads, windows.dilations, c.i("group", 1))
    operands = (x, w) if bias is None else (x, w, bias)
    return c.b.op(op, *operands)


@reads("Conv")
def conv(c: Call) -> Value:
    return convolve(c, c.x(0), c.x(1), c.opt(2))


@reads("ConvTranspose")
def conv_transpose(c: Call) -> Value:
    """output_shape fixes the pads; auto_pad SAME gives size * stride."""
    x, w, bias = c.x(0), c.x(1), c.opt(2)
    if len(w.shape) != len(x.shape):
        raise ModelError(f"weights {list(w.shape)} and operand {list(x.shape)} differ in rank")
    windows = Windows(c, x.shape[2:], w.shape[2:])
    spatial = len(windows.size)
    extra = c.ints("output_padding") or (0,) * spatial
    if len(extra) != spatial or min(extra) < 0:
        raise ModelError(f"attribute 'output_padding' {list(extra)} does not fit {spatial} axes")
    wanted = c.ints("output_shape")
    pads = windows.pads
    if wanted is None and windows.auto.startswith("SAME"):
        wanted = tuple(n * s for n, s in zip(windows.size, windows.strides, strict=True))
    full = [
        s * (n - 1) + e + k
        for n, s, e, k in zip(windows.size, windows.strides, extra, windows.extents, strict=True)
    ]
    if wanted is not None:
        wanted = wanted[-spatial:]
        if len(wanted) != spatial:
            raise ModelError(f"attribute 'output_shape' {list(wanted)} does not fit {spatial} axes")
        total = [max(f - n, 0) for f, n in zip(full, wanted, strict=True)]
        missing = tuple(max(n - f, 0) for f, n in zip(full, wanted, strict=True))
        extra = tuple(e + m for e, m in zip(extra, missing, strict=True))
        pads = _transposed_pads(windows, total)
    # Negative pads widen the result, the operator's own word for that is output_padding.
    if min(pads) < 0:
        raise RefusedError(f"pads {list(pads)} are negative")
    op = ops.ConvTranspose(windows.strides, pads, windows.dilations, c.i("group", 1), extra)
    operands = (x, w) if bias is None else (x, w, bias)
    return c.b.op(op, *operands)


def _transposed_pads(windows: Windows, total: list[int]) -> tuple[int, ...]:
    """Of an odd sum SAME_UPPER leaves the smaller half in front, everything else the larger."""
    half = [n // 2 for n in total]
    rest = [n - h for n, h in zip(total, half, strict=True)]
    return (*half, *rest) if windows.auto == "SAME_UPPER" else (*rest, *half)


@reads("MatMul")
def matmul(c: Call) -> Value:
    return c.b.matmul(c.x(0), c.x(1))


@reads("FusedMatMul", domain="com.microsoft")
def fused_matmul(c: Call) -> Value:
    if c.flag("transBatchA") or c.flag("transBatchB"):
        raise RefusedError("transposed batches")
    y = c.b.matmul(c.x(0), c.x(1), transpose_a=c.flag("transA"), transpose_b=c.flag("transB"))
    return c.b.scale(y, c.f("alpha", 1.0))


@reads("Gemm")
def gemm(c: Call) -> Value:
    """alpha * A B + beta * C; factors go into constants where they can."""
    a, b, bias = c.x(0), c.x(1), c.opt(2)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise ModelError(f"operands {list(a.shape)} and {list(b.shape)} are no matrices")

    def product(bias: Value | None = None) -> Value:
        flags = c.flag("transA"), c.flag("transB")
        return c.b.matmul(a, b, bias, transpose_a=flags[0], transpose_b=flags[1])

    alpha, beta = (_factor(c, n, a.dtype) for n in ("alpha", "beta"))
    if b.data is not None:
        b = c.b.scale(b, alpha)
        alpha = 1
    if bias is None or beta == 0:
        return c.b.scale(product(), alpha)
    bias = c.b.scale(bias, beta)
    if alpha == 1:
        return product(bias)
    return c.b.add(c.b.scale(product(), alpha), bias)


def _factor(c: Call, name: str, dtype: DType) -> float:
    value = c.f(name, 1.0)
    if not dtype.is_float and value != int(value):
        raise RefusedError(f"attribute '{name}' is {value} on integers")
    return value


@reads("Det")
def det(c: Call) -> Value:
    """Determinants of small matrices, by expansion along the first row."""
    x = c.x()
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ModelError(f"the operand {list(x.shape)} holds no square matrices")
    size = x.shape[-1]
    if size > 4:
        raise RefusedError(f"determinants of {size}x{size} matrices; at most 4x4 are expanded")
    rank = len(x.shape)

    def element(row: int, column: int) -> Value:
        cell = c.b.slice(c.b.slice(x, rank - 2, row, row + 1), rank - 1, column, column + 1)
        return c.b.reshape(cell, x.shape[:-2])

    def expand(row: int, columns: tuple[int, ...]) -> Value:
        if not columns:
            return c.b.full(x.shape[:-2], 1, x.dtype)
        total: Value | None = None
        for position, column in enumerate(columns):
            rest = columns[:position] + columns[position + 1 :]
            term = element(row, column)
            if rest:
                term = c.b.mul(term, expand(row + 1, rest))
            if total is None:
                total = term
            else:
                total = c.b.sub(total, term) if position % 2 else c.b.add(total, term)
        assert total is not None
        return total

    return expand(0, tuple(range(size)))


@reads("Einsum")
def einsum(c: Call) -> Value:
    from nntc.frontends.onnx.einsum import einsum as build

    return build(c.b, c.s("equation"), c.all())


@reads("DeformConv")
def deform_conv(c: Call) -> Value:
    """Each kernel tap samples the image at shifted places; one product with the weights follows.

    The samples are bilinear and zero outside, as GridSample takes them.
    """
    x, w, offset = c.x(0), c.x(1), c.x(2)
    bias, mask = c.opt(3), c.opt(4)
    if len(x.shape) != 4:
        raise RefusedError(f"the operand has rank {len(x.shape)}; images (rank 4) are supported")
    windows = Windows(c, x.shape[2:], w.shape[2:])
    n, channels, height, width = x.shape
    group, offset_group = c.i("group", 1), c.i("offset_group", 1)
    taps = math.prod(windows.kernel)
    out_h, out_w = offset.shape[2:]
    if channels % offset_group or offset.shape[1] != 2 * taps * offset_group:
        raise ModelError(f"offsets {list(offset.shape)} do not fit {offset_group} groups")
    places = c.b.reshape(offset, (n, offset_group, taps, 2, out_h, out_w))
    count = taps * out_h * out_w
    limits.check_bytes((count, 2), x.dtype, limits.CONSTANT_BYTES, "the positions")
    base = _tap_positions(windows, out_h, out_w)
    places = c.b.add(places, c.b.const(base))
    # Pixel p of size s lies at (2p + 1) / s - 1 when -1 and 1 are the outer edges.
    size = np.array([height, width], np.float32).reshape(1, 1, 1, 2, 1, 1)
    places = c.b.add(c.b.mul(places, c.b.const(2 / size)), c.b.const(1 / size - 1))
    # [n, og, tap, (y, x), h, w] to the grid [n * og, tap * h, w, (x, y)].
    places = c.b.transpose(places, (0, 1, 2, 4, 5, 3))
    places = c.b.gather(places, np.array([1, 0], np.int64), 5)
    grid = c.b.reshape(places, (n * offset_group, taps * out_h, out_w, 2))
    per_group = channels // offset_group
    image = c.b.reshape(x, (n * offset_group, per_group, height, width))
    samples = c.b.op(ops.GridSample("linear", "zeros", False), image, grid)
    samples = c.b.reshape(samples, (n, offset_group, per_group, taps, out_h * out_w))
    if mask is not None:
        weights = c.b.reshape(mask, (n, offset_group, 1, taps, out_h * out_w))
        samples = c.b.mul(samples, weights)
    columns = c.b.reshape(samples, (n, group, channels // group * taps, out_h * out_w))
    rows = c.b.reshape(w, (group, w.shape[0] // group, w.shape[1] * taps))
    y = c.b.reshape(c.b.matmul(rows, columns), (n, w.shape[0], out_h, out_w))
    return y if bias is None else c.b.add(y, c.b.reshape(bias, (w.shape[0], 1, 1)))


def _tap_positions(windows: Windows, out_h: int, out_w: int) -> np.ndarray:
    """Pixel of every tap at every window without offsets: [1, 1, taps, (y, x), h, w]."""
    axes = []
    for axis, count in enumerate((out_h, out_w)):
        start = np.arange(count) * windows.strides[axis] - windows.pads[axis]
        tap = np.arange(windows.kernel[axis]) * windows.dilations[axis]
        axes.append(tap[:, None] + start)
    rows, columns = axes
    kh, kw = windows.kernel
    grid = np.empty((kh, kw, 2, out_h, out_w), np.float32)
    grid[:, :, 0] = rows[:, None, :, None]
    grid[:, :, 1] = columns[None, :, None, :]
    return grid.reshape(1, 1, kh * kw, 2, out_h, out_w)
