"""Matrix products: tiles of rows, columns and of the inner dimension."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nntc.backend.assembler import Assembler
from nntc.backend.local import Local, aligned_local
from nntc.backend.memory import Placement
from nntc.backend.moves import row_major
from nntc.backend.plan import Compute, Step, Storage, Transfer
from nntc.core.errors import UnsupportedError
from nntc.ir import ops
from nntc.ir.graph import Node
from nntc.isa.chip import LANES, WORD_BYTES
from nntc.isa.layout import Shape4, ceil_div

PIECE = 32
"""Columns per piece of the left operand: one aligned 128-byte block."""

MAX_ROWS = 256
MAX_COLUMNS = LANES * PIECE
MAX_INNER = 768
"""Tile sizes: 256 rows of 128 bytes are 32 KB a lane, 768 rows of the right operand 96 KB."""


@dataclass(frozen=True)
class _Matrix:
    """One matrix of a batch in system memory: storage, first element, elements per row."""

    storage: Storage
    start: int
    pitch: int

    def at(self, row: int, column: int) -> int:
        return self.storage.address + (self.start + row * self.pitch + column) * WORD_BYTES


def piece_width(columns: int) -> int:
    """Columns per piece of the right operand and the result: 16 a pass of the units."""
    return 16 if columns <= 16 * LANES else PIECE


def plan(node: Node, placement: Placement) -> list[Step]:
    """Steps of a batched product of matrices; transposes have been made explicit before."""
    op = node.op
    assert isinstance(op, ops.MatMul)
    if op.transpose_a or op.transpose_b:
        raise UnsupportedError(f"{node.source}: MatMul: transposed operands are not legalised")
    a, b = node.operands[:2]
    bias = node.operands[2] if len(node.operands) > 2 else None
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    batch = node.output.shape[:-2]
    steps: list[Step] = []
    planner = _Planner(node, placement, m, k, n)
    for index in itertools.product(*(range(size) for size in batch)):
        left = _Matrix(placement.of(a), _offset(a.shape, index), k)
        right = _Matrix(placement.of(b), _offset(b.shape, index), n)
        flat = int(np.ravel_multi_index(index, batch)) if batch else 0
        out = _Matrix(placement.of(node.output), flat * m * n, n)
        vector = _Matrix(placement.of(bias), 0, n) if bias is not None else None
        steps += planner.batch(left, right, vector, out)
    return steps


def _offset(shape: tuple[int, ...], index: tuple[int, ...]) -> int:
    """First element of the matrix that belongs to a batch index, with broadcasting."""
    batch = shape[:-2]
    strides = row_major(shape)[:-2]
    mine = index[len(index) - len(batch) :]
    return sum(i * s for i, s, size in zip(mine, strides, batch, strict=True) if size != 1)


def _spans(total: int, most: int, unit: int = 1) -> list[tuple[int, int]]:
    """Cut a range into nearly equal pieces of at most *most*, at multiples of *unit*."""
    count = ceil_div(total, most)
    size = ceil_div(ceil_div(total, count), unit) * unit
    return [(start, min(start + size, total)) for start in range(0, total, size)]


class _Planner:
    def __init__(self, node: Node, placement: Placement, m: int, k: int, n: int) -> None:
        self.label = f"MatMul {node.name}"
        self.placement = placement
        self.m, self.k, self.n = m, k, n
        self._kept: dict[object, Local] = {}

    def batch(
        self, left: _Matrix, right: _Matrix, bias: _Matrix | None, out: _Matrix
    ) -> list[Step]:
        """Steps of one product."""
        steps: list[Step] = []
        inner = _spans(self.k, MAX_INNER, 2)
        for columns in _spans(self.n, MAX_COLUMNS, PIECE):
            width = columns[1] - columns[0]
            piece = piece_width(width)
            pieces = ceil_div(width, piece)
            for rows in _spans(self.m, MAX_ROWS):
                height = rows[1] - rows[0]
                result = aligned_local(Shape4(height, pieces, 1, piece), "product")
                for part, span in enumerate(inner):
                    depth = span[1] - span[0]
                    step = Step(self.label)
                    fresh: dict[object, Local] = {}
                    a = self._load(
                        step,
                        fresh,
                        left,
                        (rows[0], span[0], height, depth),
                        Shape4(height, ceil_div(depth, PIECE), 1, PIECE),
                    )
                    b = self._load(
                        step,
                        fresh,
                        right,
                        (span[0], columns[0], depth, width),
                        Shape4(depth, pieces, 1, piece),
                    )
                    reads = [a.buffer, b.buffer]
                    vector: Local | None = None
                    if bias is not None and part == 0:
                        vector = self._load(
                            step,
                            fresh,
                            bias,
                            (0, columns[0], 1, width),
                            Shape4(1, pieces, 1, piece),
                        )
                        reads.append(vector.buffer)
                    step.computes.append(
                        Compute(
                            _multiply(result, a, b, vector, depth, part > 0),
                            reads,
                            [result.buffer],
                        )
                    )
                    if part == len(inner) - 1:
                        step.stores.append(
                            Transfer(
                                _storer(result, out, rows[0], columns[0], height, width),
                                result.buffer,
                                writes=(out.storage,),
                            )
                        )
                    self._kept = fresh
                    steps.append(step)
        return steps

    def _load(
        self,
        step: Step,
        fresh: dict[object, Local],
        matrix: _Matrix,
        area: tuple[int, int, int, int],
        shape: Shape4,
    ) -> Local:
        key = (matrix, area)
        local = fresh.get(key) or self._kept.get(key)
        if local is None:
            local = aligned_local(shape, matrix.storage.label)
            step.loads.append(
                Transfer(_loader(local, matrix, area), local.buffer, reads=(matrix.storage,))
            )
        fresh[key] = local
        return local


def _loader(
    local: Local, matrix: _Matrix, area: tuple[int, int, int, int]
) -> Callable[[Assembler], None]:
    row, column, rows, columns = area
    return lambda asm: asm.load_matrix(local, matrix.at(row, column), rows, columns, matrix.pitch)


def _storer(
    local: Local, matrix: _Matrix, row: int, column: int, rows: int, columns: int
) -> Callable[[Assembler], None]:
    return lambda asm: asm.store_matrix(local, matrix.at(row, column), rows, columns, matrix.pitch)


def _multiply(
    out: Local, a: Local, b: Local, bias: Local | None, inner: int, accumulate: bool
) -> Callable[[Assembler], None]:
    return lambda asm: asm.matmul(out, a, b, bias, inner, accumulate=accumulate)
