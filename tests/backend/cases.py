"""What operators are tried with: lists of values, of which every product is a case.

A case is *quick* if the default run has it: few combinations that together show every pair of
values (or, for families that say so, every value) once. Combinations that an operator's own shape
rule refuses are left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.ir import ops
from nntc.ir.graph import Op
from nntc.ir.ops.reduce import REDUCTIONS
from tests.backend.harness import Spec


@dataclass(frozen=True)
class Case:
    """One operator with operands as :meth:`tests.backend.harness.Spec.parse` reads them."""

    op: Op
    operands: str
    tolerance: float
    quick: bool

    @property
    def name(self) -> str:
        attributes = ",".join(_short(v) for v in self.op.attributes().values())
        return f"{self.op.name}({attributes})-{self.operands.replace(' ', ',')}"


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return "x".join(_short(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


Made = Iterator[tuple[Op, str]]
Family = Callable[..., Made]
FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {}


def family(
    tolerance: float = 1e-6, pairs: bool = True, **lists: Sequence[Any]
) -> Callable[[Family], Family]:
    """Register a function from one value of each list to (operator, operands) pairs.

    Args:
        tolerance: see :func:`tests.backend.harness.differences`.
        pairs: quick cases show every pair of values; else every value.
    """

    def register(function: Family) -> Family:
        def cases() -> Iterator[Case]:
            marks = _pairs if pairs else _singles
            missing = marks(list(lists.values()))
            seen: set[tuple[Op, str]] = set()
            for values in _shuffled(list(itertools.product(*lists.values()))):
                try:
                    made = [m for m in function(*values) if _legal(*m) and m not in seen]
                except ModelError:
                    continue
                if not made:
                    continue
                seen.update(made)
                mine = marks([[v] for v in values])
                quick = bool(mine & missing)
                missing -= mine
                for op, operands in made:
                    yield Case(op, operands, tolerance, quick)

        FAMILIES[function.__name__] = cases
        return function

    return register


def _singles(lists: list[Sequence[Any]]) -> set[Any]:
    """Every (number of the list, value)."""
    return {(i, repr(v)) for i, values in enumerate(lists) for v in values}


def _pairs(lists: list[Sequence[Any]]) -> set[Any]:
    """Every pair of (number of the list, value) of two lists."""
    tagged = [[(i, repr(v)) for v in values] for i, values in enumerate(lists)]
    return {pair for a, b in itertools.combinations(tagged, 2) for pair in itertools.product(a, b)}


def _shuffled(items: list[Any]) -> list[Any]:
    """A fixed order in which neighbours differ in many values, so that few cover all pairs."""
    step = max(int(len(items) * 0.618), 1)
    while math.gcd(step, len(items)) != 1:
        step += 1
    return [items[i * step % len(items)] for i in range(len(items))]


def _legal(op: Op, operands: str) -> bool:
    given = [None if text == "-" else Spec.parse(text).type for text in operands.split()]
    if any(t is not None and t.size == 0 for t in given):
        return False
    try:
        return all(t.size for t in op.infer(*given))
    except ModelError:
        return False


def all_cases() -> Iterator[Case]:
    for cases in FAMILIES.values():
        yield from cases()


def dims(*sizes: int) -> str:
    return "x".join(map(str, sizes))


def f32(*sizes: int) -> str:
    return f"f32[{dims(*sizes)}]"


# -- convolutions ---------------------------------------------------------------------------------

CONV_TOLERANCE = 2e-6


@family(
    CONV_TOLERANCE,
    image=[(1, 3, 17, 19), (2, 64, 9, 9), (1, 65, 7, 11), (3, 1, 12, 8), (1, 130, 5, 14)],
    out=[1, 5, 64, 70, 129],
    kernel=[(1, 1), (3, 3), (2, 5), (7, 1)],
    stride=[(1, 1), (2, 2), (3, 1)],
    pad=[(0, 0, 0, 0), (1, 1, 1, 1), (0, 2, 3, 1)],
    dilation=[(1, 1), (2, 2), (1, 3)],
    bias=[True, False],
)
def conv(image, out, kernel, stride, pad, dilation, bias) -> Made:
    weight = dims(out, image[1], *kernel)
    yield (
        ops.Conv(stride, pad, dilation),
        f"{f32(*image)} =f32[{weight}]" + (f" =f32[{out}]" if bias else ""),
    )


@family(
    CONV_TOLERANCE,
    channels=[(6, 2, 2), (64, 64, 64), (100, 100, 100), (70, 140, 70), (128, 64, 2), (12, 9, 3),
              (256, 256, 4), (192, 96, 32)],
    size=[(9, 11), (16, 5)],
    kernel=[(3, 3), (1, 1), (5, 2)],
    stride=[(1, 1), (2, 2)],
    pad=[(0, 0, 0, 0), (1, 0, 1, 2)],
    dilation=[(1, 1), (2, 3)],
    constant=["=", ""],
)  # fmt: skip
def conv_groups(channels, size, kernel, stride, pad, dilation, constant) -> Made:
    """Channels are (in, out, groups)."""
    c, m, group = channels
    weight = dims(m, c // group, *kernel)
    operands = f"{f32(2, c, *size)} {constant}f32[{weight}] {constant}f32[{m}]"
    yield ops.Conv(stride, pad, dilation, group), operands


@family(
    CONV_TOLERANCE,
    image=[(1, 4, 40, 23), (2, 66, 33, 20)],
    kernel=[(1, 1), (3, 4), (17, 2)],
    stride=[(16, 16), (17, 3), (1, 1), (31, 20)],
    pad=[(0, 0, 0, 0), (16, 1, 0, 17), (40, 3, 2, 50), (2, 2, 2, 2)],
    dilation=[(1, 1), (17, 1), (2, 18)],
    out=[3, 65],
    group=[1, 2],
)
def conv_beyond_fields(image, kernel, stride, pad, dilation, out, group) -> Made:
    """Strides, pads and dilations that their fields cannot hold; pads beyond the kernel."""
    weight = dims(out - out % group, image[1] // group, *kernel)
    yield ops.Conv(stride, pad, dilation, group), f"{f32(*image)} =f32[{weight}]"


@family(
    CONV_TOLERANCE,
    image=[(1, 5, 60), (2, 70, 33)],
    kernel=[1, 3, 8],
    stride=[1, 2, 16],
    pad=[(0, 0), (1, 2), (20, 0)],
    dilation=[1, 2],
    constant=["=", ""],
)
def conv_1d(image, kernel, stride, pad, dilation, constant) -> Made:
    weight = dims(6, image[1], kernel)
    yield ops.Conv((stride,), pad, (dilation,)), f"{f32(*image)} {constant}f32[{weight}] =f32[6]"


@family(
    CONV_TOLERANCE,
    image=[(1, 3, 5, 9, 8), (2, 6, 4, 5, 6)],
    kernel=[(1, 1, 1), (3, 3, 3), (2, 3, 1)],
    stride=[(1, 1, 1), (2, 2, 1)],
    pad=[(0, 0, 0, 0, 0, 0), (1, 1, 1, 1, 1, 1), (2, 0, 1, 0, 1, 0)],
    dilation=[(1, 1, 1), (2, 1, 2)],
    group=[1, 3],
    constant=["=", ""],
)
def conv_3d(image, kernel, stride, pad, dilation, group, constant) -> Made:
    weight = dims(6, image[1] // group, *kernel)
    yield (
        ops.Conv(stride, pad, dilation, group),
        f"{f32(*image)} {constant}f32[{weight}] {constant}f32[6]",
    )


@family(
    CONV_TOLERANCE,
    image=[(1, 6, 7, 9), (2, 64, 5, 4), (1, 66, 3, 8)],
    out=[1, 4, 67],
    kernel=[(1, 1), (2, 2), (3, 3), (4, 5)],
    stride=[(1, 1), (2, 2), (4, 3), (1, 17)],
    pad=[(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 2, 0)],
    dilation=[(1, 1), (2, 1)],
    more=[(0, 0), (1, 1), (0, 2)],
    group=[1, 2],
    constant=["=", ""],
)
def conv_transpose(image, out, kernel, stride, pad, dilation, more, group, constant) -> Made:
    weight = dims(image[1], out, *kernel)
    yield (
        ops.ConvTranspose(stride, pad, dilation, group, more),
        f"{f32(*image)} {constant}f32[{weight}] {constant}f32[{out * group}]",
    )


@family(
    CONV_TOLERANCE,
    channels=[3, 64, 80],
    size=[(6, 5), (1, 9)],
    kernel=[(2, 2), (3, 3), (4, 1)],
    stride=[(1, 1), (2, 2), (3, 2)],
    pad=[(0, 0, 0, 0), (1, 0, 1, 0)],
    more=[(0, 0), (1, 0)],
    constant=["=", ""],
)
def conv_transpose_depthwise(channels, size, kernel, stride, pad, more, constant) -> Made:
    yield (
        ops.ConvTranspose(stride, pad, (1, 1), channels, more),
        f"{f32(2, channels, *size)} {constant}f32[{dims(channels, 1, *kernel)}]",
    )


@family(CONV_TOLERANCE, stride=[1, 2, 18], pad=[0, 1], more=[0, 1], rank=[1, 3], group=[1, 2])
def conv_transpose_other_ranks(stride, pad, more, rank, group) -> Made:
    op = ops.ConvTranspose(
        (stride,) * rank, (pad,) * 2 * rank, (1,) * rank, group, (more,) + (0,) * (rank - 1)
    )
    size = (5, 4, 6)[:rank]
    yield op, f"{f32(1, 4, *size)} =f32[{dims(4, 3, *(3,) * rank)}] =f32[{3 * group}]"


# -- pooling --------------------------------------------------------------------------------------


@family(
    1e-6,
    kind=["max", "average", "average with pads", "lp1", "lp2", "lp3"],
    image=[(1, 3, 14, 17), (2, 70, 9, 8)],
    kernel=[(2, 2), (3, 3), (1, 4), (5, 3)],
    stride=[(1, 1), (2, 2), (3, 1), (16, 2)],
    pad=[(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 0)],
    dilation=[(1, 1), (2, 1)],
    ceil=[False, True],
)
def pools(kind, image, kernel, stride, pad, dilation, ceil) -> Made:
    yield _pool(kind, kernel, stride, pad, dilation, ceil), f32(*image)


@family(
    1e-6,
    kind=["max", "average", "average with pads", "lp2"],
    stride=[1, 2, 17],
    pad=[0, 1],
    kernel=[2, 3],
    ceil=[False, True],
    rank=[1, 3],
    dilation=[1, 2],
)
def pools_of_other_ranks(kind, stride, pad, kernel, ceil, rank, dilation) -> Made:
    op = _pool(
        kind, (kernel,) * rank, (stride,) * rank, (pad,) * 2 * rank, (dilation,) * rank, ceil
    )
    yield op, f32(2, 5, *(40, 6, 9)[-rank:])


@family(
    1e-6,
    kind=["max", "average", "average with pads"],
    kernel=[(20, 33), (31, 1), (40, 40)],
    pad=[0, 10, 19],
    stride=[(1, 1), (7, 20)],
)
def pools_with_large_windows(kind, kernel, pad, stride) -> Made:
    yield _pool(kind, kernel, stride, (pad, 0, pad, 0), (1, 1), False), f32(1, 3, 40, 44)


def _pool(kind: str, kernel: Any, stride: Any, pad: Any, dilation: Any, ceil: bool) -> Op:
    if kind == "max":
        return ops.MaxPool(kernel, stride, pad, dilation, ceil)
    if kind.startswith("lp"):
        return ops.LpPool(int(kind[2:]), kernel, stride, pad, dilation, ceil)
    return ops.AveragePool(kernel, stride, pad, dilation, ceil, kind == "average with pads")


# -- matrix products ------------------------------------------------------------------------------


@family(
    2e-6,
    m=[1, 2, 64, 257],
    k=[1, 3, 32, 100, 1537],
    n=[1, 5, 33, 1025, 2049],
    constant=["=", ""],
    bias=["", "n", "m1", "mn", "1"],
)
def matmul(m, k, n, constant, bias) -> Made:
    shape = {"n": (n,), "m1": (m, 1), "mn": (m, n), "1": ()}
    last = f" {f32(*shape[bias])}" if bias else ""
    yield ops.MatMul(), f"{f32(m, k)} {constant}{f32(k, n)}{last}"


@family(
    2e-6,
    shapes=[
        ((3, 4, 5), (5, 6)),
        ((4, 5), (3, 5, 6)),
        ((3, 4, 5), (3, 5, 6)),
        ((2, 1, 4, 5), (3, 5, 6)),
        ((2, 3, 4, 5), (1, 1, 5, 6)),
        ((1, 3, 4, 5), (2, 1, 5, 1)),
        ((2, 1, 3, 4, 5), (1, 2, 1, 5, 6)),
        ((2, 1, 1, 5), (2, 3, 5, 6)),
        ((5, 5, 1, 5), (5, 5, 5)),
    ],
    turned=[(False, False), (True, False), (False, True), (True, True)],
    bias=["", "f32[6]", "f32[4x1]", "f32[3x1x1]", "f32[]"],
)
def matmul_batches(shapes, turned, bias) -> Made:
    a, b = ((*s[:-2], s[-1], s[-2]) if t else s for s, t in zip(shapes, turned, strict=True))
    yield ops.MatMul(*turned), f"{f32(*a)} {f32(*b)} {bias}".strip()


@family(2e-6, shapes=[((5,), (5,)), ((5,), (5, 3)), ((4, 5), (5,)), ((2, 4, 5), (5,)),
                      ((5,), (2, 5, 3)), ((1,), (1,)), ((1,), (1, 1))], constant=["", "="])  # fmt: skip
def matmul_vectors(shapes, constant) -> Made:
    yield ops.MatMul(), f"{f32(*shapes[0])} {constant}{f32(*shapes[1])}"


@family(2e-6, False, m=[1, 7], k=[2000, 9999], n=[1, 40, 3000])
def matmul_large(m, k, n) -> Made:
    yield ops.MatMul(), f"{f32(m, k)} ={f32(k, n)}"


# -- element-wise ---------------------------------------------------------------------------------

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
def unary(fn, shape) -> Made:
    low, high = DOMAINS.get(fn, (-6, 6))
    yield ops.Unary(fn), f"{f32(*shape)}:{low}:{high}"


@family(
    2e-6,
    False,
    op=[
        ops.LeakyRelu(0.1), ops.LeakyRelu(-2.0), ops.LeakyRelu(0.0), ops.Elu(), ops.Elu(2.5),
        ops.Selu(), ops.Celu(), ops.Celu(0.3), ops.HardSigmoid(), ops.HardSigmoid(-0.5, 1.0),
        ops.ThresholdedRelu(), ops.ThresholdedRelu(-0.5), ops.Shrink(), ops.Shrink(1.0, 1.0),
        ops.Swish(), ops.Swish(1.702), ops.Swish(-2.0), ops.Clip(0, 6), ops.Clip(max=1.0),
        ops.Clip(-0.5), ops.Clip(), ops.Clip(2, -2), ops.IsInf(), ops.IsInf(False, True),
        ops.IsInf(False, False),
    ],
    shape=SHAPES,
)  # fmt: skip
def activations(op, shape) -> Made:
    yield op, f"{f32(*shape)}:-4:4"


@family(
    1e-6,
    fn=["abs", "neg", "sign", "relu", "bitnot"],
    dtype=["i8", "u8", "i16", "u16", "i32", "i64"],
    shape=[(), (66,), (3, 4, 5)],
)
def unary_integers(fn, dtype, shape) -> Made:
    yield ops.Unary(fn), f"{dtype}[{dims(*shape)}]"


@family(1e-6, op=[ops.Unary("not")], shape=[(), (66,), (2, 3, 4)])
def unary_truth(op, shape) -> Made:
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


@family(1e-6, False, shapes=_broadcasts(), fn=["add", "sub", "mul", "div", "max", "min"],
        constant=["  ", "= ", " ="])  # fmt: skip
def binary(shapes, fn, constant) -> Made:
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
def power(exponent, base, shape) -> Made:
    if "-" in base and exponent in ("0.5", "-0.5", "2.5", "tensor"):
        return
    other = ":-3:3" if exponent == "tensor" else f":{exponent}:{exponent}"
    constant = "" if exponent == "tensor" else "="
    last = f32(*shape) if exponent == "tensor" else "f32[]"
    yield ops.Binary("pow"), f"{f32(*shape)}{base} {constant}{last}{other}"


@family(1e-6, fn=["eq", "ne", "lt", "le", "gt", "ge"], dtype=["f32", "i32", "i64", "u8", "bool"],
        shapes=[((70,), (70,)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((), (5,))],
        constant=["  ", "= ", " ="])  # fmt: skip
def comparisons(fn, dtype, shapes, constant) -> Made:
    limits = ":-2:2" if dtype.startswith("i") else ":0:3" if dtype == "u8" else ""
    a, b = (f"{dtype}[{dims(*s)}]{limits}" for s in shapes)
    yield ops.Binary(fn), f"{constant[:1].strip()}{a} {constant[1:].strip()}{b}"


@family(
    1e-6,
    fn=["add", "sub", "mul", "div", "max", "min", "pow", "mod", "fmod", "bitand", "bitor",
        "bitxor", "shl", "shr"],
    dtype=["i8", "u8", "i16", "i32", "i64", "u16"],
    shapes=[((70,), (70,)), ((3, 4), (4,)), ((3, 1), (1, 4))],
    constant=["  ", " ="],
)  # fmt: skip
def binary_integers(fn, dtype, shapes, constant) -> Made:
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
def binary_truth(fn, shapes) -> Made:
    yield ops.Binary(fn), " ".join(f"bool[{dims(*s)}]" for s in shapes)


@family(2e-6, fn=["mod", "fmod"], shape=[(70,), (2, 3, 4)], divisor=[":0.5:3", ":-3:-0.5"])
def remainders(fn, shape, divisor) -> Made:
    yield ops.Binary(fn), f"{f32(*shape)}:-9:9 {f32(*shape)}{divisor}"


@family(
    1e-6,
    shapes=[((70,), (70,), (70,)), ((3, 4), (4,), ()), ((), (3, 1), (1, 4)), ((2, 1), (1,), (3,)),
            ((2, 3, 4, 5), (3, 1, 1), (5,)), ((1,), (2, 3, 4), (2, 3, 4))],
    dtype=["f32", "i32", "bool"],
    constant=["   ", "=  ", " = ", "  =", " =="],
)  # fmt: skip
def where(shapes, dtype, constant) -> Made:
    kinds = ("bool", dtype, dtype)
    yield (
        ops.Where(),
        " ".join(
            f"{c.strip()}{k}[{dims(*s)}]" for c, k, s in zip(constant, kinds, shapes, strict=True)
        ),
    )


@family(1e-6, shapes=[((4, 70, 3), (70, 1)), ((4, 70, 3), (1,)), ((5, 6), (5, 6)), ((2, 9), (9,)),
                      ((7,), ())], constant=["", "="])  # fmt: skip
def prelu(shapes, constant) -> Made:
    yield ops.PRelu(), f"{f32(*shapes[0])} {constant}{f32(*shapes[1])}"


KINDS = ["f32", "f16", "bool", "i8", "u8", "i16", "u16", "i32", "u32", "i64"]


@family(1e-6, source=KINDS, target=KINDS, shape=[(70,), (2, 3, 4)])
def casts(source, target, shape) -> Made:
    """Values that both types hold, fractions included."""
    low = 0 if "u" in (source[0], target[0]) else -9
    limits = "" if source == "bool" else f":{low}:9"
    yield ops.Cast(DType(target)), f"{source}[{dims(*shape)}]{limits}"


# -- reductions and normalisations ----------------------------------------------------------------

RANKS = [(70,), (6, 70), (3, 5, 4), (2, 3, 4, 5), (2, 3, 2, 3, 4)]


def _axis_combinations() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(shape, axes) for every set of axes of the shapes of rank 1 to 5."""
    return [
        (shape, axes)
        for shape in RANKS
        for count in range(len(shape) + 1)
        for axes in itertools.combinations(range(len(shape)), count)
    ]


