"""How the fields of a command are grouped and spelt in listings: one table, read both ways.

A :class:`Part` is one token of a line, such as ``res0=L0:0x1000[1,64,56,56]`` or ``pad=1,1,1,1``.
It names the fields that it shows, formats them and reads them back. Fields in no part are written
``field=value``. Printer and parser (:mod:`nntc.isa.text`) know no field by name.

Spelling of values:

* local addresses ``L3:0x1200`` (lane, byte offset), all others ``@0x105241000``;
* a constant operand is a plain number, ``1.5`` (fp32), ``-8`` or ``0x4b000000`` (bits);
* a tensor is its address, then ``[n,c,h,w]``, then ``(code:n,c,h,w)`` or ``(n,c,h,w)`` strides;
  shape and strides are left out where they have the form's default values.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from nntc.core.errors import InstructionError
from nntc.isa.chip import (
    LANE_BYTES,
    LOCAL_BASE,
    LOCAL_BYTES,
    Engine,
    Fmt,
    Prec,
    local_address,
    split_local,
)
from nntc.isa.forms import Form

Values = Mapping[str, int]
_INTEGER = re.compile(r"-?(0x[0-9a-fA-F]+|[0-9]+)")
_FLOAT = re.compile(r"-?([0-9]+\.[0-9]*(e[+-]?[0-9]+)?|[0-9]+e[+-]?[0-9]+|inf)")
_TENSOR = re.compile(r"(?P<address>[^\[(]+)(\[(?P<shape>[^\]]*)\])?(\((?P<strides>[^)]*)\))?")
_LOCAL = re.compile(r"L([0-9]+):(0x[0-9a-fA-F]+|[0-9]+)")


def integer_text(value: int) -> str:
    """Small numbers in decimal, large ones in hexadecimal."""
    return str(value) if -65536 < value < 65536 else hex(value)


def parse_integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise InstructionError(f"{text!r} is not an integer")
    return int(text, 0) if "x" in text else int(text)


def address_text(value: int) -> str:
    if LOCAL_BASE <= value < LOCAL_BASE + LOCAL_BYTES:
        lane, offset = split_local(value)
        return f"L{lane}:{offset:#x}"
    return f"@{value:#x}"


def parse_address(text: str) -> int:
    if text.startswith("@"):
        return parse_integer(text[1:])
    match = _LOCAL.fullmatch(text)
    if not match:
        raise InstructionError(f"{text!r} is not an address (L<lane>:<offset> or @<address>)")
    lane, offset = int(match[1]), parse_integer(match[2])
    if lane * LANE_BYTES + offset >= LOCAL_BYTES or offset >= LANE_BYTES:
        raise InstructionError(f"{text}: beyond local memory (64 lanes of {LANE_BYTES:#x} bytes)")
    return local_address(offset, lane)


def constant_text(bits: int, as_float: bool) -> str:
    """A 32-bit constant; *as_float*: normal numbers are written as fp32 values."""
    if bits < 65536:
        return str(bits)
    if bits >= (1 << 32) - 32768:
        return str(bits - (1 << 32))
    exponent = (bits >> 23) & 0xFF
    if as_float and 0 < exponent < 255:
        return _shortest(struct.unpack("<f", struct.pack("<I", bits))[0], bits)
    return hex(bits)


def _shortest(value: float, bits: int) -> str:
    """The shortest decimal that reads back as the same fp32."""
    for digits in range(6, 10):
        text = f"{value:.{digits}g}"
        if _float_bits(float(text)) == bits:
            return text if "." in text or "e" in text else text + ".0"
    raise AssertionError(f"nine digits identify every fp32, yet not {bits:#x}")


def _float_bits(value: float) -> int:
    try:
        return struct.unpack("<I", struct.pack("<f", value))[0]
    except OverflowError:
        raise InstructionError(f"{value} does not fit fp32") from None


def parse_constant(text: str) -> int:
    """Bits of a constant; numbers with a point or an exponent are fp32."""
    if _FLOAT.fullmatch(text):
        return _float_bits(float(text))
    value = parse_integer(text)
    if not -(1 << 31) <= value < 1 << 32:
        raise InstructionError(f"constant {text} does not fit 32 bits")
    return value & 0xFFFFFFFF


def _list(text: str, count: int, what: str, separator: str = ",") -> list[str]:
    items = text.split(separator)
    if len(items) != count:
        raise InstructionError(f"{what}: {len(items)} values in {text!r}, needed {count}")
    return items


@dataclass(frozen=True)
class Part:
    """One token ``key=text`` of a line; shown when a field of it has not its default value."""

    key: str
    always: ClassVar[bool] = False
    """Shown even if all its fields have default values."""

    @property
    def fields(self) -> tuple[str, ...]:
        raise NotImplementedError

    def text(self, values: Values, defaults: Values) -> str:
        """The text behind ``key=``. *values* and *defaults* hold every field of the part."""
        raise NotImplementedError

    def parse(self, text: str) -> dict[str, int]:
        """Field values of that text.

        Raises:
            InstructionError: bad syntax.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Numbers(Part):
    """Several fields as one list; *names* spells codes."""

    members: tuple[str, ...]
    separator: str = ","
    names: Mapping[int, str] | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        return self.members

    def text(self, values: Values, defaults: Values) -> str:
        names = self.names or {}
        return self.separator.join(
            names.get(values[f]) or integer_text(values[f]) for f in self.members
        )

    def parse(self, text: str) -> dict[str, int]:
        codes = {name: code for code, name in (self.names or {}).items()}
        items = _list(text, len(self.members), self.key, self.separator)
        return {
            field: codes[item] if item in codes else parse_integer(item)
            for field, item in zip(self.members, items, strict=True)
        }


