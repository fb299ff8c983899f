"""Operators on 8-bit integers as kernels of a group."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from nntc.backend import assembler_fixed as fixed
from nntc.backend.assembler import Assembler
from nntc.backend.assembler_fixed import Fixed, Requant
from nntc.backend.fixed_ops import (
    SAMPLES,
    Int8Affine,
    Int8Binary,
    Int8Conv,
    Int8Lut,
    Int8MaxPool,
    Int8Product,
    Int8Sum,
    Narrowing,
    replicate,
)
from nntc.backend.kernels import window
from nntc.backend.kernels.conv import ConvKernel, WindowKernel
from nntc.backend.kernels.kernel import Constant, Need, Operand, PointwiseKernel
from nntc.backend.local import Local
from nntc.backend.space import Box
from nntc.core.dtype import DType
from nntc.ir.graph import Node
from nntc.isa.chip import LANES, MAX_C
from nntc.isa.layout import Shape4, Strides, ceil_div


def _samples(box: Box, batch: int) -> int:
    """True samples in the groups of four of a tile."""
    return min(batch, SAMPLES * box.n[1]) - SAMPLES * box.n[0]


class Int8PoolKernel(WindowKernel):
    """Maximum over a window."""

    def emit(
        self,
        asm: Assembler,
        out: Local,
        args: list[Any],
        constants: list[Local],
        scratch: list[Local],
        tile: tuple[Box, int, int],
    ) -> None:
        op, box = self.node.op, tile[0]
        assert isinstance(op, Int8MaxPool)
        win = self.geometry.tile(box)[2]
        fixed.max_pool(asm, out, args[0], win, _samples(box, op.batch), op.signed)


class Int8ConvKernel(ConvKernel):
    """Convolution with constant weights; the input channels are never cut into parts."""

    accumulates = False

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        op = node.op
        assert isinstance(op, Int8Conv)
        self.op = op
        weight = window.conv_weight(node)
        self.rotate = op.transposed
        self.groups = op.group
        oc, ic = weight.shape[:2]
        self.depthwise = ic == 1 and oc == self.groups and self.groups > 1
        if self.depthwise:
            self.groups = 1
            if self.rotate:
                weight = weight[:, :, ::-1, ::-1]
        elif self.groups > 1:
            # Dense with zeros beats one pass a group when the groups are narrow.
            dense = ceil_div(oc, LANES) * ceil_div(ic * self.groups, 4)
            grouped = self.groups * ceil_div(oc // self.groups, LANES) * ceil_div(ic, 4)
            if dense <= grouped and ic * self.groups <= MAX_C:
                weight = window.dense_weight(weight, self.groups)
                self.groups = 1
        self.weight = weight.astype(np.int16).astype(np.uint8)
        self.out_channels, self.inner = weight.shape[:2]
        self.bias = np.zeros(oc, np.int16)
        biased = len(node.operands) > 2
        if biased:
            self.bias = np.asarray(node.operands[2].data).astype(np.int16)
        unsigned = op.to is DType.U8 and not op.narrow
        # Two unsigned operands make an unsigned result; a signed bias of zeros changes that.
        self.biased = (biased and not op.narrow) or not (unsigned or any(op.signed))
        self.requant = Requant(op.shift, unsigned, wide=op.narrow > 0)
        self.end, self.late = Narrowing.of(op.narrow, op.to, self.bias)

    @property
    def weight_words(self) -> int:
        return self.weight.size // 4

    def operands(self, box: Box, part: int, parts: int) -> list[Operand]:
        """The instruction pads with zeros; other padding is put around the tile."""
        (need,) = super().operands(box, part, parts)
        if not self.op.pad_value or not isinstance(need, Need):
            return [need]
        pads = self.geometry.tile(box)[2].pads
        return [replace(need, border=pads, fill=replicate(self.op.pad_value))]

    def constants(self, box: Box, part: int, parts: int) -> list[Constant]:
        name, (start, stop) = self.node.name, box.c
        w, bias = self.weight[start:stop], self.bias[start:stop]
        oc, ic, kh, kw = w.shape
        lanes = min(oc, LANES)
        if self.depthwise:
            width = ceil_div(ceil_div(oc, LANES) * kh * kw, 4)
            shape, make = Shape4(1, lanes, 1, width), partial(_per_lane, w.reshape(oc, -1))
        else:
            shape = Shape4(1, oc, kh, kw * ceil_div(ic, 4))
            make = partial(_pack_conv, w)
        found = [Constant((name, "weight", start, stop), shape, make)]
        if self.op.narrow:
            # The same 16 bits for every sample.
            wide = Shape4(1, oc, 1, 1)
            late = self.late[start:stop]
            found.append(Constant((name, "late", start, stop), wide, partial(_twice, late)))
        if self.biased:
            early = bias if not self.op.narrow else np.zeros_like(bias)
            place = Shape4(1, lanes, 1, ceil_div(ceil_div(oc, LANES), 2))
            make = partial(_per_lane, early[:, None])
            found.append(Constant((name, "bias", start, stop), place, make))
        return found

    def scratch(self, out: Local, args: list[Any]) -> list[Shape4]:
        return [out.shape._replace(n=2 * out.shape.n)] if self.op.narrow else []

    def emit(
        self,
        asm: Assembler,
        out: Local,
        args: list[Any],
        constants: list[Local],
        scratch: list[Local],
        tile: tuple[Box, int, int],
    ) -> None:
        op, box = self.op, tile[0]
        win = self.geometry.tile(box)[2]
        if op.pad_value:
            win = replace(win, pads=(0, 0, 0, 0))
        samples = _samples(box, op.batch)
        bias = constants[-1] if self.biased else None
        made = scratch[0] if op.narrow else out
        common = (args[0], constants[0], bias, win, samples, op.signed, self.requant)
        if self.depthwise:
            fixed.depthwise(asm, made, *common)
        else:
            fixed.conv(asm, made, *common, rotate=self.rotate)
        if op.narrow:
            self._late_bias(asm, out, made, constants[1], samples)

    def _late_bias(
        self, asm: Assembler, out: Local, wide: Local, bias: Local, samples: int
    ) -> None:
        """Bias and second shift: 16 bits → 8 bits, a group of four samples at a time."""
        groups, c, h, w = out.shape
        for group in range(groups):
            count = min(SAMPLES, samples - SAMPLES * group)
            shape = Shape4(ceil_div(count, 2), c, h, w)
            strides = Strides(1, 2 * out.strides.c, 2 * out.strides.h, 2)
            start = wide.word + 2 * group * out.strides.n
            sums = Local(wide.buffer, shape, strides, start)
            _narrow(asm, out.part(n=(group, group + 1)), sums, bias, count, self.end)


def _narrow(
    asm: Assembler, out: Local, sums: Local, offset: Local | int, samples: int, end: Narrowing
) -> None:
    """16-bit sums plus an offset → 8 bits; *sums* may be destroyed."""
    if isinstance(offset, Local) and offset.shape.n > 1:
        # Something else than samples lies along n: a word of offsets is for two words of sums.
        for n in range(out.shape.n):
            one, two = (n, n + 1), (2 * n, 2 * n + 2)
            _narrow(asm, out.part(one), sums.part(two), offset.part(one), SAMPLES, end)
        return
    wide, offsets = Fixed(sums, 16), Fixed(offset, 16)
    if end.to is DType.I8 or end.flipped:
        fixed.arithmetic(asm, "add", out, wide, offsets, samples, shift=end.shift)
        if end.flipped:
            asm.integer("xor", out, out, 0x80808080)
        return
    shift = end.shift
    if isinstance(offset, Local) or offset:
        # Rounded first; whatever 16 bits then cut off lies far outside a byte.
        fixed.arithmetic(asm, "add", sums, wide, offsets, samples, bits=16, shift=shift)
        shift = 0
    fixed.arithmetic(asm, "max", sums, wide, Fixed(0, 16), samples, bits=16)
    positive, zero = Fixed(sums, 16, False), Fixed(0, 16, False)
    fixed.arithmetic(asm, "add", out, positive, zero, samples, shift=shift)


def _pack_conv(weight: np.ndarray) -> np.ndarray:
    """[oc, ic, kh, kw] bytes → the 4IC layout [oc, kh, kw, groups, 4]; the rest is zeros."""
    oc, ic, kh, kw = weight.shape
    packed = np.zeros((oc, kh, kw, ceil_div(ic, 4) * 4), np.uint8)
    packed[..., :ic] = weight.transpose(0, 2, 3, 1)
    return packed


def _per_lane(data: np.ndarray) -> np.ndarray:
    """[channels, k] → [lanes, words]: what a lane's channels need, one after the other."""
    channels, k = data.shape
    lanes, slots = min(channels, LANES), ceil_div(channels, LANES)
    width = ceil_div(slots * k * data.itemsize, 4) * 4 // data.itemsize
    packed = np.zeros((lanes, width), data.dtype)
    for slot in range(slots):
        piece = data[slot * LANES : (slot + 1) * LANES]
        packed[: len(piece), slot * k : (slot + 1) * k] = piece
    return packed


