"""Operators that work element by element. ``x`` and ``y`` have any shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from nntc.core.dtype import DType
from nntc.ir.graph import Op, TensorType
from nntc.ir.ops._numeric import (
    as_type,
    erf,
    hardswish,
    highest,
    ieee,
    lowest,
    sigmoid,
    silu,
    softplus,
    truncated_divide,
    working,
)
from nntc.ir.ops._rules import (
    ANY,
    BOOL,
    FLOAT,
    INTEGER,
    NUMBER,
    SIGNED,
    broadcast,
    broadcast_to,
    need,
    require,
    same_dtype,
)


class Function(NamedTuple):
    """A named function: its meaning and the element types it takes."""

    compute: Callable[..., Any]
    dtypes: tuple[DType, ...]
    gives_bool: bool = False


UNARY: dict[str, Function] = {
    "abs": Function(np.abs, NUMBER),
    "neg": Function(np.negative, SIGNED),
    "exp": Function(np.exp, FLOAT),
    "log": Function(np.log, FLOAT),
    "sqrt": Function(np.sqrt, FLOAT),
    "rsqrt": Function(lambda x: 1 / np.sqrt(x), FLOAT),
    "reciprocal": Function(lambda x: 1 / x, FLOAT),
    "floor": Function(np.floor, FLOAT),
    "ceil": Function(np.ceil, FLOAT),
    "round": Function(np.rint, FLOAT),
    "trunc": Function(np.trunc, FLOAT),
    "sign": Function(np.sign, NUMBER),
    "sin": Function(np.sin, FLOAT),
    "cos": Function(np.cos, FLOAT),
    "tan": Function(np.tan, FLOAT),
    "asin": Function(np.arcsin, FLOAT),
    "acos": Function(np.arccos, FLOAT),
    "atan": Function(np.arctan, FLOAT),
    "sinh": Function(np.sinh, FLOAT),
    "cosh": Function(np.cosh, FLOAT),
    "tanh": Function(np.tanh, FLOAT),
    "asinh": Function(np.arcsinh, FLOAT),
    "acosh": Function(np.arccosh, FLOAT),
    "atanh": Function(np.arctanh, FLOAT),
    "erf": Function(erf, FLOAT),
    "sigmoid": Function(sigmoid, FLOAT),
    "relu": Function(lambda x: np.maximum(x, 0), SIGNED),
    "softplus": Function(softplus, FLOAT),
    "softsign": Function(lambda x: x / (1 + np.abs(x)), FLOAT),
    "mish": Function(lambda x: x * np.tanh(softplus(x)), FLOAT),
    "silu": Function(silu, FLOAT),
    "gelu": Function(lambda x: 0.5 * x * (1 + erf(x * math.sqrt(0.5))), FLOAT),
    "gelu_tanh": Function(
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))),
        FLOAT,
    ),
    "hardswish": Function(hardswish, FLOAT),
    "not": Function(np.logical_not, BOOL),
    "bitnot": Function(np.invert, INTEGER),
    "isnan": Function(np.isnan, FLOAT, gives_bool=True),
}

BINARY: dict[str, Function] = {
    "add": Function(np.add, NUMBER),
    "sub": Function(np.subtract, NUMBER),
    "mul": Function(np.multiply, NUMBER),
    "div": Function(lambda a, b: _divide(a, b), NUMBER),
    "max": Function(np.maximum, NUMBER),
    "min": Function(np.minimum, NUMBER),
    "pow": Function(lambda a, b: _power(a, b), NUMBER),
    "mod": Function(np.mod, NUMBER),
    "fmod": Function(np.fmod, NUMBER),
    "eq": Function(np.equal, ANY, gives_bool=True),
    "ne": Function(np.not_equal, ANY, gives_bool=True),
    "lt": Function(np.less, NUMBER, gives_bool=True),
    "le": Function(np.less_equal, NUMBER, gives_bool=True),
    "gt": Function(np.greater, NUMBER, gives_bool=True),
    "ge": Function(np.greater_equal, NUMBER, gives_bool=True),
    "and": Function(np.logical_and, BOOL),
    "or": Function(np.logical_or, BOOL),
    "xor": Function(np.logical_xor, BOOL),
    "bitand": Function(np.bitwise_and, INTEGER),
    "bitor": Function(np.bitwise_or, INTEGER),
    "bitxor": Function(np.bitwise_xor, INTEGER),
    "shl": Function(np.left_shift, INTEGER),
    "shr": Function(np.right_shift, INTEGER),
}


@dataclass(frozen=True)
class Unary(Op):
    """y = fn(x). Attribute fn: a name in :data:`UNARY`.

    round takes halves to even; gelu is exact, gelu_tanh its approximation; hardswish is
    x * clip(x/6 + 1/2, 0, 1); relu, neg take signed types; not takes bool; bitnot integers;
    isnan gives bool; abs, sign take numbers; all others floats.
    """

    fn: str

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        require(self.fn in UNARY, f"unknown function {self.fn}, known are {', '.join(UNARY)}")
        need(f"{self.fn}: x", x, UNARY[self.fn].dtypes)
        return (TensorType(DType.BOOL, x.shape) if UNARY[self.fn].gives_bool else x,)

    @ieee
    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        function = UNARY[self.fn]
        dtype = np.dtype(bool) if function.gives_bool else x.dtype
        return (as_type(function.compute(working(x)), dtype),)


@dataclass(frozen=True)
class Binary(Op):
    """y = fn(a, b), broadcast as NumPy does. Attribute fn: a name in :data:`BINARY`.

    Both operands have one element type; only the exponent of pow may have another. Comparisons
    give bool. Integers wrap around; div of integers rounds toward zero and gives 0 for a division
    by zero; mod has the sign of b, fmod that of a; max and min of a NaN give NaN.
    """

    fn: str

    def infer(self, a: TensorType, b: TensorType) -> tuple[TensorType, ...]:
        require(self.fn in BINARY, f"unknown function {self.fn}, known are {', '.join(BINARY)}")
        function = BINARY[self.fn]
        need(f"{self.fn}: a", a, function.dtypes)
        need(f"{self.fn}: b", b, function.dtypes)
        if self.fn != "pow":
            same_dtype(a=a, b=b)
        dtype = DType.BOOL if function.gives_bool else a.dtype
        return (TensorType(dtype, broadcast(a.shape, b.shape)),)

    @ieee
    def compute(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
        function = BINARY[self.fn]
        dtype = np.dtype(bool) if function.gives_bool else a.dtype
        return (as_type(function.compute(working(a), working(b)), dtype),)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return truncated_divide(a, b) if a.dtype.kind in "iu" else np.divide(a, b)


def _power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Integers to integers stay exact; a negative exponent or a mixed pair goes through float64."""
    if a.dtype.kind == "f":
        return np.power(a, b.astype(a.dtype))
    if b.dtype.kind in "iu" and (b.size == 0 or b.min() >= 0):
        return np.power(a, b.astype(a.dtype))
    return np.power(a.astype(np.float64), b.astype(np.float64))


