"""A command device whose TPU subnets are Python functions: tests of everything around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nntc.bmodel import (
    BDataType,
    BModel,
    CommandGroup,
    Net,
    Stage,
    SubNet,
    SubNetMode,
    Tensor,
)
from nntc.isa.chip import CONTEXT_BASE
from nntc.runtime.device import Context
from nntc.runtime.subnets import SubnetSession

PAGE = 4096
Action = Callable[[Context], None]


class FakeDevice:
    """Memory is one array; subnet number → what it does to the memory."""

    def __init__(self, actions: dict[int, Action], contexts: int = 2) -> None:
        self.actions = actions
        self.contexts = contexts
        self.made = 0
        self.ran: list[int] = []
        self.name = "fake"

    def load(self, model: BModel, data: bytes | None = None) -> SubnetSession:
        return SubnetSession(model, self, self.contexts)

    def load_stage(self, stage: Stage) -> FakeStage:
        return FakeStage(self, stage)

    def close(self) -> None:
        pass


class FakeStage:
    def __init__(self, device: FakeDevice, stage: Stage) -> None:
        self.device = device
        self.stage = stage

    def context(self) -> FakeContext:
        self.device.made += 1
        return FakeContext(self.device, self.stage)


class FakeContext:
    def __init__(self, device: FakeDevice, stage: Stage) -> None:
        self.device = device
        self.memory = np.zeros(stage.ctx_addr + stage.ctx_size - CONTEXT_BASE, np.uint8)
        if stage.coeff is not None:
            at = stage.coeff.address - CONTEXT_BASE
            data = np.frombuffer(stage.coeff.data, np.uint8)
            self.memory[at : at + data.size] = data

    def write(self, address: int, data: np.ndarray) -> None:
        assert data.dtype == np.uint8
        self.memory[address - CONTEXT_BASE : address - CONTEXT_BASE + data.size] = data

    def read(self, address: int, size: int) -> np.ndarray:
        return self.memory[address - CONTEXT_BASE : address - CONTEXT_BASE + size].copy()

    def run(self, subnet: int) -> None:
        self.device.ran.append(subnet)
        self.device.actions[subnet](self)


def f32(context: Context, tensor: Tensor) -> np.ndarray:
    """The tensor's value in device memory."""
    return tensor.load(context.read(tensor.device_addr, tensor.stored_bytes))


def put(context: Context, tensor: Tensor, array: np.ndarray) -> None:
    context.write(tensor.device_addr, tensor.store(array.astype(tensor.dtype.numpy)))


def elementwise(
    source: Tensor, target: Tensor, function: Callable[[np.ndarray], np.ndarray]
) -> Action:
    """target = function(source), in device memory."""
    return lambda context: put(context, target, function(f32(context, source)))


def tensor(name: str, slot: int, shape: Sequence[int] = (1, 4), **fields: object) -> Tensor:
    """An fp32 tensor in the given page of the context."""
    fields.setdefault("dtype", BDataType.FLOAT32)
    address = CONTEXT_BASE + slot * PAGE
    return Tensor(name=name, shape=tuple(shape), device_addr=address, **fields)  # type: ignore[arg-type]


def tpu(inputs: list[Tensor], outputs: list[Tensor], **fields: object) -> SubNet:
    return SubNet(
        SubNetMode.TPU,
        [CommandGroup(b"", b"")],
        inputs=inputs,
        outputs=outputs,
        **fields,  # type: ignore[arg-type]
    )


def model(inputs: list[Tensor], outputs: list[Tensor], subnets: list[SubNet]) -> BModel:
    stage = Stage(inputs, outputs, ctx_addr=CONTEXT_BASE, ctx_size=16 * PAGE, subnets=subnets)
    return BModel("BM1684", [Net("net", [stage])])
