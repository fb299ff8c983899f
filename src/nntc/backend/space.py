"""How the axes of tensors map to the four dimensions of local memory.

A group of operators that runs tile by tile agrees on one :class:`Space`: the axes of the group's
largest tensor shape are cut into runs of neighbouring axes, and each run becomes one of the local
dimensions n, c (lanes), h, w. Every tensor of the group, broadcast ones included, is then a
four-dimensional box with regular strides in system memory: a :class:`View`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nntc.isa.chip import LANES
from nntc.isa.layout import Shape4, ceil_div

Span = tuple[int, int]


class Box(NamedTuple):
    """Half-open index ranges over the local dimensions."""

    n: Span
    c: Span
    h: Span
    w: Span

    @property
    def shape(self) -> Shape4:
        return Shape4(*(stop - start for start, stop in self))

    @staticmethod
    def whole(shape: Sequence[int]) -> Box:
        n, c, h, w = ((0, size) for size in shape)
        return Box(n, c, h, w)

    def clip(self, shape: Sequence[int]) -> Box:
        """The part that a tensor of *shape* has: dimensions of size 1 are broadcast."""
        n, c, h, w = ((0, 1) if size == 1 else span for span, size in zip(self, shape, strict=True))
        return Box(n, c, h, w)

    def union(self, other: Box) -> Box:
        n, c, h, w = ((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(self, other, strict=True))
        return Box(n, c, h, w)


class View(NamedTuple):
    """A tensor in system memory as a box: sizes and strides (n, c, h, w) in elements."""

    shape: Shape4
    strides: tuple[int, int, int, int]
    offset: int = 0

    def start(self, box: Box) -> int:
        """Element index of the box's first element."""
        return self.offset + sum(
            span[0] * stride for span, stride in zip(box, self.strides, strict=True)
        )


@dataclass(frozen=True)
class Run:
    """Neighbouring axes taken together as one local dimension.

    Attributes:
        first, last: axes first..last-1 of the group's shape.
        size: elements along the dimension.
        inner: elements of the run that one step skips; above 1 for the outer part of a run that
            is split over two dimensions.
    """

    first: int
    last: int
    size: int
    inner: int = 1


@dataclass(frozen=True)
class Space:
    """The mapping of a group's shape to local memory.

    Attributes:
        shape: the group's shape; every tensor of the group broadcasts to it.
        runs: the run on each of n, c, h, w; None for a dimension of size 1.
    """

    shape: tuple[int, ...]
    runs: tuple[Run | None, Run | None, Run | None, Run | None]

    @property
    def shape4(self) -> Shape4:
        return Shape4(*(1 if run is None else run.size for run in self.runs))

    def view(self, shape: Sequence[int]) -> View | None:
        """How a contiguous tensor of *shape* (broadcastable to the space) is seen.

        Returns:
            None if its strides are not regular in this space.
        """
        rank = len(self.shape)
        padded = (1,) * (rank - len(shape)) + tuple(shape)
        strides = [0] * rank
        step = 1
        for axis in reversed(range(rank)):
            strides[axis] = step if padded[axis] != 1 else 0
            step *= padded[axis]
        sizes, steps = [], []
        for run in self.runs:
            if run is None:
                sizes.append(1)
                steps.append(0)
                continue
            stride = _run_stride(self.shape, padded, strides, run)
            if stride is None:
                return None
            sizes.append(run.size if stride else 1)
            steps.append(stride * run.inner)
        return View(Shape4(*sizes), (steps[0], steps[1], steps[2], steps[3]))

    def slots_of(self, axes: Sequence[int]) -> set[int] | None:
        """The local dimensions (0..3) that hold exactly *axes*; None if they are mixed."""
        wanted = {a for a in axes if self.shape[a] != 1}
        found: set[int] = set()
        covered: set[int] = set()
        for slot, run in enumerate(self.runs):
            if run is None:
                continue
            mine = {a for a in range(run.first, run.last) if self.shape[a] != 1}
            if mine & wanted:
                if not mine <= wanted:
                    return None
                found.add(slot)
                covered |= mine
        return found if covered == wanted else None


def _run_stride(
    full: Sequence[int], shape: Sequence[int], strides: Sequence[int], run: Run
) -> int | None:
    """Stride of the run's innermost step; 0 if broadcast, None if irregular."""
    axes = [a for a in range(run.first, run.last) if full[a] != 1]
    if all(shape[a] == 1 for a in axes):
        return 0
    if any(shape[a] == 1 for a in axes):
        return None
    for outer, inner in itertools.pairwise(axes):
        if strides[outer] != strides[inner] * full[inner]:
            return None
    return strides[axes[-1]]


