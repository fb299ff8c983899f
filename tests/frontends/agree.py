"""Checks a model against ONNX Runtime: as read, and after the passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from nntc.frontends.onnx import load
from nntc.ir import interpret
from nntc.ir.graph import Graph
from nntc.ir.verify import verify
from nntc.passes import simplify


def runtime(source: ModelProto | Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ONNX Runtime's results, without its own rewriting of the graph."""
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = source.SerializeToString() if isinstance(source, ModelProto) else str(source)
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    known = {i.name for i in session.get_inputs()}
    given = {n: a for n, a in inputs.items() if n in known}
    return dict(zip(names, session.run(names, given), strict=True))


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal floats, small integers."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, np.ndarray] = {}
    for value in graph.inputs:
        if value.dtype.is_float:
            data = rng.standard_normal(value.shape)
        else:
            data = rng.integers(0, 2, value.shape)
        inputs[value.name] = np.asarray(data).astype(value.dtype.numpy)
    return inputs


def assert_close(
    got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: float = 1e-5
) -> None:
    """Same names, types and shapes; numbers within *tolerance* of the largest."""
    assert list(got) == list(wanted)
    for name, reference in wanted.items():
        array = got[name]
        assert array.dtype == reference.dtype, name
        assert array.shape == reference.shape, name
        if reference.dtype.kind != "f":
            np.testing.assert_array_equal(array, reference, err_msg=name)
            continue
        np.testing.assert_array_equal(np.isfinite(array), np.isfinite(reference), err_msg=name)
        finite = np.isfinite(reference)
        spread = float(np.abs(reference[finite]).max(initial=1e-30))
        np.testing.assert_allclose(
            array[finite], reference[finite], rtol=0, atol=tolerance * spread, err_msg=name
        )


def agree(
    source: ModelProto | Path,
    shapes: Sequence[Sequence[int]] | Mapping[str, Sequence[int]] | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    tolerance: float = 1e-5,
    wanted: Mapping[str, np.ndarray] | None = None,
) -> Graph:
    """The graph equals ONNX Runtime (or *wanted*) before and after the passes; the latter graph."""
    graph = load(source, shapes, strict=True)
    verify(graph)
    given = random_inputs(graph) if inputs is None else dict(inputs)
    reference = runtime(source, given) if wanted is None else wanted
    assert_close(interpret.run(graph, given), reference, tolerance)
    inner = interpret.run(graph, given, values=True)
    simplify(graph)
    verify(graph)
    assert_close(interpret.run(graph, given), reference, tolerance)
    # Values that keep their names keep their meaning; comparisons by name rely on it.
    after = interpret.run(graph, given, values=True)
    shared = [name for name in after if name in inner]
    assert_close({n: after[n] for n in shared}, {n: inner[n] for n in shared}, 10 * tolerance)
    return graph


def op_names(graph: Graph) -> list[str]:
    """Names of the operators in order; of the elementwise ones their function."""
    return [getattr(n.op, "fn", "") or n.op.name for n in graph.nodes]
