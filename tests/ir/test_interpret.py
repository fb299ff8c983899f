"""Running a graph: inputs are checked, values are freed, results are named."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.ir import ops
from nntc.ir.graph import Graph
from nntc.ir.interpret import evaluate, run


def network() -> Graph:
    graph = Graph()
    x = graph.input("x", DType.F32, (2, 3))
    index = graph.input("index", DType.I64, (1,))
    two = graph.constant(np.array(2, np.float32), "two")
    y = graph.add(ops.Binary("mul"), x, two, name="y").output
    z = graph.add(ops.Gather(0), y, index, name="z", source="/model/Gather").output
    graph.outputs = [z, two, x]
    return graph


X = np.arange(6, dtype=np.float32).reshape(2, 3)
ONE = np.array([1], np.int64)


def test_results() -> None:
    result = run(network(), {"x": X, "index": ONE})
    assert list(result) == ["z", "two", "x"]
    np.testing.assert_array_equal(result["z"], [[6, 8, 10]])
    assert result["two"] == 2
    np.testing.assert_array_equal(result["x"], X)


def test_every_value() -> None:
    result = run(network(), {"x": X, "index": ONE}, values=True)
    assert list(result) == ["x", "index", "y", "z", "two"]
    np.testing.assert_array_equal(result["y"], X * 2)


def test_all_faults_of_the_inputs_at_once() -> None:
    with pytest.raises(ModelError) as caught:
        run(network(), {"x": X.astype(np.float64), "y": X})
    assert caught.value.problems == [
        "input y: the network has no such input, only x, index",
        "input x: is float64 of shape (2, 3), f32[2x3] is needed",
        "input index: is missing, i64[1] is needed",
    ]
    with pytest.raises(ModelError, match=r"is float32 of shape \(3, 2\), f32\[2x3\] is needed"):
        run(network(), {"x": X.T, "index": ONE})


def test_a_fault_in_the_data_names_the_node() -> None:
    with pytest.raises(ModelError, match=r"^/model/Gather: index 5 is outside -2 ... 1$"):
        run(network(), {"x": X, "index": ONE * 5})


def test_dead_values_are_freed() -> None:
    graph = Graph()
    value = graph.input("x", DType.F32, (4,))
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    class Spy(ops.Unary):
        def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
            nonlocal most
            y = x + 1
            alive.append(weakref.ref(y))
            gc.collect()
            most = max(most, sum(r() is not None for r in alive))
            return (y,)

    for _ in range(10):
        value = graph.add(Spy("abs"), value).output
    unused = graph.add(ops.TopK(1, 0), value)
    graph.outputs = [unused.outputs[1]]
    run(graph, {"x": np.zeros(4, np.float32)})
    assert most == 2


def test_inputs_may_be_operands_many_times() -> None:
    graph = Graph()
    x = graph.input("x", DType.F32, ())
    graph.outputs = [graph.add(ops.Binary("mul"), x, x).output, x]
    assert run(graph, {"x": np.array(3, np.float32)})["Binary"] == 9


def test_absent_operands() -> None:
    y = evaluate(ops.LayerNorm(0), [np.array([1, 3], np.float32), None, np.ones(2, np.float32)])[0]
    np.testing.assert_allclose(y, [0, 2], atol=1e-4)


def test_no_warnings(recwarn: pytest.WarningsRecorder) -> None:
    x = np.array([0, -1, 1e30, np.inf, np.nan], np.float32)
    for fn in ("log", "sqrt", "reciprocal", "exp", "rsqrt", "acosh", "gelu_tanh", "softplus"):
        evaluate(ops.Unary(fn), [x])
    for fn in ("div", "pow", "mod", "fmod"):
        evaluate(ops.Binary(fn), [x, np.zeros(5, np.float32)])
    for fn in ("div", "mod", "fmod"):
        evaluate(ops.Binary(fn), [np.arange(3), np.zeros(3, np.int64)])
    evaluate(ops.Cast(DType.I32), [x])
    evaluate(ops.Cast(DType.F16), [x])
    evaluate(ops.Softmax(0), [x])
    evaluate(ops.Reduce("mean", (0,)), [x[:0]])
    evaluate(ops.Clip(-1e30, 1e30), [np.ones(3, np.float16)])
    assert not [w.message for w in recwarn]
