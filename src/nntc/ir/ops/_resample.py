"""Resampling: where a result lies in the source, and the weighted sum of the source's taps.

Positions are float32, as ONNX Runtime computes them: which element is nearest, and whether a
position is inside, depend on their rounding.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np


class Taps(NamedTuple):
    """Source elements of each result along one axis and their weights; both [taps, out]."""

    index: np.ndarray
    weight: np.ndarray


def source_positions(
    size: int, out: int, scale: float, coordinate: str, roi: tuple[float, float]
) -> np.ndarray:
    """Position in the source of each of *out* results; the formulas are those of ONNX Resize."""
    factor = np.float32(scale)
    half = np.float32(0.5)
    at = np.arange(out, dtype=np.float32)
    last = np.float32(size - 1)
    if coordinate == "asymmetric":
        return at / factor
    if coordinate == "tf_half_pixel_for_nn":
        return (at + half) / factor
    if coordinate == "align_corners":
        return at * last / np.float32(out - 1) if out > 1 else np.zeros_like(at)
    if coordinate == "tf_crop_and_resize":
        start, end = (np.float32(r) for r in roi)
        if out == 1:
            return np.full_like(at, half * (start + end) * last)
        return start * last + at * (end - start) * last / np.float32(out - 1)
    if coordinate == "pytorch_half_pixel" and out == 1:
        return np.zeros_like(at)
    position = (at + half) / factor - half
    if coordinate == "half_pixel_symmetric":
        # The result's image is centred on the source's when its size was rounded.
        adjustment = np.float32(out) / (factor * np.float32(size))
        position += np.float32(size) / np.float32(2) * (np.float32(1) - adjustment)
    return position


def nearest(at: np.ndarray, size: int, rule: str) -> np.ndarray:
    """Index of the element nearest to each position; float64 keeps x + 1/2 exact."""
    wide = at.astype(np.float64)
    rounded = {
        "round_prefer_floor": lambda: np.ceil(wide - 0.5),
        "round_prefer_ceil": lambda: np.floor(wide + 0.5),
        "floor": lambda: np.floor(wide),
        "ceil": lambda: np.ceil(wide),
    }[rule]()
    return np.clip(rounded, 0, size - 1).astype(np.int64)


def taps(
    at: np.ndarray, size: int, cubic_a: float | None, shrink: float, exclude_outside: bool
) -> Taps:
    """Taps of the linear kernel, or the cubic one with coefficient *cubic_a*.

    Args:
        at: positions [out].
        shrink: below 1 the kernel is widened by its inverse, against aliasing.
        exclude_outside: taps outside weigh nothing; else they read the edge.
    """
    reach = (1 if cubic_a is None else 2) / shrink
    first = np.floor(at.astype(np.float64) - reach) + 1
    index = first + np.arange(math.ceil(2 * reach) + 1)[:, None]
    distance = np.abs(index - at) * shrink
    weight = _linear(distance) if cubic_a is None else _cubic(distance, cubic_a)
    if exclude_outside:
        weight = np.where((index >= 0) & (index <= size - 1), weight, 0)
    if exclude_outside or shrink < 1:
        weight = weight / weight.sum(0)
    used = weight.any(1)
    return Taps(np.clip(index[used], 0, size - 1).astype(np.int64), weight[used])


def _linear(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - distance, 0)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def blend(x: np.ndarray, axis: int, taps: Taps) -> np.ndarray:
    """The weighted sum of taps along *axis*; integers are summed in float32 and stay so."""
    wide = x if x.dtype.kind == "f" else x.astype(np.float32)
    shape = (-1, *(1,) * (x.ndim - axis - 1))
    weights = taps.weight.astype(wide.dtype)
    y = wide.take(taps.index[0], axis) * weights[0].reshape(shape)
    for index, weight in zip(taps.index[1:], weights[1:], strict=True):
        y += wide.take(index, axis) * weight.reshape(shape)
    return y


def sample(
    x: np.ndarray, grid: np.ndarray, mode: str, padding: str, align_corners: bool
) -> np.ndarray:
    """x [N, C, *in] at grid [N, *out, axes], see GridSample."""
    spatial = x.shape[2:]
    axes = [
        _grid_taps(grid[..., -1 - axis], size, mode, padding, align_corners)
        for axis, size in enumerate(spatial)
    ]
    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]), x.dtype)
    flat = x.reshape(*x.shape[:2], math.prod(spatial))
    for choice in itertools.product(*axes):
        index, weight = np.zeros((), np.int64), np.ones((), x.dtype)
        for (at, factor), size in zip(choice, spatial, strict=True):
            index = index * size + at
            weight = weight * factor
        for image, place, factor, result in zip(flat, index, weight, y, strict=True):
            result += image[:, place] * factor
    return y


def _grid_taps(
    grid: np.ndarray, size: int, mode: str, padding: str, align_corners: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(index, weight) of every tap along one axis; both of grid's shape [N, *out]."""
    one = grid.dtype.type(1)
    if align_corners:
        at = (grid + one) / 2 * (size - 1)
    else:
        at = ((grid + one) * size - one) / 2
    # The cubic kernel keeps the position and pads each tap; the others move the position itself.
    if mode != "cubic":
        at = _bounded(at, size, padding, align_corners)
    if mode == "nearest":
        return [_inside(np.rint(at), np.ones_like(at), size, padding, align_corners)]
    base = np.floor(at)
    fraction = at - base
    steps = range(-1, 3) if mode == "cubic" else range(2)
    result: list[tuple[np.ndarray, np.ndarray]] = []
    for step in steps:
        distance = np.abs(fraction - step)
        # -0.75 is the coefficient that ONNX gives for GridSample.
        weight = _cubic(distance, -0.75) if mode == "cubic" else _linear(distance)
        result.append(_inside(base + step, weight, size, padding, align_corners))
    return result


def _bounded(at: np.ndarray, size: int, padding: str, align_corners: bool) -> np.ndarray:
    """Positions moved inside by the padding rule; zeros leaves them."""
    if padding == "border":
        return np.clip(at, 0, size - 1)
    if padding == "reflection":
        low, high = (0, size - 1) if align_corners else (-0.5, size - 0.5)
        span = high - low
        if span == 0:
            return np.zeros_like(at)
        phase = np.mod(at - low, 2 * span)
        return low + np.minimum(phase, 2 * span - phase)
    return at


def _inside(
    at: np.ndarray, weight: np.ndarray, size: int, padding: str, align_corners: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Whole positions as indices; those that stay outside weigh nothing."""
    place = _bounded(at, size, padding, align_corners)
    if padding == "zeros":
        weight = np.where((place >= 0) & (place <= size - 1), weight, 0)
    index = np.clip(np.nan_to_num(place), 0, size - 1).astype(np.int64)
    return index, weight.astype(at.dtype)
