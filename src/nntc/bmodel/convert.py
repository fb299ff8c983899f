"""Between the Records of the file's tables and the dataclasses of ``model``.

``lift`` functions check what a single table must satisfy; rules between tables are in ``rules``.
Fields without an attribute in the model travel in ``extra``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeVar

from nntc.bmodel.model import (
    BModel,
    Coeff,
    CommandGroup,
    CpuConst,
    CpuLayer,
    Extra,
    Location,
    MemType,
    Module,
    Net,
    Stage,
    SubNet,
    SubNetMode,
    Tensor,
)
from nntc.bmodel.schema import Record
from nntc.bmodel.storage import BDataType, StoreMode
from nntc.core.errors import Problems
from nntc.isa.chip import COMMAND_BYTES

MAX_SHOWN = 80

_Enum = TypeVar("_Enum", bound=IntEnum)


class Lift:
    """Records -> model; problems are collected, and a stand-in is used to read on."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.dropped: list[str] = []

    def plain(self, record: Record, *names: str) -> list[Any]:
        """Fields of a table that has no ``extra`` in the model; None for what is absent."""
        more = sorted(set(record.values) - set(names))
        if more:
            self.dropped.append(f"{record.table}: fields {', '.join(more)} are dropped")
        return [record.values.get(name) for name in names]

    def model(self, record: Record) -> BModel:
        take = record.values.pop
        modules = [take(f"{kind}_module", None) for kind in ("kernel", "cpuop")]
        kernel, cpuop = (m and self.module(m) for m in modules)
        return BModel(
            chip=take("chip"),
            nets=[self.net(r) for r in take("net")],
            type=take("type"),
            version=take("version"),
            time=take("time"),
            neuron_size=take("neuron_size", 0),
            device_num=take("device_num", 0),
            kernel_module=kernel,
            cpuop_module=cpuop,
            extra=record.values,
        )

    def module(self, record: Record) -> Module:
        take = record.values.pop
        return Module(take("file_name"), take("binary"), record.values)

    def net(self, record: Record) -> Net:
        take = record.values.pop
        name = take("name")
        path = f"net {shown(name)}"
        old = [*take("net_static", []), *take("net_dynamic", [])]
        parameters = take("parameter", None)
        if parameters is None:
            parameters = [_from_old(r) for r in old]
        stages = [self.stage(r, f"{path} stage {i}") for i, r in enumerate(parameters)]
        return Net(name, stages, take("addr_mode", 0), record.values)

    def stage(self, record: Record, path: str) -> Stage:
        take = record.values.pop
        groups = self.groups(take("cmd_group", []), path)
        coeff = take("coeff_mem", None)
        stage = Stage(
            inputs=self.tensors(take("input_tensor", []), f"{path} input"),
            outputs=self.tensors(take("output_tensor", []), f"{path} output"),
            ctx_addr=take("ctx_addr", 0),
            ctx_size=take("ctx_size", 0),
            coeff=coeff and self.coeff(coeff),
            subnets=[
                self.subnet(r, f"{path} subnet {i}") for i, r in enumerate(take("sub_net", []))
            ],
            cpu_mem_size=take("cpu_mem_size", 0),
            is_dynamic=bool(take("is_dynamic", 0)),
            n_dynamic=bool(take("n_dynamic", 0)),
            h_w_dynamic=bool(take("h_w_dynamic", 0)),
            ir=take("binary_ir", None),
            ctx_sizes=take("ctx_sizes", ()),
            core_num=take("core_num", 0),
            io_addr=take("io_addr", 0),
            io_size=take("io_size", 0),
            extra=record.values,
        )
        # Blobs of equal content are one object.
        if [(id(g.tiu), id(g.gdma)) for g in groups] != [
            (id(g.tiu), id(g.gdma)) for g in stage.groups
        ]:
            self.problems.add(
                f"{path}: its {len(groups)} command groups are not the {len(stage.groups)} of "
                "its static TPU subnets in order"
            )
        return stage

    def subnet(self, record: Record, path: str) -> SubNet:
        take = record.values.pop
        merge = take("merge_param", Record("MergeParam"))
        sources: list[Record] = self.plain(merge, "output_from")[0] or []
        switch = take("switch_param", Record("SwitchParam"))
        switch_from, switch_branch = self.plain(switch, "output_from", "output_branch")
        layers = take("cpu_param", [])
        if len(layers) > 1:
            self.problems.add(f"{path}: {len(layers)} CPU layers, at most 1 can run")
        return SubNet(
            mode=self.enum(SubNetMode, take("subnet_mode", 0), f"{path}: subnet_mode"),
            groups=self.groups(take("cmd_group", []), path),
            cpu=self.cpu_layer(layers[0]) if layers else None,
            inputs=self.tensors(take("input_tensor", []), f"{path} input"),
            outputs=self.tensors(take("output_tensor", []), f"{path} output"),
            id=take("id", -1),
            next_ids=take("next_subnet_ids", ()),
            is_dynamic=bool(take("is_dynamic", 0)),
            ir_offset=take("ir_offset", 0),
            ir_length=take("ir_len", 0),
            merge_from=tuple(self.plain(r, "indice")[0] or () for r in sources),
            switch_from=switch_from or (),
            switch_branch=switch_branch or (),
            extra=record.values,
        )

    def groups(self, records: list[Record], path: str) -> list[CommandGroup]:
        return [self.group(r, f"{path} command group {i}") for i, r in enumerate(records)]

    def group(self, record: Record, path: str) -> CommandGroup:
        take = record.values.pop
        blobs: list[bytes] = []
        for engine in ("bdc", "gdma"):
            blob = take(f"binary_{engine}", b"")
            count, size = take(f"{engine}_num", 0), take(f"{engine}_cmd_byte", 0)
            if len(blob) != count * COMMAND_BYTES or size not in (0, len(blob)):
                self.problems.add(
                    f"{path}: {engine}: {len(blob)} bytes of commands for {engine}_num {count} "
                    f"of {COMMAND_BYTES} bytes, {engine}_cmd_byte {size}"
                )
            blobs.append(blob)
        return CommandGroup(blobs[0], blobs[1], record.values)

    def cpu_layer(self, record: Record) -> CpuLayer:
        take = record.values.pop
        constants = [self.cpu_const(r) for r in take("cpu_const", [])]
        return CpuLayer(
            op_type=take("op_type", 0),
            param=take("binary_param", b""),
            constants=constants,
            is_custom=bool(take("is_custom", 0)),
            extra=record.values,
        )

    def cpu_const(self, record: Record) -> CpuConst:
        take = record.values.pop
        data, code = take("const_data", b""), take("check_code", b"")
        return CpuConst(take("name", ""), data, code, record.values)

    def coeff(self, record: Record) -> Coeff:
        take = record.values.pop
        places = [self.plain(r, "name", "offset", "size") for r in take("location", [])]
        locations = [Location(name, start or 0, size or 0) for name, start, size in places]
        code = take("check_code", None)
        data = take("binary_coeff", b"")
        if code is None:
            self.problems.add(f"coefficients of {len(data)} bytes: check_code is absent")
        return Coeff(take("address", 0), data, code or b"", locations, record.values)

    def tensors(self, records: list[Record], path: str) -> list[Tensor]:
        return [self.tensor(r, f"{path} {i}") for i, r in enumerate(records)]

    def tensor(self, record: Record, path: str) -> Tensor:
        take = record.values.pop
        name = take("name")
        path = f"{path} {shown(name)}"
        shapes = [tuple(self.plain(r, "dim")[0] or ()) for r in take("shape", [])]
        if not shapes:
            self.problems.add(f"{path}: has no shape")
        return Tensor(
            name=name,
            dtype=self.enum(BDataType, take("data_type", 0), f"{path}: data_type"),
            shape=shapes[0] if shapes else (),
            store_mode=self.enum(StoreMode, take("gmem_stmode", 0), f"{path}: gmem_stmode"),
            device_addr=take("device_addr", 0),
            size=take("size", 0),
            mem_type=MemType(take("mem_type", 0)),
            scale=take("scale", 1.0),
            zero_point=take("zero_point", 0),
            cpu_addr=take("cpu_addr", 0),
            pad_h=take("pad_h", 0),
            hidden=take("hidden", 0),
            index=take("index", 0),
            more_shapes=tuple(shapes[1:]),
            extra=record.values,
        )

    def enum(self, kind: type[_Enum], value: int, what: str) -> _Enum:
        try:
            return kind(value)
        except ValueError:
            known = ", ".join(f"{e.value} {e.name}" for e in kind)
            self.problems.add(f"{what} {value} is none of {known}")
            return next(iter(kind))


