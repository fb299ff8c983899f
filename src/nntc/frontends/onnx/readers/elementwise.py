"""Operators that work element by element."""

from __future__ import annotations

import functools

import numpy as np
from onnx import TensorProto

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends.onnx.call import Binding, Call, RefusedError, reads
from nntc.ir import ops
from nntc.ir.graph import Op, Value

_UNARY = {
    "Abs": "abs",
    "Neg": "neg",
    "Exp": "exp",
    "Log": "log",
    "Sqrt": "sqrt",
    "Reciprocal": "reciprocal",
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan",
    "Asin": "asin",
    "Acos": "acos",
    "Atan": "atan",
    "Sinh": "sinh",
    "Cosh": "cosh",
    "Tanh": "tanh",
    "Asinh": "asinh",
    "Acosh": "acosh",
    "Atanh": "atanh",
    "Erf": "erf",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Mish": "mish",
    "HardSwish": "hardswish",
    "Not": "not",
    "BitwiseNot": "bitnot",
    "IsNaN": "isnan",
}

_BINARY = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "And": "and",
    "Or": "or",
    "Xor": "xor",
    "Equal": "eq",
    "Less": "lt",
    "LessOrEqual": "le",
    "Greater": "gt",
    "GreaterOrEqual": "ge",
    "BitwiseAnd": "bitand",
    "BitwiseOr": "bitor",
    "BitwiseXor": "bitxor",
}


@reads(*_UNARY)
def unary(c: Call) -> Value:
    return c.b.unary(_UNARY[c.op], c.x())


@reads("Relu")
def relu(c: Call) -> Value:
    x = c.x()
    return x if x.dtype in (DType.U8, DType.U16, DType.U32, DType.U64) else c.b.unary("relu", x)


@reads(*_BINARY)
def binary(c: Call) -> Value:
    a, b = c.x(0), c.x(1)
    return c.b.binary(_BINARY[c.op], a, _legacy_broadcast(c, a, b))


def _legacy_broadcast(c: Call, a: Value, b: Value) -> Value:
    """Before version 7 the second operand was aligned with the attribute 'axis' of the first."""
    if c.since >= 7 or not c.has("axis") or not b.shape:
        return b
    axis = c.axis("axis", 0, len(a.shape))
    return c.b.reshape(b, (*b.shape, *(1,) * (len(a.shape) - axis - len(b.shape))))


@reads("Pow")
def power(c: Call) -> Value:
    a = c.x(0)
    b = _legacy_broadcast(c, a, c.x(1))
    return c.b.binary("pow", a, b)


@reads("Mod")
def mod(c: Call) -> Value:
    return c.b.binary("fmod" if c.flag("fmod") else "mod", c.x(0), c.x(1))


@reads("BitShift")
def bit_shift(c: Call) -> Value:
    direction = c.choice("direction", "", ("LEFT", "RIGHT"))
    return c.b.binary("shl" if direction == "LEFT" else "shr", c.x(0), c.x(1))


@reads("Max", "Min", "Sum")
def variadic(c: Call) -> Value:
    fn = {"Max": "max", "Min": "min", "Sum": "add"}[c.op]
    return functools.reduce(lambda a, b: c.b.binary(fn, a, b), c.all())


@reads("Mean")
def mean(c: Call) -> Value:
    xs = c.all()
    total = functools.reduce(c.b.add, xs)
    return c.b.div(total, c.b.like(len(xs), total)) if len(xs) > 1 else total


# -- activations with attributes ----------------------------------------------------------------


def _map(c: Call, op: Op) -> Value:
    return c.b.op(op, c.x())


@reads("LeakyRelu")
def leaky_relu(c: Call) -> Value:
    return _map(c, ops.LeakyRelu(c.f("alpha", 0.01)))


@reads("Elu")
def elu(c: Call) -> Value:
    return _map(c, ops.Elu(c.f("alpha", 1.0)))


@reads("Celu")
def celu(c: Call) -> Value:
    return _map(c, ops.Celu(c.f("alpha", 1.0)))


@reads("Selu")
def selu(c: Call) -> Value:
    # The defaults of version 1 have fewer digits.
    alpha, gamma = (1.6732, 1.0507) if c.since < 6 else (1.6732632423543772, 1.0507009873554805)
    return _map(c, ops.Selu(c.f("alpha", alpha), c.f("gamma", gamma)))


@reads("HardSigmoid")
def hard_sigmoid(c: Call) -> Value:
    return _map(c, ops.HardSigmoid(c.f("alpha", 0.2), c.f("beta", 0.5)))


@reads("ThresholdedRelu")
def thresholded_relu(c: Call) -> Value:
    return _map(c, ops.ThresholdedRelu(c.f("alpha", 1.0)))


@reads("Shrink")
def shrink(c: Call) -> Value:
    return _map(c, ops.Shrink(c.f("lambd", 0.5), c.f("bias", 0.0)))


