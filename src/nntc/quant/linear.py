"""Convolutions and products with constant matrices, as ``FixConv`` with a bias.

The integers of the inputs are known (everything before has been quantised already), so rounding
keeps the sums over what the layer really sees (:mod:`nntc.quant.rounding`), and the bias makes the
mean results those of the float layer, whatever errors earlier layers made.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Node, Value
from nntc.quant import rounding, scales, windows
from nntc.quant.grid import Grid
from nntc.quant.network import Fixed
from nntc.quant.quantizer import Quantizer
from nntc.quant.rules import lowers

PLACES = 4096
"""Places of the result on which a layer is fitted, at least."""

PLACES_PER_INPUT = 4
"""And at least this many for every weight of a row."""

MOST_PRODUCTS = 1 << 26
"""Numbers in the matrix of inputs at the places; larger layers are fitted on fewer places."""

MOST_COLUMNS = 8192
"""Weights of a row up to which rounding is adaptive: its work grows with the third power."""

ADAPTED = 0.3
"""Variance of sums after adaptive rounding, relative to rounding to nearest (about, measured)."""

TRUST = 1.0
"""How many places for every input make a measured covariance count half."""


@dataclass(frozen=True)
class Layer:
    """A layer in canonical form.

    Attributes:
        weight: float64 [groups, M/groups, K]; a row goes over (input channel, tap).
        bias: float64 [M].
        taps: taps of the kernel; K = input channels of a group * taps.
    """

    weight: np.ndarray
    bias: np.ndarray
    taps: int


@dataclass(frozen=True)
class Fitted:
    """Integer weights [groups, M/groups, K] and biases [M], rescaling, and the result's grid."""

    weight: np.ndarray
    bias: np.ndarray
    scaling: scales.Scaling
    grid: Grid


@dataclass(frozen=True)
class _Inputs:
    """Mean and covariance of a group's inputs; with a leading axis if every row has its own."""

    mean: np.ndarray
    covariance: np.ndarray

    @staticmethod
    def of(x: np.ndarray) -> _Inputs:
        """From samples [..., K, P]."""
        columns, count = x.shape[-2:]
        mean = x.mean(axis=-1, dtype=np.float64)
        centred = x - mean[..., None].astype(np.float32)
        own = (np.matmul(centred, centred.swapaxes(-1, -2)) / count).astype(np.float64)
        # With few places, what seems related is mostly chance.
        trust = count / (count + TRUST * columns)
        diagonal = np.eye(columns) * own
        return _Inputs(mean, trust * own + (1 - trust) * diagonal)

    @property
    def power(self) -> np.ndarray:
        """Sum of the inputs' variances."""
        return np.trace(self.covariance, axis1=-2, axis2=-1)

    def expected(self, rows: np.ndarray) -> np.ndarray:
        """Sums of rows over the mean inputs."""
        return (rows * self.mean).sum(axis=-1) if self.mean.ndim == 2 else rows @ self.mean

    def round(self, rows: np.ndarray, adaptive: bool) -> np.ndarray:
        if not adaptive or rows.shape[-1] > MOST_COLUMNS:
            return rounding.nearest(rows)
        if self.covariance.ndim == 3:
            return rounding.adaptive_single(rows, self.covariance)
        return rounding.adaptive(rows, self.covariance)


