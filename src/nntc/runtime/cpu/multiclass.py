"""Non-maximum suppression over classes: Paddle's two kinds and MXNet's box_nms."""

from __future__ import annotations

import math

import numpy as np

from nntc.bmodel.cpu_ops import (
    BoxFormat,
    BoxNmsParam,
    CpuOp,
    MatrixNmsParam,
    MulticlassNmsParam,
)
from nntc.runtime.cpu import arith
from nntc.runtime.cpu.arith import f32
from nntc.runtime.cpu.compiled import kernel
from nntc.runtime.cpu.ordering import partial_sort_order, sort_order
from nntc.runtime.cpu.overlap import paddle_keep, paddle_overlap
from nntc.runtime.cpu.registry import Call, Output, Padded, layer


def _boxes_and_scores(
    call: Call[MulticlassNmsParam] | Call[MatrixNmsParam],
) -> tuple[np.ndarray, np.ndarray]:
    call.rank(0, 3)
    call.rank(1, 3)
    boxes, scores = call.inputs
    call.require(
        boxes.shape[:2] == (scores.shape[0], scores.shape[2]) and boxes.shape[2] >= 4,
        f"boxes {boxes.shape} for scores {scores.shape}",
    )
    return boxes, scores


@layer(
    CpuOp.MULTICLASS_NMS,
    "Paddle multiclass_nms: rows (label, score, box…); then, by their number, int32 box indices, "
    "rows per image (has_output_nms_num) and the starts of the images (has_batch); declared "
    "buffers are cleared first; nothing found without indices gives one row that starts with -1",
    "boxes:f32 scores:f32",
    "detections:f32 indices:i32? counts:i32? starts:i32?",
)
def multiclass_nms(call: Call[MulticlassNmsParam]) -> list[Output]:
    param = call.param
    boxes, scores = _boxes_and_scores(call)
    wanted = call.output_count(1 + param.has_output_nms_num * 2 + param.has_batch)
    indexed = wanted > 1 + param.has_batch
    call.require(
        not param.has_output_nms_num or wanted >= 3 + param.has_batch,
        f"counts are the third of {3 + param.has_batch} outputs, {wanted} are declared",
    )
    rows: list[np.ndarray] = []
    indices: list[np.ndarray] = []
    starts = [0]
    for image, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        found = _classes(param, box, score)
        for label, numbers in found:
            labels = np.full((len(numbers), 1), label, np.float32)
            rows.append(np.concatenate([labels, score[label, numbers, None], box[numbers]], -1))
            indices.append(numbers + image * boxes.shape[1])
        starts.append(starts[-1] + sum(len(numbers) for _, numbers in found))
    width = boxes.shape[2] + 2
    table = np.concatenate([np.zeros((0, width), np.float32), *rows])
    places = np.concatenate([np.zeros(0, np.int64), *indices]).astype(np.int32)
    outputs: list[Output] = []
    if len(table):
        outputs.append(_cleared(call, 0, table, (len(table), width)))
        reported = len(table)
    elif indexed:
        outputs.append(_cleared(call, 0, table, (0, width)))
        reported = 1
    else:
        outputs.append(_cleared(call, 0, np.full(1, -1, np.float32), (1, width)))
        reported, starts = 1, [0, 1]
    if indexed:
        outputs.append(_cleared(call, 1, places, (reported, 1)))
    if param.has_output_nms_num:
        counts = np.diff(starts).astype(np.int32)
        outputs.append(_counts(call, counts, scores.shape[0]))
    if param.has_batch:
        outputs.append(np.array(starts, np.int32))
    return outputs


def _cleared(
    call: Call[MulticlassNmsParam], index: int, data: np.ndarray, shape: tuple[int, ...]
) -> Padded:
    """An output whose declared buffer is zero around what is written."""
    size = max(math.prod(shape), data.size)
    if call.output_shapes is not None:
        declared = call.output_shapes[index]
        call.room(index, (data.size,))
        size = max(math.prod(declared), data.size)
        # Only the first dimension is set when something is found.
        shape = (shape[0], *declared[1:]) if len(declared) > 1 else shape[:1]
    whole = np.zeros(size, data.dtype)
    whole[: data.size] = data.reshape(-1)
    return Padded(whole, shape)


def _counts(call: Call[MulticlassNmsParam], counts: np.ndarray, images: int) -> np.ndarray:
    size = images if call.output_shapes is None else math.prod(call.output_shapes[2])
    call.require(len(counts) <= size, f"counts of {len(counts)} images do not fit {size}")
    whole = np.full(size, images, np.int32)
    whole[: len(counts)] = counts
    return call.declared(2, whole)


