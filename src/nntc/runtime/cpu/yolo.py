"""YOLO layers of Darknet, the fused YOLOv3 detection output, and Paddle's yolo_box."""

from __future__ import annotations

import math

import numpy as np

from nntc.bmodel.cpu_ops import CpuOp, PaddleYoloBoxParam, YoloParam, YoloV3DetectOutParam
from nntc.runtime.cpu import arith
from nntc.runtime.cpu.arith import f32
from nntc.runtime.cpu.overlap import yolo_keep
from nntc.runtime.cpu.registry import Call, Output, layer

KEEP_TOP_K = 200
"""Boxes of an image that the YOLOv3 detection output gives at most."""


@layer(
    CpuOp.YOLO,
    "Darknet's yolo layer: sigmoid of x, y, objectness and class scores; w and h are copied",
    "x:f32",
    "y:f32",
)
def yolo(call: Call[YoloParam]) -> list[Output]:
    param, x = call.param, call.inputs[0]
    call.rank(0, 4)
    batch, channels, h, w = x.shape
    block = 5 + param.classes
    call.require(
        param.classes >= 0 and 0 <= param.num * block <= channels,
        f"{param.num} boxes of {block} channels in {channels} channels",
    )
    result = x.copy()
    boxes = result[:, : param.num * block].reshape(batch, param.num, block, h, w).copy()
    boxes[:, :, :2] = arith.sigmoid_double(boxes[:, :, :2])
    boxes[:, :, 4:] = arith.sigmoid_double(boxes[:, :, 4:])
    result[:, : param.num * block] = boxes.reshape(batch, param.num * block, h, w)
    return [call.declared(0, result)]


@layer(
    CpuOp.YOLOV3_DETECT_OUT,
    "rows (image, label, score, x, y, w, h) of shape (1, 1, n, 7), at most 200 an image, all "
    "classes suppressed together; if nothing is found one row (image, -1, …) an image",
    "features:f32*",
    "detections:f32",
)
def yolov3_detect_out(call: Call[YoloV3DetectOutParam]) -> list[Output]:
    param = call.param
    count = param.num_inputs
    call.require(
        1 <= count <= min(len(call.inputs), 3), f"num_inputs {count} of {len(call.inputs)} inputs"
    )
    block = 5 + param.num_classes
    call.require(param.num_classes >= 1 and param.num_boxes >= 0, f"{param}")
    images = call.inputs[0].shape[0] if call.inputs[0].ndim else 0
    for t in range(count):
        call.rank(t, 4)
        shape = call.inputs[t].shape
        fits = shape[0] >= images and shape[1] >= param.num_boxes * block
        call.require(fits, f"input {t} is {shape} for {param.num_boxes} boxes of {block} channels")
    rows: list[np.ndarray] = []
    for image in range(images):
        found = np.concatenate([_yolo_boxes(call, t, image) for t in range(count)])
        found = found[np.argsort(-found[:, 1], kind="stable")]
        kept = yolo_keep(found[:, 2:], f32(param.nms_threshold))[:KEEP_TOP_K]
        numbers = np.full((len(kept), 1), image, np.float32)
        rows.append(np.concatenate([numbers, found[kept]], -1))
    result = np.concatenate(rows) if rows else np.zeros((0, 7), np.float32)
    if not len(result):
        result = np.full((images, 7), -1, np.float32)
        result[:, 0] = np.arange(images)
    call.room(0, (1, 1, *result.shape))
    return [result.reshape(1, 1, -1, 7)]


