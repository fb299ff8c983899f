"""Pooling."""

from __future__ import annotations

from nntc.core.errors import ModelError
from nntc.frontends.darknet.call import Call, reads
from nntc.frontends.darknet.layers.conv import antialias
from nntc.frontends.errors import RefusedError
from nntc.ir import ops
from nntc.ir.graph import Value


def _window(c: Call) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Kernel, strides and pads.

    ``padding`` is the sum of both sides, the smaller half before; by default as much as lets a
    stride of 1 keep the size.
    """
    strides = c.strides()
    size = c.integer("size", c.integer("stride", 1, 1), 1)
    padding = c.integer("padding", size - 1, 0)
    before, after = padding // 2, padding - padding // 2
    if after >= size:
        raise RefusedError(f"padding={padding} with size={size}: windows outside of the picture")
    if min(c.x.shape[2:]) + padding < size:
        height, width = c.x.shape[2:]
        raise ModelError(f"size={size} is larger than the operand's {height}x{width} pixels")
    return (size, size), strides, (before, before, after, after)


@reads(
    "maxpool",
    "max",
    becomes="MaxPool",
    limits="no maxpool_depth, no maxpool_zero_nonmax",
)
def maxpool(c: Call) -> Value:
    c.refuse_flags(
        {
            "maxpool_depth": "a maximum over channels",
            "maxpool_zero_nonmax": "everything but the maxima set to 0",
        }
    )
    kernel, strides, pads = _window(c)
    blur = c.integer("antialiasing", 0) if max(strides) > 1 else 0
    y = c.b.op(ops.MaxPool(kernel, (1, 1) if blur else strides, pads, (1, 1)), c.x)
    return antialias(c, y, strides, blur) if blur else y


@reads("local_avgpool", "local_avg", becomes="AveragePool of the pixels inside")
def local_avgpool(c: Call) -> Value:
    kernel, strides, pads = _window(c)
    return c.b.op(ops.AveragePool(kernel, strides, pads, (1, 1)), c.x)


@reads("avgpool", "avg", becomes="Reduce (mean) over all pixels")
def avgpool(c: Call) -> Value:
    return c.b.reduce("mean", c.x, (2, 3))
