"""Functions of one element, with every way to broadcast operands."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Op
from tests.backend.case import Dims, Made, dims, f32, family

DOMAINS = {
    "log": (1e-3, 50), "sqrt": (0, 50), "rsqrt": (1e-3, 50), "asin": (-1, 1), "acos": (-1, 1),
    "acosh": (1.1, 50), "atanh": (-0.95, 0.95), "tan": (-1.4, 1.4), "reciprocal": (0.1, 20),
    "sinh": (-9, 9), "cosh": (-9, 9), "asinh": (0.5, 50),
}  # fmt: skip
"""Where the functions' relative error is what the tests of functions promise."""

FLOAT_UNARY = [
    "abs", "neg", "exp", "log", "sqrt", "rsqrt", "reciprocal", "floor", "ceil", "round", "trunc",
    "sign", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh",
    "atanh", "erf", "sigmoid", "relu", "softplus", "softsign", "mish", "silu", "gelu",
    "gelu_tanh", "hardswish", "isnan",
]  # fmt: skip

SHAPES = [(), (1,), (7,), (64,), (65,), (1, 1, 1), (3, 5, 7), (2, 3, 4, 5, 6), (1, 130, 9, 11)]


@family(2e-6, False, fn=FLOAT_UNARY, shape=SHAPES)
def unary(fn: str, shape: Dims) -> Made:
    low, high = DOMAINS.get(fn, (-6, 6))
    yield ops.Unary(fn), f"{f32(*shape)}:{low}:{high}"


@family(
    2e-6,
    False,
    op=[
        ops.LeakyRelu(0.1),
        ops.LeakyRelu(-2.0),
        ops.LeakyRelu(0.0),
        ops.Elu(),
        ops.Elu(2.5),
        ops.Selu(),
        ops.Celu(),
        ops.Celu(0.3),
        ops.HardSigmoid(),
        ops.HardSigmoid(-0.5, 1.0),
        ops.ThresholdedRelu(),
        ops.ThresholdedRelu(-0.5),
        ops.Shrink(),
        ops.Shrink(1.0, 1.0),
        ops.Swish(),
        ops.Swish(1.702),
        ops.Swish(-2.0),
        ops.Clip(0, 6),
        ops.Clip(max=1.0),
        ops.Clip(-0.5),
        ops.Clip(),
        ops.Clip(2, -2),
        ops.IsInf(),
        ops.IsInf(False, True),
        ops.IsInf(False, False),
    ],
    shape=SHAPES,
)
def activations(op: Op, shape: Dims) -> Made:
    yield op, f"{f32(*shape)}:-4:4"


@family(
    1e-6,
    fn=["abs", "neg", "sign", "relu", "bitnot"],
    dtype=["i8", "u8", "i16", "u16", "i32", "i64"],
    shape=[(), (66,), (3, 4, 5)],
)
def unary_integers(fn: str, dtype: str, shape: Dims) -> Made:
    yield ops.Unary(fn), f"{dtype}[{dims(*shape)}]"


@family(1e-6, op=[ops.Unary("not")], shape=[(), (66,), (2, 3, 4)])
def unary_truth(op: Op, shape: Dims) -> Made:
    yield op, f"bool[{dims(*shape)}]"