def _twice(bias: np.ndarray) -> np.ndarray:
    """int16 in both halves of a word."""
    return np.stack([bias, bias], -1)


class Int8PointwiseKernel(PointwiseKernel):
    """Sums, products, maximum, minimum and table look-up."""

    def _count(self, out: Local) -> int:
        """Samples an instruction is told; all four where n counts something else."""
        samples: int = self.node.op.samples  # type: ignore[attr-defined]
        return samples if out.shape.n == 1 else SAMPLES * out.shape.n

    def scratch(self, out: Local, args: list[Any]) -> list[Shape4]:
        op = self.node.op
        if isinstance(op, (Int8Sum, Int8Affine, Int8Product)):
            return [out.shape._replace(n=ceil_div(self._count(out), 2))]
        if isinstance(op, Int8Lut) and op.samples > 1:
            return [out.shape] * 2
        return []

    def emit(
        self,
        asm: Assembler,
        out: Local,
        args: list[Any],
        constants: list[Local],
        scratch: list[Local],
        tile: tuple[Box, int, int],
    ) -> None:
        op, count = self.node.op, self._count(out)
        match op:
            case Int8Sum():
                _sum(asm, op, out, args, scratch[0], count)
            case Int8Affine():
                x, k, *offset = args
                operands = Fixed(x, 8, op.signed), Fixed(k)
                fixed.arithmetic(asm, "mul", scratch[0], *operands, count, bits=16)
                added = offset[0] if offset else op.end.offset
                _narrow(asm, out, scratch[0], added, count, op.end)
            case Int8Product():
                _product(asm, op, out, args, scratch[0], count)
            case Int8Binary():
                a, b = (Fixed(x, 8, s) for x, s in zip(args, op.signed, strict=True))
                fixed.arithmetic(asm, op.fn, out, a, b, count, shift=op.shift)
            case Int8Lut():
                _look_up(asm, op, out, args[0], scratch)
            case _:
                raise NotImplementedError(op.name)


