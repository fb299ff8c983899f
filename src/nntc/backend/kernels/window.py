"""Convolutions and poolings: geometry of a tile, packed weights, instructions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nntc.backend.assembler import Window
from nntc.backend.fixed_ops import Int8Conv
from nntc.backend.ops import PackedConv
from nntc.backend.space import Box, Span
from nntc.core.errors import UnsupportedError
from nntc.ir import ops
from nntc.ir.graph import Node
from nntc.isa.layout import ceil_div

MAX_PADDED = 2047
"""Largest padded height or width of one tile that the chip maker's generators emit."""

MAX_FIELD = 15
"""Pads, strides and insertions have 4-bit fields."""


@dataclass(frozen=True)
class Axis:
    """One spatial axis of a window operator.

    Attributes:
        size: input elements.
        out: output elements.
        kernel, stride, dilation: of the window.
        pad: elements added before the first; negative crops.
        insert: zeros between input elements (transposed convolution).
    """

    size: int
    out: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    pad: int = 0
    insert: int = 0

    @property
    def reach(self) -> int:
        """Elements that the dilated kernel spans."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def least(self) -> int:
        """Smallest number of outputs of a tile whose window surely meets an input element."""
        step = self.insert + 1
        last = (self.size - 1) * step
        end = (self.out - 1) * self.stride - self.pad
        gap = ceil_div(max(step - self.reach, 0), self.stride)
        front = ceil_div(max(self.pad - self.reach + 1, 0), self.stride)
        back = ceil_div(max(end - last, 0), self.stride)
        return 1 + max(gap, front, back)

    def source(self, span: Span) -> tuple[Span, int, int]:
        """(input elements, zeros before, zeros after) for the outputs of *span*."""
        step = self.insert + 1
        low = span[0] * self.stride - self.pad
        high = (span[1] - 1) * self.stride - self.pad + self.reach
        first = min(max(0, ceil_div(low, step)), self.size - 1)
        last = max(min(self.size, (high - 1) // step + 1), first + 1)
        return (first, last), first * step - low, high - ((last - 1) * step + 1)


@dataclass(frozen=True)
class Geometry:
    """Both spatial axes; one-dimensional operators have a height of 1."""

    h: Axis
    w: Axis

    def tile(self, box: Box) -> tuple[Span, Span, Window]:
        """Input rows, input columns and window fields for an output box."""
        rows, up, down = self.h.source(box.h)
        cols, left, right = self.w.source(box.w)
        window = Window(
            kernel=(self.h.kernel, self.w.kernel),
            stride=(self.h.stride, self.w.stride),
            dilation=(self.h.dilation, self.w.dilation),
            pads=(up, down, left, right),
            insert=(self.h.insert, self.w.insert),
        )
        return rows, cols, window

    def fits(self, box: Box) -> bool:
        """Whether the tile's padded input and its pads are within the chip's limits."""
        rows, cols, window = self.tile(box)
        height = (rows[1] - rows[0] - 1) * (self.h.insert + 1) + 1 + sum(window.pads[:2])
        width = (cols[1] - cols[0] - 1) * (self.w.insert + 1) + 1 + sum(window.pads[2:])
        pads = all(0 <= p <= MAX_FIELD for p in window.pads)
        return pads and height <= MAX_PADDED and width <= MAX_PADDED


_POINT = Axis(1, 1)


def geometry(node: Node) -> Geometry:
    """The geometry of a convolution or pooling of rank 3 or 4."""
    op = node.op
    x, y = node.operands[0].shape[2:], node.output.shape[2:]
    rank = len(x)
    axes: list[Axis] = []
    for i in range(rank):
        if _transposed(node):
            assert isinstance(op, (ops.ConvTranspose, PackedConv, Int8Conv))
            kernel = _kernel(node)[i]
            axis = Axis(x[i], y[i], kernel, 1, op.dilations[i])
            pad = axis.reach - 1 - op.pads[i]
            axes.append(replace(axis, pad=pad, insert=op.strides[i] - 1))
        elif isinstance(op, (ops.Conv, PackedConv, Int8Conv)):
            kernel = _kernel(node)[i]
            axes.append(Axis(x[i], y[i], kernel, op.strides[i], op.dilations[i], op.pads[i]))
        elif isinstance(op, (ops.MaxPool, ops.AveragePool)):
            axes.append(Axis(x[i], y[i], op.kernel[i], op.strides[i], op.dilations[i], op.pads[i]))
        else:
            raise UnsupportedError(f"{node.source}: {op.name} has no window")
    return Geometry(axes[0] if rank == 2 else _POINT, axes[-1])


def _transposed(node: Node) -> bool:
    op = node.op
    if isinstance(op, (PackedConv, Int8Conv)):
        return op.transposed
    return isinstance(op, ops.ConvTranspose)


def _kernel(node: Node) -> tuple[int, ...]:
    op = node.op
    return op.kernel if isinstance(op, PackedConv) else node.operands[1].shape[2:]


def conv_weight(node: Node) -> np.ndarray:
    """Weights as [out channels, in channels per group, kh, kw] float32."""
    weight = node.operands[1].data
    assert weight is not None
    w = np.asarray(weight, np.float32)
    if w.ndim == 3:
        w = w[:, :, None, :]
    op = node.op
    if _transposed(node):
        assert isinstance(op, (ops.ConvTranspose, Int8Conv))
        groups = op.group
        c, m = w.shape[:2]
        w = w.reshape(groups, c // groups, m, *w.shape[2:]).swapaxes(1, 2)
        w = w.reshape(groups * m, c // groups, *w.shape[3:])
    return w


def pack_conv(weight: np.ndarray) -> np.ndarray:
    """[oc, ic, kh, kw] → the 2IC layout [oc, kh, kw, pairs, 2]; an odd last channel gets zeros."""
    oc, ic, kh, kw = weight.shape
    packed = np.zeros((oc, kh, kw, ceil_div(ic, 2) * 2), np.float32)
    packed[..., :ic] = weight.transpose(0, 2, 3, 1)
    return packed


def dense_weight(weight: np.ndarray, groups: int) -> np.ndarray:
    """A grouped weight with zeros for the other groups' channels."""
    oc, ic, kh, kw = weight.shape
    dense = np.zeros((oc, ic * groups, kh, kw), np.float32)
    per = oc // groups
    for g in range(groups):
        dense[g * per : (g + 1) * per, g * ic : (g + 1) * ic] = weight[g * per : (g + 1) * per]
    return dense
