"""Walks the float graph in order and writes the int8 graph.

Every node is written as integers where a rule for its operator accepts it, else in fp32. Values
change form where the neighbours need it. While it is written, the new graph is run on samples, so
that every layer is fitted to what the layers before it really give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value
from nntc.quant.agreement import Agreement, is_relu
from nntc.quant.grid import Grid
from nntc.quant.importance import channel_importance
from nntc.quant.islands import float_nodes
from nntc.quant.network import Fixed, Network
from nntc.quant.options import QuantizeOptions
from nntc.quant.ranges import Ranges
from nntc.quant.rules import TABLE
from nntc.quant.scales import Scaling, factor_shift
from nntc.quant.statistics import Statistics

CHECKED = 4
"""Samples on which the report's errors are measured."""


@dataclass(frozen=True)
class LayerReport:
    """What became of one node of the float graph.

    Attributes:
        node: its name; source: where it comes from in the user's model.
        place: int8 or fp32.
        value: the result that was compared.
        sqnr: signal to noise in dB on a few of the samples, errors of all earlier layers included.
        scaling: of a convolution.
    """

    node: str
    source: str
    operator: str
    place: str
    value: str
    sqnr: float
    scaling: Scaling | None = None


class Quantizer:
    """The state of one quantisation.

    Attributes:
        net: the new graph and what it computes on the samples.
        options: the user's choices.
        report: what became of the nodes so far.
    """

    def __init__(
        self,
        graph: Graph,
        statistics: Statistics,
        samples: Sequence[dict[str, np.ndarray]],
        options: QuantizeOptions,
    ) -> None:
        self.source = graph
        self.options = options
        self.users = graph.users()
        self.floating = float_nodes(graph, options)
        self.agreement = Agreement(graph, statistics, self.floating, options.int8_outputs)
        self.ranges = Ranges(statistics, self.agreement, options)
        self.report: list[LayerReport] = []
        self.scaling: Scaling | None = None
        self._outputs = set(graph.outputs)
        self._importance = channel_importance(graph)
        self._done: set[Node] = set()
        self.net = Network(graph, samples)
        for value in graph.inputs:
            if options.int8_inputs and value.dtype is DType.F32:
                self.net.integer_input(value, self.grid(value))
            else:
                self.net.float_input(value)

    # -- what the rules ask for -------------------------------------------------------------

    def limits(self, node: Node) -> tuple[Value, ops.Clip | None]:
        """The value that a node's integer form computes: its own, or that of the ReLU or Clip
        which alone reads it; and the limits of that."""
        user = self.only_reader(node.output)
        op = None if user is None else user.op
        if op is not None and is_relu(op):
            op = ops.Clip(0.0, np.inf)
        if user is None or not isinstance(op, ops.Clip):
            return node.output, None
        self.absorb(user)
        return user.output, op

    def only_reader(self, value: Value) -> Node | None:
        """The node that alone reads a value, if it may become one with the value's producer."""
        users = self.users.get(value, [])
        if value in self._outputs or len(users) != 1 or users[0] in self.floating:
            return None
        return users[0]

    def absorb(self, node: Node) -> None:
        """*node* is computed together with what it reads."""
        self._done.add(node)
        self.net.run_reference(node)

    def integers(self, value: Value) -> Fixed:
        """The value as integers; quantised here if it exists in fp32 only."""
        return self.net.fixed(value) or self.net.quantize(value, self.grid(value))

    def common(self, form: Fixed, name: str = "") -> Fixed:
        """The integers with one scale for all channels."""
        if not form.grid.varies:
            return form
        return self.convert(form, form.grid.scaled(form.grid.scale.max()), name)

    def convert(self, form: Fixed, grid: Grid, name: str = "") -> Fixed:
        """The integers on another grid."""
        old = form.grid
        same = old.dtype is grid.dtype and old.zero == grid.zero
        if same and np.array_equal(old.scale, grid.scale):
            return form
        ratio = np.asarray(old.scale / grid.scale)
        shift = factor_shift(ratio, 7)
        factor = np.rint(ratio * 2.0**shift)
        offset = np.clip(np.rint(grid.zero * 2.0**shift - old.zero * factor), -32768, 32767)
        operands = [
            self.net.constant(factor.astype(np.int8)),
            self.net.constant(offset.astype(np.int16)),
        ]
        op = ops.FixAffine(shift, grid.dtype, old.axis)
        return Fixed(self.net(op, form.value, *operands, name=name), grid)

    def grid(self, value: Value) -> Grid:
        """The grid that the value's range asks for, with one scale."""
        return self.ranges.grid(value)

    def channel_scales(self, value: Value, channels: int) -> np.ndarray:
        """Scales that the channels' ranges ask for; equal where the value may have but one."""
        if self.varies(value):
            return self.ranges.channels(value)
        return self.ranges.grid(value).channels(channels).copy()

    def importance(self, value: Value, channels: int) -> np.ndarray:
        """How much errors of each channel matter."""
        found = self._importance.get(value)
        return np.ones(channels) if found is None else found + 1e-3

    def varies(self, value: Value) -> bool:
        """Whether the value may have a scale for every channel."""
        return self.options.per_channel and self.agreement.free(value)

    def limit(self, form: Fixed, limits: ops.Clip | None, target: Value) -> Fixed:
        """Apply limits where saturation alone does not; *target* is the value that has them."""
        if limits is None:
            return form
        grid = form.grid
        for fn, bound in (("max", limits.min), ("min", limits.max)):
            if not np.isfinite(bound):
                continue
            steps = np.rint(bound / grid.scale) + grid.zero
            if np.all(steps <= grid.low if fn == "max" else steps >= grid.high):
                continue
            steps = np.clip(steps, grid.low, grid.high).astype(grid.dtype.numpy)
            steps = grid.spread(steps, len(form.value.shape))
            bounds = self.net.constant(steps)
            name = f"{target.name}.limited"
            form = Fixed(self.net(ops.Binary(fn), form.value, bounds, name=name), grid)
        return form

    def name(self, value: Value) -> str:
        """What the integers of a float value are called; an output in fp32 keeps its name."""
        taken = value in self._outputs and not self.options.int8_outputs
        return f"{value.name}.fixed" if taken else value.name

    def bind(self, value: Value, form: Fixed) -> None:
        """*form* holds a float value's integers."""
        self.net.bind(value, form)

    # -- the walk ---------------------------------------------------------------------------

    def run(self, progress: Callable[[str, int, int], None]) -> Graph:
        """Quantise the whole graph."""
        nodes = self.source.nodes
        for index, node in enumerate(nodes):
            progress("quantise", index, len(nodes))
            self.net.run_reference(node)
            self.net.node = node
            if node not in self._done:
                self._lower(node)
            self.net.release(node)
        progress("quantise", len(nodes), len(nodes))
        self.net.node = None
        graph = self.net.graph
        for value in self.source.outputs:
            form = self.net.fixed(value)
            if self.options.int8_outputs and form is not None and not form.grid.varies:
                graph.outputs.append(self._integer_output(value, form))
            else:
                graph.outputs.append(self.net.floating(value))
        graph.prune()
        self._name_outputs()
        return graph

    def _integer_output(self, value: Value, form: Fixed) -> Value:
        """The integers of an output; those of another value, with another meaning, are copied."""
        if form.value.name != value.name:
            made = self.net(ops.Reshape(value.shape), form.value, name=value.name)
            form = Fixed(made, form.grid)
            self.bind(value, form)
        return form.value

    def _name_outputs(self) -> None:
        """Give outputs their names where a value in between has taken one."""
        taken = {v.name: v for v in self.net.graph.values()}
        for value, made in zip(self.source.outputs, self.net.graph.outputs, strict=True):
            if made.name == value.name:
                continue
            other = taken.get(value.name)
            if other is not None:
                other.name = made.name
                taken[made.name] = other
            made.name = value.name
            taken[value.name] = made

    def _lower(self, node: Node) -> None:
        self.scaling = None
        rule = None if node in self.floating else TABLE.get(type(node.op))
        before = len(self._done)
        place = "int8"
        if rule is None or not rule(self, node):
            place = "fp32"
            inputs = [None if v is None else self.net.floating(v) for v in node.inputs]
            names = [v.name for v in node.outputs]
            results = self.net.several(node.op, *inputs, results=names)
            for value, made in zip(node.outputs, results, strict=True):
                self.net.bind(value, made)
        value = node.output
        for _ in range(len(self._done) - before):
            value = self.users[value][0].output
        self.report.append(
            LayerReport(
                node.name, node.source, node.op.name, place, value.name,
                self.net.sqnr(value, CHECKED), self.scaling,
            )
        )  # fmt: skip
