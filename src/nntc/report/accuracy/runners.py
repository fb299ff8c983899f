"""What can be compared: graphs in NumPy, BModels on the simulator, and recorded outputs.

A runner knows the tensors that it computes before it runs (:attr:`Runner.forms`), and gives their
arrays one by one when it runs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nntc.core.errors import Problems, UserError
from nntc.ir import interpret, ops
from nntc.ir.graph import Graph, Value
from nntc.runtime.arrays import load_inputs
from nntc.runtime.engine import Engine
from nntc.runtime.simulator import SimulatorDevice
from nntc.runtime.tensors import describe

if TYPE_CHECKING:
    from nntc.backend import CompileResult
    from nntc.bmodel import BModel

Shape = tuple[int, ...]
Visit = Callable[[str, np.ndarray], None]


@dataclass(frozen=True, eq=False)
class Form:
    """How a runner gives a tensor.

    Attributes:
        shape: for the runner's own batch.
        dtype: of the arrays.
        scale: what integers stand for: number = (integer - zero) * scale; float64 () or [channels
            of axis 1]. None: the arrays are the numbers.
        place: the type in which the tensor is computed, for people.
        zero: the integer that stands for 0.
    """

    shape: Shape
    dtype: np.dtype[np.generic]
    scale: np.ndarray | None = None
    place: str = ""
    zero: int = 0

    @property
    def is_real(self) -> bool:
        """Whether it stands for real numbers."""
        return self.dtype.kind == "f" or self.scale is not None

    def real(self, array: np.ndarray) -> np.ndarray:
        """The numbers that *array* stands for."""
        if self.scale is None:
            return array
        return np.asarray((array.astype(np.float32) - self.zero) * self._step(array.ndim))

    def given(self, numbers: np.ndarray) -> np.ndarray:
        """*numbers* in this form: rounded and saturated where it is one of integers."""
        if self.scale is None or numbers.dtype.kind in "biu":
            return np.asarray(numbers, self.dtype)
        limits = np.iinfo(self.dtype.name)
        with np.errstate(all="ignore"):
            steps = np.nan_to_num(np.rint(numbers / self._step(numbers.ndim)) + self.zero)
        return np.clip(steps, limits.min, limits.max).astype(self.dtype)

    def _step(self, rank: int) -> np.ndarray:
        """The scale as it broadcasts to a tensor of *rank*, float32."""
        assert self.scale is not None
        scale = self.scale.astype(np.float32)
        return scale.reshape([-1 if a == 1 else 1 for a in range(rank)]) if scale.ndim else scale


class Runner(Protocol):
    """A model that can be run on samples.

    Attributes:
        title: for people.
        graph: what is run, where that is known; for the order and the kinds of operators.
        inputs: name → shape.
        forms: every tensor that it can give, in order of execution.
        outputs: names of the results.
    """

    title: str
    graph: Graph | None
    inputs: dict[str, Shape]
    forms: dict[str, Form]
    outputs: list[str]

    def run(
        self, sample: Mapping[str, np.ndarray], position: int, wanted: Collection[str], visit: Visit
    ) -> None:
        """Run one sample; *visit* gets the arrays of the tensors that are wanted.

        Args:
            sample: by input name, in the shape of the inputs.
            position: the sample's number in the dataset.

        Raises:
            UserError: the sample does not fit.
        """
        ...


def value_form(value: Value) -> Form:
    """How the interpreter gives a value of a graph."""
    dtype = np.dtype(value.dtype.numpy)
    scale = None
    if value.scale is not None and value.scale.data is not None and dtype.kind in "iu":
        numbers = np.asarray(value.scale.data, np.float64).reshape(-1)
        axis = value.shape[1] if len(value.shape) > 1 else 1
        if len(numbers) in (1, axis) and np.isfinite(numbers).all() and (numbers > 0).all():
            scale = np.asarray(numbers[0] if len(numbers) == 1 else numbers)
    return Form(value.shape, dtype, scale, _place(dtype), value.zero)


def _place(dtype: np.dtype[np.generic]) -> str:
    bits = dtype.itemsize * 8
    if dtype.kind == "f":
        return f"fp{bits}"
    return "bool" if dtype.kind == "b" else f"int{bits}"


class GraphRunner:
    """A graph, interpreted in NumPy."""

    def __init__(self, graph: Graph, title: str = "") -> None:
        self.title = title or graph.name
        self.graph: Graph | None = graph
        self._run_graph = graph
        self.inputs = {v.name: v.shape for v in graph.inputs}
        made = [v for node in graph.nodes for v in node.outputs]
        self.forms = {v.name: value_form(v) for v in (*graph.inputs, *made)}
        self.forms.update({v.name: value_form(v) for v in graph.outputs})
        for node in graph.nodes:
            # The numbers of integers: computed where these are.
            if isinstance(node.op, ops.Dequantize):
                name, place = node.output.name, self.forms[node.operands[0].name].place
                self.forms[name] = replace(self.forms[name], place=place)
        self.outputs = [v.name for v in graph.outputs]

    def run(
        self, sample: Mapping[str, np.ndarray], position: int, wanted: Collection[str], visit: Visit
    ) -> None:
        def each(value: Value, array: np.ndarray) -> None:
            if value.name in wanted:
                visit(value.name, array)

        results = interpret.run(self._run_graph, self._fed(sample), visit=each)
        for value in self._run_graph.outputs:
            # Outputs that are constants or inputs are not visited as results.
            if value.is_constant and value.name in wanted:
                visit(value.name, results[value.name])

    def run_alone(
        self, sample: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray], visit: Visit
    ) -> None:
        """Run every layer on what its inputs should be, so that no error is handed on.

        Args:
            exact: tensor → the numbers that it should stand for. *visit* gets what the graph makes
                of the exact tensors before it; then the tensor itself becomes exact, rounded to
                its grid. Network inputs are exact from the start.
        """
        graph = self._run_graph
        fed = self._fed({**sample, **{n: exact[n] for n in self.inputs if n in exact}})
        arrays = {value: fed[value.name] for value in graph.inputs}
        left = Counter(v for node in graph.nodes for v in node.operands)
        for node in graph.nodes:
            operands = [None if v is None else arrays.get(v, v.data) for v in node.inputs]
            for value, result in zip(
                node.outputs, interpret.evaluate(node.op, operands), strict=True
            ):
                wanted = exact.get(value.name)
                if wanted is not None:
                    visit(value.name, result)
                arrays[value] = result if wanted is None else self.forms[value.name].given(wanted)
            left.subtract(node.operands)
            for value in node.operands:
                if not left[value]:
                    arrays.pop(value, None)

    def _fed(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: self.forms[name].given(sample[name]) for name in self.inputs}


class NetRunner:
    """The first net of a BModel on the simulator; its outputs only."""

    graph: Graph | None = None

    def __init__(self, model: BModel | str | os.PathLike[str], title: str = "") -> None:
        self._engine = Engine(model)
        net = self._engine.net()
        self.title = title or net.name
        self.inputs = {i.name: min(i.shapes, key=lambda shape: shape[:1]) for i in net.inputs}
        self.forms = {
            o.name: Form(
                min(o.shapes, key=lambda shape: shape[:1]),
                np.dtype(o.user_dtype),
                None,
                _place(np.dtype(o.dtype)),
            )
            for o in net.outputs
        }
        self.outputs = list(self.forms)

    def run(
        self, sample: Mapping[str, np.ndarray], position: int, wanted: Collection[str], visit: Visit
    ) -> None:
        results = self._engine({name: sample[name] for name in self.inputs})
        for name, array in results.items():
            if name in wanted:
                visit(name, array)


class KeptRunner(GraphRunner):
    """A graph that was compiled with ``keep_values``, on the simulator: every value in memory.

    Args:
        graph: what was compiled; it knows the scales. Single layers are run on it, in NumPy.
    """

    def __init__(self, kept: CompileResult, graph: Graph, title: str = "") -> None:
        super().__init__(graph, title)
        self._kept = kept
        self._net = kept.model.nets[0]
        self._session = SimulatorDevice().load(kept.model)
        self._infos = describe(self._net, "inputs")
        known = {*self.inputs, *kept.value_map, *self.outputs}
        self.forms = {name: form for name, form in self.forms.items() if name in known}

    def run(
        self, sample: Mapping[str, np.ndarray], position: int, wanted: Collection[str], visit: Visit
    ) -> None:
        problems = Problems()
        arrays = {info.name: info.encode(sample[info.name], problems) for info in self._infos}
        problems.raise_if_any()
        stage = self._net.stages[0]
        launch = self._session.trace(0, 0, [arrays[t.name].reshape(t.shape) for t in stage.inputs])
        for name in self.forms:
            if name not in wanted:
                continue
            place = self._kept.value_map.get(name)
            if name in launch.host:
                visit(name, launch.host[name])
            elif place is not None:
                visit(name, place.decode(launch.context.read(place.address, place.size)))


class RecordedRunner:
    """Outputs recorded before: an .npz or .npy with a leading axis of samples, or a folder of them.

    Args:
        path: one file for all samples, or a folder with one for each, in the order of their names.

    Raises:
        UserError: nothing there, damaged, or the arrays do not agree.
    """

    graph: Graph | None = None

    def __init__(self, path: Path) -> None:
        self.title = str(path)
        self.inputs: dict[str, Shape] = {}
        self._files: list[Path] = []
        self._arrays: dict[str, np.ndarray] = {}
        if path.is_dir():
            self._files = sorted(p for p in path.iterdir() if p.suffix in (".npz", ".npy"))
            if not self._files:
                raise UserError(f"{path}: holds no .npz or .npy files with recorded outputs")
            first = _named(self._files[0])
            self.count = len(self._files)
            self.forms = {n: _array_form(a.shape, a.dtype) for n, a in first.items()}
        else:
            self._arrays = _named(path)
            counts = {len(a) if a.ndim else 0 for a in self._arrays.values()}
            if len(counts) != 1 or not (count := counts.pop()):
                raise UserError(f"{path}: the arrays do not have one leading axis of samples")
            self.count = count
            self.forms = {
                n: _array_form((1, *a.shape[1:]), a.dtype) for n, a in self._arrays.items()
            }
        self.outputs = list(self.forms)

    def run(
        self, sample: Mapping[str, np.ndarray], position: int, wanted: Collection[str], visit: Visit
    ) -> None:
        if self._files:
            arrays = _named(self._files[position])
        else:
            arrays = {n: a[position : position + 1] for n, a in self._arrays.items()}
        for name, form in self.forms.items():
            array = arrays.get(name)
            if array is None or array.shape != form.shape:
                found = "is missing" if array is None else f"has the shape {array.shape}"
                file = self._files[position] if self._files else self.title
                raise UserError(f"{file}: output {name} {found}, {form.shape} is expected")
            if name in wanted:
                visit(name, array)


def _array_form(shape: Shape, dtype: np.dtype[np.generic]) -> Form:
    return Form(shape, dtype, None, _place(dtype))


def _named(path: Path) -> dict[str, np.ndarray]:
    found = load_inputs(path)
    if isinstance(found, dict):
        return found
    # Arrays without names are matched by their order.
    return {f"output {number}": array for number, array in enumerate(found)}


def batches(runner: Runner, sample: Mapping[str, np.ndarray], size: int = 0) -> int:
    """How many samples a runner takes at once.

    Raises:
        UserError: lists the inputs that a sample does not fit.
    """
    problems = Problems()
    counts: set[int] = set()
    for name, shape in runner.inputs.items():
        array = sample[name]
        whole = not array.ndim or not shape or array.shape == shape
        if not whole and (array.shape[1:] != shape[1:] or shape[0] % array.shape[0]):
            problems.add(
                f"{runner.title}: input {name}: a sample has the shape {list(array.shape)}, "
                f"{list(shape)} is needed"
            )
            continue
        counts.add(1 if whole else shape[0] // array.shape[0])
    problems.raise_if_any()
    if len(counts) > 1:
        raise UserError(f"{runner.title}: the batches of the inputs differ; they cannot be fed")
    return counts.pop() if counts else 1


def run_group(
    runner: Runner,
    batch: int,
    samples: Sequence[Mapping[str, np.ndarray]],
    positions: Sequence[int],
    wanted: Collection[str],
    visit: Visit,
) -> None:
    """Run samples in batches of *batch*; arrays of several batches are joined along axis 0."""
    if len(samples) == batch:
        runner.run(joined(samples, runner), positions[0], wanted, visit)
        return
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(samples), batch):
        runner.run(
            joined(samples[start : start + batch], runner),
            positions[start],
            wanted,
            lambda name, array: parts.setdefault(name, []).append(array),
        )
    for name, arrays in parts.items():
        visit(name, np.concatenate([np.atleast_1d(a) for a in arrays]))


def joined(samples: Sequence[Mapping[str, np.ndarray]], runner: Runner) -> dict[str, np.ndarray]:
    """One batch."""
    if len(samples) == 1:
        return dict(samples[0])
    return {name: np.concatenate([s[name] for s in samples]) for name in runner.inputs}