@family(2e-6, False, fn=list(REDUCTIONS), area=_axis_combinations(), keep=[True, False])
def reductions(fn, area, keep) -> Made:
    shape, axes = area
    limits = ":0.7:1.4" if fn in ("prod", "log_sum") else ""
    yield ops.Reduce(fn, axes, keep), f"{f32(*shape)}{limits}"


@family(1e-6, fn=["sum", "mean", "max", "min", "prod", "l1", "sum_square"],
        dtype=["i32", "i8", "u8", "i64"], axes=[(0,), (1,), (0, 2), (0, 1, 2)])  # fmt: skip
def reductions_of_integers(fn, dtype, axes) -> Made:
    low, high = (0, 3) if dtype == "u8" else (-2, 2)
    yield ops.Reduce(fn, axes), f"{dtype}[3x4x5]:{low}:{high}"


@family(2e-6, fn=["sum", "mean", "max", "l2"], area=[((3, 20000), (1,)), ((20000, 3), (0,)),
        ((40009,), (0,)), ((2, 170, 190), (1, 2)), ((2, 170, 190), (0, 2)),
        ((2, 130, 3, 140), (1, 3)), ((2, 130, 3, 140), (1, 2, 3))])  # fmt: skip
def reductions_of_long_axes(fn, area) -> Made:
    yield ops.Reduce(fn, area[1]), f"{f32(*area[0])}:0:1"


