"""A BModel as Python objects: what the file holds, without offsets.

Facts: the public schema of libsophon (``model.fbs``) and that of the maker's current compiler.
Names are short forms of the schema's; every field of the schema that has no attribute here is kept
in ``extra`` under its schema name, and fields of a schema newer than both under ``#<id>``, so that
reading a file and writing it loses nothing.
"""

from __future__ import annotations

import hashlib
from ctypes import c_float
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any

from nntc.bmodel.storage import Array, BDataType, StoreMode, from_device, to_device
from nntc.isa.chip import COMMAND_BYTES, CONTEXT_BASE

CHIP = "BM1684"
VERSION = "2.2"
EPOCH_TEXT = "Thu Jan  1 00:00:00 1970\n"
"""Default creation time: the same input gives the same bytes unless the caller names a time."""

COMPUTED = -1
"""Default of sizes that follow from the rest of the model."""

Extra = dict[str, Any]


class MemType(IntFlag):
    """Who uses a tensor; old files leave it 0."""

    NONE = 0
    TPU = 1
    CPU = 2


class SubNetMode(IntEnum):
    """What runs a subnet."""

    TPU = 0
    CPU = 1
    MERGE = 2
    SWITCH = 3


class Hidden(IntEnum):
    """Role of a tensor among the nets of a cascade; 0 is accepted everywhere."""

    NONE = 0
    INPUT = 1
    OUTPUT = 2
    INTERNAL = 5


@dataclass
class Tensor:
    """A tensor of a net or subnet in device memory.

    Attributes:
        name: tensors are matched by name across the subnets and the net.
        shape: plain dimensions, N first (largest shape for a dynamic net).
        store_mode: storage mode in device memory (``dtype.store_mode`` is the usual one).
        device_addr: compile-time address, inside the stage's context or coefficients.
        size: bytes in device memory, padding included; default: computed.
        mem_type: bits of MemType.
        scale: input: stored = round(real * scale); output: real = stored * scale.
        cpu_addr: offset in floats in the stage's host buffer, when it has one.
        pad_h: rows of zeros above (high 16 bits) and below (low 16 bits), normally 0.
        more_shapes: further shapes (dynamic nets of old files).
    """

    name: str
    dtype: BDataType
    shape: tuple[int, ...]
    store_mode: StoreMode = StoreMode.N1
    device_addr: int = 0
    size: int = COMPUTED
    mem_type: MemType = MemType.TPU
    scale: float = 1.0
    zero_point: int = 0
    cpu_addr: int = 0
    pad_h: int = 0
    hidden: int = Hidden.NONE
    index: int = 0
    more_shapes: tuple[tuple[int, ...], ...] = ()
    extra: Extra = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.shape = tuple(int(d) for d in self.shape)
        if self.size == COMPUTED:
            self.size = self.stored_bytes
        self.scale = c_float(self.scale).value  # as the file keeps it

    @property
    def stored_bytes(self) -> int:
        """Bytes of the stored tensor, computed from shape, type and storage mode."""
        return self.store_mode.bytes(self.shape, self.dtype.size)

    def store(self, array: Array) -> Array:
        """Plain array of the tensor's shape -> the bytes of device memory (u8, 1-D)."""
        return to_device(array, self.shape, self.dtype, self.store_mode)

    def load(self, data: Array) -> Array:
        """Bytes of device memory (u8, at least ``stored_bytes``) -> plain array."""
        return from_device(data, self.shape, self.dtype, self.store_mode)


@dataclass
class CommandGroup:
    """A run of commands whose ids start at 1: raw 128-byte commands of both engines."""

    tiu: bytes
    gdma: bytes
    extra: Extra = field(default_factory=dict[str, Any])

    @property
    def tiu_count(self) -> int:
        return len(self.tiu) // COMMAND_BYTES

    @property
    def gdma_count(self) -> int:
        return len(self.gdma) // COMMAND_BYTES


@dataclass
class Location:
    """Where an operation's coefficients lie; only tools read it."""

    name: str
    offset: int
    size: int


@dataclass
class Coeff:
    """Coefficient memory of a stage.

    ``check_code`` is the SHA-256 of *data* and the key under which the runtime shares memory
    between stages, nets and models.
    """

    address: int = CONTEXT_BASE
    data: bytes = b""
    check_code: bytes = b""
    locations: list[Location] = field(default_factory=list[Location])
    extra: Extra = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if not self.check_code:
            self.check_code = hashlib.sha256(self.data).digest()


