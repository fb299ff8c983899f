"""Greedy suppression kernels shared by the detection layers; all in f32.

The makers of these layers disagree on details (whether touching boxes overlap, whether a box is
one pixel wider than its corners say, whether a limit ends the search), so a kernel has switches.
"""

from __future__ import annotations

import numpy as np

from nntc.runtime.cpu.compiled import kernel


@kernel
def ssd_keep(
    boxes: np.ndarray, areas: np.ndarray, order: np.ndarray, threshold: np.float32, eta: np.float32
) -> np.ndarray:
    """Caffe SSD's NMS: areas are given; boxes without a common inside do not overlap.

    Args:
        boxes: (n, 4) x1, y1, x2, y2.
        areas: (n,).
        order: candidates, best first.
        threshold: overlaps above it suppress; shrinks by *eta* while above 0.5.

    Returns:
        The positions of *order* that are kept.
    """
    kept = np.zeros(len(order), np.int64)
    count = 0
    zero = np.float32(0)
    for at in range(len(order)):
        i = order[at]
        keep = True
        for k in range(count):
            j = order[kept[k]]
            overlap = zero
            if not (
                boxes[j, 0] > boxes[i, 2]
                or boxes[j, 2] < boxes[i, 0]
                or boxes[j, 1] > boxes[i, 3]
                or boxes[j, 3] < boxes[i, 1]
            ):
                width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
                height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
                if width > zero and height > zero:
                    inter = width * height
                    overlap = inter / (areas[i] + areas[j] - inter)
            if not overlap <= threshold:
                keep = False
                break
        if keep:
            kept[count] = at
            count += 1
            if eta < np.float32(1) and threshold > 0.5:
                threshold *= eta
    return kept[:count]


@kernel
def _paddle_area(box: np.ndarray, extra: np.float32) -> np.float32:
    if box[2] < box[0] or box[3] < box[1]:
        return np.float32(0)
    return (box[2] - box[0] + extra) * (box[3] - box[1] + extra)


@kernel
def paddle_overlap(a: np.ndarray, b: np.ndarray, extra: np.float32) -> np.float32:
    """Paddle's overlap; *extra* is 1 for pixel boxes, 0 for normalised ones. May be NaN."""
    if b[0] > a[2] or b[2] < a[0] or b[1] > a[3] or b[3] < a[1]:
        return np.float32(0)
    width = min(a[2], b[2]) - max(a[0], b[0]) + extra
    height = min(a[3], b[3]) - max(a[1], b[1]) + extra
    inter = width * height
    return inter / (_paddle_area(a, extra) + _paddle_area(b, extra) - inter)


@kernel
def paddle_keep(
    boxes: np.ndarray,
    order: np.ndarray,
    threshold: np.float32,
    eta: np.float32,
    extra: np.float32,
    is_box: bool,
) -> np.ndarray:
    """Paddle's NMS; without *is_box* (other than 4 coordinates) nothing overlaps."""
    kept = np.zeros(len(order), np.int64)
    count = 0
    for i in order:
        keep = True
        for k in range(count):
            overlap = np.float32(0)
            if is_box:
                overlap = paddle_overlap(boxes[i], boxes[kept[k]], extra)
            if not overlap <= threshold:
                keep = False
                break
        if keep:
            kept[count] = i
            count += 1
            if eta < np.float32(1) and threshold > 0.5:
                threshold *= eta
    return kept[:count]


@kernel
def detectron_keep(
    boxes: np.ndarray, order: np.ndarray, threshold: np.float32, extra: np.float32, limit: int
) -> np.ndarray:
    """Detectron's NMS: *extra* is added to widths and heights; at most *limit* unless negative."""
    kept = np.zeros(len(order), np.int64)
    gone = np.zeros(len(order), np.bool_)
    count = 0
    zero = np.float32(0)
    for a in range(len(order)):
        if gone[a]:
            continue
        if limit >= 0 and count >= limit:
            break
        i = order[a]
        kept[count] = i
        count += 1
        area_i = (boxes[i, 2] - boxes[i, 0] + extra) * (boxes[i, 3] - boxes[i, 1] + extra)
        for b in range(a + 1, len(order)):
            if gone[b]:
                continue
            j = order[b]
            width = min(boxes[j, 2], boxes[i, 2]) - max(boxes[j, 0], boxes[i, 0]) + extra
            height = min(boxes[j, 3], boxes[i, 3]) - max(boxes[j, 1], boxes[i, 1]) + extra
            width, height = max(width, zero), max(height, zero)
            if width == zero or height == zero:
                continue
            area_j = (boxes[j, 2] - boxes[j, 0] + extra) * (boxes[j, 3] - boxes[j, 1] + extra)
            inter = width * height
            if not inter / (area_i + area_j - inter) <= threshold:
                gone[b] = True
    return kept[:count]


@kernel
def rpn_keep(boxes: np.ndarray, threshold: np.float32) -> np.ndarray:
    """Faster R-CNN's NMS over boxes in order: pixel boxes, overlaps from *threshold* up go."""
    one, zero = np.float32(1), np.float32(0)
    gone = np.zeros(len(boxes), np.bool_)
    for i in range(len(boxes)):
        if gone[i]:
            continue
        area_i = (boxes[i, 2] - boxes[i, 0] + one) * (boxes[i, 3] - boxes[i, 1] + one)
        for j in range(i + 1, len(boxes)):
            if gone[j]:
                continue
            width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0]) + one
            height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1]) + one
            inter = max(zero, width) * max(zero, height)
            area_j = (boxes[j, 2] - boxes[j, 0] + one) * (boxes[j, 3] - boxes[j, 1] + one)
            if inter / (area_i + area_j - inter) >= threshold:
                gone[j] = True
    return np.flatnonzero(~gone)


@kernel
def yolo_keep(boxes: np.ndarray, threshold: np.float32) -> np.ndarray:
    """YOLO's NMS over boxes (x, y, w, h) in order; overlaps from *threshold* up go."""
    half, zero = np.float32(0.5), np.float32(0)
    gone = np.zeros(len(boxes), np.bool_)
    for i in range(len(boxes)):
        if gone[i]:
            continue
        for j in range(i + 1, len(boxes)):
            if gone[j]:
                continue
            sides = np.zeros(2, np.float32)
            for k in range(2):
                a, b = boxes[i, 2 + k] * half, boxes[j, 2 + k] * half
                low = max(boxes[i, k] - a, boxes[j, k] - b)
                sides[k] = min(boxes[i, k] + a, boxes[j, k] + b) - low
            inter = zero
            if not (sides[0] < zero or sides[1] < zero):
                inter = sides[0] * sides[1]
            union = boxes[i, 2] * boxes[i, 3] + boxes[j, 2] * boxes[j, 3] - inter
            if inter / union >= threshold:
                gone[j] = True
    return np.flatnonzero(~gone)
