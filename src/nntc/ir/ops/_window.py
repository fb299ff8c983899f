"""Sliding windows: the geometry of convolutions and pools, and how they are computed.

Convolutions gather windows into a matrix (im2col) for one BLAS product per block of output rows, so
that the matrix stays small whatever the size of the image; windows of one element are the matrix
already. Convolutions with few channels a group (depthwise) and pools of planes and rows are
compiled loops; what has three spatial axes is computed in NumPy, tap after tap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nntc.ir.ops._numeric import lowest, product
from nntc.ir.ops._rules import need_at_least, need_length, require

# Elements of the gathered matrix of one block: large enough for BLAS, small enough for the cache.
_BLOCK = 1 << 19

# Products a group below which direct loops are faster than gathering and BLAS.
_FEW = 16

# Elements of a result that are worth a thread of their own.
_SHARE = 1 << 14


@dataclass(frozen=True)
class Window:
    """Geometry of windows over spatial axes; one entry per axis, pads: begins, then ends."""

    size: Sequence[int]
    kernel: Sequence[int]
    strides: Sequence[int]
    pads: Sequence[int]
    dilations: Sequence[int]

    @property
    def begins(self) -> Sequence[int]:
        return self.pads[: len(self.size)]

    @property
    def ends(self) -> Sequence[int]:
        return self.pads[len(self.size) :]

    @property
    def extents(self) -> list[int]:
        """Span of the dilated kernel."""
        return [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]

    def out(self, ceil_mode: bool = False) -> tuple[int, ...]:
        """Number of windows along each axis."""
        result: list[int] = []
        for size, begin, end, extent, stride in zip(
            self.size, self.begins, self.ends, self.extents, self.strides, strict=True
        ):
            room = size + begin + end - extent
            count = room // stride + 1
            if ceil_mode:
                count = -(-room // stride) + 1
                if (count - 1) * stride >= size + begin:
                    count -= 1
            result.append(max(count, 0))
        return tuple(result)

    def transposed_out(self, output_padding: Sequence[int]) -> tuple[int, ...]:
        """Spatial shape of a transposed convolution's result."""
        return tuple(
            stride * (size - 1) + more + extent - begin - end
            for size, begin, end, extent, stride, more in zip(
                self.size,
                self.begins,
                self.ends,
                self.extents,
                self.strides,
                output_padding,
                strict=True,
            )
        )

    def counts(self, ceil_mode: bool, include_pads: bool) -> np.ndarray:
        """Elements of each window inside the input, or inside input and padding; [*out]."""
        total = np.ones((), np.int64)
        for axis, count in enumerate(self.out(ceil_mode)):
            begin, end = self.begins[axis], self.ends[axis]
            low, high = (-begin, self.size[axis] + end) if include_pads else (0, self.size[axis])
            first = np.arange(count) * self.strides[axis] - begin
            taps = np.arange(self.kernel[axis]) * self.dilations[axis]
            position = first[:, None] + taps
            inside = ((position >= low) & (position < high)).sum(1)
            total = total[..., None] * inside
        return total


def check(
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
) -> Window:
    """The window, after the rules that all window operators share.

    Raises:
        ModelError: wrong lengths, values below 1 (pads: below 0).
    """
    need_length(strides, len(size), "strides")
    need_length(dilations, len(size), "dilations")
    need_length(pads, 2 * len(size), "pads")
    need_at_least(kernel, 1, "kernel")
    need_at_least(strides, 1, "strides")
    need_at_least(dilations, 1, "dilations")
    need_at_least(pads, 0, "pads")
    return Window(size, kernel, strides, pads, dilations)


def need_fit(window: Window) -> None:
    """At least one window lies within the padded input.

    Raises:
        ModelError: the dilated kernel is larger.
    """
    padded = [s + b + e for s, b, e in zip(window.size, window.begins, window.ends, strict=True)]
    require(
        all(p >= e for p, e in zip(padded, window.extents, strict=True)),
        f"windows of {tuple(window.extents)} do not fit in the padded size {tuple(padded)}",
    )


