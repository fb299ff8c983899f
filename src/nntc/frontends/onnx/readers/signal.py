"""Fourier transforms, as products with matrices of cosines and sines."""

from __future__ import annotations

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends import limits
from nntc.frontends.onnx.call import Call, RefusedError, front_axis, reads
from nntc.ir import ops
from nntc.ir.graph import Value


def _matrix(rows: int, length: int, parts: int, columns: int, inverse: bool) -> np.ndarray:
    """[rows, parts, columns, 2]: from samples (real, or real and imaginary) to the spectrum.

    Args:
        rows: samples present; the others of *length* are zero.
    """
    # Reduced modulo the length first, so that the angle keeps its digits.
    turn = (np.arange(rows)[:, None] * np.arange(columns)) % length
    angle = 2 * np.pi * turn / length
    cos, sin = np.cos(angle), np.sin(angle) * (1 if inverse else -1)
    real = np.stack([cos, sin], -1)
    imaginary = np.stack([-sin, cos], -1)
    matrix = np.stack([real, imaginary], 1)[:, :parts]
    return matrix / length if inverse else matrix


def _transform(
    c: Call, x: Value, axis: int, length: int | None, inverse: bool, onesided: bool
) -> Value:
    """DFT of x [..., n at axis, ..., 1 or 2]."""
    rank = len(x.shape)
    if rank < 2 or x.shape[-1] not in (1, 2) or axis == rank - 1:
        raise ModelError(f"the operand {list(x.shape)} is not real or complex along axis {axis}")
    size, parts = x.shape[axis], x.shape[-1]
    real_result = inverse and onesided
    if real_result:
        # Half of a spectrum whose other half is its mirror image; the result is real.
        length = length or 2 * (size - 1)
        x = _mirror(c, x, axis, length)
        size = x.shape[axis]
    length = length or size
    if length < 1:
        raise ModelError(f"a transform of length {length}")
    rows = min(size, length)
    columns = length // 2 + 1 if onesided and not inverse else length
    limits.check_bytes((rows, columns, 4), x.dtype, limits.CONSTANT_BYTES, "the matrix")
    matrix = _matrix(rows, length, parts, columns, inverse)
    out = 2
    if real_result:
        matrix, out = matrix[..., :1], 1
    moved = c.b.move_axis(c.b.slice(x, axis, 0, rows), axis, rank - 2)
    lead = moved.shape[:-2]
    flat = c.b.reshape(moved, (*lead, rows * parts))
    weights = matrix.reshape(rows * parts, columns * out).astype(np.float32)
    y = c.b.reshape(c.b.matmul(flat, c.b.const(weights)), (*lead, columns, out))
    return c.b.move_axis(y, rank - 2, axis)


def _mirror(c: Call, x: Value, axis: int, length: int) -> Value:
    """The whole spectrum of a real signal from its first half."""
    half = length // 2 + 1
    size = x.shape[axis]
    if x.shape[-1] != 2:
        raise ModelError(f"half a spectrum is complex, the operand is {list(x.shape)}")
    x = c.b.slice(x, axis, 0, min(size, half))
    if size < half:
        pads = [0] * (2 * len(x.shape))
        pads[len(x.shape) + axis] = half - size
        x = c.b.pad(x, pads)
    # Elements length-half ... 1 of the first half, conjugate.
    index = np.arange(length - half, 0, -1)
    if not index.size:
        return x
    sign = c.b.const(np.array([1, -1], np.float32))
    tail = c.b.mul(c.b.gather(x, index, axis), sign)
    return c.b.concat([x, tail], axis)


@reads("DFT")
def dft_axis_attribute(c: Call) -> Value:
    x = c.x()
    return _dft(c, c.axis("axis", 1, len(x.shape)))


@reads("DFT", since=20)
def dft(c: Call) -> Value:
    x = c.x()
    axis = c.const_int(2, "the axis") if c.opt(2) is not None else -2
    return _dft(c, front_axis(axis, len(x.shape)))


def _dft(c: Call, axis: int) -> Value:
    length = c.const_int(1, "the length") if c.opt(1) is not None else None
    if length is not None and length < 1:
        raise ModelError(f"a transform of length {length}")
    return _transform(c, c.x(), axis, length, c.flag("inverse"), c.flag("onesided"))


@reads("STFT")
def stft(c: Call) -> Value:
    """Frames of the signal, times the window, transformed: [B, frames, bins, 2].

    With a constant window that is one convolution over time.
    """
    x, window = c.x(0), c.opt(2)
    step = c.const_int(1, "the frame step")
    if len(x.shape) == 2:
        x = c.b.unsqueeze(x, 2)
    if len(x.shape) != 3 or x.shape[2] not in (1, 2):
        raise ModelError(f"the signal has the shape {list(x.shape)}")
    batch, samples, parts = x.shape
    if c.opt(3) is not None:
        length = c.const_int(3, "the frame length")
    elif window is not None:
        length = window.shape[0]
    else:
        length = samples
    if not 1 <= length <= samples or step < 1:
        raise ModelError(f"frames of {length} every {step} in {samples} samples")
    if window is not None and window.shape != (length,):
        raise ModelError(f"the window {list(window.shape)} does not fit frames of {length}")
    onesided = c.flag("onesided", True)
    if onesided and parts == 2:
        raise RefusedError("half a spectrum of a complex signal")
    bins = length // 2 + 1 if onesided else length
    frames = (samples - length) // step + 1
    limits.check_bytes((length, bins, 2 * parts), x.dtype, limits.CONSTANT_BYTES, "the matrix")
    matrix = _matrix(length, length, parts, bins, inverse=False)
    if window is None or window.data is not None:
        if window is not None and window.data is not None:
            matrix = matrix * window.data.reshape(-1, 1, 1, 1)
        kernel = matrix.transpose(2, 3, 1, 0).reshape(bins * 2, parts, length)
        op = ops.Conv((step,), (0, 0), (1,), 1)
        signal = c.b.transpose(x, (0, 2, 1))
        y = c.b.op(op, signal, c.b.const(kernel.astype(np.float32)))
        return c.b.transpose(c.b.reshape(y, (batch, bins, 2, frames)), (0, 3, 1, 2))
    index = np.arange(frames)[:, None] * step + np.arange(length)
    cut = c.b.gather(x, index, 1)
    cut = c.b.mul(cut, c.b.reshape(window, (length, 1)))
    flat = c.b.reshape(cut, (batch, frames, length * parts))
    weights = matrix.reshape(length * parts, bins * 2).astype(np.float32)
    return c.b.reshape(c.b.matmul(flat, c.b.const(weights)), (batch, frames, bins, 2))