def shown(name: str) -> str:
    """A name for a message: quoted, its middle left out when it is long."""
    return repr(name if len(name) <= MAX_SHOWN else f"{name[: MAX_SHOWN // 2]}…{name[-20:]}")


def _from_old(record: Record) -> Record:
    """A stage of a file older than 2019, as the runtime converts it at load."""
    dynamic = {"is_dynamic": 1} if record.table == "NetDynamic" else {}
    return Record("NetParameter", {**record.values, **dynamic})


def lower(model: BModel) -> Record:
    """Model -> root Record."""
    values: Extra = {
        "type": model.type,
        "version": model.version,
        "time": model.time,
        "chip": model.chip,
        "net": [_net(n) for n in model.nets],
        "neuron_size": model.neuron_size,
        "device_num": model.device_num,
    }
    for kind, module in (("kernel", model.kernel_module), ("cpuop", model.cpuop_module)):
        if module is not None:
            named = {"file_name": module.name, "binary": module.data}
            values[f"{kind}_module"] = Record("Module", {**named, **module.extra})
    return Record("Model", {**values, **model.extra})


def _net(net: Net) -> Record:
    values: Extra = {
        "name": net.name,
        "parameter": [_stage(s) for s in net.stages],
        "addr_mode": net.addr_mode,
    }
    return Record("Net", {**values, **net.extra})