@family(1e-4, False, axes=[(1,), (0, 1)])
def products_of_long_axes(axes) -> Made:
    """The interpreter multiplies one by one: its own error is the larger one."""
    yield ops.Reduce("prod", axes), "f32[3x20000]:0.999:1.001"


@family(1e-6, fn=["max", "min"], shape=RANKS, axis=range(5), keep=[True, False],
        last=[True, False], dtype=["f32", "i32"])  # fmt: skip
def arg_reductions(fn, shape, axis, keep, last, dtype) -> Made:
    """Integers have many equal values."""
    limits = ":0:4" if dtype == "i32" else ""
    yield ops.ArgReduce(fn, axis, keep, last), f"{dtype}[{dims(*shape)}]{limits}"


@family(
    2e-6,
    kind=[ops.Softmax, ops.LogSoftmax, ops.Hardmax],
    shape=[*RANKS, (1, 1000), (2, 64, 7, 9), (3, 1)],
    axis=range(5),
)
def softmaxes(kind, shape, axis) -> Made:
    yield kind(axis), f"{f32(*shape)}:-9:9"


@family(2e-6, p=[1, 2], shape=RANKS, axis=range(5))
def lp_norm(p, shape, axis) -> Made:
    yield ops.LpNorm(p, axis), f32(*shape)