def fit(
    q: Quantizer, layer: Layer, x_grid: Grid, x: np.ndarray, y: np.ndarray, target: Value
) -> Fitted:
    """Quantise a layer on sampled data.

    Args:
        x_grid: of the input.
        x: integer inputs as fp32 [C, taps, P].
        y: float results before the activation [M, P].
        target: the float value that the layer and its activation give.
    """
    groups, each, columns = layer.weight.shape
    outputs = groups * each
    inner = columns // layer.taps
    x_zero = x_grid.zero
    step = np.repeat(x_grid.channels(groups * inner).reshape(groups, 1, inner), layer.taps, axis=2)
    rows = layer.weight * step
    if each == 1 and groups > 1:
        parts = [_Inputs.of(x.reshape(groups, columns, -1))]
        rows = rows.reshape(1, groups, columns)
    else:
        parts = [
            _Inputs.of(x[g * inner : (g + 1) * inner].reshape(columns, -1)) for g in range(groups)
        ]
    wanted = q.grid(target)
    mean = y.mean(axis=1, dtype=np.float64)
    wanted_scales = _wanted_scales(q, target, wanted, y)
    if q.options.correct_bias:
        bias = mean - np.concatenate([p.expected(r) for p, r in zip(parts, rows, strict=True)])
    else:
        bias = layer.bias - x_zero * rows.sum(axis=2).reshape(-1)
    power = [np.broadcast_to(p.power, r.shape[:1]) for p, r in zip(parts, rows, strict=True)]
    scaling = scales.choose(
        rows.reshape(outputs, columns),
        bias,
        wanted_scales,
        np.concatenate(power),
        q.importance(target, outputs),
        common=not q.varies(target),
        rounding=ADAPTED if q.options.adaptive else 1.0,
        high=wanted.high,
        zero=wanted.zero,
    )
    unit = (2.0**scaling.total / scaling.scale).reshape(len(rows), -1, 1)
    weight = np.stack(
        [p.round(r, q.options.adaptive) for p, r in zip(parts, rows * unit, strict=True)]
    )
    if q.options.correct_bias:
        expected = [p.expected(w.astype(np.float64)) for p, w in zip(parts, weight, strict=True)]
        offset = mean * unit.reshape(-1) - np.concatenate(expected)
    else:
        sums = weight.astype(np.float64).sum(axis=2).reshape(-1)
        offset = layer.bias * unit.reshape(-1) - x_zero * sums
    offset += wanted.zero * 2.0**scaling.total
    if scaling.narrow:
        offset = offset / 2.0**scaling.shift
    q.scaling = scaling
    return Fitted(
        weight.reshape(groups, each, columns),
        np.clip(np.rint(offset), -32768, 32767).astype(np.int16),
        scaling,
        wanted.scaled(scaling.scale if q.varies(target) else scaling.scale[0]),
    )


LEAKY_CANDIDATES = 24


def _wanted_scales(q: Quantizer, target: Value, wanted: Grid, y: np.ndarray) -> np.ndarray:
    """Scales of the result's channels, before weights and biases have had their say.

    Of what goes into a leaky ReLU, large negative numbers matter less: cutting some of them may
    pay, if in exchange the positive ones get finer steps.

    Args:
        y: samples of the result [M, P].
    """
    slope = q.agreement.leaky_slope(target)
    if slope is None or wanted.zero == wanted.low or not q.varies(target):
        return q.channel_scales(target, len(y))
    slope = np.broadcast_to(slope, (len(y),))
    fine, coarse = q.ranges.bounds(target)
    best, best_error = coarse, np.full(len(y), np.inf)
    for part in np.linspace(0, 1, LEAKY_CANDIDATES):
        step = fine ** (1 - part) * coarse**part
        cut = np.maximum(-y - (wanted.zero - wanted.low) * step[:, None], 0)
        inside = (y < 0) & (cut <= 0)
        error = (cut**2).mean(axis=1) * slope**2
        error += step**2 / 12 * ((y > 0).mean(axis=1) + slope**2 * inside.mean(axis=1))
        better = error < best_error
        best, best_error = np.where(better, step, best), np.where(better, error, best_error)
    return best


def _places(
    q: Quantizer, node: Node, spatial: Sequence[int], taps: int, columns: int
) -> windows.Places:
    """Where a layer's result is looked at; the choice does not depend on other nodes.

    Args:
        spatial: shape of the result.
        taps: of the window.
        columns: weights of a row.
    """
    batch, channels = node.operands[0].shape[:2]
    rng = np.random.default_rng([q.options.seed, zlib.crc32(node.name.encode())])
    most = MOST_PRODUCTS // (channels * taps) + 1
    wanted = max(PLACES, PLACES_PER_INPUT * columns)
    return windows.Places(rng, spatial, q.net.count * batch, min(wanted, most))


