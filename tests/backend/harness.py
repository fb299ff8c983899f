"""Compile a graph, run it on the simulator in poisoned memory, compare it with the interpreter.

All memory that nothing should read before it is written holds 0xFF bytes, which are NaN as fp32
and -1 as integers: what reads too far or too early shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nntc.backend import CompileOptions, CompileResult, compile_graph
from nntc.bmodel import BModel, Stage
from nntc.core.dtype import DType
from nntc.ir import interpret
from nntc.ir.graph import Graph, Op, TensorType, Value
from nntc.runtime import Engine
from nntc.runtime.device import Device
from nntc.runtime.subnets import SubnetSession
from nntc.sim import Memory, Program, Simulator

POISON = 0xFF

Arrays = dict[str, np.ndarray]


class PoisonedStage:
    """A loaded stage whose contexts start with poisoned memory."""

    def __init__(self, stage: Stage, engine: str, first: str) -> None:
        self.stage = stage
        self.engine = engine
        self.first = first
        self.programs = [Program([(g.tiu, g.gdma) for g in s.groups]) for s in stage.subnets]

    def context(self) -> PoisonedContext:
        memory = Memory()
        memory.local[:] = POISON
        stage = self.stage
        if stage.coeff is not None:
            memory.map(stage.coeff.address, np.frombuffer(stage.coeff.data, np.uint8))
        if stage.ctx_size:
            memory.map(stage.ctx_addr, stage.ctx_size)[:] = POISON
        return PoisonedContext(self, memory)


class PoisonedContext:
    """Memory of one run."""

    def __init__(self, loaded: PoisonedStage, memory: Memory) -> None:
        self.loaded = loaded
        self.memory = memory
        self.simulator = Simulator(memory, engine=loaded.engine)

    def write(self, address: int, data: np.ndarray) -> None:
        self.memory.write(address, data)

    def read(self, address: int, size: int) -> np.ndarray:
        return self.memory.read(address, size)

    def run(self, subnet: int) -> None:
        self.simulator.run(self.loaded.programs[subnet], first=self.loaded.first)


@dataclass
class PoisonedDevice:
    """The simulator with a chosen engine and order of the two instruction streams."""

    engine: str = "fast"
    first: str = "gdma"

    def load_stage(self, stage: Stage) -> PoisonedStage:
        return PoisonedStage(stage, self.engine, self.first)

    def close(self) -> None:
        """Nothing is held."""


def simulate(
    model: BModel, inputs: Sequence[np.ndarray], engine: str = "fast", first: str = "gdma"
) -> list[np.ndarray]:
    """Results of the only stage; arrays in the types of the BModel's tensors."""
    return SubnetSession(model, PoisonedDevice(engine, first), 1).launch(0, 0, inputs)


