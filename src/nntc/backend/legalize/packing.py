"""Conversions between fp32 and words of four 8-bit samples, as operators of the legal graph.

With one group of samples (batch up to 4) the words [1, ...] broadcast to [N, ...]: a shift by an
amount that differs by sample takes the bytes out, an or along the batch axis puts them together.
Larger batches have an axis of groups and one of the samples in a group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nntc.backend.fixed_ops import SAMPLES, ByteToFloat, ReduceOr, RoundToBits
from nntc.core.dtype import DType
from nntc.ir.graph import TensorType, Value
from nntc.isa.layout import ceil_div

if TYPE_CHECKING:
    from nntc.backend.legalize.builder import Builder


def _samples(kind: TensorType) -> int:
    return kind.shape[0] if kind.shape else 1


def _amounts(rank: int, axis: int, count: int, step: int) -> np.ndarray:
    """Shifts 0, step, 2 step, ... along an axis of a tensor of *rank*."""
    steps = (step * np.arange(count)).astype(np.int32)
    return steps.reshape([count if a == axis else 1 for a in range(rank)])


def spread_scale(b: Builder, scale: Value, axis: int, rank: int, grouped: bool = False) -> Value:
    """A scale (one, or along *axis*) as it broadcasts to [N, ...], or [groups, samples, ...]."""
    if scale.type.size == 1:
        return b.reshape(scale, ())
    shape = [scale.shape[0] if a == axis else 1 for a in range(rank)]
    return b.reshape(scale, [1, *shape] if grouped else shape)


def unpack(
    b: Builder,
    words: Value,
    kind: TensorType,
    scale: Value | None = None,
    axis: int = 1,
    zero: int = 0,
) -> Value:
    """Words of an 8-bit value of type *kind*, minus *zero*, as fp32, times a scale (one, or along
    *axis*)."""
    n, rank = _samples(kind), len(kind.shape)
    to_float = ByteToFloat(kind.dtype is DType.I8, zero)
    if n <= SAMPLES:
        x = words
        if n > 1:
            x = b.bits("shift", x, b.constant(_amounts(rank, 0, n, -8), "bytes"))
        y = b(to_float, x)
        return y if scale is None else b.mul(y, spread_scale(b, scale, axis, rank))
    groups, rest = ceil_div(n, SAMPLES), kind.shape[1:]
    x = b.reshape(words, (groups, 1, *rest))
    x = b.bits("shift", x, b.constant(_amounts(rank + 1, 1, SAMPLES, -8), "bytes"))
    y = b(to_float, x)
    late = axis == 0 and scale is not None and scale.type.size > 1
    if scale is not None and not late:
        y = b.mul(y, spread_scale(b, scale, axis, rank, True))
    y = b.reshape(y, (groups * SAMPLES, *rest))
    y = b.slice(y, 0, 0, n)
    if late:
        assert scale is not None
        y = b.mul(y, spread_scale(b, scale, axis, rank))
    return y


def pack(b: Builder, x: Value) -> Value:
    """fp32 integers of 8 bits as words."""
    return _pack(b, x, None, 0, None)


def quantize(b: Builder, x: Value, multiplier: Value, axis: int, to: DType, zero: int = 0) -> Value:
    """Words of x times a multiplier (one, or along *axis*), rounded half to even, plus *zero*,
    saturated."""
    if axis == 0 and multiplier.type.size > 1:
        x = b.mul(x, spread_scale(b, multiplier, 0, len(x.shape)))
        multiplier = b.constant(np.float32(1.0))
    return _pack(b, x, multiplier, axis, to, zero)


def _pack(
    b: Builder, x: Value, scale: Value | None, axis: int, to: DType | None, zero: int = 0
) -> Value:
    n, rank = _samples(x.type), len(x.shape)
    groups = ceil_div(n, SAMPLES)
    rest = x.shape[1:]
    grouped = n > SAMPLES
    if grouped:
        x = b.pad(x, (*(0,) * rank, groups * SAMPLES - n, *(0,) * (rank - 1)))
        x = b.reshape(x, (groups, SAMPLES, *rest))
    if scale is not None and to is not None:
        if scale.data is None or scale.type.size > 1 or float(scale.data.reshape(-1)[0]) != 1.0:
            x = b.mul(x, spread_scale(b, scale, axis, rank, grouped))
        # Limits are whole numbers: cutting before rounding is the same as after it.
        limits = np.iinfo(to.numpy.name)
        x = b.binary("max", x, float(limits.min - zero))
        x = b.binary("min", x, float(limits.max - zero))
    bits = b(RoundToBits(zero), x)
    if n <= 1:
        return bits
    at = 1 if grouped else 0
    count = SAMPLES if grouped else n
    bits = b.bits("and", bits, 0xFF)
    bits = b.bits("shift", bits, b.constant(_amounts(len(x.shape), at, count, 8), "bytes"))
    bits = b(ReduceOr.over(at), bits)
    return b.reshape(bits, (groups, *rest))


def replicate(b: Builder, words: Value) -> Value:
    """The low byte in all four bytes."""
    x = b.bits("and", words, 0xFF)
    x = b.bits("or", x, b.bits("shift", x, 8))
    return b.bits("or", x, b.bits("shift", x, 16))
