"""The int8 graph under construction, together with what it computes on the calibration samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Op, Value
from nntc.quant.grid import Grid

Arrays = list[np.ndarray]
"""One array for every sample."""


@dataclass(frozen=True, eq=False)
class Fixed:
    """A float value as integers of the new graph."""

    value: Value
    grid: Grid


class Network:
    """Maps values of the float graph to the new graph, in the forms that exist.

    Attributes:
        source: the float graph.
        graph: the new graph.
        reference: float value → what it is on every sample.
        node: the float node that is being lowered.
    """

    def __init__(self, source: Graph, samples: Sequence[dict[str, np.ndarray]]) -> None:
        self.source = source
        self.graph = Graph(source.name)
        self.count = len(samples)
        self.reference: dict[Value, Arrays] = {}
        self.node: Node | None = None
        self._arrays: dict[Value, Arrays] = {}
        self._fixed: dict[Value, Fixed] = {}
        self._float: dict[Value, Value] = {}
        self._holders: Counter[Value] = Counter()
        self._left = Counter(v for node in source.nodes for v in node.operands)
        self._left.update(source.outputs)
        self._samples = samples

    # -- inputs -----------------------------------------------------------------------------

    def float_input(self, value: Value) -> None:
        """A network input as it is."""
        made = self.graph.input(value.name, value.dtype, value.shape)
        self.reference[value] = [sample[value.name] for sample in self._samples]
        self._arrays[made] = self.reference[value]
        self.bind(value, made)

    def integer_input(self, value: Value, grid: Grid) -> None:
        """A network input as integers of *grid*."""
        made = self.graph.input(value.name, grid.dtype, value.shape)
        self.reference[value] = [sample[value.name] for sample in self._samples]
        by = np.asarray(1.0 / grid.scale, np.float32)
        quantize = ops.Quantize(grid.dtype, zero=grid.zero)
        self._arrays[made] = [quantize.compute(a, by)[0] for a in self.reference[value]]
        self.bind(value, Fixed(made, grid))

    # -- building ---------------------------------------------------------------------------

    def __call__(self, op: Op, *inputs: Value | None, name: str = "") -> Value:
        """Append an operator and run it on all samples; returns its first result."""
        return self.several(op, *inputs, name=name)[0]

    def several(
        self, op: Op, *inputs: Value | None, name: str = "", results: Sequence[str] = ()
    ) -> list[Value]:
        """Append an operator and run it on all samples.

        Args:
            name: of the node and its result; default: that of the node that is being lowered.
            results: names of the results, where the first's is not the node's.
        """
        node = self.node
        label = name or (node.name if node is not None else op.name)
        source = node.source if node is not None else ""
        made = self.graph.add(op, *inputs, name=label, outputs=results or [label], source=source)
        computed: list[Arrays] = [[] for _ in made.outputs]
        for index in range(self.count):
            arrays = [None if v is None else self._array(v, index) for v in inputs]
            for result, array in zip(computed, op.compute(*arrays), strict=True):
                result.append(array)
        for value, arrays in zip(made.outputs, computed, strict=True):
            self._arrays[value] = arrays
        return made.outputs

    def constant(self, data: np.ndarray, name: str = "") -> Value:
        base = name or (f"{self.node.name}.const" if self.node is not None else "const")
        return self.graph.constant(np.asarray(data), base)

    def _array(self, value: Value, index: int) -> np.ndarray:
        return value.data if value.data is not None else self._arrays[value][index]

    def arrays(self, value: Value) -> Arrays:
        """What a value of the new graph is on every sample."""
        if value.data is not None:
            return [value.data] * self.count
        return self._arrays[value]

    # -- forms of float values --------------------------------------------------------------

    def fixed(self, value: Value) -> Fixed | None:
        """The integers of a float value, if it has been computed as such."""
        return self._fixed.get(value)

    def bind(self, value: Value, result: Fixed | Value) -> None:
        """*result* is what the new graph has for a float value."""
        if isinstance(result, Fixed):
            self._fixed[value] = result
            self._describe(result)
            self._holders[result.value] += 1
        else:
            self._float[value] = result
            self._holders[result] += 1

    def floating(self, value: Value) -> Value:
        """A float value in the new graph as fp32 (or as it is, for other types)."""
        if value.data is not None and value not in self._float:
            self._float[value] = self.graph.constant(value.data, value.name)
        if value not in self._float:
            form = self._fixed[value]
            scale = self.constant(form.grid.scale.astype(np.float32), f"{value.name}.scale")
            name = value.name if value in self.source.outputs else f"{value.name}.float"
            op = ops.Dequantize(form.grid.axis, form.grid.zero)
            made = self(op, form.value, scale, name=name)
            self.bind(value, made)
        return self._float[value]

    def quantize(self, value: Value, grid: Grid) -> Fixed:
        """A float value as integers of *grid*; remembered."""
        multiplier = (1.0 / grid.scale).astype(np.float32)
        operand = self.constant(multiplier, f"{value.name}.multiplier")
        made = self(
            ops.Quantize(grid.dtype, grid.axis, grid.zero),
            self.floating(value),
            operand,
            name=f"{value.name}.fixed",
        )
        # The scale is the reciprocal of what the chip multiplies by.
        form = Fixed(made, grid.scaled(1.0 / multiplier.astype(np.float64)))
        self.bind(value, form)
        return form

    def _describe(self, form: Fixed) -> None:
        """Note in the graph what the integers mean."""
        grid = form.grid
        if form.value.scale is None and (not grid.varies or grid.axis == 1):
            form.value.scale = self.graph.constant(
                grid.scale.astype(np.float32), f"{form.value.name}.scale"
            )
            form.value.zero = grid.zero

    # -- running ----------------------------------------------------------------------------

    def run_reference(self, node: Node) -> None:
        """Compute a node of the float graph on all samples, if that has not been done."""
        if node.outputs[0] in self.reference:
            return
        results: list[Arrays] = [[] for _ in node.outputs]
        for index in range(self.count):
            arrays = [
                None if v is None else (v.data if v.data is not None else self.reference[v][index])
                for v in node.inputs
            ]
            for result, array in zip(results, node.op.compute(*arrays), strict=True):
                result.append(array)
        for value, arrays in zip(node.outputs, results, strict=True):
            self.reference[value] = arrays

    def release(self, node: Node) -> None:
        """Drop what only *node* still needed."""
        self._left.subtract(node.operands)
        for value in dict.fromkeys(v for v in node.operands if not self._left[v]):
            self.reference.pop(value, None)
            for made in self._forms(value):
                # Values that differ by a factor alone share their integers.
                self._holders[made] -= 1
                if not self._holders[made]:
                    self._arrays.pop(made, None)

    def _forms(self, value: Value) -> list[Value]:
        """The values of the new graph that hold a float value."""
        form = self._fixed.get(value)
        found = [self._float.get(value), None if form is None else form.value]
        return [v for v in found if v is not None]

    def sqnr(self, value: Value, count: int) -> float:
        """Signal to noise of a value on the first samples, in dB."""
        signal = noise = 0.0
        form = self._fixed.get(value)
        made = form.value if form is not None else self._float[value]
        for index in range(min(count, self.count)):
            wanted = self.reference[value][index].astype(np.float64)
            got = self._array(made, index)
            got = got.astype(np.float64) if form is None else form.grid.real(got)
            signal += float((wanted**2).sum())
            noise += float(((wanted - got) ** 2).sum())
        if not noise:
            return np.inf
        return 10 * float(np.log10(max(signal, 1e-300) / noise))
