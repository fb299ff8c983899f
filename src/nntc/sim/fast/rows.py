"""Operands of element-wise commands, walked row by row.

Element (n, c, h, x) of an operand lies at ``base + n*n_step + (q % wrap)*pitch + (q // wrap)*c_step
+ h*h_step + x*x_step`` with q = lane + c: wrap is 64 and pitch a lane for local memory; a constant
is an array of one element with wrap 1 and all steps 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nntc.isa.chip import LANES
from nntc.isa.forms import Instruction
from nntc.isa.layout import Shape4, Strides, aligned_strides, slots
from nntc.sim.fast.context import LANE_WORDS, Context, split
from nntc.sim.fast.native import helper


class Operand(NamedTuple):
    """One operand as kernels take it; the order of the fields is that of their arguments."""

    array: np.ndarray
    base: int
    lane: int
    wrap: int
    pitch: int
    n_step: int
    c_step: int
    h_step: int
    x_step: int

    @property
    def place(self) -> tuple[int, ...]:
        """Everything but the array: equal places in one array are the same elements."""
        return self[1:]


def constant(pattern: int, dtype: Any = np.float32) -> Operand:
    """An operand that is one 32-bit pattern."""
    array = np.array([pattern & 0xFFFFFFFF], np.uint32).view(dtype)
    return Operand(array, 0, 0, 1, 0, 0, 0, 0, 0)


def local(array: np.ndarray, address: int, strides: Strides) -> Operand:
    """A tensor of words in local memory; *array* is the lanes as f32 or i32."""
    lane, offset = split(address)
    return Operand(array, offset // 4, lane, LANES, LANE_WORDS, *strides)


def aligned(array: np.ndarray, address: int, shape: Shape4) -> Operand:
    lane, _ = split(address)
    return local(array, address, aligned_strides(shape, lane))


def result_shape(i: Instruction) -> Shape4:
    return Shape4(i.res0_n, i.res0_c, i.res0_h, i.res0_w)


def role_strides(i: Instruction, role: str, shape: Shape4) -> Strides:
    """Strides in words of an `ar` operand: code 0 is the aligned layout, any other the fields."""
    values = i.values
    fields = Strides(*(values.get(f"{role}_{d}_str", 0) for d in "nchw"))
    if values.get(f"short_{role}_str", 0):
        return fields
    lane, _ = split(values.get(f"{role}_addr", 0))
    if role != "opd1":
        return aligned_strides(shape, lane)
    # Operand 1 honours zero strides as sizes of 1 even in the aligned layout.
    h, w = (shape.h if fields.h else 1), (shape.w if fields.w else 1)
    n, c, h_step, w_step = aligned_strides(Shape4(shape.n, shape.c, h, w), lane)
    return Strides(n if fields.n else 0, c, h_step if fields.h else 0, w_step if fields.w else 0)


def fixed_strides(i: Instruction, role: str, shape: Shape4) -> Strides:
    """As :func:`role_strides` for packed int8 and int16: no zero rule, n counts words."""
    if i.values.get(f"short_{role}_str", 0):
        return Strides(*(i.values.get(f"{role}_{d}_str", 0) for d in "nchw"))
    lane, _ = split(i.values.get(f"{role}_addr", 0))
    strides = aligned_strides(shape, lane)
    return strides._replace(n=slots(shape.c, lane) * strides.c)


def merged(shape: Shape4, operands: tuple[Operand, ...]) -> tuple[int, int, tuple[Operand, ...]]:
    """(rows, columns, operands) with h and w joined into one long row where all strides allow."""
    if shape.h == 1 or all(o.h_step == shape.w * o.x_step for o in operands):
        flat = tuple(o._replace(h_step=0) for o in operands)
        return 1, shape.h * shape.w, flat
    if shape.w == 1:
        return 1, shape.h, tuple(o._replace(h_step=0, x_step=o.h_step) for o in operands)
    return shape.h, shape.w, operands


def _extent(shape: Shape4, o: Operand) -> tuple[int, int]:
    """First and last element inside a lane."""
    last_slot = (o.lane + shape.c - 1) // o.wrap
    low = high = o.base
    for count, step in zip(
        (shape.n, last_slot + 1, shape.h, shape.w),
        (o.n_step, o.c_step, o.h_step, o.x_step),
        strict=True,
    ):
        reach = (count - 1) * step
        low, high = low + min(reach, 0), high + max(reach, 0)
    return low, high


def injective(shape: Shape4, o: Operand) -> bool:
    """Whether a result's elements surely lie in different words (no stride repeats a place)."""
    axes = sorted(
        (abs(step), count)
        for step, count in (
            (o.n_step, shape.n),
            (o.c_step, (o.lane + shape.c - 1) // o.wrap + 1),
            (o.h_step, shape.h),
            (o.x_step, shape.w),
        )
        if count > 1
    )
    reach = 0
    for step, count in axes:
        if step <= reach:
            return False
        reach += (count - 1) * step
    return True


def independent(shape: Shape4, result: Operand, operands: tuple[Operand, ...]) -> bool:
    """Whether rows may be computed one after the other, as if all operands were read first.

    True if every operand is the result itself, element by element, or lies elsewhere.
    """
    if not injective(shape, result):
        return False
    low, high = _extent(shape, result)
    for o in operands:
        if o.wrap != LANES or o.place == result.place:
            continue
        first, last = _extent(shape, o)
        if first <= high and low <= last and not _lanes_apart(shape, result, o):
            return False
    return True


def _lanes_apart(shape: Shape4, a: Operand, b: Operand) -> bool:
    """Whether two tensors of few channels use different lanes."""
    if shape.c >= LANES:
        return False
    used = {(a.lane + c) % LANES for c in range(shape.c)}
    return not any((b.lane + c) % LANES in used for c in range(shape.c))


@helper
def row_start(base, lane, wrap, pitch, n_step, c_step, n, c):
    q = lane + c
    return base + n * n_step + (q % wrap) * pitch + (q // wrap) * c_step


@helper
def load(array, at, step, count, room):
    """*count* elements as a contiguous array: a view, or gathered into *room*."""
    if step == 1:
        return array[at : at + count]
    if step == 0:
        value = array[at]
        for x in range(count):
            room[x] = value
    else:
        for x in range(count):
            room[x] = array[at + x * step]
    return room[:count]


@helper
def store(array, at, step, values):
    if step == 1:
        line = array[at : at + values.size]
        for x in range(values.size):
            line[x] = values[x]
    else:
        for x in range(values.size):
            array[at + x * step] = values[x]


def plain_parts(context: Context, shape: Shape4) -> list[tuple[int, int]]:
    """Ranges of (n, c) items for the threads."""
    return context.ranges(shape.n * shape.c, shape.size, 400_000)
