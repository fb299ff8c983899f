"""Operators on quantised numbers, in their exact float meaning.

Integers up to 2^24 are exact in float32, so sums of products of 8-bit numbers are exact while
they stay below it.
"""

from __future__ import annotations

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends.onnx.call import Call, RefusedError, front_axis, reads
from nntc.frontends.onnx.readers.nn import convolve
from nntc.ir.graph import Value


def _spread(c: Call, v: Value, x: Value, axis: int, block: int) -> Value:
    """A scale or zero point in a shape that broadcasts with x: one number, one per index of an
    axis, or one per block along an axis."""
    if v.type.size == 1 and len(v.shape) <= 1:
        return c.b.reshape(v, ())
    rank = len(x.shape)
    axis = front_axis(axis, rank)
    if len(v.shape) == 1 and not block:
        if v.shape[0] != x.shape[axis]:
            raise ModelError(f"{v.shape[0]} scales for axis {axis} of {list(x.shape)}")
        return c.b.reshape(v, (v.shape[0], *(1,) * (rank - axis - 1)))
    if len(v.shape) != rank:
        raise ModelError(f"scale {list(v.shape)} does not fit {list(x.shape)}")
    if not block:
        block = -(-x.shape[axis] // max(v.shape[axis], 1))
    index = np.arange(x.shape[axis]) // block
    if index[-1] >= v.shape[axis]:
        raise ModelError(f"scale {list(v.shape)} in blocks of {block} is short of {list(x.shape)}")
    return c.b.gather(v, index, axis)


def _f32(c: Call, v: Value) -> Value:
    return c.b.cast(v, DType.F32)


def _quantise(c: Call, x: Value, scale: Value, zero: Value | None, dtype: DType) -> Value:
    """saturate(round(x / scale) + zero)."""
    return _saturate(c, c.b.unary("round", c.b.div(x, scale)), zero, dtype)


def _saturate(c: Call, y: Value, zero: Value | None, dtype: DType) -> Value:
    if dtype not in (DType.I8, DType.U8, DType.I16, DType.U16):
        raise RefusedError(f"quantised numbers of type {dtype}")
    if zero is not None and (zero.data is None or zero.data.any()):
        y = c.b.add(y, _f32(c, zero))
    info = np.iinfo(dtype.numpy.name)
    return c.b.cast(c.b.clip(y, float(info.min), float(info.max)), dtype)


@reads("QuantizeLinear")
def quantize_linear(c: Call) -> Value:
    x, scale, zero = _f32(c, c.x(0)), _f32(c, c.x(1)), c.opt(2)
    if zero is not None:
        dtype = zero.dtype
    else:
        dtype = c.dtype(c.i("output_dtype", 0) or 2, "the type")
    axis, block = c.i("axis", 1), c.i("block_size", 0)
    scale = _spread(c, scale, x, axis, block)
    if zero is not None:
        zero = _spread(c, zero, x, axis, block)
    return _quantise(c, x, scale, zero, dtype)


@reads("DequantizeLinear")
def dequantize_linear(c: Call) -> Value:
    """(x - zero) * scale."""
    x, scale, zero = c.x(0), _f32(c, c.x(1)), c.opt(2)
    axis, block = c.i("axis", 1), c.i("block_size", 0)
    y = _f32(c, x)
    if zero is not None and (zero.data is None or zero.data.any()):
        y = c.b.sub(y, _spread(c, _f32(c, zero), x, axis, block))
    return c.b.mul(y, _spread(c, scale, x, axis, block))


@reads("DynamicQuantizeLinear")
def dynamic_quantize_linear(c: Call) -> list[Value]:
    x = c.x()
    axes = range(len(x.shape))
    nothing = c.b.like(0.0, x)
    high = c.b.binary("max", c.b.reduce("max", x, axes, keepdims=False), nothing)
    low = c.b.binary("min", c.b.reduce("min", x, axes, keepdims=False), nothing)
    scale = c.b.div(c.b.sub(high, low), c.b.like(255.0, x))
    # A constant zero has no range; any scale gives the same numbers.
    scale = c.b.where(c.b.binary("eq", scale, nothing), c.b.like(1.0, x), scale)
    zero = c.b.unary("round", c.b.clip(c.b.div(c.b.unary("neg", low), scale), 0.0, 255.0))
    zero = c.b.cast(zero, DType.U8)
    return [_quantise(c, x, scale, zero, DType.U8), scale, zero]


def _minus(c: Call, x: Value, zero: Value | None, rank_axis: int | None = None) -> Value:
    """x - zero in float; a zero point per entry stands along *rank_axis*."""
    y = _f32(c, x)
    if zero is None or (zero.data is not None and not zero.data.any()):
        return y
    offset = _f32(c, zero)
    if offset.type.size == 1:
        offset = c.b.reshape(offset, ())
    elif rank_axis is not None and len(offset.shape) == 1:
        offset = c.b.reshape(offset, (offset.shape[0], *(1,) * (len(x.shape) - rank_axis - 1)))
    return c.b.sub(y, offset)


@reads("ConvInteger")
def conv_integer(c: Call) -> Value:
    x, w = _minus(c, c.x(0), c.opt(2)), _minus(c, c.x(1), c.opt(3), 0)
    return c.b.cast(convolve(c, x, w, None), DType.I32)


@reads("MatMulInteger")
def matmul_integer(c: Call) -> Value:
    a, b = _matrix(c, 0, 2, row=True), _matrix(c, 1, 3, row=False)
    return c.b.cast(c.b.matmul(a, b), DType.I32)


def _matrix(c: Call, index: int, zero_index: int, row: bool) -> Value:
    """An operand minus its zero point: one number, or one per row (first) or column (second)."""
    x, zero = c.x(index), c.opt(zero_index)
    if zero is not None and len(zero.shape) == 1 and zero.type.size > 1 and row:
        zero = c.b.reshape(zero, (zero.shape[0], 1))
    return _minus(c, x, zero)


@reads("QLinearMatMul")
def qlinear_matmul(c: Call) -> Value:
    a, b = _matrix(c, 0, 2, row=True), _matrix(c, 3, 5, row=False)
    a_scale, b_scale, y_scale = (_f32(c, c.x(i)) for i in (1, 4, 6))
    if len(a_scale.shape) == 1 and a_scale.type.size > 1:
        a_scale = c.b.reshape(a_scale, (a_scale.shape[0], 1))
    factor = c.b.div(c.b.mul(_scalar(c, a_scale), _scalar(c, b_scale)), _scalar(c, y_scale))
    y = c.b.unary("round", c.b.mul(c.b.matmul(a, b), factor))
    return _saturate(c, y, _scalar(c, c.x(7)), c.x(7).dtype)


def _scalar(c: Call, v: Value) -> Value:
    return c.b.reshape(v, ()) if v.type.size == 1 else v


@reads("QLinearConv")
def qlinear_conv(c: Call) -> Value:
    x, w = _minus(c, c.x(0), c.x(2)), _minus(c, c.x(3), c.x(5), 0)
    bias = c.opt(8)
    y = convolve(c, x, w, None if bias is None else _f32(c, bias))
    scales = [_scalar(c, _f32(c, c.x(i))) for i in (1, 4, 6)]
    factor = c.b.div(c.b.mul(scales[0], scales[1]), scales[2])
    if factor.shape:
        factor = c.b.reshape(factor, (factor.shape[0], *(1,) * (len(y.shape) - 2)))
    y = c.b.unary("round", c.b.mul(y, factor))
    return _saturate(c, y, _scalar(c, c.x(7)), c.x(7).dtype)
