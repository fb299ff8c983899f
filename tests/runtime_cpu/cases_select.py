"""Random cases of the layers that select, re-order, pool and compute element by element."""

from __future__ import annotations

import numpy as np

from nntc.bmodel.cpu_ops import (
    AdaptivePoolParam,
    BinaryParam,
    CpuDType,
    CpuOp,
    DebugParam,
    MaskedSelectParam,
    NmsParam,
    OnnxNmsParam,
    RepeatInterleaveParam,
    ReverseSequenceParam,
    TfNmsV5Param,
    UnaryParam,
    WhereParam,
    WhereSqueezeGatherParam,
)
from tests.runtime_cpu.case import Case, case_maker, dims, floats, ints, some_levels


def _mask(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.where(rng.random(shape) < 0.5, floats(rng, *shape), 0).astype(np.float32)


@case_maker(CpuOp.WHERE)
def where(rng: np.random.Generator) -> Case:
    x = _mask(rng, *dims(rng, 1, 5, 5))
    # The layer writes the count and the rank into a shape that has two dimensions already.
    return Case(WhereParam(), [x], [(x.size, x.ndim)])


@case_maker(CpuOp.MASKED_SELECT)
def masked_select(rng: np.random.Generator) -> Case:
    full = dims(rng, 1, 4, 5)
    begin = bool(rng.random() < 0.5)
    shapes = []
    for _ in range(2):
        rank = int(rng.integers(1, len(full) + 1))
        part = full[:rank] if begin else full[len(full) - rank :]
        shapes.append(tuple(1 if rng.random() < 0.2 else n for n in part))
    inputs = [floats(rng, *shapes[0]), _mask(rng, *shapes[1])]
    return Case(MaskedSelectParam(begin), inputs, [(int(np.prod(full)),)])


@case_maker(CpuOp.WHERE_SQUEEZE_GATHER)
def where_squeeze_gather(rng: np.random.Generator) -> Case:
    count = int(rng.integers(1, 7))
    tables, axes = [], []
    for _ in range(int(rng.integers(1, 4))):
        shape = list(dims(rng, 1, 3, 5))
        axis = int(rng.integers(0, len(shape)))
        shape[axis] = count
        axes.append(axis - len(shape) if rng.random() < 0.3 else axis)
        tables.append(floats(rng, *shape))
    mask = _mask(rng, count)
    return Case(WhereSqueezeGatherParam(tuple(axes)), [*tables, mask], [t.shape for t in tables])


@case_maker(CpuOp.REVERSE_SEQUENCE)
def reverse_sequence(rng: np.random.Generator) -> Case:
    shape = dims(rng, 2, 4)
    seq, batch = (int(v) for v in rng.choice(len(shape), 2, replace=False))
    lengths = ints(rng, 0, shape[seq] + 1, shape[batch])
    return Case(ReverseSequenceParam(seq, batch), [floats(rng, *shape), lengths], [shape])


@case_maker(CpuOp.REPEAT_INTERLEAVE)
def repeat_interleave(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 4, 5)
    dim = int(rng.integers(0, len(shape)))
    repeats = ints(rng, 0, 4, shape[dim])
    out = (*shape[:dim], int(repeats.sum()), *shape[dim + 1 :])
    return Case(RepeatInterleaveParam(dim), [floats(rng, *shape), repeats], [out])


@case_maker(CpuOp.UNARY)
def unary(rng: np.random.Generator) -> Case:
    x = floats(rng, *dims(rng, 1, 4)) * np.float32(rng.choice([1, 10, 1e6]))
    if rng.random() < 0.5:
        x = np.round(x * 2) / np.float32(2)  # halves
    if rng.random() < 0.3:
        x.flat[:3] = np.array([np.nan, np.inf, -np.inf], np.float32)[: x.size]
    return Case(UnaryParam(int(rng.integers(0, 6))), [x], [x.shape])


@case_maker(CpuOp.BINARY)
def binary(rng: np.random.Generator) -> Case:
    full = dims(rng, 1, 4)
    shapes = [tuple(1 if rng.random() < 0.3 else n for n in full) for _ in range(2)]
    if rng.random() < 0.5:
        shapes[1] = shapes[1][int(rng.integers(0, len(full))) :]
    op = int(rng.integers(0, 2))
    a, b = ints(rng, -99, 99, *shapes[0]), ints(rng, 1, 20, *shapes[1])
    b *= rng.choice([-1, 1], b.shape).astype(np.int32)
    out = np.broadcast_shapes(*shapes)
    if rng.random() < 0.5:
        return Case(BinaryParam(op, CpuDType.I32), [a, b], [out])
    wide = [(v + np.sign(v) * floats(rng, *v.shape, levels=4)).astype(np.float32) for v in (a, b)]
    return Case(BinaryParam(op, CpuDType.F32), wide, [out])


@case_maker(CpuOp.DEBUG)
def debug(rng: np.random.Generator) -> Case:
    x = floats(rng, *dims(rng, 1, 4))
    return Case(DebugParam(tensor_dtype=CpuDType.F32), [x], [x.shape])


def _pool(rng: np.random.Generator, axes: int) -> Case:
    shape = (*dims(rng, 2, 2, 4), *dims(rng, axes, axes, 17))
    size = dims(rng, axes, axes, 9)
    param = AdaptivePoolParam(size)
    inputs = [floats(rng, *shape)]
    if rng.random() < 0.4:
        param = AdaptivePoolParam()
        inputs.append(np.array(size, np.int32))
    return Case(param, inputs, [(*shape[:2], *size)])


case_maker(CpuOp.ADAPTIVE_AVG_POOL)(lambda rng: _pool(rng, 2))
case_maker(CpuOp.ADAPTIVE_MAX_POOL)(lambda rng: _pool(rng, 2))
case_maker(CpuOp.ADAPTIVE_AVG_POOL_3D)(lambda rng: _pool(rng, 3))


def corner_boxes(rng: np.random.Generator, *lead: int) -> np.ndarray:
    """Boxes of two opposite corners in 0..1, some without area."""
    at, size = rng.random((*lead, 2)), rng.random((*lead, 2)) * 0.5
    boxes = np.concatenate([at, at + size], -1).astype(np.float32)
    flip = rng.random(lead) < 0.1
    boxes[flip] = boxes[flip][:, [2, 3, 0, 1]]
    return boxes


@case_maker(CpuOp.ONNX_NMS)
def onnx_nms(rng: np.random.Generator) -> Case:
    batch, classes, count = (int(v) for v in rng.integers(1, [4, 5, 60]))
    boxes = corner_boxes(rng, batch, count)
    scores = floats(rng, batch, classes, count, levels=some_levels(rng))
    limit = int(rng.integers(1, count + 5))
    thresholds = [np.array([v], np.float32) for v in rng.random(2)]
    inputs = [boxes, scores, np.array([limit], np.int32), *thresholds]
    inputs = inputs[: int(rng.choice([3, 4, 5, 5, 5]))]
    room = batch * classes * min(limit, count)
    return Case(OnnxNmsParam(0, limit), inputs, [(room, 3)])


@case_maker(CpuOp.NMS)
def nms(rng: np.random.Generator) -> Case:
    count = int(rng.integers(1, 80))
    boxes = corner_boxes(rng, count)
    scores = floats(rng, count, levels=some_levels(rng))
    limit = int(rng.integers(1, count + 1))
    if rng.random() < 0.2:
        boxes[0, 2:] = boxes[0, :2]  # no area: given again and again up to the limit
    param = NmsParam(float(rng.random()), float(rng.random() * 0.6), limit)
    return Case(param, [boxes, scores, np.array([limit], np.int32)], [(limit,)])


@case_maker(CpuOp.TF_NMS_V5)
def tf_nms_v5(rng: np.random.Generator) -> Case:
    count = int(rng.integers(1, 80))
    boxes = corner_boxes(rng, count)
    scores = floats(rng, count, levels=some_levels(rng))
    limit = int(rng.integers(1, count + 5))
    sigma = float(rng.choice([0, 0.3, 1]))
    param = TfNmsV5Param(
        float(rng.random()), float(rng.random() * 0.5), sigma, bool(rng.random() < 0.5), limit
    )
    return Case(param, [boxes, scores, np.array([limit], np.int32)], [(limit,), (limit,)])
