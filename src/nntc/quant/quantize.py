"""The call that makes an int8 graph of a float graph, statistics and samples."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nntc.core.errors import Problems, UserError
from nntc.ir.graph import Graph, Value
from nntc.ir.verify import verify
from nntc.quant import elementwise, linear, moves
from nntc.quant.calibrate import Samples, chosen_positions, grouped_samples
from nntc.quant.islands import float_nodes
from nntc.quant.options import QuantizeOptions
from nntc.quant.quantizer import LayerReport, Quantizer
from nntc.quant.statistics import Statistics
from nntc.quant.thresholds import METHODS

RULES = (elementwise, linear, moves)
"""The modules whose import registers the rules."""


@dataclass(frozen=True)
class Quantized:
    """An int8 graph, and what became of every node of the float graph."""

    graph: Graph
    report: list[LayerReport]


def quantize(
    graph: Graph,
    statistics: Statistics,
    dataset: Samples,
    options: QuantizeOptions | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Quantized:
    """Quantise a float graph.

    Args:
        statistics: of :func:`nntc.quant.calibrate` on the same graph.
        dataset: samples on which layers are fitted; see ``QuantizeOptions.samples``.
        progress: called as (stage, done, total).

    Raises:
        UserError: a name or number in the options cannot be meant, the statistics are of another
            graph, or no sample can be read.
    """
    chosen = options or QuantizeOptions()
    tell = progress or (lambda stage, done, total: None)
    check_options(chosen, graph)
    statistics.check(graph)
    if not statistics.samples:
        raise UserError("quantise: the statistics hold no samples")
    work = Quantizer(graph, statistics, fitting_samples(graph, dataset, chosen), chosen)
    result = work.run(tell)
    verify(result)
    return Quantized(result, work.report)


def fitting_samples(
    graph: Graph, dataset: Samples, options: QuantizeOptions
) -> list[dict[str, np.ndarray]]:
    """The samples on which layers are fitted: as many as wanted and as memory allows.

    Raises:
        UserError: a sample does not fit the network, or none can be read.
    """
    count = min(options.samples, max(options.memory // max(_sample_bytes(graph), 1), 1))
    positions = chosen_positions(len(dataset), count)
    samples: list[dict[str, np.ndarray]] = []
    for _, group in grouped_samples(dataset, positions):
        samples += [_checked(graph, name, sample) for name, sample in group]
    if not samples:
        raise UserError("quantise: no sample could be read")
    return samples


def check_options(options: QuantizeOptions, graph: Graph) -> None:
    """Refuse, before the work, numbers that mean nothing and names that the graph does not have.

    Raises:
        UserError: lists them.
    """
    problems = Problems(UserError)
    try:
        float_nodes(graph, options)
    except UserError as err:
        for text in err.problems:
            problems.add(text)
    if options.method.upper() not in METHODS:
        known = ", ".join(METHODS)
        problems.add(f"threshold method {options.method}: is unknown, known are {known}")
    if options.samples < 1:
        problems.add(f"layers fitted on {options.samples} samples: at least 1 is needed")
    values = {v.name for v in graph.values() if v.data is None and v.dtype.is_float}
    for name, number in options.thresholds:
        if name not in values:
            close = difflib.get_close_matches(name, sorted(values), 1)
            hint = f"; is {close[0]} meant?" if close else ""
            problems.add(f"threshold of {name}: the network computes no such float value{hint}")
        elif not (math.isfinite(number) and number > 0):
            problems.add(f"threshold of {name} is {number}: it has to be positive and finite")
    problems.raise_if_any()


def _checked(graph: Graph, name: str, sample) -> dict[str, np.ndarray]:
    """A sample whose arrays are what the network takes.

    Raises:
        UserError: lists the inputs that are not.
    """
    problems = Problems(UserError)
    for value in graph.inputs:
        array = sample.get(value.name)
        if array is None:
            problems.add(f"sample {name}: has no input {value.name}")
        elif array.shape != value.shape or array.dtype != value.dtype.numpy:
            got = f"{array.dtype} of shape {array.shape}"
            problems.add(f"sample {name}: input {value.name} is {got}, not {value.type}")
        elif value.dtype.is_float and not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            text = f"input {value.name}: {bad} of {array.size} numbers are NaN or infinite"
            problems.add(f"sample {name}: {text}")
    problems.raise_if_any()
    return dict(sample)


def _sample_bytes(graph: Graph) -> int:
    """Most bytes that one sample's values take at a time, as fp32 and as integers."""
    left = Counter(v for node in graph.nodes for v in node.operands)
    left.update(graph.outputs)
    live = set(graph.inputs)
    now = most = sum(_bytes(v) for v in live)
    for node in graph.nodes:
        now += sum(_bytes(v) for v in node.outputs)
        live.update(node.outputs)
        most = max(most, now)
        left.subtract(node.operands)
        for value in dict.fromkeys(node.operands):
            if not left[value] and value in live:
                live.discard(value)
                now -= _bytes(value)
    return most


def _bytes(value: Value) -> int:
    """fp32 and 8-bit integers; a float island has both in fp32."""
    return value.type.size * 6


__all__ = ["RULES", "Quantized", "quantize"]