@lowers(ops.Conv, ops.ConvTranspose)
def convolution(q: Quantizer, node: Node) -> bool:
    op = node.op
    assert isinstance(op, (ops.Conv, ops.ConvTranspose))
    x_value, w_value, *rest = node.operands
    if w_value.data is None or len(x_value.shape) > 4 or any(v.data is None for v in rest):
        return False
    w = w_value.data.astype(np.float64)
    kernel = w.shape[2:]
    taps = int(np.prod(kernel))
    outputs = node.output.shape[1]
    each = outputs // op.group
    if isinstance(op, ops.Conv):
        rows = w.reshape(op.group, each, -1)
    else:
        rows = w.reshape(op.group, -1, each, taps).swapaxes(1, 2).reshape(op.group, each, -1)
    x = q.integers(x_value)
    if x.grid.varies and x.grid.axis != 1:
        return False
    target, limits = q.limits(node)
    bias = rest[0].data.astype(np.float64) if rest and rest[0].data is not None else 0.0
    layer = Layer(rows, np.broadcast_to(bias, (outputs,)), taps)
    places = _places(q, node, node.output.shape[2:], taps, rows.shape[2])
    geometry = windows.Geometry.of(
        kernel, op.strides, op.pads, op.dilations, isinstance(op, ops.ConvTranspose)
    )
    seen = places.inputs(q.net.arrays(x.value), geometry, x.grid.zero)
    results = places.outputs(q.net.reference[node.output])
    fitted = fit(q, layer, x.grid, seen, results, target)
    scaling, to = fitted.scaling, fitted.grid.dtype
    common = (op.strides, op.pads, op.dilations, op.group)
    if isinstance(op, ops.Conv):
        weight = fitted.weight.reshape(w.shape)
        made = ops.FixConv(*common, scaling.shift, to, scaling.narrow, x.grid.zero)
    else:
        weight = fitted.weight.reshape(op.group, each, -1, taps).swapaxes(1, 2).reshape(w.shape)
        made = ops.FixConvTranspose(*common, op.output_padding, scaling.shift, to, scaling.narrow)
    value = q.net(
        made,
        x.value,
        q.net.constant(np.ascontiguousarray(weight), w_value.name),
        q.net.constant(fitted.bias, f"{node.name}.bias"),
        name=q.name(target),
    )
    q.bind(target, q.limit(Fixed(value, fitted.grid), limits, target))
    return True


@lowers(ops.MatMul)
def matmul(q: Quantizer, node: Node) -> bool:
    """A product with a constant matrix is a convolution over an image of one pixel."""
    op = node.op
    assert isinstance(op, ops.MatMul)
    a, b, *rest = node.operands
    if b.data is None or op.transpose_a or len(a.shape) != 2 or len(b.shape) != 2:
        return False
    outputs = node.output.shape[1]
    if rest and (rest[0].data is None or rest[0].type.size not in (1, outputs)):
        return False
    w = (b.data if op.transpose_b else b.data.T).astype(np.float64)
    bias = rest[0].data.reshape(-1).astype(np.float64) if rest and rest[0].data is not None else 0.0
    x = q.integers(a)
    if x.grid.varies and x.grid.axis != 1:
        return False
    target, limits = q.limits(node)
    seen = np.concatenate(q.net.arrays(x.value)).T.astype(np.float32)[:, None]
    results = np.concatenate(q.net.reference[node.output]).T
    layer = Layer(w[None], np.broadcast_to(bias, (outputs,)), 1)
    fitted = fit(q, layer, x.grid, seen, results, target)
    image = q.net(ops.Reshape((*a.shape, 1, 1)), x.value, name=f"{a.name}.image")
    scaling = fitted.scaling
    made = q.net(
        ops.FixConv(
            (1, 1), (0, 0, 0, 0), (1, 1), 1, scaling.shift, fitted.grid.dtype, scaling.narrow
        ),
        image,
        q.net.constant(fitted.weight.reshape(*w.shape, 1, 1), b.name),
        q.net.constant(fitted.bias, f"{node.name}.bias"),
        name=f"{target.name}.image",
    )
    flat = q.net(ops.Reshape(node.output.shape), made, name=q.name(target))
    q.bind(target, q.limit(Fixed(flat, fitted.grid), limits, target))
    return True


LARGEST_WINDOW = 256
"""Taps of a window whose mean is taken at once; larger images are averaged by columns first."""


