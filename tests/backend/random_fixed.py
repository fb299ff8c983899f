"""Random small int8 networks from a seed: chains and branches of what a quantiser writes.

Everything is exact, islands of fp32 included: those use only operations that the chip rounds as
NumPy does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph, Op, Value

MOST_ELEMENTS = 60_000
BYTE = (DType.I8, DType.U8)


class Maker:
    """Builds one network; ``pool`` holds the 8-bit values that operators may read."""

    def __init__(self, seed: int, nodes: int, batch: int | None = None) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph(f"fixed{seed}")
        self.pool: list[Value] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.batch = batch or self.pick(1, 1, 1, 2, 3, 4, 4, 5, 8)
        for number in range(self.pick(1, 1, 2)):
            self.input(f"x{number}")
        for _ in range(8 * nodes):
            if len(self.graph.nodes) < nodes:
                self.step()
        self.finish()

    # -- choices ----------------------------------------------------------------------------

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def number(self, low: int, high: int) -> int:
        """low ... high, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def shape(self) -> tuple[int, ...]:
        if self.chance(0.1):
            return (self.batch, self.pick(1, 6, 65), self.pick(1, 9, 30))
        side = self.pick(1, 4, 7, 12, 20)
        c = self.pick(1, 3, 4, 8, 17, *((64, 65, 130) if side < 12 else (16,)))
        return (self.batch, c, side, self.pick(side, 1, 5))

    def any(self, rank: int = 0, dtype: DType | None = None) -> Value | None:
        """A value; recent ones are more likely."""
        fitting = [
            v
            for v in self.pool
            if rank in (0, len(v.shape)) and (dtype is None or v.dtype is dtype)
        ]
        if not fitting:
            return None
        return self.pick(*(fitting[-4:] if self.chance(0.7) else fitting))

    def like(self, x: Value) -> Value:
        """Another value of the same shape, or the same one."""
        return self.pick(*(v for v in self.pool if v.shape == x.shape))

    def array(self, dtype: DType, *shape: int) -> np.ndarray:
        limits = np.iinfo(dtype.numpy.name)
        return self.rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype.numpy)

    def constant(self, dtype: DType, *shape: int) -> Value:
        return self.graph.constant(self.array(dtype, *shape))

    def floats(self, low: float, high: float, *shape: int) -> Value:
        return self.graph.constant(self.rng.uniform(low, high, shape).astype(np.float32))

    def zero(self, dtype: DType) -> int:
        """The integer that stands for 0."""
        return int(self.array(dtype)) if self.chance(0.4) else 0

    def offsets(self, *shape: int) -> Value:
        """For 16-bit sums; sometimes of the whole range."""
        if self.chance(0.3):
            return self.constant(DType.I16, *shape)
        return self.graph.constant(self.rng.integers(-9000, 9000, shape).astype(np.int16))

    def add(self, op: Op, *inputs: Value) -> Value | None:
        """Append a node unless its result is too large; 8-bit results go into the pool."""
        types = op.infer(*(v.type for v in inputs))
        if not 0 < types[0].size <= MOST_ELEMENTS:
            return None
        value = self.graph.add(op, *inputs).output
        if value.dtype in BYTE:
            self.pool.append(value)
        return value

    # -- operators --------------------------------------------------------------------------

    def input(self, name: str) -> None:
        shape = self.shape()
        dtype = self.pick(DType.F32, DType.F32, *BYTE)
        value = self.graph.input(name, dtype, shape)
        if dtype is DType.F32:
            self.arrays[name] = self.rng.uniform(-3, 3, shape).astype(np.float32)
            self.quantize(value)
        else:
            self.arrays[name] = self.array(dtype, *shape)
            self.pool.append(value)

    def step(self) -> None:
        self.pick(
            self.convolution, self.convolution, self.convolution, self.transposed, self.sum,
            self.sum, self.affine, self.affine, self.product, self.product, self.gate, self.table,
            self.table, self.pooling, self.extreme, self.concat, self.slice, self.move, self.move,
            self.pad, self.resize, self.island, self.other_batch,
        )()  # fmt: skip

    def quantize(self, x: Value) -> None:
        axis = self.pick(0, 1, 1, 1)
        factors = (x.shape[axis],) if self.chance(0.5) and len(x.shape) > axis else ()
        to = self.pick(*BYTE)
        self.add(ops.Quantize(to, axis, self.zero(to)), x, self.floats(20, 90, *factors))

    def _weights(self, x: Value, *shape: int) -> tuple[Value, int, int]:
        """Weights, and shifts with which their sums use most of 8 bits."""
        w = self.constant(self.pick(DType.I8, DType.I8, DType.I8, DType.U8), *shape)
        terms = int(np.prod(shape)) // shape[0]
        shift = round(6.5 + np.log2(terms) / 2) + self.number(-1, 1)
        narrow = self.number(1, 6) if self.chance(0.2) else 0
        return w, max(shift - narrow, 0), narrow

    def convolution(self) -> None:
        x = self.any(self.pick(4, 4, 4, 3))
        if x is None:
            return
        spatial = len(x.shape) - 2
        c = x.shape[1]
        group = self.pick(1, 1, 1, c, 2 if c % 2 == 0 else 1)
        m = self.pick(c, c, 2 * c, group * self.pick(1, 3, 32, 65 if group == 1 else 2))
        if m % group or m > 300:
            return
        kernel = [min(self.pick(1, 3, 3, 2, 5), size + 2) for size in x.shape[2:]]
        pads = [self.pick(0, min(k - 1, 1), k - 1) for k in kernel * 2]
        strides = tuple(self.pick(1, 1, 2, 3) for _ in range(spatial))
        dilations = tuple(self.pick(1, 1, 2) if k <= 2 else 1 for k in kernel)
        if any(
            s + pads[i] + pads[spatial + i] < (k - 1) * d + 1
            for i, (s, k, d) in enumerate(zip(x.shape[2:], kernel, dilations, strict=True))
        ):
            return
        w, shift, narrow = self._weights(x, m, c // group, *kernel)
        bias = [self.constant(DType.I16, m)] if narrow or self.chance(0.7) else []
        to = self.pick(*BYTE)
        zero = self.zero(x.dtype)
        op = ops.FixConv(strides, tuple(pads), dilations, group, shift, to, narrow, zero)
        self.add(op, x, w, *bias)

    def transposed(self) -> None:
        x = self.any(4)
        if x is None or x.type.size > MOST_ELEMENTS // 8:
            return
        c = x.shape[1]
        group = self.pick(1, 1, c)
        m = group if group > 1 else self.pick(3, 8, 66)
        k, s = self.pick((2, 2), (3, 2), (4, 2), (1, 1))
        w, shift, narrow = self._weights(x, c, m // group, k, k)
        extra = self.pick(0, s - 1)
        op = ops.FixConvTranspose(
            (s, s), (k // 3,) * 4, (1, 1), group, (extra, extra), shift, self.pick(*BYTE), narrow
        )
        self.add(op, x, w, self.constant(DType.I16, m))

    def sum(self) -> None:
        x = self.any()
        if x is None:
            return
        axis = self.number(0, len(x.shape) - 1)
        factors = (x.shape[axis],) if self.chance(0.5) else ()
        ka, kb = self.constant(DType.I8, *factors), self.constant(DType.I8, *factors)
        shift = self.pick(1, 5, 7, 8, 8, 9)
        offset = [self.offsets(*factors)] if self.chance(0.4) else []
        self.add(ops.FixSum(shift, self.pick(*BYTE), axis), x, ka, self.like(x), kb, *offset)

    def affine(self) -> None:
        x = self.any()
        if x is None:
            return
        axis = self.number(0, len(x.shape) - 1)
        factors, more = ((x.shape[axis],) if self.chance(0.7) else () for _ in range(2))
        op = ops.FixAffine(self.pick(0, 5, 6, 7, 8, 9), self.pick(*BYTE), axis)
        self.add(op, x, self.constant(DType.I8, *factors), self.offsets(*more))

    def _multiply(self, x: Value, y: Value) -> None:
        if y.dtype is DType.I8 and self.chance(0.5):
            zero = self.number(0, 127)
            zero = self.pick(0, zero, -zero if x.dtype is DType.I8 else 128 + zero)
            axis = self.number(0, len(x.shape) - 1)
            sizes = self.pick((), x.shape[axis : axis + 1])
            offset = [self.offsets(*sizes)] if not zero or self.chance(0.6) else []
            op = ops.FixMul(self.number(4, 8), self.pick(*BYTE), zero, axis)
            self.add(op, x, y, *offset)
            return
        unsigned = x.dtype is y.dtype is DType.U8
        self.add(ops.FixMul(self.number(4, 8), DType.U8 if unsigned else DType.I8), x, y)

    def product(self) -> None:
        x = self.any()
        if x is not None:
            self._multiply(x, self.like(x))

    def gate(self) -> None:
        """A product with one number a channel, of the network or constant."""
        x = self.any(4)
        if x is None:
            return
        n, c, h, w = x.shape
        if self.chance(0.5) and h * w > 1 and h * w < 200:
            weight = self.constant(DType.I8, c, 1, h, w)
            op = ops.FixConv((1, 1), (0,) * 4, (1, 1), c, 7, self.pick(*BYTE))
            y = self.add(op, x, weight)
            if y is not None:
                self._multiply(x, y)
        else:
            shape = self.pick((c, 1, 1), (n, c, 1, 1), (1, 1, h, w), ())
            self._multiply(x, self.constant(self.pick(*BYTE), *shape))

    def table(self) -> None:
        x = self.any()
        if x is not None:
            self.add(ops.Lut(), x, self.constant(self.pick(*BYTE), 256))

    def pooling(self) -> None:
        x = self.any(self.pick(4, 4, 3))
        if x is None:
            return
        spatial = len(x.shape) - 2
        kernel = tuple(min(self.pick(2, 3), size) for size in x.shape[2:])
        pads = tuple(self.pick(0, k // 2) for k in kernel * 2)
        strides = tuple(self.pick(1, 2) for _ in range(spatial))
        op = ops.MaxPool(kernel, strides, pads, (1,) * spatial, self.chance(0.3))
        self.add(op, x)

    def extreme(self) -> None:
        x = self.any()
        if x is None:
            return
        others = [v for v in self.pool if v.shape == x.shape and v.dtype is x.dtype]
        y = self.pick(*others) if self.chance(0.5) else self.constant(x.dtype, x.shape[-1])
        self.add(ops.Binary(self.pick("max", "min")), x, y)

    def concat(self) -> None:
        x = self.any()
        if x is None or len(x.shape) < 2:
            return
        axis = self.pick(*range(1, len(x.shape)), 1)
        rest = [s for a, s in enumerate(x.shape) if a != axis]
        parts = [
            v
            for v in self.pool
            if v.dtype is x.dtype
            and len(v.shape) == len(x.shape)
            and [s for a, s in enumerate(v.shape) if a != axis] == rest
        ]
        self.add(ops.Concat(axis), x, *(self.pick(*parts) for _ in range(self.number(1, 2))))

    def slice(self) -> None:
        x = self.any()
        if x is None:
            return
        axis = self.number(0 if self.chance(0.1) else min(1, len(x.shape) - 1), len(x.shape) - 1)
        size = x.shape[axis]
        start = self.number(0, size - 1)
        stop = self.number(start + 1, size)
        step = self.pick(1, 1, 2)
        self.add(
            ops.Slice(
                tuple(start if a == axis else 0 for a in range(len(x.shape))),
                tuple(stop if a == axis else s for a, s in enumerate(x.shape)),
                tuple(step if a == axis else 1 for a in range(len(x.shape))),
            ),
            x,
        )

    def move(self) -> None:
        """Transpose, reshape, gather, blocks of pixels, repetition."""
        x = self.any()
        if x is None or len(x.shape) < 2:
            return
        rank = len(x.shape)
        kind = self.pick("transpose", "reshape", "gather", "blocks", "tile", "unblock")
        if kind == "transpose":
            rest = list(self.rng.permutation(np.arange(1, rank)))
            self.add(ops.Transpose((0, *map(int, rest))), x)
        elif kind == "reshape":
            c, *rest = x.shape[1:]
            flat = (x.shape[0], c * int(np.prod(rest)))
            half = (x.shape[0], c // 2, 2, *rest) if c % 2 == 0 else (x.shape[0], 1, c, *rest)
            self.add(ops.Reshape(self.pick(flat, half)), x)
        elif kind == "gather":
            axis = self.number(1, rank - 1)
            index = self.rng.integers(0, x.shape[axis], self.number(1, 5))
            self.add(ops.Gather(axis), x, self.graph.constant(index.astype(np.int64)))
        elif kind == "tile":
            self.add(ops.Tile((1, *(self.pick(1, 1, 2) for _ in range(rank - 1)))), x)
        elif rank == 4 and kind == "blocks" and not (x.shape[2] % 2 or x.shape[3] % 2):
            self.add(ops.SpaceToDepth(2), x)
        elif rank == 4 and kind == "unblock" and x.shape[1] % 4 == 0:
            self.add(ops.DepthToSpace(2, self.pick("DCR", "CRD")), x)

    def pad(self) -> None:
        x = self.any()
        if x is None or len(x.shape) < 2:
            return
        rank = len(x.shape)
        pads = [0] * (2 * rank)
        for axis in range(1, rank):
            pads[axis], pads[rank + axis] = self.pick(0, 1), self.pick(0, 2, -1)
            if x.shape[axis] < 3:
                pads[axis] = pads[rank + axis] = 0
        value = float(self.array(x.dtype)) if self.chance(0.7) else 0.0
        mode = self.pick("constant", "constant", "edge", "reflect")
        self.add(ops.Pad(tuple(pads), mode, value if mode == "constant" else 0.0), x)

    def resize(self) -> None:
        x = self.any(4)
        if x is None:
            return
        n, c, h, w = x.shape
        self.add(ops.Resize((n, c, 2 * h, 3 * w), (1.0, 1.0, 2.0, 3.0), "nearest"), x)

    def other_batch(self) -> None:
        """A reshape that moves samples: nothing the words can do."""
        x = self.any()
        if x is None or len(x.shape) < 3 or not self.chance(0.3):
            return
        n, c, *rest = x.shape
        y = self.add(ops.Reshape((n * c, *rest)), x)
        if y is not None and self.chance(0.8):
            table = self.add(ops.Lut(), y, self.constant(DType.I8, 256))
            if table is not None:
                self.add(ops.Reshape(x.shape), table)

    def island(self) -> None:
        """Exact operations on fp32 between two conversions."""
        x = self.any()
        if x is None:
            return
        axis = self.number(0, len(x.shape) - 1)
        factors = (x.shape[axis],) if self.chance(0.5) else ()
        op = ops.Dequantize(axis, self.zero(x.dtype))
        y = self.graph.add(op, x, self.floats(0.01, 0.1, *factors)).output
        for _ in range(self.number(0, 3)):
            op, *more = self.pick(
                (ops.Unary("relu"),),
                (ops.Unary("neg"),),
                (ops.Clip(-1.0, 2.0),),
                (ops.Binary("mul"), self.floats(0.5, 2)),
                (ops.Binary("add"), self.floats(-1, 1, *y.shape[-1:])),
            )
            y = self.graph.add(op, y, *more).output
        if self.chance(0.1):
            self.graph.outputs.append(y)
        self.quantize(y)

    def finish(self) -> None:
        """Outputs: what nobody reads."""
        used = {v for n in self.graph.nodes for v in n.operands}
        self.graph.outputs += [v for v in self.pool if v not in used and v.producer is not None]
        if not self.graph.outputs:
            self.graph.outputs.append(self.pool[-1])
        last = self.graph.outputs[-1]
        y = self.graph.add(ops.Dequantize(), last, self.floats(0.01, 0.1)).output
        self.graph.outputs.append(y)


def random_fixed(
    seed: int, nodes: int, batch: int | None = None
) -> tuple[Graph, dict[str, np.ndarray]]:
    made = Maker(seed, nodes, batch)
    return made.graph, made.arrays
