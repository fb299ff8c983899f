"""Legal forms of operators that move, select and place elements."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from nntc.backend.legalize.builder import Builder
from nntc.backend.legalize.registry import rewrites
from nntc.ir import ops
from nntc.ir.graph import Node, Value


@rewrites(ops.Reshape)
def reshape(b: Builder, node: Node) -> Value:
    """Another name for the same memory."""
    return b.reshape(b.any(node.operands[0]), node.output.shape)


@rewrites(ops.Transpose)
def transpose(b: Builder, node: Node) -> Value:
    """A copy by the GDMA; none where only axes of size 1 move."""
    return b.transpose(b.any(node.operands[0]), node.op.perm)  # type: ignore[attr-defined]


@rewrites(ops.Concat)
def concat(b: Builder, node: Node) -> Value:
    """One copy for each part."""
    parts = [b.any(v) for v in node.operands]
    if len({p.dtype for p in parts}) > 1:
        parts = [b.f32(v) for v in node.operands]
    axis = node.op.axis % len(parts[0].shape)  # type: ignore[attr-defined]
    kept = [p for p in parts if p.shape[axis]]
    return b.concat(kept, axis)


@rewrites(ops.Slice, ops.Expand, ops.Tile)
def keep(b: Builder, node: Node) -> Value:
    """A copy by the GDMA."""
    return b(node.op, b.any(node.operands[0]))


@rewrites(ops.Pad)
def pad(b: Builder, node: Node) -> Value:
    """A fill and a copy; edge, reflect and wrap copy rows by their positions."""
    op = node.op
    assert isinstance(op, ops.Pad)
    x = b.any(node.operands[0])
    if op.mode == "constant":
        return b.pad(x, op.pads, op.value)
    return pad_by_positions(b, x, op)


def pad_by_positions(b: Builder, x: Value, op: ops.Pad) -> Value:
    """Edge, reflect and wrap."""
    rank = len(x.shape)
    # One gather a padded axis, with the positions that the mode asks for.
    for axis in range(rank):
        before, after = op.pads[axis], op.pads[rank + axis]
        if before == 0 and after == 0:
            continue
        mode = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}[op.mode]
        index = np.arange(x.shape[axis])
        index = index[max(-before, 0) : len(index) - max(-after, 0)]
        index = np.pad(index, (max(before, 0), max(after, 0)), mode=mode)  # type: ignore[call-overload]
        x = take(b, x, index, axis)
    return x


def take(b: Builder, x: Value, index: np.ndarray, axis: int) -> Value:
    """Elements at known positions of one axis."""
    positions = b.graph.constant(index.astype(np.int32), "positions")
    return b(ops.Gather(axis), x, positions)


@rewrites(ops.DepthToSpace)
def depth_to_space(b: Builder, node: Node) -> Value:
    """Reshape and transpose."""
    op = node.op
    assert isinstance(op, ops.DepthToSpace)
    return blocks_to_space(b, b.any(node.operands[0]), op)


def blocks_to_space(b: Builder, x: Value, op: ops.DepthToSpace) -> Value:
    n, c, h, w = x.shape
    k = op.block
    if op.mode == "DCR":
        y = b.transpose(b.reshape(x, (n, k, k, c // (k * k), h, w)), [0, 3, 4, 1, 5, 2])
    else:
        y = b.transpose(b.reshape(x, (n, c // (k * k), k, k, h, w)), [0, 1, 4, 2, 5, 3])
    return b.reshape(y, (n, c // (k * k), h * k, w * k))


@rewrites(ops.SpaceToDepth)
def space_to_depth(b: Builder, node: Node) -> Value:
    """Reshape and transpose."""
    op = node.op
    assert isinstance(op, ops.SpaceToDepth)
    return space_to_blocks(b, b.any(node.operands[0]), op)


def space_to_blocks(b: Builder, x: Value, op: ops.SpaceToDepth) -> Value:
    n, c, h, w = x.shape
    k = op.block
    y = b.transpose(b.reshape(x, (n, c, h // k, k, w // k, k)), [0, 3, 5, 1, 2, 4])
    return b.reshape(y, (n, c * k * k, h // k, w // k))


@rewrites(ops.Trilu)
def trilu(b: Builder, node: Node) -> Value:
    """A selection with a known triangle."""
    op = node.op
    assert isinstance(op, ops.Trilu)
    x = b.f32(node.operands[0])
    ones = np.ones(x.shape[-2:], np.float32)
    mask = np.triu(ones, op.k) if op.upper else np.tril(ones, op.k)
    return b.select(b.constant(mask, "triangle"), x, 0.0)


@rewrites(ops.OneHot)
def one_hot(b: Builder, node: Node) -> Value:
    """A comparison with the positions."""
    op = node.op
    assert isinstance(op, ops.OneHot)
    indices, values = b.f32(node.operands[0]), b.f32(node.operands[1])
    rank = len(node.output.shape)
    axis = op.axis % rank
    shape = list(indices.shape)
    shape.insert(axis, 1)
    spread = from_end(b, b.reshape(indices, shape), op.depth)
    steps = np.arange(op.depth, dtype=np.float32).reshape(
        [op.depth if a == axis else 1 for a in range(rank)]
    )
    hit = b.compare("eq", spread, b.constant(steps, "positions"))
    off = b.reshape(b.slice(values, 0, 0, 1), (1,) * rank)
    on = b.reshape(b.slice(values, 0, 1, 2), (1,) * rank)
    return b.add(b.mul(hit, b.sub(on, off)), off)


def from_end(b: Builder, indices: Value, size: int) -> Value:
    """Negative indices count from the end."""
    if indices.data is not None:
        data = np.asarray(indices.data)
        return b.constant(np.where(data < 0, data + size, data), indices.name)
    return b.add(indices, b.mul(b.compare("lt", indices, 0.0), float(size)))


@rewrites(ops.Resize)
def resize(b: Builder, node: Node) -> Value:
    """Axis by axis: repeated positions, or a product with the interpolation matrix."""
    op = node.op
    assert isinstance(op, ops.Resize)
    x = b.f32(node.operands[0])
    if op.coordinate == "tf_crop_and_resize":
        return _resize_general(b, node, x)
    for axis, matrix in _axis_matrices(op, x.shape, node.output.shape):
        if _selects(matrix):
            x = take(b, x, matrix.argmax(0), axis)
        else:
            x = _along_axis(b, x, matrix, axis)
    return x


def _axis_matrices(
    op: ops.Resize, old_shape: tuple[int, ...], new_shape: tuple[int, ...]
) -> Iterator[tuple[int, np.ndarray]]:
    """(axis, interpolation weights) for every axis that changes."""
    for axis, (old, new) in enumerate(zip(old_shape, new_shape, strict=True)):
        if old != new or op.scales[axis] != 1.0:
            yield axis, _axis_matrix(op, axis, old, new, len(new_shape))


def _selects(matrix: np.ndarray) -> bool:
    """Whether every new element is one old element."""
    return bool(((matrix == 1.0).sum(0) == 1).all() and (matrix.astype(bool).sum(0) == 1).all())


def nearest_positions(
    op: ops.Resize, old_shape: tuple[int, ...], new_shape: tuple[int, ...]
) -> dict[int, np.ndarray] | None:
    """Old positions for every axis that changes; None if elements are interpolated."""
    found = dict(_axis_matrices(op, old_shape, new_shape))
    if not all(_selects(m) for m in found.values()):
        return None
    return {axis: m.argmax(0) for axis, m in found.items()}


def _axis_matrix(op: ops.Resize, axis: int, old: int, new: int, rank: int) -> np.ndarray:
    """[old, new] interpolation weights of one axis, from the operator's own meaning."""
    roi = ()
    if op.roi:
        roi = (0.0, op.roi[axis], 1.0, op.roi[rank + axis])
    single = ops.Resize(
        (old, new),
        (1.0, op.scales[axis]),
        op.mode,
        op.coordinate,
        op.nearest_mode,
        op.cubic_a,
        op.exclude_outside,
        op.extrapolation_value,
        roi,
        op.antialias,
    )
    return single.compute(np.eye(old, dtype=np.float32))[0]


