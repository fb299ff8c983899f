"""Groups: operators that run together, tile by tile, without leaving local memory.

A group has an optional anchor (a convolution or pooling) followed by element-wise operators and
reductions in one :class:`~nntc.backend.space.Space`. Its output is cut into boxes; for each box
the needed part of every operand is loaded, all operators run, and the results are stored.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nntc.backend.kernels.conv import ConvKernel
from nntc.backend.kernels.kernel import Need, ReduceKernel, view_of
from nntc.backend.memory import Placement
from nntc.backend.plan import Step, peak_bytes
from nntc.backend.space import Box, Span
from nntc.backend.tile import Members, TilePlanner
from nntc.core.errors import UnsupportedError
from nntc.isa.chip import LANE_BYTES, LANES, MAX_C
from nntc.isa.chip import MAX_H as MAX_SIZE
from nntc.isa.layout import ceil_div

TARGET_BYTES = LANE_BYTES // 3
"""Bytes per lane a tile should need, so that the next one can be loaded meanwhile."""

LIMIT_BYTES = LANE_BYTES // 2
"""Bytes per lane a tile must not exceed when there are several tiles."""


@dataclass(frozen=True)
class Tiling:
    """Number of cuts along n, c, h, w, and of parts of the input channels."""

    n: int = 1
    c: int = 1
    h: int = 1
    w: int = 1
    parts: int = 1
    channels_outside: bool = True

    @property
    def count(self) -> int:
        return self.n * self.c * self.h * self.w * self.parts


@dataclass
class Group(Members):
    """Operators in one space, and how their output is cut."""

    tiling: Tiling = field(default_factory=Tiling)

    # -- cutting ----------------------------------------------------------------------------

    def _reduced(self) -> set[int]:
        """Local dimensions that a reduction needs whole."""
        found: set[int] = set()
        for kernel in self.kernels:
            if isinstance(kernel, ReduceKernel):
                x = view_of(kernel.node.operands[0], self.space).shape
                y = view_of(kernel.out, self.space).shape
                found |= {i for i in range(4) if x[i] != y[i]}
        return found

    def boxes(self, tiling: Tiling) -> Iterator[Box]:
        """The output boxes in the order in which they run."""
        n, c, h, w = self.space.shape4
        rows = _cuts((0, n), tiling.n), _cuts((0, h), tiling.h), _cuts((0, w), tiling.w)
        channels: list[Span] = []
        anchor = self.anchor
        groups = anchor.groups if isinstance(anchor, ConvKernel) else 1
        for g in range(groups):
            channels += _cuts((g * c // groups, (g + 1) * c // groups), tiling.c, LANES)
        if tiling.channels_outside:
            for cc, nn, hh, ww in itertools.product(channels, *rows):
                yield Box(nn, cc, hh, ww)
        else:
            for nn, hh, ww, cc in itertools.product(*rows, channels):
                yield Box(nn, cc, hh, ww)

    def choose_tiling(self) -> None:
        """The fewest cuts with which a tile fits.

        Raises:
            UnsupportedError: no tiling fits.
        """
        limits = self._limits()
        best = Tiling()
        size = self._tile_bytes(best)
        while size > TARGET_BYTES or not self._legal(best):
            options = [
                t
                for t in self._finer(best, limits)
                # Cuts of channels and parts cost loads; take them only where they are needed.
                if size > LIMIT_BYTES
                or not self._legal(best)
                or (t.c, t.w, t.parts) == (best.c, best.w, best.parts)
            ]
            scored = [(self._tile_bytes(t), i, t) for i, t in enumerate(options)]
            if not scored:
                break
            smallest = min(scored)
            if smallest[0] >= size and self._legal(best) and size <= LIMIT_BYTES:
                break
            size, _, best = smallest
        if not self._legal(best) or size > (LANE_BYTES if best.count == 1 else LIMIT_BYTES):
            raise UnsupportedError(
                f"{self.kernels[0].node.source}: the smallest tile needs {size} bytes a lane, "
                f"local memory has {LANE_BYTES}"
            )
        self.tiling = replace(best, channels_outside=self._channels_outside(best))

    def _limits(self) -> Tiling:
        n, c, h, w = self.space.shape4
        reduced = self._reduced()
        anchor = self.anchor
        parts, least_h, least_w = 1, 1, 1
        if isinstance(anchor, ConvKernel) and not anchor.depthwise:
            parts = ceil_div(anchor.inner, 2) if anchor.accumulates else 1
            c //= anchor.groups
        if anchor is not None:
            least_h, least_w = anchor.geometry.h.least, anchor.geometry.w.least
        return Tiling(
            n=1 if 0 in reduced else n,
            c=ceil_div(c, LANES),
            h=1 if 2 in reduced else max(h // least_h, 1),
            w=1 if 3 in reduced else max(w // least_w, 1),
            parts=parts,
        )

    def _finer(self, t: Tiling, limits: Tiling) -> Iterator[Tiling]:
        for name in ("n", "h", "c", "w", "parts"):
            now, most = getattr(t, name), getattr(limits, name)
            if now < most:
                step = now + 1 if now < 4 else now + now // 4
                yield replace(t, **{name: min(step, most)})

    def _samples(self, tiling: Tiling) -> list[Box]:
        boxes = list(self.boxes(tiling))
        middle = len(boxes) // 2
        return [boxes[0], boxes[middle], boxes[-1]] if len(boxes) > 2 else boxes

    def _tile_bytes(self, tiling: Tiling) -> int:
        planner = TilePlanner(self, None, tiling.parts)
        return max(peak_bytes(planner.steps(box)) for box in self._samples(tiling))

    def _legal(self, tiling: Tiling) -> bool:
        for box in self._samples(tiling):
            if box.shape.c > MAX_C or max(box.shape) > MAX_SIZE:
                return False
            if self.anchor is not None:
                if not self.anchor.geometry.fits(box):
                    return False
                if any(
                    isinstance(need, Need) and need.shape.c > MAX_C
                    for need in self.anchor.operands(box, 0, tiling.parts)
                ):
                    return False
        return True

    def _channels_outside(self, t: Tiling) -> bool:
        """Whether all boxes of some channels run before the next channels.

        Weights are then loaded once, but the input once for every cut of the channels.
        """
        anchor = self.anchor
        if t.c == 1 or anchor is None:
            return True
        spatial = t.n * t.h * t.w
        weights = anchor.weight_words if isinstance(anchor, ConvKernel) else 0
        return weights * (spatial - 1) >= anchor.input.type.size * (t.c - 1)


def _cuts(span: Span, count: int, unit: int = 1) -> list[Span]:
    """Cut a range into *count* nearly equal pieces whose bounds are multiples of *unit*."""
    start, stop = span
    units = ceil_div(stop - start, unit)
    count = min(count, units)
    marks = [start + min(units * i // count * unit, stop - start) for i in range(count + 1)]
    return list(itertools.pairwise(marks))


def plan(group: Group, placement: Placement) -> list[Step]:
    """The steps of a group whose tiling is chosen."""
    planner = TilePlanner(group, placement, group.tiling.parts)
    steps: list[Step] = []
    for box in group.boxes(group.tiling):
        steps += planner.steps(box)
    return steps