@family(4e-6, shape=RANKS[1:], axis=range(5), affine=["", "b", "s", "sb"], constant=["", "="])
def layer_norm(shape, axis, affine, constant) -> Made:
    inner = f"{constant}{f32(*shape[axis:])}"
    rest = [inner if "s" in affine else "-", inner if "b" in affine else "-"]
    if axis < len(shape):
        yield ops.LayerNorm(axis, 1e-5), " ".join([f32(*shape), *rest])


@family(4e-6, shape=RANKS, axis=range(5), constant=["", "="])
def rms_norm(shape, axis, constant) -> Made:
    if axis < len(shape):
        yield ops.RMSNorm(axis), f"{f32(*shape)} {constant}{f32(*shape[axis:])}"


@family(
    4e-6,
    kind=["batch", "instance", "group1", "group2", "group3"],
    shape=[(2, 6, 5), (3, 6, 7, 9), (1, 66, 8, 8), (2, 6, 3, 4, 5), (4, 6), (1, 6, 1, 1)],
    constant=["", "="],
)
def channel_norms(kind, shape, constant) -> Made:
    c = f" {constant}{f32(shape[1])}"
    if kind == "batch":
        yield ops.BatchNorm(1e-5), f"{f32(*shape)}{c}{c}{c}{c}:0.5:2"
    elif kind == "instance":
        yield ops.InstanceNorm(1e-5), f"{f32(*shape)}{c}{c}"
    elif shape[-1] > 1:
        yield ops.GroupNorm(int(kind[5:]), 1e-5), f"{f32(*shape)}{c}{c}"


