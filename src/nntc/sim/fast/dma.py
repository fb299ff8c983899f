"""GDMA transfers, fills and strided copies as tables of runs.

Whatever the shapes, a transfer is a list of (source, target) starts with one run length; the
tables depend on the geometry only and are kept, the addresses are added when a command runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import gcd
from typing import Any, NamedTuple

import numpy as np

from nntc.isa.chip import L2_BASE, L2_BYTES, LANES, Direction, Fmt
from nntc.isa.footprint import footprint
from nntc.isa.forms import Instruction
from nntc.isa.layout import Shape4, Strides, align_up, contiguous_strides, slots
from nntc.isa.regions import overlap
from nntc.sim.fast import fp
from nntc.sim.fast.context import Context, Step, sequence, split
from nntc.sim.fast.native import bare, kernel
from nntc.sim.fast.rows import result_shape, role_strides
from nntc.sim.memory import LANE_PITCH

_I = np.int32
_F = np.float32
_ALL_LANES = (1 << LANES) - 1
_DTYPES: dict[int, Any] = {1: np.uint8, 2: np.int16, 4: np.int32}
GRAIN = 1 << 20
"""Bytes of a copy that are worth a thread."""


@kernel
def copy_runs(
    first, last, source, s_base, s_at, s_step, target, t_base, t_at, t_step, run
):  # fmt: skip
    """Copy the runs [first, last); bases and table entries count elements."""
    source, target = bare(source), bare(target)
    for k in range(first, last):
        s, t = s_base + s_at[k], t_base + t_at[k]
        if s_step == 1 and t_step == 1:
            line_in, line_out = source[s : s + run], target[t : t + run]
            for x in range(run):
                line_out[x] = line_in[x]
        else:
            for x in range(run):
                target[t + x * t_step] = source[s + x * s_step]


@kernel
def fill_runs(first, last, value, target, t_base, t_at, t_step, run):
    target = bare(target)
    for k in range(first, last):
        t = t_base + t_at[k]
        if t_step == 1:
            line = target[t : t + run]
            for x in range(run):
                line[x] = value
        else:
            for x in range(run):
                target[t + x * t_step] = value


TO_F32, TO_INT8, TO_UINT8, TO_HALF, FROM_HALF = range(5)


@kernel
def convert_runs(
    first, last, code, source, s_base, s_at, s_step, target, t_base, t_at, t_step, run
):  # fmt: skip
    """As :func:`copy_runs` with a conversion; fp32 and fp16 are patterns (i32, i16)."""
    source, target = bare(source), bare(target)
    for k in range(first, last):
        s, t = s_base + s_at[k], t_base + t_at[k]
        for x in range(run):
            v = _I(source[s + x * s_step])
            if code == TO_F32:
                target[t + x * t_step] = fp.bits(_F(v))
            elif code == FROM_HALF:
                exponent = ((v >> 10) & 31) + 112
                target[t + x * t_step] = (v & 0x8000) << 16 | exponent << 23 | (v & 0x3FF) << 13
            elif code == TO_HALF:
                sign = (v >> 16) & 0x8000
                exponent = ((v >> 23) & 255) - 112
                if exponent <= 0:
                    target[t + x * t_step] = sign
                elif exponent >= 31:
                    target[t + x * t_step] = sign | 0x7C00
                else:
                    target[t + x * t_step] = sign | exponent << 10 | (v >> 13) & 0x3FF
            else:
                low, high = (-128, 127) if code == TO_INT8 else (0, 255)
                if (v & 0x7FFFFFFF) > 0x7F800000:
                    rounded = low if v < 0 else high
                else:
                    clipped = min(max(np.float64(fp.value(v)), np.float64(-300)), np.float64(300))
                    rounded = min(max(np.int64(np.rint(clipped)), low), high)
                target[t + x * t_step] = rounded


class Side(NamedTuple):
    """One side of a transfer: element (n, c, h, x) starts at one of the row starts.

    Attributes:
        starts: i64[n, c, h], bytes from the side's base.
        step: bytes from one element of a row to the next.
        row: bytes from one row to the next, 0 if rows are not equally spaced.
        width: elements per row.
    """

    starts: np.ndarray
    step: int
    row: int
    width: int


def _side(shape: Shape4, strides: Strides, size: int, lane: int, local: bool) -> Side:
    n = np.arange(shape.n, dtype=np.int64) * strides.n
    c = np.arange(shape.c, dtype=np.int64)
    h = np.arange(shape.h, dtype=np.int64) * strides.h
    if local:
        channels = ((lane + c) % LANES) * LANE_PITCH + (lane + c) // LANES * (strides.c * size)
    else:
        channels = c * (strides.c * size)
    starts = n[:, None, None] * size + channels[:, None] + h * size
    return Side(starts, strides.w * size, strides.h * size, shape.w)


class Runs(NamedTuple):
    """Starts of equal runs on both sides, in elements of *size* bytes.

    Attributes:
        size: element that is moved; several bytes of narrower formats may move as one.
    """

    size: int
    source: np.ndarray
    source_step: int
    target: np.ndarray
    target_step: int
    run: int


def _join_rows(side: Side) -> Side:
    """One long row per (n, c) if the rows follow each other."""
    h = side.starts.shape[2]
    if h > 1 and side.row == side.step * side.width:
        return Side(side.starts[:, :, :1], side.step, 0, side.width * h)
    if side.width == 1 and h > 1:
        return Side(side.starts[:, :, :1], side.row, 0, h)
    return side


def _runs(source: Side, target: Side, size: int) -> Runs:
    """Match the elements of two sides in linear order."""
    source, target = _join_rows(source), _join_rows(target)
    run = gcd(source.width, target.width)

    def starts(side: Side) -> np.ndarray:
        pieces = np.arange(side.width // run, dtype=np.int64) * (run * side.step)
        return (side.starts.reshape(-1, 1) + pieces).ravel()

    return _widen(Runs(size, starts(source), source.step, starts(target), target.step, run))


def _widen(runs: Runs) -> Runs:
    """Count in the largest elements that starts, steps and the run length allow."""
    size, run = runs.size, runs.run
    s_step, t_step = runs.source_step, runs.target_step
    if run == 1:
        s_step = t_step = size
    if s_step == t_step == size and size < 4:
        starts = np.bitwise_or.reduce(runs.source) | np.bitwise_or.reduce(runs.target)
        wider = gcd(gcd(4, run * size), int(starts) or 4)
        run, size = run * size // wider, wider
        s_step = t_step = size
    return Runs(size, runs.source // size, s_step // size, runs.target // size, t_step // size, run)


def _address(i: Instruction, side: str) -> int:
    v = i.values
    return v.get(f"{side}_start_addr_l32", 0) | v.get(f"{side}_start_addr_h8", 0) << 32


def _geometry(i: Instruction, side: str, local: bool, size: int) -> tuple[Shape4, Strides]:
    v = i.values
    shape = Shape4(*(v.get(f"{side}_{d}size", 0) for d in "nchw"))
    if i.stride_enable:
        return shape, Strides(*(v.get(f"{side}_{d}stride", 0) for d in "nchw"))
    if not local:
        return shape, contiguous_strides(shape)
    lane, _ = split(_address(i, side))
    step = align_up(shape.h * shape.w, 128 // size)
    return shape, Strides(slots(shape.c, lane) * step, step, shape.w, 1)


class Place(NamedTuple):
    """Bytes and the offset at which a side starts."""

    data: np.ndarray
    base: int


def _place(context: Context, address: int, local: bool) -> Place | None:
    if local:
        _, offset = split(address)
        return Place(context.bytes, offset)
    if L2_BASE <= address < L2_BASE + L2_BYTES:
        return Place(context.memory.l2, address - L2_BASE)
    segment = context.memory.segment(address, 1)
    if segment is None:
        return None
    return Place(context.segment_bytes(segment), address - segment.address)


def _typed(place: Place, size: int) -> tuple[np.ndarray, int] | None:
    """The data as elements of *size* bytes, and the base in elements; None if misaligned."""
    data = place.data
    if place.base % size or data.ctypes.data % size:
        return None
    whole = data.size - data.size % size
    return data[:whole].view(_DTYPES[size]), place.base // size


def _conflict(i: Instruction) -> bool:
    """Whether source and target share bytes, or the target repeats a place."""
    found = footprint(i)
    return any(overlap(r, w) is not None for r in found.reads for w in found.writes)


def _copy_apart(context: Context, runs: Runs, source: Place, target: Place) -> Step | None:
    """As :func:`_copy` for ranges that overlap: everything is read before anything is written."""
    same = source.base == target.base and runs.source_step == runs.target_step
    if same and np.array_equal(runs.source, runs.target):
        return _nothing
    starts = np.arange(len(runs.source), dtype=np.int64) * runs.run
    room = Place(context.scratch("copy", runs.source.size * runs.run).view(np.uint8), 0)
    read = _copy(context, runs._replace(target=starts, target_step=1), source, room)
    write = _copy(context, runs._replace(source=starts, source_step=1), room, target)
    return None if read is None or write is None else sequence(read, write)


def _nothing() -> None:
    """The step of a copy onto itself."""


def _repeats(shape: Shape4, strides: Strides) -> bool:
    return any(count > 1 and step == 0 for count, step in zip(shape, strides, strict=True))


def _special(i: Instruction) -> bool:
    """Features that stay with the reference engine."""
    v = i.values
    mask = v.get("localmem_mask_l32", 0) | v.get("localmem_mask_h32", 0) << 32
    return bool(
        v.get("acc_write_enable", 0)
        or any(v.get(f"{s}_{d}shift", 0) for s in ("src", "dst") for d in "hw")
        or (mask != _ALL_LANES and i.direction in (Direction.S2L, Direction.L2L))
    )


def _copy(context: Context, runs: Runs, source: Place, target: Place) -> Step | None:
    """The step that copies runs; narrower elements where an address is odd."""
    typed_source, typed_target = _typed(source, runs.size), _typed(target, runs.size)
    if typed_source is None or typed_target is None:
        return None
    parts = context.ranges(len(runs.source), len(runs.source) * runs.run * runs.size, GRAIN)
    return context.parallel(
        copy_runs, parts, typed_source[0], typed_source[1], runs.source, runs.source_step,
        typed_target[0], typed_target[1], runs.target, runs.target_step, runs.run,
    )  # fmt: skip


_CONVERSIONS = {
    (Fmt.INT8, Fmt.FP32): TO_F32,
    (Fmt.UINT8, Fmt.FP32): TO_F32,
    (Fmt.FP32, Fmt.INT8): TO_INT8,
    (Fmt.FP32, Fmt.UINT8): TO_UINT8,
    (Fmt.FP32, Fmt.FP16): TO_HALF,
    (Fmt.FP16, Fmt.FP32): FROM_HALF,
}


def plan_transfer(kind: str, direction: Direction, i: Instruction, context: Context) -> Step:
    from_local = direction in (Direction.L2S, Direction.L2L)
    to_local = direction in (Direction.S2L, Direction.L2L)
    formats = (Fmt(i.src_data_format), Fmt(i.dst_data_format))
    s_size = formats[0].size
    t_size = formats[1].size if kind == "convert" else s_size
    s_shape, s_strides = _geometry(i, "src", from_local, s_size)
    t_shape, t_strides = _geometry(i, "dst", to_local, t_size)
    source = _place(context, _address(i, "src"), from_local)
    target = _place(context, _address(i, "dst"), to_local)
    if (
        source is None
        or target is None
        or _special(i)
        or s_shape.size != t_shape.size
        or _repeats(t_shape, t_strides)
        or (kind == "convert" and formats not in _CONVERSIONS)
    ):
        return context.reference(i)
    overlapping = target.data is source.data and _conflict(i)
    if kind == "convert" and overlapping:
        return context.reference(i)
    copy = _copy_apart if overlapping else _copy
    s_lane = split(_address(i, "src"))[0] if from_local else 0
    t_lane = split(_address(i, "dst"))[0] if to_local else 0

    def make() -> Runs:
        left = _side(s_shape, s_strides, s_size, s_lane, from_local)
        right = _side(t_shape, t_strides, t_size, t_lane, to_local)
        if kind == "transpose_nc":
            left = left._replace(starts=left.starts.transpose(1, 0, 2))
        elif kind == "transpose_cw":
            columns = left.starts[0, :, 0] + (
                np.arange(left.width, dtype=np.int64)[:, None] * left.step
            )
            left = Side(columns.reshape(1, -1, 1), s_size, 0, 1)
        if kind != "convert":
            return _runs(left, right, s_size)
        left, right = _join_rows(left), _join_rows(right)
        run = gcd(left.width, right.width)
        pieces = np.arange(left.width // run, dtype=np.int64) * (run * left.step)
        s_at = (left.starts.reshape(-1, 1) + pieces).ravel() // s_size
        pieces = np.arange(right.width // run, dtype=np.int64) * (run * right.step)
        t_at = (right.starts.reshape(-1, 1) + pieces).ravel() // t_size
        return Runs(1, s_at, left.step // s_size, t_at, right.step // t_size, run)

    # Odd addresses forbid moving several narrow elements as one.
    key = (kind, direction, s_shape, s_strides, t_shape, t_strides, s_size, t_size, s_lane, t_lane)
    runs: Runs = context.table(key, make)
    if kind == "convert":
        return _convert(i, context, _CONVERSIONS[formats], runs, source, target) or (
            context.reference(i)
        )
    step = copy(context, runs, source, target)
    if step is None and runs.size > 1:
        runs = context.table((*key, "bytes"), lambda: _as_bytes(runs))
        step = copy(context, runs, source, target)
    return step or context.reference(i)


def _as_bytes(runs: Runs) -> Runs:
    """The same runs in bytes; strided ones become single elements."""
    size = runs.size
    source, target, run = runs.source, runs.target, runs.run
    if (runs.source_step, runs.target_step) != (1, 1):
        steps = np.arange(run, dtype=np.int64)
        source = (source[:, None] + steps * runs.source_step).ravel()
        target = (target[:, None] + steps * runs.target_step).ravel()
        run = 1
    return Runs(1, source * size, 1, target * size, 1, run * size)


def _convert(
    i: Instruction, context: Context, code: int, runs: Runs, source: Place, target: Place
) -> Step | None:
    left = _typed(source, Fmt(i.src_data_format).size)
    right = _typed(target, Fmt(i.dst_data_format).size)
    if left is None or right is None:
        return None
    array = left[0]
    if i.src_data_format == Fmt.INT8:
        array = array.view(np.int8)
    parts = context.ranges(len(runs.source), 2 * len(runs.source) * runs.run, GRAIN)
    return context.parallel(
        convert_runs, parts, code, array, left[1], runs.source, runs.source_step,
        right[0], right[1], runs.target, runs.target_step, runs.run,
    )  # fmt: skip


def plan_fill(local: bool, i: Instruction, context: Context) -> Step:
    size = Fmt(i.src_data_format).size
    shape, strides = _geometry(i, "dst", local, size)
    target = _place(context, _address(i, "dst"), local)
    typed = _typed(target, size) if target is not None else None
    if typed is None or _special(i):
        return context.reference(i)
    lane = split(_address(i, "dst"))[0] if local else 0

    def make() -> tuple[np.ndarray, int, int]:
        side = _join_rows(_side(shape, strides, size, lane, local))
        return side.starts.ravel() // size, side.step // size, side.width

    at, step, run = context.table(("fill", shape, strides, size, lane, local), make)
    pattern = np.array([i.constant_value & 0xFFFFFFFF], np.uint32).view(_DTYPES[size])[0]
    parts = context.ranges(len(at), shape.size * size, GRAIN)
    return context.parallel(fill_runs, parts, pattern, typed[0], typed[1], at, step, run)


def plan_matrix(transposed: bool, to_local: bool, i: Instruction, context: Context) -> Step:
    """Whole rows, cut into the pieces that the channels hold; the last one may be shorter."""
    system, local = ("src", "dst") if to_local else ("dst", "src")
    v = i.values
    size = Fmt(i.src_data_format).size
    rows, columns = v.get(f"{system}_hsize", 0), v.get(f"{system}_wsize", 0)
    stride = v.get(f"{system}_hstride", 0)
    n, c, w = (v.get(f"{local}_{d}size", 0) for d in "ncw")
    length = rows if transposed else columns
    outside = _place(context, _address(i, system), False)
    address = v.get(f"{local}_start_addr_l32", 0)
    lane, offset = split(address)
    if (
        outside is None
        or _special(i)
        or n != (columns if transposed else rows)
        or not (c - 1) * w < length <= c * w
        or (to_local and _repeats(Shape4(n, c, 1, 1), Strides(*_steps(i, local), 0, 0)))
    ):
        return context.reference(i)
    ns, cs = _steps(i, local)

    def make() -> tuple[Runs, ...]:
        """The whole pieces, and the shorter last one."""
        row_step, step = (1, stride) if transposed else (stride, 1)
        whole = length // w
        parts: list[Runs] = []
        for first, pieces, width in ((0, whole, w), (whole, 1, length - whole * w)):
            if pieces and width:
                j = np.arange(first, first + pieces, dtype=np.int64)
                rows_at = np.arange(n, dtype=np.int64)[:, None]
                matrix = (rows_at * row_step + j * (w * step)) * size
                inside = rows_at * (ns * size) + (lane + j) % LANES * LANE_PITCH
                inside = inside + (lane + j) // LANES * (cs * size)
                left, right = (matrix, inside) if to_local else (inside, matrix)
                steps = (step * size, size) if to_local else (size, step * size)
                parts.append(
                    _widen(Runs(size, left.ravel(), steps[0], right.ravel(), steps[1], width))
                )
        return tuple(parts)

    key = ("matrix", transposed, to_local, rows, columns, stride, n, c, w, ns, cs, size, lane)
    runs: tuple[Runs, ...] = context.table(key, make)
    inside = Place(context.bytes, offset)
    source, target = (outside, inside) if to_local else (inside, outside)
    steps = [
        _copy(context, part, source, target) or _copy(context, _as_bytes(part), source, target)
        for part in runs
    ]
    return context.reference(i) if None in steps else sequence(*steps)


def _steps(i: Instruction, side: str) -> tuple[int, int]:
    return i.values.get(f"{side}_nstride", 0), i.values.get(f"{side}_cstride", 0)


def plan_linear(i: Instruction, context: Context) -> Step:
    count = i.src_nstride * Fmt(i.src_data_format).size
    source = _place(context, _address(i, "src"), False)
    target = _place(context, _address(i, "dst"), False)
    if source is None or target is None:
        return context.reference(i)
    return partial(
        np.copyto,
        target.data[target.base : target.base + count],
        source.data[source.base : source.base + count],
    )


def plan_ar_copy(i: Instruction, context: Context) -> Step:
    """The TIU's strided copy of words."""
    shape = result_shape(i)
    if i.opt_opd0_const or any(
        i.values.get(f"{r}_{d}_shift", 0) for r in ("res0", "opd0") for d in "hw"
    ):
        return _constant_copy(i, context)
    s_strides, t_strides = role_strides(i, "opd0", shape), role_strides(i, "res0", shape)
    if (i.opd0_addr | i.res0_addr) & 3 or _repeats(shape, t_strides._replace(c=1)) or _conflict(i):
        return context.reference(i)
    (s_lane, s_offset), (t_lane, t_offset) = split(i.opd0_addr), split(i.res0_addr)

    def make() -> Runs:
        left = _side(shape, s_strides, 4, s_lane, True)
        return _runs(left, _side(shape, t_strides, 4, t_lane, True), 4)

    runs: Runs = context.table(("ar", shape, s_strides, t_strides, s_lane, t_lane), make)
    source, target = Place(context.bytes, s_offset), Place(context.bytes, t_offset)
    copy = _copy_apart if _conflict(i) else _copy
    return copy(context, runs, source, target) or context.reference(i)


