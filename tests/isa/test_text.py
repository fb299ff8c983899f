"""Printing and parsing: exact round trips, readable lines, errors with line numbers."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nntc.core.errors import InstructionError
from nntc.isa import TABLES, Engine, Form, decode, form
from nntc.isa.chip import local_address
from nntc.isa.syntax import constant_text, parse_constant, parts_of
from nntc.isa.text import (
    execution_order,
    listing,
    parse_instruction,
    parse_listing,
    parse_stream,
    print_instruction,
    print_stream,
)
from tests.isa.strategies import ALL_FORMS, EACH_FORM, field_values


@dataclass
class Group:
    tiu: bytes = b""
    gdma: bytes = b""


@dataclass
class SubNet:
    groups: list[Group] = field(default_factory=list)
    mode: int = 0


@dataclass
class Stage:
    subnets: list[SubNet] = field(default_factory=list)


@dataclass
class Net:
    name: str = "net"
    stages: list[Stage] = field(default_factory=list)


@dataclass
class Model:
    nets: list[Net] = field(default_factory=list)
    chip: str = "BM1684"


def one_group(tiu: bytes, gdma: bytes, name: str = "net") -> Model:
    return Model([Net(name, [Stage([SubNet([Group(tiu, gdma)])])])])


@given(data=st.binary(min_size=128, max_size=128), engine=st.sampled_from(Engine))
@settings(max_examples=300)
def test_any_128_bytes_survive(data: bytes, engine: Engine) -> None:
    text = print_instruction(decode(engine, data))
    assert parse_instruction(text).encode() == data


@EACH_FORM
@given(data=st.data())
@settings(max_examples=25)
def test_every_form_survives(each: Form, data: st.DataObject) -> None:
    made = each.make(**data.draw(field_values(each)))
    text = print_instruction(made)
    assert "\n" not in text
    assert text.split()[0] == each.mnemonic
    back = parse_instruction(text)
    assert back == made
    assert back.form is each
    assert print_instruction(decode(each.engine, made.encode())) == text


@EACH_FORM
def test_defaults_are_left_out(each: Form) -> None:
    shown = print_instruction(each.make()).split()[1:]
    assert [token.split("=")[0] for token in shown] in ([], ["k", "s"])


@EACH_FORM
def test_tokens_cover_fields_once_and_never_hide_one(each: Form) -> None:
    fields = [name for part in parts_of(each) for name in part.fields]
    assert len(fields) == len(set(fields))
    keys = [part.key for part in parts_of(each)]
    assert len(keys) == len(set(keys))
    assert not set(keys) & set(each.layout.by_name)


def test_a_convolution_reads_well() -> None:
    made = form("conv.f32").make(
        cmd_id_tpu=12,
        cmd_id_gdma=7,
        res0_n=1,
        res0_c=64,
        res0_h=56,
        res0_w=56,
        opd0_c=32,
        opd0_h=56,
        opd0_w=56,
        opd1_h=3,
        opd1_w=3,
        opd0_up_pad=1,
        opd0_dn_pad=1,
        opd0_lf_pad=1,
        opd0_rt_pad=1,
        res0_addr=local_address(0x1000),
        opd0_addr=local_address(0x8000, 3),
        opd1_addr=local_address(0x10000),
        short_opd1_str=3,
        opd1_c_str=144,
        opd1_h_str=48,
        opd1_w_str=16,
    )
    assert print_instruction(made) == (
        "conv.f32 #12 <g7 res0=L0:0x1000[1,64,56,56] opd0=L3:0x8000[1,32,56,56] "
        "opd1=L0:0x10000(3:1,144,48,16) k=3x3 s=1,1 pad=1,1,1,1"
    )


def test_transfers_and_constants_read_well() -> None:
    load = form("copy.s2l").make(
        cmd_id=5,
        eng0_sync_id=2,
        src_start_addr_h8=1,
        src_start_addr_l32=0x05241000,
        dst_start_addr_l32=local_address(0x200, 1),
        src_data_format=2,
        dst_data_format=2,
        **{
            f"{s}_{d}size": n
            for s in ("src", "dst")
            for d, n in zip("nchw", (1, 3, 2, 5), strict=True)
        },
        src_nstride=30,
        src_cstride=10,
        src_hstride=5,
        src_wstride=1,
    )
    assert print_instruction(load) == (
        "copy.s2l #5 <t2 dst=L1:0x200[1,3,2,5] src=@0x105241000[1,3,2,5](30,10,5,1) fmt=u8>u8"
    )
    relu6 = form("ar.min.f32").make(opt_opd1_const=1, opd1_addr=0x40C00000)
    assert print_instruction(relu6) == "ar.min.f32 opd1=6.0"
    shift = form("ar.shift.i32").make(opt_opd1_const=1, opd1_addr=0xFFFFFFF8)
    assert print_instruction(shift) == "ar.shift.i32 opd1=-8"
    mask = form("ar.and.i32").make(opt_opd1_const=1, opd1_addr=0x3F800000)
    assert print_instruction(mask) == "ar.and.i32 opd1=0x3f800000"


@given(bits=st.integers(0, 0xFFFFFFFF), as_float=st.booleans())
def test_constants_survive(bits: int, as_float: bool) -> None:
    assert parse_constant(constant_text(bits, as_float)) == bits


@given(value=st.floats(width=32, allow_nan=False))
def test_float_constants_survive(value: float) -> None:
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    assert parse_constant(constant_text(bits, True)) == bits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv.f64", "conv.f64: no such instruction"),
        ("conv.f32 colour=1", "colour=1: no such field"),
        ("conv.f32 k=3", "k: 1 values in '3', needed 2"),
        ("conv.f32 k=3xa", "'a' is not an integer"),
        ("conv.f32 relu", "relu: expected name=value"),
        ("conv.f32 <t3", "<t3: expected <gnumber"),
        ("copy.s2l <g3", "<g3: expected <tnumber"),
        ("conv.f32 res0=L64:0x0", "L64:0x0: beyond local memory (64 lanes of 0x80000 bytes)"),
        ("conv.f32 res0=0x1000", "res0: '0x1000' is not an address"),
        ("conv.f32 opd0=[1,2,3,4]", "opd0: '[1,2,3,4]' is not address[shape](strides)"),
        ("conv.f32 opd0=L0:0x0[1,2,3]", "opd0 shape: 3 values in '1,2,3', needed 4"),
        ("conv.f32 opd0_h=1 opd0=L0:0x0[1,2,3,4]", "conv.f32: opd0=L0:0x0[1,2,3,4]: opd0_h is "),
        ("conv.f32 tsk_typ=3", "conv.f32: tsk_typ=3 would be another operation; allowed: 0"),
        ("conv.f32 opd0_up_pad=16", "TIU command: opd0_up_pad = 16 does not fit 0..15 (4 bits)"),
        ("ar.add.f32 opd1=1e39", "1e+39 does not fit fp32"),
        ("ar.add.f32 opd1=0x100000000", "constant 0x100000000 does not fit 32 bits"),
        ("copy.s2l lanes=0x10000000000000000", "lanes: 0x10000000000000000 does not fit 64 bits"),
    ],
)
def test_bad_lines_say_why(text: str, message: str) -> None:
    with pytest.raises(InstructionError) as caught:
        parse_instruction(text)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(message)


def test_errors_name_every_bad_line() -> None:
    text = "; a comment\n\nconv.f32 k=3\nar.add.f32 ; fine\nnop\nconv.i8 a=1 b=2\n"
    with pytest.raises(InstructionError) as caught:
        parse_stream(text)
    starts = [problem.split(":")[0] for problem in caught.value.problems]
    assert starts == ["line 3", "line 5", "line 6", "line 6"]


def test_streams_survive() -> None:
    made = [each.make().with_sync(n + 1, n // 2) for n, each in enumerate(ALL_FORMS)]
    assert parse_stream(print_stream(made)) == made


def chain(engine: Engine, waits: list[int]) -> bytes:
    mnemonic = {Engine.TIU: "ar.add.f32", Engine.GDMA: "copy.s2l"}[engine]
    made = [form(mnemonic).make().with_sync(n, wait) for n, wait in enumerate(waits, 1)]
    return b"".join(i.encode() for i in made)


def order(tiu: list[int], gdma: list[int]) -> list[str]:
    streams = (
        TABLES[engine].decode_stream(chain(engine, waits))
        for engine, waits in ((Engine.TIU, tiu), (Engine.GDMA, gdma))
    )
    return [f"{'tg'[i.engine]}{i.number}" for i in execution_order(*streams)]


def test_listings_stand_in_an_order_of_execution() -> None:
    assert order([2, 3], [0, 0, 1, 2]) == ["g1", "g2", "t1", "g3", "t2", "g4"]
    assert order([0, 0], [0]) == ["t1", "t2", "g1"]


def test_a_deadlock_is_still_listed_whole() -> None:
    assert order([1, 0], [2]) == ["t1", "t2", "g1"]


def test_listing_and_back() -> None:
    group = Group(chain(Engine.TIU, [2, 3]), chain(Engine.GDMA, [0, 0, 1, 2]))
    raw = Group(b"\xff" * 128, bytes(128))
    model = Model(
        [
            Net('odd; "name"\n', [Stage([SubNet([group, raw]), SubNet(mode=1)]), Stage()]),
            Net("second", [Stage([SubNet([Group()])])]),
        ]
    )
    found = parse_listing(listing(model))
    assert [(g.net, g.stage, g.subnet, g.group) for g in found] == [
        ('odd; "name"\n', 0, 0, 0),
        ('odd; "name"\n', 0, 0, 1),
        ("second", 0, 0, 0),
    ]
    assert [(g.tiu, g.gdma) for g in found] == [
        (group.tiu, group.gdma),
        (raw.tiu, raw.gdma),
        (b"", b""),
    ]


def test_bad_listings_say_where() -> None:
    with pytest.raises(InstructionError) as caught:
        parse_listing('.net x\n.stage "a"\n.cell 3\nar.add.f32\n.group 0\n  ar.add.f32 k=1\n')
    assert caught.value.problems == [
        "line 1: .net: 'x' is not a quoted name",
        "line 2: .stage: '\"a\"' is not a number",
        "line 3: .cell: no such directive",
        "line 4: an instruction outside of a .group",
        "line 6: k=1: no such field",
    ]


def test_a_cut_stream_is_an_error() -> None:
    with pytest.raises(InstructionError, match="net stage 0 subnet 0 group 0: TIU stream: 100"):
        listing(one_group(bytes(100), b""))


def test_a_large_model_lists_quickly() -> None:
    """20,000 commands in under 3 seconds on two shared cores; it takes 0.6."""
    tiu = chain(Engine.TIU, list(range(1, 10_001)))
    gdma = chain(Engine.GDMA, list(range(10_000)))
    start = time.process_time()
    text = listing(one_group(tiu, gdma))
    assert time.process_time() - start < 3
    assert text.count("\n") == 20_005
