"""Legal forms of element-wise operators, integers and truth values included."""

from __future__ import annotations

import numpy as np

from nntc.backend.kernels.pointwise import is_pointwise
from nntc.backend.legalize.builder import Builder
from nntc.backend.legalize.registry import rewrites
from nntc.backend.ops import COMPARISONS, IntToFloat
from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Node, Value


@rewrites(
    ops.LeakyRelu,
    ops.Elu,
    ops.Selu,
    ops.Celu,
    ops.HardSigmoid,
    ops.ThresholdedRelu,
    ops.Shrink,
    ops.Swish,
    ops.IsInf,
    ops.PRelu,
    ops.Clip,
)
def keep(b: Builder, node: Node) -> Value:
    """Operators whose element-wise form is the chip's."""
    if isinstance(node.op, ops.IsInf):
        # The result is fp32 here, not bool: largest < |x|.
        x = b.f32(node.operands[0])
        limit = float(np.finfo(np.float32).max)
        above = b.compare("gt", x, limit)
        below = b.compare("lt", x, -limit)
        parts = [
            v for v, wanted in ((above, node.op.positive), (below, node.op.negative)) if wanted
        ]
        if not parts:
            return b.mul(x, 0.0)
        return parts[0] if len(parts) == 1 else b.binary("max", above, below)
    return b(node.op, *(b.f32(v) for v in node.operands))


@rewrites(ops.Unary)
def unary(b: Builder, node: Node) -> Value:
    """A sequence of additions, products, comparisons and bit operations; see functions.py."""
    op, value = node.op, node.operands[0]
    assert isinstance(op, ops.Unary)
    if op.fn == "bitnot":
        mask = -1 if value.dtype not in (DType.U8, DType.U16) else (1 << value.dtype.size * 8) - 1
        return b.bits("xor", b.i32(value), mask)
    x = b.f32(value)
    if op.fn == "not":
        return b.sub(1.0, x)
    if op.fn == "isnan":
        inside = b.binary("max", b.compare("gt", x, -1.0), b.compare("lt", x, 1.0))
        return b.sub(1.0, inside)
    if op.fn == "reciprocal":
        return b.div(1.0, x)
    assert is_pointwise(op)
    return b(op, x)


def _integer_divide(b: Builder, x: Value, y: Value) -> Value:
    """Quotient toward zero, exact below 2**24: the chip's quotient may be one off."""
    a, d = b.unary("abs", x), b.unary("abs", y)
    q = b.unary("floor", b.div(a, d))
    rest = b.sub(a, b.mul(q, d))
    q = b.add(q, b.compare("ge", rest, d))
    q = b.sub(q, b.compare("lt", rest, 0.0))
    return b.mul(q, b.mul(b.unary("sign", x), b.unary("sign", y)))


def _modulo(b: Builder, x: Value, y: Value, like_dividend: bool) -> Value:
    """Remainder of |x| by |y|, then the wanted sign."""
    a, d = b.unary("abs", x), b.unary("abs", y)
    q = b.unary("floor", b.div(a, d))
    rest = b.sub(a, b.mul(q, d))
    rest = b.sub(rest, b.mul(d, b.compare("ge", rest, d)))
    rest = b.add(rest, b.mul(d, b.compare("lt", rest, 0.0)))
    rest = b.mul(rest, b.unary("sign", x))
    if like_dividend:
        # Dividing by infinity leaves the dividend.
        return b.select(b.compare("gt", d, float(np.finfo(np.float32).max)), x, rest)
    wrong = b.compare("lt", b.mul(rest, b.unary("sign", y)), 0.0)
    finite = b.add(rest, b.mul(wrong, y))
    # Dividing by infinity leaves the dividend, or gives the divisor where the signs differ.
    infinite = b.compare("gt", d, float(np.finfo(np.float32).max))
    differ = b.compare("lt", b.mul(b.unary("sign", x), b.unary("sign", y)), 0.0)
    return b.select(infinite, b.select(differ, y, x), finite)


@rewrites(ops.Binary)
def binary(b: Builder, node: Node) -> Value:
    """One instruction, or a sequence; integers as fp32, bit operations on int32."""
    op = node.op
    assert isinstance(op, ops.Binary)
    left, right = node.operands
    integer = left.dtype.is_integer
    if op.fn in ("bitand", "bitor", "bitxor"):
        return b.bits(op.fn[3:], b.i32(left), b.i32(right))
    if op.fn in ("shl", "shr"):
        return _shift(b, left, b.f32(right), op.fn == "shl")
    x, y = b.f32(left), b.f32(right)
    match op.fn:
        case "div" if integer:
            return _integer_divide(b, x, y)
        case "mod" | "fmod":
            return _modulo(b, x, y, op.fn == "fmod")
        case "pow" if integer:
            return b.unary("round", b.binary("pow", x, y))
        case "and":
            return b.mul(x, y)
        case "or":
            return b.binary("max", x, y)
        case "xor":
            return b.compare("ne", x, y)
        case fn if fn in COMPARISONS:
            return b.compare(fn, x, y)
        case fn:
            return b.binary(fn, x, y)


def _shift(b: Builder, value: Value, amount: Value, left: bool) -> Value:
    """Shifts of any amount: from the type's width on, only the sign is left (or nothing)."""
    width = min(value.dtype.size * 8, 32)
    signed = not value.dtype.value.startswith("u")
    beyond = b.binary("max", b.compare("ge", amount, float(width)), b.compare("lt", amount, 0.0))
    steps = b.select(beyond, 31.0, amount)
    if not left and signed:
        return b.bits("signed_shift", b.i32(value), b.to_int(b.unary("neg", steps)))
    shifted = b.bits("shift", b.i32(value), b.to_int(steps if left else b.unary("neg", steps)))
    shifted = b.bits("and", shifted, b.to_int(b.sub(beyond, 1.0)))
    return _wrap_bits(b, shifted, value.dtype) if width < 32 else shifted


@rewrites(ops.Where)
def where(b: Builder, node: Node) -> Value:
    """Compare and select."""
    mask, x, y = node.operands
    return b.select(b.f32(mask), b.f32(x), b.f32(y))


@rewrites(ops.Cast)
def cast(b: Builder, node: Node) -> Value:
    """Floats are cut toward zero; integers wrap to narrower types; bool is 0 or 1."""
    op, value = node.op, node.operands[0]
    assert isinstance(op, ops.Cast)
    if op.to is DType.BOOL:
        return b.any(value) if value.dtype is DType.BOOL else b.compare("ne", b.f32(value), 0.0)
    if op.to.is_float:
        return b.f32(value)
    if value.dtype.is_float:
        return b.unary("trunc", b.f32(value))
    if value.dtype.is_integer and op.to.size < 4 and not _holds(op.to, value.dtype):
        return _wrap(b, value, op.to)
    return b.any(value)


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether every value of an integer type is one of another."""
    outer, inner = np.iinfo(wide.numpy.name), np.iinfo(narrow.numpy.name)
    return outer.min <= inner.min and inner.max <= outer.max


def _wrap(b: Builder, value: Value, to: DType) -> Value:
    """The low bits of an integer, as a narrower integer type has them."""
    return _wrap_bits(b, b.i32(value), to)


def _wrap_bits(b: Builder, bits: Value, to: DType) -> Value:
    width = to.size * 8
    low = b.bits("and", bits, (1 << width) - 1)
    if to.value.startswith("u"):
        return low
    # Shifting up and arithmetically down would need two steps more than flipping the sign bit.
    flipped = b.bits("xor", low, 1 << (width - 1))
    return b.sub(b(IntToFloat(), flipped), float(1 << (width - 1)))
