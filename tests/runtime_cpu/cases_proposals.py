"""Random cases of region proposals, deformable gathering and random numbers."""

from __future__ import annotations

import numpy as np

from nntc.bmodel.cpu_ops import (
    BboxTransformParam,
    BoxWithNmsLimitParam,
    CollectRpnProposalsParam,
    CpuOp,
    DeformGatherParam,
    DistributeFpnProposalsParam,
    DistributeFpnRoiAlignConcatParam,
    GenerateProposalsParam,
    PaddleDeformConvParam,
    PytorchRoiAlignParam,
    RandomUniformIntParam,
    RandomUniformParam,
    RpnParam,
)
from tests.runtime_cpu.case import Case, case_maker, dims, floats, some_levels
from tests.runtime_cpu.cases_detection import plain_boxes


@case_maker(CpuOp.RPN)
def rpn(rng: np.random.Generator) -> Case:
    ratios, scales, h, w = (int(v) for v in rng.integers(1, [4, 4, 9, 9]))
    count = ratios * scales
    param = RpnParam(
        16,
        int(rng.choice([1, 16])),
        int(rng.choice([0, 20, 300])),
        int(rng.choice([0, 5, 100])),
        float(rng.random()),
        float(rng.random() * 0.5),
        16,
        scales,
        ratios,
        tuple(int(v) for v in rng.integers(1, 8, scales)),
        tuple(float(v) for v in rng.choice([0.5, 1, 2], ratios)),
    )
    inputs = [
        floats(rng, 1, 2 * count, h, w, levels=some_levels(rng)),
        floats(rng, 1, 4 * count, h, w) * np.float32(0.3),
        np.array([[16 * h, 16 * w, 1.5]], np.float32),
    ]
    shapes: list[tuple[int, ...]] = [(200, 5, 1, 1), (200, 1, 1, 1)]
    return Case(param, inputs, shapes[: int(rng.integers(1, 3))])


@case_maker(CpuOp.GENERATE_PROPOSALS)
def generate_proposals(rng: np.random.Generator) -> Case:
    images, count, h, w = (int(v) for v in rng.integers(1, [4, 4, 7, 7]))
    anchors = plain_boxes(rng, count, size=30.0) - np.float32(10)
    param = GenerateProposalsParam(
        1 / 16,
        int(rng.choice([0, 10, 50, 1000])),
        int(rng.choice([0, 5, 100])),
        float(rng.random()),
        float(rng.choice([0.0, 4.0])),
        legacy_plus_one=bool(rng.random() < 0.5),
    )
    info = np.array([[16 * h, 16 * w, 1.5]] * images, np.float32)
    inputs = [
        floats(rng, images, count, h, w, levels=some_levels(rng)),
        floats(rng, images, 4 * count, h, w) * np.float32(0.5),
        info,
        anchors,
    ]
    room = images * count * h * w
    return Case(param, inputs, [(room, 5), (room,)])


@case_maker(CpuOp.BBOX_TRANSFORM)
def bbox_transform(rng: np.random.Generator) -> Case:
    images, classes, count = (int(v) for v in rng.integers(1, [4, 4, 20]))
    rois = plain_boxes(rng, count, size=100.0)
    if rng.random() < 0.6:
        numbers = np.sort(rng.integers(0, images, (count, 1)), axis=0).astype(np.float32)
        rois = np.concatenate([numbers, rois], -1)
    info = np.array([[100.0, 120.0, 1.5]] * images, np.float32) + floats(rng, images, 3)
    info[:, 2] = np.abs(info[:, 2]) + 1
    param = BboxTransformParam(
        tuple(float(v) for v in rng.choice([1.0, 5.0, 10.0], 4)),
        bool(rng.random() < 0.5),
        legacy_plus_one=bool(rng.random() < 0.5),
    )
    deltas = floats(rng, count, 4 * classes)
    return Case(param, [rois, deltas, info], [deltas.shape, (images,)])


@case_maker(CpuOp.BOX_WITH_NMS_LIMIT)
def box_with_nms_limit(rng: np.random.Generator) -> Case:
    classes, count = (int(v) for v in rng.integers([2, 1], [5, 30]))
    flags = [bool(v) for v in rng.random(4) < 0.5]
    param = BoxWithNmsLimitParam(
        float(rng.random() * 0.5),
        float(rng.random()),
        int(rng.choice([0, 3, 20])),
        cls_agnostic_bbox_reg=flags[0],
        input_boxes_include_bg_cls=flags[1],
        output_classes_include_bg_cls=flags[2],
        legacy_plus_one=flags[3],
    )
    scores = floats(rng, count, classes, levels=some_levels(rng))
    boxes = plain_boxes(rng, count, classes, size=50.0).reshape(count, -1)
    inputs = [scores, boxes]
    if rng.random() < 0.5:
        inputs.append(np.array([count], np.float32))
    room = count * classes
    return Case(param, inputs, [(room,), (room, 4), (room,), (1,), (room,), (1, classes)])


