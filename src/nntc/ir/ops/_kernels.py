"""Loops over sliding windows, compiled by Numba; all take any number type.

Each works on a range of independent items, so that threads can share them. Arrays are contiguous;
two spatial axes. Integers wrap around as in NumPy.
"""

from __future__ import annotations

import numpy as np

from nntc.core.native import kernel

_BLOCK = 4096
"""Elements of a result that are summed at once: what the first-level cache holds."""


@kernel
def grouped(first, last, x, w, y, geometry):
    """Convolution with few channels a group: x [N, G, C, H, W], w [G, M, C, h, w], y [N, G, M, *].

    Items are pairs (image, group). The padded planes of a group are laid out by phases of the
    stride: then a kernel tap of all outputs is one contiguous run. A row of a phase is as long as
    a row of outputs plus what the kernel reaches beyond it; sums at those positions are garbage
    and never copied out.

    Args:
        geometry: kernel, strides, pads before and dilations, of rows and columns.
    """
    (kernel_h, kernel_w), strides, pads, dilations = geometry
    groups, inputs = x.shape[1:3]
    outputs = w.shape[1]
    out_h, out_w = y.shape[3:]
    reach_y, reach_x = dilations[0] * (kernel_h - 1), dilations[1] * (kernel_w - 1)
    phases_y, phases_x = min(strides[0], reach_y + 1), min(strides[1], reach_x + 1)
    rows, pitch = out_h + reach_y // strides[0], out_w + reach_x // strides[1]
    positions = (out_h - 1) * pitch + out_w
    planes = np.empty((inputs * phases_y * phases_x, rows * pitch), x.dtype)
    sums = np.empty(positions, x.dtype)
    starts = np.empty(inputs * kernel_h * kernel_w, np.uint64)
    for t in range(starts.size):
        down = t // kernel_w % kernel_h * dilations[0]
        right = t % kernel_w * dilations[1]
        plane = t // (kernel_h * kernel_w) * phases_y + down % strides[0]
        plane = plane * phases_x + right % strides[1]
        starts[t] = (plane * rows + down // strides[0]) * pitch + right // strides[1]
    for item in range(first, last):
        n, g = item // groups, item % groups
        for c in range(inputs):
            for phase in range(phases_y * phases_x):
                _lay_out(
                    x[n, g, c], planes[c * phases_y * phases_x + phase], rows, pitch, strides,
                    pads[0] - phase // phases_x, pads[1] - phase % phases_x,
                )  # fmt: skip
        for m in range(outputs):
            _sum_taps(sums, planes.reshape(-1), starts, w[g, m].reshape(-1))
            for row in range(out_h):
                at = row * pitch
                y[n, g, m, row, :] = sums[at : at + out_w]


@kernel
def _sum_taps(sums, planes, starts, factors):
    """sums[i] = the sum of factors[t] * planes[starts[t] + i], in order of t.

    Unsigned indices cannot be negative, so that the loops become vector instructions.
    """
    blocks = range(np.uint64(0), np.uint64(sums.size), np.uint64(_BLOCK))
    fours = starts.size - starts.size % 4
    for begin in blocks:
        end = min(begin + np.uint64(_BLOCK), np.uint64(sums.size))
        for i in range(begin, end):
            sums[i] = 0
        for t in range(0, fours, 4):
            a, b, c, d = starts[t], starts[t + 1], starts[t + 2], starts[t + 3]
            p, q, r, s = factors[t], factors[t + 1], factors[t + 2], factors[t + 3]
            for i in range(begin, end):
                total = sums[i] + p * planes[a + i]
                total = total + q * planes[b + i]
                total = total + r * planes[c + i]
                sums[i] = total + s * planes[d + i]
        for t in range(fours, starts.size):
            a, p = starts[t], factors[t]
            for i in range(begin, end):
                sums[i] += p * planes[a + i]


@kernel
def _lay_out(source, target, rows, pitch, strides, above, before):
    """Every stride-th element of the source, from row -above and column -before on, with zeros."""
    height, width = source.shape
    stride_y, stride_x = strides
    first = min(pitch, max(0, -(-before // stride_x)))
    last = max(first, min(pitch, (width - 1 + before) // stride_x + 1))
    for row in range(rows):
        line = target[row * pitch : (row + 1) * pitch]
        y = row * stride_y - above
        if y < 0 or y >= height:
            line[:] = 0
            continue
        line[:first] = 0
        start = first * stride_x - before
        if stride_x == 1:
            line[first:last] = source[y, start : start + last - first]
        else:
            for i in range(last - first):
                line[first + i] = source[y, start + i * stride_x]
        line[last:] = 0


@kernel
def windows(first, last, x, y, neutral, largest, geometry):
    """Maximum (*largest*) or sum over windows of the planes x [P, H, W] to y [P, *out].

    Columns of a window first, then its rows. Padding counts as *neutral*.
    """
    size, strides, pads, dilations = geometry
    height, width = x.shape[1:]
    out_h, out_w = y.shape[1:]
    line = np.empty(width, x.dtype)
    for plane in range(first, last):
        for row in range(out_h):
            line[:] = neutral
            for i in range(size[0]):
                source = row * strides[0] + i * dilations[0] - pads[0]
                if 0 <= source < height:
                    if largest:
                        _keep_largest(line, x[plane, source])
                    else:
                        _add(line, x[plane, source])
            for column in range(out_w):
                start = column * strides[1] - pads[1]
                total = neutral
                for j in range(size[1]):
                    at = start + j * dilations[1]
                    if 0 <= at < width:
                        value = line[at]
                        if not largest:
                            total += value
                        elif value > total or value != value:
                            total = value
                y[plane, row, column] = total


@kernel
def _add(sums, terms):
    for i in range(sums.size):
        sums[i] += terms[i]


@kernel
def _keep_largest(line, others):
    """NaN wins, as in NumPy."""
    for i in range(line.size):
        other = others[i]
        line[i] = other if other > line[i] or other != other else line[i]