class _FloatMap(Op):
    """Base of the activations with parameters: float in, same type and shape out."""

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, FLOAT)
        return (x,)

    @ieee
    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (as_type(self.map(working(x)), x.dtype),)

    def map(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError(self.name)


@dataclass(frozen=True)
class LeakyRelu(_FloatMap):
    """y = x where x >= 0, else alpha * x."""

    alpha: float = 0.01

    def map(self, x: np.ndarray) -> np.ndarray:
        return np.where(x >= 0, x, x * self.alpha)


@dataclass(frozen=True)
class Elu(_FloatMap):
    """y = x where x > 0, else alpha * (exp(x) - 1)."""

    alpha: float = 1.0

    def map(self, x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, self.alpha * np.expm1(x))


@dataclass(frozen=True)
class Selu(_FloatMap):
    """y = gamma * (x where x > 0, else alpha * (exp(x) - 1))."""

    alpha: float = 1.6732632423543772
    gamma: float = 1.0507009873554805

    def map(self, x: np.ndarray) -> np.ndarray:
        return self.gamma * np.where(x > 0, x, self.alpha * np.expm1(x))


@dataclass(frozen=True)
class Celu(_FloatMap):
    """y = max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""

    alpha: float = 1.0

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        require(self.alpha != 0, "alpha must not be 0")
        return super().infer(x)

    def map(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0) + np.minimum(self.alpha * np.expm1(x / self.alpha), 0)


@dataclass(frozen=True)
class HardSigmoid(_FloatMap):
    """y = clip(alpha * x + beta, 0, 1)."""

    alpha: float = 0.2
    beta: float = 0.5

    def map(self, x: np.ndarray) -> np.ndarray:
        return np.clip(x * self.alpha + self.beta, 0, 1)


@dataclass(frozen=True)
class ThresholdedRelu(_FloatMap):
    """y = x where x > alpha, else 0."""

    alpha: float = 1.0

    def map(self, x: np.ndarray) -> np.ndarray:
        return np.where(x > self.alpha, x, 0)


@dataclass(frozen=True)
class Swish(_FloatMap):
    """y = x * sigmoid(alpha * x)."""

    alpha: float = 1.0

    def map(self, x: np.ndarray) -> np.ndarray:
        return x * sigmoid(x * self.alpha)


@dataclass(frozen=True)
class Shrink(_FloatMap):
    """y = x + bias where x < -lambd, x - bias where x > lambd, else 0. Takes any number type."""

    lambd: float = 0.5
    bias: float = 0.0

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, NUMBER)
        return (x,)

    def map(self, x: np.ndarray) -> np.ndarray:
        return np.where(x < -self.lambd, x + self.bias, np.where(x > self.lambd, x - self.bias, 0))


@dataclass(frozen=True)
class Clip(Op):
    """y = min(max(x, self.min), self.max); an absent limit is infinite. Takes any number type.

    NaN stays NaN; with min > max every number becomes max. On integers the limits act as the
    nearest integers inside them.
    """

    unbounded: ClassVar[tuple[str, ...]] = ("min", "max")

    min: float = -math.inf
    max: float = math.inf

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, NUMBER)
        return (x,)

    @ieee
    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        low = np.array(_limit(self.min, x.dtype, math.ceil), x.dtype)
        high = np.array(_limit(self.max, x.dtype, math.floor), x.dtype)
        y = np.empty_like(x)
        np.maximum(x, low, out=y)
        np.minimum(y, high, out=y)
        return (y,)


def _limit(limit: float, dtype: np.dtype[Any], rounding: Callable[[float], int]) -> float | int:
    """The limit as *dtype* can hold it."""
    if dtype.kind == "f":
        return limit
    low, high = int(lowest(dtype)), int(highest(dtype))
    return low if limit <= low else high if limit >= high else rounding(limit)


@dataclass(frozen=True)
class IsInf(Op):
    """y (bool) = x is infinite; negative, positive: which infinities count."""

    negative: bool = True
    positive: bool = True

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, FLOAT)
        return (TensorType(DType.BOOL, x.shape),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        found = np.zeros(x.shape, bool)
        if self.negative:
            found |= x == -np.inf
        if self.positive:
            found |= x == np.inf
        return (found,)


@dataclass(frozen=True)
class PRelu(Op):
    """y = x where x >= 0, else slope * x. slope broadcasts to x; both have one number type."""

    def infer(self, x: TensorType, slope: TensorType) -> tuple[TensorType, ...]:
        need("x", x, NUMBER)
        same_dtype(x=x, slope=slope)
        broadcast_to("slope", slope.shape, x.shape)
        return (x,)

    @ieee
    def compute(self, x: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, ...]:
        wide = working(x)
        return (as_type(np.where(wide >= 0, wide, wide * working(slope)), x.dtype),)


@dataclass(frozen=True)
class Where(Op):
    """out = x where cond (bool) holds, else y; the three broadcast, x and y have one type."""

    def infer(self, cond: TensorType, x: TensorType, y: TensorType) -> tuple[TensorType, ...]:
        need("cond", cond, BOOL)
        dtype = same_dtype(x=x, y=y)
        return (TensorType(dtype, broadcast(cond.shape, x.shape, y.shape)),)

    def compute(self, cond: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
        return (as_type(np.where(cond, x, y), x.dtype),)


@dataclass(frozen=True)
class Cast(Op):
    """y = x converted to the element type *to*.

    Float to integer cuts the fraction; what a number outside the target's range becomes is not
    defined. Integers wrap. To bool: everything but zero is true, NaN too.
    """

    to: DType

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(self.to, x.shape),)

    @ieee
    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (x.astype(self.to.numpy),)