def _broadcasts() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Pairs of shapes: every pattern of ones up to rank 3, and some of rank 4 and 5."""
    found: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((), ())]
    sizes = (3, 5, 4)
    for rank in (1, 2, 3):
        full = sizes[:rank]
        for mask in itertools.product((0, 1, 2), repeat=rank):
            a = tuple(1 if m == 1 else s for m, s in zip(mask, full, strict=True))
            b = tuple(1 if m == 2 else s for m, s in zip(mask, full, strict=True))
            found.append((a, b))
        found += [(full, ()), ((), full)]
        found += [(full, full[k:]) for k in range(1, rank)]
    found += [
        ((2, 3, 4, 5), (3, 1, 1)),
        ((2, 3, 4, 5), (1, 3, 1, 5)),
        ((2, 3, 4, 5), (2, 1, 4, 1)),
        ((2, 1, 4, 1), (1, 3, 1, 5)),
        ((2, 3, 1, 5), (4, 1)),
        ((1, 70, 1, 5), (2, 1, 9, 1)),
        ((2, 3, 4, 5, 6), (4, 1, 6)),
        ((2, 3, 4, 5, 6), (2, 1, 4, 1, 6)),
        ((2, 1, 4, 1, 6), (1, 3, 1, 5, 1)),
        ((2, 3, 4, 5, 6), (1, 3, 1, 5, 1)),
        ((2, 3, 4, 5, 6), (6,)),
        ((2, 3, 4, 5, 6), (2, 1, 1, 1, 1)),
    ]
    return found


@family(
    1e-6,
    False,
    shapes=_broadcasts(),
    fn=["add", "sub", "mul", "div", "max", "min"],
    constant=["  ", "= ", " ="],
)
def binary(shapes: Sequence[Dims], fn: str, constant: str) -> Made:
    """Divisors are kept away from 0."""
    limits = ":0.5:3" if fn == "div" else ""
    a, b = (f32(*s) for s in shapes)
    first, second = constant[:1].strip(), constant[1:].strip()
    yield ops.Binary(fn), f"{first}{a} {second}{b}{limits}"


@family(
    4e-6,
    exponent=["2", "3", "4", "0.5", "-0.5", "-1", "1", "0", "2.5", "-2", "tensor"],
    base=[":0.1:4", ":-4:4"],
    shape=[(), (70,), (2, 3, 4)],
)
def power(exponent: str, base: str, shape: Dims) -> Made:
    if "-" in base and exponent in ("0.5", "-0.5", "2.5", "tensor"):
        return
    other = ":-3:3" if exponent == "tensor" else f":{exponent}:{exponent}"
    constant = "" if exponent == "tensor" else "="
    last = f32(*shape) if exponent == "tensor" else "f32[]"
    yield ops.Binary("pow"), f"{f32(*shape)}{base} {constant}{last}{other}"


@family(
    1e-6,
    fn=["eq", "ne", "lt", "le", "gt", "ge"],
    dtype=["f32", "i32", "i64", "u8", "bool"],
    shapes=[((70,), (70,)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((), (5,))],
    constant=["  ", "= ", " ="],
)
def comparisons(fn: str, dtype: str, shapes: Sequence[Dims], constant: str) -> Made:
    limits = ":-2:2" if dtype.startswith("i") else ":0:3" if dtype == "u8" else ""
    a, b = (f"{dtype}[{dims(*s)}]{limits}" for s in shapes)
    yield ops.Binary(fn), f"{constant[:1].strip()}{a} {constant[1:].strip()}{b}"


@family(
    1e-6,
    fn=[
        "add",
        "sub",
        "mul",
        "div",
        "max",
        "min",
        "pow",
        "mod",
        "fmod",
        "bitand",
        "bitor",
        "bitxor",
        "shl",
        "shr",
    ],
    dtype=["i8", "u8", "i16", "i32", "i64", "u16"],
    shapes=[((70,), (70,)), ((3, 4), (4,)), ((3, 1), (1, 4))],
    constant=["  ", " ="],
)
def binary_integers(fn: str, dtype: str, shapes: Sequence[Dims], constant: str) -> Made:
    """Results stay within the type; the divisor is not 0."""
    low, high = (0, 10) if dtype.startswith("u") else (-9, 9)
    first, second = f":{low}:{high}", f":{low}:{high}"
    if fn in ("div", "mod", "fmod"):
        second = ":1:7"
    if fn in ("pow", "shl", "shr"):
        first, second = ":0:5", ":0:4"
    if fn == "sub" and dtype.startswith("u"):
        first, second = ":9:15", ":0:9"
    a, b = (f"{dtype}[{dims(*s)}]" for s in shapes)
    yield ops.Binary(fn), f"{a}{first} {constant[1:].strip()}{b}{second}"


@family(1e-6, fn=["and", "or", "xor"], shapes=[((70,), (70,)), ((3, 4), (4,)), ((3, 1), (1, 4))])
def binary_truth(fn: str, shapes: Sequence[Dims]) -> Made:
    yield ops.Binary(fn), " ".join(f"bool[{dims(*s)}]" for s in shapes)


@family(2e-6, fn=["mod", "fmod"], shape=[(70,), (2, 3, 4)], divisor=[":0.5:3", ":-3:-0.5"])
def remainders(fn: str, shape: Dims, divisor: str) -> Made:
    yield ops.Binary(fn), f"{f32(*shape)}:-9:9 {f32(*shape)}{divisor}"


@family(
    1e-6,
    shapes=[
        ((70,), (70,), (70,)),
        ((3, 4), (4,), ()),
        ((), (3, 1), (1, 4)),
        ((2, 1), (1,), (3,)),
        ((2, 3, 4, 5), (3, 1, 1), (5,)),
        ((1,), (2, 3, 4), (2, 3, 4)),
    ],
    dtype=["f32", "i32", "bool"],
    constant=["   ", "=  ", " = ", "  =", " =="],
)
def where(shapes: Sequence[Dims], dtype: str, constant: str) -> Made:
    kinds = ("bool", dtype, dtype)
    yield (
        ops.Where(),
        " ".join(
            f"{c.strip()}{k}[{dims(*s)}]" for c, k, s in zip(constant, kinds, shapes, strict=True)
        ),
    )


@family(
    1e-6,
    shapes=[
        ((4, 70, 3), (70, 1)),
        ((4, 70, 3), (1,)),
        ((5, 6), (5, 6)),
        ((2, 9), (9,)),
        ((7,), ()),
    ],
    constant=["", "="],
)
def prelu(shapes: Sequence[Dims], constant: str) -> Made:
    yield ops.PRelu(), f"{f32(*shapes[0])} {constant}{f32(*shapes[1])}"


KINDS = ["f32", "f16", "bool", "i8", "u8", "i16", "u16", "i32", "u32", "i64"]


@family(1e-6, source=KINDS, target=KINDS, shape=[(70,), (2, 3, 4)])
def casts(source: str, target: str, shape: Dims) -> Made:
    """Values that both types hold, fractions included."""
    low = 0 if "u" in (source[0], target[0]) else -9
    limits = "" if source == "bool" else f":{low}:9"
    yield ops.Cast(DType(target)), f"{source}[{dims(*shape)}]{limits}"
