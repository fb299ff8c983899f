"""Operators on 8-bit integers, exactly as the BM1684 computes them.

``R(v, s)`` below is the chip's rescaling, a right shift that rounds half up:
``(v + 2^(s-1)) >> s`` (``v`` itself for s = 0); ``sat`` saturates to the result's type, ``sat16``
to int16. A result of type u8 clips negative values, which is a free ReLU. (Instruction set notes:
fixed point convolution and tensor arithmetic; the backend's tests compare every operator with the
instructions.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nntc.core.dtype import DType
from nntc.ir.graph import Op, TensorType
from nntc.ir.ops import _window
from nntc.ir.ops._numeric import ieee
from nntc.ir.ops._rules import (
    broadcast_to,
    need,
    need_at_least,
    need_axis,
    need_length,
    need_rank,
    need_shape,
    require,
)

BYTE = (DType.I8, DType.U8)
MAX_SHIFT = 31
_EXACT = 1 << 24  # fp32 holds every integer up to here, so BLAS sums below it are exact.


def rescale(total: np.ndarray, shift: int) -> np.ndarray:
    """R(total, shift), in place for integers wider than the values."""
    if shift:
        total += 1 << (shift - 1)
        total >>= shift
    return total


def saturate(total: np.ndarray, dtype: DType) -> np.ndarray:
    """The values of *total* cut to the range of *dtype*."""
    limits = np.iinfo(dtype.numpy.name)
    return np.asarray(np.clip(total, limits.min, limits.max)).astype(dtype.numpy)


def _need_shift(shift: int, what: str, low: int = 0) -> None:
    require(low <= shift <= MAX_SHIFT, f"{what} is {shift}, {low} to {MAX_SHIFT} is allowed")


def _need_byte(dtype: DType) -> None:
    require(dtype in BYTE, f"the result would be {dtype}, i8 or u8 is allowed")


def _need_scale(what: str, scale: TensorType, x: TensorType, axis: int, dtype: DType) -> None:
    """One number, or one for every index of *axis*."""
    if scale.shape == ():
        need(what, scale, (dtype,))
        return
    need_axis(axis, len(x.shape))
    need_shape(what, scale, (x.shape[axis],), dtype)


def _need_number(what: str, number: int, dtype: DType) -> None:
    limits = np.iinfo(dtype.numpy.name)
    fits = limits.min <= number <= limits.max
    require(fits, f"{what} is {number}, {dtype} holds {limits.min} to {limits.max}")


def along(scale: np.ndarray, rank: int, axis: int) -> np.ndarray:
    """A scale as it broadcasts to a tensor of *rank*."""
    if scale.ndim == 0:
        return scale
    return scale.reshape([-1 if a == axis else 1 for a in range(rank)])


@dataclass(frozen=True)
class Quantize(Op):
    """y = sat(round(x * multiplier) + zero), halves to even; the product is rounded to fp32 first.

    Operands: x f32, multiplier f32: one number, or one for every index of ``axis``.
    """

    to: DType
    axis: int = 1
    zero: int = 0

    def infer(self, x: TensorType, multiplier: TensorType) -> tuple[TensorType, ...]:
        need("x", x, (DType.F32,))
        _need_byte(self.to)
        _need_scale("multiplier", multiplier, x, self.axis, DType.F32)
        _need_number("zero", self.zero, self.to)
        return (TensorType(self.to, x.shape),)

    @ieee
    def compute(self, x: np.ndarray, multiplier: np.ndarray) -> tuple[np.ndarray, ...]:
        y = np.asarray(x * along(multiplier, x.ndim, self.axis))
        limits = np.iinfo(self.to.numpy.name)
        y = np.asarray(np.clip(np.rint(y) + np.float32(self.zero), limits.min, limits.max))
        return (y.astype(self.to.numpy),)


@dataclass(frozen=True)
class Dequantize(Op):
    """y = (x - zero) * scale in fp32.

    Operands: x i8 or u8, scale f32: one number, or one for every index of ``axis``.
    """

    axis: int = 1
    zero: int = 0

    def infer(self, x: TensorType, scale: TensorType) -> tuple[TensorType, ...]:
        need("x", x, BYTE)
        _need_scale("scale", scale, x, self.axis, DType.F32)
        _need_number("zero", self.zero, x.dtype)
        return (TensorType(DType.F32, x.shape),)

    def compute(self, x: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, ...]:
        steps = x.astype(np.float32) - np.float32(self.zero)
        return (np.asarray(steps * along(scale, x.ndim, self.axis)),)


@dataclass(frozen=True)
class FixConv(Op):
    """Convolution of 8-bit integers with a right shift; geometry as ``Conv``.

    Operands: x [N, C, *in] i8 or u8, w [M, C/group, *kernel] i8 or u8, optional b [M] i16.
    narrow = 0: y = sat(R(sum + b, shift)).
    narrow > 0: y = sat(R(sat16(R(sum, shift)) + b, narrow)): the sum passes through 16 bits, and a
    bias too large for the accumulator's scale is added there.
    pad_value: what the padding holds, a number of x's type.
    """

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int
    shift: int
    to: DType
    narrow: int = 0
    pad_value: int = 0

    def infer(
        self, x: TensorType, w: TensorType, b: TensorType | None = None
    ) -> tuple[TensorType, ...]:
        spatial = need_rank("x", x, 3, 4) - 2
        need("x", x, BYTE)
        need("w", w, BYTE, spatial + 2)
        _need_number("pad_value", self.pad_value, x.dtype)
        window = _window.check(x.shape[2:], w.shape[2:], self.strides, self.pads, self.dilations)
        _window.need_fit(window)
        require(
            self.group >= 1 and w.shape[0] % self.group == 0,
            f"w's {w.shape[0]} output channels do not split in {self.group} groups",
        )
        require(
            w.shape[1] * self.group == x.shape[1],
            f"w takes {w.shape[1]} channels a group, x has {x.shape[1]} in {self.group} groups",
        )
        _check_fixed(self, w.shape[0], b)
        return (TensorType(self.to, (x.shape[0], w.shape[0], *window.out())),)

    def compute(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None
    ) -> tuple[np.ndarray, ...]:
        pads = self.pads
        if self.pad_value and any(pads):
            ends = len(pads) // 2
            widths = [(0, 0), (0, 0), *zip(pads[:ends], pads[ends:], strict=True)]
            x = np.pad(x, widths, constant_values=self.pad_value)
            pads = (0,) * len(pads)
        window = _window.Window(x.shape[2:], w.shape[2:], self.strides, pads, self.dilations)
        kind = exact_type(w.reshape(w.shape[0], -1), x.dtype)
        total = _window.convolve(x.astype(kind), w.astype(kind), window, self.group)
        return (finish(self, total, b),)


@dataclass(frozen=True)
class FixConvTranspose(Op):
    """Transposed convolution of 8-bit integers; geometry as ``ConvTranspose``, result as FixConv.

    Operands: x [N, C, *in] i8 or u8, w [C, M/group, *kernel] i8 or u8, optional b [M] i16.
    """

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int
    output_padding: tuple[int, ...]
    shift: int
    to: DType
    narrow: int = 0

    def infer(
        self, x: TensorType, w: TensorType, b: TensorType | None = None
    ) -> tuple[TensorType, ...]:
        spatial = need_rank("x", x, 3, 4) - 2
        need("x", x, BYTE)
        need("w", w, BYTE, spatial + 2)
        need_length(self.output_padding, spatial, "output_padding")
        need_at_least(self.output_padding, 0, "output_padding")
        window = _window.check(x.shape[2:], w.shape[2:], self.strides, self.pads, self.dilations)
        require(
            self.group >= 1 and w.shape[0] % self.group == 0,
            f"w's {w.shape[0]} input channels do not split in {self.group} groups",
        )
        require(w.shape[0] == x.shape[1], f"w takes {w.shape[0]} channels, x has {x.shape[1]}")
        channels = w.shape[1] * self.group
        _check_fixed(self, channels, b)
        out = window.transposed_out(self.output_padding)
        require(min(out) > 0, f"the result would have the spatial shape {out}")
        return (TensorType(self.to, (x.shape[0], channels, *out)),)

    def compute(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None
    ) -> tuple[np.ndarray, ...]:
        window = _window.Window(x.shape[2:], w.shape[2:], self.strides, self.pads, self.dilations)
        out = window.transposed_out(self.output_padding)
        kind = exact_type(w.swapaxes(0, 1).reshape(w.shape[1], -1), x.dtype)
        total = _window.convolve_transposed(x.astype(kind), w.astype(kind), window, self.group, out)
        return (finish(self, total, b),)


def _check_fixed(op: FixConv | FixConvTranspose, channels: int, b: TensorType | None) -> None:
    _need_byte(op.to)
    _need_shift(op.shift, "shift")
    _need_shift(op.narrow, "narrow")
    require(op.narrow == 0 or b is not None, "narrow is for a bias, which is absent")
    if b is not None:
        need_shape("b", b, (channels,), DType.I16)


def exact_type(rows: np.ndarray, dtype: np.dtype[np.generic]) -> type[np.floating]:
    """The smallest float type in which sums of rows times values of *dtype* are exact."""
    largest = 255 if dtype == np.uint8 else 128
    most = int(np.abs(rows.astype(np.int64)).sum(axis=1).max(initial=0)) * largest
    return np.float32 if most < _EXACT else np.float64


def finish(op: FixConv | FixConvTranspose, total: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """Sums of products → results: bias, shifts, saturation."""
    sums = total.astype(np.int32)
    bias = None
    if b is not None:
        bias = b.astype(np.int32).reshape(-1, *(1 for _ in sums.shape[2:]))
    if bias is not None and not op.narrow:
        sums += bias
    rescale(sums, op.shift)
    if bias is not None and op.narrow:
        np.clip(sums, -(1 << 15), (1 << 15) - 1, out=sums)
        sums += bias
        rescale(sums, op.narrow)
    return saturate(sums, op.to)


@dataclass(frozen=True)
class FixSum(Op):
    """Weighted sum: y = sat(R(((a*ka + b*kb + 1) >> 1) + offset, shift - 1)), shift >= 1.

    Operands: a, b i8 or u8 of one shape; ka, kb i8 and the optional offset i16: one number, or one
    for every index of ``axis``. The halved sum fits in 16 bits for all operands.
    """

    shift: int
    to: DType
    axis: int = 1

    def infer(
        self,
        a: TensorType,
        ka: TensorType,
        b: TensorType,
        kb: TensorType,
        offset: TensorType | None = None,
    ) -> tuple[TensorType, ...]:
        need("a", a, BYTE)
        need("b", b, BYTE)
        require(a.shape == b.shape, f"a {a.shape} and b {b.shape} differ in shape")
        _need_scale("ka", ka, a, self.axis, DType.I8)
        _need_scale("kb", kb, b, self.axis, DType.I8)
        if offset is not None:
            _need_scale("offset", offset, a, self.axis, DType.I16)
        _need_byte(self.to)
        _need_shift(self.shift, "shift", 1)
        return (TensorType(self.to, a.shape),)

    def compute(
        self,
        a: np.ndarray,
        ka: np.ndarray,
        b: np.ndarray,
        kb: np.ndarray,
        offset: np.ndarray | None = None,
    ) -> tuple[np.ndarray, ...]:
        total = a * along(ka.astype(np.int32), a.ndim, self.axis)
        total = np.asarray(total + b * along(kb.astype(np.int32), b.ndim, self.axis))
        total = rescale(total, 1)
        if offset is not None:
            total = np.asarray(total + along(offset.astype(np.int32), a.ndim, self.axis))
        return (saturate(rescale(total, self.shift - 1), self.to),)


@dataclass(frozen=True)
class FixAffine(Op):
    """y = sat(R(x*k + offset, shift)).

    Operands: x i8 or u8, k i8 and offset i16: one number, or one for every index of ``axis``.
    """

    shift: int
    to: DType
    axis: int = 1

    def infer(self, x: TensorType, k: TensorType, offset: TensorType) -> tuple[TensorType, ...]:
        need("x", x, BYTE)
        _need_scale("k", k, x, self.axis, DType.I8)
        _need_scale("offset", offset, x, self.axis, DType.I16)
        _need_byte(self.to)
        _need_shift(self.shift, "shift")
        return (TensorType(self.to, x.shape),)

    def compute(self, x: np.ndarray, k: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, ...]:
        total = x * along(k.astype(np.int32), x.ndim, self.axis)
        total = np.asarray(total + along(offset.astype(np.int32), x.ndim, self.axis))
        return (saturate(rescale(total, self.shift), self.to),)


@dataclass(frozen=True)
class FixMul(Op):
    """y = sat(R((a - zero) * b + offset, shift)); b broadcasts to a.

    Operands: a, b i8 or u8, optional offset i16: one number, or one for every index of ``axis``.
    The result is u8 if a and b are, else i8. With a zero or an offset b is i8, so that the product
    fits in 16 bits, and the result may be either.
    """

    shift: int
    to: DType
    zero: int = 0
    axis: int = 1

    def infer(
        self, a: TensorType, b: TensorType, offset: TensorType | None = None
    ) -> tuple[TensorType, ...]:
        need("a", a, BYTE)
        need("b", b, BYTE)
        broadcast_to("b", b.shape, a.shape)
        _need_byte(self.to)
        _need_number("zero", self.zero, a.dtype)
        if offset is not None:
            _need_scale("offset", offset, a, self.axis, DType.I16)
        if self.zero or offset is not None:
            require(b.dtype is DType.I8, f"with a zero or an offset b is i8, not {b.dtype}")
        else:
            signed = DType.I8 in (a.dtype, b.dtype)
            require(
                signed == (self.to is DType.I8),
                f"{a.dtype} times {b.dtype} gives {'i8' if signed else 'u8'}, not {self.to}",
            )
        _need_shift(self.shift, "shift")
        return (TensorType(self.to, a.shape),)

    def compute(
        self, a: np.ndarray, b: np.ndarray, offset: np.ndarray | None = None
    ) -> tuple[np.ndarray, ...]:
        total = np.asarray((a.astype(np.int32) - self.zero) * b)
        if offset is not None:
            total = np.asarray(total + along(offset.astype(np.int32), a.ndim, self.axis))
        return (saturate(rescale(total, self.shift), self.to),)


@dataclass(frozen=True)
class Lut(Op):
    """y = table[x], x i8 or u8 seen as a byte 0..255 (-1 is 255). Operand table: i8 or u8 [256]."""

    def infer(self, x: TensorType, table: TensorType) -> tuple[TensorType, ...]:
        need("x", x, BYTE)
        need("table", table, BYTE)
        require(table.shape == (256,), f"table has the shape {table.shape}, (256,) is needed")
        return (TensorType(table.dtype, x.shape),)

    def compute(self, x: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.asarray(table[x.view(np.uint8)]),)
