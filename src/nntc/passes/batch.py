"""The same network for another number of samples at once.

Of every value it is known which axis runs over the samples, and that it does so sample by sample:
an axis of size ``samples * each`` holds *each* rows of the first sample, then those of the second.
The rules (:mod:`nntc.passes.batch_rules`) say for every operator where that axis goes. What would
mix samples, or hold them in another order, is refused: the result is right or there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nntc.core.errors import Problems, UnsupportedError, UserError
from nntc.ir.graph import Graph, Node, Op, TensorType, Value, infer_types
from nntc.passes.batch_rules import place
from nntc.passes.batch_step import ALL, Axis, Now, Step

MOST_SAMPLES = 1 << 16


def batch_of(graph: Graph) -> int:
    """The number of samples that a graph takes at once: the first dimension of all its inputs.

    Raises:
        UnsupportedError: the inputs do not agree on one.
    """
    sizes = {value.shape[0] if value.shape else 0 for value in graph.inputs}
    if len(sizes) == 1 and min(sizes) > 0:
        return sizes.pop()
    inputs = ", ".join(f"{v.name} {list(v.shape)}" for v in graph.inputs) or "there is none"
    raise UnsupportedError(f"the inputs have no batch in common: {inputs}")


def with_batch(graph: Graph, samples: int) -> Graph:
    """The same network for *samples* samples at once; *graph* itself if it is that already.

    Every sample gets the results that it gets in the given graph. Names stay.

    Raises:
        UnsupportedError: names every node for which that cannot be proved.
    """
    old = batch_of(graph)
    if not 0 < samples <= MOST_SAMPLES:
        raise UnsupportedError(f"a batch of {samples}: 1 to {MOST_SAMPLES} is possible")
    if samples == old:
        return graph
    made = Graph(graph.name)
    now = Now(graph, made)
    problems = Problems(UnsupportedError)
    for value in graph.inputs:
        kind = TensorType(value.dtype, (samples, *value.shape[1:]))
        made.inputs.append(now.make(value, kind, Axis(0, 1)))
    outputs = set(graph.outputs)
    lost: set[Value] = set()
    for node in graph.nodes:
        if lost & set(node.operands):
            lost.update(node.outputs)
            continue
        step = Step(node, now, old, samples)
        try:
            _add(step, made, now, outputs)
        except UserError as err:
            refused = isinstance(err, UnsupportedError)
            # Else a shape rule does not hold for the new batch.
            problems.add(str(err if refused else step.refuse("; ".join(err.problems))))
            lost.update(node.outputs)
    problems.raise_if_any()
    made.outputs = [now.value(v) for v in graph.outputs]
    return made


def one_sample(graph: Graph) -> Graph:
    """The network for one sample; *graph* itself if it is that, or if its inputs have no batch.

    Raises:
        UnsupportedError: see :func:`with_batch`.
    """
    first = {value.shape[:1] for value in graph.inputs}
    if len(first) != 1 or first <= {(), (0,), (1,)}:
        return graph
    return with_batch(graph, 1)


def with_input_shapes(
    graph: Graph, shapes: Mapping[str, Sequence[int]] | Sequence[Sequence[int]]
) -> Graph:
    """The same network for inputs of other shapes, of which only the batch may differ.

    Args:
        shapes: by the inputs' names, or in their order.

    Raises:
        UserError: lists the shapes that do not fit.
        UnsupportedError: see :func:`with_batch`.
    """
    names = [value.name for value in graph.inputs]
    if not isinstance(shapes, Mapping):
        if len(shapes) != len(names):
            raise UserError(f"{len(shapes)} shapes are given for the inputs {', '.join(names)}")
        shapes = dict(zip(names, shapes, strict=True))
    problems = Problems()
    for name in shapes:
        if name not in names:
            problems.add(f"no input is called {name}; there are {', '.join(names)}")
    wanted = {v.name: tuple(shapes.get(v.name, v.shape)) for v in graph.inputs}
    for value in graph.inputs:
        shape = wanted[value.name]
        if shape[1:] != value.shape[1:] or len(shape) != len(value.shape):
            problems.add(
                f"input {value.name} is {list(value.shape)} and cannot become {list(shape)}: only "
                "the batch of a UModel can change; make it again for other sizes"
            )
    problems.raise_if_any()
    if all(v.shape == wanted[v.name] for v in graph.inputs):
        return graph
    batches = {shape[0] for shape in wanted.values()}
    if len(batches) > 1:
        text = ", ".join(f"{name} {list(shape)}" for name, shape in wanted.items())
        raise UserError(f"the inputs would have different batches: {text}")
    return with_batch(graph, batches.pop())


def _add(step: Step, made: Graph, now: Now, outputs: set[Value]) -> None:
    """Append one node to the new graph."""
    node = step.node
    if ALL in step.axes:
        raise step.refuse("it reads a list of what was found in all samples")
    op: Op = node.op
    axes: list[Axis | None] = [None] * len(node.outputs)
    if any(axis is not None for axis in step.axes):
        op, result = place(step)
        axes = [result] * len(node.outputs)
        if result == ALL and not outputs.issuperset(node.outputs):
            raise step.refuse("its rows are of all samples")
    types = infer_types(op, step.inputs, node.source)
    results = [
        now.make(value, kind, axis)
        for value, kind, axis in zip(node.outputs, types, axes, strict=True)
    ]
    made.nodes.append(Node(op, step.inputs, results, made.unique_node_name(node.name), node.source))
