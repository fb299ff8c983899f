"""Boxes: Caffe-SSD's layers, and pooling of regions."""

from __future__ import annotations

import math

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends import limits
from nntc.frontends.caffe.call import Call, reads
from nntc.frontends.errors import RefusedError
from nntc.ir import ops
from nntc.ir.graph import Value

_MOST_SHAPES = 1000


@reads("PriorBox", param="prior_box_param", becomes="a constant")
def prior_box(c: Call) -> Value:
    """Boxes around every pixel of the first bottom, as parts of the second: [1, 2, boxes * 4]."""
    height, width = c.picture(0).shape[2:]
    sizes = _shapes(c)
    image_height, image_width = _pair(c, "img_size", "img_h", "img_w", c.picture(1).shape[2:])
    step_height, step_width = _pair(
        c, "step", "step_h", "step_w", (image_height / height, image_width / width)
    )
    if min(image_height, image_width, step_height, step_width) <= 0:
        raise ModelError("a size of the picture or a step is not above 0")
    shape = (1, 2, height * width * len(sizes) * 4)
    limits.check_bytes(shape, DType.F32, limits.CONSTANT_BYTES, "the boxes")
    offset = c.param.number("offset", 0.5)
    rows, columns = (np.arange(height) + offset) * step_height, (np.arange(width) + offset)
    y, x = np.meshgrid(rows, columns * step_width, indexing="ij")
    middle = np.stack([x, y], -1)[:, :, None]
    half = np.array(sizes) / 2
    corners = np.concatenate([middle - half, middle + half], -1)
    corners /= (image_width, image_height) * 2
    if c.param.flag("clip"):
        corners = corners.clip(0, 1)
    variance = c.param.numbers("variance") or [0.1]
    if len(variance) not in (1, 4):
        raise ModelError(f"{len(variance)} numbers of variance, 1 or 4 are needed")
    spread = np.resize(np.array(variance), shape[2])
    with np.errstate(over="ignore"):
        return c.b.const(np.stack([corners.reshape(-1), spread])[None].astype(np.float32))


def _pair(
    c: Call, both: str, down: str, across: str, default: tuple[float, ...]
) -> tuple[float, float]:
    """An option for rows and columns, together or apart."""
    if both in c.param:
        value = c.param.number(both, 0)
        return value, value
    return c.param.number(down, default[0]), c.param.number(across, default[1])


def _shapes(c: Call) -> list[tuple[float, float]]:
    """Widths and heights of the boxes of one pixel.

    Raises:
        ModelError: the sizes make no boxes.
    """
    small, large = c.param.numbers("min_size"), c.param.numbers("max_size")
    if len(small) > _MOST_SHAPES or len(c.param.tokens("aspect_ratio")) > _MOST_SHAPES:
        raise ModelError(f"more than {_MOST_SHAPES} min_size or aspect_ratio")
    if not small or min(small) <= 0:
        raise ModelError(f"min_size {small}: at least one above 0 is needed")
    if large and (len(large) != len(small) or min(large) <= 0):
        raise ModelError(f"max_size {large} for min_size {small}")
    ratios = [1.0]
    flip = c.param.flag("flip", True)
    for ratio in c.param.numbers("aspect_ratio"):
        if ratio <= 0:
            raise ModelError(f"aspect_ratio {ratio:g} is not above 0")
        if any(abs(ratio - other) < 1e-6 for other in ratios):
            continue
        ratios += [ratio, 1 / ratio] if flip else [ratio]
    shapes: list[tuple[float, float]] = []
    for number, size in enumerate(small):
        shapes.append((size, size))
        if large:
            side = math.sqrt(size * large[number])
            shapes.append((side, side))
        for ratio in ratios[1:]:
            shapes.append((size * math.sqrt(ratio), size / math.sqrt(ratio)))
    return shapes


@reads(
    "DetectionOutput",
    param="detection_output_param",
    becomes="DetectionOutput, on the CPU",
    limits="share_location; three bottoms (no refinement)",
)
def detection_output(c: Call) -> Value:
    if not c.param.flag("share_location", True):
        raise RefusedError("share_location false: locations of their own for each class")
    if len(c.xs) > 3:
        raise RefusedError(f"{len(c.xs)} bottoms: boxes in two steps (RefineDet)")
    c.param.number("objectness_score", 0.0)
    c.param.flag("visualize")
    suppression = c.param.message("nms_param")
    code = c.choice("code_type", ("", "CORNER", "CENTER_SIZE", "CORNER_SIZE"), "CORNER")
    op = ops.DetectionOutput(
        c.positive("num_classes", 0),
        c.param.integer("background_label_id", 0),
        suppression.number("nms_threshold", 0.3),
        suppression.integer("top_k", -1),
        c.param.integer("keep_top_k", -1),
        c.param.number("confidence_threshold", -math.inf),
        code.lower(),  # type: ignore[arg-type]
        c.param.flag("variance_encoded_in_target"),
        suppression.number("eta", 1.0),
    )
    locations, scores = (_rows(c, i) for i in (0, 1))
    return c.b.op(op, locations, scores, c.x(2))


def _rows(c: Call, index: int) -> Value:
    x = c.x(index)
    return c.b.reshape(x, (x.shape[0], x.type.size // x.shape[0]))


@reads("ROIPooling", param="roi_pooling_param", becomes="RoiPool, on the CPU")
def roi_pooling(c: Call) -> Value:
    x, rois = c.picture(0), c.x(1)
    if rois.type.size % 5:
        raise ModelError(f"regions of shape {list(rois.shape)}, rows of 5 numbers are needed")
    op = ops.RoiPool(
        c.positive("pooled_h", 0),
        c.positive("pooled_w", 0),
        c.param.number("spatial_scale", 1.0),
    )
    return c.b.op(op, x, c.b.reshape(rois, (rois.type.size // 5, 5)))