@family(4e-6, size=[1, 2, 3, 5, 9], shape=[(1, 7, 5, 6), (2, 70, 3), (2, 5)], beta=[0.75, 0.5, 1.0])
def lrn(size, shape, beta) -> Made:
    yield ops.LRN(size, 0.1, beta, 2.0), f32(*shape)


@family(2e-6, shape=RANKS, axis=range(5), exclusive=[True, False], reverse=[True, False],
        dtype=["f32", "i32"])  # fmt: skip
def cum_sum(shape, axis, exclusive, reverse, dtype) -> Made:
    yield ops.CumSum(axis, exclusive, reverse), f"{dtype}[{dims(*shape)}]"


# -- shapes ---------------------------------------------------------------------------------------

MOVED = ["f32", "i32", "bool", "u8", "i64"]


@family(
    0, False, perm=[p for r in (1, 2, 3, 4) for p in itertools.permutations(range(r))], dtype=MOVED
)
def transposes(perm, dtype) -> Made:
    yield ops.Transpose(perm), f"{dtype}[{dims(*(70, 3, 4, 5)[: len(perm)])}]"


@family(0, False, perm=list(itertools.permutations(range(5)))[::7] + [(5, 4, 3, 2, 1, 0), (0, 5, 1, 4, 2, 3),
        (6, 5, 4, 3, 2, 1, 0)], dtype=["f32"])  # fmt: skip
