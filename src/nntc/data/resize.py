"""Scaling of pixels: Pillow's filters, and OpenCV's bilinear one in NumPy.

The two differ when a picture gets smaller: Pillow's filters widen with the factor (antialiasing,
as torchvision and TensorFlow's antialiased resize do); OpenCV's reads four pixels whatever the
factor. A network should see at calibration what it saw in training.
"""

from __future__ import annotations

import numpy as np

from nntc.core.errors import UserError

MAX_PIXELS = 1 << 26
"""Pictures of more pixels than this, read or made, are refused."""

PILLOW_FILTERS = ("bilinear", "bicubic", "lanczos", "box", "nearest")
INTERPOLATIONS = (*PILLOW_FILTERS, "cv2")

# OpenCV scales bytes with weights of 11 bits.
_ONE = 1 << 11


def resize(pixels: np.ndarray, height: int, width: int, interpolation: str) -> np.ndarray:
    """[H, W, C] in uint8 or float32 to [height, width, C] of the same type.

    Raises:
        UserError: the result would have more than MAX_PIXELS pixels.
    """
    if height * width > MAX_PIXELS:
        raise UserError(f"scaled to {height}x{width}, more than {MAX_PIXELS} pixels")
    if pixels.shape[:2] == (height, width):
        return pixels
    if interpolation == "cv2":
        return cv2_bilinear(pixels, height, width)
    return _pillow(pixels, height, width, interpolation)


def _pillow(pixels: np.ndarray, height: int, width: int, interpolation: str) -> np.ndarray:
    from nntc.data.decode import pillow

    image_module = pillow()
    method = getattr(image_module.Resampling, interpolation.upper())
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        images = [np.ascontiguousarray(pixels)]
    else:
        images = [np.ascontiguousarray(plane) for plane in np.moveaxis(pixels, 2, 0)]
    scaled = [
        np.asarray(image_module.fromarray(image).resize((width, height), method))
        for image in images
    ]
    return scaled[0] if scaled[0].ndim == 3 else np.stack(scaled, 2)


def cv2_bilinear(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """What ``cv2.resize(pixels, (width, height))`` gives.

    Half-pixel centres, edges repeated, no antialiasing; bytes in fixed point with OpenCV's
    roundings, float32 within the last bits.
    """
    rows, columns = pixels.shape[:2]
    if pixels.dtype == np.uint8 and (rows, columns) == (2 * height, 2 * width):
        # OpenCV averages areas when both sides are halved exactly.
        quads = pixels.reshape(height, 2, width, 2, -1).sum((1, 3), dtype=np.uint16)
        return ((quads + 2) >> 2).astype(np.uint8)
    left, right, across = _taps(columns, width)
    # A row above the first or below the last is that row, with its weights as they are.
    upper, lower, down = _taps(rows, height, clamp_weights=False)
    if pixels.dtype == np.uint8:
        weights = np.rint(np.stack([1 - across, across]) * _ONE).astype(np.int32)[..., None]
        mixed = pixels[:, left] * weights[0] + pixels[:, right] * weights[1]
        mixed >>= 4
        b = np.rint(np.stack([1 - down, down]) * _ONE).astype(np.int32)[..., None, None]
        total = (mixed[upper] * b[0] >> 16) + (mixed[lower] * b[1] >> 16)
        return np.clip((total + 2) >> 2, 0, 255).astype(np.uint8)
    mixed = pixels[:, left] * (1 - across)[:, None] + pixels[:, right] * across[:, None]
    return mixed[upper] * (1 - down)[:, None, None] + mixed[lower] * down[:, None, None]


def _taps(
    source: int, target: int, clamp_weights: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the two neighbours and the second one's weight (f32), for each target index."""
    step = 1.0 / (target / source)
    place = ((np.arange(target) + 0.5) * step - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int64)
    weight = place - first.astype(np.float32)
    if clamp_weights:
        weight[(first < 0) | (first >= source - 1)] = 0
    return np.clip(first, 0, source - 1), np.clip(first + 1, 0, source - 1), weight
