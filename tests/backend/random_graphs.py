"""Random small networks from a seed: chains and branches of most operators.

Values that are exact (moved, compared, cut, not computed) are remembered: what jumps at a
threshold reads only those, so that a last-place difference cannot change a result by much.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph, Op, Value

MOST_ELEMENTS = 60_000
SMOOTH = ["sigmoid", "tanh", "softsign", "erf", "sin", "cos", "atan", "gelu", "silu", "hardswish",
          "softplus", "mish"]  # fmt: skip
EXACT = ["relu", "neg", "abs"]
STEPS = ["floor", "ceil", "round", "sign", "trunc"]


class Maker:
    """Builds one network.

    Attributes:
        pool: fp32 values that operators may read.
        exact: those of them that the chip computes to the bit.
        loose: integers that become outputs.
    """

    def __init__(self, seed: int, nodes: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph(f"random{seed}")
        self.pool: list[Value] = []
        self.exact: set[Value] = set()
        self.loose: list[Value] = []
        self.arrays: dict[str, np.ndarray] = {}
        for number in range(self.pick(1, 1, 2, 3)):
            self.input(f"x{number}", self.shape())
        while len(self.graph.nodes) < nodes:
            self.step()
        self.finish()

    def input(self, name: str, shape: tuple[int, ...]) -> None:
        """Of fp32, or rarely of another type, which is cast."""
        dtype = self.pick(*[DType.F32] * 8, DType.U8, DType.I8, DType.BOOL, DType.I32, DType.I64)
        value = self.graph.input(name, dtype, shape)
        data = self.rng.uniform(-2, 2, shape)
        if dtype is not DType.F32:
            data = np.floor(np.abs(data) if dtype is DType.U8 else data)
        self.arrays[name] = np.asarray(data).astype(dtype.numpy)
        if dtype is not DType.F32:
            value = self.graph.add(ops.Cast(DType.F32), value).output
        self.pool.append(value)
        self.exact.add(value)

    # -- choices ----------------------------------------------------------------------------

    def pick(self, *choices):
        return choices[int(self.rng.integers(len(choices)))]

    def number(self, low: int, high: int) -> int:
        """low ... high, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def shape(self) -> tuple[int, ...]:
        """Of an input; images are most frequent."""
        kind = self.pick(4, 4, 4, 4, 3, 2, 1, 5)
        if kind == 4:
            side = self.pick(1, 5, 8, 13, 30)
            return (self.pick(1, 1, 2, 3), self.pick(1, 3, 8, 17, 64, 65, 130), side,
                    self.pick(side, 1, 7, 20))  # fmt: skip
        return tuple(self.pick(1, 2, 3, 6, 10, 33) for _ in range(kind))

    def any(self, test: Callable[[Value], bool] = lambda v: True) -> Value | None:
        """A value that passes the test; recent ones are more likely."""
        fitting = [v for v in self.pool if test(v)]
        if not fitting:
            return None
        recent = fitting[-4:] if self.chance(0.7) else fitting
        return self.pick(*recent)

    def constant(self, *shape: int, low: float = -1, high: float = 1) -> Value:
        return self.graph.constant(self.rng.uniform(low, high, shape).astype(np.float32))

    def add(self, op: Op, *inputs: Value | None, exact: bool = False) -> Value | None:
        """Append a node and put its result into the pool."""
        types = op.infer(*(None if v is None else v.type for v in inputs))
        if not 0 < types[0].size <= MOST_ELEMENTS:
            return None
        value = self.graph.add(op, *inputs).output
        self.pool.append(value)
        if exact and all(v is None or v.is_constant or v in self.exact for v in inputs):
            self.exact.add(value)
        return value

    # -- operators --------------------------------------------------------------------------

    def step(self) -> None:
        self.pick(
            self.unary, self.unary, self.activation, self.binary, self.binary, self.residual,
            self.convolution, self.convolution, self.transposed, self.pool_layer, self.product,
            self.products, self.reduction, self.normalise, self.reshape, self.transpose,
            self.slice, self.concat, self.pad, self.widen, self.resize, self.gather, self.compare,
            self.softmax, self.blocks, self.top, self.integers,
        )()  # fmt: skip

    def unary(self) -> None:
        x = self.any()
        fn = self.pick(*SMOOTH, *EXACT)
        if self.chance(0.1):
            x = self.any(lambda v: v in self.exact)
            fn = self.pick(*STEPS)
        if x is not None and fn in ("sin", "cos"):
            # Large arguments would make large differences of small ones.
            x = self.add(ops.Clip(-3, 3), x, exact=True)
        if x is not None:
            self.add(ops.Unary(fn), x, exact=fn in EXACT + STEPS)

    def activation(self) -> None:
        x = self.any()
        op = self.pick(
            ops.LeakyRelu(0.1), ops.Elu(), ops.Selu(), ops.HardSigmoid(), ops.Swish(1.5),
            ops.Clip(-1, 2), ops.Clip(0, 6), ops.Celu(1.5),
        )  # fmt: skip
        self.add(op, x, exact=isinstance(op, ops.Clip))

    def binary(self) -> None:
        x = self.any()
        assert x is not None
        shape = [s if self.chance(0.5) else 1 for s in x.shape]
        shape = shape[self.number(0, len(shape)) :]
        fn = self.pick("add", "sub", "mul", "max", "min", "div")
        other = self.constant(*shape, low=0.5 if fn == "div" else -1, high=1.5)
        sides = (x, other) if self.chance(0.7) or fn == "div" else (other, x)
        self.add(ops.Binary(fn), *sides, exact=fn in ("max", "min"))

    def residual(self) -> None:
        x = self.any()
        assert x is not None

        def fits(v: Value) -> bool:
            try:
                return math.prod(np.broadcast_shapes(v.shape, x.shape)) <= MOST_ELEMENTS
            except ValueError:
                return False

        y = self.any(fits)
        if y is not None:
            fn = self.pick("add", "add", "mul", "sub", "max")
            self.add(ops.Binary(fn), x, y, exact=fn == "max")

    def images(self, least: int = 1) -> Value | None:
        return self.any(lambda v: len(v.shape) == 4 and min(v.shape[2:]) >= least)

    def convolution(self) -> None:
        x = self.images() if self.chance(0.85) else self.any(lambda v: len(v.shape) in (3, 5))
        if x is None:
            return
        c = x.shape[1]
        group = c if self.chance(0.3) else self.pick(*(g for g in (1, 1, 2, 4) if c % g == 0))
        out = group * self.pick(1, 1, 2, 3) if group > 1 else self.pick(1, 4, 16, 64, 70)
        kernel = tuple(min(self.pick(1, 1, 2, 3, 3, 5), s) for s in x.shape[2:])
        strides = tuple(self.pick(1, 1, 2, 3) for _ in kernel)
        pads = tuple(self.number(0, k // 2) for k in (*kernel, *kernel))
        dilations = tuple(
            2 if k > 1 and 2 * k - 1 <= s and self.chance(0.2) else 1
            for k, s in zip(kernel, x.shape[2:], strict=True)
        )
        w = self.weight(out, c // group, *kernel, terms=c // group * math.prod(kernel))
        bias = self.constant(out) if self.chance(0.5) else None
        self.add(ops.Conv(strides, pads, dilations, group), x, w, *([bias] if bias else []))
        if self.chance(0.5) and self.pool[-1] is not x:
            self.add(ops.Unary("relu"), self.pool[-1])

    def weight(self, *shape: int, terms: int) -> Value:
        """So small that results are as large as operands; sometimes computed at run time."""
        w = self.constant(*shape, low=-1.7 / math.sqrt(terms), high=1.7 / math.sqrt(terms))
        if self.chance(0.1) and w.type.size < 2000:
            made = self.graph.add(ops.Binary("add"), w, self.zero())
            return made.output
        return w

    def zero(self) -> Value:
        """A computed 0."""
        x = self.pool[0]
        low = ops.Reduce("min", tuple(range(len(x.shape))), False)
        least = self.graph.add(low, x).output
        return self.graph.add(ops.Binary("sub"), least, least).output

    def transposed(self) -> None:
        x = self.images()
        if x is None:
            return
        c = x.shape[1]
        group = self.pick(1, 1, c)
        out = self.pick(1, 4, 20) if group == 1 else 1
        kernel = (self.pick(1, 2, 3), self.pick(1, 2, 3))
        strides = (self.pick(1, 2), self.pick(1, 2, 3))
        w = self.weight(c, out, *kernel, terms=c // group)
        op = ops.ConvTranspose(strides, (0, 0, 0, 0), (1, 1), group, (0, strides[1] - 1))
        self.add(op, x, w)

    def pool_layer(self) -> None:
        x = self.images(least=2)
        if x is None:
            return
        kernel = (self.pick(1, 2, 3), self.pick(2, 3))
        kernel = tuple(min(k, s) for k, s in zip(kernel, x.shape[2:], strict=True))
        pads = tuple(self.number(0, k - 1) // 2 for k in (*kernel, *kernel))
        strides = (self.pick(1, 2), self.pick(1, 2, 3))
        ceil = self.chance(0.3)
        if self.chance(0.5):
            self.add(ops.MaxPool(kernel, strides, pads, (1, 1), ceil), x, exact=True)
        else:
            self.add(ops.AveragePool(kernel, strides, pads, (1, 1), ceil, self.chance(0.5)), x)

    def product(self) -> None:
        """A matrix of weights."""
        x = self.any(lambda v: len(v.shape) >= 2)
        if x is None:
            return
        k, n = x.shape[-1], self.pick(1, 5, 40, 130)
        turned = self.chance(0.3)
        w = self.weight(*((n, k) if turned else (k, n)), terms=k)
        bias = [self.constant(n)] if self.chance(0.5) else []
        self.add(ops.MatMul(False, turned), x, w, *bias)

    def products(self) -> None:
        """Of a value with itself, as attention has it."""
        x = self.any(lambda v: len(v.shape) >= 2 and v.type.size < 20_000)
        if x is None:
            return
        if x.type.size * x.shape[-2] // x.shape[-1] > MOST_ELEMENTS:
            return
        y = self.graph.add(ops.MatMul(False, True), x, x).output
        scaled = self.add(ops.Binary("mul"), y, self.graph.constant(np.float32(1 / x.shape[-1])))
        if scaled is not None:
            self.tame(scaled)

    def tame(self, x: Value) -> None:
        """Squares of squares grow without end; a quarter of the products is cut."""
        if self.chance(0.5):
            self.add(ops.Clip(-4, 4), x, exact=True)

    def axes(self, x: Value) -> tuple[int, ...]:
        found = tuple(a for a in range(len(x.shape)) if self.chance(0.5))
        return found or (self.number(0, len(x.shape) - 1),)

    def reduction(self) -> None:
        x = self.any(lambda v: len(v.shape) > 0)
        if x is None:
            return
        fn = self.pick("mean", "mean", "max", "min", "l2", "sum", "log_sum_exp")
        y = self.add(ops.Reduce(fn, self.axes(x), self.chance(0.7)), x, exact=fn in ("max", "min"))
        if fn in ("sum", "l2") and y is not None:
            self.add(
                ops.Binary("mul"), y, self.graph.constant(np.float32(y.type.size / x.type.size))
            )

    def normalise(self) -> None:
        x = self.any(lambda v: len(v.shape) >= 2)
        if x is None:
            return
        kind = self.number(0, 3)
        c = x.shape[1]
        if kind == 0:
            axis = self.number(1, len(x.shape) - 1)
            inner = x.shape[axis:]
            self.add(ops.LayerNorm(axis, 0.1), x, self.constant(*inner), self.constant(*inner))
        elif kind == 1 and len(x.shape) >= 3:
            self.add(ops.InstanceNorm(0.1), x, self.constant(c), self.constant(c))
        elif kind == 2:
            var = self.constant(c, low=0.5, high=2)
            self.add(ops.BatchNorm(), x, *(self.constant(c) for _ in range(3)), var)
        else:
            self.add(ops.GroupNorm(self.pick(1, c), 0.1), x, self.constant(c), self.constant(c))

    def softmax(self) -> None:
        x = self.any(lambda v: len(v.shape) > 0)
        if x is not None:
            self.add(self.pick(ops.Softmax, ops.Softmax, ops.LogSoftmax)(
                self.number(0, len(x.shape) - 1)), x)  # fmt: skip

    def reshape(self) -> None:
        x = self.any()
        assert x is not None
        left, shape = x.type.size, []
        for _ in range(self.number(0, 3)):
            divisors = [d for d in range(1, min(left, 130) + 1) if left % d == 0]
            shape.append(self.pick(*divisors))
            left //= shape[-1]
        shape.insert(self.number(0, len(shape)), left)
        self.add(ops.Reshape(tuple(shape)), x, exact=True)

    def transpose(self) -> None:
        x = self.any(lambda v: len(v.shape) > 1)
        if x is not None:
            perm = tuple(int(p) for p in self.rng.permutation(len(x.shape)))
            self.add(ops.Transpose(perm), x, exact=True)

    def slice(self) -> None:
        x = self.any(lambda v: len(v.shape) > 0)
        if x is None:
            return
        starts, ends, steps = [], [], []
        for size in x.shape:
            step = self.pick(1, 1, 1, 2, 3, -1, -2)
            low, high = sorted((self.number(0, size - 1), self.number(0, size - 1)))
            if self.chance(0.5):
                low, high = 0, size - 1
            starts.append(low if step > 0 else high)
            ends.append(high + 1 if step > 0 else low - 1)
            steps.append(step)
        self.add(ops.Slice(tuple(starts), tuple(ends), tuple(steps)), x, exact=True)

    def concat(self) -> None:
        x = self.any(lambda v: len(v.shape) > 0)
        if x is None:
            return
        axis = self.number(0, len(x.shape) - 1)

        def fits(v: Value) -> bool:
            return len(v.shape) == len(x.shape) and all(
                a == b or i == axis for i, (a, b) in enumerate(zip(v.shape, x.shape, strict=True))
            )

        parts: list[Value] = [x]
        for _ in range(self.number(1, 3)):
            part = self.any(fits)
            assert part is not None
            parts.append(part)
        if self.chance(0.2):
            parts.insert(0, self.constant(*x.shape))
        self.add(ops.Concat(axis), *parts, exact=True)

    def pad(self) -> None:
        x = self.any(lambda v: len(v.shape) > 0)
        if x is None:
            return
        mode = self.pick("constant", "constant", "edge", "reflect", "wrap")
        most = [s - 1 if mode in ("reflect", "wrap") else 3 for s in x.shape]
        pads = tuple(self.number(0, min(m, 3)) if self.chance(0.5) else 0 for m in most + most)
        self.add(ops.Pad(pads, mode, self.pick(0.0, 1.5)), x, exact=True)

    def widen(self) -> None:
        x = self.any(lambda v: v.type.size < 5000)
        if x is None:
            return
        if self.chance(0.5):
            repeats = tuple(self.pick(1, 1, 2, 3) for _ in x.shape)
            self.add(ops.Tile(repeats), x, exact=True)
        else:
            shape = [self.number(2, 5) if s == 1 and self.chance(0.5) else s for s in x.shape]
            extra = [self.number(1, 3)] if self.chance(0.3) else []
            self.add(ops.Expand((*extra, *shape)), x, exact=True)

    def resize(self) -> None:
        x = self.images()
        if x is None:
            return
        mode = self.pick("nearest", "linear", "cubic")
        scales = (1.0, 1.0, self.pick(1.0, 2.0, 0.5), self.pick(1.0, 2.0, 3.0))
        sizes = tuple(int(s * f) for s, f in zip(x.shape, scales, strict=True))
        self.add(ops.Resize(sizes, scales, mode, "asymmetric", "floor"), x, exact=mode == "nearest")

    def gather(self) -> None:
        x = self.any(lambda v: len(v.shape) > 0)
        if x is None:
            return
        axis = self.number(0, len(x.shape) - 1)
        size = x.shape[axis]
        index = self.rng.integers(-size, size, self.pick((), (1,), (5,), (2, 3)))
        indices = self.graph.constant(np.asarray(index, np.int64))
        self.add(ops.Gather(axis), x, indices, exact=True)

    def compare(self) -> None:
        """A choice between two values by a condition on an exact one."""
        x = self.any(lambda v: v in self.exact)
        if x is None:
            return
        y = self.any(lambda v: v.shape == x.shape)
        limit = self.graph.constant(np.float32(self.rng.uniform(-1, 1)))
        fn = self.pick("gt", "ge", "lt", "le", "eq", "ne")
        mask = self.graph.add(ops.Binary(fn), x, limit).output
        if self.chance(0.3):
            self.add(ops.Cast(DType.F32), mask, exact=True)
            self.exact.add(self.pool[-1])
        else:
            self.add(ops.Where(), mask, x, y)

    def integers(self) -> None:
        """Cut to whole numbers, calculated with, and turned back."""
        x = self.any(lambda v: v in self.exact)
        if x is None:
            return
        small = self.add(ops.Clip(-9, 9), x, exact=True)
        if small is None:
            return
        y = self.graph.add(ops.Cast(self.pick(DType.I32, DType.I64, DType.I8)), small).output
        for _ in range(self.number(1, 2)):
            fn = self.pick("add", "mul", "max", "div", "mod", "bitand", "bitxor", "sub")
            size = self.pick((), x.shape[-1:])
            other = self.rng.integers(1, 4, size).astype(y.dtype.numpy)
            y = self.graph.add(ops.Binary(fn), y, self.graph.constant(np.asarray(other))).output
        if self.chance(0.3):
            self.loose.append(y)
        self.add(ops.Cast(DType.F32), y)
        self.exact.add(self.pool[-1])

    def blocks(self) -> None:
        x = self.any(lambda v: len(v.shape) == 4 and v.shape[1] % 4 == 0)
        if x is not None and self.chance(0.5):
            self.add(ops.DepthToSpace(2, self.pick("DCR", "CRD")), x, exact=True)
            return
        x = self.any(lambda v: len(v.shape) == 4 and v.shape[2] % 2 == 0 and v.shape[3] % 2 == 0)
        if x is not None:
            self.add(ops.SpaceToDepth(2), x, exact=True)

    def top(self) -> None:
        """A CPU layer, rarely."""
        x = self.any(lambda v: v in self.exact and len(v.shape) > 0)
        if x is not None and self.chance(0.3):
            axis = self.number(0, len(x.shape) - 1)
            k = self.number(1, x.shape[axis])
            self.add(ops.TopK(k, axis, self.chance(0.7)), x, exact=True)

    # -- the network's outputs --------------------------------------------------------------

    def finish(self) -> None:
        """What nobody reads, and some of the others."""
        read = {v for n in self.graph.nodes for v in n.operands}
        made = [v for v in self.pool if v.producer is not None]
        self.graph.outputs = [v for v in made if v not in read or self.chance(0.15)]
        self.graph.outputs += self.loose
        self.graph.prune()


def random_graph(seed: int, nodes: int = 12) -> tuple[Graph, dict[str, np.ndarray]]:
    """A network and arrays for its inputs."""
    maker = Maker(seed, nodes)
    return maker.graph, maker.arrays