def transposes_of_many_axes(perm, dtype) -> Made:
    yield ops.Transpose(perm), f"{dtype}[{dims(*(2, 3, 4, 5, 3, 2, 2)[: len(perm)])}]"


@family(0, axis=[0, 1, 2], shapes=[((2, 3, 4), (2, 3, 4)), ((2, 3, 4),) * 5, ((1, 3, 4), (5, 3, 4)),
        ((2, 1, 4), (2, 6, 4), (2, 70, 4)), ((2, 3, 1), (2, 3, 66)), ((2, 3, 4),)],
        dtype=MOVED, constant=["", "="])  # fmt: skip
def concats(axis, shapes, dtype, constant) -> Made:
    parts = [f"{dtype}[{dims(*s)}]" for s in shapes]
    yield ops.Concat(axis), " ".join([*parts[:-1], constant + parts[-1]])


@family(
    0,
    first=[(0, 6, 1), (2, 5, 1), (0, 6, 2), (5, -1, -1), (4, 0, -2), (1, 6, 4), (3, 3, 1)],
    second=[(0, 70, 1), (1, 69, 3), (69, -1, -1), (65, 2, -7), (64, 70, 1)],
    third=[(0, 4, 1), (1, 3, 1), (3, -1, -2), (0, 4, 3)],
    dtype=MOVED,
)
def slices(first, second, third, dtype) -> Made:
    starts, ends, steps = zip(first, second, third, strict=True)
    yield ops.Slice(starts, ends, steps), f"{dtype}[6x70x4]"


@family(
    0,
    mode=["constant", "edge", "reflect", "wrap"],
    pads=[(1, 2, 3, 2, 1, 0), (0, 0, 3, 0, 0, 3), (2, 0, 0, 2, 0, 0), (-1, 1, 0, 0, -2, 2),
          (0, 0, 0, 0, 0, 0), (0, -3, 0, 0, 0, -1)],
    dtype=MOVED,
    value=[0.0, 1.0, 2.5],
)  # fmt: skip
def pads(mode, pads, dtype, value) -> Made:
    if value and (mode != "constant" or (value == 2.5 and dtype != "f32")):
        return
    yield ops.Pad(pads, mode, value), f"{dtype}[4x6x5]"


@family(0, shape=[(), (1,), (70,), (3, 1), (1, 4), (3, 4), (2, 1, 4)], dtype=MOVED,
        target=[(1,), (70,), (3, 4), (2, 3, 4), (2, 2, 3, 4), (5, 1, 3, 4)])  # fmt: skip
def expands(shape, dtype, target) -> Made:
    yield ops.Expand(target), f"{dtype}[{dims(*shape)}]"


@family(0, repeats=[(1, 1, 1), (2, 1, 1), (1, 3, 1), (1, 1, 4), (2, 3, 4)], dtype=MOVED,
        shape=[(2, 3, 5), (1, 70, 1)])  # fmt: skip
def tiles(repeats, dtype, shape) -> Made:
    yield ops.Tile(repeats), f"{dtype}[{dims(*shape)}]"


@family(0, block=[1, 2, 3], mode=["DCR", "CRD", "to depth"], dtype=["f32", "u8"],
        shape=[(1, 36, 6, 12), (2, 72, 6, 6)])  # fmt: skip
def depth_and_space(block, mode, dtype, shape) -> Made:
    op = ops.SpaceToDepth(block) if mode == "to depth" else ops.DepthToSpace(block, mode)
    yield op, f"{dtype}[{dims(*shape)}]"


