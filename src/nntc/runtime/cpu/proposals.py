"""Region proposals of Faster R-CNN (Caffe) and Detectron (Caffe2)."""

from __future__ import annotations

import math

import numpy as np

from nntc.bmodel.cpu_ops import (
    BboxTransformParam,
    BoxWithNmsLimitParam,
    CollectRpnProposalsParam,
    CpuOp,
    DistributeFpnRoiAlignConcatParam,
    GenerateProposalsParam,
    PytorchRoiAlignParam,
    RpnParam,
)
from nntc.runtime.cpu import arith
from nntc.runtime.cpu.arith import f32
from nntc.runtime.cpu.ordering import partial_sort_order, sort_order
from nntc.runtime.cpu.overlap import detectron_keep, rpn_keep
from nntc.runtime.cpu.registry import Call, Output, layer
from nntc.runtime.cpu.roi import torch_align

MAX_ROIS = 200
"""Rows that the Caffe proposal layer writes at most."""

XFORM_CLIP = f32(math.log(1000.0 / 16.0))


@layer(
    CpuOp.RPN,
    "Faster R-CNN proposals of image 0: rows (0, x1, y1, x2, y2) of shape (n, 5, 1, 1), n at most "
    "200, and their scores if declared",
    "scores:f32 deltas:f32 image_info:f32",
    "rois:f32 scores:f32?",
)
def rpn(call: Call[RpnParam]) -> list[Output]:
    param = call.param
    call.rank(0, 4)
    call.rank(1, 4)
    anchors = _anchors(call)
    count = len(anchors)
    h, w = call.inputs[1].shape[2:]
    call.require(
        min(len(call.inputs[0]), len(call.inputs[1])) >= 1
        and call.inputs[1].shape[1] == 4 * count
        and call.inputs[0].shape[1] == 2 * count
        and call.inputs[0].shape[2:] == (h, w),
        f"scores {call.inputs[0].shape} and deltas {call.inputs[1].shape} for {count} anchors",
    )
    info = call.inputs[2].reshape(-1)
    call.require(info.size >= 3, f"image_info {call.inputs[2].shape}, needs 3 numbers")
    limit_h, limit_w = (f32(v) for v in arith.to_int(info[:2]))
    least = f32(param.min_size) * info[2]
    score = call.inputs[0][0, count:]
    delta = call.inputs[1][0].reshape(count, 4, h, w)
    shift_x = (np.arange(w) * param.feat_stride).astype(np.float32)
    shift_y = (np.arange(h) * param.feat_stride).astype(np.float32)[:, None]
    at = anchors.astype(np.float32)[..., None, None]
    left, top = at[:, 0] + shift_x, at[:, 1] + shift_y
    width = (at[:, 2] + shift_x) - left + f32(1)
    height = (at[:, 3] + shift_y) - top + f32(1)
    x = width * delta[:, 0] + (left + f32(0.5) * width)
    y = height * delta[:, 1] + (top + f32(0.5) * height)
    growth = np.exp(delta[:, 2:].astype(np.float64)).astype(np.float32)
    width, height = width * growth[:, 0], height * growth[:, 1]
    keep = ~((width < least) | (height < least) | (score < f32(param.score_thresh)))
    half_w, half_h = f32(0.5) * width, f32(0.5) * height
    boxes = np.stack(
        [
            _clip(x - half_w, limit_w),
            _clip(y - half_h, limit_h),
            _clip(x + half_w, limit_w),
            _clip(y + half_h, limit_h),
        ],
        -1,
    )[keep]
    score = score[keep]
    order = np.argsort(-score, kind="stable")
    if param.pre_nms_top_n > 0:
        order = order[: param.pre_nms_top_n]
    order = order[rpn_keep(np.ascontiguousarray(boxes[order]), f32(param.nms_thresh))]
    if param.post_nms_top_n > 0:
        order = order[: param.post_nms_top_n]
    order = order[:MAX_ROIS]
    rois = np.zeros((len(order), 5), np.float32)
    rois[:, 1:] = boxes[order]
    outputs: list[Output] = [_rows_as_declared(call, 0, rois, (5, 1, 1))]
    if call.output_count(1) > 1:
        outputs.append(_rows_as_declared(call, 1, score[order], (1, 1, 1)))
    return outputs


