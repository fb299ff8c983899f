"""Layers that move elements, and those that do nothing after training."""

from __future__ import annotations

from nntc.core.errors import ModelError
from nntc.frontends.darknet.call import Call, reads
from nntc.frontends.errors import RefusedError
from nntc.ir import ops
from nntc.ir.graph import Value


@reads("upsample", becomes="Resize (nearest); with a negative stride AveragePool")
def upsample(c: Call) -> Value:
    stride = c.integer("stride", 2)
    if stride == 0:
        raise ModelError("stride=0")
    n, channels, height, width = c.x.shape
    scale = c.number("scale", 1.0)
    if stride < 0:
        # Downwards it adds up every block.
        block = (-stride, -stride)
        if height % block[0] or width % block[1]:
            raise RefusedError(f"stride={stride} does not divide {height}x{width} pixels")
        mean = c.b.op(ops.AveragePool(block, block, (0,) * 4, (1, 1)), c.x)
        return c.b.scale(mean, scale * stride * stride)
    sizes = (n, channels, height * stride, width * stride)
    factors = (1.0, 1.0, float(stride), float(stride))
    larger = c.b.op(ops.Resize(sizes, factors, "nearest", "asymmetric", "floor"), c.x)
    return c.b.scale(larger if stride > 1 else c.x, scale)


def _blocks(c: Call, stride: int) -> None:
    height, width = c.x.shape[2:]
    if height % stride or width % stride:
        raise ModelError(f"stride={stride} does not divide {height}x{width} pixels")


def _to_space(c: Call, stride: int) -> Value:
    if c.channels % stride**2:
        raise ModelError(f"stride={stride}: {c.channels} channels do not make blocks")
    return c.b.op(ops.DepthToSpace(stride, "DCR"), c.x)


@reads(
    "reorg",
    becomes="Reshape, SpaceToDepth, Reshape; with reverse=1 DepthToSpace; with flatten=1 Transpose",
    limits="no extra=",
)
def reorg(c: Call) -> Value:
    """Pixels to channels.

    Darknet numbers the pixels as if the *operand* were already in blocks, which mixes rows; the
    networks are trained with that.
    """
    if c.integer("extra", 0):
        raise RefusedError(f"extra={c.text('extra', '')}")
    stride = c.integer("stride", 1, 1)
    n, channels, height, width = c.x.shape
    if c.flag("flatten"):
        return _flatten(c, stride)
    if c.flag("reverse"):
        return _to_space(c, stride)
    _blocks(c, stride)
    if channels % stride**2:
        raise ModelError(f"stride={stride}: {channels} channels do not make blocks")
    large = (n, channels // stride**2, height * stride, width * stride)
    mixed = c.b.op(ops.SpaceToDepth(stride), c.b.reshape(c.x, large))
    return c.b.reshape(mixed, (n, channels * stride**2, height // stride, width // stride))


def _flatten(c: Call, stride: int) -> Value:
    """Channels last, in the memory of a picture of the usual result's shape."""
    n, channels, height, width = c.x.shape
    if c.flag("reverse"):
        shape = (n, channels // stride**2, height * stride, width * stride)
        rows = c.b.reshape(c.x, (n, height * width, channels))
    else:
        _blocks(c, stride)
        shape = (n, channels * stride**2, height // stride, width // stride)
        rows = c.b.reshape(c.x, (n, channels, height * width))
    if c.flag("reverse") and channels % stride**2:
        raise ModelError(f"stride={stride}: {channels} channels do not make blocks")
    return c.b.reshape(c.b.transpose(rows, (0, 2, 1)), shape)


@reads("reorg3d", becomes="SpaceToDepth; with reverse=1 DepthToSpace")
def reorg3d(c: Call) -> Value:
    """Pixels to channels, block by block."""
    stride = c.integer("stride", 1, 1)
    if c.flag("reverse"):
        return _to_space(c, stride)
    _blocks(c, stride)
    return c.b.op(ops.SpaceToDepth(stride), c.x)


@reads("crop", becomes="Slice from the middle, and x * 2 - 1 unless noadjust=1")
def crop(c: Call) -> Value:
    """What it does to a picture after training: no turning, no random colours."""
    height, width = c.integer("crop_height", 1, 1), c.integer("crop_width", 1, 1)
    if height > c.x.shape[2] or width > c.x.shape[3]:
        raise ModelError(
            f"{height}x{width} pixels cannot be cut from {c.x.shape[2]}x{c.x.shape[3]}"
        )
    top, left = (c.x.shape[2] - height) // 2, (c.x.shape[3] - width) // 2
    y = c.b.slice(c.b.slice(c.x, 2, top, top + height), 3, left, left + width)
    if c.flag("noadjust"):
        return y
    return c.b.sub(c.b.scale(y, 2.0), c.b.like(1.0, y))


@reads("dropout", "cost", "empty", "silence", becomes="nothing (only for training)")
def nothing(c: Call) -> Value:
    return c.x