@family(0, shape=[((2, 3, 4), (6, 4)), ((6, 70), (4, 105)), ((1,), ()), ((), (1, 1)),
        ((5, 1, 4), (5, 4))], dtype=MOVED)  # fmt: skip
def reshapes(shape, dtype) -> Made:
    yield ops.Reshape(shape[1]), f"{dtype}[{dims(*shape[0])}]"


@family(0, upper=[True, False], k=[-9, -2, 0, 1, 8], shape=[(5, 7), (70, 3), (2, 3, 4, 4)],
        dtype=["f32", "i32", "bool"])  # fmt: skip
def trilu(upper, k, shape, dtype) -> Made:
    yield ops.Trilu(upper, k), f"{dtype}[{dims(*shape)}]"


# -- indices --------------------------------------------------------------------------------------

GATHERED = [(9,), (9, 70), (4, 5, 6), (2, 3, 4, 5)]


@family(1e-6, shape=GATHERED, axis=range(4), indices=[(), (1,), (7,), (2, 3)],
        constant=["", "="], dtype=["f32", "i32", "bool"])  # fmt: skip
def gathers(shape, axis, indices, constant, dtype) -> Made:
    if axis < len(shape):
        size = shape[axis]
        place = f"{constant}i64[{dims(*indices)}]:{-size}:{size}"
        yield ops.Gather(axis), f"{dtype}[{dims(*shape)}] {place}"


@family(1e-6, shape=[(9,), (9, 7), (4, 5, 6), (2, 3, 4, 5, 2)], axis=range(5), count=[1, 3, 40],
        constant=["", "="], dtype=["f32", "i32"])  # fmt: skip
def gathers_of_elements(shape, axis, count, constant, dtype) -> Made:
    if axis < len(shape):
        size = shape[axis]
        wanted = [count if a == axis else max(s - 1, 1) for a, s in enumerate(shape)]
        place = f"{constant}i64[{dims(*wanted)}]:{-size}:{size}"
        yield ops.GatherElements(axis), f"{dtype}[{dims(*shape)}] {place}"


@family(1e-6, batch=[0, 1, 2], depth=[1, 2, 3], constant=["", "="], dtype=["f32", "i32"],
        rest=[(), (3,), (2, 3)])  # fmt: skip
def gathers_nd(batch, depth, constant, dtype, rest) -> Made:
    lead = (4, 4)[:batch]
    place = f"{constant}i64[{dims(*lead, *rest, depth)}]:-4:4"
    yield ops.GatherND(batch), f"{dtype}[4x4x4x4] {place}"


@family(1e-6, shape=[(9,), (5, 7), (4, 5, 6)], axis=range(3), count=[1, 3, 30],
        reduction=["none", "add", "mul", "max", "min"], constant=["", "="])  # fmt: skip
def scatters_of_elements(shape, axis, count, reduction, constant) -> Made:
    """Several updates of one place; with none the last one wins."""
    if axis < len(shape) and (count < 30 or reduction not in ("max", "min")):
        size = shape[axis]
        wanted = dims(*(count if a == axis else max(s - 1, 1) for a, s in enumerate(shape)))
        place = f"{constant}i64[{wanted}]:{-size}:{size}"
        yield ops.ScatterElements(axis, reduction), f"{f32(*shape)} {place} f32[{wanted}]"


@family(1e-6, depth=[1, 2, 3], rows=[(), (4,), (2, 3)], reduction=["none", "add", "mul"],
        constant=["", "="])  # fmt: skip
def scatters_nd(depth, rows, reduction, constant) -> Made:
    place = f"{constant}i64[{dims(*rows, depth)}]:-4:4"
    yield ops.ScatterND(reduction), f"f32[4x4x4] {place} {f32(*rows, *(4, 4, 4)[depth:])}"


@family(1e-6, axis=[0, 1, 2], depth=[1, 5, 70], shape=[(), (6,), (3, 4)], dtype=["i64", "i32", "f32"],
        constant=["", "="])  # fmt: skip
def one_hots(axis, depth, shape, dtype, constant) -> Made:
    """Some indices lie outside."""
    if dtype != "f32":
        yield ops.OneHot(axis, depth), f"{dtype}[{dims(*shape)}]:-7:9 {constant}f32[2]"


@family(1e-6, shape=[(9,), (5, 70), (3, 4, 8)], axis=range(3), k=[1, 2, 5], largest=[True, False],
        dtype=["f32", "i32"])  # fmt: skip
def top_k(shape, axis, k, largest, dtype) -> Made:
    limits = ":-900:900" if dtype == "i32" else ""
    yield ops.TopK(k, axis, largest), f"{dtype}[{dims(*shape)}]{limits}"


@family(0, axes=[(0, 1), (1, 0)], shape=[(5, 5, 3), (4, 5)], dtype=["f32", "i32"])
def reverse_sequences(axes, shape, dtype) -> Made:
    """Operands: x, lengths within the time axis."""
    batch, time = axes
    yield (
        ops.ReverseSequence(batch, time),
        f"{dtype}[{dims(*shape)}] i64[{shape[batch]}]:0:{shape[time] + 1}",
    )


