"""What a BModel must satisfy beyond its tables: the same rules for reading and for writing.

Each rule protects against something the maker's runtime was seen to do with a file that breaks it
(wrong results, a crash, a hang), or keeps whoever runs the model from addressing memory that the
model does not have.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nntc.bmodel.convert import shown
from nntc.bmodel.model import (
    CHIP,
    BModel,
    Coeff,
    CommandGroup,
    MemType,
    Net,
    Stage,
    SubNet,
    SubNetMode,
    Tensor,
)
from nntc.isa.chip import COMMAND_BYTES, CONTEXT_BASE, DDR_LIMIT

MAX_DIMS = 8
MAX_DIM = 2**31 - 1
MAX_COMMANDS = 65535
"""Ids of commands have 16 bits and start at 1 in each group."""


def problems(model: BModel) -> list[str]:
    """One line for each rule that *model* breaks; empty when it is sound."""
    return list(_model(model))


def _model(model: BModel) -> Iterator[str]:
    if model.chip != CHIP:
        yield f"chip {shown(model.chip)}: only {CHIP} models are supported"
        return
    for name in ("type", "version", "time"):
        if "\0" in getattr(model, name):
            yield f"{name} holds a zero byte"
    if not model.nets:
        yield "the model has no net"
    yield from _unique("net", [n.name for n in model.nets])
    for net in model.nets:
        yield from _net(net, f"net {shown(net.name)}")
    yield from _check_codes(model)


def _unique(what: str, names: Sequence[str]) -> Iterator[str]:
    for name, times in Counter(names).items():
        if times > 1:
            yield f"{what} name {shown(name)} is there {times} times"
        if "\0" in name:
            yield f"{what} name {shown(name)} holds a zero byte"
    if "" in names:
        yield f"a {what} has no name"


@dataclass(frozen=True)
class _Room:
    """Where a stage's tensors may lie: (start, end) of device memory, floats of host memory."""

    regions: list[tuple[int, int]]
    floats: int

    @staticmethod
    def of(stage: Stage) -> _Room:
        size = max(stage.ctx_size, sum(stage.ctx_sizes))
        regions = [(stage.ctx_addr, stage.ctx_addr + size)]
        if stage.coeff is not None:
            start = stage.coeff.address
            regions.append((start, start + len(stage.coeff.data)))
        return _Room(regions, stage.cpu_mem_size)


def _net(net: Net, path: str) -> Iterator[str]:
    if not net.stages:
        yield f"{path}: has no stage"
        return
    first = _signature(net.stages[0])
    for i, stage in enumerate(net.stages):
        yield from _stage(stage, f"{path} stage {i}")
        if _signature(stage) != first:
            yield f"{path} stage {i}: tensor names, types or dynamic flag differ from stage 0"


def _signature(stage: Stage) -> object:
    ins, outs = ([(t.name, t.dtype) for t in ts] for ts in (stage.inputs, stage.outputs))
    return ins, outs, stage.is_dynamic


def _stage(stage: Stage, path: str) -> Iterator[str]:
    yield from _unique(f"{path}: input", [t.name for t in stage.inputs])
    yield from _unique(f"{path}: output", [t.name for t in stage.outputs])
    if not stage.outputs:
        yield f"{path}: has no output"
    if not stage.subnets:
        yield f"{path}: has no subnet"
    room = _Room.of(stage)
    low, high = room.regions[0]
    if high > DDR_LIMIT or (low < high and low < CONTEXT_BASE):
        yield (
            f"{path}: context {low:#x}..{high:#x} is not within {CONTEXT_BASE:#x}..{DDR_LIMIT:#x}"
        )
    if stage.coeff is not None:
        yield from _coeff(stage.coeff, stage, path)
    for tensor in [*stage.inputs, *stage.outputs]:
        yield from _tensor(tensor, room, f"{path}: {shown(tensor.name)}", placed=True)
    for i, subnet in enumerate(stage.subnets):
        yield from _subnet(subnet, stage, f"{path} subnet {i}")
        for tensor in [*subnet.inputs, *subnet.outputs]:
            where = f"{path} subnet {i}: {shown(tensor.name)}"
            yield from _tensor(tensor, room, where, placed=False)
    ids = [s.id for s in stage.subnets]
    if ids != [-1] * len(ids) and ids != list(range(len(ids))):
        yield f"{path}: subnet ids {ids[:MAX_DIMS]} are neither their positions nor all -1"
    yield from _cycle(stage, path)
    if len(stage.subnets) > 1:
        yield from _sources(stage, path)


def _coeff(coeff: Coeff, stage: Stage, path: str) -> Iterator[str]:
    end = coeff.address + len(coeff.data)
    if coeff.data and not CONTEXT_BASE <= coeff.address < end <= stage.ctx_addr:
        yield (
            f"{path}: coefficients {coeff.address:#x}+{len(coeff.data):#x} are not within "
            f"{CONTEXT_BASE:#x}..{stage.ctx_addr:#x} (the context)"
        )
    for place in coeff.locations:
        if place.offset + place.size > len(coeff.data):
            yield (
                f"{path}: coefficient {shown(place.name)} {place.offset}+{place.size} leaves the "
                f"{len(coeff.data)} bytes"
            )