def _classes(
    param: MulticlassNmsParam, boxes: np.ndarray, scores: np.ndarray
) -> list[tuple[int, np.ndarray]]:
    """Label and box numbers of each class of one image, cut to keep_top_k."""
    extra = f32(0 if param.normalized else 1)
    found: list[tuple[int, np.ndarray]] = []
    for label, column in enumerate(scores):
        if label == param.background_label:
            continue
        candidates = np.flatnonzero(column > f32(param.score_threshold))
        order = candidates[sort_order(column[candidates], descending=True)]
        if param.nms_top_k > -1:
            order = order[: param.nms_top_k]
        kept = paddle_keep(
            boxes,
            order,
            f32(param.nms_threshold),
            f32(param.nms_eta),
            extra,
            boxes.shape[1] == 4,
        )
        found.append((label, kept))
    total = sum(len(numbers) for _, numbers in found)
    if not -1 < param.keep_top_k < total:
        return found
    labels = np.concatenate([np.full(len(numbers), label) for label, numbers in found])
    numbers = np.concatenate([numbers for _, numbers in found])
    best = sort_order(scores[labels, numbers], descending=True)[: param.keep_top_k]
    return [(label, numbers[best][labels[best] == label]) for label, _ in found]


@layer(
    CpuOp.MATRIX_NMS,
    "Paddle matrix_nms: rows (label, decayed score, box…) and int32 box indices; then rows per "
    "image (has_output_nms_num) and, if declared, the starts of the images",
    "boxes:f32 scores:f32",
    "detections:f32 indices:i32 counts:i32? starts:i32?",
)
def matrix_nms(call: Call[MatrixNmsParam]) -> list[Output]:
    param = call.param
    boxes, scores = _boxes_and_scores(call)
    least = 2 + param.has_output_nms_num
    wanted = call.output_count(least)
    call.require(wanted in (least, least + 1), f"{wanted} outputs declared, needs {least} or more")
    rows: list[np.ndarray] = []
    indices: list[np.ndarray] = []
    counts: list[int] = []
    for image, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        table, numbers = _matrix_image(param, box, score)
        rows.append(table)
        indices.append(numbers + image * boxes.shape[1])
        counts.append(len(numbers))
    result = np.concatenate([np.zeros((0, boxes.shape[2] + 2), np.float32), *rows])
    places = np.concatenate([np.zeros(0, np.int64), *indices]).astype(np.int32)
    call.room(0, result.shape)
    outputs: list[Output] = [result, places[:, None]]
    if param.has_output_nms_num:
        outputs.append(np.array(counts, np.int32))
    if wanted > least:
        outputs.append(np.cumsum([0, *counts]).astype(np.int32))
    return outputs


