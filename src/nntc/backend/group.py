"""Groups: operators that run together, tile by tile, without leaving local memory.

A group has an optional anchor (a convolution or pooling) followed by element-wise operators and
reductions in one :class:`~nntc.backend.space.Space`. Its output is cut into boxes; for each box
the needed part of every operand is loaded, all operators run, and the results are stored.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nntc.backend.assembler import Assembler, System
from nntc.backend.kernels import pointwise, window
from nntc.backend.kernels.reduce import emit_reduce
from nntc.backend.local import Buffer, Local, aligned_local, compact_local
from nntc.backend.memory import Placement, element_bytes, fmt
from nntc.backend.ops import PackedConv
from nntc.backend.plan import Compute, Step, Storage, Transfer, peak_bytes
from nntc.backend.space import Box, Space, Span, View, image_space
from nntc.core.errors import UnsupportedError
from nntc.ir import ops
from nntc.ir.graph import Node, Value
from nntc.isa.chip import LANE_BYTES, LANES, MAX_C
from nntc.isa.chip import MAX_H as MAX_SIZE
from nntc.isa.layout import Shape4, ceil_div, contiguous_strides

TARGET_BYTES = LANE_BYTES // 3
"""Bytes per lane a tile should need, so that the next one can be loaded meanwhile."""

LIMIT_BYTES = LANE_BYTES // 2
"""Bytes per lane a tile must not exceed when there are several tiles."""


@dataclass(frozen=True)
class Need:
    """A box of a value as an operand of one tile.

    ``channels`` above 0 asks for copies of the value's single channel in that many lanes;
    ``compact`` for the layout of weights and biases.
    """

    value: Value
    view: View
    box: Box
    channels: int = 0
    compact: bool = False

    @property
    def shape(self) -> Shape4:
        n, c, h, w = self.box.shape
        return Shape4(n, self.channels or c, h, w)


@dataclass(frozen=True)
class Constant:
    """Packed data of one tile: its name, local shape, and how to make it.

    Making is left until the tiling is chosen, so that only what is used becomes a coefficient.
    """

    key: tuple[Any, ...]
    shape: Shape4
    make: Callable[[], np.ndarray] = field(compare=False)


Operand = Need | float | int


class Kernel:
    """One operator inside a group."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.out = node.output

    def operands(self, box: Box, part: int, parts: int) -> list[Operand]:
        """What the operator reads for an output box."""
        raise NotImplementedError

    def constants(self, box: Box, part: int, parts: int) -> list[Constant]:
        """Packed weights for an output box."""
        return []

    def scratch(self, out: Local, args: list[Any]) -> list[Shape4]:
        """Shapes of scratch tensors."""
        return []

    def emit(
        self,
        asm: Assembler,
        out: Local,
        args: list[Any],
        constants: list[Local],
        scratch: list[Local],
        tile: tuple[Box, int, int],
    ) -> None:
        """Instructions for one tile; ``tile`` is (output box, part, parts)."""
        raise NotImplementedError


class PointwiseKernel(Kernel):
    """An element-wise operator."""

    def __init__(self, node: Node, space: Space) -> None:
        super().__init__(node)
        self.space = space

    def operands(self, box: Box, part: int, parts: int) -> list[Operand]:
        found: list[Operand] = []
        for value in self.node.operands:
            number = pointwise.immediate(value, self.node.op)
            found.append(_need(value, self.space, box) if number is None else number)
        return found

    def scratch(self, out: Local, args: list[Any]) -> list[Shape4]:
        return [out.shape] * pointwise.scratch_count(self.node.op, out, args)

    def emit(
        self,
        asm: Assembler,
        out: Local,
        args: list[Any],
        constants: list[Local],
        scratch: list[Local],
        tile: tuple[Box, int, int],
    ) -> None:
        pointwise.emit(asm, self.node.op, out, args, scratch)


class ReduceKernel(Kernel):
    """A reduction over dimensions that lie within a lane."""

    def __init__(self, node: Node, space: Space) -> None:
        super().__init__(node)
        self.space = space

    def operands(self, box: Box, part: int, parts: int) -> list[Operand]:
        x = self.node.operands[0]
        view = _view(x, self.space)
        out = _view(self.out, self.space)
        spans = [
            (0, full) if small == 1 and full != 1 else span
            for span, full, small in zip(box, view.shape, out.shape, strict=True)
        ]
        return [_need(x, self.space, Box(*spans))]

    def scratch(self, out: Local, args: list[Any]) -> list[Shape4]:
        return [args[0].shape]

    def emit(
        self,
        asm: Assembler,
        out: Local,
        args: list[Any],
        constants: list[Local],
        scratch: list[Local],
        tile: tuple[Box, int, int],
    ) -> None:
        op = self.node.op
        assert isinstance(op, ops.Reduce)
        emit_reduce(asm, op.fn, out, args[0], scratch[0])


