"""Random cases of the layers that make and select detections."""

from __future__ import annotations

import math

import numpy as np

from nntc.bmodel.cpu_ops import (
    BoxCoderParam,
    BoxNmsParam,
    CpuOp,
    DensityPriorBoxParam,
    MatrixNmsParam,
    MulticlassNmsParam,
    PaddleYoloBoxParam,
    SsdDetectOutParam,
    YoloParam,
    YoloV3DetectOutParam,
)
from tests.runtime_cpu.case import Case, case_maker, dims, floats, some_levels


def plain_boxes(rng: np.random.Generator, *lead: int, size: float = 1.0) -> np.ndarray:
    """Boxes (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2."""
    at = rng.random((*lead, 2)) * size
    far = at + rng.random((*lead, 2)) * size * 0.5
    return np.concatenate([at, far], -1).astype(np.float32)


def _probabilities(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.abs(floats(rng, *shape, levels=some_levels(rng))).astype(np.float32)


def _ssd_param(rng: np.random.Generator, classes: int, count: int, code: int) -> SsdDetectOutParam:
    return SsdDetectOutParam(
        classes,
        True,
        int(rng.integers(0, classes)),
        float(rng.random()),
        int(rng.choice([-1, 3, 10])),
        code,
        int(rng.choice([-1, 2, 5, 20])),
        float(rng.random() * 0.5),
        count,
        1,
        bool(rng.random() < 0.5),
        float(rng.choice([1.0, 0.9])),
        float(rng.random()),
    )


def _ssd_inputs(
    rng: np.random.Generator, images: int, classes: int, count: int
) -> list[np.ndarray]:
    variances = np.abs(floats(rng, count, 4)) * np.float32(0.2)
    priors = np.stack([plain_boxes(rng, count), variances]).reshape(1, 2, count * 4)
    locations = floats(rng, images, count * 4) * np.float32(0.5)
    return [locations, _probabilities(rng, images, count * classes), priors]


@case_maker(CpuOp.SSD_DETECT_OUT)
def ssd_detect_out(rng: np.random.Generator) -> Case:
    images, classes, count = (int(v) for v in rng.integers([1, 2, 1], [4, 5, 40]))
    param = _ssd_param(rng, classes, count, int(rng.integers(1, 4)))
    inputs = _ssd_inputs(rng, images, classes, count)
    return Case(param, inputs, [(1, 1, images * classes * count, 7)])


@case_maker(CpuOp.ANAKIN_DETECT_OUT)
def anakin_detect_out(rng: np.random.Generator) -> Case:
    # For images after the first the maker's layer gives the boxes of others, or of none.
    images, classes, count = 1, int(rng.integers(2, 5)), int(rng.integers(1, 40))
    param = _ssd_param(rng, classes, count, int(rng.integers(1, 4)))
    inputs = _ssd_inputs(rng, images, classes, count)
    kind = int(rng.choice([2, 3, 5]))
    if kind == 2:
        inputs = [plain_boxes(rng, images, count).reshape(images, -1), inputs[1]]
    elif kind == 5:
        inputs += [_probabilities(rng, 1, 2 * count), floats(rng, 1, 4 * count) * np.float32(0.3)]
    return Case(param, inputs, [(1, 1, images * classes * count, 7)])


@case_maker(CpuOp.YOLO)
def yolo(rng: np.random.Generator) -> Case:
    batch, num, h, w = dims(rng, 4, 4, 4)
    classes = int(rng.integers(0, 6))
    x = floats(rng, batch, num * (5 + classes), h, w) * np.float32(3)
    return Case(YoloParam(classes, num), [x], [x.shape])


@case_maker(CpuOp.YOLOV3_DETECT_OUT)
def yolov3_detect_out(rng: np.random.Generator) -> Case:
    images, count, classes = (int(v) for v in rng.integers(1, [4, 4, 5]))
    boxes = 3
    inputs = []
    for _ in range(count):
        h, w = dims(rng, 2, 2, 7)
        feature = floats(rng, images, boxes * (5 + classes), h, w)
        if rng.random() < 0.3:
            feature = np.round(feature * 2) / np.float32(2)
        inputs.append(feature)
    param = YoloV3DetectOutParam(
        count,
        classes,
        boxes,
        float(rng.choice([0.2, 0.3, 0.9])),
        float(rng.random()),
        3,
        tuple(float(v) for v in rng.integers(5, 100, 18)),
        tuple(float(2.0**i) for i in (5, 4, 3)),
        tuple(float(v) for v in rng.permutation(9)),
    )
    cells = sum(math.prod(f.shape[2:]) for f in inputs)
    room = images * max(min(200, cells * boxes), 1)
    return Case(param, inputs, [(1, 1, room, 7)])


@case_maker(CpuOp.PADDLE_YOLO_BOX)
def paddle_yolo_box(rng: np.random.Generator) -> Case:
    images, h, w = dims(rng, 3, 3, 5)
    anchors, classes = (int(v) for v in rng.integers(1, 5, 2))
    param = PaddleYoloBoxParam(
        tuple(int(v) for v in rng.integers(5, 200, 2 * anchors)),
        float(rng.random() * 0.6),
        classes,
        32,
        2 * anchors,
        False,
        bool(rng.random() < 0.5),
        0.0,
        float(rng.choice([1.0, 1.05, 1.2])),
    )
    x = floats(rng, images, anchors * (5 + classes), h, w)
    size = rng.integers(100, 600, (images, 2)).astype(np.int32)
    rows = anchors * h * w
    return Case(param, [x, size], [(images, rows, 4), (images, rows, classes)])


@case_maker(CpuOp.MULTICLASS_NMS)
def multiclass_nms(rng: np.random.Generator) -> Case:
    images, classes, count = (int(v) for v in rng.integers(1, [4, 5, 40]))
    normalized = bool(rng.random() < 0.5)
    outputs = int(rng.integers(1, 4))
    has_batch = bool(rng.random() < 0.5)
    param = MulticlassNmsParam(
        float(rng.choice([0.1, 0.5, 9.0])),
        float(rng.random()),
        float(rng.choice([1.0, 0.9])),
        int(rng.choice([-1, 2, 10, 50])),
        int(rng.choice([-1, 3, 20])),
        int(rng.integers(-1, classes)),
        normalized,
        outputs == 3,
        has_batch,
    )
    boxes = plain_boxes(rng, images, count, size=1.0 if normalized else 50.0)
    room = images * classes * count
    shapes = [(room, 6), (room, 1), (images,)][:outputs]
    if has_batch:
        shapes.append((images + 1,))
    return Case(param, [boxes, _probabilities(rng, images, classes, count)], shapes)


@case_maker(CpuOp.MATRIX_NMS)
def matrix_nms(rng: np.random.Generator) -> Case:
    images, classes, count = (int(v) for v in rng.integers(1, [4, 5, 40]))
    normalized = bool(rng.random() < 0.5)
    counts = bool(rng.random() < 0.5)
    param = MatrixNmsParam(
        float(rng.choice([0.1, 0.5, 9.0])),
        int(rng.choice([-1, 3, 20])),
        int(rng.choice([-1, 2, 10, 50])),
        normalized,
        int(rng.integers(-1, classes)),
        float(rng.choice([0.0, 0.3])),
        bool(rng.random() < 0.5),
        2.0,
        counts,
    )
    boxes = plain_boxes(rng, images, count, size=1.0 if normalized else 50.0)
    room = images * classes * count
    shapes = [(room, 6), (room, 1)] + [(images,)] * counts
    if rng.random() < 0.5:
        shapes.append((images + 1,))
    return Case(param, [boxes, _probabilities(rng, images, classes, count)], shapes)


@case_maker(CpuOp.BOXNMS)
def box_nms(rng: np.random.Generator) -> Case:
    lead = dims(rng, 0, 2, 3)
    count = int(rng.integers(1, 30))
    boxes = plain_boxes(rng, *lead, count, size=float(rng.choice([1, 50])))
    center = int(rng.integers(0, 2))
    if center:
        boxes = np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], -1)
    ids = rng.integers(0, 3, (*lead, count, 1)).astype(np.float32)
    scores = floats(rng, *lead, count, 1, levels=some_levels(rng))
    rows = np.concatenate([ids, scores, boxes], -1)
    param = BoxNmsParam(
        float(rng.random()),
        float(rng.choice([-1.0, 0.0, 0.2, 9.0])),
        int(rng.choice([-1, 0, 5, 20])),
        2,
        1,
        int(rng.choice([-1, 0])),
        int(rng.integers(-1, 3)),
        int(rng.integers(0, 2)),
        center,
        int(rng.integers(0, 2)),
    )
    return Case(param, [rows], [rows.shape])


