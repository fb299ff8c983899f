"""Data movement inside system memory: copies between strided boxes.

Transpose, slice, concat, pad, expand and gather with known indices are lists of :class:`Move`;
each becomes one or a few GDMA commands.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nntc.backend.assembler import Assembler, System
from nntc.backend.memory import Placement
from nntc.backend.plan import Step, Transfer
from nntc.core.errors import UnsupportedError
from nntc.ir import ops
from nntc.ir.graph import Node, Value
from nntc.isa.chip import MAX_W as MAX_SIZE
from nntc.isa.chip import WORD_BYTES
from nntc.isa.layout import ceil_div

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Move:
    """Copy a box: ``target[...] = source[...]`` (or a constant word) over *shape*.

    Starts and strides are in elements of the contiguous tensors. Strides may be 0 on the source
    side, never negative.
    """

    shape: Shape
    target_start: int
    target_strides: Shape
    source: Value | None
    source_start: int = 0
    source_strides: Shape = ()
    fill: int = 0


def row_major(shape: Sequence[int]) -> Shape:
    """Strides of a contiguous tensor."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def is_move(node: Node) -> bool:
    """Whether this module can do the (legalised) node."""
    op = node.op
    if isinstance(op, ops.Pad):
        return op.mode == "constant"
    if isinstance(op, ops.Gather):
        return node.operands[1].data is not None
    return isinstance(op, (ops.Transpose, ops.Slice, ops.Concat, ops.Expand, ops.Tile))


def moves(node: Node) -> list[Move]:
    """The copies that make up a node."""
    op, x, out = node.op, node.operands[0], node.output
    strides, target = row_major(x.shape), row_major(out.shape)
    match op:
        case ops.Transpose():
            return [Move(out.shape, 0, target, x, 0, tuple(strides[p] for p in op.perm))]
        case ops.Slice():
            return _slice(op, x, out)
        case ops.Concat():
            found: list[Move] = []
            start = 0
            axis = op.axis % len(out.shape)
            for part in node.operands:
                found.append(
                    Move(part.shape, start * target[axis], target, part, 0, row_major(part.shape))
                )
                start += part.shape[axis]
            return found
        case ops.Pad():
            return _pad(op, x, out)
        case ops.Expand():
            extra = len(out.shape) - len(x.shape)
            padded = (1,) * extra + x.shape
            full = (0,) * extra + strides
            wide = tuple(0 if size == 1 else s for size, s in zip(padded, full, strict=True))
            return [Move(out.shape, 0, target, x, 0, wide)]
        case ops.Tile():
            return _tile(op, x, out)
        case ops.Gather():
            return _gather(op, x, node.operands[1], out)
        case _:
            raise UnsupportedError(f"{node.source}: {op.name} is not a data movement")


def _slice(op: ops.Slice, x: Value, out: Value) -> list[Move]:
    strides, target = row_major(x.shape), row_major(out.shape)
    if all(step > 0 for step in op.steps):
        start = sum(a * s for a, s in zip(op.starts, strides, strict=True))
        steps = tuple(k * s for k, s in zip(op.steps, strides, strict=True))
        return [Move(out.shape, 0, target, x, start, steps)]
    # The GDMA cannot step backwards: along reversed axes every index is a copy of its own.
    backward = [a for a, step in enumerate(op.steps) if step < 0]
    found: list[Move] = []
    for index in itertools.product(*(range(out.shape[a]) for a in backward)):
        at = dict(zip(backward, index, strict=True))
        start = sum(
            (op.starts[a] + at.get(a, 0) * op.steps[a]) * strides[a] for a in range(len(strides))
        )
        shape = tuple(1 if a in at else size for a, size in enumerate(out.shape))
        steps = tuple(0 if a in at else op.steps[a] * strides[a] for a in range(len(strides)))
        offset = sum(i * target[a] for a, i in at.items())
        found.append(Move(shape, offset, target, x, start, steps))
    return found


def _pad(op: ops.Pad, x: Value, out: Value) -> list[Move]:
    rank = len(x.shape)
    strides, target = row_major(x.shape), row_major(out.shape)
    begins = op.pads[:rank]
    word = int(np.float32(op.value).view(np.uint32))
    if x.dtype.is_integer:
        word = int(op.value) & 0xFFFFFFFF
    source = sum(max(-b, 0) * s for b, s in zip(begins, strides, strict=True))
    start = sum(max(b, 0) * s for b, s in zip(begins, target, strict=True))
    kept = tuple(
        size + min(op.pads[a], 0) + min(op.pads[rank + a], 0) for a, size in enumerate(x.shape)
    )
    return [
        Move(out.shape, 0, target, None, fill=word),
        Move(kept, start, target, x, source, strides),
    ]


def _tile(op: ops.Tile, x: Value, out: Value) -> list[Move]:
    shape: list[int] = []
    source: list[int] = []
    target: list[int] = []
    strides, wanted = row_major(x.shape), row_major(out.shape)
    for axis, repeat in enumerate(op.repeats):
        shape += [repeat, x.shape[axis]]
        source += [0, strides[axis]]
        target += [wanted[axis] * x.shape[axis], wanted[axis]]
    return [Move(tuple(shape), 0, tuple(target), x, 0, tuple(source))]


