"""Compare a compiled model with the meaning of its graph, operator by operator.

Every value that the compiled model keeps in device memory is read after a run on the simulator.
Each operator is then computed in NumPy from the simulated values of its operands, so that an error
shows at the operator that makes it and not at all that follow. Operators whose result never
reaches memory are computed on, and judged with the next one that does.

To have every value in memory the model is compiled once more, with ``keep_values``. The BModel
that is to be used is judged by its outputs.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import Problems
from nntc.ir.graph import Graph
from nntc.ir.interpret import evaluate, run
from nntc.report.labels import label
from nntc.runtime.engine import Engine
from nntc.runtime.simulator import SimulatorDevice
from nntc.runtime.tensors import describe

if TYPE_CHECKING:
    from nntc.backend import CompileResult
    from nntc.bmodel import BModel

TOLERANCE = 1e-4
"""Largest allowed difference, as a part of the value's range."""


@dataclass(frozen=True)
class Difference:
    """How one value compares.

    Attributes:
        value: name of the value.
        made_by: the operator and the node in the user's model.
        error: largest difference as a part of the range of what is expected; NaN where only one
            side is NaN or infinite.
        index: where in the value, with the expected and the found element.
    """

    value: str
    made_by: str
    shape: tuple[int, ...]
    error: float
    index: tuple[int, ...]
    expected: float
    found: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        place = ",".join(map(str, self.index))
        return (
            f"{self.value} ({self.made_by}, {shape}): at [{place}] expected {self.expected:.9g}, "
            f"found {self.found:.9g}, {self.error:.3g} of the range"
        )