@dataclass
class CpuConst:
    """A constant of a CPU layer, kept in host memory."""

    name: str
    data: bytes
    check_code: bytes = b""
    extra: Extra = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if not self.check_code:
            self.check_code = hashlib.sha256(self.data).digest()


@dataclass
class CpuLayer:
    """A layer of the runtime's CPU library; *param* is the C struct (see ``cpu_ops``)."""

    op_type: int
    param: bytes = b""
    constants: list[CpuConst] = field(default_factory=list[CpuConst])
    is_custom: bool = False
    extra: Extra = field(default_factory=dict[str, Any])


@dataclass
class SubNet:
    """A part of a stage that one engine runs.

    Attributes:
        groups: commands, for a static TPU subnet.
        cpu: the layer, for a CPU subnet.
        id: position in the stage, or -1: the subnets run in order.
        next_ids: the next subnet; -1 or empty ends. A switch has two: for false and true.
        merge_from: for each output of a merge, the candidate inputs; the latest written wins.
        ir_offset, ir_length: bytes of the stage's ``ir``, for a dynamic TPU subnet.
    """

    mode: SubNetMode
    groups: list[CommandGroup] = field(default_factory=list[CommandGroup])
    cpu: CpuLayer | None = None
    inputs: list[Tensor] = field(default_factory=list[Tensor])
    outputs: list[Tensor] = field(default_factory=list[Tensor])
    id: int = -1
    next_ids: tuple[int, ...] = ()
    is_dynamic: bool = False
    ir_offset: int = 0
    ir_length: int = 0
    merge_from: tuple[tuple[int, ...], ...] = ()
    switch_from: tuple[int, ...] = ()
    switch_branch: tuple[int, ...] = ()
    extra: Extra = field(default_factory=dict[str, Any])


@dataclass
class Stage:
    """A net compiled for one set of shapes.

    Attributes:
        ctx_addr, ctx_size: the region of inputs, outputs and intermediates.
        ctx_sizes: sizes of its parts when it is split.
        cpu_mem_size: floats of the host buffer that CPU layers share, 0: one buffer a tensor.
        ir: what the firmware makes commands from, for a dynamic stage.
        core_num: 0 or 1 on this chip.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    ctx_addr: int = CONTEXT_BASE
    ctx_size: int = 0
    coeff: Coeff | None = None
    subnets: list[SubNet] = field(default_factory=list[SubNet])
    cpu_mem_size: int = 0
    is_dynamic: bool = False
    n_dynamic: bool = False
    h_w_dynamic: bool = False
    ir: bytes | None = None
    ctx_sizes: tuple[int, ...] = ()
    core_num: int = 0
    io_addr: int = 0
    io_size: int = 0
    extra: Extra = field(default_factory=dict[str, Any])

    @property
    def groups(self) -> list[CommandGroup]:
        """All groups of the static TPU subnets in order: what the runtime uploads."""
        return [g for s in self.subnets if s.mode == SubNetMode.TPU for g in s.groups]


@dataclass
class Net:
    """A network: one stage for each set of shapes it was compiled for."""

    name: str
    stages: list[Stage]
    addr_mode: int = 0
    extra: Extra = field(default_factory=dict[str, Any])

    @property
    def is_dynamic(self) -> bool:
        return bool(self.stages) and self.stages[0].is_dynamic


@dataclass
class Module:
    """A file that travels inside the model (a kernel module, a library of CPU layers)."""

    name: str
    data: bytes
    extra: Extra = field(default_factory=dict[str, Any])


@dataclass
class BModel:
    """The whole file.

    Attributes:
        time: creation time as ``ctime`` text; a fixed default keeps builds deterministic.
        neuron_size: largest context of all stages; default: computed. The runtime ignores it.
        device_num: chips that the model needs.
        dropped: set by the reader: fields of a newer schema that could not be kept.
    """

    chip: str
    nets: list[Net]
    type: str = "B"
    version: str = VERSION
    time: str = EPOCH_TEXT
    neuron_size: int = COMPUTED
    device_num: int = 1
    kernel_module: Module | None = None
    cpuop_module: Module | None = None
    extra: Extra = field(default_factory=dict[str, Any])
    dropped: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.neuron_size == COMPUTED:
            sizes = [s.ctx_size for n in self.nets for s in n.stages]
            self.neuron_size = max(sizes, default=0)