def _yolo_boxes(call: Call[YoloV3DetectOutParam], t: int, image: int) -> np.ndarray:
    """Rows (label, score, x, y, w, h) of one feature map, in the order box, y, x."""
    param, feature = call.param, call.inputs[t][image]
    h, w = feature.shape[1:]
    block = 5 + param.num_classes
    feature = feature[: param.num_boxes * block].reshape(param.num_boxes, block, h, w)
    threshold = f32(param.confidence_threshold)
    # Objectness is compared before its sigmoid, with the threshold's inverse sigmoid.
    raw = -arith.log(f32(1) / threshold - f32(1))
    n, cy, cx = np.nonzero(~(feature[:, 4] <= raw))
    cells = feature[n, :, cy, cx].reshape(-1, block)
    label = np.argmax(cells[:, 5:], axis=1)
    best = cells[np.arange(len(cells)), 5 + label]
    score = arith.sigmoid_double(cells[:, 4]) * arith.sigmoid_double(best)
    x = (cx.astype(np.float32) + arith.sigmoid_double(cells[:, 0])) / f32(w)
    y = (cy.astype(np.float32) + arith.sigmoid_double(cells[:, 1])) / f32(h)
    places = n + t * param.mask_group_size
    call.in_range(places, 9, "mask number")
    anchors = arith.to_int(np.array(param.mask, np.float32))[places]
    call.in_range(anchors, 9, "anchor")
    biases = np.array(param.biases, np.float32).reshape(9, 2)[anchors]
    scale = f32(param.anchors_scale[t])
    size = arith.to_int(np.array([w, h], np.float32) * scale).astype(np.float32)
    # The extent is computed in double.
    extent = np.exp(cells[:, 2:4].astype(np.float64)) * biases / size
    rows = np.stack([label.astype(np.float32), score, x, y, extent[:, 0], extent[:, 1]], -1)
    return rows[score > threshold].astype(np.float32)


@layer(
    CpuOp.PADDLE_YOLO_BOX,
    "Paddle's yolo_box: boxes (n, m, 4) and scores (n, m, classes), zeros where objectness is "
    "below conf_thresh; image sizes are int32 (height, width); iou_aware is not used",
    "x:f32 image_size:i32",
    "boxes:f32 scores:f32",
)
def paddle_yolo_box(call: Call[PaddleYoloBoxParam]) -> list[Output]:
    param, x = call.param, call.inputs[0]
    call.rank(0, 4)
    images, channels, h, w = x.shape
    call.require(0 <= param.anchors_size < 100, f"anchors_size {param.anchors_size}")
    count, block = param.anchors_size // 2, param.class_num + 5
    call.require(
        param.class_num >= 0 and count * block == channels,
        f"{count} anchors of {block} channels in {channels} channels",
    )
    sizes = call.ints(1).reshape(-1)
    call.require(len(sizes) >= 2 * images, f"{len(sizes)} numbers for {images} image sizes")
    img = sizes[: 2 * images].reshape(images, 2).astype(np.float32)[..., None, None, None]
    img_h, img_w = img[:, 0], img[:, 1]
    cells = np.moveaxis(x.reshape(images, count, block, h, w), 2, 0)
    anchors = np.array(param.anchors[: 2 * count], np.float32).reshape(count, 2, 1, 1)
    scale = f32(param.scale)
    bias = f32(-0.5 * (float(scale) - 1.0))
    column = np.arange(w, dtype=np.float32)
    row = np.arange(h, dtype=np.float32)[:, None]
    with_size = param.downsample_ratio
    center_x = (column + arith.sigmoid_float(cells[0]) * scale + bias) * img_w / f32(w)
    center_y = (row + arith.sigmoid_float(cells[1]) * scale + bias) * img_h / f32(h)
    width = arith.exp(cells[2]) * anchors[:, 0] * img_w / f32(with_size * w)
    height = arith.exp(cells[3]) * anchors[:, 1] * img_h / f32(with_size * h)
    boxes = [
        center_x - width / f32(2),
        center_y - height / f32(2),
        center_x + width / f32(2),
        center_y + height / f32(2),
    ]
    if param.clip_bbox:
        boxes[:2] = [np.where(b > 0, b, f32(0)) for b in boxes[:2]]
        limits = (img_w - f32(1), img_h - f32(1))
        boxes[2:] = [np.where(b < m, b, m) for b, m in zip(boxes[2:], limits, strict=True)]
    confidence = arith.sigmoid_float(cells[4])
    found = ~(confidence < f32(param.conf_thresh))
    scores = confidence[..., None] * arith.sigmoid_float(np.moveaxis(cells[5:], 0, -1))
    results = [np.stack(boxes, -1), scores]
    results = [np.where(found[..., None], r, f32(0)).astype(np.float32) for r in results]
    rows = count * h * w
    return [
        _declared_rows(call, i, r.reshape(images, rows, r.shape[-1])) for i, r in enumerate(results)
    ]


def _declared_rows(call: Call[PaddleYoloBoxParam], index: int, rows: np.ndarray) -> np.ndarray:
    """The layer spaces images by the declared rows; only the natural number is supported."""
    if call.output_shapes is None:
        return rows
    declared = call.output_shapes[index]
    call.require(
        math.prod(declared) == rows.size, f"output {index} is {rows.shape}, declared {declared}"
    )
    return rows.reshape(declared)
