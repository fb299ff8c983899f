"""Windows as kernels of a group: convolutions and poolings."""

from __future__ import annotations

from typing import Any

import numpy as np

from nntc.backend.assembler import Assembler
from nntc.backend.kernels import window
from nntc.backend.kernels.kernel import Constant, Kernel, Need, Operand, view_of
from nntc.backend.local import Local
from nntc.backend.ops import PackedConv
from nntc.backend.space import Box, Span, View, image_space
from nntc.ir import ops
from nntc.ir.graph import Node
from nntc.isa.chip import LANES, MAX_C
from nntc.isa.layout import Shape4, ceil_div


class WindowKernel(Kernel):
    """Base of convolutions and poolings: an input view and a geometry."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.geometry = window.geometry(node)
        self.input = node.operands[0]
        self.view = view_of(self.input, image_space(self.input.shape))

    def channels(self, box: Box, part: int, parts: int) -> Span:
        """Input channels for an output box."""
        return box.c

    def operands(self, box: Box, part: int, parts: int) -> list[Operand]:
        rows, cols, _ = self.geometry.tile(box)
        c = self.channels(box, part, parts)
        return [Need(self.input, self.view, Box(box.n, c, rows, cols))]


class PoolKernel(WindowKernel):
    """Maximum or average over a window; padded zeros count in the average."""

    def emit(
        self,
        asm: Assembler,
        out: Local,
        args: list[Any],
        constants: list[Local],
        scratch: list[Local],
        tile: tuple[Box, int, int],
    ) -> None:
        win = self.geometry.tile(tile[0])[2]
        if isinstance(self.node.op, ops.MaxPool):
            asm.max_pool(out, args[0], win)
        else:
            asm.depthwise(out, args[0], 1.0 / (win.kernel[0] * win.kernel[1]), None, win)


class ConvKernel(WindowKernel):
    """Base of convolutions: channels of groups, cut into parts if results can accumulate."""

    accumulates = True
    out_channels: int
    inner: int
    groups: int
    depthwise: bool
    rotate: bool

    @property
    def weight_words(self) -> int:
        """Size of weights that are loaded anew for every cut of the images; 0: not known."""
        return 0

    def _inner_span(self, part: int, parts: int) -> Span:
        pairs = ceil_div(self.inner, 2)
        return 2 * (pairs * part // parts), min(2 * (pairs * (part + 1) // parts), self.inner)

    def channels(self, box: Box, part: int, parts: int) -> Span:
        if self.depthwise:
            return box.c
        group = box.c[0] // (self.out_channels // self.groups)
        low, high = self._inner_span(part, parts)
        return group * self.inner + low, group * self.inner + high

    def emit(
        self,
        asm: Assembler,
        out: Local,
        args: list[Any],
        constants: list[Local],
        scratch: list[Local],
        tile: tuple[Box, int, int],
    ) -> None:
        box, part, parts = tile
        win = self.geometry.tile(box)[2]
        weight, *rest = (*args[1:], *constants)
        bias = rest[0] if rest else None
        if self.depthwise:
            asm.depthwise(out, args[0], weight, bias, win)
            return
        low, high = self._inner_span(part, parts)
        asm.conv(
            out,
            args[0],
            weight,
            bias,
            win,
            ceil_div(high - low, 2),
            rotate=self.rotate,
            accumulate=part > 0,
        )


class FixedConvKernel(ConvKernel):
    """Convolution with constant weights, packed when the network is compiled."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.weight = window.conv_weight(node)
        op = node.op
        assert isinstance(op, (ops.Conv, ops.ConvTranspose))
        self.rotate = isinstance(op, ops.ConvTranspose)
        self.groups = op.group
        self.bias: np.ndarray | None = None
        if len(node.operands) > 2:
            self.bias = np.asarray(node.operands[2].data, np.float32)
        oc, ic = self.weight.shape[:2]
        self.depthwise = ic == 1 and oc == self.groups and self.groups > 1
        if self.depthwise:
            self.groups = 1
            if self.rotate:
                self.weight = self.weight[:, :, ::-1, ::-1]
        elif self.groups > 1:
            # Dense with zeros beats one pass a group when the groups are narrow.
            dense = ceil_div(oc, LANES) * ceil_div(ic * self.groups, 2)
            grouped = self.groups * ceil_div(oc // self.groups, LANES) * ceil_div(ic, 2)
            if dense <= grouped and ic * self.groups <= MAX_C:
                self.weight = window.dense_weight(self.weight, self.groups)
                self.groups = 1
        self.out_channels, self.inner = self.weight.shape[:2]

    @property
    def weight_words(self) -> int:
        return self.weight.size

    def constants(self, box: Box, part: int, parts: int) -> list[Constant]:
        name, (start, stop) = self.node.name, box.c
        w = self.weight[start:stop]
        oc, _, kh, kw = w.shape
        if self.depthwise:
            found = [Constant((name, "weight", start, stop), Shape4(1, oc, kh, kw), lambda: w)]
        else:
            low, high = self._inner_span(part, parts)
            found = [
                Constant(
                    (name, "weight", start, stop, low, high),
                    Shape4(1, oc, kh, kw * ceil_div(high - low, 2) * 2),
                    lambda: window.pack_conv(w[:, low:high]),
                )
            ]
        if self.bias is not None and part == 0:
            bias = self.bias[start:stop]
            found.append(Constant((name, "bias", start, stop), Shape4(1, oc, 1, 1), lambda: bias))
        return found


class PackedConvKernel(ConvKernel):
    """Convolution with weights from memory, which the network has put in the chip's order."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        op = node.op
        assert isinstance(op, PackedConv)
        self.weight_value = node.operands[1]
        self.bias_value = node.operands[2] if len(node.operands) > 2 else None
        self.rotate = op.transposed
        self.depthwise = op.inner == 0
        self.groups = 1 if self.depthwise else op.group
        self.out_channels, self.inner = op.result[1], op.inner

    def operands(self, box: Box, part: int, parts: int) -> list[Operand]:
        found = super().operands(box, part, parts)
        taps = self.geometry.h.kernel * self.geometry.w.kernel
        depth = 1 if self.depthwise else 2 * ceil_div(self.inner, 2)
        shape = Shape4(1, self.out_channels, taps, depth)
        low, high = (0, 1) if self.depthwise else self._inner_span(part, parts)
        span = (low, low + (1 if self.depthwise else 2 * ceil_div(high - low, 2)))
        view = View(shape, (0, taps * depth, depth, 1))
        found.append(Need(self.weight_value, view, Box((0, 1), box.c, (0, taps), span), 0, True))
        if self.bias_value is not None and part == 0:
            view = View(Shape4(1, self.out_channels, 1, 1), (0, 1, 0, 0))
            place = Box((0, 1), box.c, (0, 1), (0, 1))
            found.append(Need(self.bias_value, view, place, 0, True))
        return found
