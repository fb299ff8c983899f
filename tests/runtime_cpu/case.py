"""A case of a CPU layer, the table of random case makers, and how results are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nntc.bmodel.cpu_ops import CpuOp, CpuParam
from nntc.runtime import cpu

SENTINEL = np.float32(-1234.5)
"""Outputs are filled with it first, so that unwritten places compare equal too."""


@dataclass(frozen=True)
class Case:
    param: CpuParam | bytes
    inputs: Sequence[np.ndarray]
    output_shapes: Sequence[tuple[int, ...]]

    @property
    def param_bytes(self) -> bytes:
        return self.param if isinstance(self.param, bytes) else self.param.pack()


Result = tuple[list[np.ndarray], list[tuple[int, ...]]]
"""Whole output buffers (flat f32, unwritten places hold the sentinel) and reported shapes."""

MAKERS: dict[CpuOp, Callable[[np.random.Generator], Case]] = {}
Maker = Callable[[np.random.Generator], Case]


def case_maker(op: CpuOp) -> Callable[[Maker], Maker]:
    """Register the function that makes a random case of *op*."""

    def register(function: Maker) -> Maker:
        MAKERS[op] = function
        return function

    return register


def run_ours(op: int, case: Case) -> Result:
    """What our layer makes of the case, in the form in which the judge gives it."""
    sizes = [int(np.prod(s, dtype=np.int64)) for s in case.output_shapes]
    buffers = [np.full(n, SENTINEL, np.float32) for n in sizes]
    shapes = cpu.run_into(op, case.param_bytes, case.inputs, buffers, case.output_shapes)
    return buffers, [tuple(s) for s in shapes]


def difference(
    op: int,
    ours: Result,
    theirs: Result,
    tolerance: float = 1e-6,
) -> str:
    """What differs first, or an empty text: shapes, int32 words at all, floats by more than 1e-6.

    Floats are compared relative to their size from 1 up, absolutely below.
    """
    if ours[1] != theirs[1]:
        return f"shapes {ours[1]}, expected {theirs[1]}"
    ports = cpu.signature(op)[1]
    for index, (a, b) in enumerate(zip(ours[0], theirs[0], strict=True)):
        same = a.view(np.int32) == b.view(np.int32)
        # A layer with optional outputs may put an int output first, so words decide: two int32
        # words that differ are hugely apart or denormal as floats.
        if any(p.kind == "f32" for p in ports):
            with np.errstate(all="ignore"):
                near = np.abs(a - b) <= tolerance * np.maximum(1, np.abs(b))
            normal = (np.abs(a) > 1e-30) | (np.abs(b) > 1e-30) | (a == b)
            same |= (near & normal) | (np.isnan(a) & np.isnan(b))
        if not same.all():
            at = int(np.argmin(same))
            return (
                f"output {index}, element {at}: {a[at]} ({a.view(np.int32)[at]}), expected "
                f"{b[at]} ({b.view(np.int32)[at]}); {int((~same).sum())} of {same.size} differ"
            )
    return ""


def floats(rng: np.random.Generator, *shape: int, levels: int = 0) -> np.ndarray:
    """Random f32; with *levels*, few distinct values so that many are equal."""
    if levels:
        return (rng.integers(0, levels, shape) / np.float32(levels)).astype(np.float32)
    return rng.standard_normal(shape).astype(np.float32)


def some_levels(rng: np.random.Generator) -> int:
    """Sometimes few levels, so that equal values are tried as well."""
    return int(rng.choice([0, 0, 3, 8, 64]))


def ints(rng: np.random.Generator, low: int, high: int, *shape: int) -> np.ndarray:
    return rng.integers(low, high, shape).astype(np.int32)


def dims(rng: np.random.Generator, low: int, high: int, most: int = 6) -> tuple[int, ...]:
    """A random shape of *low* to *high* dimensions of 1 to *most*."""
    rank = int(rng.integers(low, high + 1))
    return tuple(int(d) for d in rng.integers(1, most + 1, rank))
