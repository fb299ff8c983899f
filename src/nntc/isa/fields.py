"""Bit fields of the 1024-bit commands, declared once per engine.

``TIU`` and ``GDMA`` are the two command layouts. Every bit of the 1024 belongs to exactly one
field (reserved bits have fields too), so packing and unpacking lose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nntc.core.errors import InstructionError

COMMAND_BITS = 1024


@dataclass(frozen=True)
class Field:
    """A run of bits: name, lowest bit, width, whether negative values are written, meaning."""

    name: str
    low: int
    width: int
    signed: bool = False
    doc: str = ""

    @property
    def mask(self) -> int:
        return (1 << self.width) - 1

    @property
    def minimum(self) -> int:
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def maximum(self) -> int:
        return (1 << (self.width - self.signed)) - 1


class CommandLayout:
    """An ordered list of fields that fills the command exactly."""

    def __init__(self, name: str, fields: list[tuple[str, int, str]], signed: frozenset[str]):
        self.name = name
        low, made = 0, list[Field]()
        for field_name, width, doc in fields:
            made.append(Field(field_name, low, width, field_name in signed, doc))
            low += width
        if low != COMMAND_BITS:
            raise AssertionError(f"{name}: the fields fill {low} bits, not {COMMAND_BITS}")
        self.fields: tuple[Field, ...] = tuple(made)
        self.by_name: dict[str, Field] = {f.name: f for f in made}
        self._spans = [(f.name, f.low, f.mask, f.signed, f.width) for f in made]

    def pack(self, values: Mapping[str, int]) -> bytes:
        """Command bytes; fields not given are 0.

        Raises:
            InstructionError: unknown field, or a value outside the field's range.
        """
        word = 0
        problems: list[str] = []
        for name, value in values.items():
            field = self.by_name.get(name)
            if field is None:
                problems.append(f"{self.name} command: unknown field {name}")
            elif not field.minimum <= value <= field.maximum:
                problems.append(
                    f"{self.name} command: {name} = {value} does not fit "
                    f"{field.minimum}..{field.maximum} ({field.width} bits)"
                )
            else:
                word |= (value & field.mask) << field.low
        if problems:
            raise InstructionError(problems)
        return word.to_bytes(COMMAND_BITS // 8, "little")

    def unpack(self, data: bytes) -> dict[str, int]:
        """Every field of a command, in layout order; the inverse of :meth:`pack`."""
        if len(data) != COMMAND_BITS // 8:
            raise InstructionError(
                f"{self.name} command: {len(data)} bytes, a command has {COMMAND_BITS // 8}"
            )
        word = int.from_bytes(data, "little")
        values: dict[str, int] = {}
        for name, low, mask, signed, width in self._spans:
            value = (word >> low) & mask
            if signed and value >> (width - 1):
                value -= 1 << width
            values[name] = value
        return values

    def unpack_stream(self, data: bytes) -> list[dict[str, int]]:
        """:meth:`unpack` of many commands at once, field by field.

        Raises:
            InstructionError: the size is no multiple of 128 bytes.
        """
        count, rest = divmod(len(data), COMMAND_BITS // 8)
        if rest:
            raise InstructionError(
                f"{self.name} stream: {len(data)} bytes is no multiple of {COMMAND_BITS // 8}"
            )
        words = np.ndarray((count, COMMAND_BITS // 32), "<u4", data).astype(np.uint64)
        columns = [_column(words, f).tolist() for f in self.fields]
        names = tuple(self.by_name)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _column(words: npt.NDArray[np.uint64], field: Field) -> npt.NDArray[np.uint64 | np.int64]:
    """One field of every command, from its 32-bit words."""
    first, shift = divmod(field.low, 32)
    value = words[:, first] >> np.uint64(shift)
    for k in range(1, (shift + field.width + 31) // 32):
        value = value | words[:, first + k] << np.uint64(32 * k - shift)
    value = value & np.uint64(field.mask)
    if not field.signed:
        return value
    signed = value.astype(np.int64)
    return np.where(signed >> (field.width - 1) != 0, signed - (1 << field.width), signed)


def _operand_fields(role: str, doc: str, n_bits: int = 16) -> list[tuple[str, int, str]]:
    return [
        (f"{role}_n", n_bits, f"{doc}: batch"),
        (f"{role}_c", 12, f"{doc}: channels"),
        (f"{role}_h", 16, f"{doc}: height"),
        (f"{role}_w", 16, f"{doc}: width"),
    ]


_ROLES = ("res0", "opd0", "opd1", "opd2")

TIU = CommandLayout(
    "TIU",
    [
        ("cmd_en", 1, "command valid, always 1"),
        ("cmd_end", 1, "last command; set by the runtime, 0 in files"),
        ("cmd_id_en", 1, "ids take part in synchronisation, always 1"),
        ("cmd_id_tpu", 16, "this command's number in the TIU stream, from 1"),
        ("cmd_id_gdma", 16, "GDMA command that must be complete before this one starts; 0: none"),
        ("cmd_keep", 1, "no influence found"),
        ("cmd_intr_en", 1, "raise an interrupt when done"),
        ("tsk_typ", 4, "operation family"),
        ("tsk_eu_typ", 5, "operation of the execution units"),
        ("tsk_opd_num", 2, "3: bias operand opd2 used (convolution, depthwise, matmul)"),
        ("opt_right_shift", 5, "integer results: arithmetic right shift, round half up"),
        ("opt_left_shift", 5, "integer accumulation: left shift of the previous result"),
        ("opt_shift_typ", 1, "shifts: 0 logical, 1 arithmetic"),
        ("opt_res_add", 1, "the previous content of the result is added"),
        ("opt_relu", 1, "integer results saturate unsigned"),
        ("opt_left_tran", 1, "matmul: left operand is stored transposed"),
        ("opt_winograd", 1, "convolution by Winograd F(2x2,3x3)"),
        ("opt_kernel_rotate", 1, "kernel rotated by 180 degrees"),
        ("opt_opd0_sign", 1, "operand 0 is signed"),
        ("opt_opd1_sign", 1, "operand 1 is signed"),
        ("opt_opd2_sign", 1, "operand 2 is signed"),
        ("opt_res0_prec", 3, "precision of the result: 0 int8, 1 fp16, 2 fp32, 3 int16, 4 int32"),
        ("opt_opd0_prec", 3, "precision of operand 0"),
        ("opt_opd1_prec", 3, "precision of operand 1"),
        ("opt_opd2_prec", 3, "precision of operand 2"),
        ("opt_opd0_const", 1, "operand 0 is the constant in opd0_addr"),
        ("opt_opd1_const", 1, "operand 1 is the constant in opd1_addr"),
        ("opt_opd2_const", 1, "operand 2 is the constant in opd2_addr"),
        ("short_res0_str", 3, "result strides: 0 aligned layout, 3 the stride fields"),
        ("short_opd0_str", 3, "operand 0 strides"),
        ("short_opd1_str", 3, "operand 1 strides"),
        ("short_opd2_str", 3, "operand 2 strides"),
        ("opd0_x_ins0", 4, "zeros inserted between input columns"),
        ("opd0_y_ins0", 4, "zeros inserted between input rows"),
        ("opd1_x_ins0", 4, "kernel dilation along w, minus 1"),
        ("opd1_y_ins0", 4, "kernel dilation along h, minus 1"),
        ("opd0_up_pad", 4, "padding above"),
        ("opd0_dn_pad", 4, "padding below"),
        ("opd0_lf_pad", 4, "padding left"),
        ("opd0_rt_pad", 4, "padding right"),
        ("res_op_x_str", 4, "stride along w"),
        ("res_op_y_str", 4, "stride along h"),
        ("tsk_lane_num", 64, "lane mask; ignored by the C-model, generators write all ones"),
        *_operand_fields("res0", "result"),
        *_operand_fields("opd0", "operand 0"),
        *_operand_fields("opd1", "operand 1", 12),
        ("res0_h_shift", 4, "result: row offset shifted right"),
        ("res0_w_shift", 4, "result: column offset shifted right"),
        ("opd0_h_shift", 4, "operand 0: row offset shifted right"),
        ("opd0_w_shift", 4, "operand 0: column offset shifted right"),
        ("opd1_h_shift", 4, "operand 1: row offset shifted right"),
        ("opd1_w_shift", 4, "operand 1: column offset shifted right"),
        *[(f"{r}_{d}_str", 19, f"{r}: {d} stride") for r in _ROLES for d in "nc"],
        ("opt_res_add_sign", 1, "matmul int8: the previous partial sums are signed"),
        ("opd0_neq1", 1, "operand 0 has one sample, broadcast over n"),
        ("opd1_neq1", 1, "operand 1 has one sample, broadcast over n"),
        ("opt_opd3_const", 1, "operand 3 is the constant in opd3_addr"),
        ("rsvd0", 22, "reserved"),
        ("res0_addr", 32, "result: local address"),
        ("opd0_addr", 32, "operand 0: local address, or constant"),
        ("opd1_addr", 32, "operand 1: local address, table offset in L2, or constant"),
        ("opd2_addr", 32, "operand 2: local address, or constant"),
        *[(f"{r}_{d}_str", 32, f"{r}: {d} stride") for r in _ROLES for d in "hw"],
        ("res1_addr", 32, "second result: local address"),
        ("opd3_addr", 32, "operand 3: local address, or constant"),
    ],
    # Row and column strides may run backwards; negative n and c strides crash the C-model.
    signed=frozenset(f"{r}_{d}_str" for r in _ROLES for d in "hw"),
)

GDMA = CommandLayout(
    "GDMA",
    [
        ("pio_gdma_enable", 1, "command valid, always 1"),
        ("des_type", 1, "descriptor type, 0"),
        ("chain_end", 1, "last command; set by the runtime, 0 in files"),
        ("intr_en", 1, "raise an interrupt when done"),
        ("barrier_enable", 1, "always 1"),
        ("stride_enable", 1, "strides come from the stride fields"),
        ("direction", 2, "0 S2L, 1 L2S, 2 S2S, 3 L2L"),
        ("acc_write_enable", 1, "fp32: add to the destination"),
        ("common_mode", 1, "one-dimensional copy"),
        ("prefetch_disable", 1, "always 1"),
        ("hold_des_value", 1, "no influence found"),
        ("reserved", 4, "reserved"),
        ("cmd_id", 16, "this command's number in the GDMA stream, from 1"),
        (
            "special_func",
            3,
            "0 copy, 1 N-C transpose, 3 convert, 4 fill, 5 C-W transpose",
        ),
        ("dst_data_format", 3, "0 fp32, 1 int16, 2 uint8, 3 int8, 4 fp16"),
        ("chw_copy", 1, "no influence found"),
        ("sys_mem_type", 1, "1: the system side is a matrix"),
        ("src_data_format", 3, "0 fp32, 1 int16, 2 uint8, 3 int8, 4 fp16"),
        ("lrn_shift_num", 4, "generators write 1"),
        ("lrn_shift_dir", 1, "unused"),
        ("eng0_sync_id", 16, "TIU command that must be complete before this one starts; 0: none"),
        ("eng1_sync_id", 16, "0"),
        ("eng3_sync_id", 16, "0"),
        ("constant_value", 32, "fill value"),
        *[
            (f"{s}_{d}stride", 32, f"{s}: {d} stride in elements")
            for s in ("src", "dst")
            for d in "nchw"
        ],
        *[(f"{s}_{d}size", 16, f"{s}: {d} size") for s in ("src", "dst") for d in "nchw"],
        ("src_start_addr_l32", 32, "source address, low 32 bits"),
        ("dst_start_addr_l32", 32, "destination address, low 32 bits"),
        ("src_start_addr_h8", 8, "source address, high 8 bits"),
        ("dst_start_addr_h8", 8, "destination address, high 8 bits"),
        ("rsvd_h", 16, "reserved"),
        ("src_hshift", 8, "source: row offset shifted right"),
        ("src_wshift", 8, "source: column offset shifted right"),
        ("dst_hshift", 8, "destination: row offset shifted right"),
        ("dst_wshift", 8, "destination: column offset shifted right"),
        ("localmem_mask_l32", 32, "lanes 0..31 that are written"),
        ("localmem_mask_h32", 32, "lanes 32..63 that are written"),
        ("single_step", 1, "debug"),
        ("debug_mode", 1, "debug"),
        ("rsvd_debug", 30, "reserved"),
        *[(f"rsvd{i}", 32, "reserved") for i in range(23, 32)],
    ],
    signed=frozenset(),
)
