"""Normalisations and softmaxes; float types only.

Statistics are summed in float64: a float32 sum over a large image loses digits that the
difference x - mean then needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nntc.ir.graph import Op, TensorType
from nntc.ir.ops._numeric import as_type, ieee, working
from nntc.ir.ops._rules import (
    FLOAT,
    need,
    need_axis,
    need_rank,
    need_shape,
    require,
    same_dtype,
)


@dataclass(frozen=True)
class BatchNorm(Op):
    """y = (x - mean) / sqrt(var + epsilon) * scale + bias, per channel.

    Operands: x [N, C, ...], then scale, bias, mean, var, each [C].
    """

    epsilon: float = 1e-5

    def infer(
        self,
        x: TensorType,
        scale: TensorType,
        bias: TensorType,
        mean: TensorType,
        var: TensorType,
    ) -> tuple[TensorType, ...]:
        need("x", x, FLOAT)
        need_rank("x", x, 2)
        for what, kind in (("scale", scale), ("bias", bias), ("mean", mean), ("var", var)):
            need_shape(what, kind, x.shape[1:2], x.dtype)
        return (x,)

    @ieee
    def compute(
        self,
        x: np.ndarray,
        scale: np.ndarray,
        bias: np.ndarray,
        mean: np.ndarray,
        var: np.ndarray,
    ) -> tuple[np.ndarray, ...]:
        factor = scale / np.sqrt(var.astype(np.float64) + self.epsilon)
        offset = bias - mean * factor
        return (_affine(x, factor, offset, channel_axis=1),)


@dataclass(frozen=True)
class LayerNorm(Op):
    """y = (x - mean) / sqrt(var + epsilon) * scale + bias, statistics over axes axis ... last.

    Operands: x, optional scale and bias, each of the shape x.shape[axis:].
    """

    axis: int
    epsilon: float = 1e-5

    def infer(
        self, x: TensorType, scale: TensorType | None = None, bias: TensorType | None = None
    ) -> tuple[TensorType, ...]:
        need("x", x, FLOAT)
        need_axis(self.axis, len(x.shape))
        for what, kind in (("scale", scale), ("bias", bias)):
            if kind is not None:
                need_shape(what, kind, x.shape[self.axis :], x.dtype)
        return (x,)

    @ieee
    def compute(
        self, x: np.ndarray, scale: np.ndarray | None = None, bias: np.ndarray | None = None
    ) -> tuple[np.ndarray, ...]:
        y = _standardise(working(x), tuple(range(self.axis, x.ndim)), self.epsilon)
        if scale is not None:
            y = y * scale
        if bias is not None:
            y = y + bias
        return (as_type(y, x.dtype),)


@dataclass(frozen=True)
class InstanceNorm(Op):
    """y = (x - mean) / sqrt(var + epsilon) * scale + bias, statistics over each [n, c] plane.

    Operands: x [N, C, ...] of rank 3 or more, scale [C], bias [C].
    """

    epsilon: float = 1e-5

    def infer(self, x: TensorType, scale: TensorType, bias: TensorType) -> tuple[TensorType, ...]:
        need_rank("x", x, 3)
        return (_per_channel(x, scale, bias),)

    @ieee
    def compute(self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, ...]:
        y = _standardise(working(x), tuple(range(2, x.ndim)), self.epsilon)
        return (as_type(_affine(y, scale, bias, channel_axis=1), x.dtype),)


@dataclass(frozen=True)
class GroupNorm(Op):
    """y = (x - mean) / sqrt(var + epsilon) * scale + bias, statistics over groups of channels.

    Operands: x [N, C, ...], scale [C], bias [C]; C splits evenly in *groups*.
    """

    groups: int
    epsilon: float = 1e-5

    def infer(self, x: TensorType, scale: TensorType, bias: TensorType) -> tuple[TensorType, ...]:
        need_rank("x", x, 2)
        require(self.groups >= 1, f"groups is {self.groups}, at least 1 is needed")
        require(
            x.shape[1] % self.groups == 0,
            f"{x.shape[1]} channels of x do not split in {self.groups} groups",
        )
        return (_per_channel(x, scale, bias),)

    @ieee
    def compute(self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, ...]:
        grouped = working(x).reshape(x.shape[0], self.groups, -1 if x.size else 0)
        y = _standardise(grouped, (2,), self.epsilon).reshape(x.shape)
        return (as_type(_affine(y, scale, bias, channel_axis=1), x.dtype),)


@dataclass(frozen=True)
class RMSNorm(Op):
    """y = x / sqrt(mean(x^2) + epsilon) * scale, the mean over axes axis ... last.

    Operands: x, scale of the shape x.shape[axis:].
    """

    axis: int
    epsilon: float = 1e-5

    def infer(self, x: TensorType, scale: TensorType) -> tuple[TensorType, ...]:
        need("x", x, FLOAT)
        need_axis(self.axis, len(x.shape))
        need_shape("scale", scale, x.shape[self.axis :], x.dtype)
        return (x,)

    @ieee
    def compute(self, x: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, ...]:
        wide = working(x)
        axes = tuple(range(self.axis, x.ndim))
        if x.size == 0:
            return (x,)
        power = np.mean(np.square(wide), axes, np.float64, keepdims=True)
        y = wide * as_type(1 / np.sqrt(power + self.epsilon), wide.dtype) * scale
        return (as_type(y, x.dtype),)


@dataclass(frozen=True)
class LRN(Op):
    """Local response normalisation of x [N, C, ...] across channels.

    y = x / (bias + alpha/size * sum of x^2 over channels c - (size-1)//2 ... c + size//2)^beta
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        need("x", x, FLOAT)
        need_rank("x", x, 2)
        require(self.size >= 1, f"size is {self.size}, at least 1 is needed")
        return (x,)

    @ieee
    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        wide = working(x)
        channels = x.shape[1]
        reach = min(self.size, channels)
        square = np.square(wide)
        total = np.zeros_like(square)
        for shift in range(-min((self.size - 1) // 2, reach), min(self.size // 2, reach) + 1):
            low, high = max(0, -shift), min(channels, channels - shift)
            total[:, low:high] += square[:, low + shift : high + shift]
        divisor = (self.bias + self.alpha / self.size * total) ** self.beta
        return (as_type(wide / divisor, x.dtype),)


@dataclass(frozen=True)
class LpNorm(Op):
    """y = x / (sum of |x|^p over *axis*)^(1/p); p is 1 or 2. A sum of 0 gives 0."""

    p: int
    axis: int

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        require(self.p in (1, 2), f"p is {self.p}, 1 or 2 is needed")
        return _along_axis(x, self.axis)

    @ieee
    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        wide = working(x)
        size = np.abs(wide) if self.p == 1 else np.square(wide)
        norm = size.sum(self.axis, np.float64, keepdims=True)
        norm = as_type(norm if self.p == 1 else np.sqrt(norm), wide.dtype)
        return (as_type(wide / np.where(norm == 0, 1, norm), x.dtype),)


@dataclass(frozen=True)
class Softmax(Op):
    """y = exp(x) / sum of exp(x) over *axis*."""

    axis: int

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return _along_axis(x, self.axis)

    @ieee
    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        power = np.exp(_below_maximum(x, self.axis))
        return (as_type(power / power.sum(self.axis, keepdims=True), x.dtype),)


@dataclass(frozen=True)
class LogSoftmax(Op):
    """y = log(softmax(x)) over *axis*."""

    axis: int

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return _along_axis(x, self.axis)

    @ieee
    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        shifted = _below_maximum(x, self.axis)
        return (as_type(shifted - np.log(np.exp(shifted).sum(self.axis, keepdims=True)), x.dtype),)


@dataclass(frozen=True)
class Hardmax(Op):
    """y = 1 at the first maximum of x along *axis*, 0 elsewhere."""

    axis: int

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        return _along_axis(x, self.axis)

    def compute(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        y = np.zeros_like(x)
        if x.size:
            first = np.expand_dims(x.argmax(self.axis), self.axis)
            np.put_along_axis(y, first, 1, self.axis)
        return (y,)


def _along_axis(x: TensorType, axis: int) -> tuple[TensorType]:
    need("x", x, FLOAT)
    need_axis(axis, len(x.shape))
    return (x,)


def _per_channel(x: TensorType, scale: TensorType, bias: TensorType) -> TensorType:
    need("x", x, FLOAT)
    same_dtype(x=x, scale=scale, bias=bias)
    need_shape("scale", scale, x.shape[1:2], x.dtype)
    need_shape("bias", bias, x.shape[1:2], x.dtype)
    return x


def _affine(x: np.ndarray, factor: np.ndarray, offset: np.ndarray, channel_axis: int) -> np.ndarray:
    """x * factor + offset with one factor and offset per channel, in x's working type."""
    wide = working(x)
    shape = (-1, *(1,) * (x.ndim - channel_axis - 1))
    y = wide * factor.astype(wide.dtype).reshape(shape)
    y += offset.astype(wide.dtype).reshape(shape)
    return as_type(y, x.dtype)


def _standardise(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    """(x - mean) / sqrt(variance + epsilon) over *axes*."""
    if x.size == 0:
        return x
    centred = x - as_type(x.mean(axes, np.float64, keepdims=True), x.dtype)
    variance = np.square(centred).mean(axes, np.float64, keepdims=True)
    return centred * as_type(1 / np.sqrt(variance + epsilon), x.dtype)


def _below_maximum(x: np.ndarray, axis: int) -> np.ndarray:
    """x minus its maximum along *axis*, so that exp cannot overflow."""
    wide = working(x)
    return wide - wide.max(axis, keepdims=True, initial=-np.inf)