@reads("Swish")
def swish(c: Call) -> Value:
    alpha = c.f("alpha", 1.0)
    return c.b.unary("silu", c.x()) if alpha == 1 else _map(c, ops.Swish(alpha))


@reads("Gelu")
@reads("Gelu", domain="com.microsoft")
def gelu(c: Call) -> Value:
    approximate = c.choice("approximate", "none", ("none", "tanh"))
    return c.b.unary("gelu_tanh" if approximate == "tanh" else "gelu", c.x())


@reads("PRelu")
def prelu(c: Call) -> Value:
    x, slope = c.x(0), c.x(1)
    if c.since < 7 and len(slope.shape) == 1 and len(x.shape) > 1 and slope.type.size > 1:
        slope = c.b.reshape(slope, (*slope.shape, *(1,) * (len(x.shape) - 2)))
    return c.b.op(ops.PRelu(), x, slope)


@reads("Clip")
def clip_attributes(c: Call) -> Value:
    lowest = float(np.finfo(np.float32).min)
    low, high = c.f("min", lowest), c.f("max", -lowest)
    return _clip(c, low if low > lowest else -np.inf, high if high < -lowest else np.inf)


@reads("Clip", since=11)
def clip(c: Call) -> Value:
    low, high = c.opt(1), c.opt(2)
    # Limits of 64-bit integers need not be exact as the float attributes.
    constant = all(v is None or v.data is not None for v in (low, high))
    if constant and c.x().dtype not in (DType.I64, DType.U64):
        return _clip(
            c,
            -np.inf if low is None else float(c.const_scalar(1, "min")),
            np.inf if high is None else float(c.const_scalar(2, "max")),
        )
    x = c.x()
    if low is not None:
        x = c.b.binary("max", x, low)
    return x if high is None else c.b.binary("min", x, high)


def _clip(c: Call, low: float, high: float) -> Value:
    if np.isnan(low) or np.isnan(high):
        raise ModelError("a limit is NaN")
    x = c.x()
    if (low, high) == (-np.inf, np.inf):
        return x
    if (low, high) == (0, np.inf) and x.dtype is DType.F32:
        return c.b.unary("relu", x)
    return c.b.clip(x, low, high)


@reads("IsInf")
def is_inf(c: Call) -> Value:
    op = ops.IsInf(c.flag("detect_negative", True), c.flag("detect_positive", True))
    return c.b.op(op, c.x())


@reads("Where")
def where(c: Call) -> Value:
    return c.b.where(c.x(0), c.x(1), c.x(2))


# -- types --------------------------------------------------------------------------------------


@reads("Cast")
def cast_by_name(c: Call) -> Value:
    """Version 1 names the type by a string."""
    name, known = c.s("to").upper(), list(TensorProto.DataType.keys())
    if name not in known:
        raise ModelError(f"attribute 'to' is '{name}', no element type")
    return c.b.cast(c.x(), c.dtype(TensorProto.DataType.Value(name), "the type"))


@reads("Cast", since=6)
def cast(c: Call) -> Value:
    return c.b.cast(c.x(), c.dtype(c.i("to", 0), "the type"))


@reads("CastLike")
def cast_like(c: Call) -> Value:
    return c.b.cast(c.x(0), c.x(1).dtype)


@reads("BitCast")
def bit_cast(c: Call) -> Value:
    x, to = c.x(), c.dtype(c.i("to", 0), "the type")
    # Other floats than float32 have lost their bits when they became float32.
    exact = c.i("to", 0) not in (TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    if exact and x.data is not None and x.dtype.size == to.size:
        return c.b.const(np.ascontiguousarray(x.data).view(to.numpy))
    if x.dtype.is_float or to.is_float:
        raise RefusedError("bits of floats of run-time data cannot be taken as integers")
    if x.dtype.size != to.size:
        raise ModelError(f"{x.dtype} and {to} differ in size")
    return c.b.cast(x, to)


@reads("Identity")
def identity(c: Call) -> list[Binding | None]:
    return [c.raw(0)]


@reads("Dropout")
def dropout(c: Call) -> list[Value | None]:
    """Inference: the operand itself; the mask says that every element is kept."""
    x = c.x()
    if c.since >= 12:
        ratio = c.const_scalar(1, "ratio") if c.opt(1) is not None else 0.5
        training = c.opt(2) is not None and bool(c.const_scalar(2, "training_mode"))
        if training and ratio != 0:
            raise RefusedError("training mode drops elements at random")
    elif c.since < 7 and not c.i("is_test", 0) and c.f("ratio", 0.5) != 0:
        # Models of that age are exported for inference without setting is_test.
        pass
    mask_type = DType.BOOL if c.since >= 10 else x.dtype
    return [x, c.b.full(x.shape, 1, mask_type) if c.wants(1) else None]
