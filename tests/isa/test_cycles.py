"""Cycle counts and the two-engine replay."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from nntc.core.errors import InstructionError
from nntc.isa import TABLES, Engine, Instruction, decode, form
from nntc.isa.chip import local_address
from nntc.isa.cycles import RULE_OF, Span, cycles, replay
from nntc.isa.fields import TIU
from tests.isa.strategies import ALL_FORMS

RES = {"res0_n": 2, "res0_c": 70, "res0_h": 3, "res0_w": 5, "res0_addr": local_address(0, 10)}
"""2 samples, ceil(80/64) = 2 slots, one tile of 16: 4 tiles."""


def tiu(mnemonic: str, **values: int) -> int:
    return cycles(form(mnemonic).make(**{**RES, **values}))


@pytest.mark.parametrize(
    ("mnemonic", "values", "expected"),
    [
        ("ar.add.f32", {}, 8),
        ("ar.mac.f32", {}, 20),
        ("ar.div.f32", {}, 120),
        ("ar.copy.i32", {}, 8),
        ("scalar.mul", {}, 4),
        ("scalar.div", {}, 120),
        ("sfu.taylor", {"opd1_n": 32}, 4 * 130),
        ("sfu.rsqrt", {}, 108),
        ("linear.mac", {}, 16),
        ("compare.max_only", {}, 4),
        ("compare.max_select", {}, 8),
        ("compare.select", {"res0_addr": 0, "res1_addr": local_address(0, 63)}, 2 * 2 * 3),
        ("lut.i8", {}, 96),
        ("vector.add.f32", {"opd0_c": 3, "opd0_w": 4, "opd1_w": 2, "res0_w": 17}, 10 * 2 * 2),
        ("matmul.f32", {"opd0_n": 6, "opd0_c": 3, "opd0_w": 32, "opd1_w": 16}, 6 * 2 * (80 + 6)),
        ("matmul.i8", {"opd0_n": 6, "opd0_w": 9, "opd1_w": 9, "tsk_opd_num": 3}, 6 * 2 * 16),
        ("conv.f32", {"opd0_c": 16, "opd1_h": 3, "opd1_w": 3}, 4 * (72 + 3)),
        ("conv.f32", {"opd0_c": 3, "opd1_h": 3, "opd1_w": 3}, 4 * (45 + 3)),
        ("conv.f32", {"opd0_c": 1, "res_op_x_str": 2, "tsk_opd_num": 3}, 4 * (3 + 5)),
        ("conv.i8", {"opd0_c": 64, "opd1_h": 3, "opd1_w": 3}, 2 * (144 + 8)),
        ("conv.i8", {"opd0_c": 4, "opd1_h": 3, "opd1_w": 3}, int(2 * (9 * 6.82 + 8))),
        ("wino.f32", {"opd0_c": 16}, 2 * 2 * 2 * 3 * 22 // 2),
        ("wino.i8", {"opd0_c": 16}, 2 * 2 * 3 * 15),
        ("depthwise.f32", {"opd1_h": 3, "opd1_w": 3, "tsk_opd_num": 3}, 4 * (6 + 9 + 5)),
        ("maxpool.i8", {"opd1_h": 2, "opd1_w": 2, "res_op_x_str": 2}, 4 * (3 + 8)),
        ("ar.mul.fix", {"res0_n": 5}, 2 * 2 * 3),
        ("ar.copy.fix", {"opt_res0_prec": 3, "opt_opd0_prec": 3, "res0_n": 5}, 3 * 2),
    ],
)
def test_tiu_counts(mnemonic: str, values: dict[str, int], expected: int) -> None:
    assert tiu(mnemonic, **values) == expected


def gdma(mnemonic: str, shape: tuple[int, int, int, int], **values: int) -> int:
    sizes = {f"{s}_{d}size": n for s in ("src", "dst") for d, n in zip("nchw", shape, strict=True)}
    return cycles(form(mnemonic).make(**{**sizes, **values}))


def test_gdma_counts_by_blocks() -> None:
    flat = {"stride_enable": 0}
    assert gdma("copy.s2l", (1, 1, 1, 7), **flat) == int(0.554 * 249)
    # Short blocks cost a unit each; long ones their bytes.
    assert gdma("copy.s2l", (2, 10, 1, 7), **flat) == int(0.554 * 268)
    assert gdma("copy.l2s", (1, 4, 8, 8), **flat) == int(0.554 * (82 + 4 * 256 / 29.566209))
    rows = {"src_hstride": 9, "dst_hstride": 8}
    assert gdma("copy.l2s", (1, 4, 8, 8), **rows) == int(0.554 * (82 + 32 * 32 / 29.566209))
    assert gdma("copy.l2l", (1, 4, 8, 8), **flat) == 3 + 4 * 8
    whole = {"src_hstride": 8, "dst_hstride": 8, "src_cstride": 64, "dst_cstride": 64}
    assert gdma("copy.s2s", (1, 4, 8, 8), **whole) == int(0.554 * (248 + 1024 / 29.566209))
    assert gdma("fill.local", (1, 4, 8, 8)) == 3 + 32
    assert gdma("convert.s2l", (1, 1, 1, 64), src_data_format=3, **flat) == int(
        0.554 * (248 + 256 / 29.566209)
    )
    assert cycles(form("linear.s2s").make(src_nstride=1000)) == int(
        0.554 * (248 + 4000 / 29.566209)
    )


def test_every_form_has_a_rule_and_an_answer() -> None:
    assert set(RULE_OF) == {each.mnemonic for each in ALL_FORMS}
    for each in ALL_FORMS:
        assert cycles(each.make()) >= 0


def test_no_answer_is_an_error() -> None:
    with pytest.raises(InstructionError, match=r"tiu\.raw: unknown operation"):
        cycles(decode(Engine.TIU, TIU.pack({"tsk_typ": 11})))
    with pytest.raises(InstructionError, match=r"conv\.f32: a size is 0"):
        cycles(form("conv.f32").make(opd0_c=0))
    with pytest.raises(InstructionError, match="src_data_format = 6: no such format"):
        cycles(form("copy.s2l").make(src_data_format=6))


def add(number: int, wait: int) -> Instruction:
    return form("ar.add.f32").make(**RES).with_sync(number, wait)


def move(number: int, wait: int) -> Instruction:
    return (
        form("copy.l2l")
        .make(src_nsize=1, src_csize=1, src_hsize=1, src_wsize=8)
        .with_sync(number, wait)
    )


def test_engines_overlap_by_their_waits() -> None:
    """A move takes 4 cycles, an addition 8."""
    found = replay([([add(1, 1), add(2, 1), add(3, 3)], [move(1, 0), move(2, 0), move(3, 2)])])
    (group,) = found.groups
    assert group.gdma == (Span(0, 4), Span(4, 8), Span(20, 24))
    assert group.tiu == (Span(4, 12), Span(12, 20), Span(24, 32))
    assert (found.total, found.tiu_busy, found.gdma_busy) == (32, 24, 12)


def test_groups_follow_each_other_and_bytes_are_taken() -> None:
    stream = add(1, 0).encode() + add(2, 0).encode()
    found = replay([(stream, b""), (b"", b""), (stream, move(1, 2).encode())])
    assert [(g.start, g.stop) for g in found.groups] == [(0, 16), (16, 16), (16, 36)]
    assert found.groups[2].gdma == (Span(32, 36),)
    assert found.total == 36


def test_a_deadlock_is_reported() -> None:
    with pytest.raises(InstructionError) as caught:
        replay([([add(1, 1)], [move(1, 1)])])
    assert caught.value.problems == [
        "group 0: TIU #1 ar.add.f32 waits for command 1 of the other engine, which never completes",
        "group 0: GDMA #1 copy.l2l waits for command 1 of the other engine, which never completes",
    ]


def random_instructions(seed: int, count: int) -> list[Instruction]:
    """Well-formed sizes for every form; what the cost does not read stays at its default."""
    r = random.Random(seed)
    made: list[Instruction] = []
    for _ in range(count):
        for each in ALL_FORMS:
            if each.engine is Engine.TIU:
                values = {f"res0_{d}": r.randint(1, 90) for d in "nhw"}
                values |= {
                    "res0_c": r.randint(1, 300),
                    "res0_addr": local_address(0, r.randint(0, 63)),
                }
                values |= {
                    "opd0_n": r.randint(1, 9),
                    "opd0_c": r.choice((1, 2, 3, r.randint(1, 200))),
                }
                values |= {"opd0_w": r.randint(1, 60), "tsk_opd_num": r.randint(2, 3)}
                values |= {"opd1_h": r.randint(1, 7), "opd1_w": r.randint(1, 7)}
                if each.mnemonic.startswith("wino"):
                    values |= {"opd1_h": 4, "opd1_w": 4}
                elif "res_op_x_str" in each.operands:
                    values |= {"res_op_x_str": r.randint(1, 15), "res_op_y_str": r.randint(1, 15)}
                if each.mnemonic.startswith("matmul"):
                    values["opt_res_add"] = r.randint(0, 1)
                if each.mnemonic == "sfu.taylor":
                    values["opd1_n"] = r.randint(1, 64)
                if each.mnemonic == "compare.select":
                    values["res1_addr"] = values["res0_addr"]
                if each.mnemonic.endswith(".fix"):
                    values |= {"opt_opd0_prec": r.choice((0, 3)), "opt_res0_prec": r.choice((0, 3))}
                if each.mnemonic.startswith("vector"):  # rows also where the judge looks for them
                    rows = (values["opd0_c"] - 1) * values["opd0_w"] + values["opd1_w"]
                    values |= {"res0_n": rows, "res0_h": 1}
            else:
                shape = [r.randint(1, 30) for _ in "nchw"]
                values = {
                    f"{s}_{d}size": n
                    for s in ("src", "dst")
                    for d, n in zip("nchw", shape, strict=True)
                }
                _, c, h, w = shape
                if r.random() < 0.7:
                    values |= {f"{s}_hstride": w for s in ("src", "dst")}
                if r.random() < 0.7:
                    values |= {f"{s}_cstride": h * w for s in ("src", "dst")}
                values |= {"src_nstride": c * h * w, "stride_enable": r.randint(0, 1)}
                values |= {"src_data_format": r.randint(0, 4), "dst_data_format": r.randint(0, 4)}
            made.append(each.make(**values))
    return made


@pytest.mark.cmodel
def test_counts_equal_the_makers_functions(shared_dir: Path, cmodel_libs: Path) -> None:
    """Thousands of random instructions, priced by the exported functions in another process."""
    made = random_instructions(1, 60)
    request = json.dumps([[int(i.engine), i.encode().hex()] for i in made])
    answer = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("judge_cycles.py")), str(shared_dir)],
        input=request,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        env={**os.environ, "BM1684_JUDGE_LIBS": str(cmodel_libs)},
    )
    expected = json.loads(answer.stdout.splitlines()[-1])
    assert len(expected) == len(made)
    wrong = [(i, e, cycles(i)) for i, e in zip(made, expected, strict=True) if cycles(i) != e]
    assert not wrong[:3]


def test_streams_are_priced_quickly() -> None:
    """A replay of 20,000 commands stays well under a second or two."""
    tiu_stream = b"".join(add(n, 0).encode() for n in range(1, 10_001))
    found = replay([(tiu_stream, b"")])
    assert found.total == 80_000
    assert len(TABLES[Engine.TIU].decode_stream(tiu_stream)) == 10_000
