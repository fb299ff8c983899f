"""Layers that work element by element."""

from __future__ import annotations

import math

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends.caffe.call import Call, reads
from nntc.ir import ops
from nntc.ir.graph import Value


@reads("ReLU", param="relu_param", becomes="Relu; LeakyRelu with negative_slope")
def relu(c: Call) -> Value:
    slope = c.param.number("negative_slope", 0.0)
    return c.b.op(ops.LeakyRelu(slope), c.x()) if slope else c.b.unary("relu", c.x())


@reads("ReLU6", param="relu6_param", becomes="Clip")
def relu6(c: Call) -> Value:
    return c.b.clip(c.x(), 0.0, 6.0)


@reads("PReLU", param="prelu_param", becomes="PRelu, LeakyRelu if all channels share a slope")
def prelu(c: Call) -> Value:
    x = c.x()
    if len(x.shape) < 2:
        raise ModelError(f"the bottom has shape {list(x.shape)}, rank 2 is needed")
    if c.param.flag("channel_shared"):
        return c.b.op(ops.LeakyRelu(float(c.blob(0, (1,), "slope")[0])), x)
    return c.b.op(ops.PRelu(), x, c.spread(c.blob(0, x.shape[1:2], "slopes"), 1, len(x.shape)))


@reads("ELU", param="elu_param", becomes="Elu")
def elu(c: Call) -> Value:
    return c.b.op(ops.Elu(c.param.number("alpha", 1.0)), c.x())


@reads("Clip", param="clip_param", becomes="Clip")
def clip(c: Call) -> Value:
    return c.b.clip(c.x(), c.param.number("min", 0.0), c.param.number("max", 0.0))


_SIMPLE = {
    "Sigmoid": "sigmoid",
    "TanH": "tanh",
    "AbsVal": "abs",
    "BNLL": "softplus",
    "Mish": "mish",
    "HSwish": "hardswish",
    "HardSwish": "hardswish",
}


def _simple(c: Call) -> Value:
    return c.b.unary(_SIMPLE[c.kind], c.x())


for _kind, _fn in _SIMPLE.items():
    reads(_kind, param="", becomes=f"Unary ({_fn})")(_simple)


@reads("Swish", param="swish_param", becomes="Swish")
def swish(c: Call) -> Value:
    return c.b.op(ops.Swish(c.param.number("beta", 1.0)), c.x())


@reads("Threshold", param="threshold_param", becomes="Greater, Cast")
def threshold(c: Call) -> Value:
    limit = c.b.like(c.param.number("threshold", 0.0), c.x())
    return c.b.cast(c.b.binary("gt", c.x(), limit), DType.F32)


def _linear(c: Call, x: Value, scale: float, shift: float) -> Value:
    y = c.b.scale(x, scale)
    return c.b.add(y, c.b.like(shift, y)) if shift else y


@reads("Power", param="power_param", becomes="(scale * x + shift) ^ power")
def power(c: Call) -> Value:
    exponent = c.param.number("power", 1.0)
    x, shift = c.x(), c.param.number("shift", 0.0)
    y = _linear(c, x, c.param.number("scale", 1.0), shift)
    if exponent == 1:
        return c.b.copy(y) if y is x else y
    if exponent == 0:
        return c.b.expand(c.b.const(np.ones((1,) * len(x.shape), np.float32)), x.shape)
    if exponent == 2:
        return c.b.mul(y, y)
    return c.b.binary("pow", y, c.b.like(exponent, y))


def _base(c: Call) -> float:
    """Logarithm of the base; -1 stands for e.

    Raises:
        ModelError: there is none.
    """
    base = c.param.number("base", -1.0)
    if base != -1 and base <= 0:
        raise ModelError(f"base is {base:g}, -1 or more than 0 is needed")
    return 1.0 if base == -1 else math.log(base)


@reads("Exp", param="exp_param", becomes="base ^ (scale * x + shift)")
def exp(c: Call) -> Value:
    log = _base(c)
    scale, shift = c.param.number("scale", 1.0), c.param.number("shift", 0.0)
    return c.b.unary("exp", _linear(c, c.x(), scale * log, shift * log))


