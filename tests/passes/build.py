"""Graphs for the tests of passes, and the check that a pass keeps their meaning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import interpret, ops
from nntc.ir.graph import Graph, Op, Value
from nntc.ir.verify import verify
from nntc.passes import Pass, simplify


class Net:
    """A graph under construction: ``net(op, x, 2.0)`` gives the first result; numbers and arrays
    become constants."""

    def __init__(self) -> None:
        self.graph = Graph()

    def input(self, *shape: int, name: str = "x", dtype: DType = DType.F32) -> Value:
        return self.graph.input(name, dtype, shape)

    def const(self, data: object) -> Value:
        array = np.asarray(data)
        return self.graph.constant(
            array.astype(np.float32) if array.dtype.kind == "f" else array, "c"
        )

    def __call__(self, op: Op, *inputs: object, name: str = "") -> Value:
        values = [v if v is None or isinstance(v, Value) else self.const(v) for v in inputs]
        outputs = [name] if name else []
        return self.graph.add(op, *values, outputs=outputs).output

    def unary(self, fn: str, x: object) -> Value:
        return self(ops.Unary(fn), x)

    def add(self, a: object, b: object) -> Value:
        return self(ops.Binary("add"), a, b)

    def sub(self, a: object, b: object) -> Value:
        return self(ops.Binary("sub"), a, b)

    def mul(self, a: object, b: object) -> Value:
        return self(ops.Binary("mul"), a, b)

    def div(self, a: object, b: object) -> Value:
        return self(ops.Binary("div"), a, b)

    def done(self, *outputs: Value) -> Graph:
        self.graph.outputs = list(outputs)
        verify(self.graph)
        return self.graph


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def inputs_of(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        v.name: np.asarray(
            rng.standard_normal(v.shape) if v.dtype.is_float else rng.integers(-9, 9, v.shape)
        ).astype(v.dtype.numpy)
        for v in graph.inputs
    }


def keeps(graph: Graph, *passes: Pass, tolerance: float = 2e-6) -> list[str]:
    """Run the passes (default: the pipeline), check that names, types and numbers stay; the
    operators that are left, elementwise ones by their function."""
    names = [v.name for v in graph.outputs]
    inputs = inputs_of(graph)
    before = interpret.run(graph, inputs, values=True)
    if passes:
        for item in passes:
            assert item.apply(graph) is graph
    else:
        simplify(graph)
    verify(graph)
    assert [v.name for v in graph.outputs] == names
    after = interpret.run(graph, inputs, values=True)
    # A value that keeps its name keeps its meaning, inner ones too.
    for name in before.keys() & after.keys():
        wanted, got = before[name], after[name]
        assert got.dtype == wanted.dtype
        assert got.shape == wanted.shape
        if wanted.dtype.kind == "f":
            spread = np.abs(wanted).max(initial=1e-30)
            np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * spread, err_msg=name)
        else:
            np.testing.assert_array_equal(got, wanted, err_msg=name)
    return op_names(graph)


def op_names(graph: Graph) -> list[str]:
    return [
        n.op.fn if isinstance(n.op, ops.Unary | ops.Binary | ops.Reduce) else n.op.name
        for n in graph.nodes
    ]


def conv(
    pads: Sequence[int] = (0, 0, 0, 0), strides: Sequence[int] = (1, 1), group: int = 1
) -> ops.Conv:
    return ops.Conv(tuple(strides), tuple(pads), (1, 1), group)
