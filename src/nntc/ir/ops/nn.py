"""Convolutions, matrix products and pooling windows.

Spatial attributes have one entry per spatial axis (1, 2 or 3 of them); ``pads`` holds the begins
of all spatial axes, then their ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nntc.ir.graph import Op, TensorType
from nntc.ir.ops import _window
from nntc.ir.ops._numeric import as_type, ieee, product, working
from nntc.ir.ops._rules import (
    FLOAT,
    NUMBER,
    broadcast,
    broadcast_to,
    need,
    need_at_least,
    need_length,
    need_rank,
    need_shape,
    require,
    same_dtype,
)


@dataclass(frozen=True)
class Conv(Op):
    """Convolution (cross-correlation), zero padding.

    Operands: x [N, C, *in], w [M, C/group, *kernel], optional b [M]; one number type. Result:
    [N, M, *out] with out = floor((in + pads - dilation*(kernel-1) - 1) / stride) + 1 >= 0.
    Pads are not negative. float16 sums in float32.
    """

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int = 1

    def infer(
        self, x: TensorType, w: TensorType, b: TensorType | None = None
    ) -> tuple[TensorType, ...]:
        spatial = need_rank("x", x, 3, 5) - 2
        need("x", x, NUMBER)
        need("w", w, NUMBER, spatial + 2)
        dtype = same_dtype(x=x, w=w, b=b)
        window = _window.check(x.shape[2:], w.shape[2:], self.strides, self.pads, self.dilations)
        _window.need_fit(window)
        _check_group(self.group, x.shape[1], w.shape[0], "w's output channels")
        require(
            w.shape[1] * self.group == x.shape[1],
            f"w takes {w.shape[1]} channels a group, x has {x.shape[1]} in {self.group} groups",
        )
        if b is not None:
            need_shape("b", b, (w.shape[0],), dtype)
        return (TensorType(dtype, (x.shape[0], w.shape[0], *window.out())),)

    @ieee
    def compute(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None
    ) -> tuple[np.ndarray, ...]:
        window = _window.Window(x.shape[2:], w.shape[2:], self.strides, self.pads, self.dilations)
        y = _window.convolve(working(x), working(w), window, self.group)
        if b is not None:
            y += working(b).reshape(-1, *(1 for _ in w.shape[2:]))
        return (as_type(y, x.dtype),)


@dataclass(frozen=True)
class ConvTranspose(Op):
    """Transposed convolution: every element of x adds its multiple of the kernel to the result.

    Operands: x [N, C, *in], w [C, M/group, *kernel], optional b [M]; one number type. Result:
    [N, M, *out] with out = stride*(in-1) + output_padding + dilation*(kernel-1) + 1 - pads > 0.
    """

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int
    output_padding: tuple[int, ...]

    def infer(
        self, x: TensorType, w: TensorType, b: TensorType | None = None
    ) -> tuple[TensorType, ...]:
        spatial = need_rank("x", x, 3, 5) - 2
        need("x", x, NUMBER)
        need("w", w, NUMBER, spatial + 2)
        dtype = same_dtype(x=x, w=w, b=b)
        need_length(self.output_padding, spatial, "output_padding")
        need_at_least(self.output_padding, 0, "output_padding")
        window = _window.check(x.shape[2:], w.shape[2:], self.strides, self.pads, self.dilations)
        _check_group(self.group, x.shape[1], w.shape[0], "w's input channels")
        require(
            w.shape[0] == x.shape[1],
            f"w takes {w.shape[0]} channels, x has {x.shape[1]}",
        )
        channels = w.shape[1] * self.group
        if b is not None:
            need_shape("b", b, (channels,), dtype)
        require(min(x.shape[2:]) > 0, f"x {x.shape} is empty")
        out = window.transposed_out(self.output_padding)
        require(min(out) > 0, f"the result would have the spatial shape {out}")
        return (TensorType(dtype, (x.shape[0], channels, *out)),)

    @ieee
    def compute(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None
    ) -> tuple[np.ndarray, ...]:
        window = _window.Window(x.shape[2:], w.shape[2:], self.strides, self.pads, self.dilations)
        out = window.transposed_out(self.output_padding)
        y = _window.convolve_transposed(working(x), working(w), window, self.group, out)
        if b is not None:
            y += working(b).reshape(-1, *(1 for _ in out))
        return (as_type(y, x.dtype),)


def _check_group(group: int, x_channels: int, w_channels: int, what: str) -> None:
    require(group >= 1, f"group is {group}, at least 1 is needed")
    require(x_channels % group == 0, f"{x_channels} channels of x do not split in {group} groups")
    require(w_channels % group == 0, f"{w_channels} of {what} do not split in {group} groups")


@dataclass(frozen=True)
class MatMul(Op):
    """y = a @ b (+ bias), batched and broadcast as NumPy's matmul.

    Operands: a [..., M, K], b [..., K, N], optional bias that broadcasts to y; one number type.
    An operand of rank 1 is a vector, its axis is absent in y. transpose_a, transpose_b swap the
    last two axes first.
    """

    transpose_a: bool = False
    transpose_b: bool = False

    def infer(
        self, a: TensorType, b: TensorType, bias: TensorType | None = None
    ) -> tuple[TensorType, ...]:
        need("a", a, NUMBER)
        dtype = same_dtype(a=a, b=b, bias=bias)
        left = _matrix("a", a.shape, self.transpose_a)
        right = _matrix("b", b.shape, self.transpose_b)
        rows = right[-2:][0]
        require(left[-1] == rows, f"a has {left[-1]} columns, b has {rows} rows")
        shape = (*broadcast(left[:-2], right[:-2]), *left[-2:-1], *right[1:][-1:])
        if bias is not None:
            broadcast_to("bias", bias.shape, shape)
        return (TensorType(dtype, shape),)

    @ieee
    def compute(
        self, a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None
    ) -> tuple[np.ndarray, ...]:
        left = working(np.swapaxes(a, -1, -2) if self.transpose_a else a)
        right = working(np.swapaxes(b, -1, -2) if self.transpose_b else b)
        y = product(left, right)
        return (as_type(y if bias is None else y + working(bias), a.dtype),)


def _matrix(what: str, shape: tuple[int, ...], transpose: bool) -> tuple[int, ...]:
    require(len(shape) >= 1, f"{what} is a scalar, a vector or matrices are needed")
    if not transpose:
        return shape
    require(len(shape) >= 2, f"{what} is a vector, it cannot be transposed")
    return (*shape[:-2], shape[-1], shape[-2])


@dataclass(frozen=True)
class MaxPool(Op):
    """Maximum over windows of x [N, C, *in]; padding never wins. Takes any number type.

    Result [N, C, *out], out = floor (ceil with ceil_mode) of
    (in + pads - dilation*(kernel-1) - 1) / stride, plus 1; with ceil_mode a last window that
    would start beyond the input and its front padding is dropped. Pads are smaller than the
    dilated kernel.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    ceil_mode: bool = False

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, NUMBER)
        return (_pooled(self, x),)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (_window.pool_max(x, _pool_window(self, x.shape), self.ceil_mode),)


