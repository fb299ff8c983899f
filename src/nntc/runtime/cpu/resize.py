"""Resizing of images and of crops of them."""

from __future__ import annotations

import numpy as np

from nntc.bmodel.cpu_ops import (
    CpuOp,
    CropAndResizeParam,
    DataFormat,
    ResizeInterpolationParam,
    ResizeMethod,
)
from nntc.runtime.cpu.arith import f32, round_half_away, to_int
from nntc.runtime.cpu.registry import Call, Output, layer

LinearTaps = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Lower place, upper place and share of the upper one, per output place."""


@layer(
    CpuOp.RESIZE_INTERPOLATION,
    "bilinear or nearest by TensorFlow's rules (align_corners, half_pixel_centers) or PyTorch's; "
    "output size from the int32 input 1 (h, w); changes between NCHW and NHWC",
    "image:f32 size:i32",
    "resized:f32",
)
def resize_interpolation(call: Call[ResizeInterpolationParam]) -> list[Output]:
    param, image = call.param, call.inputs[0]
    call.rank(0, 4)
    call.require(
        param.ifmt in list(DataFormat) and param.ofmt in list(DataFormat),
        f"formats {param.ifmt} and {param.ofmt}",
    )
    if param.ifmt == DataFormat.NHWC:
        image = image.transpose(0, 3, 1, 2)
    size = [int(v) for v in call.ints(1).reshape(-1)[:2]]
    call.require(len(size) == 2 and min(size) >= 1, f"output size {size} is not (h, w)")
    call.require(min(image.shape) >= 1, f"image {call.inputs[0].shape} is empty")
    n, c = image.shape[:2]
    call.room(0, (n, c, *size))
    if list(image.shape[2:]) == size:
        resized = image
    elif param.method in (ResizeMethod.NEAREST, ResizeMethod.NEAREST_PYTORCH):
        rows, columns = (
            _nearest(src, dst, param) for src, dst in zip(image.shape[2:], size, strict=True)
        )
        resized = image[:, :, rows[:, None], columns]
    else:
        methods = (ResizeMethod.BILINEAR, ResizeMethod.BILINEAR_PYTORCH)
        call.require(param.method in methods, f"method {param.method} is not in 0..3")
        call.require(
            param.method == ResizeMethod.BILINEAR_PYTORCH
            or not (param.align_corners and param.half_pixel_centers),
            "align_corners and half_pixel_centers together read beyond the image",
        )
        taps = [_linear(src, dst, param) for src, dst in zip(image.shape[2:], size, strict=True)]
        resized = _bilinear(image, *taps)
    return [np.ascontiguousarray(resized.transpose(0, 2, 3, 1) if param.ofmt else resized)]


def _scale(src: int, dst: int, align: bool) -> np.float32:
    if align and dst > 1:
        return f32(src - 1) / (f32(dst) - f32(1))
    return f32(src) / f32(dst)


def _linear(src: int, dst: int, param: ResizeInterpolationParam) -> LinearTaps:
    at = np.arange(dst).astype(np.float32)
    torch = param.method == ResizeMethod.BILINEAR_PYTORCH
    scale = _scale(src, dst, bool(param.align_corners))
    if torch and dst <= 1:
        scale = f32(0)
    half = not param.align_corners if torch else param.half_pixel_centers
    place = (at + f32(0.5)) * scale - f32(0.5) if half else at * scale
    if torch:
        place = np.maximum(place, f32(0)) if half else place
        lower = to_int(np.floor(place))
        upper = lower + (lower < src - 1)
    else:
        lower = np.maximum(to_int(np.floor(place)), 0)
        upper = np.minimum(to_int(np.ceil(place)), src - 1)
    return lower, upper, place - np.floor(place)


def _nearest(src: int, dst: int, param: ResizeInterpolationParam) -> np.ndarray:
    at = np.arange(dst).astype(np.float32)
    if param.method == ResizeMethod.NEAREST_PYTORCH:
        places = np.floor(at * _scale(src, dst, False))
    elif param.half_pixel_centers:
        places = np.floor((at + f32(0.5)) * _scale(src, dst, bool(param.align_corners)))
    elif param.align_corners:
        places = round_half_away(at * _scale(src, dst, True))
    else:
        places = np.floor(at * _scale(src, dst, False))
    return np.clip(to_int(places), 0, src - 1)


def _bilinear(image: np.ndarray, rows: LinearTaps, columns: LinearTaps) -> np.ndarray:
    """Lines first along x, then along y, as a + (b - a) * share, in f32."""
    (top, bottom, share_y), (left, right, share_x) = rows, columns

    def line(y: np.ndarray) -> np.ndarray:
        a, b = image[..., y[:, None], left], image[..., y[:, None], right]
        return a + (b - a) * share_x

    upper = line(top)
    return upper + (line(bottom) - upper) * share_y[:, None]


@layer(
    CpuOp.CROP_AND_RESIZE,
    "tf.image.crop_and_resize of NCHW images: boxes (y1, x1, y2, x2) in 0..1 of an image each, "
    "image numbers int32; method 0 bilinear, others nearest",
    "images:f32 boxes:f32 image_of_box:i32",
    "crops:f32",
)
def crop_and_resize(call: Call[CropAndResizeParam]) -> list[Output]:
    param, images, boxes = call.param, call.inputs[0], call.inputs[1]
    call.rank(0, 4)
    call.rank(1, 2)
    call.require(boxes.shape[1] == 4, f"boxes {boxes.shape}, needs 4 coordinates")
    numbers = call.ints(2).reshape(-1)
    call.require(len(numbers) >= len(boxes), "fewer image numbers than boxes")
    numbers = numbers[: len(boxes)]
    call.in_range(numbers, images.shape[0], "image number")
    call.require(np.isfinite(boxes).all(), "a box coordinate is not finite")
    shape = call.room(0, (len(boxes), images.shape[1], param.crop_h, param.crop_w))
    crops = np.full(shape, param.extrapolation_value, np.float32)
    for crop, box, number in zip(crops, boxes, numbers, strict=True):
        rows = _crop_places(box[0], box[2], images.shape[2], param.crop_h)
        columns = _crop_places(box[1], box[3], images.shape[3], param.crop_w)
        size = images.shape[2:]
        inside = [(p >= 0) & (p <= f32(s - 1)) for p, s in zip((rows, columns), size, strict=True)]
        y, x = rows[inside[0]], columns[inside[1]]
        if param.method == ResizeMethod.BILINEAR:
            taps = [(to_int(np.floor(p)), to_int(np.ceil(p)), p - np.floor(p)) for p in (y, x)]
            found = _bilinear(images[number], *taps)
        else:
            picked = [to_int(round_half_away(p)) for p in (y, x)]
            found = images[number][:, picked[0][:, None], picked[1]]
        crop[:, inside[0][:, None] & inside[1]] = found.reshape(images.shape[1], -1)
    return [crops]


def _crop_places(low: np.float32, high: np.float32, src: int, dst: int) -> np.ndarray:
    if dst <= 1:
        return np.full(dst, f32(0.5) * (low + high) * f32(src - 1), np.float32)
    step = (high - low) * (f32(src - 1) / f32(dst - 1))
    return low * f32(src - 1) + np.arange(dst).astype(np.float32) * step
