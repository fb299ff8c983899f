"""Parts of a network: TPU parts with their instruction streams, and CPU layers between them.

The runtime runs the subnets in order and matches their tensors by name; a tensor that crosses a
border lies in the context area and is copied to and from the host by the runtime.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nntc.backend.grouping import Unit
from nntc.backend.memory import Placement, memory_root
from nntc.backend.ops import CpuCall
from nntc.backend.plan import Step, Storage, Transfer
from nntc.bmodel import (
    BDataType,
    CommandGroup,
    CpuLayer,
    MemType,
    StoreMode,
    SubNet,
    SubNetMode,
    Tensor,
)
from nntc.core.dtype import DType
from nntc.core.errors import UnsupportedError
from nntc.ir.graph import Graph, Node, Value

MESSAGE_BYTES = 4088
"""Largest message with which the runtime starts a part: 1022 words."""

_TYPES = {
    DType.F32: BDataType.FLOAT32,
    DType.I32: BDataType.INT32,
    DType.I8: BDataType.INT8,
    DType.U8: BDataType.UINT8,
    DType.BOOL: BDataType.UINT8,
}


@dataclass
class Part:
    """A run of units for the TPU, or one CPU layer."""

    units: list[Unit] = field(default_factory=list[Unit])
    cpu: Node | None = None
    steps: list[Step] = field(default_factory=list[Step])
    groups: list[CommandGroup] = field(default_factory=list[CommandGroup])

    def nodes(self) -> Iterable[Node]:
        for unit in self.units:
            yield from unit.nodes


def split(units: list[Unit]) -> list[Part]:
    """Cut the units at CPU layers."""
    parts: list[Part] = []
    for unit in units:
        node = unit.nodes[0]
        if isinstance(node.op, CpuCall):
            parts.append(Part([unit], cpu=node))
            continue
        if not parts or parts[-1].cpu is not None:
            parts.append(Part())
        parts[-1].units.append(unit)
    return parts


def cpu_step(node: Node, placement: Placement) -> Step:
    """What a CPU layer reads and writes, for the lifetimes of tensors; it emits nothing."""

    def transfer(storage: Storage, write: bool) -> Transfer:
        touched = (storage,)
        return Transfer(lambda asm: None, None, () if write else touched, touched if write else ())

    return Step(
        f"CPU {node.name}",
        loads=[transfer(placement.of(v), False) for v in node.operands],
        stores=[transfer(placement.of(v), True) for v in node.outputs],
    )


class Interface:
    """Names and descriptions of the tensors that nets and subnets have in common.

    Args:
        source: the user's graph: names of the net's inputs and outputs.
        legal: the legal graph: the values behind them.
        scales, zeros: of inputs and outputs, by name.
    """

    def __init__(
        self,
        source: Graph,
        legal: Graph,
        placement: Placement,
        scales: Mapping[str, float] | None = None,
        zeros: Mapping[str, int] | None = None,
    ) -> None:
        self.placement = placement
        self._scales = dict(scales or {})
        self._zeros = dict(zeros or {})
        self.legal = legal
        self._names: dict[Value, str] = {}
        pairs = [
            *zip(legal.inputs, source.inputs, strict=True),
            *zip(legal.outputs, source.outputs, strict=True),
        ]
        for value, wanted in pairs:
            self._names[value] = wanted.name
        self._taken = {v.name for _, v in pairs}
        self._shapes = {value: wanted.shape for value, wanted in pairs}
        # Unsigned words have the bits of signed ones; users see the type of their model.
        unsigned = (DType.U32, DType.U64)
        self._unsigned = {value for value, wanted in pairs if wanted.dtype in unsigned}
        self._on_host: set[Value] = set()

    def crosses(self, value: Value) -> None:
        """The host reads or writes this value."""
        self._on_host.add(value)

    def name(self, value: Value) -> str:
        known = self._names.get(value)
        if known is None:
            known, count = value.name, 0
            while known in self._taken:
                count += 1
                known = f"{value.name}.{count}"
            self._taken.add(known)
            self._names[value] = known
        return known

    def tensor(self, value: Value, index: int) -> Tensor:
        both = MemType.TPU | MemType.CPU
        name = self.name(value)
        return Tensor(
            name=name,
            dtype=BDataType.UINT32 if value in self._unsigned else _TYPES[value.dtype],
            shape=self._shapes.get(value, value.shape) or (1,),
            store_mode=StoreMode.N1,
            device_addr=self.placement.of(value).address,
            mem_type=both if value in self._on_host else MemType.TPU,
            scale=self._scales.get(name, 1.0),
            zero_point=self._zeros.get(name, 0),
            index=index,
        )

    def tensors(self, values: Iterable[Value]) -> list[Tensor]:
        return [self.tensor(v, i) for i, v in enumerate(values)]


def subnets(parts: list[Part], interface: Interface) -> list[SubNet]:
    """The subnets of a stage, in a chain."""
    legal = interface.legal
    made_in: dict[Value, int] = dict.fromkeys(legal.inputs, -1)
    for index, part in enumerate(parts):
        for node in part.nodes():
            made_in.update(dict.fromkeys(node.outputs, index))

    def maker(value: Value) -> int:
        """The part that makes a value, -1 for a network input."""
        return made_in[memory_root(value)]

    reads: list[dict[Value, None]] = [{} for _ in parts]
    writes: list[dict[Value, None]] = [{} for _ in parts]
    for index, part in enumerate(parts):
        for node in part.nodes():
            for value in node.operands:
                if part.cpu is None and (value.is_constant or maker(value) == index):
                    continue
                source = -1 if value.is_constant else maker(value)
                if part.cpu is None and (source < 0 or parts[source].cpu is not None):
                    # Network inputs and results of CPU layers are known by their own names only.
                    value = memory_root(value)
                reads[index][value] = None
                if not value.is_constant and maker(value) >= 0:
                    writes[maker(value)][value] = None
        if part.cpu is not None:
            for value in (*part.cpu.operands, *part.cpu.outputs):
                interface.crosses(value)
            writes[index].update(dict.fromkeys(part.cpu.outputs))
    for value in legal.outputs:
        if maker(value) >= 0:
            writes[maker(value)][value] = None
    result: list[SubNet] = []
    for index, part in enumerate(parts):
        chained = len(parts) > 1
        following = index + 1 if index + 1 < len(parts) else -1
        subnet = SubNet(
            SubNetMode.TPU if part.cpu is None else SubNetMode.CPU,
            groups=part.groups,
            inputs=interface.tensors(reads[index]),
            outputs=interface.tensors(writes[index]),
            id=index if chained else -1,
            next_ids=(following,) if chained else (),
        )
        if part.cpu is not None:
            op = part.cpu.op
            assert isinstance(op, CpuCall)
            subnet.cpu = CpuLayer(op.op_type, op.param)
        else:
            _check_message(subnet)
        result.append(subnet)
    return result


def _check_message(subnet: SubNet) -> None:
    """Refuse what the runtime's launch message cannot hold: on the chip it would never end."""
    counts = len(subnet.inputs), len(subnet.outputs), len(subnet.groups)
    size = 28 + 40 * counts[0] + 28 * counts[1] + 8 * counts[2]
    if size > MESSAGE_BYTES:
        raise UnsupportedError(
            f"a part of the network has {counts[0]} inputs, {counts[1]} outputs and {counts[2]} "
            f"command groups: the runtime's launch message would have {size} bytes, it holds "
            f"{MESSAGE_BYTES}"
        )