def difference(
    value: str, made_by: str, expected: np.ndarray, found: np.ndarray, tolerance: float = TOLERANCE
) -> Difference:
    """Compare two arrays of one shape; integers must be equal."""
    found = _whole(found, expected.shape)
    if expected.shape != found.shape:
        return Difference(
            value, f"{made_by}; shape {found.shape} found", expected.shape, np.nan, (), 0, 0, 0
        )
    a, b = (array.astype(np.float64) for array in (expected, found))
    if not a.size:
        return Difference(value, made_by, a.shape, 0.0, (), 0.0, 0.0, tolerance)
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b)
    gap[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    finite = a[np.isfinite(a)]
    span = float(finite.max() - finite.min()) if finite.size else 0.0
    # A constant has no range of its own: its size serves.
    span = max(span, float(np.abs(finite).max()) if finite.size else 0.0, 1e-30)
    worst = int(np.argmax(np.where(np.isnan(gap), np.inf, gap)))
    error = float(gap.flat[worst]) / span
    index = tuple(int(i) for i in np.unravel_index(worst, a.shape))
    limit = tolerance if DType.of(expected).is_float else 0.0
    return Difference(
        value, made_by, a.shape, error, index, float(a.flat[worst]), float(b.flat[worst]), limit
    )


@dataclass
class Comparison:
    """The result of :func:`compare`.

    Attributes:
        values: in the order of execution.
        outputs: reference → how the outputs compare with it, for the whole net.
        unseen: results of operators that never reach device memory.
    """

    values: list[Difference] = field(default_factory=list)
    outputs: dict[str, list[Difference]] = field(default_factory=dict)
    unseen: int = 0

    @property
    def first(self) -> Difference | None:
        """The first value that differs."""
        return next((d for d in self.values if not d.ok), None)

    @property
    def passed(self) -> bool:
        return self.first is None and all(d.ok for row in self.outputs.values() for d in row)

    def text(self) -> str:
        """A few lines for people."""
        lines = [f"compared {len(self.values)} values; {self.unseen} more never reach memory"]
        worst = max(self.values, key=_badness, default=None)
        if worst is not None:
            lines.append(f"  largest difference of an operator: {worst}")
        for reference, row in self.outputs.items():
            worst = max(row, key=_badness)
            lines.append(f"  outputs against {reference}: {worst}")
        if self.first is not None:
            lines.append(f"FIRST DIFFERENCE: {self.first}")
        lines.append("comparison: " + ("equal" if self.passed else "DIFFERENT"))
        return "\n".join(lines)


def _badness(item: Difference) -> float:
    return np.inf if np.isnan(item.error) else item.error - item.tolerance


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal numbers for float inputs; 0 and 1, which every index allows, for integers."""
    generator = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for value in graph.inputs:
        if value.dtype.is_float:
            array = generator.standard_normal(value.shape)
        else:
            array = generator.integers(0, 2, value.shape)
        arrays[value.name] = np.asarray(array).astype(value.dtype.numpy)
    return arrays


def compare(
    graph: Graph,
    kept: CompileResult,
    model: BModel,
    inputs: Mapping[str, np.ndarray] | Sequence[np.ndarray],
    source: str | os.PathLike[str] | None = None,
    tolerance: float = TOLERANCE,
    progress: Any = None,
) -> Comparison:
    """Run the graph in NumPy and the BModels on the simulator.

    Args:
        graph: what was compiled.
        kept: compiled with ``keep_values``: every value keeps its place in memory.
        model: compiled for use; its outputs are compared.
        inputs: by the graph's input names, or in their order.
        source: the ONNX file; compared with ONNX Runtime if that is installed.

    Raises:
        UserError: the inputs do not fit, or a run fails.
    """
    tell = progress or (lambda stage, done, total: None)
    if not isinstance(inputs, Mapping):
        inputs = dict(zip((v.name for v in graph.inputs), inputs, strict=False))
    given = {v.name: np.asarray(inputs[v.name]) for v in graph.inputs if v.name in inputs}
    tell("compare: simulator", 0, 0)
    found = simulate(kept, given)
    report = Comparison()
    _compare_operators(graph, given, found, tolerance, report, tell)
    tell("compare: whole net in NumPy", 0, 0)
    whole = run(graph, given)
    tell("compare: the BModel itself", 0, 0)
    with Engine(model) as engine:
        simulated = engine({name: given[name] for name in (t.name for t in engine.inputs)})
        for info in engine.outputs:
            if info.is_quantised:  # the engine gives what the integers stand for
                whole[info.name] = info.decode(whole[info.name])
    references = {"the graph in NumPy": whole}
    if source is not None and importlib.util.find_spec("onnxruntime"):
        tell("compare: whole net in ONNX Runtime", 0, 0)
        references["ONNX Runtime"] = _onnxruntime(source, given, list(simulated))
    for reference, arrays in references.items():
        report.outputs[reference] = [
            difference(name, "network output", arrays[name], array, tolerance)
            for name, array in simulated.items()
        ]
    return report


def _whole(found: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """With the rows that a CPU layer did not find: it gives fewer, the graph has rows of -1."""
    fits = found.ndim == len(shape) and all(a <= b for a, b in zip(found.shape, shape, strict=True))
    if found.shape == shape or not fits:
        return found
    whole = np.full(shape, -1, found.dtype)
    whole[tuple(map(slice, found.shape))] = found
    return whole


def simulate(result: CompileResult, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every value of the graph that the compiled model leaves in memory; simulated."""
    model = result.model
    stage = model.nets[0].stages[0]
    problems = Problems()
    arrays = {
        info.name: info.encode(inputs[info.name], problems)
        for info in describe(model.nets[0], "inputs")
    }
    problems.raise_if_any()
    launch = (
        SimulatorDevice()
        .load(model)
        .trace(0, 0, [arrays[t.name].reshape(t.shape) for t in stage.inputs])
    )
    found: dict[str, np.ndarray] = {}
    for name, place in result.value_map.items():
        found[name] = place.decode(launch.context.read(place.address, place.size))
    return {**found, **launch.host}


def _compare_operators(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    tolerance: float,
    report: Comparison,
    tell: Any,
) -> None:
    """Each operator in NumPy on the simulated operands, against its simulated results."""
    arrays: dict[Any, np.ndarray] = {v: inputs[v.name] for v in graph.inputs}
    for number, node in enumerate(graph.nodes):
        tell("compare: operators", number, len(graph.nodes))
        operands = [None if v is None else arrays.get(v, v.data) for v in node.inputs]
        with np.errstate(all="ignore"):
            results = evaluate(node.op, operands)
        for value, expected in zip(node.outputs, results, strict=True):
            simulated = found.get(value.name)
            arrays[value] = expected
            if simulated is None:
                report.unseen += 1
                continue
            made_by = f"{label(node.op)}, {node.source}"
            report.values.append(difference(value.name, made_by, expected, simulated, tolerance))
            if simulated.shape == expected.shape:
                arrays[value] = simulated.astype(expected.dtype)
    tell("compare: operators", len(graph.nodes), len(graph.nodes))


def _onnxruntime(
    source: str | os.PathLike[str], inputs: Mapping[str, np.ndarray], outputs: list[str]
) -> dict[str, np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        os.fspath(source), options, providers=["CPUExecutionProvider"]
    )
    results = session.run(outputs, dict(inputs))
    return {name: np.asarray(array) for name, array in zip(outputs, results, strict=True)}
