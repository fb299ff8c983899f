"""Quantises small graphs, and checks what every quantised graph has to keep."""

from __future__ import annotations

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import interpret, ops
from nntc.ir.graph import Graph
from nntc.ir.verify import verify
from nntc.quant import Quantized, QuantizeOptions, calibrate, quantize

Sample = dict[str, np.ndarray]


class Arrays:
    """A dataset of arrays in memory."""

    digest = "arrays"

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def samples(graph: Graph, count: int = 8, offset: float = 0.0, seed: int = 3) -> list[Sample]:
    """Smooth noise for the inputs of a graph."""
    found = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        sample = {}
        for value in graph.inputs:
            if value.dtype.is_float:
                array = rng.standard_normal(value.shape)
                for axis in range(2, len(value.shape)):
                    array = array + np.roll(array, 1, axis)
                sample[value.name] = (array + offset).astype(np.float32)
            else:
                sample[value.name] = rng.integers(1, 4, value.shape).astype(value.dtype.numpy)
        found.append(sample)
    return found


def quantized(
    graph: Graph, given: list[Sample], options: QuantizeOptions | None = None
) -> Quantized:
    return quantize(graph, calibrate(graph, Arrays(given)), Arrays(given), options)


def decibels(wanted: np.ndarray, got: np.ndarray) -> float:
    """Signal to noise."""
    a, b = wanted.astype(np.float64), got.astype(np.float64)
    noise = float(((a - b) ** 2).sum())
    return 10 * np.log10(max(float((a**2).sum()), 1e-300) / noise) if noise else np.inf


def all_values(graph: Graph, inputs: Sample) -> Sample:
    """Every value by name; integers as the numbers they stand for where the graph says it."""
    found: Sample = {}

    def visit(value, array) -> None:  # type: ignore[no-untyped-def]
        if value.dtype in (DType.I8, DType.U8) and value.scale is not None:
            scale = value.scale.data
            if scale.ndim:
                scale = scale.reshape([-1 if a == 1 else 1 for a in range(array.ndim)])
            array = (array.astype(np.float64) - value.zero) * scale
        found[value.name] = array

    interpret.run(graph, inputs, visit=visit)
    return found


def check_sound(made: Quantized, source: Graph, fixed_borders: bool = False) -> None:
    """What holds for every quantised graph, whatever its accuracy."""
    graph = made.graph
    verify(graph)
    if not fixed_borders:
        assert [(v.name, v.type) for v in graph.inputs] == [(v.name, v.type) for v in source.inputs]
    assert [v.name for v in graph.outputs] == [v.name for v in source.outputs]
    assert [v.shape for v in graph.outputs] == [v.shape for v in source.outputs]
    if not fixed_borders:
        assert [v.dtype for v in graph.outputs] == [v.dtype for v in source.outputs]
    for value in graph.values():
        if value.data is not None and value.data.dtype.kind == "f":
            assert np.isfinite(value.data).all(), value
        if value.scale is not None:
            assert value.dtype in (DType.I8, DType.U8), value
            scale = value.scale.data
            assert scale is not None
            assert scale.dtype == np.float32
            assert scale.shape in ((), (value.shape[1],) if len(value.shape) > 1 else ()), value
            assert (scale > 0).all(), value
            assert np.isfinite(scale).all(), value
            assert np.isfinite(1 / scale).all(), value
            limits = np.iinfo(value.dtype.numpy.name)
            assert limits.min <= value.zero <= limits.max
    for node in graph.nodes:
        if isinstance(node.op, (ops.FixConv, ops.FixConvTranspose)):
            weight = node.operands[1].data
            assert weight is not None
            assert weight.dtype == np.int8
            assert weight.min(initial=0) >= -127
