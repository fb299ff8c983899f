"""Darknet's activations."""

from __future__ import annotations

from collections.abc import Callable

from nntc.core.errors import ModelError
from nntc.frontends.builder import Builder
from nntc.ir import ops
from nntc.ir.graph import Value

_Apply = Callable[[Builder, Value], Value]


def apply(b: Builder, name: str, x: Value) -> Value:
    """The activation *name* of x [N, C, ...].

    Raises:
        ModelError: there is none of this name.
    """
    found = ACTIVATIONS.get(name)
    if found is None:
        known = ", ".join(sorted(ACTIVATIONS))
        raise ModelError(f"activation={name} is not known; known are {known}")
    return found(b, x)


def _unary(fn: str) -> _Apply:
    return lambda b, x: b.unary(fn, x)


def _op(op: ops.LeakyRelu | ops.Elu | ops.Selu | ops.Clip) -> _Apply:
    return lambda b, x: b.op(op, x)


def _linear(b: Builder, x: Value) -> Value:
    return x


def _loggy(b: Builder, x: Value) -> Value:
    """2 * sigmoid(x) - 1."""
    return b.sub(b.scale(b.unary("sigmoid", x), 2.0), b.like(1.0, x))


def _ramp(b: Builder, x: Value) -> Value:
    """x / 10, and x more where x > 0."""
    return b.add(b.unary("relu", x), b.scale(x, 0.1))


def _bent(
    b: Builder, x: Value, low: float, high: float, slope: float, outside: float, offset: float
) -> Value:
    """slope * x + offset inside low ... high, continued with the slope *outside*."""
    inside = b.clip(x, low, high)
    rest = b.scale(b.sub(x, inside), outside)
    middle = b.scale(inside, slope)
    if offset:
        middle = b.add(middle, b.like(offset, x))
    return b.add(middle, rest)


def _plse(b: Builder, x: Value) -> Value:
    """A sigmoid of three straight pieces."""
    return _bent(b, x, -4.0, 4.0, 0.125, 0.01, 0.5)


def _lhtan(b: Builder, x: Value) -> Value:
    return _bent(b, x, 0.0, 1.0, 1.0, 0.001, 0.0)


def _stair(b: Builder, x: Value) -> Value:
    """floor(x / 2), and the fraction of x more where floor(x) is odd."""
    half = b.unary("floor", b.scale(x, 0.5))
    whole = b.unary("floor", x)
    odd = b.sub(whole, b.scale(half, 2.0))
    return b.add(half, b.mul(b.sub(x, whole), odd))


def _hard_mish(b: Builder, x: Value) -> Value:
    """x where x > 0, 0 where x < -2, x * x / 2 + x between."""
    low = b.clip(x, -2.0, 0.0)
    curve = b.mul(low, b.add(b.scale(low, 0.5), b.like(1.0, x)))
    return b.add(b.unary("relu", x), curve)


# Keeps the sums over channels from being 0.
_TINY = 0.0001


def _norm_chan(b: Builder, x: Value) -> Value:
    """Positive elements divided by their sum over the channels."""
    positive = b.unary("relu", x)
    total = b.add(b.reduce("sum", positive, (1,)), b.like(_TINY, x))
    return b.div(positive, total)


def _norm_chan_softmax(b: Builder, x: Value) -> Value:
    return _softmax(b, b.unary("exp", x))


def _norm_chan_softmax_maxval(b: Builder, x: Value) -> Value:
    return _softmax(b, b.unary("exp", b.sub(x, b.reduce("max", x, (1,)))))


def _softmax(b: Builder, power: Value) -> Value:
    return b.div(power, b.add(b.reduce("sum", power, (1,)), b.like(_TINY, power)))


# Darknet's own constants of selu, which it rounds.
_SELU = ops.Selu(1.6732, 1.0507)

ACTIVATIONS: dict[str, _Apply] = {
    "linear": _linear,
    "leaky": _op(ops.LeakyRelu(0.1)),
    "revleaky": _op(ops.LeakyRelu(0.1)),
    "relie": _op(ops.LeakyRelu(0.01)),
    "relu": _unary("relu"),
    "relu6": _op(ops.Clip(0.0, 6.0)),
    "logistic": _unary("sigmoid"),
    "loggy": _loggy,
    "tanh": _unary("tanh"),
    "hardtan": _op(ops.Clip(-1.0, 1.0)),
    "lhtan": _lhtan,
    "elu": _op(ops.Elu(1.0)),
    "selu": _op(_SELU),
    "gelu": _unary("gelu_tanh"),
    "swish": _unary("silu"),
    "mish": _unary("mish"),
    "hard_mish": _hard_mish,
    "ramp": _ramp,
    "plse": _plse,
    "stair": _stair,
    "normalize_channels": _norm_chan,
    "normalize_channels_softmax": _norm_chan_softmax,
    "normalize_channels_softmax_maxval": _norm_chan_softmax_maxval,
}
"""Activation's name in a configuration → its meaning."""