def _gather(op: ops.Gather, x: Value, indices: Value, out: Value) -> list[Move]:
    """Known indices: runs of equal steps are one copy each."""
    assert indices.data is not None
    axis = op.axis % len(x.shape)
    wanted = np.where(indices.data < 0, indices.data + x.shape[axis], indices.data).reshape(-1)
    outer, inner = x.shape[:axis], x.shape[axis + 1 :]
    strides = row_major(x.shape)
    flat = row_major((*outer, len(wanted), *inner))
    step = strides[axis]
    found: list[Move] = []
    for start, count, delta, repeat in _progressions(wanted):
        shape = (*outer, count, repeat, *inner)
        source = (*strides[:axis], delta * step, 0, *strides[axis + 1 :])
        target = (*flat[:axis], repeat * flat[axis], flat[axis], *flat[axis + 1 :])
        first = int(wanted[start]) * step
        found.append(Move(shape, start * flat[axis], target, x, first, source))
    return found


def _progressions(indices: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """Cut indices into runs (start, count, step >= 0, repeats of each)."""
    total = len(indices)
    start = 0
    while start < total:
        repeat = 1
        while start + repeat < total and indices[start + repeat] == indices[start]:
            repeat += 1
        count, delta = 1, 0
        while start + (count + 1) * repeat <= total:
            piece = indices[start + count * repeat : start + (count + 1) * repeat]
            step = int(piece[0]) - int(indices[start + (count - 1) * repeat])
            if (piece != piece[0]).any() or step < 0 or (count > 1 and step != delta):
                break
            if (
                start + (count + 1) * repeat < total
                and indices[start + (count + 1) * repeat] == piece[0]
            ):
                break
            delta = step
            count += 1
        yield start, count, delta, repeat
        start += count * repeat


def _merge(move: Move) -> tuple[list[int], list[int], list[int]]:
    """Shape, target and source strides with neighbouring regular dimensions merged."""
    shape: list[int] = []
    target: list[int] = []
    source: list[int] = []
    # A fill has no source; any regular strides let its dimensions merge.
    given = move.source_strides or move.target_strides
    for size, t, s in zip(move.shape, move.target_strides, given, strict=True):
        if size == 1:
            continue
        if shape and target[-1] == t * size and source[-1] == s * size:
            shape[-1] *= size
            target[-1], source[-1] = t, s
        else:
            shape.append(size)
            target.append(t)
            source.append(s)
    return shape or [1], target or [1], source or [1]


class _Dims(NamedTuple):
    """One dimension of a copy: size, and stride on each side."""

    size: int
    target: int
    source: int


def _commands(move: Move) -> Iterator[tuple[Shape, int, Shape, int, Shape]]:
    """Boxes of four dimensions within the GDMA's sizes: shape, start and strides of each side."""
    dims = [_Dims(*entry) for entry in zip(*_merge(move), strict=True)]
    if dims[-1].target != 1 or dims[-1].source != 1:
        # The maker's generators write a w stride of 1 only (and the C-model refuses more than
        # 4095 on the source side): stride in h, with w of one element, at the same cost.
        dims.append(_Dims(1, 1, 1))
    yield from _boxes(dims, move.target_start, move.source_start)


def _boxes(
    dims: list[_Dims], target: int, source: int
) -> Iterator[tuple[Shape, int, Shape, int, Shape]]:
    for axis, dim in enumerate(dims):
        if dim.size > MAX_SIZE:
            # Whole pieces and a rest.
            pieces = ceil_div(dim.size, MAX_SIZE)
            length = dim.size // pieces
            whole = [
                _Dims(pieces, dim.target * length, dim.source * length),
                dim._replace(size=length),
            ]
            yield from _boxes([*dims[:axis], *whole, *dims[axis + 1 :]], target, source)
            start = pieces * length
            if start < dim.size:
                rest = dim._replace(size=dim.size - start)
                yield from _boxes(
                    [*dims[:axis], rest, *dims[axis + 1 :]],
                    target + start * dim.target,
                    source + start * dim.source,
                )
            return
    # Loop over the shortest dimensions; the last one stays for long contiguous runs.
    extra = max(len(dims) - 4, 0)
    looped = sorted(sorted(range(len(dims) - 1), key=lambda a: dims[a].size)[:extra])
    kept = [dims[a] for a in range(len(dims)) if a not in looped]
    kept = [_Dims(1, 0, 0)] * (4 - len(kept)) + kept
    shape = tuple(d.size for d in kept)
    to, of = tuple(d.target for d in kept), tuple(d.source for d in kept)
    for index in itertools.product(*(range(dims[a].size) for a in looped)):
        at = [(dims[a], i) for a, i in zip(looped, index, strict=True)]
        yield (
            shape,
            target + sum(i * d.target for d, i in at),
            to,
            source + sum(i * d.source for d, i in at),
            of,
        )


def plan(node: Node, placement: Placement) -> list[Step]:
    """One step without computation."""
    step = Step(f"{node.op.name} {node.name}")
    out = placement.of(node.output)
    for move in moves(node):
        if 0 in move.shape:
            continue
        source = placement.of(move.source) if move.source is not None else None

        def emit(asm: Assembler, move: Move = move, source: object = source) -> None:
            for shape, t0, t_strides, s0, s_strides in _commands(move):
                to = System(out.address + t0 * WORD_BYTES, (*t_strides,))  # type: ignore[arg-type]
                if move.source is None:
                    asm.fill_system(shape, to, move.fill)
                else:
                    address = placement.of(move.source).address + s0 * WORD_BYTES
                    asm.copy_system(shape, to, System(address, (*s_strides,)))  # type: ignore[arg-type]

        reads = (source,) if source is not None else ()
        step.stores.append(Transfer(emit, None, reads=reads, writes=(out,)))
    return [step]