def _along_axis(b: Builder, x: Value, matrix: np.ndarray, axis: int) -> Value:
    rank = len(x.shape)
    new = matrix.shape[1]
    if axis == rank - 1:
        flat = b.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
        return b.reshape(b.matmul(flat, b.constant(matrix, "weights")), (*x.shape[:-1], new))
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    flat = b.reshape(x, (outer, x.shape[axis], inner))
    left = b.constant(np.ascontiguousarray(matrix.T)[None], "weights")
    y = b.matmul(left, flat)
    return b.reshape(y, (*x.shape[:axis], new, *x.shape[axis + 1 :]))


def _resize_general(b: Builder, node: Node, x: Value) -> Value:
    """Crop and resize: values outside the image are a constant."""
    op = node.op
    assert isinstance(op, ops.Resize)
    rank = len(x.shape)
    y = x
    inside = np.ones(node.output.shape, np.float32)
    for axis, (old, new) in enumerate(zip(x.shape, node.output.shape, strict=True)):
        start, stop = op.roi[axis], op.roi[rank + axis]
        if old == new and (start, stop) == (0.0, 1.0):
            continue
        matrix = _axis_matrix(op, axis, old, new, rank)
        probe = ops.Resize(
            (old, new),
            (1.0, op.scales[axis]),
            op.mode,
            op.coordinate,
            op.nearest_mode,
            op.cubic_a,
            op.exclude_outside,
            math.nan,
            (0.0, start, 1.0, stop),
            op.antialias,
        )
        outside = np.isnan(probe.compute(np.zeros((old, old), np.float32))[0][0])
        matrix = np.where(outside[None], 0.0, matrix).astype(np.float32)
        inside = inside * (~outside).reshape([new if a == axis else 1 for a in range(rank)])
        y = _along_axis(b, y, matrix, axis)
    if (inside == 1).all():
        return y
    return b.select(b.constant(inside, "inside"), y, op.extrapolation_value)