@reads("Log", param="log_param", becomes="log(scale * x + shift) of a base")
def log(c: Call) -> Value:
    base = _base(c)
    if base == 0:
        raise ModelError("base is 1, which has no logarithm")
    inner = _linear(c, c.x(), c.param.number("scale", 1.0), c.param.number("shift", 0.0))
    return c.b.scale(c.b.unary("log", inner), 1 / base)


@reads(
    "Eltwise",
    param="eltwise_param",
    becomes="Mul, Add (weighted by coeff), Max",
)
def eltwise(c: Call) -> Value:
    operation = c.choice("operation", ("PROD", "SUM", "MAX"), "SUM")
    c.param.flag("stable_prod_grad")
    xs = list(c.xs)
    first = c.x()
    for number, x in enumerate(xs):
        if x.shape != first.shape:
            raise ModelError(
                f"bottom {number} has shape {list(x.shape)}, the first {list(first.shape)}"
            )
    coefficients = c.param.numbers("coeff")
    if coefficients and (operation != "SUM" or len(coefficients) != len(xs)):
        raise ModelError(f"{len(coefficients)} coeff for {operation} of {len(xs)} bottoms")
    for index, factor in enumerate(coefficients):
        if factor != 1:
            xs[index] = c.b.scale(xs[index], factor)
    y = xs[0]
    for x in xs[1:]:
        y = c.b.binary({"SUM": "add", "PROD": "mul", "MAX": "max"}[operation], y, x)
    return y


@reads("Axpy", param="", becomes="Mul, Add")
def axpy(c: Call) -> Value:
    """a * x + y, with one a for each channel."""
    a, x, y = c.x(0), c.x(1), c.x(2)
    wanted = (*x.shape[:2], *(1,) * (len(x.shape) - 2))
    if a.type.size != x.shape[0] * x.shape[1] or x.shape != y.shape:
        raise ModelError(f"bottoms of shapes {list(a.shape)}, {list(x.shape)} and {list(y.shape)}")
    return c.b.add(c.b.mul(x, c.b.reshape(a, wanted)), y)


def _factors(c: Call, index: int, what: str) -> Value:
    """The second bottom or a blob, with axes that fit the first bottom's from axis on."""
    x = c.x()
    rank = len(x.shape)
    axis = c.axis("axis", 1, rank)
    axes = c.param.integer("num_axes", 1)
    if len(c.xs) > 1:
        other = c.x(1)
        end = axis + len(other.shape)
        if x.shape[axis:end] != other.shape:
            # SSD's squeeze and excitation keep axes of length 1.
            if other.shape[:2] == x.shape[:2] and set(other.shape[2:]) <= {1} and axis in (0, 1):
                return c.b.reshape(other, (*other.shape[:2], *(1,) * (rank - 2)))
            raise ModelError(
                f"bottom 1 has shape {list(other.shape)}, the first has "
                f"{list(x.shape[axis:end])} from axis {axis} on"
            )
        return c.b.reshape(other, (*other.shape, *(1,) * (rank - end)))
    end = rank if axes == -1 else axis + axes
    if not axis <= end <= rank:
        raise ModelError(f"num_axes {axes} from axis {axis} on: the bottom has {rank} axes")
    return c.spread(c.blob(index, x.shape[axis:end], what), axis, rank)


@reads("Scale", param="scale_param", becomes="Mul, Add")
def scale(c: Call) -> Value:
    y = c.b.mul(c.x(), _factors(c, 0, "factors"))
    if not c.param.flag("bias_term"):
        return y
    if len(c.xs) > 1:
        # The biases are as large as the second bottom and follow the first's axis.
        axis = c.axis("axis", 1, len(y.shape))
        biases = c.blob(0, c.x(1).shape, "biases")
        return c.b.add(y, c.spread(biases, axis, len(y.shape)))
    return c.b.add(y, _factors(c, 1, "biases"))


@reads("Bias", param="bias_param", becomes="Add")
def bias(c: Call) -> Value:
    return c.b.add(c.x(), _factors(c, 0, "biases"))
