"""Reductions and normalisations."""

from __future__ import annotations

import itertools
from typing import Any

from nntc.ir import ops
from nntc.ir.ops.reduce import REDUCTIONS
from tests.backend.case import Dims, Made, dims, f32, family

RANKS = [(70,), (6, 70), (3, 5, 4), (2, 3, 4, 5), (2, 3, 2, 3, 4)]


def _axis_combinations() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(shape, axes) for every set of axes of the shapes of rank 1 to 5."""
    return [
        (shape, axes)
        for shape in RANKS
        for count in range(len(shape) + 1)
        for axes in itertools.combinations(range(len(shape)), count)
    ]


@family(2e-6, False, fn=list(REDUCTIONS), area=_axis_combinations(), keep=[True, False])
def reductions(fn: str, area: tuple[Dims, Dims], keep: bool) -> Made:
    shape, axes = area
    limits = ":0.7:1.4" if fn in ("prod", "log_sum") else ""
    yield ops.Reduce(fn, axes, keep), f"{f32(*shape)}{limits}"


@family(
    1e-6,
    fn=["sum", "mean", "max", "min", "prod", "l1", "sum_square"],
    dtype=["i32", "i8", "u8", "i64"],
    axes=[(0,), (1,), (0, 2), (0, 1, 2)],
)
def reductions_of_integers(fn: str, dtype: str, axes: Dims) -> Made:
    low, high = (0, 3) if dtype == "u8" else (-2, 3)
    yield ops.Reduce(fn, axes), f"{dtype}[3x4x5]:{low}:{high}"


@family(
    2e-6,
    fn=["sum", "mean", "max", "l2"],
    area=[
        ((3, 20000), (1,)),
        ((20000, 3), (0,)),
        ((40009,), (0,)),
        ((2, 170, 190), (1, 2)),
        ((2, 170, 190), (0, 2)),
        ((2, 130, 3, 140), (1, 3)),
        ((2, 130, 3, 140), (1, 2, 3)),
    ],
)
def reductions_of_long_axes(fn: str, area: tuple[Dims, Dims]) -> Made:
    yield ops.Reduce(fn, area[1]), f"{f32(*area[0])}:0:1"


@family(1e-4, False, axes=[(1,), (0, 1)])
def products_of_long_axes(axes: Dims) -> Made:
    """The interpreter multiplies one by one: its own error is the larger one."""
    yield ops.Reduce("prod", axes), "f32[3x20000]:0.999:1.001"


@family(
    1e-6,
    fn=["max", "min"],
    shape=RANKS,
    axis=range(5),
    keep=[True, False],
    last=[True, False],
    dtype=["f32", "i32"],
)
def arg_reductions(fn: Any, shape: Dims, axis: int, keep: bool, last: bool, dtype: str) -> Made:
    """Integers have many equal values."""
    limits = ":0:4" if dtype == "i32" else ""
    yield ops.ArgReduce(fn, axis, keep, last), f"{dtype}[{dims(*shape)}]{limits}"


@family(
    2e-6,
    kind=[ops.Softmax, ops.LogSoftmax, ops.Hardmax],
    shape=[*RANKS, (1, 1000), (2, 64, 7, 9), (3, 1)],
    axis=range(5),
)
def softmaxes(kind: Any, shape: Dims, axis: int) -> Made:
    yield kind(axis), f"{f32(*shape)}:-9:9"


@family(2e-6, p=[1, 2], shape=RANKS, axis=range(5))
def lp_norm(p: int, shape: Dims, axis: int) -> Made:
    yield ops.LpNorm(p, axis), f32(*shape)


@family(4e-6, shape=RANKS[1:], axis=range(5), affine=["", "b", "s", "sb"], constant=["", "="])
def layer_norm(shape: Dims, axis: int, affine: str, constant: str) -> Made:
    inner = f"{constant}{f32(*shape[axis:])}"
    rest = [inner if "s" in affine else "-", inner if "b" in affine else "-"]
    if axis < len(shape):
        yield ops.LayerNorm(axis, 1e-5), " ".join([f32(*shape), *rest])


@family(4e-6, shape=RANKS, axis=range(5), constant=["", "="])
def rms_norm(shape: Dims, axis: int, constant: str) -> Made:
    if axis < len(shape):
        yield ops.RMSNorm(axis), f"{f32(*shape)} {constant}{f32(*shape[axis:])}"


@family(
    4e-6,
    kind=["batch", "instance", "group1", "group2", "group3"],
    shape=[(2, 6, 5), (3, 6, 7, 9), (1, 66, 8, 8), (2, 6, 3, 4, 5), (4, 6), (1, 6, 1, 1)],
    constant=["", "="],
)
def channel_norms(kind: str, shape: Dims, constant: str) -> Made:
    c = f" {constant}{f32(shape[1])}"
    if kind == "batch":
        yield ops.BatchNorm(1e-5), f"{f32(*shape)}{c}{c}{c}{c}:0.5:2"
    elif kind == "instance":
        yield ops.InstanceNorm(1e-5), f"{f32(*shape)}{c}{c}"
    elif shape[-1] > 1:
        yield ops.GroupNorm(int(kind[5:]), 1e-5), f"{f32(*shape)}{c}{c}"


@family(4e-6, size=[1, 2, 3, 5, 9], shape=[(1, 7, 5, 6), (2, 70, 3), (2, 5)], beta=[0.75, 0.5, 1.0])
def lrn(size: int, shape: Dims, beta: float) -> Made:
    yield ops.LRN(size, 0.1, beta, 2.0), f32(*shape)


@family(
    2e-6,
    shape=RANKS,
    axis=range(5),
    exclusive=[True, False],
    reverse=[True, False],
    dtype=["f32", "i32"],
)
def cum_sum(shape: Dims, axis: int, exclusive: bool, reverse: bool, dtype: str) -> Made:
    yield ops.CumSum(axis, exclusive, reverse), f"{dtype}[{dims(*shape)}]"