def _check_codes(model: BModel) -> Iterator[str]:
    """Check codes are the key under which the runtime shares memory: they must be true."""
    digests: dict[int, bytes] = {}
    for net in model.nets:
        for i, stage in enumerate(net.stages):
            if stage.coeff is None:
                continue
            code, data = stage.coeff.check_code, stage.coeff.data
            if id(data) not in digests:
                digests[id(data)] = hashlib.sha256(data).digest()
            if code != digests[id(data)]:
                yield (
                    f"net {shown(net.name)} stage {i}: check_code {code[:32].hex() or 'empty'} is "
                    f"not the SHA-256 of the {len(data)} bytes of coefficients, "
                    f"{digests[id(data)].hex()}"
                )


def _tensor(tensor: Tensor, room: _Room, path: str, placed: bool) -> Iterator[str]:
    """Rules of a tensor; *placed*: it must have a device address."""
    for shape in (tensor.shape, *tensor.more_shapes):
        if len(shape) > MAX_DIMS or any(not 0 <= d <= MAX_DIM for d in shape):
            dims = list(shape[: MAX_DIMS + 1])
            yield f"{path}: shape {dims}: at most {MAX_DIMS} dimensions of 0..{MAX_DIM}"
            return
    if not math.isfinite(tensor.scale):
        yield f"{path}: scale {tensor.scale} is not finite"
    size = tensor.stored_bytes
    start, end = tensor.device_addr, tensor.device_addr + size
    if (placed or start) and not any(low <= start and end <= high for low, high in room.regions):
        places = " nor ".join(f"{low:#x}..{high:#x}" for low, high in room.regions)
        yield f"{path}: {size} bytes at {start:#x} are not within {places}"
    if room.floats and tensor.mem_type & MemType.CPU:
        count = math.prod(tensor.shape)
        if tensor.cpu_addr + count > room.floats:
            yield (
                f"{path}: {count} elements at {tensor.cpu_addr} of the host buffer of "
                f"{room.floats} floats"
            )


def _subnet(subnet: SubNet, stage: Stage, path: str) -> Iterator[str]:
    count = len(stage.subnets)
    for following in subnet.next_ids:
        if not -1 <= following < count:
            yield f"{path}: next subnet {following} is none of {count}"
    for tensor in [*subnet.inputs, *subnet.outputs]:
        if not tensor.name:
            yield f"{path}: a tensor has no name"
    if subnet.mode == SubNetMode.TPU and subnet.is_dynamic:
        size = len(stage.ir or b"")
        if subnet.ir_offset + subnet.ir_length > size:
            yield f"{path}: IR {subnet.ir_offset}+{subnet.ir_length} of {size} bytes"
    for i, group in enumerate(subnet.groups):
        yield from _group(group, f"{path} command group {i}")
    if subnet.mode == SubNetMode.CPU and subnet.cpu is None:
        yield f"{path}: runs on the CPU, but has no CPU layer"
    if subnet.mode == SubNetMode.SWITCH and (len(subnet.next_ids) != 2 or not subnet.inputs):
        yield (
            f"{path}: a switch needs a condition and 2 next subnets, it has "
            f"{len(subnet.inputs)} inputs and {len(subnet.next_ids)} next subnets"
        )
    if subnet.mode == SubNetMode.MERGE:
        chosen = {i for indices in subnet.merge_from for i in indices}
        if len(subnet.merge_from) != len(subnet.outputs) or not chosen <= set(
            range(len(subnet.inputs))
        ):
            yield (
                f"{path}: merge lists {len(subnet.merge_from)} choices, of inputs up to "
                f"{max(chosen, default=-1)}, for {len(subnet.inputs)} inputs and "
                f"{len(subnet.outputs)} outputs"
            )


def _group(group: CommandGroup, path: str) -> Iterator[str]:
    for engine, blob in (("TIU", group.tiu), ("GDMA", group.gdma)):
        if len(blob) % COMMAND_BYTES:
            yield f"{path}: {len(blob)} bytes of {engine} commands, not a multiple of 128"
        if len(blob) // COMMAND_BYTES > MAX_COMMANDS:
            yield (
                f"{path}: {len(blob) // COMMAND_BYTES} {engine} commands, at most {MAX_COMMANDS}"
            )


def _next(stage: Stage, position: int) -> list[int]:
    subnet, count = stage.subnets[position], len(stage.subnets)
    if subnet.id < 0:
        return [position + 1] if position + 1 < count else []
    return [i for i in subnet.next_ids if 0 <= i < count]


def _cycle(stage: Stage, path: str) -> Iterator[str]:
    """A cycle would run for ever."""
    count = len(stage.subnets)
    waiting = [0] * count
    for i in range(count):
        for following in _next(stage, i):
            waiting[following] += 1
    ready = [i for i in range(count) if not waiting[i]]
    done = 0
    while ready:
        done += 1
        for following in _next(stage, ready.pop()):
            waiting[following] -= 1
            if not waiting[following]:
                ready.append(following)
    if done < count:
        loop = [i for i in range(count) if waiting[i]]
        yield f"{path}: subnets {loop[:MAX_DIMS]} follow one another in a circle"


def _sources(stage: Stage, path: str) -> Iterator[str]:
    """Every tensor read is a net input, another subnet's output or a coefficient."""
    made = {t.name for t in stage.inputs} | {t.name for s in stage.subnets for t in s.outputs}
    for i, subnet in enumerate(stage.subnets):
        for tensor in subnet.inputs:
            coefficient = stage.coeff and stage.coeff.address <= tensor.device_addr < stage.ctx_addr
            if tensor.name not in made and not coefficient:
                yield f"{path} subnet {i}: input {shown(tensor.name)} comes from nowhere"
    for tensor in stage.outputs:
        if tensor.name not in made:
            yield f"{path}: output {shown(tensor.name)} comes from nowhere"