def _constant_copy(i: Instruction, context: Context) -> Step:
    shape = result_shape(i)
    strides = role_strides(i, "res0", shape)
    if not i.opt_opd0_const or i.res0_addr & 3 or i.res0_h_shift or i.res0_w_shift:
        return context.reference(i)
    lane, offset = split(i.res0_addr)
    side = _join_rows(_side(shape, strides, 4, lane, True))
    at = side.starts.ravel() // 4
    pattern = np.array([i.opd0_addr & 0xFFFFFFFF], np.uint32).view(np.int32)[0]
    parts = context.ranges(len(at), shape.size * 4, GRAIN)
    return context.parallel(
        fill_runs, parts, pattern, context.ints, offset // 4, at, side.step // 4, side.width
    )


PLANNERS: dict[str, Callable[[Instruction, Context], Step]] = {
    **{
        f"{kind}.{direction.name.lower()}": partial(plan_transfer, kind, direction)
        for kind in ("copy", "transpose_nc", "convert")
        for direction in Direction
    },
    "transpose_cw.l2l": partial(plan_transfer, "transpose_cw", Direction.L2L),
    "fill.system": partial(plan_fill, False),
    "fill.local": partial(plan_fill, True),
    "matrix.s2l": partial(plan_matrix, False, True),
    "matrix.l2s": partial(plan_matrix, False, False),
    "matrix_t.s2l": partial(plan_matrix, True, True),
    "matrix_t.l2s": partial(plan_matrix, True, False),
    "linear.s2s": plan_linear,
    "ar.copy.f32": plan_ar_copy,
    "ar.copy.i32": plan_ar_copy,
}
