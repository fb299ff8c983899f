"""Convolutions."""

from __future__ import annotations

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends.darknet import activations
from nntc.frontends.darknet.call import Call, reads
from nntc.frontends.errors import RefusedError
from nntc.ir import ops
from nntc.ir.graph import Value

EPSILON = 1e-5
"""Darknet adds 1e-5 to the variance on the GPU (where networks are trained) and in newer versions
everywhere; the first CPU version added 1e-6 to its root."""

_TRAINED_OTHERWISE = {
    "binary": "binary weights",
    "xnor": "binary weights and activations",
    "bin_output": "binary activations",
    "dontload": "its weights are not in the file",
    "dontloadscales": "its batch normalisation is not in the file",
}


def _padding(c: Call, size: int) -> int:
    return size // 2 if c.flag("pad") else c.integer("padding", 0, 0)


def _parameters(c: Call, count: int, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Parameters in the order of the file: biases, batch normalisation, weights."""
    found = {"biases": c.take((count,), "biases")}
    if c.flag("batch_normalize"):
        for name in ("scales", "mean", "variance"):
            found[name] = c.take((count,), f"batch normalisation's {name}")
    if c.flag("flipped"):
        matrix = c.take((int(np.prod(shape[1:])), shape[0]), "flipped weights")
        found["weights"] = np.ascontiguousarray(matrix.T).reshape(shape)
    else:
        found["weights"] = c.take(shape, "weights")
    return found


@reads(
    "convolutional",
    "conv",
    becomes="Conv, BatchNorm, activation",
    limits="no binary/xnor weights; dilation only with the padding that keeps Darknet's size",
)
def convolutional(c: Call) -> Value:
    c.refuse_flags(_TRAINED_OTHERWISE)
    filters = c.integer("filters", 1, 1)
    size = c.integer("size", 1, 1)
    groups = c.integer("groups", 1, 1)
    dilation = c.integer("dilation", 1, 1) if size > 1 else 1
    padding = _padding(c, size)
    if c.channels % groups or filters % groups:
        raise ModelError(f"groups={groups} divides not both {c.channels} channels and {filters}")
    # Darknet makes room for a result of a kernel that is not dilated.
    if dilation > 1 and 2 * padding != size - 1:
        raise RefusedError(f"dilation={dilation} with size={size} and {padding} pixels of padding")
    parameters = c.shared.get(_shared_layer(c))
    shape = (filters, c.channels // groups, size, size)
    if parameters is None:
        parameters = _parameters(c, filters, shape)
    elif parameters["weights"].shape != shape:
        raise ModelError(
            f"the shared weights have shape {list(parameters['weights'].shape)}, not {list(shape)}"
        )
    c.shared[c.index] = parameters
    strides = c.strides()
    blur = _blur_kind(c) if max(strides) > 1 else 0
    pads = (padding * dilation,) * 4
    op = ops.Conv((1, 1) if blur else strides, pads, (dilation,) * 2, groups)
    y = _finish(c, op, parameters)
    y = activations.apply(c.b, c.text("activation", "logistic"), y)
    return antialias(c, y, strides, blur) if blur else y


def _shared_layer(c: Call) -> int:
    """The layer whose parameters are used instead of own ones; -1 if none."""
    return c.numbers_of("share_index")[0] if "share_index" in c.section else -1


def _finish(c: Call, op: ops.Conv | ops.ConvTranspose, parameters: dict[str, np.ndarray]) -> Value:
    weights = c.b.const(parameters["weights"])
    if "scales" in parameters:
        return c.batch_norm(c.b.op(op, c.x, weights), parameters, EPSILON)
    return c.b.op(op, c.x, weights, c.b.const(parameters["biases"]))


@reads(
    "deconvolutional",
    "deconv",
    becomes="ConvTranspose, BatchNorm, activation",
)
def deconvolutional(c: Call) -> Value:
    c.refuse_flags(_TRAINED_OTHERWISE)
    filters = c.integer("filters", 1, 1)
    size = c.integer("size", 1, 1)
    padding = _padding(c, size)
    # The order is that of convolutions; the kernel's first axis are the operand's channels.
    found = {"biases": c.take((filters,), "biases")}
    if c.flag("batch_normalize"):
        for name in ("scales", "mean", "variance"):
            found[name] = c.take((filters,), f"batch normalisation's {name}")
    found["weights"] = c.take((c.channels, filters, size, size), "weights")
    op = ops.ConvTranspose(c.strides(), (padding,) * 4, (1, 1), 1, (0, 0))
    return activations.apply(c.b, c.text("activation", "logistic"), _finish(c, op, found))


def _blur_kind(c: Call) -> int:
    return c.integer("antialiasing", 0)


def antialias(c: Call, x: Value, strides: tuple[int, int], kind: int) -> Value:
    """Blur before dropping pixels: the layer itself has run with a stride of 1.

    Args:
        kind: option antialiasing: 2 averages 2x2 pixels, anything else is a 3x3 binomial.
    """
    row = np.array([1, 1] if kind == 2 else [1, 2, 1], np.float32)
    kernel = np.outer(row, row) / row.sum() ** 2
    channels = x.shape[1]
    weights = np.broadcast_to(kernel, (channels, 1, *kernel.shape)).astype(np.float32)
    pads = (0,) * 4 if kind == 2 else (1,) * 4
    return c.b.op(ops.Conv(strides, pads, (1, 1), channels), x, c.b.const(weights))


@reads(
    "local",
    becomes="MatMul of the pixels under each window, activation",
    limits="pad=1 only with size=3 (Darknet's own sizes disagree otherwise)",
)
def local(c: Call) -> Value:
    """A convolution with weights of its own at every place."""
    c.refuse_flags(_TRAINED_OTHERWISE)
    filters, size = c.integer("filters", 1, 1), c.integer("size", 1, 1)
    stride, pad = c.integer("stride", 1, 1), c.integer("pad", 0, 0)
    if pad > 1 or (pad and size != 3):
        raise RefusedError(f"pad={pad} with size={size}")
    n, channels, *image = c.x.shape
    if min(image) + 2 * pad < size:
        raise ModelError(f"size={size} is larger than the operand's {image[0]}x{image[1]} pixels")
    height, width = ((d + 2 * pad - size) // stride + 1 for d in image)
    places, taps = height * width, channels * size * size
    biases = c.take((filters, height, width), "biases")
    weights = c.take((places, filters, taps), "weights")
    x = c.b.pad(c.x, (0, 0, pad, pad, 0, 0, pad, pad))
    # The windows, [N, C, size * size, places]; tap (i, j) of all windows is a strided slice.
    pieces = []
    for i in range(size):
        rows = c.b.slice(x, 2, i, i + (height - 1) * stride + 1, stride)
        for j in range(size):
            piece = c.b.slice(rows, 3, j, j + (width - 1) * stride + 1, stride)
            pieces.append(c.b.reshape(piece, (n, channels, 1, places)))
    columns = c.b.reshape(c.b.concat(pieces, 2), (n, taps, places))
    product = c.b.matmul(c.b.transpose(columns, (2, 0, 1)), c.b.const(weights), transpose_b=True)
    y = c.b.reshape(c.b.transpose(product, (1, 2, 0)), (n, filters, height, width))
    y = c.b.add(y, c.b.const(biases))
    return activations.apply(c.b, c.text("activation", "logistic"), y)