class Always(Numbers):
    """Numbers that every line shows."""

    always = True


@dataclass(frozen=True)
class Constant(Part):
    """A 32-bit value of unknown type: as fp32 where that gives a number of ordinary size."""

    member: str

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.member,)

    def text(self, values: Values, defaults: Values) -> str:
        bits = values[self.member]
        return constant_text(bits, as_float=63 < (bits >> 23 & 0xFF) < 192)

    def parse(self, text: str) -> dict[str, int]:
        return {self.member: parse_constant(text)}


@dataclass(frozen=True)
class Mask(Part):
    """Two 32-bit halves as one 64-bit number."""

    low: str
    high: str

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.low, self.high)

    def text(self, values: Values, defaults: Values) -> str:
        return hex(values[self.low] | values[self.high] << 32)

    def parse(self, text: str) -> dict[str, int]:
        value = parse_integer(text)
        if not 0 <= value < 1 << 64:
            raise InstructionError(f"{self.key}: {text} does not fit 64 bits")
        return {self.low: value & 0xFFFFFFFF, self.high: value >> 32}


@dataclass(frozen=True)
class Tensor(Part):
    """An operand: address or constant, shape, strides.

    Attributes:
        address: the address field, or its low 32 and high 8 bits.
        shape: size fields, shown together.
        strides: stride fields, shown together.
        code: the field that says whether the strides count.
        constant: the bit that makes the address a constant.
        as_float: constants are fp32.
    """

    address: tuple[str, ...]
    shape: tuple[str, ...] = ()
    strides: tuple[str, ...] = ()
    code: str = ""
    constant: str = ""
    as_float: bool = True

    @property
    def fields(self) -> tuple[str, ...]:
        single = tuple(f for f in (self.code, self.constant) if f)
        return self.address + self.shape + self.strides + single

    def text(self, values: Values, defaults: Values) -> str:
        low, *high = self.address
        if self.constant and values[self.constant]:
            text = constant_text(values[low], self.as_float)
        else:
            text = address_text(values[low] | (values[high[0]] << 32 if high else 0))
        if _differs(self.shape, values, defaults):
            text += f"[{_joined(self.shape, values)}]"
        strided = _differs(self.strides, values, defaults)
        if self.code and (strided or values[self.code] != defaults[self.code]):
            tail = f":{_joined(self.strides, values)}" if strided else ""
            return f"{text}({values[self.code]}{tail})"
        return f"{text}({_joined(self.strides, values)})" if strided else text

    def parse(self, text: str) -> dict[str, int]:
        match = _TENSOR.fullmatch(text)
        if not match:
            raise InstructionError(f"{self.key}: {text!r} is not address[shape](strides)")
        address = str(match["address"])
        low, *high = self.address
        if address.startswith(("@", "L")):
            number = parse_address(address)
            found = {low: number & 0xFFFFFFFF, high[0]: number >> 32} if high else {low: number}
            if self.constant:
                found[self.constant] = 0
        elif self.constant:
            found = {low: parse_constant(address), self.constant: 1}
        else:
            raise InstructionError(f"{self.key}: {address!r} is not an address")
        if match["shape"] is not None:
            found |= self._numbers(self.shape, match["shape"], "shape")
        if match["strides"] is not None:
            found |= self._parse_strides(match["strides"])
        return found

    def _parse_strides(self, text: str) -> dict[str, int]:
        if not self.code:
            return self._numbers(self.strides, text, "strides")
        code, colon, rest = text.partition(":")
        found = self._numbers(self.strides, rest, "strides") if colon else {}
        return {self.code: parse_integer(code), **found}

    def _numbers(self, fields: Sequence[str], text: str, what: str) -> dict[str, int]:
        items = _list(text, len(fields), f"{self.key} {what}")
        return {f: parse_integer(item) for f, item in zip(fields, items, strict=True)}