def _stage(stage: Stage) -> Record:
    values: Extra = {
        "input_tensor": [_tensor(t) for t in stage.inputs],
        "output_tensor": [_tensor(t) for t in stage.outputs],
        "ctx_addr": stage.ctx_addr,
        "ctx_size": stage.ctx_size,
        "coeff_mem": stage.coeff and _coeff(stage.coeff),
        "is_dynamic": int(stage.is_dynamic),
        "n_dynamic": int(stage.n_dynamic),
        "h_w_dynamic": int(stage.h_w_dynamic),
        "cmd_group": [_group(g) for g in stage.groups],
        "binary_ir": stage.ir,
        "sub_net": [_subnet(s) for s in stage.subnets],
        "cpu_mem_size": stage.cpu_mem_size,
        "ctx_sizes": stage.ctx_sizes,
        "core_num": stage.core_num,
        "io_addr": stage.io_addr,
        "io_size": stage.io_size,
    }
    keep = ("input_tensor", "output_tensor", "sub_net", "binary_ir")
    return Record("NetParameter", {**_present(values, keep), **stage.extra})


def _subnet(subnet: SubNet) -> Record:
    merge = [Record("OutputFrom", {"indice": v}) for v in subnet.merge_from]
    switch = {"output_from": subnet.switch_from, "output_branch": subnet.switch_branch}
    static_tpu = subnet.mode == SubNetMode.TPU and not subnet.is_dynamic
    values: Extra = {
        "subnet_mode": int(subnet.mode),
        # The runtime needs the vector for a static TPU subnet, even when empty.
        "cmd_group": [_group(g) for g in subnet.groups] if subnet.groups or static_tpu else None,
        "cpu_param": subnet.cpu and [_cpu_layer(subnet.cpu)],
        "input_tensor": [_tensor(t) for t in subnet.inputs],
        "output_tensor": [_tensor(t) for t in subnet.outputs],
        "is_dynamic": int(subnet.is_dynamic),
        "ir_offset": subnet.ir_offset,
        "ir_len": subnet.ir_length,
        "id": subnet.id,
        "next_subnet_ids": subnet.next_ids,
        "merge_param": Record("MergeParam", {"output_from": merge}) if merge else None,
        "switch_param": Record("SwitchParam", _present(switch)) if any(switch.values()) else None,
    }
    keep = ("cmd_group", "input_tensor", "output_tensor")
    return Record("SubNet", {**_present(values, keep), **subnet.extra})


def _group(group: CommandGroup) -> Record:
    values: Extra = {
        "bdc_num": group.tiu_count,
        "gdma_num": group.gdma_count,
        "binary_bdc": group.tiu,
        "binary_gdma": group.gdma,
        "bdc_cmd_byte": len(group.tiu),
        "gdma_cmd_byte": len(group.gdma),
    }
    return Record("CmdGroup", {**values, **group.extra})


def _cpu_layer(layer: CpuLayer) -> Record:
    constants = [
        Record(
            "CpuConst",
            {"name": c.name, "const_data": c.data, "check_code": c.check_code, **c.extra},
        )
        for c in layer.constants
    ]
    values: Extra = {
        "op_type": layer.op_type,
        "binary_param": layer.param,
        "cpu_const": constants,
        "is_custom": int(layer.is_custom),
    }
    return Record("CpuParam", {**values, **layer.extra})


def _coeff(coeff: Coeff) -> Record:
    locations = [
        Record("Location", {"name": v.name, "offset": v.offset, "size": v.size})
        for v in coeff.locations
    ]
    values: Extra = {
        "address": coeff.address,
        "check_code": coeff.check_code,
        "binary_coeff": coeff.data,
        "location": locations,
    }
    return Record("CoeffMem", {**_present(values, ("check_code", "binary_coeff")), **coeff.extra})


def _tensor(tensor: Tensor) -> Record:
    shapes = (tensor.shape, *tensor.more_shapes)
    values: Extra = {
        "name": tensor.name,
        "data_type": int(tensor.dtype),
        "gmem_stmode": int(tensor.store_mode),
        "device_addr": tensor.device_addr,
        "size": tensor.size,
        "shape": [Record("Shape", {"dim": dims}) for dims in shapes],
        "mem_type": int(tensor.mem_type),
        "scale": tensor.scale,
        "cpu_addr": tensor.cpu_addr,
        "pad_h": tensor.pad_h,
        "zero_point": tensor.zero_point,
        "hidden": int(tensor.hidden),
        "index": tensor.index,
    }
    return Record("Tensor", {**values, **tensor.extra})


def _present(values: dict[str, Any], keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """Without what is None, and without empty vectors that need not be there."""
    return {
        name: value
        for name, value in values.items()
        if value is not None and (name in keep or value not in ((), [], b""))
    }
