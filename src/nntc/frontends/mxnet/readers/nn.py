"""Convolutions, products and pooling."""

from __future__ import annotations

import math

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends.errors import RefusedError
from nntc.frontends.mxnet.call import Call, reads
from nntc.ir import ops
from nntc.ir.graph import Value


def _window(c: Call) -> tuple[Value, int]:
    """The operand and its number of spatial axes; channels are in front.

    Raises:
        RefusedError: the layout is another.
    """
    x = c.x()
    axes = len(x.shape) - 2
    if not 1 <= axes <= 3:
        raise ModelError(f"the operand has shape {list(x.shape)}, rank 3 to 5 is needed")
    usual = "NC" + "DHW"[3 - axes :]
    if c.text("layout", usual) != usual:
        raise RefusedError(f"layout={c.text('layout', usual)}")
    return x, axes


@reads("Convolution", "Convolution_v1", becomes="Conv")
def convolution(c: Call) -> Value:
    x, axes = _window(c)
    kernel = c.sizes("kernel", axes, 0, 1)
    group, filters = c.integer("num_group", 1, 1), c.integer("num_filter", 0, 1)
    if x.shape[1] % group or filters % group:
        raise ModelError(f"num_group={group} divides not both {x.shape[1]} channels and {filters}")
    weights, wanted = c.x(1), (filters, x.shape[1] // group, *kernel)
    if weights.shape != wanted:
        raise ModelError(f"weights have shape {list(weights.shape)}, not {list(wanted)}")
    operands = [x, weights]
    if not c.flag("no_bias"):
        operands.append(c.vector(2, filters, "bias"))
    pads = c.sizes("pad", axes, 0, 0)
    strides, dilations = (c.sizes(key, axes, 1, 1) for key in ("stride", "dilate"))
    return c.b.op(ops.Conv(strides, (*pads, *pads), dilations, group), *operands)


@reads("Deconvolution", becomes="ConvTranspose")
def deconvolution(c: Call) -> Value:
    x, axes = _window(c)
    kernel = c.sizes("kernel", axes, 0, 1)
    group, filters = c.integer("num_group", 1, 1), c.integer("num_filter", 0, 1)
    if x.shape[1] % group or filters % group:
        raise ModelError(f"num_group={group} divides not both {x.shape[1]} channels and {filters}")
    weights, wanted = c.x(1), (x.shape[1], filters // group, *kernel)
    if weights.shape != wanted:
        raise ModelError(f"weights have shape {list(weights.shape)}, not {list(wanted)}")
    operands = [x, weights]
    if not c.flag("no_bias", True):
        operands.append(c.vector(2, filters, "bias"))
    strides, dilations = (c.sizes(key, axes, 1, 1) for key in ("stride", "dilate"))
    pads, more = c.sizes("pad", axes, 0, 0), c.sizes("adj", axes, 0, 0)
    target = c.integers("target_shape")
    if target and any(target):
        if len(target) != axes:
            raise ModelError(f"target_shape={target}: {axes} numbers are needed")
        # The padding follows from the result's shape.
        full = [
            s * (n - 1) + d * (k - 1) + 1 - t
            for s, n, d, k, t in zip(strides, x.shape[2:], dilations, kernel, target, strict=True)
        ]
        more = tuple(f % 2 for f in full)
        pads = tuple((f + 1) // 2 for f in full)
        if min(pads) < 0:
            raise ModelError(f"target_shape={target} is too large")
    op = ops.ConvTranspose(strides, (*pads, *pads), dilations, group, more)
    return c.b.op(op, *operands)


@reads("FullyConnected", becomes="Reshape, MatMul")
def fully_connected(c: Call) -> Value:
    x, weights = c.x(), c.x(1)
    outputs = c.integer("num_hidden", 0, 1)
    front = x.shape[:1] if c.flag("flatten", True) else x.shape[:-1]
    inputs = x.type.size // max(math.prod(front), 1)
    if weights.shape != (outputs, inputs):
        raise ModelError(f"weights have shape {list(weights.shape)}, not {[outputs, inputs]}")
    flat = c.b.reshape(x, (math.prod(front), inputs))
    bias = None if c.flag("no_bias") else c.vector(2, outputs, "bias")
    return c.b.reshape(c.b.matmul(flat, weights, bias, transpose_b=True), (*front, outputs))


@reads("Pooling", "Pooling_v1", becomes="MaxPool, AveragePool, LpPool; Reduce with global_pool")
def pooling(c: Call) -> Value:
    x, axes = _window(c)
    method = c.choice("pool_type", ("max", "avg", "sum", "lp"))
    p = c.integer("p_value", 2, 1)
    if c.flag("global_pool"):
        over = tuple(range(2, 2 + axes))
        if method == "lp" and p > 2:
            raise RefusedError(f"p_value={p} over the whole picture")
        fn = {"max": "max", "avg": "mean", "sum": "sum", "lp": f"l{p}"}[method]
        return c.b.reduce(fn, x, over)
    kernel, strides = c.sizes("kernel", axes, 0, 1), c.sizes("stride", axes, 1, 1)
    pads = c.sizes("pad", axes, 0, 0)
    convention = c.choice("pooling_convention", ("valid", "full", "same"))
    if any(pad >= k for pad, k in zip(pads, kernel, strict=True)):
        raise RefusedError(f"pad={pads} with kernel={kernel}")
    both, ceil = (*pads, *pads), convention == "full"
    if convention == "same":
        total = [
            max((-(-n // s) - 1) * s + k - n, 0)
            for n, s, k in zip(x.shape[2:], strides, kernel, strict=True)
        ]
        both = (*(t // 2 for t in total), *(t - t // 2 for t in total))
    one = (1,) * axes
    if method == "max":
        y = c.b.op(ops.MaxPool(kernel, strides, both, one, ceil), x)
    elif method == "lp":
        y = c.b.op(ops.LpPool(p, kernel, strides, both, one, ceil), x)
    else:
        counted = c.flag("count_include_pad", True) or method == "sum"
        y = c.b.op(ops.AveragePool(kernel, strides, both, one, ceil, counted), x)
    if ceil:
        full = [
            -(-(n + 2 * p - k) // s) + 1
            for n, p, k, s in zip(x.shape[2:], pads, kernel, strides, strict=True)
        ]
        if list(y.shape[2:]) != full or (method == "sum" and _overhangs(x, kernel, strides, pads)):
            raise RefusedError("pooling_convention=full: a window lies outside of the operand")
    return c.b.scale(y, float(math.prod(kernel))) if method == "sum" else y


def _overhangs(
    x: Value, kernel: tuple[int, ...], strides: tuple[int, ...], pads: tuple[int, ...]
) -> bool:
    """Whether a last window is only partly inside."""
    sizes = zip(x.shape[2:], pads, kernel, strides, strict=True)
    return any((n + 2 * p - k) % s for n, p, k, s in sizes)


@reads("dot", "batch_dot", becomes="MatMul")
def dot(c: Call) -> Value:
    a, b = c.x(0), c.x(1)
    ranks = (2, 2) if c.op == "dot" else (3, 3)
    if (len(a.shape), len(b.shape)) != ranks:
        raise RefusedError(f"operands of shapes {list(a.shape)} and {list(b.shape)}")
    return c.b.matmul(a, b, transpose_a=c.flag("transpose_a"), transpose_b=c.flag("transpose_b"))


@reads("Embedding", becomes="Gather")
def embedding(c: Call) -> Value:
    return c.b.gather(c.x(1), c.b.cast(c.x(0), DType.I32), 0)


@reads("UpSampling", becomes="Resize (nearest); ConvTranspose (bilinear)")
def upsampling(c: Call) -> Value:
    x, scale = c.picture(), c.integer("scale", 1, 1)
    if c.choice("sample_type", ("nearest", "bilinear")) == "bilinear":
        channels = x.shape[1]
        size, pad = 2 * scale - scale % 2, math.ceil((scale - 1) / 2)
        if c.x(1).shape != (channels, 1, size, size):
            raise ModelError(f"weights have shape {list(c.x(1).shape)}, the kernel is {size}")
        more = (size - 2 * pad - scale) * -1
        op = ops.ConvTranspose((scale,) * 2, (pad,) * 4, (1, 1), channels, (more,) * 2)
        return c.b.op(op, x, c.x(1))
    if len(c) > 1:
        raise RefusedError(f"{len(c)} operands of several sizes")
    sizes = (*x.shape[:2], x.shape[2] * scale, x.shape[3] * scale)
    scales = (1.0, 1.0, float(scale), float(scale))
    return c.b.op(ops.Resize(sizes, scales, "nearest", "asymmetric", "floor"), x)


@reads("_contrib_BilinearResize2D", becomes="Resize (linear)")
def bilinear_resize(c: Call) -> Value:
    x = c.picture()
    if c.choice("mode", ("size",)) != "size" or len(c) > 1:
        raise RefusedError(f"mode={c.text('mode', '')}")
    height, width = (
        c.integer(key, round(n * c.number(f"scale_{key}", 1.0)), 1)
        for key, n in (("height", x.shape[2]), ("width", x.shape[3]))
    )
    sizes = (*x.shape[:2], height, width)
    scales = tuple(a / b for a, b in zip(sizes, x.shape, strict=True))
    aligned = "align_corners" if c.flag("align_corners", True) else "half_pixel"
    return c.b.op(ops.Resize(sizes, scales, "linear", aligned), x)  # type: ignore[arg-type]


@reads("_contrib_AdaptiveAvgPooling2D", becomes="AveragePool; Reduce to one pixel")
def adaptive_pooling(c: Call) -> Value:
    x = c.picture()
    given = c.integers("output_size") or (1,)
    rows, columns = (given * 2)[:2]
    if min(rows, columns) < 1 or x.shape[2] % rows or x.shape[3] % columns:
        raise RefusedError(f"output_size={given} of {x.shape[2]}x{x.shape[3]} pixels")
    kernel = (x.shape[2] // rows, x.shape[3] // columns)
    if (rows, columns) == (1, 1):
        return c.b.reduce("mean", x, (2, 3))
    return c.b.op(ops.AveragePool(kernel, kernel, (0,) * 4, (1, 1)), x)


@reads("ROIPooling", becomes="RoiPool, on the CPU")
def roi_pooling(c: Call) -> Value:
    size = c.integers("pooled_size")
    if len(size) != 2:
        raise ModelError(f"pooled_size={size}: two numbers are needed")
    rois = c.x(1)
    count = rois.type.size // 5
    return c.b.op(
        ops.RoiPool(*size, c.number("spatial_scale", 1.0)),
        c.picture(),
        c.b.reshape(rois, (count, 5)),
    )


@reads("_zeros", "_ones", "zeros", "ones", becomes="a constant")
def filled(c: Call) -> Value:
    number = np.float32(0 if "zeros" in c.op else 1)
    return c.b.full(c.integers("shape"), number, DType.F32)