@dataclass(frozen=True)
class AveragePool(Op):
    """Mean over windows of x [N, C, *in], float; the result's shape is as in MaxPool.

    A window's sum is divided by the number of its elements inside x, or, with
    count_include_pad, inside x and its padding.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    ceil_mode: bool = False
    count_include_pad: bool = False

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, FLOAT)
        return (_pooled(self, x),)

    @ieee
    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        window = _pool_window(self, x.shape)
        total = _window.pool_sum(working(x), window, self.ceil_mode)
        count = window.counts(self.ceil_mode, self.count_include_pad)
        return (as_type(total / count.astype(total.dtype), x.dtype),)


@dataclass(frozen=True)
class LpPool(Op):
    """(Sum of |x|^p)^(1/p) over windows of x [N, C, *in], float; shapes are as in MaxPool."""

    p: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    ceil_mode: bool = False

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, FLOAT)
        require(self.p >= 1, f"p is {self.p}, at least 1 is needed")
        return (_pooled(self, x),)

    @ieee
    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        powers = np.abs(working(x)) ** self.p
        total = _window.pool_sum(powers, _pool_window(self, x.shape), self.ceil_mode)
        return (as_type(total ** (1 / self.p), x.dtype),)


_Pool = MaxPool | AveragePool | LpPool


def _pool_window(op: _Pool, shape: tuple[int, ...]) -> _window.Window:
    return _window.Window(shape[2:], op.kernel, op.strides, op.pads, op.dilations)


def _pooled(op: _Pool, x: TensorType) -> TensorType:
    spatial = need_rank("x", x, 3, 5) - 2
    need_length(op.kernel, spatial, "kernel")
    window = _window.check(x.shape[2:], op.kernel, op.strides, op.pads, op.dilations)
    _window.need_fit(window)
    for axis, (begin, end, extent) in enumerate(
        zip(window.begins, window.ends, window.extents, strict=True)
    ):
        require(
            max(begin, end) < extent,
            f"pads {begin} and {end} of spatial axis {axis} must be smaller than the window's "
            f"{extent}",
        )
    return TensorType(x.dtype, (*x.shape[:2], *window.out(op.ceil_mode)))