# -- images ---------------------------------------------------------------------------------------

COORDINATES = [
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_half_pixel_for_nn",
]  # fmt: skip


@family(
    4e-6,
    mode=["nearest", "linear", "cubic"],
    coordinate=COORDINATES,
    size=[(10, 14), (5, 7), (3, 4), (1, 1), (7, 20), (15, 2)],
    rounding=["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"],
    outside=[False, True],
    antialias=[False, True],
)
def resizes(mode, coordinate, size, rounding, outside, antialias) -> Made:
    old = (5, 7)
    scales = tuple(n / o for n, o in zip(size, old, strict=True))
    if ((mode == "nearest") == antialias and antialias) or (
        mode != "nearest" and rounding != "floor"
    ):
        return
    op = ops.Resize(
        (2, 3, *size), (1.0, 1.0, *scales), mode, coordinate, rounding, -0.75, outside, 0.0, (),
        antialias,
    )  # fmt: skip
    yield op, f32(2, 3, *old)


@family(4e-6, mode=["nearest", "linear", "cubic"], roi=[(0.1, 0.2, 0.9, 0.7), (-0.2, 0.1, 1.3, 1.0)],
        size=[(4, 5), (9, 11), (1, 3)], extrapolation=[0.0, 7.5])  # fmt: skip
def crops(mode, roi, size, extrapolation) -> Made:
    scales = (size[0] / 6, size[1] / 8)
    op = ops.Resize(
        size, scales, mode, "tf_crop_and_resize", "round_prefer_floor", -0.75, False,
        extrapolation, roi,
    )  # fmt: skip
    yield op, f32(6, 8)


@family(4e-6, axes=[(1, 0), (1, 0, 1), (0, 1, 1, 1)], mode=["nearest", "linear", "cubic"],
        factor=[2.0, 3.0, 0.5])  # fmt: skip
def resizes_of_other_axes(axes, mode, factor) -> Made:
    shape = (4, 6, 8, 10)[: len(axes)]
    scales = tuple(factor if a else 1.0 for a in axes)
    sizes = tuple(int(s * f) for s, f in zip(shape, scales, strict=True))
    yield ops.Resize(sizes, scales, mode), f32(*shape)


@family(2e-5, mode=["linear", "nearest"], padding=["zeros", "border", "reflection"],
        align=[True, False], shape=[(1, 3, 5, 7), (2, 4, 8, 6)])  # fmt: skip
def grid_samples(mode, padding, align, shape) -> Made:
    grid = f"f32[{dims(shape[0], 4, 5, 2)}]:-1.3:1.3"
    yield ops.GridSample(mode, padding, align), f"{f32(*shape)} {grid}"


@family(2e-5, ratio=[0, 1, 2], coordinate=["half_pixel", "output_half_pixel"], size=[(1, 1), (3, 2)],
        scale=[1.0, 0.5])  # fmt: skip
def roi_aligns(ratio, coordinate, size, scale) -> Made:
    op = ops.RoiAlign(*size, ratio, scale, "avg", coordinate)
    yield op, "f32[2x3x9x12] =f32[4x4]:0:8:boxes i64[4]:0:2"


@family(1e-6, size=[(1, 1), (3, 2)], scale=[1.0, 8.0])
def roi_pools(size, scale) -> Made:
    # Images 0 and 1; corners beyond the picture and cells without a pixel are among them.
    op = ops.RoiPool(*size, scale)
    yield op, "f32[2x3x9x12] f32[9x5]:0:1.9"
    yield op, "f32[2x3x9x12]:-3:-1 f32[9x5]:0:1.9"


@family(1e-5, classes=[2, 3], background=[0, -1], top_k=[-1, 4], keep_top_k=[-1, 3],
        code=["corner", "center_size", "corner_size"], encoded=[False, True],
        confidence=[-math.inf, 0.4, 2.0])  # fmt: skip
def detection_outputs(classes, background, top_k, keep_top_k, code, encoded, confidence) -> Made:
    op = ops.DetectionOutput(
        classes, background, 0.45, top_k, keep_top_k, confidence, code, encoded
    )
    priors = "f32[1x2x36]:0.1:0.9"
    yield op, f"f32[2x36]:0:1 f32[2x{9 * classes}]:0:1 {priors}"


@family(0, center=[True, False], limit=[1, 3, 20], iou=[0.0, 0.5], score=[-math.inf, 0.3],
        shape=[(1, 1, 9), (2, 3, 12)])  # fmt: skip
def suppressions(center, limit, iou, score, shape) -> Made:
    n, c, boxes = shape
    op = ops.NonMaxSuppression(center, limit, iou, score)
    corners = "" if center else ":boxes"
    yield op, f"f32[{n}x{boxes}x4]:0:1{corners} f32[{n}x{c}x{boxes}]:0:1"
