"""Operators that move numbers or pick some: the integers stay what they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Node, Op
from nntc.quant.grid import Grid
from nntc.quant.network import Fixed
from nntc.quant.quantizer import Quantizer
from nntc.quant.rules import lowers


@lowers(ops.MaxPool)
def max_pool(q: Quantizer, node: Node) -> bool:
    return _same(q, node, keeps_channels=True)


@lowers(ops.Pad)
def pad(q: Quantizer, node: Node) -> bool:
    op = node.op
    assert isinstance(op, ops.Pad)
    rank = len(node.output.shape)
    untouched = not (rank > 1 and (op.pads[1] or op.pads[rank + 1]))
    x = q.net.fixed(node.operands[0])
    if x is None or (op.mode == "constant" and op.value != 0):
        return False
    return _same(q, node, untouched, replace(op, value=float(x.grid.zero)))


@lowers(ops.Resize)
def resize(q: Quantizer, node: Node) -> bool:
    op = node.op
    assert isinstance(op, ops.Resize)
    kept = node.operands[0].shape[:2] == node.output.shape[:2]
    return op.mode == "nearest" and _same(q, node, kept)


@lowers(ops.DepthToSpace, ops.SpaceToDepth)
def blocks(q: Quantizer, node: Node) -> bool:
    return _same(q, node, keeps_channels=False)


def _same(q: Quantizer, node: Node, keeps_channels: bool, op: Op | None = None) -> bool:
    """The operator on integers; with a scale for every channel only if these stay in place."""
    x = q.net.fixed(node.operands[0])
    if x is None:
        return False
    if x.grid.varies and not (keeps_channels and x.grid.axis == 1):
        x = q.common(x)
    q.bind(node.output, Fixed(q.net(op or node.op, x.value, name=q.name(node.output)), x.grid))
    return True


@lowers(ops.Slice)
def slice_(q: Quantizer, node: Node) -> bool:
    op = node.op
    assert isinstance(op, ops.Slice)
    x = q.net.fixed(node.operands[0])
    if x is None:
        return False
    grid = x.grid
    if grid.varies:
        a = grid.axis
        numbers = np.arange(grid.scale.size)
        picked = ops.Slice((op.starts[a],), (op.ends[a],), (op.steps[a],)).compute(numbers)[0]
        grid = grid.scaled(grid.scale[picked])
    q.bind(node.output, Fixed(q.net(op, x.value, name=q.name(node.output)), grid))
    return True


@lowers(ops.Transpose)
def transpose(q: Quantizer, node: Node) -> bool:
    op = node.op
    assert isinstance(op, ops.Transpose)
    x = q.net.fixed(node.operands[0])
    if x is None:
        return False
    axis = op.perm.index(x.grid.axis) if x.grid.varies else 1
    grid = x.grid.scaled(x.grid.scale, axis)
    q.bind(node.output, Fixed(q.net(op, x.value, name=q.name(node.output)), grid))
    return True


@lowers(ops.Reshape)
def reshape(q: Quantizer, node: Node) -> bool:
    op = node.op
    assert isinstance(op, ops.Reshape)
    x_value = node.operands[0]
    x = q.net.fixed(x_value)
    if x is None:
        return False
    if x.grid.varies:
        grid = _reshaped(x.grid, x_value.shape, op.shape)
        if grid is None:
            x = q.common(x)
            grid = x.grid
    else:
        grid = x.grid
    q.bind(node.output, Fixed(q.net(op, x.value, name=q.name(node.output)), grid))
    return True


def _reshaped(grid: Grid, before: tuple[int, ...], after: tuple[int, ...]) -> Grid | None:
    """The grid after a reshape that keeps the channels' axis or joins what follows to it."""
    axis = grid.axis
    outer, inner = int(np.prod(before[:axis])), int(np.prod(before[axis + 1 :]))
    for a in range(len(after)):
        if int(np.prod(after[:a])) != outer or not after[a]:
            continue
        if after[a] % before[axis] == 0 and inner % (after[a] // before[axis]) == 0:
            return grid.scaled(np.repeat(grid.scale, after[a] // before[axis]), a)
    return None


@lowers(ops.Concat)
def concat(q: Quantizer, node: Node) -> bool:
    op = node.op
    assert isinstance(op, ops.Concat)
    found = [q.net.fixed(v) for v in node.operands]
    if all(f is None for f in found) or any(v.data is not None for v in node.operands):
        return False
    forms = [q.integers(v) for v in node.operands]
    wanted = q.grid(node.output)
    forms = [_matching(q, f, wanted) for f in forms]
    together = op.axis == 1 and q.varies(node.output)
    if together and all(not f.grid.varies or f.grid.axis == 1 for f in forms):
        parts = [f.grid.channels(v.shape[1]) for f, v in zip(forms, node.operands, strict=True)]
        scale = np.concatenate(parts)
        grid = wanted.scaled(scale if np.ptp(scale) else scale[0], 1)
    else:
        grid = wanted.scaled(max(float(f.grid.scale.max()) for f in forms))
        forms = [q.convert(f, grid) for f in forms]
    made = q.net(op, *(f.value for f in forms), name=q.name(node.output))
    q.bind(node.output, Fixed(made, grid))
    return True


def _matching(q: Quantizer, form: Fixed, wanted: Grid) -> Fixed:
    """The integers with the type and zero point of *wanted*, on scales that lose no range."""
    old = form.grid
    if old.dtype is wanted.dtype and old.zero == wanted.zero:
        return form
    above = old.scale * (old.high - old.zero) / (wanted.high - wanted.zero)
    below = np.zeros(())  # Without room below zero there are no negative numbers.
    if wanted.zero > wanted.low:
        below = old.scale * (old.zero - old.low) / (wanted.zero - wanted.low)
    return q.convert(form, wanted.scaled(np.maximum(above, below), old.axis))