def _clip(x: np.ndarray, limit: np.float32) -> np.ndarray:
    positive = np.where(x > 0, x, f32(0))
    return np.where(positive > limit, limit, positive)


def _rows_as_declared(
    call: Call[RpnParam], index: int, rows: np.ndarray, inner: tuple[int, ...]
) -> np.ndarray:
    """The layer changes the first dimension of the declared shape only."""
    if call.output_shapes is not None:
        inner = call.output_shapes[index][1:]
        each = rows.size // max(len(rows), 1) if len(rows) else math.prod(inner)
        call.require(math.prod(inner) == each, f"output {index} declared {call.output_shapes}")
        call.room(index, (len(rows), *inner))
    return rows.reshape(len(rows), *inner)


def _anchors(call: Call[RpnParam]) -> np.ndarray:
    """Anchor corners (n, 4) truncated to integers: ratios, then scales of each."""
    param = call.param
    call.require(
        0 <= param.ratios_num <= 5 and 0 <= param.scales_num <= 5,
        f"{param.ratios_num} ratios and {param.scales_num} scales",
    )
    base = f32(param.base_size)
    center = (base - f32(1)) / f32(2)
    made: list[list[np.float32]] = []
    for ratio in np.array(param.ratios[: param.ratios_num], np.float32):
        width = arith.round_half_away(np.sqrt(base * base / ratio))
        height = arith.round_half_away(width * ratio)
        corners = [
            center + sign * f32(0.5) * (side - f32(1))
            for sign, side in ((-1, width), (-1, height), (1, width), (1, height))
        ]
        wide, high = (corners[i + 2] - corners[i] + f32(1) for i in range(2))
        x, y = ((corners[i + 2] + corners[i]) / f32(2) for i in range(2))
        for scale in np.array(param.anchor_scales[: param.scales_num], np.float32):
            half_w = f32(0.5) * (wide * scale - f32(1))
            half_h = f32(0.5) * (high * scale - f32(1))
            made.append([x - half_w, y - half_h, x + half_w, y + half_h])
    return arith.to_int(np.array(made, np.float32).reshape(-1, 4))


@layer(
    CpuOp.GENERATE_PROPOSALS,
    "Caffe2 GenerateProposals: rows (image, x1, y1, x2, y2) and their scores",
    "scores:f32 deltas:f32 image_info:f32 anchors:f32",
    "rois:f32 scores:f32",
)
def generate_proposals(call: Call[GenerateProposalsParam]) -> list[Output]:
    call.rank(0, 4)
    call.rank(1, 4)
    call.rank(2, 2)
    call.rank(3, 2)
    scores, deltas, info, anchors = call.inputs
    count = len(anchors)
    call.require(
        anchors.shape[1] == 4
        and deltas.shape[1] == 4 * count
        and scores.shape[1] == count
        and deltas.shape[2:] == scores.shape[2:]
        and len(deltas) >= len(scores)
        and len(info) >= len(scores)
        and info.shape[1] >= 3,
        f"scores {scores.shape}, deltas {deltas.shape}, anchors {anchors.shape}",
    )
    found = [
        _one_image(call.param, scores[i], deltas[i], info[i], anchors) for i in range(len(scores))
    ]
    rows = [np.zeros((0, 5), np.float32)]
    for image, (boxes, _) in enumerate(found):
        numbers = np.full((len(boxes), 1), image, np.float32)
        rows.append(np.concatenate([numbers, boxes], -1))
    probabilities = np.concatenate([np.zeros(0, np.float32), *(p for _, p in found)])
    return [np.concatenate(rows), probabilities]


