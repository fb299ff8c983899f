"""The pieces of detectors: cells of boxes, and the suppression of overlapping ones."""

from __future__ import annotations

import math

import numpy as np

from nntc.core.errors import ModelError

# A box of this many samples along one axis of one cell is no box; sampling it would not end.
_MOST_SAMPLES = 1 << 14


def image_numbers(indices: np.ndarray, images: int) -> list[int]:
    """Image of each box.

    Raises:
        ModelError: one does not exist.
    """
    wrong = (indices < 0) | (indices >= images)
    if wrong.any():
        raise ModelError(f"image {indices[wrong][0]} is outside 0 ... {images - 1}")
    return [int(i) for i in indices]


def cells(start: float, cell: float, count: int, ratio: int) -> np.ndarray:
    """Sample positions [count, samples] of *count* cells of size *cell* from *start* on.

    Args:
        ratio: samples of a cell; 0: one for each pixel that it is wide.

    Raises:
        ModelError: the box is not finite or too long to sample.
    """
    if not (math.isfinite(start) and abs(cell) < _MOST_SAMPLES):
        raise ModelError(f"a box starts at {start} and has cells of {cell} pixels")
    samples = ratio or max(math.ceil(cell), 0)
    within = (np.arange(samples) + 0.5) * cell / max(samples, 1)
    return (start + np.arange(count)[:, None] * cell + within).astype(np.float32)


def align(image: np.ndarray, rows: np.ndarray, columns: np.ndarray, mode: str) -> np.ndarray:
    """Image [C, H, W] sampled at rows x columns, [cells, samples] each; [C, cells, cells]."""
    corners = [
        (image[:, row[:, None], column] * row_weight[:, None]) * column_weight
        for row, row_weight in _corners(rows, image.shape[1])
        for column, column_weight in _corners(columns, image.shape[2])
    ]
    shape = (len(image), *rows.shape, *columns.shape)
    samples = rows.shape[1] * columns.shape[1]
    if samples == 0:
        return np.zeros((len(image), len(rows), len(columns)), image.dtype)
    if mode == "max":
        return np.maximum.reduce(corners).reshape(shape).max((2, 4))
    return sum(corners, np.zeros_like(corners[0])).reshape(shape).sum((2, 4)) / samples


def _corners(at: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(index, weight) of the two neighbours of each position; beyond one pixel outside: 0."""
    flat = at.ravel()
    inside = (flat >= -1) & (flat <= size)
    place = np.clip(flat, 0, size - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    fraction = place - low
    return [(low, (1 - fraction) * inside), (high, fraction * inside)]


def corners(boxes: np.ndarray, center_point_box: bool) -> np.ndarray:
    """Boxes [N, 4] as (low, low, high, high)."""
    if center_point_box:
        half = boxes[:, 2:] / 2
        return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], 1)
    first, second = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], 1)


def suppress(
    boxes: np.ndarray, scores: np.ndarray, limit: int, iou: float, threshold: float
) -> list[int]:
    """Numbers of the kept boxes, best first: greedy, of equal scores the lower number first.

    Args:
        boxes: [N, 4] from :func:`corners`.
        scores: [N].
        limit: most boxes to keep.
    """
    order = np.argsort(-scores, kind="stable")
    if threshold > -math.inf:
        order = order[scores[order] > threshold]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept: list[int] = []
    while len(order) and len(kept) < limit:
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        common = np.maximum(high - low, 0).prod(1)
        union = area[best] + area[order] - common
        # Empty boxes overlap nothing.
        valid = (area[best] > 0) & (area[order] > 0) & (union > 0)
        order = order[~(valid & (common / union > iou))]
    return kept