def _differs(fields: Sequence[str], values: Values, defaults: Values) -> bool:
    return any(values[f] != defaults[f] for f in fields)


def _joined(fields: Sequence[str], values: Values) -> str:
    return ",".join(str(values[f]) for f in fields)


_ROLES = ("res0", "opd0", "opd1", "opd2")
_PREC_NAMES = {int(p): n for p, n in zip(Prec, ("i8", "f16", "f32", "i16", "i32"), strict=True)}
_FMT_NAMES = {int(f): n for f, n in zip(Fmt, ("f32", "i16", "u8", "i8", "f16"), strict=True)}


def _each(pattern: str, items: Iterable[str] = "nchw") -> tuple[str, ...]:
    return tuple(pattern.format(item) for item in items)


def _operand(role: str, shape: str = "nchw", constant: bool = True, as_float: bool = True) -> Part:
    return Tensor(
        role,
        (f"{role}_addr",),
        _each(role + "_{}", shape),
        _each(role + "_{}_str"),
        f"short_{role}_str",
        f"opt_{role}_const" if constant else "",
        as_float,
    )


def _tiu_parts(as_float: bool, window: bool) -> tuple[Part, ...]:
    """Parts of a TIU line; in windowed forms operand 1 is a kernel whose size stands apart."""
    kernel = (
        Always("k", ("opd1_h", "opd1_w"), "x"),
        Always("s", ("res_op_y_str", "res_op_x_str")),
        Numbers("pad", _each("opd0_{}_pad", ("up", "dn", "lf", "rt"))),
        Numbers("dil", ("opd1_y_ins0", "opd1_x_ins0")),
        Numbers("ins", ("opd0_y_ins0", "opd0_x_ins0")),
    )
    return (
        _operand("res0", constant=False),
        _operand("opd0", as_float=as_float),
        _operand("opd1", "nc" if window else "nchw", as_float=as_float),
        _operand("opd2", "", as_float=as_float),
        Tensor("opd3", ("opd3_addr",), constant="opt_opd3_const", as_float=as_float),
        Tensor("res1", ("res1_addr",)),
        *(kernel if window else ()),
        Numbers("opds", ("tsk_opd_num",)),
        Numbers("add", ("opt_res_add",)),
        Numbers("relu", ("opt_relu",)),
        Numbers("rotate", ("opt_kernel_rotate",)),
        Numbers("left_t", ("opt_left_tran",)),
        Numbers("rshift", ("opt_right_shift",)),
        Numbers("lshift", ("opt_left_shift",)),
        Numbers("arith", ("opt_shift_typ",)),
        Numbers("add_sign", ("opt_res_add_sign",)),
        Numbers("sign", _each("opt_{}_sign", _ROLES[1:])),
        Numbers("prec", _each("opt_{}_prec", _ROLES), names=_PREC_NAMES),
        Numbers("one_n", ("opd0_neq1", "opd1_neq1")),
        Numbers(
            "index_shift",
            tuple(f"{role}_{d}_shift" for role in ("res0", "opd0", "opd1") for d in "hw"),
        ),
    )


def _gdma_side(side: str) -> Part:
    return Tensor(
        side,
        (f"{side}_start_addr_l32", f"{side}_start_addr_h8"),
        _each(side + "_{}size"),
        _each(side + "_{}stride"),
    )


_TIU_PARTS = {
    (as_float, window): _tiu_parts(as_float, window)
    for as_float in (False, True)
    for window in (False, True)
}
_GDMA_PARTS: tuple[Part, ...] = (
    _gdma_side("dst"),
    _gdma_side("src"),
    Constant("value", "constant_value"),
    Numbers("fmt", ("src_data_format", "dst_data_format"), ">", _FMT_NAMES),
    Numbers("add", ("acc_write_enable",)),
    Mask("lanes", "localmem_mask_l32", "localmem_mask_h32"),
    Numbers("index_shift", ("src_hshift", "src_wshift", "dst_hshift", "dst_wshift")),
)


def parts_of(form: Form | None) -> tuple[Part, ...]:
    """The tokens of a form's lines, in order; none for an unknown operation."""
    if form is None:
        return ()
    if form.engine is Engine.GDMA:
        return _GDMA_PARTS
    as_float = form.written().get("opt_opd0_prec") == Prec.FP32
    return _TIU_PARTS[as_float, "res_op_x_str" in form.operands]
