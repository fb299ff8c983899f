"""Operators that exist only inside the backend.

The chip computes on fp32, and on the bits of 32-bit integers. After legalisation truth values are
fp32 0 and 1, integers are fp32 (exact up to 2**24), and only bit operations and the network's
own int32 inputs and outputs are 32-bit integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nntc.core.dtype import DType
from nntc.ir.graph import Op, TensorType

COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
BIT_OPERATIONS = {
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}


def _broadcast(*types: TensorType) -> tuple[int, ...]:
    return np.broadcast_shapes(*(t.shape for t in types))


@dataclass(frozen=True)
class Compare(Op):
    """1.0 where the comparison holds, else 0.0; fp32 operands, broadcast."""

    name = "Compare"
    fn: str

    def infer(self, a: TensorType, b: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.F32, _broadcast(a, b)),)

    def compute(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
        return (COMPARISONS[self.fn](a, b).astype(np.float32),)


@dataclass(frozen=True)
class Select(Op):
    """mask > 0.5 ? x : y; the mask is 0.0 or 1.0."""

    name = "Select"

    def infer(self, mask: TensorType, x: TensorType, y: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(x.dtype, _broadcast(mask, x, y)),)

    def compute(self, mask: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.where(mask > 0.5, x, y),)


@dataclass(frozen=True)
class IntToFloat(Op):
    """32-bit integer bits → fp32, correctly rounded."""

    name = "IntToFloat"

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.F32, x.shape),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (x.astype(np.float32),)


@dataclass(frozen=True)
class FloatToInt(Op):
    """fp32 → int32 bits, truncated toward zero and saturated."""

    name = "FloatToInt"

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.I32, x.shape),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        wide = np.nan_to_num(np.trunc(x.astype(np.float64)), nan=0.0, posinf=2e9 * 2, neginf=-4e9)
        return (np.clip(wide, -(2**31), 2**31 - 1).astype(np.int32),)


@dataclass(frozen=True)
class Bits(Op):
    """Bit operation on 32-bit integers: and, or, xor, shift, signed_shift.

    The shifts move left by the second operand, -31..31, or right if it is negative;
    signed_shift keeps the sign then.
    """

    name = "Bits"
    fn: str

    def infer(self, a: TensorType, b: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.I32, _broadcast(a, b)),)

    def compute(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
        if self.fn == "signed_shift":
            return (np.where(b >= 0, a << np.maximum(b, 0), a >> np.maximum(-b, 0)),)
        if self.fn == "shift":
            wide = a.view(np.uint32).astype(np.uint64)
            left, right = np.maximum(b, 0), np.maximum(-b, 0)
            result = (wide << left.astype(np.uint64)) >> right.astype(np.uint64)
            return (result.astype(np.uint32).view(np.int32),)
        return (BIT_OPERATIONS[self.fn](a, b),)


@dataclass(frozen=True)
class Widen(Op):
    """An 8-bit network input as fp32."""

    name = "Widen"

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(DType.F32, x.shape),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (x.astype(np.float32),)


@dataclass(frozen=True)
class Narrow(Op):
    """fp32 as an 8-bit network output, rounded half to even and saturated."""

    name = "Narrow"
    to: DType

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(self.to, x.shape),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        if self.to is DType.BOOL:
            return (x > 0.5,)
        limits = np.iinfo(self.to.numpy.name)
        return (np.clip(np.rint(x), limits.min, limits.max).astype(self.to.numpy),)


@dataclass(frozen=True)
class CpuCall(Op):
    """A layer of the runtime's CPU library between two TPU parts.

    Attributes:
        op_type: the runtime's number of the layer.
        param: the layer's parameter struct as bytes.
        results: types of the results.
    """

    name = "CpuCall"
    op_type: int
    param: bytes
    results: tuple[TensorType, ...]

    def infer(self, *args: TensorType | None) -> tuple[TensorType, ...]:
        return self.results


@dataclass(frozen=True)
class PackedConv(Op):
    """A convolution whose weights are computed at run time.

    Operands: x [N, C, *in], weights already in the chip's order [M, kh, kw, even(C/group)] (for
    a depthwise convolution [M, kh, kw]), optional bias [M].

    Attributes:
        result: shape of the result.
        kernel: one entry per spatial axis.
        inner: input channels of one group; 0 for depthwise.
        transposed: a transposed convolution.
    """

    name = "PackedConv"
    result: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int
    inner: int
    transposed: bool

    def infer(self, *args: TensorType | None) -> tuple[TensorType, ...]:
        return (TensorType(DType.F32, self.result),)