def convolve(x: np.ndarray, w: np.ndarray, window: Window, group: int) -> np.ndarray:
    """x [N, C, *in] with w [M, C/group, *kernel] to [N, M, *out], zero padding."""
    out = window.out()
    y = np.empty((x.shape[0], w.shape[0], *out), x.dtype)
    if y.size == 0 or w.size == 0:
        y[...] = 0
    elif _is_pointwise(window):
        steps = tuple(slice(None, None, s) for s in window.strides)
        source = x[(..., *steps)].reshape(x.shape[0], group, x.shape[1] // group, -1)
        y.reshape(x.shape[0], group, w.shape[0] // group, -1)[...] = product(
            w.reshape(group, w.shape[0] // group, -1), source
        )
    elif _is_direct(w, group):
        _direct(x, w, window, group, y)
    else:
        row = math.prod(out[1:]) * x.shape[1] * math.prod(window.kernel)
        rows = max(1, _BLOCK // row)
        for image, result in zip(_padded(x, window, 0, out), y, strict=True):
            _dense(_taps(image, window, out), w, group, result, rows)
    return y


def _is_pointwise(window: Window) -> bool:
    return all(k == 1 for k in window.kernel) and not any(window.pads)


def _is_direct(w: np.ndarray, group: int) -> bool:
    return group > 1 and w.ndim < 5 and w.shape[1] * (w.shape[0] // group) <= _FEW


def _direct(x: np.ndarray, w: np.ndarray, window: Window, group: int, y: np.ndarray) -> None:
    """A compiled loop over pairs of images and groups, for one or two spatial axes."""
    from nntc.core.native import split
    from nntc.ir.ops import _kernels

    geometry = _as_planes(window)
    source, result = (
        np.ascontiguousarray(a).reshape(len(a), group, a.shape[1] // group, *_plane(a.shape[2:]))
        for a in (x, y)
    )
    weights = np.ascontiguousarray(w).reshape(group, -1, w.shape[1], *_plane(w.shape[2:]))
    split(
        lambda first, last: _kernels.grouped(first, last, source, weights, result, geometry),
        len(x) * group,
        -(-_SHARE * len(x) * group // y.size),
    )


def _plane(shape: Sequence[int]) -> tuple[int, int]:
    """Numbers of one or two spatial axes as those of two."""
    return (shape[-2] if len(shape) > 1 else 1, shape[-1])


def _as_planes(window: Window) -> tuple[tuple[int, int], ...]:
    """Kernel, strides, pads before and dilations of one or two spatial axes as those of two."""
    begins = window.begins
    pads = (begins[0] if len(begins) > 1 else 0, begins[-1])
    return _plane(window.kernel), _plane(window.strides), pads, _plane(window.dilations)


def _dense(views: np.ndarray, w: np.ndarray, group: int, y: np.ndarray, rows: int) -> None:
    """Windows [C, *kernel, *out] with w to y [M, *out], in blocks of *rows* rows."""
    before = (slice(None),) * (1 + len(y.shape[1:]))

    def compute(first: int, last: int) -> None:
        for block in range(first, last):
            place = slice(block * rows, (block + 1) * rows)
            y[:, place] = _im2col(views[(*before, place)], w, group)

    blocks = -(-y.shape[1] // rows)
    if blocks == 1:
        compute(0, 1)
        return
    from nntc.core.native import split

    split(compute, blocks)


def _im2col(block: np.ndarray, w: np.ndarray, group: int) -> np.ndarray:
    """Windows [C, *kernel, *rows] with w to [M, *rows]: one matrix product per group."""
    rows = block.shape[w.ndim - 1 :]
    matrix = block.reshape(group, -1, math.prod(rows))
    return product(w.reshape(group, w.shape[0] // group, -1), matrix).reshape(-1, *rows)


def convolve_transposed(
    x: np.ndarray, w: np.ndarray, window: Window, group: int, out: Sequence[int]
) -> np.ndarray:
    """x [N, C, *in] with w [C, M/group, *kernel] to [N, M, *out], one product per kernel tap."""
    batch, channels = x.shape[:2]
    depth = w.shape[1]
    full = [o + b + e for o, b, e in zip(out, window.begins, window.ends, strict=True)]
    y = np.zeros((batch, group, depth, *full), x.dtype)
    source = x.reshape(batch, group, channels // group, math.prod(x.shape[2:]))
    for tap in np.ndindex(*window.kernel):
        weights = w[(..., *tap)].reshape(group, channels // group, depth).swapaxes(1, 2)
        part = product(weights, source).reshape(batch, group, depth, *x.shape[2:])
        place = tuple(
            slice(t * d, t * d + s * (n - 1) + 1, s)
            for t, d, s, n in zip(tap, window.dilations, window.strides, x.shape[2:], strict=True)
        )
        y[(..., *place)] += part
    crop = tuple(slice(b, b + o) for b, o in zip(window.begins, out, strict=True))
    return y.reshape(batch, group * depth, *full)[(..., *crop)]


def pool_max(x: np.ndarray, window: Window, ceil_mode: bool) -> np.ndarray:
    """Maximum of each window of x [N, C, *in]."""
    return _pool(x, window, ceil_mode, np.maximum, lowest(x.dtype))


def pool_sum(x: np.ndarray, window: Window, ceil_mode: bool) -> np.ndarray:
    """Sum of each window of x [N, C, *in]."""
    return _pool(x, window, ceil_mode, np.add, 0)


def _pool(
    x: np.ndarray, window: Window, ceil_mode: bool, combine: np.ufunc, neutral: Any
) -> np.ndarray:
    out = window.out(ceil_mode)
    if len(out) > 2 or not x.size:
        return _pool_axes(x, window, out, combine, neutral)
    from nntc.core.native import split
    from nntc.ir.ops import _kernels

    y = np.empty((*x.shape[:2], *out), x.dtype)
    planes = math.prod(x.shape[:2])
    source = np.ascontiguousarray(x).reshape(planes, *_plane(window.size))
    result = y.reshape(planes, *_plane(out))
    start, largest, geometry = x.dtype.type(neutral), combine is np.maximum, _as_planes(window)
    split(
        lambda first, last: _kernels.windows(first, last, source, result, start, largest, geometry),
        planes,
        -(-_SHARE * planes // x.size),
    )
    return y


def _pool_axes(
    x: np.ndarray, window: Window, out: Sequence[int], combine: np.ufunc, neutral: Any
) -> np.ndarray:
    """One axis after another: k1 + k2 + k3 steps instead of k1 * k2 * k3."""
    y = _padded(x, window, neutral, out)
    for axis, (count, stride, dilation, kernel) in enumerate(
        zip(out, window.strides, window.dilations, window.kernel, strict=True), start=2
    ):
        span = (count - 1) * stride + 1
        steps = [
            y[(slice(None),) * axis + (slice(k * dilation, k * dilation + span, stride),)]
            for k in range(kernel)
        ]
        y = steps[0].copy()
        for step in steps[1:]:
            combine(y, step, out=y)
    return y


def _padded(x: np.ndarray, window: Window, value: object, out: Sequence[int]) -> np.ndarray:
    """x [N, C, *in] with its padding, cut or grown to what the *out* windows read."""
    sizes = [
        (count - 1) * stride + extent
        for count, stride, extent in zip(out, window.strides, window.extents, strict=True)
    ]
    if not any(window.begins) and all(a <= b for a, b in zip(sizes, x.shape[2:], strict=True)):
        return x
    y = np.full((*x.shape[:2], *sizes), value, x.dtype)
    inner = [
        slice(begin, begin + size) for begin, size in zip(window.begins, x.shape[2:], strict=True)
    ]
    room = tuple(
        slice(0, max(0, min(size, target - begin)))
        for begin, size, target in zip(window.begins, x.shape[2:], sizes, strict=True)
    )
    y[(..., *inner)] = x[(..., *room)]
    return y


def _taps(image: np.ndarray, window: Window, out: Sequence[int]) -> np.ndarray:
    """View of the padded image [C, *size] as [C, *kernel, *out]."""
    steps = image.strides[1:]
    return np.lib.stride_tricks.as_strided(
        image,
        (image.shape[0], *window.kernel, *out),
        (
            image.strides[0],
            *(s * d for s, d in zip(steps, window.dilations, strict=True)),
            *(s * n for s, n in zip(steps, window.strides, strict=True)),
        ),
        writeable=False,
    )
