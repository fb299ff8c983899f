"""The graph under legalisation: every value as fp32, as 32-bit integer bits, or as words of four
8-bit samples, made on demand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nntc.backend.fixed_ops import LUT_BYTES, pack_constant
from nntc.backend.kernels.pointwise import is_pointwise
from nntc.backend.legalize import packing
from nntc.backend.memory import memory_root
from nntc.backend.ops import Bits, Compare, CpuCall, FloatToInt, IntToFloat, Narrow, Select, Widen
from nntc.backend.space import choose_space
from nntc.core.dtype import DType
from nntc.core.errors import UnsupportedError
from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Op, Value
from nntc.isa.chip import L2_TABLE_EXP_INT

BYTE_TYPES = (DType.I8, DType.U8, DType.BOOL)
"""Types that network inputs and outputs keep in one byte."""


def _on_host(value: Value) -> bool:
    return value.producer is not None and isinstance(value.producer.op, CpuCall)


def carrier(dtype: DType) -> DType:
    """The type in which a network input or output of *dtype* lies in system memory."""
    if dtype in BYTE_TYPES:
        return dtype
    return DType.F32 if dtype.is_float else DType.I32


class Builder:
    """Builds the legal graph; maps values of the source graph to it.

    Attributes:
        graph: the legal graph.
        node: the source node that is being rewritten.
    """

    def __init__(self, source: Graph) -> None:
        self.source = source
        self.graph = Graph(source.name)
        self.node: Node | None = None
        self._forms: dict[Value, dict[DType, Value]] = {}
        self._words: dict[Value, Value] = {}
        self._tables: dict[bytes, int] = {}
        self._count = 0
        for value in source.inputs:
            kept = carrier(value.dtype)
            self._forms[value] = {kept: self.graph.input(value.name, kept, value.shape)}

    # -- values of the source graph ---------------------------------------------------------

    def bind(self, value: Value, result: Value) -> None:
        """*result* is the legal form of a source value."""
        self._forms.setdefault(value, {})[result.dtype] = result

    def stand_in(self, value: Value) -> None:
        """A value that could not be made: what reads it is examined as if it were an input."""
        kept = carrier(value.dtype)
        self._forms[value] = {kept: self.graph.input(value.name, kept, value.shape)}

    def any(self, value: Value) -> Value:
        """The value in whichever form it exists, for operators that only move words."""
        forms = self._all(value)
        for dtype in (DType.F32, DType.I32):
            if dtype in forms:
                return forms[dtype]
        return self.f32(value)

    def f32(self, value: Value) -> Value:
        """The value as fp32."""
        forms = self._all(value)
        if DType.F32 not in forms:
            if DType.I32 in forms:
                made = self(IntToFloat(), forms[DType.I32])
            else:
                made = self(Widen(), next(iter(forms.values())))
            forms[DType.F32] = made
        return forms[DType.F32]

    def i32(self, value: Value) -> Value:
        """The value as 32-bit integer bits."""
        forms = self._all(value)
        if DType.I32 not in forms:
            forms[DType.I32] = self(FloatToInt(), self.f32(value))
        return forms[DType.I32]

    def bind_words(self, value: Value, words: Value) -> None:
        """*words* holds the samples of an 8-bit source value."""
        self._words[value] = words

    def has_words(self, value: Value) -> bool:
        """Whether an 8-bit value exists as words already."""
        return value in self._words

    def words(self, value: Value) -> Value:
        """An 8-bit value as words of four samples (see fixed_ops.py)."""
        if value not in self._words:
            if value.data is not None:
                made = self.graph.constant(pack_constant(value.data), f"{value.name}.words")
            else:
                made = packing.pack(self, self.f32(value))
            self._words[value] = made
        return self._words[value]

    def table(self, data: bytes) -> int:
        """The offset in L2 of a table of 256 bytes.

        Raises:
            UnsupportedError: L2 below the firmware's tables is full.
        """
        offset = self._tables.setdefault(data, len(self._tables) * LUT_BYTES)
        if offset + LUT_BYTES > L2_TABLE_EXP_INT:
            most = L2_TABLE_EXP_INT // LUT_BYTES
            raise UnsupportedError(f"more than {most} different tables do not fit into L2")
        return offset

    def _all(self, value: Value) -> dict[DType, Value]:
        forms = self._forms.setdefault(value, {})
        if not forms and value in self._words:
            forms[DType.F32] = packing.unpack(self, self._words[value], value.type)
        if not forms:
            if value.data is None:
                raise KeyError(value.name)
            array = np.asarray(value.data)
            # Values beyond fp32 become infinite, which is what the chip would make of them.
            with np.errstate(over="ignore"):
                forms[DType.F32] = self.graph.constant(
                    array.astype(np.float32, copy=False), value.name
                )
            if value.dtype.is_integer:
                wide = np.clip(array, -(2**31), 2**32 - 1).astype(np.int64)
                bits = (wide & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
                forms[DType.I32] = self.graph.constant(bits, f"{value.name}.bits")
        return forms

    def outputs(self) -> list[Value]:
        """Close the graph: every network output in the form in which it is stored."""
        for value in self.source.outputs:
            kept = carrier(value.dtype)
            if kept is DType.F32:
                result = self.f32(value)
            elif kept is DType.I32:
                result = self.i32(value)
            else:
                result = self(Narrow(kept), self.f32(value))
            source = memory_root(result)
            taken = any(memory_root(o) is source for o in self.graph.outputs)
            reshaped = result is not source and _on_host(source)
            if source.is_constant or source in self.graph.inputs or taken or reshaped:
                # An output needs memory of its own.
                result = self.several(ops.Expand(result.shape), result)[0]
            self.graph.outputs.append(result)
        return self.graph.outputs

    # -- building ---------------------------------------------------------------------------

    def __call__(self, op: Op, *inputs: Value | None) -> Value:
        """Append an operator; returns its first result (a constant if all operands are)."""
        if all(v is not None and v.is_constant for v in inputs):
            data = op.compute(*(v.data for v in inputs if v is not None))[0]
            return self.graph.constant(data, inputs[0].name if inputs[0] else op.name)
        return self.append(op, *inputs)

    def append(self, op: Op, *inputs: Value | None) -> Value:
        """Append an operator even if all its operands are constants; returns its first result."""
        if is_pointwise(op):
            inputs = self._spread(op, inputs)
        return self.several(op, *inputs)[0]

    def _spread(self, op: Op, inputs: tuple[Value | None, ...]) -> tuple[Value | None, ...]:
        """Write broadcasts out that alternate too often for the four local dimensions."""
        present = [v for v in inputs if v is not None]
        shape = np.broadcast_shapes(*(v.shape for v in present))
        if len(shape) <= 4 or choose_space(shape, [shape, *(v.shape for v in present)]):
            return inputs
        return tuple(
            v if v is None or v.shape == shape or v.type.size == 1 else self.expand(v, shape)
            for v in inputs
        )

    def expand(self, x: Value, shape: Sequence[int]) -> Value:
        return x if x.shape == tuple(shape) else self(ops.Expand(tuple(shape)), x)

    def several(self, op: Op, *inputs: Value | None) -> list[Value]:
        """Append an operator; returns all its results."""
        base = self.node.name if self.node is not None else op.name
        self._count += 1
        source = self.node.source if self.node is not None else ""
        node = self.graph.add(op, *inputs, name=f"{base}/{self._count}", source=source)
        return node.outputs

    def constant(self, data: Any, name: str = "const") -> Value:
        """An fp32 constant (int32 if the array is one)."""
        array = np.asarray(data)
        if array.dtype != np.int32:
            array = array.astype(np.float32)
        return self.graph.constant(array, name)

    def unary(self, fn: str, x: Value) -> Value:
        return self(ops.Unary(fn), x)

    def binary(self, fn: str, a: Value | float, b: Value | float) -> Value:
        left = a if isinstance(a, Value) else self.constant(np.float32(a))
        right = b if isinstance(b, Value) else self.constant(np.float32(b))
        return self(ops.Binary(fn), left, right)

    def add(self, a: Value | float, b: Value | float) -> Value:
        return self.binary("add", a, b)

    def sub(self, a: Value | float, b: Value | float) -> Value:
        return self.binary("sub", a, b)

    def mul(self, a: Value | float, b: Value | float) -> Value:
        return self.binary("mul", a, b)

    def div(self, a: Value | float, b: Value | float) -> Value:
        return self.binary("div", a, b)

    def compare(self, fn: str, a: Value, b: Value | float) -> Value:
        right = b if isinstance(b, Value) else self.constant(np.float32(b))
        return self(Compare(fn), a, right)

    def select(self, mask: Value, x: Value | float, y: Value | float) -> Value:
        chosen = [v if isinstance(v, Value) else self.constant(np.float32(v)) for v in (x, y)]
        return self(Select(), mask, *chosen)

    def bits(self, fn: str, a: Value, b: Value | int) -> Value:
        right = b if isinstance(b, Value) else self.constant(np.asarray(b, np.int32))
        return self(Bits(fn), a, right)

    def to_int(self, x: Value) -> Value:
        """fp32 as int32 bits, truncated."""
        return self(FloatToInt(), x)

    def reduce(self, fn: str, x: Value, axes: Sequence[int]) -> Value:
        """Reduction that keeps the reduced axes with size 1."""
        kept = tuple(sorted(a % len(x.shape) for a in axes))
        if all(x.shape[a] == 1 for a in kept):
            return x
        return self(ops.Reduce(fn, kept, True), x)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        return x if tuple(shape) == x.shape else self(ops.Reshape(tuple(shape)), x)

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        if list(perm) == sorted(perm):
            return x
        moved = [p for p in perm if x.shape[p] != 1]
        if moved == sorted(moved):
            return self.reshape(x, [x.shape[p] for p in perm])
        return self(ops.Transpose(tuple(perm)), x)

    def slice(self, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
        rank = len(x.shape)
        starts = tuple(start if a == axis else 0 for a in range(rank))
        ends = tuple(stop if a == axis else size for a, size in enumerate(x.shape))
        steps = tuple(step if a == axis else 1 for a in range(rank))
        if (start, stop, step) == (0, x.shape[axis], 1):
            return x
        return self(ops.Slice(starts, ends, steps), x)

    def concat(self, parts: Sequence[Value], axis: int) -> Value:
        return parts[0] if len(parts) == 1 else self(ops.Concat(axis), *parts)

    def pad(self, x: Value, pads: Sequence[int], value: float = 0.0) -> Value:
        return self(ops.Pad(tuple(pads), "constant", value), x) if any(pads) else x

    def matmul(self, a: Value, b: Value, bias: Value | None = None) -> Value:
        return self(ops.MatMul(), a, b, *([] if bias is None else [bias]))
