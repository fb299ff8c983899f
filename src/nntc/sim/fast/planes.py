"""Images laid out for register tiles: padded planes, and writing tiles back.

A window operation reads its input from planes with zero padding, one per phase of the stride:
one kernel position is then one constant offset, for all outputs. Output positions are numbered
along the padded rows; the few columns between two rows are computed and dropped.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nntc.isa.chip import LANES
from nntc.isa.forms import Instruction
from nntc.isa.layout import ceil_div
from nntc.sim.fast.context import LANE_WORDS
from nntc.sim.fast.fp import add
from nntc.sim.fast.native import bare, helper, keep, kernel, set_all
from nntc.sim.fast.tile import COLUMNS

_F = np.float32
_I = np.int32


class Planes(NamedTuple):
    """How an input image is laid out for the tiles.

    Attributes:
        rows, pitch: size of one plane; a plane holds every sy-th row and sx-th column.
        phases: planes per channel.
        plane: floats from one plane to the next.
        taps: offset of every kernel position, i64[kh * kw], in floats.
        phase_y, phase_x: first row and column of every plane, i64[phases].
    """

    rows: int
    pitch: int
    phases: int
    plane: int
    taps: np.ndarray
    phase_y: np.ndarray
    phase_x: np.ndarray


def planes_of(i: Instruction, dilate: bool = True) -> Planes:
    """The plane layout of a window operation."""
    sy, sx = i.res_op_y_str, i.res_op_x_str
    dy, dx = (i.opd1_y_ins0 + 1, i.opd1_x_ins0 + 1) if dilate else (1, 1)
    ky, kx = np.arange(i.opd1_h) * dy, np.arange(i.opd1_w) * dx
    rows = i.res0_h + int(ky[-1]) // sy
    pitch = i.res0_w + int(kx[-1]) // sx
    used_y, used_x = np.unique(ky % sy), np.unique(kx % sx)
    # An odd number of cache lines between planes keeps them out of each other's cache sets.
    lines = ceil_div(rows * pitch + COLUMNS, 16)
    plane = 16 * (lines | 1)
    phase = (
        np.searchsorted(used_y, ky % sy)[:, None] * len(used_x)
        + np.searchsorted(used_x, kx % sx)[None, :]
    )
    taps = phase * plane + (ky // sy)[:, None] * pitch + (kx // sx)[None, :]
    grid_y, grid_x = np.meshgrid(used_y, used_x, indexing="ij")
    return Planes(
        rows,
        pitch,
        phase.max().item() + 1,
        plane,
        taps.ravel().astype(np.int64),
        grid_y.ravel().astype(np.int64),
        grid_x.ravel().astype(np.int64),
    )


@helper
def fill_plane(
    source, at, row_step, column_step, height, width, insert_y, insert_x, up, left,
    stride_y, stride_x, phase_y, phase_x, target, rows, pitch, fill, zero,
):  # fmt: skip
    """One padded plane; words of any type.

    Positions outside the (zero-inserted) image get *fill*, inserted ones *zero*.
    """
    grown_h = (height - 1) * insert_y + 1
    grown_w = (width - 1) * insert_x + 1
    # Columns [first, last) lie inside the image.
    first = min(max((left - phase_x + stride_x - 1) // stride_x, 0), pitch)
    last = max(min((grown_w - 1 + left - phase_x) // stride_x + 1, pitch), first)
    origin = first * stride_x + phase_x - left
    for r in range(rows):
        line = target[r * pitch : r * pitch + pitch]
        y = r * stride_y + phase_y - up
        if y < 0 or y >= grown_h:
            for x in range(pitch):
                line[x] = fill
            continue
        for x in range(first):
            line[x] = fill
        for x in range(last, pitch):
            line[x] = fill
        inside = line[first:last]
        if insert_y > 1:
            if y % insert_y:
                set_all(inside, zero)
                continue
            y //= insert_y
        base = at + y * row_step
        if insert_x > 1:
            for x in range(inside.size):
                gx = origin + x * stride_x
                inside[x] = zero
                if gx % insert_x == 0:
                    inside[x] = source[base + (gx // insert_x) * column_step]
            continue
        start = base + origin * column_step
        step = stride_x * column_step
        if step == 1:
            row = source[start : start + inside.size]
            for x in range(inside.size):
                inside[x] = row[x]
        elif step == 2:
            # A constant step lets the compiler use vectors.
            row = source[start : start + 2 * inside.size]
            for x in range(inside.size):
                inside[x] = row[2 * x]
        else:
            for x in range(inside.size):
                inside[x] = source[start + x * step]


@kernel
def spread_f32(
    first, last, words, lane, base, n_step, c_step, row_step, column_step, height, width,
    insert_y, insert_x, up, left, stride_y, stride_x, phase_y, phase_x,
    planes, channels, rows, pitch, plane,
):  # fmt: skip
    """Copy the images [first, last) * channels of an input into padded planes."""
    words, planes = bare(words), bare(planes)
    phases = phase_y.size
    for item in range(first, last):
        n = item // channels
        channel = lane + item % channels
        at = (channel % LANES) * LANE_WORDS + base + n * n_step + (channel // LANES) * c_step
        for p in range(phases):
            start = (item * phases + p) * plane
            fill_plane(
                words, at, row_step, column_step, height, width, insert_y, insert_x, up, left,
                stride_y, stride_x, phase_y[p], phase_x[p],
                planes[start : start + plane], rows, pitch, _F(0), _F(0),
            )  # fmt: skip


@helper
def pick(source, at, step, count, shift, signed, target):
    """Bytes of 32-bit words as floats: bits shift..shift+7 of every word."""
    # Numba widens every integer operation to 64 bits; the casts keep vectors at 32.
    up = _I(24 - shift)
    if step == 1:
        line = source[at : at + count]
        if signed:
            for x in range(count):
                target[x] = _F(_I(_I(line[x] << up) >> _I(24)))
        else:
            for x in range(count):
                target[x] = _F(_I(_I(line[x] >> _I(shift)) & _I(255)))
    else:
        for x in range(count):
            word = source[at + x * step]
            if signed:
                target[x] = _F(_I(_I(word << up) >> _I(24)))
            else:
                target[x] = _F(_I(_I(word >> _I(shift)) & _I(255)))


@kernel
def spread_i8(
    first, last, ints, signed, lane, base, n_step, c_step, row_step, column_step, height, width,
    insert_y, insert_x, up, left, stride_y, stride_x, phase_y, phase_x,
    planes, channels, rows, pitch, plane,
):  # fmt: skip
    """As :func:`spread_f32` for the 4N layout: image n is byte n mod 4 of every word."""
    ints, planes = bare(ints), bare(planes)
    phases = phase_y.size
    image_owner = np.empty(height * width, np.float32)
    image = bare(image_owner)
    for item in range(first, last):
        n = item // channels
        channel = lane + item % channels
        at = (channel % LANES) * LANE_WORDS + base + (n // 4) * n_step + (channel // LANES) * c_step
        for y in range(height):
            pick(
                ints, at + y * row_step, column_step, width, 8 * (n % 4), signed,
                image[y * width : y * width + width],
            )  # fmt: skip
        for p in range(phases):
            start = (item * phases + p) * plane
            fill_plane(
                image, 0, width, 1, height, width, insert_y, insert_x, up, left,
                stride_y, stride_x, phase_y[p], phase_x[p],
                planes[start : start + plane], rows, pitch, _F(0), _F(0),
            )  # fmt: skip
    keep(image_owner)


@helper
def write_span(sums, words, base, position, last, pitch, width, accumulate):
    """Store results of consecutive positions of padded rows, [position, last)."""
    count = last - position
    if pitch == width:
        line = words[base + position : base + last]
        if accumulate:
            for x in range(count):
                line[x] = add(sums[x], line[x])
        else:
            for x in range(count):
                line[x] = sums[x]
        return
    y = position // pitch
    x0 = position - y * pitch
    at = 0
    while at < count:
        run = min(width - x0, count - at)
        if run > 0:
            start = base + y * width + x0
            line, values = words[start : start + run], sums[at : at + run]
            if accumulate:
                for x in range(run):
                    line[x] = add(values[x], line[x])
            else:
                for x in range(run):
                    line[x] = values[x]
        at += pitch - x0
        x0 = 0
        y += 1
