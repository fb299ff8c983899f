"""Layers that pick elements by index: gathers, embeddings, advanced indexing."""

from __future__ import annotations

import numpy as np

from nntc.bmodel.cpu_ops import (
    MAX_DIMS,
    CpuDType,
    CpuOp,
    EmbeddingBagParam,
    EmbeddingMode,
    EmbeddingParam,
    FullIndexParam,
    GatherNdParam,
    GatherParam,
    IndexType,
    PytorchIndexParam,
)
from nntc.runtime.cpu.registry import Call, Output, layer


@layer(
    CpuOp.GATHER,
    "slices along an axis; the elements are written index by index, so for axis > 0 with leading "
    "dimensions over 1 they are not in the order of the shape",
    "data:any indices:i32",
    "result:any",
)
def gather(call: Call[GatherParam]) -> list[Output]:
    data, indices = call.inputs[0], call.ints(1)
    axis = call.param.axis + (data.ndim if call.param.axis < 0 else 0)
    call.require(0 <= axis < data.ndim, f"axis {call.param.axis} of {data.ndim} dimensions")
    call.in_range(indices, data.shape[axis], "index")
    shape = call.room(0, data.shape[:axis] + indices.shape + data.shape[axis + 1 :])
    lead = int(np.prod(data.shape[:axis], dtype=np.int64))
    blocks = data.reshape(lead, data.shape[axis], _size(data.shape[axis + 1 :]))
    picked = blocks[:, indices.reshape(-1)]
    # The maker's layer takes the leading dimensions inside the index, whatever the shape says.
    return [np.ascontiguousarray(picked.swapaxes(0, 1)).reshape(shape)]


@layer(
    CpuOp.GATHERND,
    "GatherND with the index tuples in columns (MXNet); indices are floats unless indice_is_int",
    "data:any indices:any",
    "result:any",
)
def gathernd(call: Call[GatherNdParam]) -> list[Output]:
    data = call.inputs[0]
    call.rank(1, 2)
    indices = call.ints(1)
    if not call.param.indice_is_int:
        call.require(np.isfinite(call.inputs[1]).all(), "an index is not a finite number")
        indices = np.trunc(call.inputs[1]).astype(np.int64)
    depth = indices.shape[0]
    call.require(1 <= depth <= data.ndim, f"{depth} indices for data of {data.ndim} dimensions")
    inner = _size(data.shape[depth:])
    steps = np.array([_size(data.shape[i + 1 :]) for i in range(depth)], np.int64)
    starts = (indices.astype(np.int64) * steps[:, None]).sum(axis=0)
    return [_blocks(call, data, starts, inner, (indices.shape[1], *data.shape[depth:]))]


@layer(
    CpuOp.GATHERND_TF,
    "GatherND with the index tuples in rows (TensorFlow, ONNX); with batch_dims > 0 right for "
    "tuples of one index, or equal sizes",
    "data:any indices:i32",
    "result:any",
)
def gathernd_tf(call: Call[GatherNdParam]) -> list[Output]:
    data, indices, batch_dims = call.inputs[0], call.ints(1), call.param.batch_dims
    call.require(indices.ndim >= 1, "the indices have no dimensions")
    depth = indices.shape[-1]
    call.require(
        0 <= batch_dims < indices.ndim and depth >= 1 and depth + batch_dims <= data.ndim,
        f"{depth} indices and batch_dims {batch_dims} for data of {data.ndim} dimensions",
    )
    shape = indices.shape[:-1] + data.shape[depth + batch_dims :]
    inner = _size(data.shape[depth + batch_dims :])
    # Steps within the tuple come from data.shape[1:] even when batch dimensions stand before.
    steps = np.array([_size(data.shape[i + 1 : depth]) for i in range(depth)], np.int64) * inner
    starts = (indices.reshape(-1, depth).astype(np.int64) * steps).sum(axis=1)
    batches = _size(indices.shape[:batch_dims])
    starts = starts.reshape(batches, -1) if batches else starts.reshape(0, 0)
    starts += np.arange(batches)[:, None] * _size(data.shape[batch_dims:])
    return [_blocks(call, data, starts.reshape(-1), inner, shape)]


@layer(
    CpuOp.GATHER_PT,
    "torch.gather (ONNX GatherElements) of 1 to 4 dimensions",
    "data:any indices:i32",
    "result:any",
)
def gather_pt(call: Call[GatherParam]) -> list[Output]:
    data, indices = call.inputs[0], call.ints(1)
    call.rank(0, 1, 2, 3, 4)
    call.rank(1, data.ndim)
    axis = 0 if data.ndim == 1 else call.param.axis
    call.require(0 <= axis < data.ndim, f"axis {axis} of {data.ndim} dimensions")
    call.in_range(indices, data.shape[axis], "index")
    for other in range(data.ndim):
        call.require(
            other == axis or indices.shape[other] <= data.shape[other],
            f"indices {indices.shape} are larger than data {data.shape} in dimension {other}",
        )
    places = list(np.ix_(*(np.arange(n) for n in indices.shape)))
    places[axis] = indices
    return [data[tuple(places)]]


@layer(
    CpuOp.EMBEDDING,
    "rows of a table by int32 ids; the padding index is not used",
    "ids:i32 table:any",
    "rows:any",
)
def embedding(call: Call[EmbeddingParam]) -> list[Output]:
    call.rank(1, 2)
    ids, table = call.ints(0), call.inputs[1]
    call.in_range(ids, table.shape[0], "id")
    call.room(0, (*ids.shape, table.shape[1]))
    return [table[ids]]


