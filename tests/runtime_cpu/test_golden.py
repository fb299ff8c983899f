"""Every CPU layer against recorded answers of the chip maker's library (see record.py)."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.bmodel.cpu_ops import CpuOp
from nntc.runtime import cpu
from tests.runtime_cpu import cases
from tests.runtime_cpu.case import Case, difference, run_ours
from tests.runtime_cpu.record import CASES, DATA, load


@pytest.mark.parametrize("op", cases.MAKERS, ids=lambda op: op.name)
def test_same_as_recorded(op: CpuOp) -> None:
    recorded = load(DATA / f"{op.name.lower()}.npz")
    assert len(recorded) == CASES
    for number, (case, theirs) in enumerate(recorded):
        # expf and the like differ in the last bit between C libraries.
        assert not difference(op, run_ours(op, case), theirs, tolerance=1e-5), f"case {number}"


@pytest.mark.parametrize("op", cases.MAKERS, ids=lambda op: op.name)
def test_a_wrong_word_is_seen(op: CpuOp) -> None:
    case, theirs = load(DATA / f"{op.name.lower()}.npz")[0]
    ours = run_ours(op, case)
    place = int(ours[0][0].size // 2)
    ours[0][0].view(np.int32)[place] ^= 1 << 22
    assert difference(op, ours, theirs)


@pytest.mark.parametrize("op", cases.MAKERS, ids=lambda op: op.name)
def test_arrays_are_the_start_of_the_buffers(op: CpuOp) -> None:
    """run() gives what run_into() puts first into the buffers."""
    for case, (buffers, shapes) in load(DATA / f"{op.name.lower()}.npz"):
        outputs = cpu.run(op, case.param_bytes, case.inputs, case.output_shapes)
        assert [a.shape for a in outputs] == shapes
        mine = Case(case.param, case.inputs, case.output_shapes)
        assert not difference(
            op,
            ([a.reshape(-1) for a in outputs], shapes),
            ([b[: a.size] for a, b in zip(outputs, buffers, strict=True)], shapes),
            tolerance=1e-5,
        ), mine


@pytest.mark.parametrize("op", cases.MAKERS, ids=lambda op: op.name)
def test_ports_say_the_kind_of_words(op: CpuOp) -> None:
    """Words of an i32 port are small numbers as int32, words of an f32 port are not denormal."""
    ports = cpu.signature(op)[1]
    if op in (CpuOp.TOPK, CpuOp.TOPK_ASCENDING):
        return  # one output may be either
    for case, _ in load(DATA / f"{op.name.lower()}.npz"):
        outputs = cpu.run(op, case.param_bytes, case.inputs, case.output_shapes)
        for port, out in zip(ports, outputs, strict=False):
            words = out.view("i4")
            if port.kind == "i32":
                assert (abs(words.astype("i8")) < 2**24).all() or "RANDOM" in op.name
            elif port.kind == "f32":
                assert ((abs(out) > 1e-30) | (words == 0) | (out != out) | (out == 0)).all()
