"""One use or more of every operator: the operator and its operands' types."""

from __future__ import annotations

import math

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph, Op, TensorType, Value


def kind(text: str) -> TensorType:
    """A type from its text, e.g. f32[1x3]."""
    dtype, _, dims = text.rstrip("]").partition("[")
    return TensorType(DType(dtype), tuple(map(int, dims.split("x"))) if dims else ())


def kinds(text: str) -> list[TensorType | None]:
    """Types from a text with spaces between them; - is an absent operand."""
    return [None if word == "-" else kind(word) for word in text.split()]


IMAGE = "f32[1x4x8x8]"
POOL = {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "dilations": (1, 1)}

EXAMPLES: list[tuple[Op, str]] = [
    (ops.Unary("gelu_tanh"), "f16[3x4]"),
    (ops.Unary("isnan"), "f32[3x4]"),
    (ops.Unary("bitnot"), "u16[]"),
    (ops.Binary("add"), "i64[3x1] i64[4]"),
    (ops.Binary("le"), "f32[3x1] f32[4]"),
    (ops.Binary("pow"), "f32[3] i32[]"),
    (ops.LeakyRelu(0.1), IMAGE),
    (ops.Elu(), IMAGE),
    (ops.Selu(), IMAGE),
    (ops.Celu(2.0), IMAGE),
    (ops.HardSigmoid(1 / 6, 0.5), IMAGE),
    (ops.ThresholdedRelu(0.25), IMAGE),
    (ops.Shrink(0.5, 0.1), "i8[3]"),
    (ops.Swish(1.5), IMAGE),
    (ops.Clip(0, 6), IMAGE),
    (ops.Clip(max=6), "u8[3]"),
    (ops.IsInf(False, True), IMAGE),
    (ops.PRelu(), f"{IMAGE} f32[4x1x1]"),
    (ops.Where(), "bool[3x1] u8[1x4] u8[]"),
    (ops.Cast(DType.I8), "f64[2]"),
    (ops.Conv((1, 2), (1, 0, 1, 2), (1, 1), 2), f"{IMAGE} f32[6x2x3x3] f32[6]"),
    (ops.Conv((1,), (0, 0), (1,)), "f32[2x3x9] f32[4x3x3]"),
    (ops.ConvTranspose((2, 2), (0, 0, 1, 1), (1, 1), 1, (1, 0)), f"{IMAGE} f32[4x5x3x3]"),
    (ops.MatMul(False, True), "f32[2x3x4] f32[5x4] f32[5]"),
    (ops.MaxPool(**POOL), IMAGE),
    (ops.AveragePool(**POOL, count_include_pad=True), IMAGE),
    (ops.LpPool(p=2, **POOL, ceil_mode=True), IMAGE),
    (ops.BatchNorm(), f"{IMAGE} f32[4] f32[4] f32[4] f32[4]"),
    (ops.LayerNorm(2, 1e-6), f"{IMAGE} - f32[8x8]"),
    (ops.InstanceNorm(), f"{IMAGE} f32[4] f32[4]"),
    (ops.GroupNorm(2), f"{IMAGE} f32[4] f32[4]"),
    (ops.RMSNorm(3), f"{IMAGE} f32[8]"),
    (ops.LRN(5, 1e-4, 0.75, 2.0), IMAGE),
    (ops.LpNorm(2, 1), IMAGE),
    (ops.Softmax(1), IMAGE),
    (ops.LogSoftmax(3), IMAGE),
    (ops.Hardmax(1), IMAGE),
    (ops.Reduce("mean", (2, 3), keepdims=False), IMAGE),
    (ops.Reduce("max", ()), "bool[2]"),
    (ops.ArgReduce("min", 1, select_last=True), IMAGE),
    (ops.CumSum(0, reverse=True), "i32[5]"),
    (ops.Reshape((4, 64)), IMAGE),
    (ops.Transpose((0, 2, 3, 1)), IMAGE),
    (ops.Concat(1), "u8[1x3] u8[1x0] u8[1x2]"),
    (ops.Slice((0, 7), (3, -1), (1, -2)), "f32[3x8]"),
    (ops.Pad((0, 1, 2, 0), "reflect"), "f32[3x8]"),
    (ops.Pad((0, 1), value=-math.inf), "f32[3]"),
    (ops.Expand((2, 3, 4)), "bool[3x1]"),
    (ops.Tile((2, 1)), "f32[3x8]"),
    (ops.DepthToSpace(2, "CRD"), IMAGE),
    (ops.SpaceToDepth(4), IMAGE),
    (ops.Gather(1), "f32[3x4] i64[2x2]"),
    (ops.GatherElements(1), "f32[3x4] i32[3x9]"),
    (ops.GatherND(1), "f32[2x3x4] i64[2x5x1]"),
    (ops.ScatterElements(0, "max"), "f32[3x4] i32[2x4] f32[2x4]"),
    (ops.ScatterND("add"), "f32[3x4] i64[5x1] f32[5x4]"),
    (ops.OneHot(1, 3), "i64[4] f16[2]"),
    (ops.Trilu(False, -1), "f32[3x4]"),
    (ops.ReverseSequence(0, 1), "f32[3x4] i64[3]"),
    (ops.TopK(2, 1, largest=False), "f32[3x4]"),
    (ops.Resize((1, 4, 16, 12), (1, 1, 2, 1.5), "cubic", antialias=True), IMAGE),
    (
        ops.Resize((2, 3), (1.0, 0.75), coordinate="tf_crop_and_resize", roi=(0, 0.1, 1, 0.9)),
        "u8[2x4]",
    ),
    (ops.GridSample("cubic", "border", True), f"{IMAGE} f32[1x5x6x2]"),
    (ops.GridSample("nearest"), "f32[1x2x3x4x5] f32[1x2x2x2x3]"),
    (ops.RoiAlign(2, 3, 1, 0.5), f"{IMAGE} f32[6x4] i64[6]"),
    (ops.RoiPool(2, 3, 0.5), f"{IMAGE} f32[6x5]"),
    (ops.DetectionOutput(3, 0, 0.5, 9, 7), "f32[2x36] f32[2x27] f32[1x2x36]"),
    (ops.NonMaxSuppression(max_output=3, iou=0.5), "f32[2x9x4] f32[2x3x9]"),
    (ops.Quantize(DType.U8), f"{IMAGE} f32[4]"),
    (ops.Dequantize(0), "i8[3x4] f32[]"),
    (
        ops.FixConv((1, 2), (1, 0, 1, 2), (1, 1), 2, 7, DType.I8, 3),
        "u8[2x4x8x8] i8[6x2x3x3] i16[6]",
    ),
    (ops.FixConv((1,), (0, 0), (1,), 1, 0, DType.U8), "i8[2x3x9] i8[4x3x3]"),
    (
        ops.FixConvTranspose((2, 2), (0, 0, 1, 1), (1, 1), 1, (1, 0), 7, DType.I8),
        "i8[1x4x8x8] i8[4x5x3x3] i16[5]",
    ),
    (ops.FixSum(7, DType.U8), "i8[2x4x3] i8[4] u8[2x4x3] i8[]"),
    (ops.FixSum(7, DType.I8), "i8[2x4x3] i8[4] u8[2x4x3] i8[] i16[4]"),
    (ops.FixAffine(7, DType.U8), "i8[2x4x3] i8[4] i16[4]"),
    (ops.FixMul(8, DType.I8), "i8[2x4x3] u8[4x1]"),
    (ops.FixMul(8, DType.U8, 12), "u8[2x4x3] i8[4x1] i16[4]"),
    (ops.Lut(), "i8[2x4] u8[256]"),
]


def graph_of(op: Op, operands: str) -> Graph:
    """A graph of the operator alone."""
    graph = Graph(op.name)
    values: list[Value | None] = []
    for number, one in enumerate(kinds(operands)):
        values.append(None if one is None else graph.input(f"x{number}", one.dtype, one.shape))
    graph.outputs = list(graph.add(op, *values).outputs)
    return graph
