"""What a model holds, in the words and layout of the maker's ``tpu_model --info``.

Memory sizes are true for files of any number of stages and nets. (The maker's tool counts stage 0
once for each stage of a net, and keeps the context of the last net with several subnets only; for
a file of one stage both print the same numbers.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from nntc.bmodel.model import BModel, Module, Net, Stage, SubNet, SubNetMode, Tensor
from nntc.isa.chip import COMMAND_BYTES

_HOST_FLOAT = 4


@dataclass(frozen=True)
class MemoryUse:
    """Bytes that loading a model takes.

    Attributes:
        weight: coefficients, equal ones once.
        instruct: commands of the static subnets, IR of the dynamic ones.
        runtime: contexts (nets of one subnet share one) and the largest input or output at 4
            bytes an element.
        host_weight, host_runtime: constants and buffers of CPU layers.
    """

    weight: int
    instruct: int
    runtime: int
    host_weight: int
    host_runtime: int

    @property
    def device(self) -> int:
        return self.weight + self.instruct + self.runtime

    @property
    def host(self) -> int:
        return self.host_weight + self.host_runtime


def memory_use(model: BModel) -> MemoryUse:
    """Device and host memory of a loaded model, in bytes."""
    stages = [stage for net in model.nets for stage in net.stages]
    subnets = [subnet for stage in stages for subnet in stage.subnets]
    coeffs = {s.coeff.check_code: len(s.coeff.data) for s in stages if s.coeff is not None}
    constants = {c.check_code: len(c.data) for s in subnets if s.cpu for c in s.cpu.constants}
    tensors = [t for s in stages for t in [*s.inputs, *s.outputs]]
    largest = max((prod(t.shape) * _HOST_FLOAT for t in tensors), default=0)
    return MemoryUse(
        weight=sum(coeffs.values()),
        instruct=sum(_instruct(s) for s in subnets),
        runtime=_contexts(model) + largest,
        host_weight=sum(constants.values()),
        host_runtime=sum(s.cpu_mem_size * _HOST_FLOAT for s in stages),
    )


def _instruct(subnet: SubNet) -> int:
    if subnet.mode != SubNetMode.TPU:
        return 0
    if subnet.is_dynamic:
        return subnet.ir_length * 4  # as the maker's tool counts it
    return sum((g.tiu_count + g.gdma_count) * COMMAND_BYTES for g in subnet.groups)


def _contexts(model: BModel) -> int:
    """Nets of one subnet share a context; the others have their own."""
    shared, own = 0, 0
    for net in model.nets:
        size = max((s.ctx_size for s in net.stages), default=0)
        if any(len(s.subnets) > 1 for s in net.stages):
            own += size
        else:
            shared = max(shared, size)
    return own + shared


def info(model: BModel) -> str:
    """The text of ``tpu_model --info``; ends with a newline."""
    return "".join(f"{line}\n" for line in _lines(model))


def _lines(model: BModel) -> Iterator[str]:
    yield f"bmodel version: {model.type}.{model.version}"
    devices = f",  device num: {model.device_num}" if model.device_num > 1 else ""
    yield f"chip: {model.chip}{devices}"
    yield f"create time: {model.time}"
    yield from _module("kernel_module", model.kernel_module)
    yield from _module("cpuop_module", model.cpuop_module)
    for i, net in enumerate(model.nets):
        yield from _net(i, net)
    use = memory_use(model)
    yield ""
    yield ""
    yield (
        f"device mem size: {use.device} (weight: {use.weight}, instruct: {use.instruct}, "
        f"runtime: {use.runtime})"
    )
    yield f"host mem size: {use.host} (weight: {use.host_weight}, runtime: {use.host_runtime})"


def _module(kind: str, module: Module | None) -> Iterator[str]:
    if module is None:
        yield f"{kind}: not found!"
        return
    yield f"{kind} name: {module.name}"
    yield f"{kind} size: {len(module.data)}"
    yield f"{kind} md5: {hashlib.md5(module.data, usedforsecurity=False).hexdigest()}"


def _net(index: int, net: Net) -> Iterator[str]:
    yield "=" * 42
    yield f"net {index}: [{net.name}]  {'dynamic' if net.is_dynamic else 'static'}"
    if net.addr_mode:
        yield f"addr mode: {net.addr_mode}"
    for i, stage in enumerate(net.stages):
        yield "------------"
        yield f"stage {i}, core num: {stage.core_num or 1}"
        if len(stage.subnets) > 1:
            yield f"subnet number: {len(stage.subnets)}"
        yield from _tensors(stage)


def _tensors(stage: Stage) -> Iterator[str]:
    largest = "max:" if stage.n_dynamic or stage.h_w_dynamic else ""
    for tensor in stage.inputs:
        yield f"input: {_tensor(tensor, largest)}"
    for tensor in stage.outputs:
        yield f"output: {_tensor(tensor, '')}"


def _tensor(tensor: Tensor, prefix: str) -> str:
    shape = ", ".join(f"{prefix}{d}" for d in tensor.shape) or " "
    return (
        f"{tensor.name}, [{shape}], {tensor.dtype.text}, scale: {tensor.scale:g}, "
        f"zero point: {tensor.zero_point}"
    )
