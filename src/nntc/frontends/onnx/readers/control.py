"""If, Loop and Scan: branches are chosen and iterations unrolled while reading."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import GraphProto

from nntc.core.errors import ModelError
from nntc.frontends import limits
from nntc.frontends.onnx.call import (
    Binding,
    Call,
    ListValue,
    RefusedError,
    element_type,
    front_axis,
    reads,
)
from nntc.ir.graph import Value


@reads("If")
def if_(c: Call) -> list[Binding]:
    """With a condition that is data both branches run, and the results are chosen from."""
    condition = c.x()
    if condition.type.size != 1:
        raise ModelError(f"the condition has the shape {list(condition.shape)}")
    if condition.data is not None:
        branch = "then" if condition.data.reshape(-1)[0] else "else"
        return c.importer.subgraph(c.graph(f"{branch}_branch"), c.scope, {}, f"{branch}/")
    sides = [
        c.importer.subgraph(c.graph(f"{branch}_branch"), c.scope, {}, f"{branch}/")
        for branch in ("then", "else")
    ]
    condition = c.b.reshape(condition, ())
    results: list[Binding] = []
    for yes, no in zip(*sides, strict=True):
        if isinstance(yes, ListValue) or isinstance(no, ListValue):
            raise RefusedError(
                "the condition depends on the network's inputs, and it chooses sequences"
            )
        if yes.type != no.type:
            raise RefusedError(
                f"the condition depends on the network's inputs, and the branches give {yes.type} "
                f"and {no.type}"
            )
        results.append(c.b.where(condition, yes, no))
    return results


@reads("Loop")
def loop(c: Call) -> list[Binding]:
    """Unrolled. A condition that is data is allowed as long as the number of results is not.

    Iterations after the condition has failed then run too, and their results are dropped.
    """
    body = c.graph("body")
    most = c.opt_const(0, "the trip count")
    trips = None if most is None else int(most.reshape(-1)[0])
    if trips is not None and trips > limits.TRIPS:
        raise RefusedError(f"{trips} iterations, at most {limits.TRIPS} are unrolled")
    carried = [_present(c, i) for i in range(2, len(c))]
    names = [v.name for v in body.input]
    if len(names) != len(carried) + 2 or len(body.output) <= len(carried):
        raise ModelError("the body's inputs and outputs do not fit the node's operands")
    condition = c.opt(1)
    active: Value = c.b.const(np.bool_(True)) if condition is None else condition
    active = c.b.reshape(active, ())
    scans: list[list[Value]] = [[] for _ in body.output[len(carried) + 1 :]]
    index = 0
    while trips is None or index < trips:
        if active.data is not None and not active.data:
            break
        if active.data is None and (trips is None or scans):
            raise RefusedError("the number of iterations depends on the network's inputs")
        if index >= limits.TRIPS:
            raise RefusedError(f"more than {limits.TRIPS} iterations")
        given = [c.b.const(np.int64(index)), active, *carried]
        bindings: dict[str, Binding] = dict(zip(names, given, strict=True))
        results = c.importer.subgraph(body, c.scope, bindings, f"{index}/")
        after = results[1 : len(carried) + 1]
        carried = [_choose(c, active, n, o) for n, o in zip(after, carried, strict=True)]
        for store, value in zip(scans, results[len(carried) + 1 :], strict=True):
            store.append(c.b.unsqueeze(_tensor(value), 0))
        following = c.b.reshape(_tensor(results[0]), ())
        active = following if active.data is not None else c.b.binary("and", active, following)
        index += 1
    return [*carried, *(_stack(c, s, body, len(carried) + 1 + i) for i, s in enumerate(scans))]


def _present(c: Call, index: int) -> Binding:
    value = c.raw(index)
    if value is None:
        raise ModelError(f"{c.operand_name(index)} is missing")
    return value


def _tensor(value: Binding) -> Value:
    if isinstance(value, ListValue):
        raise RefusedError("a sequence is stacked or tested")
    return value


def _choose(c: Call, active: Value, new: Binding, old: Binding) -> Binding:
    if active.data is not None:
        return new
    if isinstance(new, ListValue) or isinstance(old, ListValue) or new.type != old.type:
        raise RefusedError("the number of iterations depends on the network's inputs")
    return c.b.where(active, new, old)


def _stack(c: Call, values: Sequence[Value], body: GraphProto, index: int) -> Value:
    """Results of all iterations; of none, an empty tensor of the declared type."""
    if values:
        return c.b.concat(values, 0)
    kind = body.output[index].type.tensor_type
    dims = [d.dim_value for d in kind.shape.dim]
    if not kind.HasField("shape") or any(d < 1 for d in dims):
        raise RefusedError("the loop never runs, and the shape of its results is not declared")
    dtype = element_type(kind.elem_type, "element type")
    return c.b.const(np.empty((0, *dims), dtype.numpy))


@reads("Scan")
def scan_batched(c: Call) -> list[Value]:
    """Version 8: operand 0 holds lengths, all others have a batch axis in front."""
    if c.opt(0) is not None:
        raise RefusedError("sequence lengths in Scan of version 8")
    count = c.i("num_scan_inputs", 0)
    operands = [c.x(i) for i in range(1, len(c))]
    backwards = c.ints("directions") or (0,) * count
    batches: list[list[Value]] = []
    for index in range(operands[0].shape[0]):
        rows = [c.b.squeeze(c.b.slice(v, 0, index, index + 1), 0) for v in operands]
        batches.append(_scan(c, rows, count, (0,) * count, backwards, None, None))
    return [
        c.b.concat([c.b.unsqueeze(batch[i], 0) for batch in batches], 0)
        for i in range(len(batches[0]))
    ]


@reads("Scan", since=9)
def scan(c: Call) -> list[Value]:
    count = c.i("num_scan_inputs", 0)
    operands = c.all()
    return _scan(
        c,
        operands,
        count,
        c.ints("scan_input_axes") or (0,) * count,
        c.ints("scan_input_directions") or (0,) * count,
        c.ints("scan_output_axes"),
        c.ints("scan_output_directions"),
    )


def _scan(
    c: Call,
    operands: Sequence[Value],
    count: int,
    axes: Sequence[int],
    backwards: Sequence[int],
    output_axes: Sequence[int] | None,
    output_backwards: Sequence[int] | None,
) -> list[Value]:
    body = c.graph("body")
    states = list(operands[: len(operands) - count])
    inputs = list(operands[len(operands) - count :])
    names = [v.name for v in body.input]
    outputs = len(body.output) - len(states)
    if not 1 <= count <= len(operands) or len(names) != len(operands) or outputs < 0:
        raise ModelError("the body's inputs and outputs do not fit the node's operands")
    if len(axes) != count or len(backwards) != count:
        raise ModelError(f"axes or directions are not given for {count} operands")
    where = [front_axis(a, len(v.shape)) for a, v in zip(axes, inputs, strict=True)]
    lengths = {v.shape[a] for v, a in zip(inputs, where, strict=True)}
    if len(lengths) != 1:
        raise ModelError(f"the operands have different lengths {sorted(lengths)}")
    steps = lengths.pop()
    if steps > limits.TRIPS:
        raise RefusedError(f"{steps} iterations, at most {limits.TRIPS} are unrolled")
    collected: list[list[Value]] = [[] for _ in range(outputs)]
    for t in range(steps):
        rows: list[Value] = []
        for v, axis, reverse in zip(inputs, where, backwards, strict=True):
            at = steps - 1 - t if reverse else t
            rows.append(c.b.squeeze(c.b.slice(v, axis, at, at + 1), axis))
        bindings: dict[str, Binding] = dict(zip(names, [*states, *rows], strict=True))
        results = [_tensor(v) for v in c.importer.subgraph(body, c.scope, bindings, f"{t}/")]
        states = results[: len(states)]
        for store, value in zip(collected, results[len(states) :], strict=True):
            store.append(value)
    stacked: list[Value] = []
    for index, values in enumerate(collected):
        if not values:
            stacked.append(_stack(c, (), body, len(states) + index))
            continue
        if output_backwards and output_backwards[index]:
            values = values[::-1]
        axis = output_axes[index] if output_axes else 0
        axis = front_axis(axis, len(values[0].shape) + 1)
        stacked.append(c.b.concat([c.b.unsqueeze(v, axis) for v in values], axis))
    return [*states, *stacked]
