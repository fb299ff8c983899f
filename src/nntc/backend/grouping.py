"""Decides which operators run together: the legal graph becomes a list of units.

A group starts at a convolution, a pooling or an element-wise operator and takes in the operators
that read its results, as long as one space holds them all and a tile fits into local memory.
Deciding groups by the cost of whole networks is the seam for a later optimiser: it only has to
return another list of units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nntc.backend import fixed_ops, moves
from nntc.backend.group import Group
from nntc.backend.kernels import pointwise
from nntc.backend.kernels.conv import FixedConvKernel, PackedConvKernel, PoolKernel
from nntc.backend.kernels.fixed import Int8ConvKernel, Int8PointwiseKernel, Int8PoolKernel
from nntc.backend.kernels.kernel import Kernel, PointwiseKernel, ReduceKernel
from nntc.backend.memory import memory_root
from nntc.backend.ops import PackedConv
from nntc.backend.space import Space, choose_space, image_space
from nntc.core.errors import UnsupportedError
from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value

MAX_KERNELS = 64
"""Operators in one group; bounds the planning time."""


@dataclass
class Unit:
    """What runs as one: a group of operators, a matrix product, a data movement or an alias."""

    nodes: list[Node]
    group: Group | None = None


def form_units(graph: Graph, separate: bool = False) -> list[Unit]:
    """Units in execution order.

    Args:
        separate: every operator on its own.
    """
    users = graph.users()
    done: set[Node] = set()
    units: list[Unit] = []
    kept = set(graph.outputs)
    for node in graph.nodes:
        if node in done or isinstance(node.op, ops.Reshape):
            continue
        unit = Unit([node])
        if _groupable(node):
            unit = _grow(node, users, done, kept, 1 if separate else MAX_KERNELS)
        units.append(unit)
        done.update(unit.nodes)
    return units


def _groupable(node: Node) -> bool:
    return is_elementwise(node) or isinstance(
        node.op,
        (
            ops.Conv,
            ops.ConvTranspose,
            PackedConv,
            fixed_ops.Int8Conv,
            ops.MaxPool,
            ops.AveragePool,
        ),
    )


def is_elementwise(node: Node) -> bool:
    """Element-wise operators and reductions: what joins a group."""
    return pointwise.is_pointwise(node.op) or isinstance(node.op, ops.Reduce)


def _grow(
    first: Node, users: dict[Value, list[Node]], done: set[Node], kept: set[Value], most: int
) -> Unit:
    """The largest group that starts with *first*."""
    nodes = [first]
    group = _make(nodes, users, kept)
    if group is None:
        raise UnsupportedError(
            f"{first.source}: {first.op.name}: operands "
            f"{', '.join(str(v.type) for v in first.operands)} fit no layout of local memory"
        )
    refused: set[Node] = set()
    while len(nodes) < most:
        candidate = _candidate(nodes, users, done, refused)
        if candidate is None:
            break
        try:
            larger = _make([*nodes, candidate], users, kept)
        except UnsupportedError:
            larger = None
        if larger is None or not _worthwhile(group, larger):
            refused.add(candidate)
            continue
        nodes.append(candidate)
        group = larger
    return Unit(nodes, group)


def _worthwhile(old: Group, new: Group) -> bool:
    """A group is better than two unless its tiles shrink to slivers."""
    return new.tiling.count <= 4 * old.tiling.count + 8


def _candidate(
    nodes: list[Node], users: dict[Value, list[Node]], done: set[Node], refused: set[Node]
) -> Node | None:
    """The next operator that reads a result of the group and has all its operands ready."""
    mine = set(nodes)
    for node in nodes:
        for user in users.get(node.output, ()):
            if user in mine or user in refused or user in done or not is_elementwise(user):
                continue
            ready = all(
                v.producer is None or v.producer in mine or _available(v, done)
                for v in user.operands
            )
            if ready:
                return user
    return None


def _available(value: Value, done: set[Node]) -> bool:
    """Whether a value is in memory before the group runs; reshapes of such values are, too."""
    producer = memory_root(value).producer
    return producer is None or producer in done


def _make(nodes: list[Node], users: dict[Value, list[Node]], kept: set[Value]) -> Group | None:
    """A group of these nodes with its tiling; None if no space holds them."""
    first = nodes[0]
    anchored = not is_elementwise(first)
    space = image_space(first.output.shape) if anchored else _space(nodes)
    if space is None:
        return None
    kernels: list[Kernel] = []
    for node in nodes:
        kernel = _kernel(node, space)
        if kernel is None:
            return None
        kernels.append(kernel)
    inside = {n.output for n in nodes}
    outputs = [
        n.output
        for n in nodes
        if n.output in kept or any(u.output not in inside for u in users.get(n.output, ()))
    ]
    label = "+".join(dict.fromkeys(n.op.name for n in nodes))
    group = Group(space, kernels, outputs, f"{label} {first.name}")
    group.choose_tiling()
    return group


def _tensors(nodes: list[Node]) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    for node in nodes:
        found.append(node.output.shape)
        for value in node.operands:
            if pointwise.immediate(value, node.op) is None:
                found.append(value.shape)
    return list(dict.fromkeys(found))


def _space(nodes: list[Node]) -> Space | None:
    tensors = _tensors(nodes)
    try:
        shape = np.broadcast_shapes(*tensors)
    except ValueError:
        return None
    reduced: set[int] = set()
    for node in nodes:
        if isinstance(node.op, ops.Reduce):
            extra = len(shape) - len(node.output.shape)
            reduced |= {a + extra for a in node.op.axes if node.operands[0].shape[a] != 1}
    return choose_space(shape, tensors, sorted(reduced))


def _kernel(node: Node, space: Space) -> Kernel | None:
    """The kernel of a node in a space; None if one of its tensors does not fit there."""
    if isinstance(node.op, (ops.Conv, ops.ConvTranspose)):
        return FixedConvKernel(node)
    if isinstance(node.op, PackedConv):
        return PackedConvKernel(node)
    if isinstance(node.op, fixed_ops.Int8Conv):
        return Int8ConvKernel(node)
    if isinstance(node.op, fixed_ops.Int8MaxPool):
        return Int8PoolKernel(node)
    if isinstance(node.op, (ops.MaxPool, ops.AveragePool)):
        return PoolKernel(node)
    for value in (*node.operands, node.output):
        if pointwise.immediate(value, node.op) is not None:
            continue
        try:
            wide = np.broadcast_shapes(value.shape, space.shape)
        except ValueError:
            return None
        if tuple(wide) != space.shape or space.view(value.shape) is None:
            return None
    if isinstance(node.op, ops.Reduce):
        x = node.operands[0]
        extra = len(space.shape) - len(x.shape)
        axes = [a + extra for a in node.op.axes if x.shape[a] != 1]
        slots = space.slots_of(axes)
        if slots is None or not slots <= {2, 3}:
            return None
        return ReduceKernel(node, space)
    if isinstance(node.op, fixed_ops.ELEMENTWISE):
        return Int8PointwiseKernel(node, space)
    return PointwiseKernel(node, space)


__all__ = ["Unit", "form_units", "moves"]
