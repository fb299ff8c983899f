"""Sums, products, leaky ReLUs and limits of integers; functions of one number as tables."""

from __future__ import annotations

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Node, Value
from nntc.quant.agreement import CURVES, is_curve
from nntc.quant.grid import Grid
from nntc.quant.linear import leaky_slope
from nntc.quant.network import Fixed
from nntc.quant.quantizer import Quantizer
from nntc.quant.rules import lowers

FACTOR_HIGH = 127
MAX_SHIFT = 14


@lowers(ops.Binary)
def binary(q: Quantizer, node: Node) -> bool:
    op = node.op
    assert isinstance(op, ops.Binary)
    a, b = node.operands
    if all(q.net.fixed(v) is None for v in (a, b)):
        return False
    if a.data is None and b.data is None:
        if op.fn in ("add", "sub") and a.shape == b.shape:
            return _sum(q, node, -1 if op.fn == "sub" else 1)
        return op.fn == "mul" and _product(q, node)
    if op.fn == "mul":
        return _scaled(q, node)
    return False


def _sum(q: Quantizer, node: Node, sign: int) -> bool:
    a, b = (q.integers(v) for v in node.operands)
    if any(f.grid.varies and f.grid.axis != 1 for f in (a, b)):
        return False
    target, limits = q.limits(node)
    form = weighted_sum(q, target, a, b, a.grid.scale, sign * b.grid.scale)
    q.bind(target, q.limit(form, limits))
    return True


def weighted_sum(
    q: Quantizer, target: Value, a: Fixed, b: Fixed, factor_a: np.ndarray, factor_b: np.ndarray
) -> Fixed:
    """a * factor_a + b * factor_b on a grid for *target*.

    Args:
        factor_a, factor_b: real numbers, () or one for every channel.
    """
    wanted = q.grid(target)
    varies = q.varies(target)
    count = target.shape[1] if len(target.shape) > 1 else 1
    fa, fb = (np.broadcast_to(f, (count,)) for f in (factor_a, factor_b))
    largest = np.maximum(np.abs(fa), np.abs(fb))
    if not varies:
        largest = np.full_like(largest, largest.max())
    shift, scale = sum_scaling(largest, wanted.channels(count))
    if not varies:
        scale = np.full_like(scale, scale.max())
    ka, kb = (np.rint(f / scale * 2.0**shift).astype(np.int8) for f in (fa, fb))
    same = all(np.ptp(k) == 0 for k in (ka, kb))
    ka, kb = (np.asarray(k[0]) if same else k for k in (ka, kb))
    operands = [a.value, q.net.constant(ka), b.value, q.net.constant(kb)]
    made = q.net(ops.FixSum(shift, wanted.dtype), *operands, name=q.name(target))
    return Fixed(made, Grid(wanted.dtype, scale if varies else np.asarray(scale[0])))


def sum_scaling(largest: np.ndarray, wanted: np.ndarray) -> tuple[int, np.ndarray]:
    """(shift, scales of the result) of a ``FixSum`` whose larger factors are *largest*.

    The scales are a little larger than *wanted*, so that the larger factors are whole numbers.
    """
    shift = 1
    while (largest / wanted * 2.0 ** (shift + 1)).max() <= FACTOR_HIGH and shift < MAX_SHIFT:
        shift += 1
    steps = np.clip(np.floor(largest / wanted * 2.0**shift + 1e-9), 1, FACTOR_HIGH)
    exact = largest * 2.0**shift / steps
    # A channel with factors near zero keeps the wanted scale, or its range would not fit.
    return shift, np.where(largest / wanted * 2.0**shift >= 1, exact, wanted)


