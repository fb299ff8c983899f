"""Layers whose output depends on which elements are set, and re-orderings along an axis."""

from __future__ import annotations

import math

import numpy as np

from nntc.bmodel.cpu_ops import (
    CpuOp,
    MaskedSelectParam,
    RepeatInterleaveParam,
    ReverseSequenceParam,
    WhereParam,
    WhereSqueezeGatherParam,
)
from nntc.runtime.cpu.registry import WORD_LIMIT, Call, Output, Padded, layer


@layer(
    CpuOp.WHERE,
    "coordinates of the elements that are not 0.0, one row each; 1 to 5 dimensions; the rest of "
    "the buffer is filled with -1",
    "x:f32",
    "coordinates:i32",
)
def where(call: Call[WhereParam]) -> list[Output]:
    x = call.inputs[0]
    call.rank(0, 1, 2, 3, 4, 5)
    call.room(0, (x.size, x.ndim))
    found = np.argwhere(x != 0).astype(np.int32)
    data = np.full(x.size * x.ndim, -1, np.int32)
    data[: found.size] = found.reshape(-1)
    return [Padded(data, found.shape)]


@layer(
    CpuOp.MASKED_SELECT,
    "elements where the mask is not 0.0; shapes are aligned at their last axes, or at the first "
    "with bcast_from_begin; sizes other than 1 repeat cyclically",
    "x:any mask:f32",
    "selected:any",
)
def masked_select(call: Call[MaskedSelectParam]) -> list[Output]:
    x, mask = call.inputs
    if x.ndim == 0 or mask.ndim == 0:
        return [np.zeros(0, np.float32)]
    rank = max(x.ndim, mask.ndim)

    def aligned(array: np.ndarray) -> np.ndarray:
        ones = (1,) * (rank - array.ndim)
        from_begin = call.param.bcast_from_begin
        return array.reshape(array.shape + ones if from_begin else ones + array.shape)

    a, m = aligned(x), aligned(mask)
    shape = [max(p, q) for p, q in zip(a.shape, m.shape, strict=True)]
    if 0 in a.shape + m.shape:
        return [np.zeros(0, np.float32)]
    call.require(math.prod(shape) <= WORD_LIMIT, f"{x.shape} and {mask.shape} broadcast to {shape}")
    chosen = m[np.ix_(*(np.arange(n) % s for n, s in zip(shape, m.shape, strict=True)))] != 0
    spread = a[np.ix_(*(np.arange(n) % s for n, s in zip(shape, a.shape, strict=True)))]
    call.room(0, (int(chosen.sum()),))
    return [spread[chosen]]


@layer(
    CpuOp.WHERE_SQUEEZE_GATHER,
    "of each table the slices along its axis where the mask, the last input, is not 0.0",
    "tables:any*",
    "results:any*",
)
def where_squeeze_gather(call: Call[WhereSqueezeGatherParam]) -> list[Output]:
    call.require(2 <= len(call.inputs) <= 9, f"{len(call.inputs)} inputs, needs 2 to 9")
    mask, tables = call.inputs[-1], call.inputs[:-1]
    call.require(mask.ndim >= 1, "the mask has no dimensions")
    chosen = np.flatnonzero(mask.reshape(-1)[: mask.shape[0]])
    outputs: list[Output] = []
    for number, (table, axis) in enumerate(zip(tables, call.param.axes, strict=False)):
        at = axis + (table.ndim if axis < 0 else 0)
        call.require(0 <= at < table.ndim, f"table {number}: axis {axis} of {table.ndim}")
        call.in_range(chosen, table.shape[at], f"table {number}: index")
        outputs.append(np.take(table, chosen, axis=at))
    return outputs


@layer(
    CpuOp.REVERSE_SEQUENCE,
    "the first lengths[b] elements along seq_dim reversed for each b of batch_dim",
    "x:any lengths:i32",
    "result:any",
)
def reverse_sequence(call: Call[ReverseSequenceParam]) -> list[Output]:
    x, lengths = call.inputs[0], call.ints(1).reshape(-1)
    seq, batch = call.param.seq_dim, call.param.batch_dim
    call.require(
        seq != batch and 0 <= seq < x.ndim and 0 <= batch < x.ndim,
        f"seq_dim {seq} and batch_dim {batch} of {x.ndim} dimensions",
    )
    call.rank(1, *range(1, 9))
    call.require(call.inputs[1].shape[0] == x.shape[batch], "not one length per batch element")
    call.in_range(lengths, x.shape[seq] + 1, "length")
    result = x.copy()
    source, target = np.moveaxis(x, (batch, seq), (0, 1)), np.moveaxis(result, (batch, seq), (0, 1))
    for b in range(x.shape[batch]):
        target[b, : lengths[b]] = source[b, : lengths[b]][::-1]
    return [call.declared(0, result)]


@layer(
    CpuOp.REPEAT_INTERLEAVE,
    "torch.repeat_interleave along dim; a declared output that is longer is written in part",
    "x:any repeats:i32",
    "result:any",
)
def repeat_interleave(call: Call[RepeatInterleaveParam]) -> list[Output]:
    x, repeats, dim = call.inputs[0], call.ints(1).reshape(-1), call.param.dim
    call.require(0 <= dim < x.ndim, f"dim {dim} of {x.ndim} dimensions")
    call.require(len(repeats) >= x.shape[dim], "fewer repeats than elements")
    repeats = repeats[: x.shape[dim]].astype(np.int64)
    call.require((repeats >= 0).all(), "a negative repeat")
    total = int(repeats.sum())
    call.room(0, (*x.shape[:dim], total, *x.shape[dim + 1 :]))
    result = np.repeat(x, repeats, axis=dim)
    declared = None if call.output_shapes is None else call.output_shapes[0]
    if declared is None or declared == result.shape:
        return [result]
    call.require(
        len(declared) == x.ndim
        and all(
            a == b or i == dim for i, (a, b) in enumerate(zip(declared, result.shape, strict=True))
        )
        and total <= declared[dim],
        f"{result.shape} does not fit the declared output {declared}",
    )
    whole = np.zeros(declared, x.dtype)
    whole[tuple(slice(n) for n in result.shape)] = result
    return [whole]
