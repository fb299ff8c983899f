"""Damaged parameters and tensors give a UserError or a result, never anything else."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from nntc.bmodel.cpu_ops import CpuOp
from nntc.core.errors import UserError
from nntc.runtime import cpu
from tests.runtime_cpu import cases
from tests.runtime_cpu.case import Case, run_ours

WORDS = [0, -1, 1, 2, 7, 100, -100, 2**31 - 1, -(2**31), 0x7FC00000, 0x7F800000, 0x3F800000]


def damage(case: Case, rng: np.random.Generator) -> Case:
    """A case with one to three words, shapes or counts changed."""
    param = bytearray(case.param_bytes)
    inputs = [np.array(a) for a in case.inputs]
    shapes = [list(s) for s in case.output_shapes]
    for _ in range(int(rng.integers(1, 4))):
        which = int(rng.integers(0, len(inputs)))
        array = inputs[which]
        word = int(rng.choice(WORDS))
        kind = rng.integers(0, 6)
        if kind == 0 and len(param) >= 4:
            at = 4 * int(rng.integers(0, len(param) // 4))
            param[at : at + 4] = word.to_bytes(4, "little", signed=True)
        elif kind == 1 and param:
            param[int(rng.integers(0, len(param)))] = int(rng.integers(0, 256))
        elif kind == 2 and array.size:
            array.view(np.int32).reshape(-1)[rng.integers(0, array.size)] = word
        elif kind == 3:
            inputs[which] = array.reshape(-1) if rng.random() < 0.5 else array[..., None]
        elif kind == 4 and array.ndim:
            inputs[which] = array[: int(rng.integers(0, array.shape[0] + 1))].copy()
        elif kind == 5:
            shape = shapes[int(rng.integers(0, len(shapes)))]
            if shape:
                shape[int(rng.integers(0, len(shape)))] = int(rng.choice([0, 1, 3, 1000]))
    return Case(bytes(param), inputs, [tuple(s) for s in shapes])


def _sweep(op: CpuOp, count: int) -> None:
    problems: list[str] = []
    for number in range(count):
        rng = np.random.default_rng([zlib.crc32(op.name.encode()), number])
        case = damage(cases.MAKERS[op](rng), rng)
        try:
            if rng.random() < 0.5:
                run_ours(op, case)
            else:
                cpu.run(op, case.param_bytes, case.inputs, case.output_shapes)
        except UserError as err:
            problems += err.problems
    assert all(problem.startswith(f"CPU layer {op.name}: ") for problem in problems)
    assert problems or op in (CpuOp.UNARY, CpuOp.DEBUG)


@pytest.mark.parametrize("op", cases.MAKERS, ids=lambda op: op.name)
def test_damaged_cases(op: CpuOp) -> None:
    _sweep(op, 25)


@pytest.mark.slow
@pytest.mark.parametrize("op", cases.MAKERS, ids=lambda op: op.name)
def test_many_damaged_cases(op: CpuOp) -> None:
    _sweep(op, 500)