def device_arrays(model: BModel, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The graph's inputs in the order and types of the BModel."""
    return [
        inputs[t.name].astype(t.dtype.numpy).reshape(t.shape)
        for t in model.nets[0].stages[0].inputs
    ]


def run(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    opt: int = 2,
    engine: str = "fast",
    first: str = "gdma",
) -> Arrays:
    """The compiled graph's results in the graph's own types and shapes."""
    result = compile_graph(graph, CompileOptions(opt=opt))
    return run_compiled(graph, result, inputs, engine, first)


def run_compiled(
    graph: Graph,
    result: CompileResult,
    inputs: Mapping[str, np.ndarray],
    engine: str = "fast",
    first: str = "gdma",
) -> Arrays:
    model = result.model
    found = simulate(model, device_arrays(model, inputs), engine, first)
    names = [t.name for t in model.nets[0].stages[0].outputs]
    given = dict(zip(names, found, strict=True))
    return {v.name: _static(given[v.name], v) for v in graph.outputs}


def _static(array: np.ndarray, value: Value) -> np.ndarray:
    """In the graph's type and shape; the rows that a CPU layer did not find are -1."""
    if array.size == value.type.size:
        return array.astype(value.dtype.numpy).reshape(value.shape)
    rows = np.full(value.shape, -1, value.dtype.numpy)
    rows[tuple(map(slice, array.shape))] = array
    return rows


# -- graphs and data ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spec:
    """One operand: its type, whether it is a constant, and the range of its random values.

    Attributes:
        limits: integers in low ... high-1; floats uniform in low ... high. None: integers in
            -8 ... 7 (unsigned: 0 ... 15), floats normally distributed.
        boxes: rows of four are corners (low, low, high, high).
    """

    type: TensorType
    constant: bool = False
    limits: tuple[float, float] | None = None
    boxes: bool = False

    @staticmethod
    def parse(text: str) -> Spec:
        """``f32[2x3]``; ``=f32[3]`` is a constant; ``i64[5]:0:9`` gives limits; ``:boxes``."""
        constant = text.startswith("=")
        kind, *rest = text.removeprefix("=").split(":")
        dtype, _, dims = kind.rstrip("]").partition("[")
        shape = tuple(map(int, dims.split("x"))) if dims else ()
        boxes = rest[-1:] == ["boxes"]
        limits = (float(rest[0]), float(rest[1])) if len(rest) > 1 else None
        return Spec(TensorType(DType(dtype), shape), constant, limits, boxes)

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        dtype, shape = self.type.dtype, self.type.shape
        if dtype is DType.BOOL:
            return np.asarray(rng.integers(0, 2, shape)).astype(bool)
        if dtype.is_integer:
            low, high = self.limits or ((0, 16) if dtype.value.startswith("u") else (-8, 8))
            return np.asarray(rng.integers(int(low), int(high), shape)).astype(dtype.numpy)
        data = (
            rng.standard_normal(shape) if self.limits is None else rng.uniform(*self.limits, shape)
        )
        if self.boxes:
            data = np.sort(data.reshape(-1, 2, 2), 1).reshape(shape)
        return np.asarray(data).astype(dtype.numpy)


def single(op: Op, operands: str, seed: int = 0) -> tuple[Graph, Arrays]:
    """A graph of one operator, and arrays for its inputs; ``-`` is an absent operand."""
    return several([(op, operands)], seed)


def several(parts: Sequence[tuple[Op, str]], seed: int = 0) -> tuple[Graph, Arrays]:
    """A graph of operators that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    graph = Graph(parts[0][0].name)
    arrays: Arrays = {}
    for op, operands in parts:
        values: list[Value | None] = []
        for text in operands.split():
            if text == "-":
                values.append(None)
                continue
            spec = Spec.parse(text)
            data = spec.sample(rng)
            if spec.constant:
                values.append(graph.constant(data))
            else:
                value = graph.input(f"x{len(arrays)}", spec.type.dtype, spec.type.shape)
                values.append(value)
                arrays[value.name] = data
        graph.outputs += graph.add(op, *values).outputs
    return graph, arrays


# -- comparison -----------------------------------------------------------------------------------


def differences(found: Arrays, wanted: Arrays, tolerance: float) -> list[str]:
    """What is wrong, one line per output.

    Integers and truth values must be equal. Floats may differ by *tolerance* times the larger of
    their own size and the output's largest finite value; infinities and NaN must be in the same
    places.
    """
    problems: list[str] = []
    if list(found) != list(wanted):
        return [f"outputs {list(found)}, expected {list(wanted)}"]
    for name, expected in wanted.items():
        got = found[name]
        if got.shape != expected.shape or got.dtype != expected.dtype:
            problems.append(f"{name}: {got.dtype}{got.shape}, not {expected.dtype}{expected.shape}")
            continue
        wrong = _wrong(got, expected, tolerance)
        if wrong.any():
            at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            text = f"{name}{[int(i) for i in at]}: {got[at]}, expected {expected[at]}"
            problems.append(f"{text}; {int(wrong.sum())} of {wrong.size} differ")
    return problems


def _wrong(got: np.ndarray, expected: np.ndarray, tolerance: float) -> np.ndarray:
    if expected.dtype.kind != "f":
        return np.asarray(got != expected)
    a, b = got.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(b)
    scale = np.abs(b[finite]).max() if finite.any() else 0.0
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= tolerance * np.maximum(np.abs(b), scale)
    return ~np.where(finite, near, (a == b) | (np.isnan(a) & np.isnan(b)))


def check(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    tolerance: float,
    opt: int = 2,
    engine: str = "fast",
    first: str = "gdma",
) -> None:
    """Fail unless the compiled graph gives what the interpreter gives."""
    wanted = interpret.run(graph, inputs)
    found = run(graph, inputs, opt, engine, first)
    problems = differences(found, wanted, tolerance)
    assert not problems, "\n".join(problems)


def assert_same_bytes(model: BModel, inputs: Mapping[str, np.ndarray], device: Device) -> None:
    """Fail unless *device* gives every output byte that the simulator gives."""
    given = device_arrays(model, inputs)
    ours = simulate(model, given)
    stage = model.nets[0].stages[0]
    named = {t.name: a for t, a in zip(stage.inputs, given, strict=True)}
    with Engine(model, device) as engine:
        theirs = engine(named)
    for tensor, array in zip(stage.outputs, ours, strict=True):
        other = theirs[tensor.name].astype(array.dtype)
        assert array.tobytes() == other.tobytes(), _difference(tensor.name, array, other)


def _difference(name: str, ours: np.ndarray, theirs: np.ndarray) -> str:
    if ours.shape != theirs.shape:
        return f"{name}: {ours.shape} here, {theirs.shape} there"
    words = ours.view(np.uint8), theirs.view(np.uint8)
    at = int(np.argmax(words[0].reshape(-1) != words[1].reshape(-1))) // ours.itemsize
    return f"{name}: element {at} is {ours.reshape(-1)[at]}, theirs {theirs.reshape(-1)[at]}"
