"""One output box of a group as steps: loads, computations, stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nntc.backend.assembler import Assembler, System
from nntc.backend.kernels.conv import WindowKernel
from nntc.backend.kernels.kernel import Constant, Kernel, Need, view_of
from nntc.backend.local import Buffer, Local, aligned_local, compact_local
from nntc.backend.memory import Placement, element_bytes, fmt
from nntc.backend.plan import Compute, Step, Storage, Transfer
from nntc.backend.space import Box, Space
from nntc.ir.graph import Value
from nntc.isa.layout import contiguous_strides


@dataclass
class Members:
    """The operators of a group.

    Attributes:
        space: of every value but the anchor's input.
        kernels: in execution order; only the first may be a window.
        outputs: values that are stored.
    """

    space: Space
    kernels: list[Kernel]
    outputs: list[Value]
    label: str = ""

    @property
    def anchor(self) -> WindowKernel | None:
        first = self.kernels[0]
        return first if isinstance(first, WindowKernel) else None


class TilePlanner:
    """Turns boxes of a group into steps; keeps loaded tiles that the next step reads again."""

    def __init__(self, group: Members, placement: Placement | None, parts: int) -> None:
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
            view = view_of(kernel.out, self.group.space)
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
        key = (need.value, need.view, need.box, need.channels, need.border, need.fill)
        local = fresh.get(key) or self._kept.get(key)
        if local is None:
            local = _place_of(need)
            if self.placement is not None:
                storage = self.placement.of(need.value)
                step.loads.append(
                    Transfer(_loader(local, storage, need), local.buffer, reads=(storage,))
                )
            else:
                step.loads.append(Transfer(_nothing, local.buffer))
            if any(need.border):
                fill = _filler(local, need.border, need.fill)
                step.computes.append(Compute(fill, writes=[local.buffer]))
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
        view = view_of(value, self.group.space)
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


def _place_of(need: Need) -> Local:
    if need.compact:
        return compact_local(need.shape, need.value.name)
    # The C-model wants whole strides behind the first element of a load to be in local memory.
    up, _, left, _ = need.border
    return aligned_local(need.shape, need.value.name, up * need.shape.w + left)


def _loader(local: Local, storage: Storage, need: Need) -> Callable[[Assembler], None]:
    dtype = need.value.dtype
    start = need.view.start(need.box) * element_bytes(dtype)
    strides = need.view.strides
    up, _, left, _ = need.border
    _, _, h, w = need.box.shape
    inside = local.part(h=(up, up + h), w=(left, left + w))

    def emit(asm: Assembler) -> None:
        asm.load(inside, System(storage.address + start, strides, fmt(dtype)))

    return emit


def _filler(
    local: Local, border: tuple[int, int, int, int], word: int
) -> Callable[[Assembler], None]:
    """Fills what the load leaves out, whole rows first: the order of the two does not matter."""
    up, down, left, right = border
    h, w = local.shape.h, local.shape.w
    sides = local.part(h=(up, h - down))
    strips = (
        local.part(h=(0, up)),
        local.part(h=(h - down, h)),
        sides.part(w=(0, left)),
        sides.part(w=(w - right, w)),
    )

    def emit(asm: Assembler) -> None:
        for strip in strips:
            if strip.shape.size:
                asm.fill(strip, word)

    return emit


def _constant_loader(local: Local, storage: Storage) -> Callable[[Assembler], None]:
    n, c, h, w = contiguous_strides(local.shape)
    return lambda asm: asm.load(local, System(storage.address, (n, c, h, w)))
