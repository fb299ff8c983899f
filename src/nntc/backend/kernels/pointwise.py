"""Element-wise operators: from an operator to the instructions for one tile.

Operands are tensors in local memory whose shape broadcasts to the result's, or immediate
numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nntc.backend.assembler import Assembler, Scalar, f32_bits
from nntc.backend.fixed_ops import ELEMENTWISE, ByteToFloat, RoundToBits
from nntc.backend.kernels.functions import (
    ASINH_SERIES,
    ATANH_SERIES,
    ROUND,
    SINH_SERIES,
    TWO23,
    Tile,
)
from nntc.backend.local import Local
from nntc.backend.ops import Bits, Compare, FloatToInt, IntToFloat, Narrow, Select, Widen
from nntc.ir import ops
from nntc.ir.graph import Op, Value

Operand = Local | Scalar | int
Emitter = Callable[[Tile, Local, Any, list[Any]], None]

_UNARY: dict[str, Callable[[Tile, Local, Local], None]] = {
    "abs": Tile.absolute,
    "neg": Tile.negate,
    "exp": Tile.exp,
    "log": Tile.log,
    "sqrt": Tile.sqrt,
    "floor": Tile.floor,
    "ceil": Tile.ceil,
    "round": Tile.round,
    "trunc": Tile.trunc,
    "sign": Tile.sign,
    "sin": Tile.sin,
    "atan": Tile.atan,
    "asin": Tile.asin,
    "erf": Tile.erf,
    "sigmoid": Tile.sigmoid,
    "tanh": Tile.tanh,
    "softplus": Tile.softplus,
    "isnan": Tile.is_nan,
    "rsqrt": lambda t, out, x: t.asm.rsqrt(out, x),
    "reciprocal": lambda t, out, x: t.divide(out, 1.0, x),
    "relu": lambda t, out, x: t.asm.binary("max", out, x, 0.0),
    "cos": lambda t, out, x: t.sin(out, x, quarter_turns=1),
    "not": lambda t, out, x: t.invert(out, x),
}


def _unary(name: str) -> Callable[[Callable[[Tile, Local, Local], None]], None]:
    def register(function: Callable[[Tile, Local, Local], None]) -> None:
        _UNARY[name] = function

    return register


@_unary("tan")
def _tan(t: Tile, out: Local, x: Local) -> None:
    sine, cosine = t.scratch(), t.scratch()
    t.sin(sine, x)
    t.sin(cosine, x, quarter_turns=1)
    t.divide(out, sine, cosine)


@_unary("acos")
def _acos(t: Tile, out: Local, x: Local) -> None:
    s = t.scratch()
    t.asin(s, x)
    t.asm.binary("sub", out, math.pi / 2, s)


def _hyperbolic(t: Tile, out: Local, x: Local, op: str) -> None:
    up, down = t.scratch(), t.scratch()
    t.negate(down, x)
    t.exp(up, x)
    t.exp(out, down)
    t.asm.binary(op, out, up, out)
    t.asm.binary("mul", out, out, 0.5)


@_unary("sinh")
def _sinh(t: Tile, out: Local, x: Local) -> None:
    far = t.scratch()
    _hyperbolic(t, far, x, "sub")
    t.near_zero(out, x, far, 1.0, SINH_SERIES)


@_unary("cosh")
def _cosh(t: Tile, out: Local, x: Local) -> None:
    _hyperbolic(t, out, x, "add")


@_unary("asinh")
def _asinh(t: Tile, out: Local, x: Local) -> None:
    """sign(x) * log(|x| + sqrt(x*x + 1))."""
    a, s, r = t.scratch(), t.scratch(), t.scratch()
    t.absolute(a, x)
    t.asm.binary("mul", s, a, a)
    t.asm.binary("add", s, s, 1.0)
    t.sqrt(r, s)
    t.asm.binary("add", a, a, r)
    t.log(s, a)
    t.asm.binary("max", s, s, 0.0)
    t.copy_sign(a, s, x)
    t.near_zero(out, x, a, 0.5, ASINH_SERIES)


@_unary("acosh")
def _acosh(t: Tile, out: Local, x: Local) -> None:
    s, r = t.scratch(), t.scratch()
    t.asm.binary("mul", s, x, x)
    t.asm.binary("sub", s, s, 1.0)
    t.asm.binary("max", s, s, 0.0)
    t.sqrt(r, s)
    t.asm.binary("add", r, r, x)
    t.log(out, r)


@_unary("atanh")
def _atanh(t: Tile, out: Local, x: Local) -> None:
    up, down = t.scratch(), t.scratch()
    t.asm.binary("add", up, x, 1.0)
    t.asm.binary("sub", down, 1.0, x)
    t.divide(up, up, down)
    t.log(down, up)
    t.asm.binary("mul", down, down, 0.5)
    t.near_zero(out, x, down, 0.5, ATANH_SERIES)


@_unary("softsign")
def _softsign(t: Tile, out: Local, x: Local) -> None:
    a = t.scratch()
    t.absolute(a, x)
    t.asm.binary("add", a, a, 1.0)
    t.divide(out, x, a)


@_unary("silu")
def _silu(t: Tile, out: Local, x: Local) -> None:
    _swish(t, out, x, 1.0)


@_unary("mish")
def _mish(t: Tile, out: Local, x: Local) -> None:
    """x * (e*e + 2e) / (e*e + 2e + 2) with e = exp(x): tanh(softplus(x)) without logarithm."""
    asm, e, s = t.asm, t.scratch(), t.scratch()
    asm.binary("min", s, x, 20.0)
    t.exp(e, s)
    asm.binary("add", s, e, 2.0)
    asm.binary("mul", e, e, s)
    asm.binary("add", s, e, 2.0)
    t.divide(e, e, s)
    asm.binary("mul", out, e, x)


@_unary("gelu")
def _gelu(t: Tile, out: Local, x: Local) -> None:
    s, e = t.scratch(), t.scratch()
    t.asm.binary("mul", s, x, math.sqrt(0.5))
    t.coarse_erf(e, s)
    t.asm.binary("add", e, e, 1.0)
    t.asm.binary("mul", s, x, 0.5)
    t.asm.binary("mul", out, e, s)


@_unary("gelu_tanh")
def _gelu_tanh(t: Tile, out: Local, x: Local) -> None:
    """x / (1 + exp(-2u)), which is x/2 * (1 + tanh(u)) without cancellation."""
    s, e = t.scratch(), t.scratch()
    twice = -2.0 * math.sqrt(2 / math.pi)
    t.asm.binary("mul", s, x, x)
    t.asm.binary("mul", s, s, 0.044715 * twice)
    t.asm.binary("add", s, s, twice)
    t.asm.binary("mul", s, s, x)
    t.asm.binary("min", s, s, 87.0)
    t.exp(e, s)
    t.asm.binary("add", e, e, 1.0)
    t.divide(out, x, e)


@_unary("hardswish")
def _hardswish(t: Tile, out: Local, x: Local) -> None:
    s = t.scratch()
    _hard_sigmoid(t, s, x, 1 / 6, 0.5)
    t.asm.binary("mul", out, s, x)


def _hard_sigmoid(t: Tile, out: Local, x: Local, alpha: float, beta: float) -> None:
    t.asm.binary("mul", out, x, alpha)
    t.asm.binary("add", out, out, beta)
    t.asm.binary("max", out, out, 0.0)
    t.asm.binary("min", out, out, 1.0)


def _swish(t: Tile, out: Local, x: Local, alpha: float) -> None:
    """x / (1 + exp(-alpha*x))."""
    s, e = t.scratch(), t.scratch()
    t.asm.binary("mul", s, x, -alpha)
    # The chip's x / infinity is infinity: the denominator must stay finite.
    t.asm.binary("min", s, s, 87.0)
    t.exp(e, s)
    t.asm.binary("add", e, e, 1.0)
    t.divide(out, x, e)


def _leaky(t: Tile, out: Local, x: Local, slope: Local | Scalar) -> None:
    """max(x, 0) + slope * min(x, 0)."""
    s = t.scratch()
    t.asm.binary("min", s, x, 0.0)
    t.asm.binary("max", out, x, 0.0)
    t.asm.multiply_add(out, s, slope)


def _elu(t: Tile, out: Local, x: Local, alpha: float, gamma: float, beta: float) -> None:
    """gamma * (max(x, 0) + alpha * (exp(min(x, 0)/beta) - 1))."""
    s, e = t.scratch(), t.scratch()
    t.asm.binary("min", s, x, 0.0)
    t.asm.binary("mul", s, s, 1.0 / beta)
    t.expm1(e, s)
    t.asm.binary("mul", e, e, alpha)
    t.asm.binary("max", s, x, 0.0)
    t.asm.binary("add", out, e, s)
    if gamma != 1.0:
        t.asm.binary("mul", out, out, gamma)


def _shrink(t: Tile, out: Local, x: Local, lambd: float, bias: float) -> None:
    """x + bias below -lambd, x - bias above lambd, else 0."""
    low, high, s = t.scratch(), t.scratch(), t.scratch()
    t.asm.select_greater(low, -lambd, x, 1.0)
    t.asm.select_greater(high, x, lambd, 1.0)
    t.asm.binary("add", s, x, bias)
    t.asm.binary("mul", low, low, s)
    t.asm.binary("sub", s, x, bias)
    t.asm.binary("mul", high, high, s)
    t.asm.binary("add", out, low, high)


def _clip(t: Tile, out: Local, x: Local, low: float, high: float) -> None:
    source = x
    if low != -math.inf:
        t.asm.binary("max", out, source, low)
        source = out
    if high != math.inf:
        t.asm.binary("min", out, source, high)
        source = out
    if source is x:
        t.asm.copy(out, x)


def _is_inf(t: Tile, out: Local, x: Local, op: ops.IsInf) -> None:
    largest = float(np.finfo(np.float32).max)
    s = t.scratch()
    t.asm.fill(out, 0)
    if op.positive:
        t.asm.select_greater(s, x, largest, 1.0)
        t.asm.binary("max", out, out, s)
    if op.negative:
        t.asm.select_greater(s, -largest, x, 1.0)
        t.asm.binary("max", out, out, s)


def _binary(t: Tile, out: Local, op: ops.Binary, args: list[Any]) -> None:
    a, b = args
    if op.fn == "pow":
        _pow(t, out, a, b)
    else:
        t.asm.binary(op.fn, out, a, b)


def _pow(t: Tile, out: Local, x: Local | Scalar, y: Local | Scalar) -> None:
    base = t.full(x)
    if isinstance(y, Local):
        t.power(out, base, y)
    elif y == 1.0:
        t.asm.copy(out, base)
    elif y == 0.5:
        t.sqrt(out, base)
    elif y == -0.5:
        t.asm.rsqrt(out, base)
    elif y == -1.0:
        t.divide(out, 1.0, base)
    elif y in (2.0, 3.0, 4.0):
        s = t.scratch()
        t.asm.binary("mul", s, base, base)
        if y == 2.0:
            t.asm.copy(out, s)
        else:
            t.asm.binary("mul", out, s, base if y == 3.0 else s)
    else:
        t.power(out, base, y)


def _compare(t: Tile, out: Local, op: Compare, args: list[Any]) -> None:
    a, b = args
    if op.fn in ("eq", "ne"):
        t.equal(out, a, b)
        if op.fn == "ne":
            t.invert(out, out)
    elif op.fn == "gt":
        t.asm.select_greater(out, a, b, 1.0)
    elif op.fn == "lt":
        t.asm.select_greater(out, b, a, 1.0)
    else:
        # a >= b is "a > b or a == b": the negation of b > a would be true for NaN.
        s = t.scratch()
        t.equal(s, a, b)
        if op.fn == "ge":
            t.asm.select_greater(out, a, b, 1.0)
        else:
            t.asm.select_greater(out, b, a, 1.0)
        t.asm.binary("max", out, out, s)


def _select(t: Tile, out: Local, args: list[Any]) -> None:
    mask, x, y = args
    chosen = [v if isinstance(v, float) else t.full(v) for v in (x, y)]
    t.asm.where_greater(out, t.full(mask), 0.5, chosen[0], chosen[1])


def _emit(t: Tile, out: Local, op: Op, args: list[Any]) -> None:
    x = args[0]
    match op:
        case ops.Unary():
            _UNARY[op.fn](t, out, x)
        case ops.LeakyRelu():
            _leaky(t, out, x, op.alpha)
        case ops.PRelu():
            _leaky(t, out, t.full(x), args[1])
        case ops.Elu():
            _elu(t, out, x, op.alpha, 1.0, 1.0)
        case ops.Selu():
            _elu(t, out, x, op.alpha, op.gamma, 1.0)
        case ops.Celu():
            _elu(t, out, x, op.alpha, 1.0, op.alpha)
        case ops.HardSigmoid():
            _hard_sigmoid(t, out, x, op.alpha, op.beta)
        case ops.ThresholdedRelu():
            s = t.scratch()
            t.asm.select_greater(s, x, op.alpha, 1.0)
            t.asm.binary("mul", out, s, x)
        case ops.Shrink():
            _shrink(t, out, x, op.lambd, op.bias)
        case ops.Swish():
            _swish(t, out, x, op.alpha)
        case ops.Clip():
            _clip(t, out, x, op.min, op.max)
        case ops.IsInf():
            _is_inf(t, out, x, op)
        case ops.Binary():
            _binary(t, out, op, args)
        case Compare():
            _compare(t, out, op, args)
        case Select():
            _select(t, out, args)
        case IntToFloat():
            t.int_to_float(out, x)
        case FloatToInt():
            t.asm.to_int(out, x)
        case Widen() | Narrow():
            # The GDMA converts on the way from and to system memory.
            t.asm.copy(out, x)
        case RoundToBits():
            t.asm.binary("add", out, x, ROUND)
            if op.zero:
                # After rounding: halves would go to the other side of an odd zero.
                t.asm.binary("add", out, out, float(op.zero))
        case ByteToFloat():
            t.asm.integer("and", out, x, 0xFF)
            # The exponent of 2**23 above the byte; flipping the sign bit adds 128.
            t.asm.integer("xor", out, out, f32_bits(TWO23) | (128 if op.signed else 0))
            t.asm.binary("sub", out, out, TWO23 + (128.0 if op.signed else 0.0) + op.zero)
        case Bits():
            if op.fn == "signed_shift":
                t.asm.shift_arithmetic(out, x, args[1])
            else:
                t.asm.integer(op.fn, out, x, args[1])
        case _:
            raise NotImplementedError(op.name)


_TYPES = (
    ops.Unary,
    ops.LeakyRelu,
    ops.PRelu,
    ops.Elu,
    ops.Selu,
    ops.Celu,
    ops.HardSigmoid,
    ops.ThresholdedRelu,
    ops.Shrink,
    ops.Swish,
    ops.Clip,
    ops.IsInf,
    ops.Binary,
    Compare,
    Select,
    IntToFloat,
    FloatToInt,
    Bits,
    Widen,
    Narrow,
    RoundToBits,
    ByteToFloat,
    *ELEMENTWISE,
)
_BINARY = ("add", "sub", "mul", "div", "max", "min", "pow")


def is_pointwise(op: Op) -> bool:
    """Whether the (legalised) operator is element-wise; fixed.py emits those on 8 bits."""
    if isinstance(op, ops.Unary):
        return op.fn in _UNARY
    if isinstance(op, ops.Binary):
        return op.fn in _BINARY
    return isinstance(op, _TYPES)


def immediate(value: Value, op: Op) -> float | int | None:
    """The number that a one-element constant operand is, where it can be in the instruction."""
    if value.data is None or value.data.size != 1:
        return None
    number = value.data.reshape(-1)[0]
    if isinstance(op, Bits):
        return int(number)
    if isinstance(op, ELEMENTWISE):
        # An instruction's constant is one byte for all samples.
        same = len(set(np.asarray(number).tobytes())) == 1
        return int(number) & 0xFF if same else None
    return None if value.dtype.is_integer else float(number)


class _Dry:
    """Stands in for the assembler to count scratch tensors."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def scratch_count(op: Op, out: Local, args: list[Any]) -> int:
    """Number of scratch tensors of the result's shape that the operator needs."""
    used: list[Local] = []

    def scratch() -> Local:
        used.append(out)
        return out

    _emit(Tile(_Dry(), out, scratch), out, op, args)  # type: ignore[arg-type]
    return len(used)


def emit(asm: Assembler, op: Op, out: Local, args: list[Any], scratch: list[Local]) -> None:
    """Instructions of one operator on one tile."""
    pool = iter(scratch)
    _emit(Tile(asm, out, lambda: next(pool)), out, op, args)