def _product(q: Quantizer, node: Node) -> bool:
    """The product of two tensors; the smaller one is spread."""
    a, b = node.operands
    if b.type.size > a.type.size:
        a, b = b, a
    if a.shape != node.output.shape or len(b.shape) != len(a.shape):
        return False
    fa, fb = q.integers(a), q.integers(b)
    if fb.grid.varies and b.shape[1] != a.shape[1]:
        return False
    target, limits = q.limits(node)
    wanted = q.grid(target)
    product = np.asarray(fa.grid.scale * fb.grid.scale)
    signed = DType.I8 in (fa.grid.dtype, fb.grid.dtype)
    high = 127 if signed else 255
    shift = 0
    while (product * 2.0**shift * high).min() < wanted.scale * wanted.high and shift < MAX_SHIFT:
        shift += 1
    dtype = DType.I8 if signed else DType.U8
    made = q.net(ops.FixMul(shift, dtype), fa.value, fb.value, name=q.name(target))
    form = Fixed(made, Grid(dtype, product * 2.0**shift))
    if form.grid.varies and not q.varies(target):
        form = q.common(form)
    q.bind(target, q.limit(form, limits))
    return True


def _scaled(q: Quantizer, node: Node) -> bool:
    """A product with constants changes what the integers mean, not the integers."""
    a, b = node.operands
    x_value, factor = (a, b) if b.data is not None else (b, a)
    x = q.net.fixed(x_value)
    if x is None or factor.data is None or x_value.shape != node.output.shape:
        return False
    numbers = factor.data.astype(np.float64)
    if not np.isfinite(numbers).all() or numbers.min(initial=1) <= 0:
        return False
    if numbers.size == 1:
        grid = Grid(x.grid.dtype, x.grid.scale * numbers.reshape(()), x.grid.axis)
    else:
        spread = np.broadcast_to(numbers, np.broadcast_shapes(numbers.shape, (1,) * len(a.shape)))
        channels = x_value.shape[1] if len(x_value.shape) > 1 else 0
        by_channel = spread.shape[1:2] == (channels,) and spread.size == channels
        if not by_channel or not q.varies(node.output) or (x.grid.varies and x.grid.axis != 1):
            return False
        grid = Grid(x.grid.dtype, x.grid.scale * spread.reshape(-1))
    if q.users.get(node.output) is None:
        return False
    q.bind(node.output, Fixed(x.value, grid))
    return True


@lowers(ops.LeakyRelu, ops.PRelu)
def leaky(q: Quantizer, node: Node) -> bool:
    """max(x, 0) + slope * min(x, 0)."""
    x, slope = q.net.fixed(node.operands[0]), leaky_slope(node)
    if x is None or slope is None or (x.grid.varies and x.grid.axis != 1):
        return False
    if x.grid.dtype is DType.U8:
        q.bind(node.output, x)
        return True
    zero = q.net.constant(np.zeros((), np.int8))
    up = Fixed(q.net(ops.Binary("max"), x.value, zero), x.grid)
    down = Fixed(q.net(ops.Binary("min"), x.value, zero), x.grid)
    scale = x.grid.scale
    q.bind(node.output, weighted_sum(q, node.output, up, down, scale, scale * slope))
    return True


@lowers(ops.Clip)
def clip(q: Quantizer, node: Node) -> bool:
    op = node.op
    assert isinstance(op, ops.Clip)
    x = q.net.fixed(node.operands[0])
    if x is None:
        return False
    q.bind(node.output, q.limit(x, op))
    return True


@lowers(*CURVES)
def curve(q: Quantizer, node: Node) -> bool:
    """A function of one number: a table of its 256 results."""
    op = node.op
    if isinstance(op, ops.Unary) and op.fn == "relu":
        x = q.net.fixed(node.operands[0])
        if x is not None:
            q.bind(node.output, q.limit(x, ops.Clip(0.0, np.inf)))
        return x is not None
    x = q.net.fixed(node.operands[0])
    if x is None or not is_curve(op) or not node.output.dtype.is_float:
        return False
    x = q.common(x)
    grid = q.grid(node.output)
    numbers = np.arange(256, dtype=np.uint8).view(x.grid.dtype.numpy)
    real = op.compute((numbers * x.grid.scale).astype(np.float32))[0].astype(np.float64)
    low = int(np.iinfo(grid.dtype.numpy.name).min)
    steps = np.clip(np.rint(np.nan_to_num(real / grid.scale)), low, grid.high)
    table = q.net.constant(steps.astype(grid.dtype.numpy), f"{node.name}.table")
    q.bind(node.output, Fixed(q.net(ops.Lut(), x.value, table, name=q.name(node.output)), grid))
    return True
