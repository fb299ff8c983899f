"""SSD detection output, as Caffe has it, and Anakin's variant."""

from __future__ import annotations

import math

import numpy as np

from nntc.bmodel.cpu_ops import CodeType, CpuOp, SsdDetectOutParam
from nntc.runtime.cpu import arith
from nntc.runtime.cpu.arith import f32
from nntc.runtime.cpu.compiled import kernel
from nntc.runtime.cpu.ordering import sort_order
from nntc.runtime.cpu.overlap import ssd_keep
from nntc.runtime.cpu.registry import Call, Output, Padded, layer

Detections = list[tuple[int, np.ndarray]]
"""Per class: its label, and the numbers of the boxes kept, best first."""


@layer(
    CpuOp.SSD_DETECT_OUT,
    "rows (image, label, score, x1, y1, x2, y2) of shape (1, 1, n, 7); if nothing is found one "
    "row (image, -1, …) an image; only locations shared by all classes",
    "locations:f32 scores:f32 priors:f32",
    "detections:f32",
)
def ssd_detect_out(call: Call[SsdDetectOutParam]) -> list[Output]:
    locations, scores, priors = _arrange(call)
    boxes, areas = _decode(call, locations, *priors)
    found = [_suppress(call.param, b, a, s) for b, a, s in zip(boxes, areas, scores, strict=True)]
    kept = [
        _best(call.param, classes, s, sort_order) for classes, s in zip(found, scores, strict=True)
    ]
    return [_rows(call, boxes, scores, kept)]


@layer(
    CpuOp.ANAKIN_DETECT_OUT,
    "as SSD_DETECT_OUT; with 2 inputs the boxes are decoded and scores are (image, class, box); "
    "with 5 the locations refine those of inputs 3 and 4 (of image 0) above objectness_score; the "
    "maker's layer gives wrong boxes for images after the first, this gives their own",
    "locations:f32 scores:f32 priors:f32? arm_scores:f32? arm_locations:f32?",
    "detections:f32",
)
def anakin_detect_out(call: Call[SsdDetectOutParam]) -> list[Output]:
    call.require(len(call.inputs) != 4, "4 inputs, needs 2, 3 or 5")
    locations, scores, priors = _arrange(call)
    if len(call.inputs) == 2:
        classes, count = scores.shape[2], scores.shape[1]
        scores = np.ascontiguousarray(scores.reshape(-1, classes, count).swapaxes(1, 2))
        boxes, areas = locations, _areas(locations)
    else:
        if len(call.inputs) == 5:
            priors, scores = _refine(call, priors, scores)
        boxes, areas = _decode(call, locations, *priors)
    found = [_suppress(call.param, b, a, s) for b, a, s in zip(boxes, areas, scores, strict=True)]
    kept = [
        _best(call.param, classes, s, _tolerant_order)
        for classes, s in zip(found, scores, strict=True)
    ]
    rows = _rows(call, boxes, scores, kept)
    if call.output_shapes is None:
        return [rows]
    # This layer clears its declared output first.
    data = np.zeros(max(math.prod(call.output_shapes[0]), rows.size), np.float32)
    data[: rows.size] = rows.reshape(-1)
    return [Padded(data, rows.shape)]


Priors = tuple[np.ndarray, np.ndarray]


def _arrange(call: Call[SsdDetectOutParam]) -> tuple[np.ndarray, np.ndarray, Priors]:
    """Locations (n, p, 4), scores (n, p, classes), prior boxes and variances (p, 4) each."""
    param, (locations, scores) = call.param, call.inputs[:2]
    call.require(
        param.share_location and param.num_loc_classes == 1,
        "locations by class (share_location 0 or num_loc_classes over 1) are not possible",
    )
    call.require(locations.ndim and scores.ndim and locations.size, "an input is empty")
    images = locations.shape[0]
    count = locations.size // images // 4
    call.require(
        count and locations.size == images * count * 4 and scores.shape[0] == images,
        f"locations {locations.shape} and scores {scores.shape}",
    )
    classes = scores.size // images // count
    call.require(
        classes and scores.size == images * count * classes,
        f"scores {scores.shape} for {count} boxes",
    )
    priors = np.zeros((2, count, 4), np.float32)
    if len(call.inputs) > 2:
        given = call.inputs[2].reshape(-1)
        call.require(given.size >= 8 * count, f"priors {call.inputs[2].shape} for {count} boxes")
        priors = given[: 8 * count].reshape(2, count, 4)
    return (
        locations.reshape(images, count, 4),
        scores.reshape(images, count, classes),
        (priors[0], priors[1]),
    )


