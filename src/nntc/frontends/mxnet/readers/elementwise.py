"""Operators that work element by element."""

from __future__ import annotations

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends.errors import RefusedError
from nntc.frontends.mxnet.call import Call, reads
from nntc.ir import ops
from nntc.ir.graph import Value

_ACTIVATIONS = {
    "relu": "relu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "softrelu": "softplus",
    "softsign": "softsign",
}


@reads("Activation", becomes="Relu, Sigmoid, Tanh, Softplus, Softsign")
def activation(c: Call) -> Value:
    return c.b.unary(_ACTIVATIONS[c.choice("act_type", tuple(_ACTIVATIONS))], c.x())


@reads("LeakyReLU", becomes="LeakyRelu, Elu, PRelu, Selu, Gelu")
def leaky_relu(c: Call) -> Value:
    x, slope = c.x(), c.number("slope", 0.25)
    kind = c.choice("act_type", ("leaky", "elu", "prelu", "selu", "gelu", "rrelu"))
    if kind == "prelu":
        gamma = c.x(1)
        channels = x.shape[1] if len(x.shape) > 1 else 1
        if gamma.type.size not in (1, channels):
            raise ModelError(f"gamma has shape {list(gamma.shape)} for {channels} channels")
        shape = (gamma.type.size, *(1,) * max(len(x.shape) - 2, 0))
        return c.b.op(ops.PRelu(), x, c.b.reshape(gamma, shape))
    if kind == "rrelu":
        # In use the slope is the middle of those of training.
        slope = (c.number("lower_bound", 0.125) + c.number("upper_bound", 0.334)) / 2
    if kind == "elu":
        return c.b.op(ops.Elu(slope), x)
    if kind == "selu":
        return c.b.op(ops.Selu(), x)
    return c.b.unary("gelu", x) if kind == "gelu" else c.b.op(ops.LeakyRelu(slope), x)


_UNARY = {
    **{name: name for name in ("relu", "sigmoid", "tanh", "exp", "log", "sqrt", "rsqrt", "abs")},
    **{name: name for name in ("floor", "ceil", "trunc", "sign", "sin", "cos", "tan", "erf")},
    **{name: name for name in ("sinh", "cosh", "reciprocal", "softsign")},
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "negative": "neg",
    "rint": "round",
}


def _unary(c: Call) -> Value:
    return c.b.unary(_UNARY[c.op], c.x())


for _name, _fn in _UNARY.items():
    reads(_name, becomes=f"Unary ({_fn})")(_unary)


@reads("square", becomes="Mul")
def square(c: Call) -> Value:
    return c.b.mul(c.x(), c.x())


@reads("hard_sigmoid", becomes="HardSigmoid")
def hard_sigmoid(c: Call) -> Value:
    return c.b.op(ops.HardSigmoid(c.number("alpha", 0.2), c.number("beta", 0.5)), c.x())


@reads("clip", becomes="Clip")
def clip(c: Call) -> Value:
    return c.b.clip(c.x(), c.number("a_min", 0.0), c.number("a_max", 0.0))


_BINARY = {
    "elemwise_add": "add",
    "_plus": "add",
    "_Plus": "add",
    "_add": "add",
    "_grad_add": "add",
    "broadcast_add": "add",
    "broadcast_plus": "add",
    "elemwise_sub": "sub",
    "_minus": "sub",
    "_Minus": "sub",
    "_sub": "sub",
    "broadcast_sub": "sub",
    "broadcast_minus": "sub",
    "elemwise_mul": "mul",
    "_mul": "mul",
    "_Mul": "mul",
    "broadcast_mul": "mul",
    "elemwise_div": "div",
    "_div": "div",
    "_Div": "div",
    "broadcast_div": "div",
    "broadcast_maximum": "max",
    "_maximum": "max",
    "_Maximum": "max",
    "broadcast_minimum": "min",
    "_minimum": "min",
    "_Minimum": "min",
    "broadcast_power": "pow",
    "_power": "pow",
    "_Power": "pow",
}


def _binary(c: Call) -> Value:
    return c.b.binary(_BINARY[c.op], c.x(0), c.x(1))


for _name, _fn in _BINARY.items():
    reads(_name, becomes=f"Binary ({_fn})")(_binary)

_COMPARISONS = {
    "equal": "eq",
    "not_equal": "ne",
    "greater": "gt",
    "greater_equal": "ge",
    "lesser": "lt",
    "lesser_equal": "le",
}


def _comparison(c: Call) -> Value:
    fn = _COMPARISONS[c.op.removeprefix("broadcast_").removeprefix("_").removesuffix("_scalar")]
    other = c.b.like(c.number("scalar", 0.0), c.x()) if c.op.endswith("_scalar") else c.x(1)
    return c.b.cast(c.b.binary(fn, c.x(), other), DType.F32)


for _name, _fn in _COMPARISONS.items():
    reads(f"broadcast_{_name}", f"_{_name}_scalar", becomes=f"Binary ({_fn}), Cast")(_comparison)

_SCALAR = {
    "_plus_scalar": ("add", False),
    "_PlusScalar": ("add", False),
    "_minus_scalar": ("sub", False),
    "_MinusScalar": ("sub", False),
    "_rminus_scalar": ("sub", True),
    "_RMinusScalar": ("sub", True),
    "_mul_scalar": ("mul", False),
    "_MulScalar": ("mul", False),
    "_div_scalar": ("div", False),
    "_DivScalar": ("div", False),
    "_rdiv_scalar": ("div", True),
    "_RDivScalar": ("div", True),
    "_power_scalar": ("pow", False),
    "_PowerScalar": ("pow", False),
    "_rpower_scalar": ("pow", True),
    "_maximum_scalar": ("max", False),
    "_MaximumScalar": ("max", False),
    "_minimum_scalar": ("min", False),
    "_MinimumScalar": ("min", False),
}


def _with_scalar(c: Call) -> Value:
    fn, swapped = _SCALAR[c.op]
    x = c.x()
    number = c.b.like(c.number("scalar", 0.0), x)
    return c.b.binary(fn, number, x) if swapped else c.b.binary(fn, x, number)


for _name, (_fn, _) in _SCALAR.items():
    reads(_name, becomes=f"Binary ({_fn}) with a number")(_with_scalar)


@reads("ElementWiseSum", "add_n", "_sum", becomes="Add")
def add_all(c: Call) -> Value:
    total, *rest = c.xs()
    for x in rest:
        total = c.b.add(total, x)
    return total


@reads("where", becomes="Where")
def where(c: Call) -> Value:
    mask, x, y = (c.x(i) for i in range(3))
    if mask.shape != x.shape:
        raise RefusedError(f"a condition of shape {list(mask.shape)} for {list(x.shape)}")
    return c.b.where(c.b.binary("ne", mask, c.b.like(0, mask)), x, y)


@reads("Cast", "cast", "amp_cast", becomes="nothing between floats; Cast")
def cast(c: Call) -> Value:
    kind = c.text("dtype", "float32")
    if kind in ("float32", "float64", "float16"):
        return c.b.cast(c.x(), DType.F32)
    if kind in ("int32", "int64", "uint8", "int8"):
        to = {"int32": DType.I32, "int64": DType.I64, "uint8": DType.U8, "int8": DType.I8}[kind]
        return c.b.cast(c.x(), to)
    raise RefusedError(f"dtype={kind}")