def image_space(shape: Sequence[int]) -> Space:
    """N, C, (H,) W of an image tensor on the dimensions of the same names.

    Args:
        shape: rank 3 (N, C, L) or rank 4 (N, C, H, W).
    """
    runs: list[Run | None] = [Run(a, a + 1, size) for a, size in enumerate(shape)]
    if len(runs) == 3:
        runs.insert(2, None)
    return Space(tuple(shape), (runs[0], runs[1], runs[2], runs[3]))


def flat_space(shape: Sequence[int], count: int) -> Space:
    """All axes as one run of *count* elements, spread over the lanes.

    The last lane's tail may lie behind the tensor's end: tensors in system memory are followed
    by enough slack for that.
    """
    lanes = min(LANES, count) or 1
    width = ceil_div(count, lanes)
    rank = len(shape)
    return Space(
        tuple(shape),
        (None, Run(0, rank, lanes, width), None, Run(0, rank, width)),
    )


def _axis_runs(shape: Sequence[int], tensors: Sequence[Sequence[int]], cuts: set[int]) -> list[Run]:
    """Maximal runs of axes in which every tensor is wholly present or wholly broadcast.

    Args:
        cuts: axes before which a run must end (reduced axes stand alone).
    """
    rank = len(shape)
    patterns = []
    for tensor in tensors:
        padded = (1,) * (rank - len(tensor)) + tuple(tensor)
        patterns.append([padded[a] != 1 for a in range(rank)])
    runs: list[Run] = []
    previous: tuple[bool, ...] | None = None
    for axis in range(rank):
        if shape[axis] == 1:
            continue
        here = tuple(p[axis] for p in patterns)
        cut = any(a in cuts for a in range(runs[-1].last if runs else 0, axis + 1))
        if runs and here == previous and not cut:
            last = runs[-1]
            runs[-1] = Run(last.first, axis + 1, last.size * shape[axis])
        else:
            runs.append(Run(axis, axis + 1, shape[axis]))
        previous = here
    return runs


def _splits(run: Run) -> list[tuple[Run, Run]]:
    """Ways to cut a run into an outer and an inner part."""
    result: list[tuple[Run, Run]] = []
    outer = 2
    while outer * outer <= run.size:
        if run.size % outer == 0:
            for part in {outer, run.size // outer}:
                inner = run.size // part
                result.append(
                    (
                        Run(run.first, run.last, part, inner),
                        Run(run.first, run.last, inner),
                    )
                )
        outer += 1
    return result


def _work(shape: Shape4) -> int:
    """Cycles of one element-wise instruction, the measure by which spaces are compared."""
    return shape.n * ceil_div(shape.c, LANES) * ceil_div(shape.h * shape.w, 16)


def choose_space(
    shape: Sequence[int],
    tensors: Sequence[Sequence[int]],
    reduced: Sequence[int] = (),
) -> Space | None:
    """The cheapest space for element-wise operators and reductions.

    Args:
        shape: the shape that every tensor broadcasts to.
        tensors: shapes of all tensors of the group.
        reduced: axes that are reduced; they must lie within a lane (on h or w).

    Returns:
        None if the tensors cannot be laid out in four dimensions.
    """
    cuts: set[int] = set()
    for axis in reduced:
        cuts |= {axis, axis + 1}
    if reduced:
        low, high = min(reduced), max(reduced) + 1
        if all(a in reduced or shape[a] == 1 for a in range(low, high)):
            cuts = {low, high}
    runs = _axis_runs(shape, tensors, cuts)
    if not reduced and len(runs) <= 1:
        count = runs[0].size if runs else 1
        return flat_space(shape, count)
    kept = {a for a in reduced if shape[a] != 1}
    candidates: list[list[Run]] = [runs] if len(runs) <= 4 else []
    if len(runs) <= 3:
        for index, run in enumerate(runs):
            if run.first in kept:
                continue
            candidates += [[*runs[:index], *pair, *runs[index + 1 :]] for pair in _splits(run)]
    best: tuple[tuple[int, int, int], Space] | None = None
    for candidate in candidates:
        inner = candidate[-1]
        others = candidate[:-1]
        for slots in itertools.permutations(range(3), len(others)):
            placed: list[Run | None] = [None, None, None, inner]
            for slot, run in zip(slots, others, strict=True):
                placed[slot] = run
            if any(r is not None and r.first in kept for r in placed[:2]):
                continue
            space = Space(tuple(shape), (placed[0], placed[1], placed[2], placed[3]))
            shape4 = space.shape4
            key = (_work(shape4), shape4.n * shape4.h, shape4.c)
            if best is None or key < best[0]:
                best = (key, space)
        # A single reduced run may also stand alone in a lane, with nothing over the lanes.
    return best[1] if best else None
