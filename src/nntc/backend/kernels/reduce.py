"""Reductions inside a lane: along h, along w, or over both."""

from __future__ import annotations

from nntc.backend.assembler import Assembler
from nntc.backend.local import Local
from nntc.isa.layout import Shape4, Strides

OPERATIONS = {"sum": "add", "mean": "add", "max": "max", "min": "min", "prod": "mul", "or": "or"}


def emit_reduce(asm: Assembler, fn: str, out: Local, x: Local, scratch: Local) -> None:
    """``out = fn(x)`` over the dimensions h, w in which *out* has size 1 and *x* has not.

    The elements are combined pairwise in halves, so the error of a sum grows with the logarithm
    of the count.

    Args:
        x: aligned tensor; not changed.
        scratch: aligned tensor of the same shape.
    """
    over_h = out.shape.h == 1 and x.shape.h > 1
    over_w = out.shape.w == 1 and x.shape.w > 1
    n, c, h, w = x.shape
    if over_h and over_w:
        # A channel's rows follow each other without gaps: one long row.
        shape = Shape4(n, c, 1, h * w)
        strides = Strides(x.strides.n, x.strides.c, h * w, 1)
        x, scratch = x.view(shape, strides), scratch.view(shape, strides)
    op = OPERATIONS[fn]
    combine = asm.integer if fn == "or" else asm.binary
    count = x.shape.h if over_h and not over_w else x.shape.w
    if not (over_h or over_w):
        asm.copy(out, x)
        return
    axis = "h" if over_h and not over_w else "w"
    source, size = x, count
    while size > 1:
        half = size // 2
        target = out if size <= 3 else scratch.part(**{axis: (0, half)})
        combine(op, target, _piece(source, axis, 0, half), _piece(source, axis, half, 2 * half))
        if size % 2:
            first = _piece(target, axis, 0, 1)
            combine(op, first, first, _piece(source, axis, size - 1, size))
        source, size = target, half
    if fn == "mean":
        asm.binary("mul", out, out, 1.0 / count)


def _piece(x: Local, axis: str, start: int, stop: int) -> Local:
    return x.part(**{axis: (start, stop)})
