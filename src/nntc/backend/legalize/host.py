"""Operators that run on the host: as layers of the runtime's CPU library.

Where the TPU can do an operator with reasonable work, it does; see ``shapes``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nntc.backend.legalize.builder import Builder
from nntc.backend.legalize.registry import rewrites
from nntc.backend.memory import memory_root
from nntc.backend.ops import CpuCall
from nntc.bmodel import cpu_ops
from nntc.bmodel.cpu_ops import CpuOp
from nntc.core.dtype import DType
from nntc.core.errors import UnsupportedError
from nntc.ir import ops
from nntc.ir.graph import Node, TensorType, Value


def call(
    b: Builder,
    layer: CpuOp,
    param: cpu_ops.CpuParam,
    inputs: Sequence[Value],
    results: Sequence[TensorType],
) -> list[Value]:
    """Append a CPU layer; its inputs get memory of their own where they need it."""
    op = CpuCall(int(layer), param.pack(), tuple(results))
    return b.several(op, *(_own(b, v) for v in inputs))


def _own(b: Builder, value: Value) -> Value:
    """A value that a subnet can name: not the reshaped form of another subnet's tensor."""
    root = memory_root(value)
    if value is root or value.is_constant:
        return value
    if root.is_constant or root in b.graph.inputs or _is_call(root):
        return b(ops.Expand(value.shape), value)
    return value


def _is_call(value: Value) -> bool:
    return value.producer is not None and isinstance(value.producer.op, CpuCall)


def _ints(b: Builder, value: Value) -> Value:
    return b.i32(value)


@rewrites(ops.TopK, place="CPU")
def top_k(b: Builder, node: Node) -> list[Value]:
    """The layer TOPK; smallest values by negating twice."""
    op = node.op
    assert isinstance(op, ops.TopK)
    x = b.f32(node.operands[0])
    axis = op.axis % len(x.shape)
    if not op.largest:
        # The library's ascending layer is right for k = n only.
        x = b.unary("neg", x)
    param = cpu_ops.TopKParam(k=op.k, axis=axis, sorted=True)
    shape = node.output.shape
    values, indices = call(
        b,
        CpuOp.TOPK,
        param,
        [x],
        [TensorType(DType.F32, shape), TensorType(DType.I32, shape)],
    )
    return [values if op.largest else b.unary("neg", values), indices]


@rewrites(ops.NonMaxSuppression, place="CPU")
def non_max_suppression(b: Builder, node: Node) -> Value:
    """The layer knows corner boxes; centres and sizes are turned into corners first."""
    op = node.op
    assert isinstance(op, ops.NonMaxSuppression)
    boxes, scores = b.f32(node.operands[0]), b.f32(node.operands[1])
    if op.center_point_box:
        centre, size = b.slice(boxes, 2, 0, 2), b.slice(boxes, 2, 2, 4)
        half = b.mul(size, 0.5)
        low, high = b.sub(centre, half), b.add(centre, half)
        # x, y order becomes y, x; the overlap does not care, but the layer's order is kept.
        parts = [b.slice(v, 2, i, i + 1) for v in (low, high) for i in (1, 0)]
        boxes = b.concat(parts, 2)
    score = max(op.score, float(np.finfo(np.float32).min))
    limits = [
        b.graph.constant(np.array([op.max_output], np.int32), "max_output"),
        b.constant(np.array([op.iou]), "iou_threshold"),
        b.constant(np.array([score]), "score_threshold"),
    ]
    param = cpu_ops.OnnxNmsParam(0, op.max_output)
    result = TensorType(DType.I32, node.output.shape)
    return call(b, CpuOp.ONNX_NMS, param, [boxes, scores, *limits], [result])[0]


@rewrites(ops.GridSample, place="CPU")
def grid_sample(b: Builder, node: Node) -> Value:
    """The layer GRID_SAMPLER; nearest positions are rounded on the TPU first."""
    op = node.op
    assert isinstance(op, ops.GridSample)
    if op.mode == "cubic":
        raise UnsupportedError(f"{node.source}: GridSample: the runtime's layer has no cubic mode")
    mode = cpu_ops.GridMode.BILINEAR if op.mode == "linear" else cpu_ops.GridMode.NEAREST
    padding = {
        "zeros": cpu_ops.GridPadding.ZEROS,
        "border": cpu_ops.GridPadding.BORDER,
        "reflection": cpu_ops.GridPadding.REFLECTION,
    }[op.padding]
    param = cpu_ops.GridSamplerParam(mode, padding, op.align_corners)
    inputs = [b.f32(v) for v in node.operands]
    if op.mode == "nearest":
        inputs[1] = _centred(b, inputs[1], node.operands[0].shape[2:], op.align_corners)
    result = TensorType(DType.F32, node.output.shape)
    return call(b, CpuOp.GRID_SAMPLER, param, inputs, [result])[0]


