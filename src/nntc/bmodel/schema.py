"""The flatbuffer tables of a BModel, declared once; reader and writer both derive from here.

Sources: ``model.fbs`` of the public libsophon and ``bmodel.fbs`` in the maker's compiler wheel (a
superset). ``NetStatic`` and ``NetDynamic`` exist only in files older than 2019. The binary
section is not part of the flatbuffer: a blob is an inline struct {start u64, size u64} into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple


class Shape(Enum):
    """How a value is laid out."""

    SCALAR = "scalar"  # inline number
    STRUCT = "struct"  # inline bytes
    BLOB = "blob"  # inline {start, size}: bytes of the binary section
    TEXT = "text"
    TABLE = "table"
    NUMBERS = "vector of numbers"
    STRUCTS = "vector of structs"
    BLOBS = "vector of blobs"
    TABLES = "vector of tables"


class Kind(NamedTuple):
    """Layout, struct format and bytes of an element, alignment, table name."""

    shape: Shape
    format: str = ""
    size: int = 4
    align: int = 4
    table: str = ""


U32 = Kind(Shape.SCALAR, "I")
I32 = Kind(Shape.SCALAR, "i")
U64 = Kind(Shape.SCALAR, "Q", 8, 8)
F32 = Kind(Shape.SCALAR, "f")
TEXT = Kind(Shape.TEXT, size=1, align=1)
BLOB = Kind(Shape.BLOB, "QQ", 16, 8)
BLOBS = Kind(Shape.BLOBS, "QQ", 16, 8)
RELOC = Kind(Shape.STRUCT, "", 12, 4)
RELOCS = Kind(Shape.STRUCTS, "", 12, 4)
U8S = Kind(Shape.NUMBERS, "B", 1, 1)
I32S = Kind(Shape.NUMBERS, "i", 4, 4)
U64S = Kind(Shape.NUMBERS, "Q", 8, 8)


def table(name: str) -> Kind:
    return Kind(Shape.TABLE, table=name)


def tables(name: str) -> Kind:
    return Kind(Shape.TABLES, table=name)


class FieldDef(NamedTuple):
    """A field of a table: flatbuffer id, name, kind, default of a scalar, must it be there."""

    id: int
    name: str
    kind: Kind
    default: float = 0
    required: bool = False


@dataclass
class Record:
    """A decoded table.

    ``values`` holds the fields that are present, by name: numbers, str, bytes (blob or struct),
    tuples of numbers (bytes for u8), lists of bytes, Record, lists of Records. Scalars equal to
    their default count as absent. Fields that the schema does not know are under the name
    ``#<id>``, as ``Unknown``.
    """

    table: str
    values: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Unknown:
    """A field of a schema newer than ours: its recognised layout and value."""

    kind: Kind
    value: Any


def _fields(*entries: tuple[Any, ...]) -> tuple[FieldDef, ...]:
    return tuple(FieldDef(*entry) for entry in entries)


ROOT = "Model"
TABLES: Mapping[str, tuple[FieldDef, ...]] = {
    "Model": _fields(
        (0, "type", TEXT, 0, True),
        (1, "version", TEXT, 0, True),
        (2, "time", TEXT, 0, True),
        (3, "chip", TEXT, 0, True),
        (4, "net", tables("Net"), 0, True),
        (5, "neuron_size", U64),
        (6, "kernel_module", table("Module")),
        (7, "device_num", U32),
        (8, "cpuop_module", table("Module")),
        (9, "bmodel_type", U32),
        (10, "lib_backend", BLOB),
    ),
    "Module": _fields(
        (0, "file_name", TEXT, 0, True),
        (1, "binary", BLOB, 0, True),
        (2, "mode", I32),
    ),
    "Net": _fields(
        (0, "name", TEXT, 0, True),
        (1, "net_static", tables("NetStatic")),
        (2, "net_dynamic", tables("NetDynamic")),
        (3, "parameter", tables("NetParameter")),
        (4, "cascade", table("Cascade")),
        (5, "addr_mode", I32),
    ),
    "Cascade": _fields((0, "device_id", U32), (1, "step", U32), (2, "main_name", TEXT)),
    "NetParameter": _fields(
        (0, "input_tensor", tables("Tensor"), 0, True),
        (1, "output_tensor", tables("Tensor"), 0, True),
        (2, "ctx_addr", U64),
        (3, "ctx_size", U64),
        (4, "coeff_mem", table("CoeffMem")),
        (5, "is_dynamic", I32),
        (6, "n_dynamic", I32),
        (7, "h_w_dynamic", I32),
        (8, "cmd_group", tables("CmdGroup")),
        (9, "net_profile", BLOB),
        (10, "stage_ir", tables("StageIR")),
        (11, "binary_ir", BLOB),
        (12, "sub_net", tables("SubNet")),
        (13, "cpu_mem_size", U32),
        (14, "ctx_sizes", U64S),
        (15, "net_stat", BLOB),
        (16, "core_num", U32),
        (17, "io_addr", U64),
        (18, "io_size", U64),
        (19, "tensor_loc", BLOB),
        (20, "dynamic_ctx_addr", U64),
        (21, "dynamic_coeff_offset", U64),
        (22, "dynamic_combined_coeff_offset", U64),
    ),
    "NetStatic": _fields(
        (0, "input_tensor", tables("Tensor")),
        (1, "output_tensor", tables("Tensor")),
        (2, "cmd_group", tables("CmdGroup")),
        (3, "ctx_addr", U64),
        (4, "ctx_size", U64),
        (5, "coeff_mem", table("CoeffMem")),
        (6, "sub_net", tables("SubNet")),
        (7, "net_profile", BLOB),
    ),
    "NetDynamic": _fields(
        (0, "input_tensor", tables("Tensor")),
        (1, "output_tensor", tables("Tensor")),
        (2, "n_dynamic", I32),
        (3, "h_w_dynamic", I32),
        (4, "stage_ir", tables("StageIR")),
        (5, "binary_ir", BLOB),
        (6, "ctx_addr", U64),
        (7, "ctx_size", U64),
        (8, "coeff_mem", table("CoeffMem")),
        (9, "sub_net", tables("SubNet")),
    ),
    "StageIR": _fields(
        (0, "ir_info_len", U32),
        (1, "height_high", I32),
        (2, "height_low", I32),
        (3, "width_high", I32),
        (4, "width_low", I32),
    ),
    "CoeffMem": _fields(
        (0, "address", U64),
        (1, "check_code", U8S),
        (2, "binary_coeff", BLOB),
        (3, "location", tables("Location")),
        (4, "encrypt_mode", I32),
        (5, "decrypt_size", U64),
    ),
    "Location": _fields((0, "name", TEXT, 0, True), (1, "offset", U64), (2, "size", U64)),
    "Tensor": _fields(
        (0, "name", TEXT, 0, True),
        (1, "data_type", U32),
        (2, "gmem_stmode", I32),
        (3, "device_addr", U64),
        (4, "size", U64),
        (5, "shape", tables("Shape")),
        (6, "mem_type", U32),
        (7, "scale", F32, 1.0),
        (8, "cpu_addr", U32),
        (9, "pad_h", U32),
        (10, "zero_point", I32),
        (11, "hidden", I32),
        (12, "index", I32),
        (13, "relentry", RELOC),
    ),
    "Shape": _fields((0, "dim", U64S)),
    "SubNet": _fields(
        (0, "subnet_mode", I32),
        (1, "cmd_group", tables("CmdGroup")),
        (2, "cpu_param", tables("CpuParam")),
        (3, "input_tensor", tables("Tensor")),
        (4, "output_tensor", tables("Tensor")),
        (5, "is_dynamic", I32),
        (6, "ir_offset", U32),
        (7, "ir_len", U32),
        (8, "n_dynamic", I32),
        (9, "h_w_dynamic", I32),
        (10, "id", I32, -1),
        (11, "next_subnet_ids", I32S),
        (12, "merge_param", table("MergeParam")),
        (13, "switch_param", table("SwitchParam")),
        (14, "core_commands", tables("CoreCommands")),
        (15, "run_core", U32),
    ),
    "CmdGroup": _fields(
        (0, "bdc_num", U32),
        (1, "gdma_num", U32),
        (2, "binary_bdc", BLOB),
        (3, "binary_gdma", BLOB),
        (4, "bdc_cmd_byte", U32),
        (5, "gdma_cmd_byte", U32),
        (6, "reloc_entries", RELOCS),
    ),
    "CpuParam": _fields(
        (0, "op_type", I32),
        (1, "binary_param", BLOB),
        (2, "cpu_const", tables("CpuConst")),
        (3, "is_custom", I32),
    ),
    "CpuConst": _fields((0, "name", TEXT), (1, "const_data", BLOB), (2, "check_code", U8S)),
    "MergeParam": _fields((0, "output_from", tables("OutputFrom"))),
    "OutputFrom": _fields((0, "indice", I32S)),
    "SwitchParam": _fields((0, "output_from", I32S), (1, "output_branch", I32S)),
    "CoreCommands": _fields(
        (0, "gdma_tiu_commands", tables("CmdGroup")),
        (1, "sdma_commands", BLOBS),
        (2, "hau_commands", BLOBS),
        (3, "cdma_commands", BLOBS),
    ),
}