def _refine(
    call: Call[SsdDetectOutParam], priors: Priors, scores: np.ndarray
) -> tuple[Priors, np.ndarray]:
    """Anchor refinement; the refined anchors and the objectness of image 0 serve all images."""
    count = scores.shape[1]
    objectness, refinement = call.inputs[3].reshape(-1), call.inputs[4].reshape(-1)
    call.require(
        objectness.size >= 2 * count and refinement.size >= 4 * count,
        f"arm inputs {call.inputs[3].shape} and {call.inputs[4].shape} for {count} boxes",
    )
    boxes, _ = _decode(call, refinement[: 4 * count].reshape(1, count, 4), *priors)
    background = objectness[1 : 2 * count : 2] < f32(call.param.objectness_score)
    scores = scores.copy()
    scores[:, background] = 0
    scores[:, background, 0] = 1
    return (boxes[0], priors[1]), scores


def _areas(boxes: np.ndarray) -> np.ndarray:
    width = np.maximum(f32(0), boxes[..., 2] - boxes[..., 0])
    return width * np.maximum(f32(0), boxes[..., 3] - boxes[..., 1])


def _decode(
    call: Call[SsdDetectOutParam],
    locations: np.ndarray,
    priors: np.ndarray,
    variances: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, p, 4) and their areas (n, p)."""
    param = call.param
    if param.variance_encoded_in_target:
        variances = np.ones_like(variances)
    low, high = priors[:, :2], priors[:, 2:]
    size = high - low
    moved = variances * locations
    if param.code_type == CodeType.CORNER:
        boxes = priors + moved
    elif param.code_type == CodeType.CORNER_SIZE:
        boxes = priors + moved * np.concatenate([size, size], -1)
    else:
        known = param.code_type == CodeType.CENTER_SIZE
        call.require(known, f"code_type {param.code_type} is not in 1..3")
        center = moved[..., :2] * size + (low + high) / f32(2)
        half = arith.exp(moved[..., 2:]) * size / f32(2)
        boxes = np.concatenate([center - half, center + half], -1)
    return boxes, _areas(boxes)


def _suppress(
    param: SsdDetectOutParam, boxes: np.ndarray, areas: np.ndarray, scores: np.ndarray
) -> Detections:
    found: Detections = []
    for label in range(scores.shape[1]):
        if label == param.background_label_id:
            continue
        column = scores[:, label]
        candidates = np.flatnonzero(column > f32(param.confidence_threshold))
        order = candidates[np.argsort(-column[candidates], kind="stable")]
        if param.top_k > -1:
            order = order[: param.top_k]
        kept = ssd_keep(boxes, areas, order, f32(param.nms_threshold), f32(param.eta))
        found.append((label, order[kept]))
    return found


def _best(param: SsdDetectOutParam, found: Detections, scores: np.ndarray, order_of) -> Detections:
    """At most keep_top_k of an image; classes stay in order of their labels."""
    total = sum(len(boxes) for _, boxes in found)
    if not -1 < param.keep_top_k < total:
        return found
    labels = np.concatenate([np.full(len(boxes), label) for label, boxes in found])
    boxes = np.concatenate([boxes for _, boxes in found])
    best = order_of(scores[boxes, labels], True)[: param.keep_top_k]
    return [(label, boxes[best][labels[best] == label]) for label, _ in found]


def _tolerant_order(keys: np.ndarray, descending: bool) -> np.ndarray:
    """Insertion sort, descending, that moves a score only past ones lower by over 0.00001."""
    return _insert_tolerantly(np.ascontiguousarray(keys if descending else -keys))


@kernel
def _insert_tolerantly(keys: np.ndarray) -> np.ndarray:
    order = np.zeros(len(keys), np.int64)
    for i in range(len(keys)):
        at = i
        while at > 0 and np.float64(keys[i] - keys[order[at - 1]]) > 0.00001:
            order[at] = order[at - 1]
            at -= 1
        order[at] = i
    return order


def _rows(
    call: Call[SsdDetectOutParam],
    boxes: np.ndarray,
    scores: np.ndarray,
    kept: list[Detections],
) -> np.ndarray:
    rows: list[np.ndarray] = []
    for image, found in enumerate(kept):
        for label, numbers in found:
            row = np.empty((len(numbers), 7), np.float32)
            row[:, 0], row[:, 1] = image, label
            row[:, 2], row[:, 3:] = scores[image, numbers, label], boxes[image, numbers]
            rows.append(row)
    result = np.concatenate(rows) if rows else np.zeros((0, 7), np.float32)
    if not len(result):
        result = np.full((len(kept), 7), -1, np.float32)
        result[:, 0] = np.arange(len(kept))
    call.room(0, (1, 1, *result.shape))
    return result.reshape(1, 1, -1, 7)