def _sum(
    asm: Assembler, op: Int8Sum, out: Local, args: list[Any], sums: Local, samples: int
) -> None:
    """The halved sum in 16 bits, then the rest of the shift."""
    a, ka, b, kb, *offset = args
    first, second = (Fixed(x, 8, s) for x, s in zip((a, b), op.signed, strict=True))
    fixed.arithmetic(asm, "mul", sums, first, Fixed(ka), samples, bits=16)
    fixed.arithmetic(
        asm, "mac", sums, second, Fixed(kb), samples, bits=16, shift=1, accumulate=True
    )
    _narrow(asm, out, sums, offset[0] if offset else op.end.offset, samples, op.end)


def _product(
    asm: Assembler, op: Int8Product, out: Local, args: list[Any], sums: Local, samples: int
) -> None:
    """a*b minus zero*b in 16 bits, which hold both and every (a - zero) * b."""
    a, b, *offset = args
    fixed.arithmetic(asm, "mul", sums, Fixed(a, 8, op.signed), Fixed(b), samples, bits=16)
    left = -op.zero
    if isinstance(b, int):
        more = Fixed(left * (b - 256 if b > 127 else b), 16)
        left = 0
        if more.data:
            fixed.arithmetic(asm, "add", sums, Fixed(sums, 16), more, samples, bits=16)
    while left:
        # A constant of 8 bits; after -128 the sum is that of a - 128, which a byte holds, too.
        part = max(left, -128)
        times = Fixed(part, 8, signed=part < 0)
        fixed.arithmetic(asm, "mac", sums, Fixed(b), times, samples, bits=16, accumulate=True)
        left -= part
    _narrow(asm, out, sums, offset[0] if offset else op.end.offset, samples, op.end)


def _look_up(asm: Assembler, op: Int8Lut, out: Local, x: Local, scratch: list[Local]) -> None:
    """One look-up a sample; a table's words hold a byte each."""
    if op.samples == 1:
        asm.lookup(out, x, op.offset)
        return
    byte, found = scratch
    for sample in range(op.samples):
        source = x
        if sample:
            asm.integer("shift", byte, x, -8 * sample)
            source = byte
        asm.lookup(found if sample else out, source, op.offset)
        if sample:
            asm.integer("shift", found, found, 8 * sample)
            asm.integer("or", out, out, found)
