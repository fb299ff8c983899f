"""Random cases of the sorting layers."""

from __future__ import annotations

import numpy as np

from nntc.bmodel.cpu_ops import (
    ArgSortParam,
    CpuOp,
    SortPerDimParam,
    TopKMxParam,
    TopKParam,
    TopKReturn,
)
from tests.runtime_cpu.case import Case, case_maker, dims, floats, some_levels


def _topk(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 4)
    axis = int(rng.integers(-1, len(shape)))
    if rng.random() < 0.7:
        shape = (*shape[:axis], int(rng.integers(1, 90)), *shape[axis:][1:]) if axis >= 0 else shape
    x = floats(rng, *shape, levels=some_levels(rng))
    if rng.random() < 0.1:
        x.flat[rng.integers(0, x.size)] = np.nan
    k = int(rng.integers(1, shape[axis] + 1))
    param = TopKParam(k, axis, bool(rng.random() < 0.6), bool(rng.random() < 0.6))
    inputs = [x]
    if rng.random() < 0.3:
        inputs.append(np.array([k], np.int32))
        param = TopKParam(-1, axis, param.sorted)
    outputs = 1 if rng.random() < 0.3 else 2
    if outputs == 1:
        param = TopKParam(param.k, axis, param.sorted, True, bool(rng.random() < 0.5))
    return Case(param, inputs, [shape] * outputs)


case_maker(CpuOp.TOPK)(_topk)
case_maker(CpuOp.TOPK_ASCENDING)(_topk)


@case_maker(CpuOp.ARGSORT)
def argsort(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 4, int(rng.choice([4, 40])))
    axis = int(rng.integers(0, len(shape)))
    x = floats(rng, *shape, levels=some_levels(rng))
    return Case(ArgSortParam(axis, bool(rng.random() < 0.5)), [x], [shape])


@case_maker(CpuOp.SORT_PER_DIM)
def sort_per_dim(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 4, int(rng.choice([4, 40])))
    dim = int(rng.integers(0, len(shape)))
    x = floats(rng, *shape, levels=some_levels(rng))
    flags = [bool(v) for v in rng.random(3) < 0.5]
    return Case(SortPerDimParam(dim, *flags), [x], [shape] * (1 if flags[0] else 2))


@case_maker(CpuOp.TOPK_MX)
def topk_mx(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 3, int(rng.choice([6, 60])))
    axis = int(rng.integers(-len(shape), len(shape) + 1))
    n = int(np.prod(shape)) if axis == len(shape) else shape[axis]
    k = int(rng.integers(0, n + 1))
    kind = int(rng.integers(0, 4))
    x = floats(rng, *shape, levels=some_levels(rng))
    dtype = int(rng.choice([0, 6, 7]))
    param = TopKMxParam(k, axis, kind, int(rng.integers(0, 2)), dtype)
    rank = 1 if axis == len(shape) and kind != TopKReturn.MASK else len(shape)
    out = shape if rank == len(shape) else (x.size,)
    return Case(param, [x], [out] * (2 if kind == TopKReturn.BOTH else 1))
