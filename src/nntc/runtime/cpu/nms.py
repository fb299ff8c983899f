"""Non-maximum suppression as TensorFlow and ONNX have it: corner boxes in any corner order."""

from __future__ import annotations

import math

import numpy as np

from nntc.bmodel.cpu_ops import CpuOp, NmsParam, OnnxNmsParam, TfNmsV5Param
from nntc.runtime.cpu.compiled import kernel
from nntc.runtime.cpu.ordering import heap_pop, heap_push, queue_order
from nntc.runtime.cpu.registry import Call, Output, Padded, layer


@layer(
    CpuOp.ONNX_NMS,
    "ONNX NonMaxSuppression: rows (batch, class, box) of the boxes kept; limit, IoU and score "
    "thresholds are inputs 2 to 4, each 0 if absent (so without input 2 nothing is kept); only "
    "corner boxes",
    "boxes:f32 scores:f32 max_output:i32? iou_threshold:f32? score_threshold:f32?",
    "selected:i32",
)
def onnx_nms(call: Call[OnnxNmsParam]) -> list[Output]:
    call.require(call.param.center_point_box == 0, "center_point_box is not 0")
    call.rank(0, 3)
    call.rank(1, 3)
    boxes, scores = call.inputs[0], call.inputs[1]
    batches, classes, count = scores.shape
    call.require(
        boxes.shape == (batches, count, 4), f"boxes {boxes.shape} for scores {scores.shape}"
    )
    scalars = [_scalar(call, i) for i in range(2, len(call.inputs))] + [np.float32(0)] * 3
    limit = int(scalars[0].view(np.int32))
    limit = count if limit > count or limit < 0 else limit
    rows: list[np.ndarray] = []
    for n in range(batches):
        for c in range(classes):
            candidates = np.flatnonzero(scores[n, c] > scalars[2])
            order = candidates[queue_order(scores[n, c][candidates])]
            kept = _greedy(boxes[n], order, limit, scalars[1])
            rows.append(np.stack([np.full(len(kept), n), np.full(len(kept), c), kept], -1))
    found = np.concatenate(rows).astype(np.int32) if rows else np.zeros((0, 3), np.int32)
    call.room(0, found.shape)
    return [found]


@layer(
    CpuOp.NMS,
    "indices of the boxes kept; the limit is input 2, without it all boxes; a box of no area may "
    "be given several times, as the maker's layer does",
    "boxes:f32 scores:f32 max_output:i32?",
    "selected:i32",
)
def nms(call: Call[NmsParam]) -> list[Output]:
    param = call.param
    call.require(0 <= param.iou_threshold <= 1, f"iou_threshold {param.iou_threshold}")
    call.rank(0, 2)
    limit = call.inputs[0].shape[0]
    if len(call.inputs) > 2:
        limit = int(_scalar(call, 2).view(np.int32))
    picked, _ = _soft_nms(call, limit, param.iou_threshold, param.score_threshold, 0.0)
    return [picked]


@layer(
    CpuOp.TF_NMS_V5,
    "TensorFlow's NonMaxSuppressionV5: indices and (soft-NMS) scores; padded with zeros to the "
    "limit, input 2, if pad_to_max_output_size",
    "boxes:f32 scores:f32 max_output:i32",
    "selected:i32 scores:f32",
)
def tf_nms_v5(call: Call[TfNmsV5Param]) -> list[Output]:
    param = call.param
    limit = int(_scalar(call, 2).view(np.int32))
    sigma = np.float32(param.soft_nms_sigma)
    scale = float(np.float32(-0.5) / sigma) if sigma > 0 else 0.0
    picked, scores = _soft_nms(call, limit, param.iou_threshold, param.score_threshold, scale)
    if not param.pad_to_max_output_size:
        return [picked, scores]
    shape = call.room(0, (limit,))
    padded = [np.zeros(limit, np.int32), np.zeros(limit, np.float32)]
    for whole, part in zip(padded, (picked, scores), strict=True):
        whole[: len(part)] = part
    return [Padded(a, shape) for a in padded]


def _scalar(
    call: Call[NmsParam] | Call[OnnxNmsParam] | Call[TfNmsV5Param], index: int
) -> np.float32:
    call.require(call.inputs[index].size, f"input {index} is empty")
    return call.inputs[index].reshape(-1)[0]