def _one_image(
    param: GenerateProposalsParam,
    scores: np.ndarray,
    deltas: np.ndarray,
    info: np.ndarray,
    anchors: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    one = f32(param.legacy_plus_one)
    h, w = scores.shape[1:]
    flat = scores.reshape(-1)
    limit = param.rpn_pre_nms_top_n
    if 0 < limit < flat.size:
        order = partial_sort_order(flat, limit, descending=True)
    else:
        order = sort_order(flat, descending=True)
    a, row, column = np.unravel_index(order, scores.shape)
    delta = deltas.reshape(-1, 4, h, w)[a, :, row, column]
    anchor = anchors[a]
    stride = f32(1.0 / param.spatial_scale) if param.spatial_scale else f32(np.inf)
    least = f32(param.rpn_min_size) * info[2]
    corners: list[np.ndarray] = []
    keep = np.ones(len(order), bool)
    for axis, (cell, limit_at) in enumerate(((column, info[1]), (row, info[0]))):
        size = anchor[:, 2 + axis] - anchor[:, axis] + one
        half = size * f32(0.5)
        center = delta[:, axis] * size + anchor[:, axis] + cell.astype(np.float32) * stride + half
        reach = arith.exp(np.minimum(delta[:, 2 + axis], XFORM_CLIP)) * half
        low = np.minimum(np.maximum(center - reach, f32(0)), limit_at - one)
        high = np.minimum(np.maximum(center + reach - one, f32(0)), limit_at - one)
        side = high - low + one
        keep &= ~((side < least) | (low + side * f32(0.5) >= limit_at))
        corners += [low, high]
    boxes = np.stack([corners[0], corners[2], corners[1], corners[3]], -1)
    candidates = np.flatnonzero(keep)
    top = param.rpn_post_nms_top_n
    top = top if 0 < top < len(candidates) else -1
    kept = detectron_keep(boxes, candidates, f32(param.rpn_nms_thresh), one, top)
    return boxes[kept], flat[order[kept]]


@layer(
    CpuOp.BBOX_TRANSFORM,
    "Caffe2 BBoxTransform (not rotated): boxes (r, 4 per class), and regions per image as floats",
    "rois:f32 deltas:f32 image_info:f32",
    "boxes:f32 counts:f32",
)
def bbox_transform(call: Call[BboxTransformParam]) -> list[Output]:
    param = call.param
    call.require(not param.rotated, "rotated boxes are not possible")
    for i in range(3):
        call.rank(i, 2)
    rois, deltas, info = call.inputs
    call.require(
        rois.shape[1] in (4, 5) and len(deltas) >= len(rois) and info.shape[1] >= 3,
        f"rois {rois.shape}, deltas {deltas.shape}, image_info {info.shape}",
    )
    classes = deltas.shape[1] // 4
    counts = np.zeros(len(info), np.int64)
    if rois.shape[1] == 4:
        call.require(len(info) >= 1, "no image_info")
        counts[0] = len(rois)
    else:
        numbers = arith.to_int(rois[:, 0])
        call.in_range(numbers, len(info), "region's image number")
        counts = np.bincount(numbers, minlength=len(info))
    one = f32(param.legacy_plus_one)
    weights = np.array([1.0 / v if v else math.inf for v in param.weights], np.float64)
    weights = weights.astype(np.float32)
    result = np.zeros((len(rois), deltas.shape[1]), np.float32)
    start = 0
    for image, count in zip(info, counts, strict=True):
        # Regions of an image are taken as consecutive rows.
        part = slice(start, start + count)
        start += count
        before = image[2]
        after = before if param.apply_scale else f32(1)
        whole = arith.to_int((image[:2] / before).astype(np.float64) + 0.5) - int(one)
        size = whole[::-1].astype(np.float32)
        boxes = rois[part, -4:] * (1.0 / before.astype(np.float64)).astype(np.float32)
        delta = deltas[part, : 4 * classes].reshape(count, classes, 4)
        new = np.zeros((count, classes, 4), np.float32)
        for axis in range(2):
            side = (boxes[:, 2 + axis] - boxes[:, axis] + one)[:, None]
            half = side * f32(0.5)
            low = boxes[:, axis][:, None]
            center = delta[..., axis] * weights[axis] * side + low + half
            reach = np.minimum(delta[..., 2 + axis] * weights[2 + axis], XFORM_CLIP)
            reach = arith.exp(reach) * half
            for place, corner in ((axis, center - reach), (2 + axis, center + reach - one)):
                clipped = np.minimum(np.maximum(corner, f32(0)), size[axis])
                new[..., place] = clipped * after
        result[part, : 4 * classes] = new.reshape(count, 4 * classes)
    return [result, counts.astype(np.float32)]


@layer(
    CpuOp.BOX_WITH_NMS_LIMIT,
    "Caffe2 BoxWithNMSLimit of one image, hard NMS only: scores, boxes, classes, number per "
    "image, int32 region numbers and their int32 counts per class",
    "scores:f32 boxes:f32 splits:f32?",
    "scores:f32 boxes:f32 classes:f32 counts:f32 kept:i32 kept_counts:i32",
)
def box_with_nms_limit(call: Call[BoxWithNmsLimitParam]) -> list[Output]:
    param, scores, boxes = call.param, call.inputs[0], call.inputs[1]
    call.require(not param.rotated and not param.soft_nms_enabled, "only hard NMS of plain boxes")
    call.rank(0, 2)
    call.rank(1, 2)
    call.require(len(boxes) >= len(scores), f"boxes {boxes.shape} for scores {scores.shape}")
    if len(call.inputs) > 2:
        splits = call.inputs[2].reshape(-1)
        # With several images the maker's layer reads beyond its buffers.
        call.require(
            len(splits) == 1 and splits[0] == len(scores), f"splits {splits}: only one image"
        )
    classes = scores.shape[1]
    one = f32(param.legacy_plus_one)
    offset = int(param.input_boxes_include_bg_cls)
    limit = param.detections_per_im if param.detections_per_im > 0 else -1
    kept: list[np.ndarray] = [np.zeros(0, np.int64)] * classes
    own_score, own_box = {}, {}
    for j in range(1, classes):
        box = 0 if param.cls_agnostic_bbox_reg else j if offset else j - 1
        call.require(4 * box + 4 <= boxes.shape[1], f"boxes {boxes.shape} have no class {j}")
        own_score[j] = scores[:, j - 1 + offset]
        own_box[j] = np.ascontiguousarray(boxes[:, 4 * box : 4 * box + 4])
        candidates = np.flatnonzero(own_score[j] > f32(param.score_thresh))
        order = candidates[sort_order(own_score[j][candidates], descending=True)]
        kept[j] = detectron_keep(own_box[j], order, f32(param.nms), one, limit)
    total = sum(map(len, kept))
    if limit > 0 and total > limit:
        labels = np.concatenate([np.full(len(k), j) for j, k in enumerate(kept)])
        numbers = np.concatenate(kept)
        keys = np.array([own_score[j][k] for j, k in zip(labels, numbers, strict=True)])
        best = sort_order(keys, descending=True)[:limit]
        kept = [numbers[best][labels[best] == j] for j in range(classes)]
    used = range(1, classes)
    empty = [np.zeros(0, np.float32)]
    shown = [np.full(len(kept[j]), j - (not param.output_classes_include_bg_cls)) for j in used]
    return [
        np.concatenate(empty + [own_score[j][kept[j]] for j in used]),
        np.concatenate([np.zeros((0, 4), np.float32)] + [own_box[j][kept[j]] for j in used]),
        np.concatenate(empty + shown).astype(np.float32),
        np.array([sum(map(len, kept))], np.float32),
        np.concatenate(kept).astype(np.int32),
        np.array([[len(k) for k in kept]], np.int32),
    ]


@layer(
    CpuOp.COLLECT_RPN_PROPOSALS,
    "the best rows of several levels: regions of all levels, then scores of all levels",
    "rois_and_scores:f32*",
    "rois:f32",
)
def collect_rpn_proposals(call: Call[CollectRpnProposalsParam]) -> list[Output]:
    levels = call.param.rpn_max_level - call.param.rpn_min_level + 1
    call.require(
        levels >= 1 and len(call.inputs) >= 2 * levels,
        f"{len(call.inputs)} inputs for {levels} levels",
    )
    rows: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    for i in range(levels):
        call.rank(i, 2)
        rois, score = call.inputs[i], call.inputs[levels + i].reshape(-1)
        call.require(
            rois.shape[1] == 5 and len(score) >= len(rois),
            f"level {i}: regions {rois.shape} and {len(score)} scores",
        )
        rows.append(rois)
        scores.append(score[: len(rois)])
    order = np.argsort(-np.concatenate(scores), kind="stable")
    if call.param.rpn_post_nms_top_n > 0:
        order = order[: call.param.rpn_post_nms_top_n]
    return [np.concatenate(rows)[order]]


@layer(
    CpuOp.DISTRIBUTE_FPN_ROI_ALIGN_CONCAT,
    "each region pooled from the one of four feature maps that suits its size; pooled regions by "
    "map, and the int32 place of each region among them",
    "rois:f32 features:f32*",
    "pooled:f32 places:i32",
)
def distribute_fpn_roi_align(call: Call[DistributeFpnRoiAlignConcatParam]) -> list[Output]:
    dfp, aligns = call.param.dfp, call.param.roi_aligns
    call.require(len(call.inputs) == 5, f"{len(call.inputs)} inputs, needs regions and 4 maps")
    call.rank(0, 2)
    for i in range(1, 5):
        call.rank(i, 4)
    rois, maps = call.inputs[0], call.inputs[1:]
    channels = maps[0].shape[1]
    # All maps use the pooled size of the last parameter, which must not be 0 in any of the last 3.
    rows, columns = aligns[3].pooled_height, aligns[3].pooled_width
    call.require(
        rois.shape[1] in (4, 5)
        and all(m.shape[1] == channels for m in maps)
        and all(a.pooled_height and a.pooled_width for a in aligns[1:]),
        f"regions {rois.shape}, maps of {[m.shape[1] for m in maps]} channels",
    )
    call.require(rows >= 1 and columns >= 1, f"pooled size {rows} x {columns}")
    call.require(dfp.roi_canonical_scale, "roi_canonical_scale is 0")
    boxes = rois[:, -4:]
    images = np.zeros(len(rois), np.int64) if rois.shape[1] == 4 else arith.to_int(rois[:, 0])
    width, height = (boxes[:, i + 2] - boxes[:, i] + f32(dfp.legacy_plus_one) for i in range(2))
    size = np.sqrt(width * height) * f32(1.0 / np.float64(f32(dfp.roi_canonical_scale)))
    octaves = arith.log(size + f32(1e-6)) * f32(1.0 / math.log(2.0))
    level = arith.to_int(np.floor(f32(dfp.roi_canonical_level) + octaves))
    level = np.maximum(dfp.roi_min_level, np.minimum(dfp.roi_max_level, level)) - dfp.roi_min_level
    call.in_range(level, 4, "level of a region:")
    order = np.argsort(level, kind="stable")
    result = np.zeros(call.room(0, (len(rois), channels, rows, columns)), np.float32)
    for out, i in zip(result, order, strict=True):
        feature = maps[level[i]]
        call.in_range(images[i : i + 1], len(feature), "region's image number")
        own = aligns[level[i]]
        param = PytorchRoiAlignParam(
            rows, columns, own.spatial_scale, own.sampling_ratio, own.align
        )
        out[:] = torch_align(call, feature[images[i]], boxes[i], param, least_when_aligned=True)
    return [result, np.argsort(order, kind="stable").astype(np.int32)]
