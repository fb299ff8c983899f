"""Operators whose result is known while reading."""

from __future__ import annotations

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends import limits
from nntc.frontends.onnx.call import Call, RefusedError, reads
from nntc.frontends.onnx.tensors import check_numbers, sparse_to_array, to_array
from nntc.ir import ops
from nntc.ir.graph import Value


@reads("Constant")
def constant(c: Call) -> Value:
    name = c.node.output[0]
    tensor = c.tensor("value")
    if tensor is not None:
        data = to_array(tensor, c.importer.external, name)
    elif c.has("sparse_value"):
        data = sparse_to_array(c.attrs["sparse_value"].sparse_tensor, c.importer.external)
    elif c.has("value_float"):
        data = np.float32(c.f("value_float", 0))
    elif c.has("value_floats"):
        data = np.array(c.floats("value_floats"), np.float32)
    elif c.has("value_int"):
        data = np.int64(c.i("value_int", 0))
    elif c.has("value_ints"):
        data = np.array(c.ints("value_ints"), np.int64)
    elif c.has("value_string") or c.has("value_strings"):
        raise RefusedError("strings have no equivalent on the chip")
    else:
        raise ModelError("it has no value")
    data = np.asarray(data)
    if data.ndim:
        check_numbers(data, name)
    return c.b.const(c.importer.shared(data, c.scope))


@reads("ConstantOfShape")
def constant_of_shape(c: Call) -> Value:
    shape = c.const_ints(0, "the shape")
    tensor = c.tensor("value")
    value = (
        np.zeros(1, np.float32)
        if tensor is None
        else to_array(tensor, c.importer.external, "value")
    )
    if value.size != 1:
        raise ModelError(f"attribute 'value' has {value.size} elements, 1 is needed")
    return c.b.full(shape, value.reshape(-1)[0], DType.of(value))


@reads("Shape")
def shape(c: Call) -> Value:
    dims = c.x().shape
    rank = len(dims)
    start, end = (
        min(max(v + rank if v < 0 else v, 0), rank) for v in (c.i("start", 0), c.i("end", rank))
    )
    return c.b.const(np.array(dims[start:end], np.int64))


@reads("Size")
def size(c: Call) -> Value:
    return c.b.const(np.int64(c.x().type.size))


@reads("Range")
def range_(c: Call) -> Value:
    dtype = c.x().dtype
    start, limit, delta = (c.const_scalar(i, n) for i, n in enumerate(("start", "limit", "delta")))
    if delta == 0 or not np.isfinite([float(v) for v in (start, limit, delta)]).all():
        raise ModelError(f"range from {start} to {limit} in steps of {delta} has no end")
    count = max(0, int(np.ceil((limit - start) / delta)))
    limits.check_bytes((count,), dtype, limits.CONSTANT_BYTES, "the range")
    if dtype.is_float:
        return c.b.const((start + np.arange(count) * delta).astype(np.float32))
    with np.errstate(over="ignore"):
        steps = np.arange(count, dtype=np.int64) * np.int64(delta) + np.int64(start)
    return c.b.const(steps.astype(dtype.numpy))


@reads("EyeLike")
def eye_like(c: Call) -> Value:
    x = c.x()
    if len(x.shape) != 2:
        raise ModelError(f"the operand has rank {len(x.shape)}, 2 is needed")
    dtype = c.dtype(c.i("dtype", 0)) if c.has("dtype") else x.dtype
    limits.check_bytes(x.shape, dtype, limits.CONSTANT_BYTES, "the matrix")
    k = max(-x.shape[0], min(c.i("k", 0), x.shape[1]))
    return c.b.const(np.eye(*x.shape, k, dtype=dtype.numpy))


@reads("NonZero")
def non_zero(c: Call) -> Value:
    return c.b.const(np.array(np.nonzero(c.const(0, "the operand")), np.int64))


@reads("Compress")
def compress(c: Call) -> Value:
    x = c.x()
    mask = c.const(1, "the condition, which sets the result's shape,").reshape(-1)
    axis = c.axis("axis", 0, len(x.shape)) if c.has("axis") else 0
    if not c.has("axis"):
        x = c.b.reshape(x, (x.type.size,))
    if len(mask) > x.shape[axis]:
        raise ModelError(f"the condition has {len(mask)} entries, axis {axis} {x.shape[axis]}")
    return c.b.gather(x, np.flatnonzero(mask).astype(np.int64), axis)


@reads("Unique")
def unique(c: Call) -> list[Value]:
    x = c.const(0, "the operand, whose content sets the result's shape,")
    axis = c.axis("axis", 0, x.ndim) if c.has("axis") else None
    values, first, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not c.flag("sorted", True):
        order = np.argsort(first)
        values = values.take(order, 0 if axis is None else axis)
        first, counts = first[order], counts[order]
        inverse = np.argsort(order)[inverse]
    return [c.b.const(values), *(c.b.const(v.astype(np.int64)) for v in (first, inverse, counts))]


@reads("OneHot")
def one_hot(c: Call) -> Value:
    indices, values = c.x(0), c.x(2)
    depth = int(c.const_scalar(1, "depth"))
    axis = c.axis("axis", -1, len(indices.shape) + 1)
    return c.b.op(ops.OneHot(axis, depth), indices, values)


# -- windows and filters of signal processing ---------------------------------------------------


def _window(c: Call, terms: tuple[float, ...]) -> Value:
    """A sum of cosines over the window; periodic unless the attribute says symmetric."""
    size = c.const_int(0, "the size")
    dtype = c.dtype(c.i("output_datatype", 1))
    limits.check_bytes((size,), dtype, limits.CONSTANT_BYTES, "the window")
    period = size if c.flag("periodic", True) else size - 1
    angle = 2 * np.pi * np.arange(size) / max(period, 1)
    data = sum(t * np.cos(k * angle) for k, t in enumerate(terms))
    return c.b.const(np.asarray(data).astype(dtype.numpy))


@reads("HannWindow")
def hann_window(c: Call) -> Value:
    return _window(c, (0.5, -0.5))


@reads("HammingWindow")
def hamming_window(c: Call) -> Value:
    return _window(c, (25 / 46, -21 / 46))


@reads("BlackmanWindow")
def blackman_window(c: Call) -> Value:
    return _window(c, (0.42, -0.5, 0.08))


@reads("MelWeightMatrix")
def mel_weight_matrix(c: Call) -> Value:
    """Triangular filters from spectrogram bins to mel bands, as the operator's text defines."""
    names = ("num_mel_bins", "dft_length", "sample_rate")
    bands, length, rate = (c.const_int(i, n) for i, n in enumerate(names))
    low, high = (
        2595 * np.log10(1 + float(c.const_scalar(i, n)) / 700)
        for i, n in ((3, "lower_edge_hertz"), (4, "upper_edge_hertz"))
    )
    dtype = c.dtype(c.i("output_datatype", 1))
    bins = length // 2 + 1
    limits.check_bytes((bins, bands), dtype, limits.CONSTANT_BYTES, "the matrix")
    mels = low + np.arange(bands + 2) * ((high - low) / (bands + 2))
    edges = ((length + 1) * (700 * (10 ** (mels / 2595) - 1)) / rate).astype(np.int64)
    data = np.zeros((bins, bands))
    for band in range(bands):
        left, centre, right = edges[band : band + 3]
        rising = range(left, centre + 1)
        for k in rising:
            data[k, band] = 1.0 if centre == left else (k - left) / (centre - left)
        for k in range(centre, right):
            data[k, band] = (right - k) / (right - centre)
    return c.b.const(data.astype(dtype.numpy))