def _soft_nms(
    call: Call[NmsParam] | Call[TfNmsV5Param],
    limit: int,
    iou_threshold: float,
    score_threshold: float,
    scale: float,
) -> tuple[np.ndarray, np.ndarray]:
    call.rank(0, 2)
    boxes, scores = call.inputs[0], call.inputs[1].reshape(-1)
    call.require(boxes.shape[1] == 4, f"boxes {boxes.shape}, needs 4 coordinates")
    call.require(len(scores) == len(boxes), f"{len(scores)} scores for {len(boxes)} boxes")
    # A negative limit compares as a huge unsigned number in the maker's layer.
    limit = len(boxes) if limit < 0 else limit
    room = max(len(boxes), 1 if call.output_shapes is None else math.prod(call.output_shapes[0]))
    picked, kept, full = _queue_nms(
        boxes,
        scores,
        min(limit, room + 1),
        np.float32(iou_threshold),
        np.float32(score_threshold),
        np.float32(scale),
    )
    call.require(not full or len(picked) >= limit, "boxes of no area are selected without end")
    call.room(0, picked.shape)
    return picked, kept


@kernel
def _iou(boxes: np.ndarray, i: int, j: int) -> np.float32:
    """Intersection over union in f32; 0 for boxes of no area or without overlap."""
    zero = np.float32(0)
    ymin_i, ymax_i = min(boxes[i, 0], boxes[i, 2]), max(boxes[i, 0], boxes[i, 2])
    xmin_i, xmax_i = min(boxes[i, 1], boxes[i, 3]), max(boxes[i, 1], boxes[i, 3])
    ymin_j, ymax_j = min(boxes[j, 0], boxes[j, 2]), max(boxes[j, 0], boxes[j, 2])
    xmin_j, xmax_j = min(boxes[j, 1], boxes[j, 3]), max(boxes[j, 1], boxes[j, 3])
    area_i = (ymax_i - ymin_i) * (xmax_i - xmin_i)
    area_j = (ymax_j - ymin_j) * (xmax_j - xmin_j)
    if area_i <= zero or area_j <= zero:
        return zero
    height = min(ymax_i, ymax_j) - max(ymin_i, ymin_j)
    width = min(xmax_i, xmax_j) - max(xmin_i, xmin_j)
    if not (height > zero and width > zero):
        return zero
    inter = height * width
    return inter / (area_i + area_j - inter)


@kernel
def _greedy(boxes: np.ndarray, order: np.ndarray, limit: int, threshold: np.float32) -> np.ndarray:
    kept = np.zeros(min(limit, len(order)), np.int64)
    count = 0
    for candidate in order:
        if count >= limit:
            break
        keep = True
        for i in range(count - 1, -1, -1):
            iou = _iou(boxes, candidate, kept[i])
            if iou > threshold and iou != np.float32(0):
                keep = False
                break
        if keep:
            kept[count] = candidate
            count += 1
    return kept[:count]


@kernel
def _queue_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    limit: int,
    iou_threshold: np.float32,
    score_threshold: np.float32,
    scale: np.float32,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """NMS over a max-heap of candidates whose scores may decay.

    A selected box goes back into the queue, where its overlap with itself removes it, unless
    its overlap is 0 because it has no area.

    Returns the indices, their scores, and whether *limit* ended it.
    """
    heap = np.zeros(len(scores), np.int64)
    score = scores.copy()
    begin = np.zeros(len(scores), np.int64)
    size = 0
    for i in range(len(scores)):
        if scores[i] > score_threshold:
            heap_push(heap, size, i, score)
            size += 1
    picked = np.zeros(limit, np.int32)
    kept = np.zeros(limit, np.float32)
    count = 0
    while count < limit and size > 0:
        top = heap_pop(heap, size, score)
        size -= 1
        original = score[top]
        dropped = False
        for i in range(count - 1, begin[top] - 1, -1):
            iou = _iou(boxes, top, picked[i])
            if iou <= iou_threshold:
                score[top] *= np.float32(math.exp(scale * iou * iou))
            else:
                score[top] *= np.float32(0)
            if iou >= iou_threshold:
                dropped = True
                break
            if score[top] <= score_threshold:
                break
        begin[top] = count
        if not dropped:
            if score[top] == original:
                picked[count] = top
                kept[count] = score[top]
                count += 1
            if score[top] > score_threshold:
                heap_push(heap, size, top, score)
                size += 1
    return picked[:count], kept[:count], count >= limit and size > 0
