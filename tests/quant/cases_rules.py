"""Small float graphs, one for every rule of the quantiser; see test_rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph, Op, Value


class Build:
    """A graph under construction; weights are random, but the same in every run."""

    def __init__(self, batch: int = 1, shape: tuple[int, ...] = (6, 10, 10)) -> None:
        self.graph = Graph("case")
        self.rng = np.random.default_rng(11)
        self.batch = batch
        self.x = self.input("x", shape)

    def input(self, name: str, shape: tuple[int, ...]) -> Value:
        return self.graph.input(name, DType.F32, (self.batch, *shape))

    def constant(self, array: object, name: str = "const") -> Value:
        return self.graph.constant(np.asarray(array, np.float32), name)

    def random(self, *shape: int, scale: float = 1.0, name: str = "const") -> Value:
        return self.constant(self.rng.standard_normal(shape) * scale, name)

    def __call__(self, op: Op, *operands: Value | None, name: str = "") -> Value:
        """The first result; nodes and values have different names, as in ONNX."""
        label = name or op.name.lower()
        return self.graph.add(
            op, *operands, name=f"{label}.node", outputs=[label], source=f"/{label}"
        ).output

    def conv(
        self,
        x: Value,
        channels: int = 8,
        kernel: Sequence[int] = (3, 3),
        *,
        strides: Sequence[int] = (),
        pads: Sequence[int] = (),
        dilations: Sequence[int] = (),
        group: int = 1,
        bias: bool = True,
        name: str = "conv",
    ) -> Value:
        ones = (1,) * len(kernel)
        inner = x.shape[1] // group
        fan_in = inner * int(np.prod(kernel))
        w = self.random(channels, inner, *kernel, scale=fan_in**-0.5, name=f"{name}.w")
        b = self.random(channels, scale=0.3, name=f"{name}.b") if bias else None
        op = ops.Conv(
            tuple(strides) or ones,
            tuple(pads) or tuple(k // 2 for k in kernel) * 2,
            tuple(dilations) or ones,
            group,
        )
        return self(op, x, w, *([] if b is None else [b]), name=name)

    def relu(self, x: Value) -> Value:
        return self(ops.Unary("relu"), x)


@dataclass(frozen=True)
class Case:
    """A graph and what is expected of its integers.

    Attributes:
        make: gives the outputs.
        sqnr: least signal to noise of the outputs in dB.
        floats: operators that stay in fp32.
        shape: of the first input without batch.
        offset: of the samples.
        count: of samples; batches: that are tried.
        refused: by the compiler, with this in the message.
    """

    make: Callable[[Build], Value | Sequence[Value]]
    sqnr: float = 30
    floats: tuple[str, ...] = ()
    shape: tuple[int, ...] = (6, 10, 10)
    offset: float = 0.0
    count: int = 8
    refused: str = ""
    batches: tuple[int, ...] = (1, 2)

    def graph(self, batch: int = 1) -> Graph:
        build = Build(batch, self.shape)
        made = self.make(build)
        build.graph.outputs = [made] if isinstance(made, Value) else list(made)
        return build.graph


CASES: dict[str, Case] = {}


def case(
    name: str,
    sqnr: float = 30,
    floats: tuple[str, ...] = (),
    shape: tuple[int, ...] = (6, 10, 10),
    **more: object,
) -> Callable[[Callable[[Build], Value | Sequence[Value]]], Callable[[Build], object]]:
    def register(make: Callable[[Build], Value | Sequence[Value]]) -> Callable[[Build], object]:
        CASES[name] = Case(make, sqnr, floats, shape, **more)  # type: ignore[arg-type]
        return make

    return register


def _after_conv(name: str, op: Op, **how: object) -> None:
    """Convolution, *op*, and a convolution that reads it."""

    def inside(b: Build) -> Value:
        return b.conv(b(op, b.conv(b.x), name="act"), 5, (1, 1), name="last")

    def at_the_end(b: Build) -> Value:
        return b(op, b.conv(b.x), name="act")

    CASES[f"{name} inside"] = Case(inside, **how)  # type: ignore[arg-type]
    CASES[f"{name} at the end"] = Case(at_the_end, **how)  # type: ignore[arg-type]


for _name, _op in {
    "relu": ops.Unary("relu"),
    "clip 0 6": ops.Clip(0.0, 6.0),
    "clip 0 1": ops.Clip(0.0, 1.0),
    "clip -1 2": ops.Clip(-1.0, 2.0),
    "clip 0.5 1.5": ops.Clip(0.5, 1.5),
    "clip below": ops.Clip(-0.5),
    "leaky": ops.LeakyRelu(0.1),
    "leaky, steep": ops.LeakyRelu(1.5),
    "leaky, downwards": ops.LeakyRelu(-0.3),
    "hardswish": ops.Unary("hardswish"),
    "sigmoid": ops.Unary("sigmoid"),
    "tanh": ops.Unary("tanh"),
    "silu": ops.Swish(1.0),
    "hardsigmoid": ops.HardSigmoid(1 / 6, 0.5),
    "elu": ops.Elu(1.0),
    "abs": ops.Unary("abs"),
    "neg": ops.Unary("neg"),
}.items():
    _after_conv(_name, _op, sqnr=28)
# Steep: what is large decides.
_after_conv("exp", ops.Unary("exp"), sqnr=15)


# -- convolutions and products --------------------------------------------------------------------


@case("conv")
def _(b: Build) -> Value:
    return b.conv(b.x)


@case("conv without bias", offset=2.0)
def _(b: Build) -> Value:
    return b.conv(b.x, bias=False)


@case("conv strided and dilated", shape=(6, 13, 11))
def _(b: Build) -> Value:
    y = b.conv(b.x, 8, (3, 5), strides=(2, 1), pads=(0, 1, 2, 3), dilations=(1, 2))
    return b.conv(b.relu(y), 4, (3, 3), dilations=(2, 2), pads=(2, 2, 2, 2), name="last")


@case("conv grouped", sqnr=28)
def _(b: Build) -> Value:
    y = b.relu(b.conv(b.x, 8, group=2))
    return b.conv(y, 12, group=4, name="last")


@case("conv depthwise", sqnr=28)
def _(b: Build) -> Value:
    y = b.relu(b.conv(b.x, 16))
    y = b.relu(b.conv(y, 16, (5, 5), group=16, strides=(2, 2), name="depthwise"))
    y = b.conv(y, 32, (3, 3), group=16, name="multiplier")
    return b.conv(y, 4, (1, 1), name="last")


@case("conv 1-D", shape=(6, 24))
def _(b: Build) -> Value:
    y = b.relu(b.conv(b.x, 8, (5,), strides=(2,)))
    return b.conv(y, 4, (3,), dilations=(2,), pads=(2, 2), name="last")


@case("conv 3-D", floats=("Conv",), shape=(3, 5, 5, 5))
def _(b: Build) -> Value:
    return b.conv(b.x, 4, (3, 3, 3))


@case("conv with other weights", floats=("Conv",))
def _(b: Build) -> Value:
    w = b.graph.input("w", DType.F32, (4, 6, 1, 1))
    return b(ops.Conv((1, 1), (0,) * 4, (1, 1)), b.x, w)


@case("conv of one place", shape=(6, 1, 1), sqnr=25)
def _(b: Build) -> Value:
    return b.conv(b.relu(b.conv(b.x, 16, (1, 1))), 4, (1, 1), name="last")


def _transposed(group: int, strides: int, padding: int) -> Callable[[Build], Value]:
    def make(b: Build) -> Value:
        y = b.relu(b.conv(b.x, 8))
        w = b.random(8, 6 // group, 3, 3, scale=0.2, name="w")
        bias = b.random(6, scale=0.3, name="bias")
        two = (strides, strides)
        op = ops.ConvTranspose(two, (1, 1, 1, 1), (1, 1), group, (padding, padding))
        return b(op, y, w, bias, name="up")

    return make


CASES["transposed"] = Case(_transposed(1, 2, 1))
CASES["transposed, grouped"] = Case(_transposed(2, 2, 0), sqnr=28)
CASES["transposed, by 1"] = Case(_transposed(1, 1, 0))


@case("transposed after signed", sqnr=28)
def _(b: Build) -> Value:
    y = b(ops.Swish(1.0), b.conv(b.x, 8))
    w = b.random(8, 4, 2, 2, scale=0.2, name="w")
    y = b(ops.ConvTranspose((2, 2), (0,) * 4, (1, 1), 1, (0, 0)), y, w, name="up")
    return b.conv(b.relu(y), 4, name="last")


@case("matmul", shape=(40,), batches=(1, 3), count=64)
def _(b: Build) -> Value:
    y = b.relu(b(ops.MatMul(), b.x, b.random(40, 24, scale=0.15, name="w"), b.random(24)))
    return b(ops.MatMul(transpose_b=True), y, b.random(10, 24, scale=0.2, name="v"), name="last")


@case("matmul after signed", shape=(40,), sqnr=26, count=64)
def _(b: Build) -> Value:
    y = b(ops.MatMul(), b.x, b.random(40, 24, scale=0.15, name="w"), b.random(1, 24))
    y = b(ops.Swish(1.0), y)
    return b(ops.MatMul(), y, b.random(24, 10, scale=0.2, name="v"), b.random(1), name="last")


@case("matmul of two", floats=("MatMul",), shape=(5, 12))
def _(b: Build) -> Value:
    return b(ops.MatMul(transpose_b=True), b.x, b.x)


# -- sums and products ----------------------------------------------------------------------------


@case("residual", sqnr=28)
def _(b: Build) -> Value:
    y = b.relu(b.conv(b.x))
    z = b.conv(y, name="second")
    return b.conv(b.relu(b(ops.Binary("add"), z, y, name="sum")), 4, name="last")


@case("sum of a value and itself")
def _(b: Build) -> Value:
    y = b.relu(b.conv(b.x))
    return b.conv(b(ops.Binary("add"), y, y, name="twice"), 4, name="last")


@case("difference", sqnr=26)
def _(b: Build) -> Value:
    y = b.conv(b.x)
    z = b.relu(b.conv(b.x, name="second"))
    return b.conv(b(ops.Binary("sub"), z, y, name="difference"), 4, name="last")


@case("difference of a value and itself")
def _(b: Build) -> Sequence[Value]:
    y = b.relu(b.conv(b.x))
    zero = b(ops.Binary("sub"), y, y, name="zero")
    return [b(ops.Binary("add"), y, zero, name="same")]


@case("sum of very different ranges", sqnr=26)
def _(b: Build) -> Value:
    y = b.conv(b.x)
    z = b(ops.Binary("mul"), b.conv(b.x, name="second"), b.constant(1e-3), name="tiny")
    return b.conv(b(ops.Binary("add"), y, z, name="sum"), 4, name="last")


@case("sum with the input", sqnr=28)
def _(b: Build) -> Value:
    return b(ops.Binary("add"), b.conv(b.x, 6), b.x, name="sum")


@case("sum that spreads", floats=("Binary",), sqnr=26)
def _(b: Build) -> Value:
    y = b.conv(b.x)
    z = b(ops.Reduce("mean", (2, 3), True), b.conv(b.x, name="second"), name="mean")
    return b(ops.Binary("add"), y, z, name="sum")


def _gate(swapped: bool, relu: bool) -> Callable[[Build], Value]:
    def make(b: Build) -> Value:
        y = b.conv(b.x, 16)
        y = b.relu(y) if relu else y
        g = b(ops.Reduce("mean", (2, 3), True), y, name="mean")
        g = b.relu(b.conv(g, 8, (1, 1), name="squeeze"))
        g = b(ops.Unary("sigmoid"), b.conv(g, 16, (1, 1), name="excite"), name="gate")
        y = b(ops.Binary("mul"), *((g, y) if swapped else (y, g)), name="scaled")
        return b.conv(y, 4, (1, 1), name="last")

    return make


CASES["gate"] = Case(_gate(False, True), sqnr=26)
CASES["gate, signed"] = Case(_gate(False, False), sqnr=26)
CASES["gate, swapped"] = Case(_gate(True, True), sqnr=26)


@case("product of equal shapes", sqnr=26)
def _(b: Build) -> Value:
    y, z = b.conv(b.x), b(ops.Unary("sigmoid"), b.conv(b.x, name="second"))
    return b.conv(b(ops.Binary("mul"), y, z, name="product"), 4, name="last")


@case("product of two signed", sqnr=24)
def _(b: Build) -> Value:
    y, z = b.conv(b.x), b.conv(b.x, name="second")
    return b.conv(b(ops.Binary("mul"), y, z, name="product"), 4, name="last")


@case("square", sqnr=17, count=32)
def _(b: Build) -> Value:
    y = b.conv(b.x)
    return b.conv(b(ops.Binary("mul"), y, y, name="square"), 4, name="last")


@case("product by place", sqnr=25)
def _(b: Build) -> Value:
    y = b.relu(b.conv(b.x))
    g = b(ops.Unary("sigmoid"), b.conv(b.x, 1, name="attention"), name="gate")
    return b.conv(b(ops.Binary("mul"), y, g, name="scaled"), 4, name="last")


def _line(fn: str, swapped: bool, by_channel: bool, sign: float) -> Callable[[Build], Value]:
    def make(b: Build) -> Value:
        y = b.conv(b.x)
        shape = (1, 8, 1, 1) if by_channel else ()
        numbers = b.constant(sign * (0.4 + b.rng.random(shape)), "numbers")
        y = b(ops.Binary(fn), *((numbers, y) if swapped else (y, numbers)), name="line")
        return b.conv(y, 4, name="last")

    return make


for _fn in ("add", "sub", "mul", "div"):
    for _swapped in (False, True):
        for _channel in (False, True):
            for _sign in (1.0, -1.0):
                _label = f"{_fn}{', swapped' * _swapped}{', by channel' * _channel}, {_sign:+.0f}"
                _make = _line(_fn, _swapped, _channel, _sign)
                _fp32 = ("Binary",) if _fn == "div" and _swapped else ()
                if not _fp32 and not (_swapped and _fn == "mul"):
                    CASES[_label] = Case(_make, sqnr=28, floats=_fp32, batches=(1,))


@case("factors near zero", sqnr=26)
def _(b: Build) -> Value:
    numbers = b.constant(np.linspace(-1, 1, 9)[:8].reshape(8, 1, 1), "numbers")
    y = b(ops.Binary("mul"), b.conv(b.x), numbers, name="line")
    return b.conv(y, 4, name="last")


@case("batch normalisation at the end", sqnr=28)
def _(b: Build) -> Value:
    y = b.relu(b.conv(b.x))
    y = b(ops.Binary("mul"), y, b.random(8, 1, 1), name="scale")
    return b(ops.Binary("add"), y, b.random(1, 8, 1, 1), name="shift")


@case("prelu", sqnr=27)
def _(b: Build) -> Value:
    y = b(ops.PRelu(), b.conv(b.x), b.constant(np.linspace(-0.2, 0.6, 8).reshape(8, 1, 1)))
    y = b(ops.PRelu(), b.conv(y, 4, name="second"), b.constant([0.25]))
    return b.conv(y, 4, name="last")


@case("prelu after relu")
def _(b: Build) -> Value:
    return b(ops.LeakyRelu(0.1), b.relu(b.conv(b.x)), name="leaky")


# -- pools ----------------------------------------------------------------------------------------


@case("max pool", shape=(6, 11, 10), sqnr=28)
def _(b: Build) -> Value:
    y = b(ops.MaxPool((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)), b.conv(b.x), name="pool")
    return b.conv(y, 4, name="last")


def _average(pads: int, include: bool, relu: bool) -> Callable[[Build], Value]:
    def make(b: Build) -> Value:
        y = b.conv(b.x)
        y = b.relu(y) if relu else b(ops.Swish(1.0), y)
        op = ops.AveragePool((3, 3), (2, 2), (pads,) * 4, (1, 1), False, include)
        return b.conv(b(op, y, name="pool"), 4, name="last")

    return make


CASES["average pool"] = Case(_average(0, False, True))
CASES["average pool, signed"] = Case(_average(0, False, False), sqnr=28)
CASES["average pool, pads count"] = Case(_average(1, True, True))
CASES["average pool, pads count, signed"] = Case(_average(1, True, False), sqnr=28)
CASES["average pool, pads do not count"] = Case(_average(1, False, True), floats=("AveragePool",))


def _mean(keep: bool, relu: bool) -> Callable[[Build], Value]:
    def make(b: Build) -> Value:
        y = b.conv(b.x)
        y = b.relu(y) if relu else b(ops.Swish(1.0), y)
        y = b(ops.Reduce("mean", (2, 3), keep), y, name="mean")
        if keep:
            return b.conv(y, 5, (1, 1), name="last")
        return b(ops.MatMul(), y, b.random(8, 5, scale=0.3, name="w"), name="last")

    return make


CASES["mean"] = Case(_mean(True, True), sqnr=26)
CASES["mean, no dims"] = Case(_mean(False, True), sqnr=26)
CASES["mean, signed"] = Case(_mean(True, False), sqnr=26)
CASES["mean, no dims, signed"] = Case(_mean(False, False), sqnr=26)
CASES["mean of many"] = Case(_mean(True, True), sqnr=26, shape=(6, 21, 18))
CASES["mean of many, signed"] = Case(_mean(False, False), sqnr=26, shape=(6, 21, 18))


def _moved(*steps: Op) -> Callable[[Build], Value]:
    """Scales by channel do not lie along the axis that the last operator takes them along."""

    def make(b: Build) -> Value:
        y = b.conv(b.conv(b.x, name="before"), 8)
        for step in steps:
            y = b(step, y)
        return y

    return make


CASES["mean of what was moved"] = Case(
    _moved(ops.Transpose((0, 2, 3, 1)), ops.Reduce("mean", (2, 3), True)),
    sqnr=22,
    floats=("Reduce",),
)
CASES["pool of what was moved"] = Case(
    _moved(ops.Transpose((0, 2, 3, 1)), ops.AveragePool((2, 2), (2, 2), (0,) * 4, (1, 1))),
    sqnr=26,
    floats=("AveragePool",),
)
CASES["functions of what was moved"] = Case(
    _moved(ops.Transpose((0, 2, 3, 1)), ops.Unary("hardswish"), ops.Unary("sigmoid")), sqnr=26
)


@case("matmul of what was moved", shape=(40,), batches=(3,), floats=("MatMul",), count=32)
def _(b: Build) -> Value:
    y = b(ops.MatMul(), b.x, b.random(40, 24, scale=0.15, name="w"), b.random(24))
    y = b(ops.Transpose((1, 0)), y)
    return b(ops.MatMul(), y, b.random(3, 5, name="v"), name="last")


@case("mean at the end", sqnr=26)
def _(b: Build) -> Value:
    return b(ops.Reduce("mean", (2, 3), False), b.relu(b.conv(b.x)), name="mean")


@case("mean 1-D", shape=(6, 20), sqnr=26)
def _(b: Build) -> Value:
    return b(ops.Reduce("mean", (2,), True), b.relu(b.conv(b.x, 8, (3,))), name="mean")


# -- moves ----------------------------------------------------------------------------------------


def _concat(first: Op | None, second: Op | None, axis: int) -> Callable[[Build], Value]:
    def make(b: Build) -> Value:
        y, z = b.conv(b.x), b.conv(b.x, name="second")
        y = y if first is None else b(first, y)
        z = b(ops.Binary("mul"), z, b.constant(5.0))
        z = z if second is None else b(second, z)
        return b.conv(b(ops.Concat(axis), y, z, name="joined"), 4, name="last")

    return make


CASES["concat"] = Case(_concat(None, None, 1), sqnr=28)
CASES["concat, relu with linear"] = Case(_concat(ops.Unary("relu"), None, 1), sqnr=28)
CASES["concat, relu with relu"] = Case(_concat(ops.Unary("relu"), ops.Unary("relu"), 1), sqnr=28)
CASES["concat, silu with sigmoid"] = Case(_concat(ops.Swish(1.0), ops.Unary("sigmoid"), 1), sqnr=26)
CASES["concat of rows"] = Case(_concat(ops.Unary("relu"), None, 2), sqnr=25)
CASES["concat of rows, relu"] = Case(_concat(ops.Unary("relu"), ops.Unary("relu"), 3), sqnr=25)


@case("concat with the input", sqnr=28)
def _(b: Build) -> Value:
    return b.conv(b(ops.Concat(1), b.x, b.relu(b.conv(b.x)), name="joined"), 4, name="last")


@case("concat at the end", sqnr=28)
def _(b: Build) -> Value:
    return b(ops.Concat(1), b.conv(b.x), b.relu(b.conv(b.x, name="second")), name="joined")


@case("concat with a constant", floats=("Concat",), batches=(1,))
def _(b: Build) -> Value:
    return b(ops.Concat(1), b.conv(b.x), b.random(1, 2, 10, 10), name="joined")


def _move(*steps: Op, relu: bool = False) -> Callable[[Build], Value]:
    def make(b: Build) -> Value:
        y = b.conv(b.x)
        y = b.relu(y) if relu else b(ops.Swish(1.0), y)
        for step in steps:
            y = b(step, y)
        return b.conv(y, 4, name="last")

    return make


CASES["slice of channels"] = Case(
    _move(ops.Slice((0, 1, 0, 0), (2, 7, 10, 10), (1, 2, 1, 1))), sqnr=28, batches=(2,)
)
CASES["slice of rows"] = Case(
    _move(ops.Slice((0, 0, 1, 9), (1, 8, 9, -1), (1, 1, 2, -1))), sqnr=28, batches=(1,)
)
CASES["pad"] = Case(_move(ops.Pad((0, 0, 1, 2, 0, 0, 3, 0))), sqnr=28)
CASES["pad, relu"] = Case(_move(ops.Pad((0, 0, 1, 2, 0, 0, 3, 0)), relu=True), sqnr=28)
CASES["pad of channels"] = Case(_move(ops.Pad((0, 1, 0, 0, 0, 2, 0, 0))), sqnr=28)
CASES["pad with the edge"] = Case(_move(ops.Pad((0, 0, 1, 2, 0, 0, 3, 0), "edge")), sqnr=28)
CASES["pad with a number"] = Case(
    _move(ops.Pad((0, 0, 1, 2, 0, 0, 3, 0), "constant", 1.5)), sqnr=28, floats=("Pad",)
)
CASES["transpose"] = Case(_move(ops.Transpose((0, 1, 3, 2))), sqnr=28)
CASES["transpose of channels"] = Case(_move(ops.Transpose((0, 2, 1, 3))), sqnr=28)
CASES["transpose there and back"] = Case(
    _move(ops.Transpose((0, 2, 3, 1)), ops.Transpose((0, 3, 1, 2))), sqnr=28
)
CASES["reshape"] = Case(_move(ops.Reshape((1, 8, 5, 20))), sqnr=28, batches=(1,))
CASES["reshape of channels"] = Case(_move(ops.Reshape((1, 4, 20, 10))), sqnr=28, batches=(1,))
CASES["shuffle"] = Case(
    _move(
        ops.Reshape((1, 2, 4, 10, 10)), ops.Transpose((0, 2, 1, 3, 4)), ops.Reshape((1, 8, 10, 10))
    ),
    sqnr=28,
    batches=(1,),
)
CASES["depth to space"] = Case(_move(ops.DepthToSpace(2)), sqnr=28)
CASES["space to depth"] = Case(_move(ops.SpaceToDepth(2)), sqnr=28)


@case("nearest resize", sqnr=28)
def _(b: Build) -> Value:
    op = ops.Resize((b.batch, 8, 20, 20), (1.0, 1.0, 2.0, 2.0), "nearest", "asymmetric", "floor")
    return b.conv(b(op, b.relu(b.conv(b.x))), 4, name="last")


@case("flat", sqnr=26, batches=(1, 2), shape=(6, 5, 5))
def _(b: Build) -> Value:
    y = b(ops.Reshape((b.batch, 200)), b.relu(b.conv(b.x)))
    return b(ops.MatMul(), y, b.random(200, 7, scale=0.07, name="w"), name="last")


# -- islands and odd graphs -----------------------------------------------------------------------


@case("softmax", floats=("Softmax",), sqnr=25)
def _(b: Build) -> Value:
    y = b(ops.Softmax(1), b.conv(b.x), name="soft")
    return b.conv(y, 4, name="last")


@case("softmax at the end", floats=("Softmax",), sqnr=28)
def _(b: Build) -> Value:
    return b(ops.Softmax(1), b.conv(b.relu(b.conv(b.x)), 4, name="last"), name="soft")


@case("several outputs", sqnr=28)
def _(b: Build) -> Sequence[Value]:
    y = b.relu(b.conv(b.x))
    z = b.conv(y, name="second")
    return [z, y, b.relu(z)]


@case("an input that is an output", refused="are inputs, too")
def _(b: Build) -> Sequence[Value]:
    return [b.conv(b.x), b.x]


@case("an output twice", refused="is an output twice")
def _(b: Build) -> Sequence[Value]:
    y = b.relu(b.conv(b.x))
    return [y, y]


@case("an output before its activation", sqnr=28)
def _(b: Build) -> Sequence[Value]:
    y = b.conv(b.x)
    return [y, b(ops.Unary("sigmoid"), y), b(ops.LeakyRelu(0.2), y)]


@case("a constant output")
def _(b: Build) -> Sequence[Value]:
    return [b.conv(b.x), b.constant([1.0, 2.0], "anchors")]


@case("shared weights", sqnr=28)
def _(b: Build) -> Value:
    w = b.random(6, 6, 3, 3, scale=0.15, name="w")
    op = ops.Conv((1, 1), (1,) * 4, (1, 1))
    y = b.relu(b(op, b.x, w, name="first"))
    return b(op, y, w, name="second")


@case("other types", floats=("Binary", "ArgReduce", "Where"), sqnr=23)
def _(b: Build) -> Sequence[Value]:
    y = b.conv(b.x)
    above = b(ops.Binary("gt"), y, b.constant(0.0), name="above")
    best = b(ops.ArgReduce("max", 1, True), y, name="best")
    return [above, best, b(ops.Where(), above, y, b.constant(-1.0), name="where")]


@case("unused branch", sqnr=28)
def _(b: Build) -> Value:
    y = b.relu(b.conv(b.x))
    b(ops.Unary("sigmoid"), y, name="nobody")
    return b.conv(y, 4, name="last")


@case("two inputs", sqnr=26)
def _(b: Build) -> Value:
    other = b.input("other", (8, 10, 10))
    y = b(ops.Binary("add"), b.conv(b.x), other, name="sum")
    return b.conv(b.relu(y), 4, name="last")


@case("an integer input", floats=("Binary", "Cast"), sqnr=26)
def _(b: Build) -> Sequence[Value]:
    number = b.graph.input("number", DType.I32, (1,))
    y = b.conv(b.x)
    scaled = b(ops.Binary("mul"), y, b(ops.Cast(DType.F32), number, name="cast"), name="scaled")
    return [b.conv(scaled, 4, name="last")]
