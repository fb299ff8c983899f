"""Operators of the backend on 8-bit integers, four samples in a word.

A value of type i8 or u8 with N samples is carried as *words*: an int32 tensor [ceil(N/4), ...]
whose word g holds samples 4g ... 4g+3 in its bytes 0 ... 3, the chip's 4N layout. Bytes of samples
that do not exist hold anything. Operators that leave the batch axis alone move words like any other
32-bit elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Op, TensorType
from nntc.isa.layout import ceil_div

SAMPLES = 4
"""Samples in a word."""

LUT_BYTES = 1024
"""A table in L2: 256 words."""


def word_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of the words of an 8-bit tensor of *shape*."""
    return (ceil_div(shape[0], SAMPLES), *shape[1:]) if shape else ()


def pack_constant(data: np.ndarray) -> np.ndarray:
    """An i8 or u8 array [N, ...] as words; samples that do not exist are 0."""
    array = np.ascontiguousarray(data).view(np.uint8).reshape(data.shape or (1,))
    groups = ceil_div(len(array), SAMPLES)
    wide = np.zeros((groups * SAMPLES, *array.shape[1:]), np.uint8)
    wide[: len(array)] = array
    grouped = wide.reshape(groups, SAMPLES, *array.shape[1:])
    packed = np.ascontiguousarray(np.moveaxis(grouped, 1, -1)).view(np.int32)[..., 0]
    return packed.reshape(word_shape(data.shape))


def replicate(number: int) -> int:
    """A word (int32) with the low byte of *number* in all four bytes."""
    return int(np.uint32((number & 0xFF) * 0x01010101).view(np.int32))


def replicate_constant(data: np.ndarray) -> np.ndarray:
    """Every element of an i8 or u8 array in all four bytes of a word."""
    wide = np.ascontiguousarray(data).view(np.uint8).astype(np.uint32) * np.uint32(0x01010101)
    return wide.view(np.int32).reshape(data.shape)


@dataclass(frozen=True)
class RoundToBits(Op):
    """fp32 |x| < 2**22 → a word whose low bits are x, rounded half to even, plus *zero*.

    The upper bits hold the exponent of the sum that does the rounding.
    """

    name = "RoundToBits"
    zero: int = 0

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.I32, x.shape),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        rounded = x + np.float32(12582912.0)
        return ((rounded + np.float32(self.zero)).astype(np.float32).view(np.int32),)


@dataclass(frozen=True)
class ByteToFloat(Op):
    """The low byte of a word, minus *zero* (a number of its type) → fp32."""

    name = "ByteToFloat"
    signed: bool
    zero: int = 0

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.F32, x.shape),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        low = (x & 0xFF).astype(np.uint8)
        byte = (low.view(np.int8) if self.signed else low).astype(np.float32)
        return (byte - np.float32(self.zero),)


@dataclass(frozen=True)
class ReduceOr(ops.Reduce):
    """The bits of all words along one axis (kept with size 1) together."""

    name = "ReduceOr"

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        shape = tuple(1 if a in self.axes else size for a, size in enumerate(x.shape))
        return (TensorType(DType.I32, shape),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.bitwise_or.reduce(x, axis=self.axes, keepdims=True),)

    @staticmethod
    def over(axis: int) -> ReduceOr:
        return ReduceOr("or", (axis,), True)


@dataclass(frozen=True)
class Int8Conv(Op):
    """Convolution or transposed convolution on words; FixConv says what it computes.

    Operands: x words, w fp32 constant (integers) in the layout of FixConv resp. FixConvTranspose,
    optional b fp32 constant.

    Attributes:
        result: the result's shape in words.
        batch: true number of samples.
        signed: of x and of w.
        pad_value: in the padding.
    """

    name = "Int8Conv"
    result: tuple[int, ...]
    batch: int
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int
    shift: int
    narrow: int
    to: DType
    signed: tuple[bool, bool]
    transposed: bool = False
    pad_value: int = 0

    def infer(self, *args: TensorType | None) -> tuple[TensorType, ...]:
        return (TensorType(DType.I32, self.result),)


@dataclass(frozen=True)
class Int8MaxPool(ops.MaxPool):
    """Maximum over windows of words; padding never wins.

    Attributes:
        batch: true number of samples.
    """

    name = "Int8MaxPool"
    batch: int = 1
    signed: bool = True


@dataclass(frozen=True)
class Narrowing:
    """How 16-bit sums become bytes: sat(R(sum + offset, shift)).

    Attributes:
        offset: of all elements, where there is no tensor of offsets.
        flipped: offsets are 128 << shift too low, so that signed bytes are 128 too low: flipping
            their top bits gives the unsigned ones.
    """

    shift: int
    to: DType
    offset: int = 0
    flipped: bool = False

    @staticmethod
    def of(shift: int, to: DType, offsets: np.ndarray) -> tuple[Narrowing, np.ndarray]:
        """The cheapest way, and the offsets for it (int16); one of them is in the attributes."""
        lower = offsets.astype(np.int64) - (128 << shift)
        flipped = to is DType.U8 and int(lower.min(initial=0)) >= -(1 << 15)
        chosen = (lower if flipped else offsets).astype(np.int16)
        return Narrowing(shift, to, int(chosen) if chosen.ndim == 0 else 0, flipped), chosen


@dataclass(frozen=True)
class Int8Sum(Op):
    """FixSum on words.

    Operands: a, ka, b, kb, the factors in all four bytes of their words; offsets, in both halves
    of theirs, if they differ.

    Attributes:
        samples: bytes of every word that count.
        signed: of a and of b.
        end: of the halved sums.
    """

    name = "Int8Sum"
    samples: int
    signed: tuple[bool, bool]
    end: Narrowing

    def infer(self, *args: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.I32, np.broadcast_shapes(*(t.shape for t in args))),)


@dataclass(frozen=True)
class Int8Affine(Op):
    """FixAffine on words. Operands: x, k, offsets if they differ, as in Int8Sum.

    Attributes:
        samples: bytes of every word that count.
        signed: of x.
    """

    name = "Int8Affine"
    samples: int
    signed: bool
    end: Narrowing

    def infer(self, *args: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.I32, np.broadcast_shapes(*(t.shape for t in args))),)


@dataclass(frozen=True)
class Int8Product(Op):
    """FixMul with a zero or an offset on words: a minus *zero*, times b, which is signed.

    Operands: a, b, offsets if they differ, as in Int8Sum.

    Attributes:
        samples: bytes of every word that count.
        signed: of a.
    """

    name = "Int8Product"
    samples: int
    signed: bool
    zero: int
    end: Narrowing

    def infer(self, *args: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.I32, np.broadcast_shapes(*(t.shape for t in args))),)


@dataclass(frozen=True)
class Int8Binary(Op):
    """mul (FixMul without zero and offset), max or min of words; samples as in Int8Sum.

    max and min have operands of one sign.
    """

    name = "Int8Binary"
    fn: str
    samples: int
    shift: int
    signed: tuple[bool, bool]

    def infer(self, a: TensorType, b: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.I32, np.broadcast_shapes(a.shape, b.shape)),)


@dataclass(frozen=True)
class Int8Lut(Op):
    """Every byte replaced by a table's.

    Attributes:
        samples: bytes of every word that count.
        table: 256 bytes.
        offset: the table's place in L2, where it lies as 256 words.
    """

    name = "Int8Lut"
    samples: int
    table: bytes
    offset: int

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.I32, x.shape),)


ELEMENTWISE = (Int8Sum, Int8Affine, Int8Product, Int8Binary, Int8Lut)