@case_maker(CpuOp.BOX_CODER)
def box_coder(rng: np.random.Generator) -> Case:
    count, rows = (int(v) for v in rng.integers(1, 8, 2))
    priors = plain_boxes(rng, count) + np.float32([0, 0, 0.1, 0.1])
    variances = np.abs(floats(rng, count, 4)) + np.float32(0.1)
    normalized = bool(rng.random() < 0.5)
    axis = int(rng.integers(0, 2))
    if rng.random() < 0.5:
        code = b"encode_center_size"
        targets = plain_boxes(rng, rows) + np.float32([0, 0, 0.1, 0.1])
        out = (rows, count, 4)
    else:
        code = b"decode_center_size"
        out = (rows, count, 4) if axis == 0 else (count, rows, 4)
        targets = floats(rng, *out)
    param = BoxCoderParam(axis, normalized, len(code), code)
    return Case(param, [priors, variances, targets], [out])


@case_maker(CpuOp.DENSITY_PRIOR_BOX)
def density_prior_box(rng: np.random.Generator) -> Case:
    h, w = dims(rng, 2, 2, 6)
    ratios = rng.random(int(rng.integers(1, 4))).astype(np.float32) + np.float32(0.5)
    sizes = rng.integers(8, 64, int(rng.integers(1, 4))).astype(np.float32)
    densities = tuple(int(v) for v in rng.integers(1, 4, len(sizes)))
    step = float(rng.choice([0.0, 16.5]))
    param = DensityPriorBoxParam(
        bool(rng.random() < 0.5), False, 0.5, step, step, len(sizes), densities
    )
    image = np.zeros((1, 1, int(rng.integers(30, 99)), int(rng.integers(30, 99))), np.float32)
    feature = np.zeros((1, 1, h, w), np.float32)
    out = (h, w, sum(len(ratios) * d * d for d in densities), 4)
    variances = floats(rng, 4)
    return Case(param, [feature, image, ratios, sizes, variances], [out, out])
