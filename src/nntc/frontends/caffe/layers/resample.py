"""Pictures made larger or smaller."""

from __future__ import annotations

from nntc.core.errors import ModelError
from nntc.frontends.caffe.call import Call, reads
from nntc.frontends.errors import RefusedError
from nntc.ir import ops
from nntc.ir.graph import Value


def _resize(c: Call, x: Value, size: tuple[int, int], mode: str, coordinate: str) -> Value:
    sizes = (*x.shape[:2], *size)
    if min(size) < 1:
        raise ModelError(f"a picture of {size[0]}x{size[1]} pixels")
    if sizes == x.shape:
        return x
    scales = tuple(after / before for after, before in zip(sizes, x.shape, strict=True))
    return c.b.op(ops.Resize(sizes, scales, mode, coordinate, "floor"), x)  # type: ignore[arg-type]


@reads(
    "Interp",
    param="interp_param",
    becomes="Resize (linear, corners aligned)",
    limits="pads are 0 or negative (cut off)",
)
def interp(c: Call) -> Value:
    """DeepLab's; the order in which the options count is its own."""
    x = c.picture()
    begin, end = c.param.integer("pad_beg", 0), c.param.integer("pad_end", 0)
    if begin > 0 or end > 0:
        raise RefusedError(f"pad_beg {begin}, pad_end {end}: only cutting off (below 0)")
    height, width = x.shape[2:]
    if min(height, width) + begin + end < 1:
        raise ModelError(f"pad_beg {begin}, pad_end {end} leave nothing of {height}x{width}")
    x = c.b.slice(c.b.slice(x, 2, -begin, height + end), 3, -begin, width + end)
    height, width = x.shape[2:]
    factors = ("shrink_factor" in c.param) + ("zoom_factor" in c.param)
    sized = "height" in c.param or "width" in c.param
    if len(c.xs) > 1:
        height, width = c.picture(1).shape[2:]
    elif sized and factors != 1:
        height, width = c.positive("height", 0), c.positive("width", 0)
    elif factors:
        # One factor alone goes before a size.
        shrink, zoom = c.positive("shrink_factor", 1), c.positive("zoom_factor", 1)
        height, width = (
            small + (small - 1) * (zoom - 1)
            for small in ((d - 1) // shrink + 1 for d in (height, width))
        )
    else:
        raise ModelError("neither a size nor a factor is given")
    return _resize(c, x, (height, width), "linear", "align_corners")


@reads(
    "Upsample",
    param="upsample_param",
    becomes="Resize (nearest)",
    limits="no mask of a pooling as second bottom",
)
def upsample(c: Call) -> Value:
    x = c.picture()
    if len(c.xs) > 1:
        raise RefusedError("a mask of positions as second bottom")
    scale = c.positive("scale", 2)
    height = c.param.integer("upsample_h", x.shape[2] * c.param.integer("scale_h", scale))
    width = c.param.integer("upsample_w", x.shape[3] * c.param.integer("scale_w", scale))
    return _resize(c, x, (height, width), "nearest", "asymmetric")