def _matrix_image(
    param: MatrixNmsParam, boxes: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    numbers: list[np.ndarray] = [np.zeros(0, np.int64)]
    decayed: list[np.ndarray] = [np.zeros(0, np.float32)]
    labels: list[np.ndarray] = [np.zeros(0)]
    extra = f32(0 if param.normalized else 1)
    for label, column in enumerate(scores):
        if label == param.background_label:
            continue
        candidates = np.flatnonzero(~(column <= f32(param.score_threshold)))
        keys = column[candidates]
        count = len(candidates)
        if -1 < param.nms_top_k < count:
            count = param.nms_top_k
        order = candidates[partial_sort_order(keys, count, descending=True)]
        if not count:
            continue
        iou = _overlaps(boxes, order, extra)
        score = _decay(param, iou) * column[order]
        score[0] = column[order[0]]
        keep = ~(score <= f32(param.post_threshold))
        numbers.append(order[keep])
        decayed.append(score[keep])
        labels.append(np.full(int(keep.sum()), label))
    number, score, kind = np.concatenate(numbers), np.concatenate(decayed), np.concatenate(labels)
    count = len(number)
    if -1 < param.keep_top_k < count:
        count = param.keep_top_k
    best = partial_sort_order(score, count, descending=True)
    head = np.stack([kind[best].astype(np.float32), score[best]], -1)
    table = np.concatenate([head, boxes[number[best]]], -1).astype(np.float32)
    return table, number[best]


def _decay(param: MatrixNmsParam, iou: np.ndarray) -> np.ndarray:
    """The least decay of each box by the boxes before it; *iou* is the lower triangle."""
    most = np.fmax.reduce(iou, axis=1, initial=f32(0))
    if param.use_gaussian:
        decay = arith.exp((most * most - iou * iou) * f32(param.gaussian_sigma))
    else:
        wide = (1.0 - iou.astype(np.float64)) / (1.0 - most.astype(np.float64))
        decay = wide.astype(np.float32)
    before = np.tri(len(iou), k=-1, dtype=bool)
    return np.fmin.reduce(np.where(before, decay, f32(1)), axis=1, initial=f32(1))


@kernel
def _overlaps(boxes: np.ndarray, order: np.ndarray, extra: np.float32) -> np.ndarray:
    iou = np.zeros((len(order), len(order)), np.float32)
    for i in range(len(order)):
        for j in range(i):
            iou[i, j] = paddle_overlap(boxes[order[i]], boxes[order[j]], extra)
    return iou


@layer(
    CpuOp.BOXNMS,
    "MXNet box_nms: rows kept move to the front of their batch, the rest is -1; with center "
    "boxes the overlap uses half sizes truncated to integers, as the maker's layer does",
    "rows:f32",
    "kept:f32",
)
def box_nms(call: Call[BoxNmsParam]) -> list[Output]:
    param, x = call.param, call.inputs[0]
    call.require(x.ndim >= 2, f"input {x.shape} needs 2 dimensions at least")
    count, width = x.shape[-2:]
    call.require(
        0 <= param.coord_start <= width - 4
        and 0 <= param.score_index < width
        and param.id_index < width,
        f"columns {param.coord_start}, {param.score_index}, {param.id_index} of {width}",
    )
    rows = x.reshape(-1, width)
    result = np.full_like(rows, -1)
    score = rows[:, param.score_index]
    valid = score > f32(param.valid_thresh)
    if param.id_index >= 0:
        valid &= rows[:, param.id_index] != f32(param.background_id)
    chosen = np.flatnonzero(valid)
    if not len(chosen):
        return [call.declared(0, result.reshape(x.shape))]
    # The maker's layer sorts a list as long as the input, whose unused rest is row 0 with score
    # 0; it comes before rows with negative scores.
    numbers, keys = np.zeros((2, len(rows)))
    numbers[: len(chosen)], keys[: len(chosen)] = chosen, score[chosen]
    order = np.argsort(-keys, kind="stable")[: len(chosen)]
    numbers = numbers[order].astype(np.int64)
    numbers = numbers[np.argsort(numbers // count, kind="stable")]
    limit = count if param.topk < 0 else min(param.topk, count)
    for batch in range(len(rows) // count):
        own = numbers[numbers // count == batch][:limit]
        kept = own[_mx_keep(rows[own], param)]
        result[batch * count : batch * count + len(kept)] = rows[kept]
    _convert(result, param)
    return [result.reshape(x.shape)]


def _mx_keep(rows: np.ndarray, param: BoxNmsParam) -> np.ndarray:
    """Which of one batch's rows, best first, are kept."""
    boxes = rows[:, param.coord_start : param.coord_start + 4]
    center = param.in_format == BoxFormat.CENTER
    size = boxes[:, 2:] if center else boxes[:, 2:] - boxes[:, :2]
    area = np.where((size < 0).any(axis=1), f32(0), size[:, 1] * size[:, 0])
    low, high = boxes[:, :2], boxes[:, 2:]
    if center:
        half = arith.to_int(boxes[:, 2:] / f32(2)).astype(np.float32)
        low, high = boxes[:, :2] - half, boxes[:, :2] + half
    ids = None
    if not param.force_suppress and param.id_index >= 0:
        ids = arith.to_int(rows[:, param.id_index])
    keep = np.ones(len(rows), bool)
    for i in range(len(rows)):
        if not keep[i]:
            continue
        near, far = np.maximum(low[i], low[i + 1 :]), np.minimum(high[i], high[i + 1 :])
        apart = (near > far).any(axis=1)
        side = far - near
        inter = np.where(apart, f32(0), side[:, 0] * side[:, 1])
        gone = inter / (area[i] + area[i + 1 :] - inter) > f32(param.overlap_thresh)
        if ids is not None:
            gone &= ids[i + 1 :] == ids[i]
        keep[i + 1 :] &= ~gone
    return keep


def _convert(result: np.ndarray, param: BoxNmsParam) -> None:
    """Change rows between corner and center boxes, in double; rows with x below 0 are left."""
    if param.in_format == param.out_format:
        return
    at = param.coord_start
    rows = np.flatnonzero(~(result[:, at] < 0))
    boxes = result[rows, at : at + 4]
    a, b = boxes[:, :2], boxes[:, 2:]
    if param.in_format == BoxFormat.CORNER:
        new = np.concatenate([(a + b).astype(np.float64) * 0.5, b - a], -1)
    else:
        half = (b.astype(np.float64) * 0.5).astype(np.float32)
        new = np.concatenate([a - half, a + half], -1)
    result[rows, at : at + 4] = new.astype(np.float32)