class WindowKernel(Kernel):
    """Base of convolutions and poolings: an input view and a geometry."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.geometry = window.geometry(node)
        self.input = node.operands[0]
        self.view = _view(self.input, image_space(self.input.shape))

    def channels(self, box: Box, part: int, parts: int) -> Span:
        """Input channels for an output box."""
        return box.c

    def operands(self, box: Box, part: int, parts: int) -> list[Operand]:
        rows, cols, _ = self.geometry.tile(box)
        c = self.channels(box, part, parts)
        return [Need(self.input, self.view, Box(box.n, c, rows, cols))]


class PoolKernel(WindowKernel):
    """Maximum or average over a window; padded zeros count in the average."""

    def emit(
        self,
        asm: Assembler,
        out: Local,
        args: list[Any],
        constants: list[Local],
        scratch: list[Local],
        tile: tuple[Box, int, int],
    ) -> None:
        win = self.geometry.tile(tile[0])[2]
        if isinstance(self.node.op, ops.MaxPool):
            asm.max_pool(out, args[0], win)
        else:
            asm.depthwise(out, args[0], 1.0 / (win.kernel[0] * win.kernel[1]), None, win)


class ConvKernel(WindowKernel):
    """Base of convolutions: channels of groups, cut into parts."""

    out_channels: int
    inner: int
    groups: int
    depthwise: bool
    rotate: bool

    def _inner_span(self, part: int, parts: int) -> Span:
        pairs = ceil_div(self.inner, 2)
        return 2 * (pairs * part // parts), min(2 * (pairs * (part + 1) // parts), self.inner)

    def channels(self, box: Box, part: int, parts: int) -> Span:
        if self.depthwise:
            return box.c
        group = box.c[0] // (self.out_channels // self.groups)
        low, high = self._inner_span(part, parts)
        return group * self.inner + low, group * self.inner + high

    def emit(
        self,
        asm: Assembler,
        out: Local,
        args: list[Any],
        constants: list[Local],
        scratch: list[Local],
        tile: tuple[Box, int, int],
    ) -> None:
        box, part, parts = tile
        win = self.geometry.tile(box)[2]
        weight, *rest = (*args[1:], *constants)
        bias = rest[0] if rest else None
        if self.depthwise:
            asm.depthwise(out, args[0], weight, bias, win)
            return
        low, high = self._inner_span(part, parts)
        asm.conv(
            out,
            args[0],
            weight,
            bias,
            win,
            ceil_div(high - low, 2),
            rotate=self.rotate,
            accumulate=part > 0,
        )


class FixedConvKernel(ConvKernel):
    """Convolution with constant weights, packed when the network is compiled."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.weight = window.conv_weight(node)
        op = node.op
        assert isinstance(op, (ops.Conv, ops.ConvTranspose))
        self.rotate = isinstance(op, ops.ConvTranspose)
        self.groups = op.group
        self.bias: np.ndarray | None = None
        if len(node.operands) > 2:
            self.bias = np.asarray(node.operands[2].data, np.float32)
        oc, ic = self.weight.shape[:2]
        self.depthwise = ic == 1 and oc == self.groups and self.groups > 1
        if self.depthwise:
            self.groups = 1
            if self.rotate:
                self.weight = self.weight[:, :, ::-1, ::-1]
        elif self.groups > 1:
            # Dense with zeros beats one pass a group when the groups are narrow.
            dense = ceil_div(oc, LANES) * ceil_div(ic * self.groups, 2)
            grouped = self.groups * ceil_div(oc // self.groups, LANES) * ceil_div(ic, 2)
            if dense <= grouped and ic * self.groups <= MAX_C:
                self.weight = window.dense_weight(self.weight, self.groups)
                self.groups = 1
        self.out_channels, self.inner = self.weight.shape[:2]

    def constants(self, box: Box, part: int, parts: int) -> list[Constant]:
        name, (start, stop) = self.node.name, box.c
        w = self.weight[start:stop]
        oc, _, kh, kw = w.shape
        if self.depthwise:
            found = [Constant((name, "weight", start, stop), Shape4(1, oc, kh, kw), lambda: w)]
        else:
            low, high = self._inner_span(part, parts)
            found = [
                Constant(
                    (name, "weight", start, stop, low, high),
                    Shape4(1, oc, kh, kw * ceil_div(high - low, 2) * 2),
                    lambda: window.pack_conv(w[:, low:high]),
                )
            ]
        if self.bias is not None and part == 0:
            bias = self.bias[start:stop]
            found.append(Constant((name, "bias", start, stop), Shape4(1, oc, 1, 1), lambda: bias))
        return found


class PackedConvKernel(ConvKernel):
    """Convolution with weights from memory, which the network has put in the chip's order."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        op = node.op
        assert isinstance(op, PackedConv)
        self.weight_value = node.operands[1]
        self.bias_value = node.operands[2] if len(node.operands) > 2 else None
        self.rotate = op.transposed
        self.depthwise = op.inner == 0
        self.groups = 1 if self.depthwise else op.group
        self.out_channels, self.inner = op.result[1], op.inner

    def operands(self, box: Box, part: int, parts: int) -> list[Operand]:
        found = super().operands(box, part, parts)
        taps = self.geometry.h.kernel * self.geometry.w.kernel
        depth = 1 if self.depthwise else 2 * ceil_div(self.inner, 2)
        shape = Shape4(1, self.out_channels, taps, depth)
        low, high = (0, 1) if self.depthwise else self._inner_span(part, parts)
        span = (low, low + (1 if self.depthwise else 2 * ceil_div(high - low, 2)))
        view = View(shape, (0, taps * depth, depth, 1))
        found.append(Need(self.weight_value, view, Box((0, 1), box.c, (0, taps), span), 0, True))
        if self.bias_value is not None and part == 0:
            view = View(Shape4(1, self.out_channels, 1, 1), (0, 1, 0, 0))
            place = Box((0, 1), box.c, (0, 1), (0, 1))
            found.append(Need(self.bias_value, view, place, 0, True))
        return found


def _view(value: Value, space: Space) -> View:
    view = space.view(value.shape)
    if view is None:
        raise UnsupportedError(f"{value.name}: {value.type} has no regular place in {space.shape}")
    return view


def _need(value: Value, space: Space, box: Box) -> Need:
    view = _view(value, space)
    channels = box.shape.c if view.shape.c == 1 and space.shape4.c != 1 else 0
    return Need(value, view, box.clip(view.shape), channels)


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
class Group:
    """Operators in one space.

    Attributes:
        kernels: in execution order; only the first may be a window.
        space: of every value but the anchor's input.
        outputs: values that are stored.
    """

    space: Space
    kernels: list[Kernel]
    outputs: list[Value]
    label: str = ""
    tiling: Tiling = field(default_factory=Tiling)

    @property
    def anchor(self) -> WindowKernel | None:
        first = self.kernels[0]
        return first if isinstance(first, WindowKernel) else None

    # -- cutting ----------------------------------------------------------------------------

    def _reduced(self) -> set[int]:
        """Local dimensions that a reduction needs whole."""
        found: set[int] = set()
        for kernel in self.kernels:
            if isinstance(kernel, ReduceKernel):
                x = _view(kernel.node.operands[0], self.space).shape
                y = _view(kernel.out, self.space).shape
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
            parts = ceil_div(anchor.inner, 2)
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
        weights = getattr(anchor, "weight", np.zeros(0)).size
        return weights * (spatial - 1) >= anchor.input.type.size * (t.c - 1)


def _cuts(span: Span, count: int, unit: int = 1) -> list[Span]:
    """Cut a range into *count* nearly equal pieces whose bounds are multiples of *unit*."""
    start, stop = span
    units = ceil_div(stop - start, unit)
    count = min(count, units)
    marks = [start + min(units * i // count * unit, stop - start) for i in range(count + 1)]
    return list(itertools.pairwise(marks))


class TilePlanner:
    """Turns boxes of a group into steps; keeps loaded tiles that the next step reads again."""

    def __init__(self, group: Group, placement: Placement | None, parts: int) -> None:
        self.group = group
        self.placement = placement
        self.parts = parts
        self._kept: dict[Any, Local] = {}

    def steps(self, box: Box) -> list[Step]:
        """The steps of one output box: one for each part of the input channels."""
        group = self.group
        made: list[Step] = []
        results: dict[Value, Local] = {}
        for part in range(self.parts):
            step = Step(group.label)
            fresh: dict[Any, Local] = {}
            last = part == self.parts - 1
            boxes = self._boxes(box)
            for kernel in group.kernels:
                if kernel is not group.anchor and not last:
                    continue
                here = part if kernel is group.anchor else 0
                count = self.parts if kernel is group.anchor else 1
                self._add(step, kernel, (boxes[kernel.out], here, count), results, fresh)
            if last:
                for value in group.outputs:
                    self._store(step, value, boxes[value], results[value])
            self._kept = fresh
            made.append(step)
        return made

    def _boxes(self, box: Box) -> dict[Value, Box]:
        """The box of every value that the group computes."""
        found: dict[Value, Box] = {}
        for kernel in self.group.kernels:
            view = _view(kernel.out, self.group.space)
            clipped = box.clip(view.shape)
            if view.shape.c == 1:
                # A value without channels is computed in every lane that reads it.
                clipped = clipped._replace(c=box.c)
            found[kernel.out] = clipped
        return found

    def _add(
        self,
        step: Step,
        kernel: Kernel,
        tile: tuple[Box, int, int],
        results: dict[Value, Local],
        fresh: dict[Any, Local],
    ) -> None:
        args: list[Any] = []
        for operand in kernel.operands(*tile):
            if not isinstance(operand, Need):
                args.append(operand)
            elif operand.value in results:
                args.append(results[operand.value])
            else:
                args.append(self._load(step, operand, fresh))
        constants = [self._load_constant(step, c, fresh) for c in kernel.constants(*tile)]
        out = results.get(kernel.out)
        if out is None:
            out = results[kernel.out] = aligned_local(tile[0].shape, kernel.out.name)
        scratch = [aligned_local(s, "scratch") for s in kernel.scratch(out, args)]
        reads = [a.buffer for a in (*args, *constants) if isinstance(a, Local)]
        writes: list[Buffer] = [out.buffer, *(s.buffer for s in scratch)]
        step.computes.append(
            Compute(
                _bind(kernel, out, args, constants, scratch, tile),
                reads,
                writes,
            )
        )

    def _load(self, step: Step, need: Need, fresh: dict[Any, Local]) -> Local:
        key = (need.value, need.view, need.box, need.channels)
        local = fresh.get(key) or self._kept.get(key)
        if local is None:
            make = compact_local if need.compact else aligned_local
            local = make(need.shape, need.value.name)
            if self.placement is not None:
                storage = self.placement.of(need.value)
                step.loads.append(
                    Transfer(_loader(local, storage, need), local.buffer, reads=(storage,))
                )
            else:
                step.loads.append(Transfer(_nothing, local.buffer))
        fresh[key] = local
        return local

    def _load_constant(self, step: Step, constant: Constant, fresh: dict[Any, Local]) -> Local:
        local = fresh.get(constant.key) or self._kept.get(constant.key)
        if local is None:
            label = ".".join(map(str, constant.key[:2]))
            local = compact_local(constant.shape, label)
            if self.placement is not None:
                storage = self.placement.coefficients.add(constant.make(), label)
                emit = _constant_loader(local, storage)
                step.loads.append(Transfer(emit, local.buffer, reads=(storage,)))
            else:
                step.loads.append(Transfer(_nothing, local.buffer))
        fresh[constant.key] = local
        return local

    def _store(self, step: Step, value: Value, box: Box, local: Local) -> None:
        view = _view(value, self.group.space)
        if view.shape.c == 1:
            box = box._replace(c=(0, 1))
            local = local.part(c=(0, 1))
        if self.placement is None:
            step.stores.append(Transfer(_nothing, local.buffer))
            return
        storage = self.placement.of(value)
        start = view.start(box) * element_bytes(value.dtype)
        format_ = fmt(value.dtype)

        def emit(asm: Assembler) -> None:
            asm.store(local, System(storage.address + start, view.strides, format_))

        step.stores.append(Transfer(emit, local.buffer, writes=(storage,)))


def _nothing(asm: Assembler) -> None:
    """Stands for a transfer while only sizes are wanted."""


def _bind(
    kernel: Kernel,
    out: Local,
    args: list[Any],
    constants: list[Local],
    scratch: list[Local],
    tile: tuple[Box, int, int],
) -> Callable[[Assembler], None]:
    return lambda asm: kernel.emit(asm, out, args, constants, scratch, tile)


def _loader(local: Local, storage: Storage, need: Need) -> Callable[[Assembler], None]:
    dtype = need.value.dtype
    start = need.view.start(need.box) * element_bytes(dtype)
    strides = need.view.strides

    def emit(asm: Assembler) -> None:
        asm.load(local, System(storage.address + start, strides, fmt(dtype)))

    return emit


def _constant_loader(local: Local, storage: Storage) -> Callable[[Assembler], None]:
    n, c, h, w = contiguous_strides(local.shape)
    return lambda asm: asm.load(local, System(storage.address, (n, c, h, w)))


def plan(group: Group, placement: Placement) -> list[Step]:
    """The steps of a group whose tiling is chosen."""
    planner = TilePlanner(group, placement, group.tiling.parts)
    steps: list[Step] = []
    for box in group.boxes(group.tiling):
        steps += planner.steps(box)
    return steps
