"""Numbering, dependencies, order, and accesses outside memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from nntc import isa
from nntc.core.errors import InstructionError
from nntc.isa.chip import LANE_BYTES, Engine, local_address
from nntc.isa.forms import Instruction
from nntc.sim import ENGINES, ORDERS, Memory, Program, Simulator

A = 0x1_0510_0000
X, Y = local_address(0), local_address(0x1000)


def load(target: int = X, source: int = A, count: int = 8, fmt: int = 0) -> Instruction:
    """One channel of *count* elements from DDR."""
    sizes = {f"{s}_{d}size": 1 for s in ("src", "dst") for d in "nch"}
    strides = {f"{s}_{d}stride": count for s in ("src", "dst") for d in "nch"}
    return isa.form("copy.s2l").make(
        **sizes, **strides, src_wsize=count, dst_wsize=count, src_wstride=1, dst_wstride=1,
        src_start_addr_l32=source & 0xFFFFFFFF, src_start_addr_h8=source >> 32,
        dst_start_addr_l32=target, src_data_format=fmt, dst_data_format=fmt,
    )  # fmt: skip


def store(target: int = A, source: int = X, count: int = 8) -> Instruction:
    v = load(count=count).values | {
        "direction": 1, "src_start_addr_l32": source, "src_start_addr_h8": 0,
        "dst_start_addr_l32": target & 0xFFFFFFFF, "dst_start_addr_h8": target >> 32,
    }  # fmt: skip
    return isa.form("copy.l2s").make(**v)


def add(result: int = Y, left: int = X, constant: float = 1.0, count: int = 8) -> Instruction:
    bits = int(np.float32(constant).view(np.uint32))
    return isa.form("ar.add.f32").make(
        res0_n=1, res0_c=1, res0_h=1, res0_w=count,
        res0_addr=result, opd0_addr=left, opd1_addr=bits, opt_opd1_const=1,
    )  # fmt: skip


Stream = Sequence[tuple[Instruction, int]]


def streams(tiu: Stream, gdma: Stream) -> tuple[bytes, bytes]:
    """The two byte strings of a group; every command with the number that it waits for."""
    tiu_bytes, gdma_bytes = (
        b"".join(i.with_sync(k, wait).encode() for k, (i, wait) in enumerate(stream, 1))
        for stream in (tiu, gdma)
    )
    return tiu_bytes, gdma_bytes


def problems(*groups: tuple[bytes, bytes]) -> str:
    with pytest.raises(InstructionError) as caught:
        Program(groups)
    return "\n".join(caught.value.problems)


GOOD = streams([(add(), 1)], [(load(), 0), (store(A + 64, Y), 1)])


def test_numbers_must_count_from_one() -> None:
    commands = b"".join(add().with_sync(k, 0).encode() for k in (1, 3))
    text = problems((commands, b""))
    assert text == (
        "group 0 TIU command 2 (ar.add.f32): its number is 3, not 2: numbers count from 1"
    )


def test_streams_are_whole_commands() -> None:
    assert "group 1 GDMA: 100 bytes are no multiple of 128" in problems(GOOD, (b"", bytes(100)))


def test_unknown_operations_are_named() -> None:
    unknown = Instruction(None, {**add().values, "tsk_typ": 15}, Engine.TIU)
    text = problems((unknown.with_sync(1, 0).encode(), b""))
    assert text.startswith("group 0 TIU command 1 (tiu.raw): no known operation")


def test_every_problem_is_listed() -> None:
    text = problems(
        streams([(add(count=1 << 15), 0), (add(result=local_address(LANE_BYTES - 16)), 0)], []),
        streams([], [(load(local_address(LANE_BYTES - 4, 9)), 0)]),
    )
    assert "group 0 TIU command 1" not in text
    assert "group 0 TIU command 2 (ar.add.f32): writes local 0x7fff0..0x8000f of lane 0" in text
    assert "group 1 GDMA command 1 (copy.s2l): writes local 0x7fffc..0x8001b of lane 9" in text


def test_many_problems_are_counted() -> None:
    text = problems(streams([(add(result=local_address(LANE_BYTES - 4)), 0)] * 30, []))
    assert "… and 10 problems more" in text
    assert text.count("\n") == 20


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        (lambda: load(fmt=7), "src_data_format = 7"),
        (lambda: load(0x0A00_0000), "writes address 0xa000000: it lies in no lane"),
        (lambda: load(0), "writes address 0x0: it lies in no lane"),
        (lambda: load().replace(dst_wsize=9), "do not fit destination sizes"),
        (lambda: load().replace(dst_wsize=0), "dst_wsize = 0 is outside 1..65535"),
        (lambda: add().replace(res0_c=0), "res0_c = 0 is outside 1..4095"),
        (
            lambda: add().replace(
                short_res0_str=3, short_opd0_str=3, res0_n=60000, res0_c=4095, res0_h=60000
            ),
            "that one command may have",
        ),
        (
            lambda: isa.form("conv.f32").make(
                res0_n=1, res0_c=1, res0_h=1, res0_w=1, res_op_x_str=1, res_op_y_str=1, opd1_h=0
            ),
            "opd1_h = 0 must be at least 1",
        ),
        (lambda: isa.form("sfu.taylor").make(opd1_n=1).replace(opd1_n=4000), "opd1_n = 4000"),
        (lambda: isa.form("ar.mac.fix").make(), "the result must be int16"),
        (lambda: isa.form("ar.max.fix").make(opt_res0_prec=3), "all must be equal"),
        (lambda: isa.form("ar.add.fix").make(opt_res0_prec=2), "int8 (0) or int16 (3)"),
    ],
)
def test_rules_of_one_command(instruction, reason: str) -> None:
    i = instruction()
    data = i.with_sync(1, 0).encode()
    assert reason in problems((data, b"") if i.engine is Engine.TIU else (b"", data))


def test_a_deadlock_names_both_commands() -> None:
    text = problems(streams([(add(), 0), (add(), 2)], [(load(), 0), (load(), 2)]))
    assert text == (
        "group 0: deadlock: group 0 TIU command 2 (ar.add.f32) waits for GDMA command 2, "
        "group 0 GDMA command 2 (copy.s2l) waits for TIU command 2"
    )


def test_waiting_for_a_missing_command_is_a_deadlock() -> None:
    text = problems(GOOD, streams([(add(), 5)], [(load(), 0)]))
    assert "group 1 TIU command 1 (ar.add.f32) waits for GDMA command 5" in text
    assert "the GDMA stream has only 1 commands" in text


def test_a_missing_dependency_names_both_commands() -> None:
    text = problems(streams([(add(), 0)], [(load(), 0)]))
    assert "group 0 TIU command 1 (ar.add.f32) and group 0 GDMA command 1 (copy.s2l)" in text
    assert "local 0x0..0x1f of lane 0" in text
    assert "a dependency is missing" in text


@pytest.mark.parametrize(
    ("tiu", "gdma", "ordered"),
    [
        # The load may overwrite what the second addition still reads.
        ([(add(), 1), (add(), 0)], [(load(), 0), (load(), 1)], False),
        ([(add(), 1), (add(), 0)], [(load(), 0), (load(), 2)], True),
        # An earlier command of the same engine waited already.
        ([(add(), 1), (add(), 0)], [(load(), 0), (store(A + 64, Y), 2)], True),
        # Only reading the same bytes is no conflict.
        ([(add(), 1), (add(), 0)], [(load(), 0), (store(A + 64, X), 0)], True),
        # Different lanes, or bytes beside each other.
        ([(add(), 0)], [(load(local_address(0, 1)), 0)], True),
        ([(add(), 0)], [(load(local_address(32)), 0)], True),
        ([(add(), 0)], [(load(local_address(28)), 0)], False),
        # A result that the other engine writes too.
        ([(add(), 0)], [(load(Y), 0)], False),
    ],
)
def test_which_pairs_are_ordered(tiu: Stream, gdma: Stream, ordered: bool) -> None:
    group = streams(tiu, gdma)
    if ordered:
        Program([group])
    else:
        assert "a dependency is missing" in problems(group)
    Program([group], check_hazards=False)


def test_interleaved_words_are_no_conflict() -> None:
    """The GDMA fills every second word while the TIU uses those between."""
    strided = load(local_address(4)).replace(dst_wstride=2)
    between = add(result=Y, left=X).replace(
        short_opd0_str=3, opd0_n_str=1, opd0_c_str=1, opd0_h_str=1, opd0_w_str=2
    )
    Program([streams([(between, 0)], [(strided, 0)])])
    text = problems(streams([(between, 0)], [(strided.replace(dst_start_addr_l32=X), 0)]))
    assert "touch local 0x0..0x3 of lane 0" in text


def test_l2_tables_are_watched_too() -> None:
    lookup = isa.form("lut.i32").make(
        res0_n=1, res0_c=1, res0_h=1, res0_w=8, res0_addr=Y, opd0_addr=X, opd1_addr=0x323800
    )
    write = isa.form("linear.s2s").make(
        src_nstride=8, src_start_addr_l32=A & 0xFFFFFFFF, src_start_addr_h8=A >> 32,
        dst_start_addr_l32=0x10323800,
    )  # fmt: skip
    assert "touch l2 0x323800..0x32381f" in problems(streams([(lookup, 0)], [(write, 0)]))
    Program([streams([(lookup, 1)], [(write, 0)])])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("first", ORDERS)
def test_execution_order_follows_the_dependencies(engine: str, first: str) -> None:
    """Two halves of a pipeline: load, add, store; then the same again on other places."""
    second = streams(
        [(add(Y, X), 1), (add(local_address(0x3000), local_address(0x2000), 2.0), 2)],
        [
            (load(X, A), 0),
            (load(local_address(0x2000), A + 32), 0),
            (store(A + 64, Y), 1),
            (store(A + 96, local_address(0x3000)), 2),
        ],
    )
    memory = Memory()
    data = memory.map(A, 128).view(np.float32)
    data[:16] = np.arange(16)
    program = Program([second, second])
    order = [(c.group, c.instruction.engine, c.position) for c in program.commands(first)]
    assert len(order) == len(program) == 12
    begin = [(0, Engine.GDMA, 1), (0, Engine.GDMA, 2)] if first == "gdma" else [(0, Engine.GDMA, 1)]
    assert order[: len(begin) + 1] == [*begin, (0, Engine.TIU, 1)]
    assert [g for g, _, _ in order] == [0] * 6 + [1] * 6
    Simulator(memory, engine).run(program, first=first)
    assert data[16:].tolist() == [*range(1, 9), *range(10, 18)]


def test_orders_differ_where_they_may() -> None:
    group = streams([(add(), 0)], [(load(local_address(0, 1)), 0)])
    assert [c.instruction.engine for c in Program([group]).commands("tiu")] == [
        Engine.TIU,
        Engine.GDMA,
    ]
    with pytest.raises(InstructionError, match="unknown"):
        list(Program([group]).commands("both"))


@pytest.mark.parametrize("engine", ENGINES)
def test_unmapped_ddr_is_refused(engine: str) -> None:
    memory = Memory()
    memory.map(A, 64)
    program = Program([GOOD])
    with pytest.raises(InstructionError) as caught:
        Simulator(memory, engine).run(program)
    assert caught.value.problems == [
        "group 0 GDMA command 2 (copy.l2s): writes ddr 0x105100040..0x10510005f: "
        "outside every mapped segment (0x105100000..0x10510003f)"
    ]


def test_read_only_ddr_is_refused() -> None:
    memory = Memory()
    memory.map(A, np.frombuffer(bytes(128), np.uint8))
    with pytest.raises(InstructionError, match="this memory is read-only"):
        Simulator(memory).run(Program([GOOD]))


def test_reading_read_only_ddr_works() -> None:
    memory = Memory()
    memory.map(A, np.frombuffer(np.arange(8, dtype=np.float32).tobytes(), np.uint8))
    memory.map(A + 4096, 64)
    group = streams([(add(), 1)], [(load(), 0), (store(A + 4096, Y), 1)])
    Simulator(memory).run(Program([group]))
    assert memory.read(A + 4096, 32).view(np.float32).tolist() == list(range(1, 9))


def test_plans_follow_a_changed_mapping() -> None:
    memory = Memory()
    memory.map(A, np.arange(32, dtype=np.float32))
    simulator, program = Simulator(memory), Program([GOOD])
    simulator.run(program)
    memory.unmap(A)
    fresh = np.full(32, 5, np.float32)
    memory.map(A, fresh)
    simulator.run(program)
    assert fresh[16:24].tolist() == [6] * 8


def test_one_program_on_several_memories() -> None:
    program, results = Program([GOOD]), []
    for start in (0, 100):
        memory = Memory()
        data = memory.map(A, 128).view(np.float32)
        data[:8] = start
        Simulator(memory).run(program)
        results.append(data[16])
    assert results == [1, 101]


def test_watching_every_command() -> None:
    memory, seen = Memory(), []
    memory.map(A, 128)
    Simulator(memory).run(Program([GOOD]), watch=lambda c: seen.append(str(c)))
    assert seen == [
        "group 0 GDMA command 1 (copy.s2l)",
        "group 0 TIU command 1 (ar.add.f32)",
        "group 0 GDMA command 2 (copy.l2s)",
    ]


def test_unknown_engine() -> None:
    with pytest.raises(InstructionError, match="there are fast, reference"):
        Simulator(Memory(), "warp")
