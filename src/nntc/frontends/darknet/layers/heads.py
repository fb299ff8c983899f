"""Detection heads: their operands are outputs of the network, as they are."""

from __future__ import annotations

from nntc.core.errors import ModelError
from nntc.frontends.darknet.call import Call, reads
from nntc.ir import ops
from nntc.ir.graph import Value


def _need_channels(c: Call, boxes: int, each: int) -> None:
    if c.channels != boxes * each:
        raise ModelError(
            f"{c.channels} channels come in, {boxes} boxes of {each} numbers need {boxes * each} "
            "(filters= of the layer before)"
        )


@reads("yolo", becomes="an output: the operand as it is, no sigmoid, no boxes", is_head=True)
def yolo(c: Call) -> Value:
    boxes = len(c.section.integers("mask")) or c.integer("num", 1, 1)
    _need_channels(c, boxes, c.integer("classes", 20, 0) + 5)
    return c.x


@reads("gaussian_yolo", becomes="an output: the operand as it is", is_head=True)
def gaussian_yolo(c: Call) -> Value:
    boxes = len(c.section.integers("mask")) or c.integer("num", 1, 1)
    _need_channels(c, boxes, c.integer("classes", 20, 0) + 9)
    return c.x


@reads("region", becomes="an output: the operand as it is, no sigmoid, no boxes", is_head=True)
def region(c: Call) -> Value:
    each = c.integer("coords", 4, 0) + c.integer("classes", 20, 0) + 1
    _need_channels(c, c.integer("num", 1, 1), each)
    return c.x


@reads(
    "detection",
    becomes="an output: the operand as it is; with softmax=1 classes go through Softmax",
    is_head=True,
)
def detection(c: Call) -> Value:
    """The first YOLO's head: classes of all cells, then how likely and where their boxes are."""
    side, classes = c.integer("side", 7, 1), c.integer("classes", 1, 1)
    boxes, coords = c.integer("num", 1, 1), c.integer("coords", 1, 1)
    n = c.x.shape[0]
    cells, inputs = side * side, c.x.type.size // n
    if inputs != cells * (classes + boxes * (1 + coords)):
        raise ModelError(
            f"{inputs} numbers come in, {cells} cells of {classes} classes and {boxes} boxes of "
            f"{coords} need {cells * (classes + boxes * (1 + coords))}"
        )
    if not c.flag("softmax"):
        return c.x
    flat = c.b.reshape(c.x, (n, inputs))
    likely, rest = c.b.split(flat, 1, (cells * classes, inputs - cells * classes))
    likely = c.b.op(ops.Softmax(2), c.b.reshape(likely, (n, cells, classes)))
    joined = c.b.concat([c.b.reshape(likely, (n, cells * classes)), rest], 1)
    return c.b.reshape(joined, c.x.shape)