@case_maker(CpuOp.COLLECT_RPN_PROPOSALS)
def collect_rpn_proposals(rng: np.random.Generator) -> Case:
    levels = int(rng.integers(1, 5))
    sizes = [int(v) for v in rng.integers(1, 15, levels)]
    rois = [floats(rng, n, 5) for n in sizes]
    scores = [floats(rng, n, levels=some_levels(rng)) for n in sizes]
    limit = int(rng.choice([0, 5, 100]))
    param = CollectRpnProposalsParam(levels + 1, 2, limit)
    return Case(param, [*rois, *scores], [(sum(sizes), 5)])


@case_maker(CpuOp.DISTRIBUTE_FPN_ROI_ALIGN_CONCAT)
def distribute_fpn_roi_align(rng: np.random.Generator) -> Case:
    count, channels, images, rows, columns = (int(v) for v in rng.integers(1, [12, 4, 3, 4, 4]))
    boxes = plain_boxes(rng, count, size=float(rng.choice([50, 400])))
    if rng.random() < 0.6:
        numbers = rng.integers(0, images, (count, 1)).astype(np.float32)
        boxes = np.concatenate([numbers, boxes], -1)
    maps = [floats(rng, images, channels, *dims(rng, 2, 2, 12)) for _ in range(4)]
    ratio, align = int(rng.integers(0, 3)), bool(rng.random() < 0.5)
    aligns = [PytorchRoiAlignParam(rows, columns, 1 / 2 ** (i + 4), ratio, align) for i in range(4)]
    dfp = DistributeFpnProposalsParam(100, 4, 5, 2, bool(rng.random() < 0.5))
    out = (count, channels, rows, columns)
    param = DistributeFpnRoiAlignConcatParam.make(dfp, aligns)
    return Case(param, [boxes, *maps], [out, (count,)])


@case_maker(CpuOp.DEFORM_GATHER)
def deform_gather(rng: np.random.Generator) -> Case:
    n, kh, kw, h, w = (int(v) for v in rng.integers([1, 1, 1, 4, 4], [3, 4, 4, 9, 9]))
    groups = int(rng.integers(1, 3))
    c = groups * int(rng.integers(1, 3))
    pad = [int(v) for v in rng.integers(0, 2, 4)]
    stride = [int(v) for v in rng.integers(1, 3, 2)]
    oh = (h + pad[0] + pad[1] - kh) // stride[0] + 1
    ow = (w + pad[2] + pad[3] - kw) // stride[1] + 1
    modulated = bool(rng.random() < 0.5)
    param = DeformGatherParam(
        modulated, groups, kh, kw, *pad, *stride, 1, 1, int(rng.integers(0, 3))
    )
    inputs = [floats(rng, n, c, h, w), floats(rng, n, groups * kh * kw * 2, oh, ow)]
    if modulated:
        inputs.append(floats(rng, n, groups * kh * kw, oh, ow))
    return Case(param, inputs, [(n, c, oh * kh, ow * kw)])


@case_maker(CpuOp.PADDLE_DEFORM_CONV)
def paddle_deform_conv(rng: np.random.Generator) -> Case:
    n, kh, kw, h, w = (int(v) for v in rng.integers([1, 1, 1, 4, 4], [3, 4, 4, 9, 9]))
    groups = int(rng.integers(1, 3))
    c = groups * int(rng.integers(1, 3))
    pad = tuple(int(v) for v in rng.integers(0, 2, 2))
    stride = tuple(int(v) for v in rng.integers(1, 3, 2))
    oh = (h + 2 * pad[0] - kh) // stride[0] + 1
    ow = (w + 2 * pad[1] - kw) // stride[1] + 1
    param = PaddleDeformConvParam(True, 1, groups, kh, kw, pad, stride, (1, 1), 1)
    inputs = [
        floats(rng, n, c, h, w),
        floats(rng, n, groups * kh * kw * 2, oh, ow),
        floats(rng, n, groups * kh * kw, oh, ow),
    ]
    return Case(param, inputs, [(n, c * kh * kw, oh, ow)])


@case_maker(CpuOp.RANDOM_UNIFORM)
def random_uniform(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 4)
    low = float(rng.integers(-9, 9))
    param = RandomUniformParam(
        len(shape), shape, low, low + float(rng.random() * 5), 1 + int(rng.integers(0, 2**40))
    )
    return Case(param, [np.array(shape, np.int32)], [shape])


@case_maker(CpuOp.RANDOM_UNIFORM_INT)
def random_uniform_int(rng: np.random.Generator) -> Case:
    shape = dims(rng, 1, 4)
    low = int(rng.integers(-1000, 1000))
    high = low + int(rng.choice([1, 2, 7, 1000, 2**30, 2**31 - 1001]))
    seed = int(rng.choice([0, 1, 77, 2**31 - 1, 2**40, -5]))
    limits = [np.array([v], np.int32) for v in (low, high)]
    param = RandomUniformIntParam(len(shape), shape, seed)
    return Case(param, [np.array(shape, np.int32), *limits], [shape])