@layer(
    CpuOp.EMBEDDING_BAG,
    "sum, mean or maximum over bags of table rows; ids from num_embeddings up count as rows of "
    "zeros; an empty bag's row is not written",
    "table:f32 ids:i32 offsets:i32",
    "bags:f32",
)
def embedding_bag(call: Call[EmbeddingBagParam]) -> list[Output]:
    call.rank(1, 1)
    call.rank(2, 1)
    param, ids, offsets = call.param, call.ints(1), call.ints(2)
    width = param.embedding_dim
    call.require(width >= 0, f"embedding_dim {width}")
    rows = call.inputs[0].reshape(-1)
    rows = rows[: rows.size // max(width, 1) * max(width, 1)].reshape(-1, max(width, 1))[:, :width]
    known = np.minimum(ids, param.num_embeddings)
    call.require((ids >= 0).all(), "a negative id")
    call.require(
        (known[ids < param.num_embeddings] < len(rows)).all(), f"an id is not in {len(rows)} rows"
    )
    ends = np.append(offsets, ids.size)[1:]
    call.require((offsets >= 0).all() and (ends <= ids.size).all(), "an offset beyond the ids")
    result = np.zeros(call.room(0, (len(offsets), width)), np.float32)
    # A step of this loop costs as much as some hundred steps of a compiled one.
    call.work(int(np.maximum(ends - offsets, 0).sum()) * 256, "bags that overlap")
    for bag, (first, end) in enumerate(zip(offsets, ends, strict=True)):
        for at in range(first, end):
            valid = ids[at] < param.num_embeddings
            row = rows[ids[at]] if valid else np.zeros(width, np.float32)
            if at == first:
                result[bag] = row
            elif param.mode == EmbeddingMode.MAX:
                result[bag] = np.where(result[bag] < row, row, result[bag])
            elif valid:
                result[bag] += row
        if param.mode == EmbeddingMode.MEAN and end - first > 1:
            result[bag] /= np.float32(end - first)
    return [call.declared(0, result)]


@layer(
    CpuOp.PYTORCH_INDEX,
    "x[:, i, j]: axes start to end - 1 indexed together by 1-D int32 tensors",
    "data:any indices:i32*",
    "result:any",
)
def pytorch_index(call: Call[PytorchIndexParam]) -> list[Output]:
    data, start, end = call.inputs[0], call.param.start, call.param.end
    call.require(0 <= start < end <= data.ndim, f"axes {start}..{end} of {data.ndim} dimensions")
    call.require(len(call.inputs) == end - start + 1, f"needs {end - start} index inputs")
    indices = [call.ints(1 + i).reshape(-1) for i in range(end - start)]
    count = len(indices[0])
    for axis, index in enumerate(indices, start):
        call.require(len(index) >= count, f"index input {axis - start + 1} is shorter than others")
        call.in_range(index[:count], data.shape[axis], f"axis {axis}: index")
    call.room(0, (*data.shape[:start], count, *data.shape[end:]))
    lead = data.reshape(_size(data.shape[:start]), *data.shape[start:])
    picked = lead[(slice(None), *(index[:count] for index in indices))]
    return [picked.reshape(*data.shape[:start], count, *data.shape[end:])]


@layer(
    CpuOp.FULL_INDEX,
    "tensor indexing: axes of type NONE are kept whole, axes of type TENSOR are indexed together "
    "by int32 inputs (NumPy's rules for the place of the result's axes)",
    "data:any indices:i32*",
    "result:any",
)
def full_index(call: Call[FullIndexParam]) -> list[Output]:
    data, param = call.inputs[0], call.param
    word_types = (CpuDType.F32, CpuDType.I32, CpuDType.U32)
    call.require(param.dtype in word_types, f"element type {param.dtype}, needs 0, 6 or 7")
    call.require(0 <= param.count <= min(data.ndim, MAX_DIMS), f"{param.count} axes")
    places: list[slice | np.ndarray] = []
    for axis in range(param.count):
        kind, number = param.info[5 * axis], param.info[5 * axis + 1]
        if kind == IndexType.NONE:
            places.append(slice(None))
            continue
        call.require(kind == IndexType.TENSOR, f"axis {axis}: index type {kind} is not 0 or 5")
        call.require(1 <= number < len(call.inputs), f"axis {axis}: index input {number}")
        call.in_range(call.ints(number), data.shape[axis], f"axis {axis}: index")
        places.append(call.ints(number))
    tensors = [p for p in places if isinstance(p, np.ndarray)]
    call.require(tensors, "no axis is indexed by a tensor")
    kept = [data.shape[i] for i, p in enumerate(places) if isinstance(p, slice)]
    shapes = [t.shape for t in tensors]
    try:
        joint = np.broadcast_shapes(*shapes)
    except ValueError:
        raise call.error(f"index inputs {shapes} do not broadcast") from None
    call.room(0, (*joint, *kept, *data.shape[param.count :]))
    return [data[tuple(places)]]


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _blocks(
    call: Call[GatherNdParam],
    data: np.ndarray,
    starts: np.ndarray,
    inner: int,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Runs of *inner* elements of the flat data from each start.

    Only the flat place is checked, as an index beyond its axis reads its neighbour there too.
    """
    made = call.room(0, shape)
    call.in_range(starts, data.size - inner + 1, "place of index tuple in the data:")
    return data.reshape(-1)[starts[:, None] + np.arange(inner)].reshape(made)