def _centred(b: Builder, grid: Value, sizes: Sequence[int], align_corners: bool) -> Value:
    """Grid positions moved to the nearest pixel's centre, halves to even.

    The layer rounds halves away from zero; at a centre there is nothing left to round.
    """
    size = b.constant(np.asarray(sizes[::-1], np.float32), "sizes")
    if align_corners:
        scale = b.constant((np.asarray(sizes[::-1], np.float32) - 1) / 2, "scale")
        pixel = b.unary("round", b.mul(b.add(grid, 1.0), scale))
        return b.sub(b.div(pixel, scale), 1.0)
    pixel = b.sub(b.mul(b.mul(b.add(grid, 1.0), size), 0.5), 0.5)
    pixel = b.unary("round", pixel)
    return b.sub(b.div(b.add(b.mul(pixel, 2.0), 1.0), size), 1.0)


@rewrites(ops.RoiAlign, place="CPU")
def roi_align(b: Builder, node: Node) -> Value:
    """The layer PYTORCH_ROI_ALIGN."""
    op = node.op
    assert isinstance(op, ops.RoiAlign)
    if op.mode != "avg":
        raise UnsupportedError(
            f"{node.source}: RoiAlign: the runtime's layer has no mode {op.mode}"
        )
    x, rois, image = (b.f32(v) for v in node.operands)
    regions = b.concat([b.reshape(image, (rois.shape[0], 1)), rois], 1)
    param = cpu_ops.PytorchRoiAlignParam(
        op.output_height,
        op.output_width,
        op.spatial_scale,
        op.sampling_ratio,
        op.coordinate == "half_pixel",
    )
    result = TensorType(DType.F32, node.output.shape)
    return call(b, CpuOp.PYTORCH_ROI_ALIGN, param, [x, regions], [result])[0]


@rewrites(ops.ReverseSequence, place="CPU")
def reverse_sequence(b: Builder, node: Node) -> Value:
    """The layer REVERSE_SEQUENCE."""
    op = node.op
    assert isinstance(op, ops.ReverseSequence)
    x = b.any(node.operands[0])
    param = cpu_ops.ReverseSequenceParam(op.time_axis, op.batch_axis)
    result = TensorType(x.dtype, x.shape)
    inputs = [x, b.i32(node.operands[1])]
    return call(b, CpuOp.REVERSE_SEQUENCE, param, inputs, [result])[0]


@rewrites(ops.DetectionOutput, place="CPU")
def detection_output(b: Builder, node: Node) -> Value:
    """The layer SSD_DETECT_OUT."""
    op = node.op
    assert isinstance(op, ops.DetectionOutput)
    inputs = [b.f32(v) for v in node.operands]
    code = {
        "corner": cpu_ops.CodeType.CORNER,
        "center_size": cpu_ops.CodeType.CENTER_SIZE,
        "corner_size": cpu_ops.CodeType.CORNER_SIZE,
    }[op.code]
    param = cpu_ops.SsdDetectOutParam(
        num_classes=op.classes,
        background_label_id=op.background,
        nms_threshold=op.nms_threshold,
        top_k=op.top_k,
        code_type=code,
        keep_top_k=op.keep_top_k,
        confidence_threshold=max(op.confidence, float(np.finfo(np.float32).min)),
        num_priors=inputs[0].shape[1] // 4,
        variance_encoded_in_target=op.variance_in_target,
        eta=op.eta,
    )
    result = TensorType(DType.F32, node.output.shape)
    return call(b, CpuOp.SSD_DETECT_OUT, param, inputs, [result])[0]


@rewrites(ops.RoiPool, place="CPU")
def roi_pool(b: Builder, node: Node) -> Value:
    """The layer ROI_POOLING; the lowest number, which it gives for empty cells, becomes 0."""
    op = node.op
    assert isinstance(op, ops.RoiPool)
    x, rois = (b.f32(v) for v in node.operands)
    regions = b.reshape(rois, (*rois.shape, 1, 1))
    param = cpu_ops.RoiPoolingParam(op.height, op.width, op.spatial_scale)
    result = TensorType(DType.F32, node.output.shape)
    y = call(b, CpuOp.ROI_POOLING, param, [x, regions], [result])[0]
    return b.select(b.compare("gt", y, -3.4e38), y, 0.0)
