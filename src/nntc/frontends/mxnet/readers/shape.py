"""Operators that move elements or change the shape."""

from __future__ import annotations

import math

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends.errors import RefusedError
from nntc.frontends.mxnet.call import Call, reads
from nntc.ir import ops
from nntc.ir.graph import Value


@reads("Flatten", "flatten", becomes="Reshape")
def flatten(c: Call) -> Value:
    x = c.x()
    return c.b.reshape(x, (x.shape[0], x.type.size // max(x.shape[0], 1)))


@reads("Reshape", "reshape", becomes="Reshape")
def reshape(c: Call) -> Value:
    """0 keeps an axis, -1 is what is left, -2 all other axes, -3 joins two, -4 splits one."""
    x = c.x()
    wanted = list(c.integers("shape") or c.integers("target_shape"))
    shape = list(x.shape)
    if c.flag("reverse"):
        made = _dims(wanted[::-1], shape[::-1])[::-1]
    else:
        made = _dims(wanted, shape)
    if made.count(-1) > 1:
        raise ModelError(f"shape={tuple(wanted)} leaves several axes open")
    if -1 in made:
        fixed = math.prod(d for d in made if d != -1)
        made[made.index(-1)] = x.type.size // fixed if fixed else 0
    if min(made, default=0) < 0 or math.prod(made) != x.type.size:
        raise ModelError(f"shape {list(x.shape)} does not become {tuple(wanted)}")
    return c.b.reshape(x, made)


def _dims(wanted: list[int], shape: list[int]) -> list[int]:
    """The codes replaced by sizes; -1 stays."""
    made: list[int] = []
    at, place = 0, 0
    while place < len(wanted):
        code = wanted[place]
        place += 1
        taken = {-3: 2}.get(code, 1)
        if code in (0, -3, -4) and at + taken > len(shape):
            raise ModelError(f"shape={tuple(wanted)} needs more axes than {shape} has")
        if code == 0:
            made.append(shape[at])
        elif code == -2:
            made += shape[at:]
            taken = len(shape) - at
        elif code == -3:
            made.append(shape[at] * shape[at + 1])
        elif code == -4:
            parts = wanted[place : place + 2]
            place += 2
            if len(parts) < 2 or (parts[0] == 0 and parts[1] == 0) or 0 in parts:
                raise ModelError(f"shape={tuple(wanted)}: -4 needs two sizes")
            first, second = parts
            first = shape[at] // second if first == -1 else first
            second = shape[at] // first if second == -1 and first else second
            made += [first, second]
        elif code >= -1:
            made.append(code)
        else:
            raise ModelError(f"shape={tuple(wanted)}: {code} has no meaning")
        at += taken
    return made


@reads("transpose", becomes="Transpose")
def transpose(c: Call) -> Value:
    rank = len(c.x().shape)
    return c.b.transpose(c.x(), c.integers("axes") or tuple(range(rank))[::-1])


@reads("SwapAxis", "swapaxes", becomes="Transpose")
def swap_axes(c: Call) -> Value:
    rank = len(c.x().shape)
    perm = list(range(rank))
    a, b = (c.axis(c.integer(key, 0), rank) for key in ("dim1", "dim2"))
    perm[a], perm[b] = b, a
    return c.b.transpose(c.x(), perm)


@reads("expand_dims", becomes="Reshape")
def expand_dims(c: Call) -> Value:
    x = c.x()
    return c.b.unsqueeze(x, c.axis(c.integer("axis", 0), len(x.shape) + 1))


@reads("squeeze", becomes="Reshape")
def squeeze(c: Call) -> Value:
    x = c.x()
    axes = {c.axis(a, len(x.shape)) for a in c.integers("axis")}
    axes = axes or {i for i, d in enumerate(x.shape) if d == 1}
    if any(x.shape[a] != 1 for a in axes):
        raise ModelError(f"axis={sorted(axes)} of shape {list(x.shape)} are not all 1")
    y = c.b.squeeze(x, *axes)
    return y if y.shape else c.b.reshape(y, (1,))


@reads("Concat", "concat", becomes="Concat")
def concat(c: Call) -> Value:
    xs = c.xs()
    if not xs:
        raise ModelError("no operands")
    return c.b.concat(xs, c.axis(c.integer("dim", 1), len(xs[0].shape)))


@reads("stack", becomes="Reshape, Concat")
def stack(c: Call) -> Value:
    xs = c.xs()
    axis = c.axis(c.integer("axis", 0), len(c.x().shape) + 1)
    return c.b.concat([c.b.unsqueeze(x, axis) for x in xs], axis)


@reads("SliceChannel", "split", becomes="Slice")
def split(c: Call) -> list[Value]:
    x, parts = c.x(), c.integer("num_outputs", 1, 1)
    axis = c.axis(c.integer("axis", 1), len(x.shape))
    size = x.shape[axis]
    if size % parts:
        raise ModelError(f"num_outputs={parts} does not divide {size} elements of axis {axis}")
    if c.flag("squeeze_axis") and size != parts:
        raise ModelError(f"squeeze_axis: parts of {size // parts} elements")
    pieces = c.b.split(x, axis, [size // parts] * parts)
    return [c.b.squeeze(p, axis) for p in pieces] if c.flag("squeeze_axis") else pieces


def _cut(c: Call, x: Value, axis: int, begin: int, end: int | None, step: int = 1) -> Value:
    size = x.shape[axis]
    first = begin + size if begin < 0 else begin
    last = size if end is None else end + size if end < 0 else min(end, size)
    if step < 1:
        raise RefusedError(f"step {step}")
    if not 0 <= first <= last <= size:
        raise ModelError(f"elements {begin} to {end} of axis {axis} of shape {list(x.shape)}")
    return c.b.slice(x, axis, first, last, step)


@reads("slice_axis", becomes="Slice")
def slice_axis(c: Call) -> Value:
    x = c.x()
    end = c.integer("end", 0) if c.has("end") else None
    return _cut(c, x, c.axis(c.integer("axis", 0), len(x.shape)), c.integer("begin", 0), end)


@reads("slice", "crop", becomes="Slice")
def slices(c: Call) -> Value:
    x = c.x()
    begins, ends, steps = (_optional(c, key) for key in ("begin", "end", "step"))
    if max(len(begins), len(ends), len(steps)) > len(x.shape):
        raise ModelError(f"begin and end have more axes than {list(x.shape)}")
    for axis in range(len(begins)):
        end = ends[axis] if axis < len(ends) else None
        step = (steps[axis] if axis < len(steps) else None) or 1
        x = _cut(c, x, axis, begins[axis] or 0, end, step)
    return x


def _optional(c: Call, key: str) -> list[int | None]:
    """Numbers of a tuple in which None may stand."""
    parts = c.text(key, "()").strip("()[] ").split(",")
    try:
        words = [p.strip().rstrip("L") for p in parts if p.strip()]
        return [None if word == "None" else int(word) for word in words]
    except ValueError:
        raise ModelError(f"{key}={c.text(key, '')[:80]} is no list of whole numbers") from None


@reads("slice_like", becomes="Slice")
def slice_like(c: Call) -> Value:
    x, like = c.x(0), c.x(1)
    rank = len(x.shape)
    axes = [c.axis(a, rank) for a in c.integers("axes")] or list(range(min(rank, len(like.shape))))
    for axis in axes:
        if axis >= len(like.shape) or like.shape[axis] > x.shape[axis]:
            raise ModelError(f"axis {axis} of shapes {list(x.shape)} and {list(like.shape)}")
        x = c.b.slice(x, axis, 0, like.shape[axis])
    return x


@reads("Crop", becomes="Slice")
def crop(c: Call) -> Value:
    """Rows and columns; as large as the second operand, or as h_w says."""
    x = c.picture()
    size = c.picture(1).shape[2:] if len(c) > 1 else c.integers("h_w")
    if len(size) != 2 or size[0] > x.shape[2] or size[1] > x.shape[3]:
        raise ModelError(f"{size} of {x.shape[2]}x{x.shape[3]} pixels")
    offset = c.integers("offset") or (0, 0)
    if c.flag("center_crop"):
        offset = tuple((n - s) // 2 for n, s in zip(x.shape[2:], size, strict=True))
    if len(offset) != 2:
        raise ModelError(f"offset={offset}: two numbers are needed")
    for axis, (start, count) in enumerate(zip(offset, size, strict=True), 2):
        x = _cut(c, x, axis, start, start + count)
    return x


@reads("Pad", "pad", becomes="Pad")
def pad(c: Call) -> Value:
    x = c.x()
    widths = c.integers("pad_width")
    mode = c.choice("mode", ("constant", "edge", "reflect"))
    if len(widths) != 2 * len(x.shape) or min(widths, default=0) < 0:
        raise ModelError(f"pad_width={widths} for shape {list(x.shape)}")
    pads = (*widths[::2], *widths[1::2])
    return c.b.op(ops.Pad(pads, mode, c.number("constant_value", 0.0)), x)  # type: ignore[arg-type]


@reads("tile", becomes="Tile")
def tile(c: Call) -> Value:
    x, reps = c.x(), c.integers("reps")
    rank = max(len(reps), len(x.shape))
    x = c.b.reshape(x, ((1,) * (rank - len(x.shape)) + x.shape))
    return c.b.op(ops.Tile((1,) * (rank - len(reps)) + reps), x)


@reads("repeat", becomes="Reshape, Expand, Reshape")
def repeat(c: Call) -> Value:
    x, count = c.x(), c.integer("repeats", 1, 1)
    if not c.has("axis"):
        x, axis = c.b.reshape(x, (x.type.size,)), 0
    else:
        axis = c.axis(c.integer("axis", 0), len(x.shape))
    wide = c.b.unsqueeze(x, axis + 1)
    shape = list(wide.shape)
    shape[axis + 1] = count
    final = list(x.shape)
    final[axis] *= count
    return c.b.reshape(c.b.expand(wide, shape), final)


@reads("broadcast_axis", "broadcast_axes", becomes="Expand")
def broadcast_axis(c: Call) -> Value:
    x = c.x()
    shape = list(x.shape)
    axes, sizes = c.integers("axis"), c.integers("size")
    if len(axes) != len(sizes):
        raise ModelError(f"axis={axes} and size={sizes} differ in length")
    for axis, size in zip(axes, sizes, strict=True):
        shape[c.axis(axis, len(shape))] = size
    return c.b.expand(x, shape)


@reads("broadcast_to", "broadcast_like", becomes="Expand")
def broadcast_to(c: Call) -> Value:
    x = c.x()
    wanted = c.x(1).shape if c.op == "broadcast_like" else c.integers("shape")
    if len(wanted) != len(x.shape):
        raise ModelError(f"shape {list(x.shape)} does not become {tuple(wanted)}")
    return c.b.expand(x, [w or d for w, d in zip(wanted, x.shape, strict=True)])


@reads("depth_to_space", "space_to_depth", becomes="DepthToSpace, SpaceToDepth")
def blocks(c: Call) -> Value:
    size = c.integer("block_size", 1, 1)
    op = ops.DepthToSpace(size) if c.op == "depth_to_space" else ops.SpaceToDepth(size)
    return c.b.op(op, c.picture())


@reads("take", becomes="Gather")
def take(c: Call) -> Value:
    x, axis = c.x(0), c.integer("axis", 0)
    indices = c.const(1, "the list of indices").astype(np.int64)
    axis = c.axis(axis, len(x.shape))
    return c.b.gather(x, np.clip(indices, 0, x.shape[axis] - 1), axis)
