"""Builds the graph while a model is read; operators on constants are evaluated at once.

Because constants fold as they appear, the shape arithmetic of a model (Shape, Gather, Concat, ...)
never becomes an operator of the network.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError, UserError
from nntc.frontends import limits
from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Op, TensorType, Value
from nntc.passes.fold_constants import is_cheap

log = logging.getLogger("nntc")

Number = int | float | bool


class Builder:
    """A graph under construction, and shorthands for the common operators.

    ``label`` is the node of the user's model that is being read: it names the operators made for
    it, and their ``source``.

    Args:
        reserved: the model's own names, which values made on the way must not take.
    """

    def __init__(self, name: str, reserved: Iterable[str] = ()) -> None:
        self.graph = Graph(name)
        self.label = ""
        self.source = ""
        # Values without a name of the user's model; the first such name bound to one becomes its.
        self.unnamed: set[Value] = set()
        self._taken: dict[str, int] = dict.fromkeys(reserved, 0)
        self._fold_left = limits.FOLD_TOTAL_BYTES

    # -- operators --------------------------------------------------------------------------

    def multi(self, op: Op, *inputs: Value | None) -> list[Value]:
        """All results of *op*, evaluated now if every operand is a constant.

        Raises:
            ModelError: the operator's shape rule refuses, or a result is too large.
        """
        types = op.infer(*(None if v is None else v.type for v in inputs))
        for kind in types:
            limits.check_bytes(kind.shape, kind.dtype, limits.TENSOR_BYTES, "a result")
        # A tensor without elements is known whatever the network's inputs are.
        if all(kind.size == 0 for kind in types):
            return [self.const(np.empty(kind.shape, kind.dtype.numpy)) for kind in types]
        if all(v is None or v.data is not None for v in inputs):
            folded = self._fold(op, inputs, types)
            if folded is not None:
                return folded
        if len(self.graph.nodes) >= limits.NODES:
            raise ModelError(
                f"the network has more than {limits.NODES} operators after unrolling loops"
            )
        label = self.fresh(f"{self.label}/{op.name}" if self.label else op.name)
        outputs = [Value(label if i == 0 else f"{label}.{i}", kind) for i, kind in enumerate(types)]
        self.unnamed.update(outputs)
        self.graph.nodes.append(Node(op, inputs, outputs, label, self.source))
        return outputs

    def op(self, op: Op, *inputs: Value | None) -> Value:
        """The first result of *op*."""
        return self.multi(op, *inputs)[0]

    def _fold(
        self, op: Op, inputs: Sequence[Value | None], types: Sequence[TensorType]
    ) -> list[Value] | None:
        size = sum(kind.size * kind.dtype.size for kind in types)
        if size > min(limits.FOLD_BYTES, self._fold_left):
            return None
        if not is_cheap(op, [v.type for v in inputs if v is not None], types):
            return None
        self._fold_left -= size
        try:
            with np.errstate(all="ignore"):
                results = op.compute(*(None if v is None else v.data for v in inputs))
        except UserError:
            raise
        except Exception as err:
            log.debug("%s: %s on constants", self.source, op.name, exc_info=True)
            raise ModelError(f"{op.name} on constants fails: {err}") from None
        return [self.const(array) for array in results]

    def fresh(self, wanted: str) -> str:
        """*wanted*, with a number if it was given out before."""
        name, seen = wanted, self._taken.get(wanted, 0)
        while name in self._taken:
            seen += 1
            name = f"{wanted}_{seen}"
        self._taken[wanted] = seen
        self._taken.setdefault(name, 0)
        return name

    # -- constants --------------------------------------------------------------------------

    def const(
        self, data: np.ndarray | np.generic | Sequence[Number] | Number, dtype: DType | None = None
    ) -> Value:
        """A constant; plain Python numbers become f32, i64 or bool unless *dtype* is given."""
        array = np.asarray(data)
        if dtype is not None:
            array = array.astype(dtype.numpy, copy=False)
        elif array.dtype == np.float64:
            array = array.astype(np.float32)
        value = Value(self.label or "const", TensorType(DType.of(array), array.shape), array)
        self.unnamed.add(value)
        return value

    def like(self, number: Number, x: Value) -> Value:
        """A scalar of x's element type."""
        return self.const(number, x.dtype)

    def full(self, shape: Sequence[int], number: Number | np.generic, dtype: DType) -> Value:
        """A constant of one value (a broadcast view, so it takes no memory until written)."""
        limits.check_bytes(shape, dtype, limits.CONSTANT_BYTES, "a constant")
        return self.const(np.broadcast_to(np.asarray(number, dtype.numpy), tuple(shape)))

    # -- shorthands -------------------------------------------------------------------------

    def unary(self, fn: str, x: Value) -> Value:
        return self.op(ops.Unary(fn), x)

    def binary(self, fn: str, a: Value, b: Value) -> Value:
        return self.op(ops.Binary(fn), a, b)

    def add(self, a: Value, b: Value) -> Value:
        return self.binary("add", a, b)

    def sub(self, a: Value, b: Value) -> Value:
        return self.binary("sub", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        return self.binary("mul", a, b)

    def div(self, a: Value, b: Value) -> Value:
        return self.binary("div", a, b)

    def scale(self, x: Value, factor: float) -> Value:
        """x * factor, without an operator for 1."""
        return x if factor == 1 else self.mul(x, self.like(factor, x))

    def where(self, cond: Value, x: Value, y: Value) -> Value:
        return self.op(ops.Where(), cond, x, y)

    def cast(self, x: Value, to: DType) -> Value:
        return x if x.dtype is to else self.op(ops.Cast(to), x)

    def matmul(
        self,
        a: Value,
        b: Value,
        bias: Value | None = None,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
    ) -> Value:
        operands = (a, b) if bias is None else (a, b, bias)
        return self.op(ops.MatMul(transpose_a, transpose_b), *operands)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        wanted = tuple(int(d) for d in shape)
        return x if wanted == x.shape else self.op(ops.Reshape(wanted), x)

    def copy(self, x: Value) -> Value:
        """A new value equal to x."""
        return self.op(ops.Reshape(x.shape), x)

    def unsqueeze(self, x: Value, *axes: int) -> Value:
        """Insert axes of length 1; *axes* count in the result, ascending."""
        shape = list(x.shape)
        for axis in axes:
            shape.insert(axis, 1)
        return self.reshape(x, shape)

    def squeeze(self, x: Value, *axes: int) -> Value:
        """Drop axes of length 1."""
        return self.reshape(x, [d for i, d in enumerate(x.shape) if i not in axes])

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        wanted = tuple(int(p) for p in perm)
        return x if wanted == tuple(range(len(x.shape))) else self.op(ops.Transpose(wanted), x)

    def move_axis(self, x: Value, source: int, to: int) -> Value:
        perm = [i for i in range(len(x.shape)) if i != source]
        perm.insert(to, source)
        return self.transpose(x, perm)

    def expand(self, x: Value, shape: Sequence[int]) -> Value:
        wanted = tuple(int(d) for d in shape)
        return x if wanted == x.shape else self.op(ops.Expand(wanted), x)

    def concat(self, xs: Sequence[Value], axis: int) -> Value:
        return xs[0] if len(xs) == 1 else self.op(ops.Concat(axis), *xs)

    def slice(self, x: Value, axis: int, start: int, end: int, step: int = 1) -> Value:
        """x[start:end:step] along one axis; 0 <= start <= end <= size, step > 0."""
        if (start, end, step) == (0, x.shape[axis], 1):
            return x
        starts = [0] * len(x.shape)
        ends = list(x.shape)
        steps = [1] * len(x.shape)
        starts[axis], ends[axis], steps[axis] = start, end, step
        return self.op(ops.Slice(tuple(starts), tuple(ends), tuple(steps)), x)

    def split(self, x: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
        """Consecutive pieces along one axis."""
        edges = np.cumsum([0, *sizes]).tolist()
        return [self.slice(x, axis, a, b) for a, b in itertools.pairwise(edges)]

    def pad(self, x: Value, pads: Sequence[int], value: float = 0.0) -> Value:
        """Constant padding; *pads* holds the begins of all axes, then the ends."""
        if not any(pads):
            return x
        return self.op(ops.Pad(tuple(pads), "constant", value), x)

    def reduce(self, fn: str, x: Value, axes: Sequence[int], keepdims: bool = True) -> Value:
        return self.op(ops.Reduce(fn, tuple(axes), keepdims), x)

    def gather(self, x: Value, indices: Value | np.ndarray, axis: int) -> Value:
        index = indices if isinstance(indices, Value) else self.const(indices)
        return self.op(ops.Gather(axis), x, index)

    def clip(self, x: Value, low: float, high: float) -> Value:
        return self.op(ops.Clip(low, high), x)
