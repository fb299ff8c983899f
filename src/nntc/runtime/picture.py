"""A picture file as the input of a net; needs Pillow, which is imported on use."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from nntc.core.errors import UserError
from nntc.runtime.tensors import TensorInfo

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")


def _layout(tensor: TensorInfo) -> tuple[str, int, int, int]:
    """("NCHW" or "NHWC", channels, height, width) of an image input."""
    shape = tensor.shape
    if len(shape) == 4 and shape[0] == 1:
        if shape[1] in (1, 3):
            return "NCHW", shape[1], shape[2], shape[3]
        if shape[3] in (1, 3):
            return "NHWC", shape[3], shape[1], shape[2]
    raise UserError(
        f"input {tensor.name}: shape {list(shape)} is no picture; "
        "[1,3,H,W], [1,1,H,W], [1,H,W,3] or [1,H,W,1] is needed"
    )


def load_picture(
    path: str | os.PathLike[str],
    inputs: Sequence[TensorInfo],
    mean: Sequence[float] = (0.0,),
    scale: Sequence[float] = (1.0,),
    bgr: bool = False,
) -> np.ndarray:
    """The picture, resized to the net's one input, as ``(pixel - mean) * scale`` in float32.

    Raises:
        UserError: not a picture, Pillow is missing, or the net does not take one picture.
    """
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs)
        raise UserError(f"{path}: a picture feeds a net with one input, this one has {names}")
    layout, channels, height, width = _layout(inputs[0])
    for name, values in (("mean", mean), ("scale", scale)):
        if len(values) not in (1, channels):
            raise UserError(f"--{name}: {len(values)} numbers for {channels} channels")
    try:
        from PIL import Image
    except ImportError:
        raise UserError(f"{path}: reading pictures needs Pillow (pip install pillow)") from None
    try:
        with Image.open(path) as image:
            pixels = image.convert("L" if channels == 1 else "RGB").resize((width, height))
    except Image.DecompressionBombError:
        raise UserError(f"{path}: the picture is too large") from None
    except OSError as err:
        raise UserError(f"{path}: cannot be read as a picture: {err.strerror or err}") from None
    array = np.asarray(pixels, np.float32).reshape(height, width, channels)
    if bgr:
        array = array[..., ::-1]
    array = (array - np.asarray(mean, np.float32)) * np.asarray(scale, np.float32)
    if layout == "NCHW":
        array = array.transpose(2, 0, 1)
    return np.ascontiguousarray(array[None], np.float32)