@lowers(ops.AveragePool)
def average_pool(q: Quantizer, node: Node) -> bool:
    op = node.op
    assert isinstance(op, ops.AveragePool)
    x = q.net.fixed(node.operands[0])
    counted = op.count_include_pad or not any(op.pads)
    plain = not op.ceil_mode and set(op.dilations) == {1} and len(op.kernel) <= 2
    if x is None or not counted or not plain or int(np.prod(op.kernel)) > LARGEST_WINDOW:
        return False
    if x.grid.varies and x.grid.axis != 1:
        return False
    name = q.name(node.output)
    q.bind(node.output, _average(q, node, x, op.kernel, op.strides, op.pads, name))
    return True


@lowers(ops.Reduce)
def mean(q: Quantizer, node: Node) -> bool:
    op = node.op
    assert isinstance(op, ops.Reduce)
    shape = node.operands[0].shape
    x = q.net.fixed(node.operands[0])
    images = len(shape) in (3, 4) and op.axes == tuple(range(2, len(shape)))
    if x is None or op.fn != "mean" or not images:
        return False
    if x.grid.varies and x.grid.axis != 1:
        return False
    if int(np.prod(shape[2:])) > LARGEST_WINDOW >= shape[-1] and len(shape) == 4:
        x = _column_means(q, node, x)
    kernel = x.value.shape[2:]
    if int(np.prod(kernel)) > LARGEST_WINDOW:
        return False
    name = q.name(node.output)
    label = name if op.keepdims else f"{node.output.name}.image"
    form = _average(q, node, x, kernel, (1,) * len(kernel), (0,) * (2 * len(kernel)), label)
    if not op.keepdims:
        flat = q.net(ops.Reshape(node.output.shape), form.value, name=name)
        form = Fixed(flat, form.grid)
    q.bind(node.output, form)
    return True


def _column_means(q: Quantizer, node: Node, x: Fixed) -> Fixed:
    """The means of an image's columns, on the grid of the image but for a factor near 1."""
    channels, rows = x.value.shape[1:3]
    shift = int(np.floor(np.log2(scales.WEIGHT_HIGH * rows)))
    factor = round(2**shift / rows)
    # What the factor lacks of a mean would move the zero point.
    lack = np.clip(x.grid.zero * (2**shift - factor * rows), -32768, 32767)
    bias = np.full(channels, lack, np.int16)
    weight = np.full((channels, 1, rows, 1), factor, np.int8)
    made = q.net(
        ops.FixConv((1, 1), (0, 0, 0, 0), (1, 1), channels, shift, x.grid.dtype),
        x.value,
        q.net.constant(weight, f"{node.name}.columns.weight"),
        q.net.constant(bias, f"{node.name}.columns.bias"),
        name=f"{node.name}.columns",
    )
    return Fixed(made, x.grid.scaled(x.grid.scale * (2**shift / (factor * rows))))


def _average(
    q: Quantizer,
    node: Node,
    x: Fixed,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    name: str,
) -> Fixed:
    """A mean over a window is a depthwise convolution with equal weights."""
    channels, taps, ones = x.value.shape[1], int(np.prod(kernel)), (1,) * len(kernel)
    spatial = node.output.shape[2:]
    spatial = spatial if len(spatial) == len(kernel) else ones
    places = _places(q, node, spatial, taps, taps)
    geometry = windows.Geometry.of(kernel, strides, pads, ones)
    seen = places.inputs(q.net.arrays(x.value), geometry, x.grid.zero)
    results = [a.reshape(*a.shape[:2], *spatial) for a in q.net.reference[node.output]]
    layer = Layer(np.full((channels, 1, taps), 1 / taps), np.zeros(channels), taps)
    fitted = fit(q, layer, x.grid, seen, places.outputs(results), node.output)
    scaling = fitted.scaling
    shifts = (scaling.shift, fitted.grid.dtype, scaling.narrow)
    op = ops.FixConv(strides, pads, ones, channels, *shifts, x.grid.zero)
    weight = q.net.constant(fitted.weight.reshape(channels, 1, *kernel), f"{node.name}.weight")
    bias = q.net.constant(fitted.bias, f"{node.name}.bias")
    return Fixed(q.net(op, x.value, weight, bias, name=name), fitted.grid)
