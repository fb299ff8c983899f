"""Random cases of the layers that gather and scatter."""

from __future__ import annotations

import numpy as np

from nntc.bmodel.cpu_ops import (
    CpuDType,
    CpuOp,
    EmbeddingBagParam,
    EmbeddingParam,
    FullIndexParam,
    GatherNdParam,
    GatherParam,
    IndexPutParam,
    IndexType,
    PytorchIndexParam,
    ScatterNdParam,
    TensorScatterParam,
)
from tests.runtime_cpu.case import Case, case_maker, dims, floats, ints


@case_maker(CpuOp.GATHER)
def gather(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 4)
    axis = int(rng.integers(0, len(shape)))
    indices = ints(rng, 0, shape[axis], *dims(rng, 1, 2))
    data = ints(rng, -9, 9, *shape) if rng.random() < 0.2 else floats(rng, *shape)
    given = axis - len(shape) if rng.random() < 0.3 else axis
    out = shape[:axis] + indices.shape + shape[axis + 1 :]
    return Case(GatherParam(given), [data, indices], [out])


@case_maker(CpuOp.GATHERND)
def gathernd(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 4)
    depth = int(rng.integers(1, len(shape) + 1))
    count = int(rng.integers(1, 7))
    indices = np.stack([ints(rng, 0, shape[i], count) for i in range(depth)])
    is_int = bool(rng.random() < 0.5)
    given = indices
    if not is_int:
        given = (indices + floats(rng, *indices.shape, levels=4)).astype(np.float32)
    out = (count, *shape[depth:])
    data = floats(rng, *shape)
    return Case(GatherNdParam(int(is_int)), [data, given], [out])


@case_maker(CpuOp.GATHERND_TF)
def gathernd_tf(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 5, 5)
    batch = int(rng.integers(0, min(len(shape), 3)))
    depth = int(rng.integers(1, len(shape) - batch + 1))
    lead = shape[:batch] + dims(rng, 0, 2, 4)
    lowest = [min(shape[i], shape[batch + i]) for i in range(depth)]
    indices = np.stack([ints(rng, 0, low, *lead) for low in lowest], -1)
    # With batch dimensions the steps are not those of the indexed axes; stay inside the data.
    steps = [int(np.prod(shape[i + 1 : depth])) for i in range(depth)]
    room = int(np.prod(shape[batch : batch + depth]))
    indices[(indices * steps).sum(-1) >= room] = 0
    out = lead + shape[batch + depth :]
    return Case(GatherNdParam(1, batch), [floats(rng, *shape), indices], [out])


@case_maker(CpuOp.GATHER_PT)
def gather_pt(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 4)
    axis = int(rng.integers(0, len(shape)))
    index_shape = tuple(
        int(rng.integers(1, 8 if i == axis else n + 1)) for i, n in enumerate(shape)
    )
    indices = ints(rng, 0, shape[axis], *index_shape)
    return Case(GatherParam(axis), [floats(rng, *shape), indices], [index_shape])


@case_maker(CpuOp.EMBEDDING)
def embedding(rng: np.random.Generator) -> Case:
    rows, width = (int(v) for v in rng.integers(1, 20, 2))
    ids = ints(rng, 0, rows, *dims(rng, 1, 3))
    return Case(EmbeddingParam(), [ids, floats(rng, rows, width)], [(*ids.shape, width)])


@case_maker(CpuOp.EMBEDDING_BAG)
def embedding_bag(rng: np.random.Generator) -> Case:
    rows, width, bags = (int(v) for v in rng.integers(1, 20, 3))
    sizes = rng.integers(1, 5, bags)
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    ids = ints(rng, 0, rows + 2, int(sizes.sum()))
    param = EmbeddingBagParam(rows, width, int(rng.integers(0, 3)))
    return Case(param, [floats(rng, rows, width), ids, offsets], [(bags, width)])


@case_maker(CpuOp.PYTORCH_INDEX)
def pytorch_index(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 4)
    start = int(rng.integers(0, len(shape)))
    end = int(rng.integers(start + 1, len(shape) + 1))
    count = int(rng.integers(1, 6))
    indices = [ints(rng, 0, shape[axis], count) for axis in range(start, end)]
    out = (*shape[:start], count, *shape[end:])
    return Case(PytorchIndexParam(start, end), [floats(rng, *shape), *indices], [out])


@case_maker(CpuOp.FULL_INDEX)
def full_index(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 4, 5)
    count = int(rng.integers(1, len(shape) + 1))
    chosen = rng.random(count) < 0.6
    chosen[rng.integers(0, count)] = True
    joint = dims(rng, 1, 2, 4)
    inputs = [floats(rng, *shape)]
    info: list[int] = []
    for axis in range(count):
        if not chosen[axis]:
            info += [IndexType.NONE, 0, 0, 0, 0]
            continue
        own = tuple(1 if rng.random() < 0.2 else n for n in joint)
        info += [IndexType.TENSOR, len(inputs), 0, 0, 0]
        inputs.append(ints(rng, 0, shape[axis], *own))
    places = [
        inputs[info[5 * i + 1]] if chosen[i] else slice(None) for i in range(count)
    ]  # NumPy says the shape
    out = inputs[0][tuple(places)].shape
    return Case(FullIndexParam(count, tuple(info)), inputs, [out])


@case_maker(CpuOp.SCATTER_ND)
def scatter_nd(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 4, 5)
    depth = int(rng.integers(1, len(shape) + 1))
    lead = dims(rng, 1, 2, 4)
    indices = np.stack([ints(rng, 0, shape[i], *lead) for i in range(depth)], -1)
    updates = floats(rng, *lead, *shape[depth:])
    third = floats(rng, *shape) if len(shape) > 1 and rng.random() < 0.5 else np.array(shape, "i4")
    return Case(ScatterNdParam(len(shape), shape), [indices, updates, third], [shape])


@case_maker(CpuOp.TENSOR_SCATTER)
def tensor_scatter(rng: np.random.Generator) -> Case:
    lead = dims(rng, 1, 3, 4)
    depth = len(lead)
    inner = tuple(int(v) for v in rng.integers(2, 5, int(rng.integers(0, 3))))
    outer = dims(rng, depth, depth, 5)
    indices = np.stack([ints(rng, 0, n, *lead) for n in outer], -1)
    shapes = [outer + inner, lead + inner]
    is_int = bool(rng.random() < 0.4)
    tensors = [ints(rng, -99, 99, *s) if is_int else floats(rng, *s) for s in shapes]
    dtype = CpuDType.I32 if is_int else CpuDType.F32
    param = TensorScatterParam(dtype, int(rng.integers(0, 6)))
    return Case(param, [tensors[0], indices, tensors[1]], [shapes[0]])


@case_maker(CpuOp.INDEX_PUT)
def index_put(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 4)
    count = int(rng.integers(1, 7))
    index = ints(rng, 0, shape[0], count)
    values = floats(rng, count, *shape[1:])
    param = IndexPutParam(1, int(rng.integers(0, 2)))
    return Case(param, [floats(rng, *shape), index, values], [shape])
