"""Sums, products, leaky ReLUs and limits of integers; functions of one number as tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Node, Value
from nntc.quant.agreement import CURVES, is_curve, is_hardswish, is_relu, leaky_slope
from nntc.quant.grid import Grid
from nntc.quant.network import Fixed
from nntc.quant.quantizer import Quantizer
from nntc.quant.rules import lowers

FACTOR_HIGH = 127
MAX_SHIFT = 14
GATE = 127
"""The integer that stands for 1 in the gate of a hard-swish."""


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
    return op.fn in ("add", "sub", "mul", "div") and _line(q, node)


# -- sums ---------------------------------------------------------------------------------------


def _sum(q: Quantizer, node: Node, sign: int) -> bool:
    a, b = (q.integers(v) for v in node.operands)
    if any(f.grid.varies and f.grid.axis != 1 for f in (a, b)):
        return False
    target, limits = q.limits(node)
    form = weighted_sum(q, target, a, b, a.grid.scale, sign * b.grid.scale)
    q.bind(target, q.limit(form, limits, target))
    return True


def weighted_sum(
    q: Quantizer, target: Value, a: Fixed, b: Fixed, factor_a: np.ndarray, factor_b: np.ndarray
) -> Fixed:
    """Steps of a * factor_a + steps of b * factor_b, on a grid for *target*.

    Args:
        factor_a, factor_b: real numbers, () or one for every channel.
    """
    grid = q.grid(target)
    varies = q.varies(target)
    count = target.shape[1] if len(target.shape) > 1 else 1
    fa, fb = (np.broadcast_to(f, (count,)) for f in (factor_a, factor_b))
    wanted = q.channel_scales(target, count)
    largest = np.maximum(np.abs(fa), np.abs(fb))
    if not varies:
        largest = np.full_like(largest, largest.max())
    shift, scale = sum_scaling(largest, wanted)
    if not varies:
        scale = np.full_like(scale, scale.max())
    ka, kb = (np.rint(f / scale * 2.0**shift) for f in (fa, fb))
    offset = grid.zero * 2.0 ** (shift - 1) - (a.grid.zero * ka + b.grid.zero * kb) / 2
    numbers = [ka.astype(np.int8), kb.astype(np.int8), np.rint(offset).astype(np.int16)]
    if all(np.ptp(n) == 0 for n in numbers):
        numbers = [n[0] for n in numbers]
    ka, kb, offset = (q.net.constant(n) for n in numbers)
    operands = [a.value, ka, b.value, kb]
    if offset.data is not None and offset.data.any():
        operands.append(offset)
    made = q.net(ops.FixSum(shift, grid.dtype), *operands, name=q.name(target))
    return Fixed(made, grid.scaled(scale if varies else scale[0]))


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


@lowers(ops.LeakyRelu, ops.PRelu)
def leaky(q: Quantizer, node: Node) -> bool:
    """max(x, 0) + slope * min(x, 0)."""
    x, slope = q.net.fixed(node.operands[0]), leaky_slope(node)
    if x is None or slope is None or (x.grid.varies and x.grid.axis != 1):
        return False
    grid = x.grid
    if grid.zero == grid.low:
        q.bind(node.output, x)
        return True
    zero = q.net.constant(np.asarray(grid.zero, grid.dtype.numpy), f"{node.name}.zero")
    up = Fixed(q.net(ops.Binary("max"), x.value, zero, name=f"{node.name}.up"), grid)
    down = Fixed(q.net(ops.Binary("min"), x.value, zero, name=f"{node.name}.down"), grid)
    q.bind(node.output, weighted_sum(q, node.output, up, down, grid.scale, grid.scale * slope))
    return True


# -- products -----------------------------------------------------------------------------------


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
    if any(f.grid.varies and f.grid.axis != 1 for f in (fa, fb)) or fb.grid.zero:
        return False
    target, limits = q.limits(node)
    q.bind(target, q.limit(product(q, target, fa, fb), limits, target))
    return True


def product(q: Quantizer, target: Value, a: Fixed, b: Fixed) -> Fixed:
    """a * b, the zero point of b being 0; its scale follows from theirs and the shift."""
    grid = q.grid(target)
    if (a.grid.zero or grid.zero) and b.grid.dtype is DType.U8:
        half = b.grid.scaled(b.grid.scale * (255 / 127))
        b = q.convert(b, replace(half, dtype=DType.I8), f"{target.name}.factor")
    signed = DType.I8 in (a.grid.dtype, b.grid.dtype)
    if not a.grid.zero and not grid.zero:
        grid = replace(grid, dtype=DType.I8 if signed else DType.U8)
    unit = np.asarray(a.grid.scale * b.grid.scale)
    wanted = np.asarray(q.channel_scales(target, unit.size) if unit.ndim else grid.scale)
    # Half of the channels may want a smaller step than the common shift gives.
    shift = 0
    while np.median(np.log2(unit / wanted)) + shift < -0.5 and shift < MAX_SHIFT:
        shift += 1
    reach = np.log2(unit / wanted).min() + shift
    if reach < -1:
        shift += int(np.ceil(-1 - reach))
    op = ops.FixMul(shift, grid.dtype, a.grid.zero, grid.zero << shift)
    made = q.net(op, a.value, b.value, name=q.name(target))
    form = Fixed(made, grid.scaled(unit * 2.0**shift, 1))
    if form.grid.varies and not q.varies(target):
        form = q.common(form, f"{target.name}.common")
    return form


def _line(q: Quantizer, node: Node) -> bool:
    """A sum, difference, product or quotient with constants."""
    op = node.op
    assert isinstance(op, ops.Binary)
    a, b = node.operands
    x_value, other = (a, b) if b.data is not None else (b, a)
    x = q.net.fixed(x_value)
    if x is None or other.data is None or x_value.shape != node.output.shape:
        return False
    numbers = _by_channel(other.data.astype(np.float64), x_value)
    if numbers is None or (op.fn == "div" and (x_value is b or not numbers.all())):
        return False
    if x.grid.varies and x.grid.axis != 1:
        return False
    sign = -1.0 if op.fn == "sub" and x_value is b else 1.0
    factor, offset = np.asarray(sign), np.zeros(())
    if op.fn in ("mul", "div"):
        factor = numbers if op.fn == "mul" else 1 / numbers
        if not np.isfinite(factor).all():
            return False
    else:
        offset = -numbers if op.fn == "sub" and x_value is a else numbers
    if factor.min() > 0 and not offset.any():
        scale = np.asarray(x.grid.scale * factor)
        if scale.ndim == 0 or q.varies(node.output):
            q.bind(node.output, Fixed(x.value, x.grid.scaled(scale, 1)))
            return True
    grid = q.grid(node.output)
    channels = x_value.shape[1] if len(x_value.shape) > 1 else 1
    fx = np.broadcast_to(x.grid.scale * factor, (channels,))
    scale = q.channel_scales(node.output, channels)
    shift = 0
    while np.abs(fx / scale * 2.0 ** (shift + 1)).max() <= FACTOR_HIGH and shift < MAX_SHIFT:
        shift += 1
    # The offset has to fit in 16 bits, too.
    while shift and (np.abs(offset / scale) + 512).max() * 2.0**shift > 32767:
        shift -= 1
    if np.abs(fx / scale * 2.0**shift).max() > FACTOR_HIGH or shift < 3:
        return False
    k = np.rint(fx / scale * 2.0**shift)
    constant = (offset / scale + grid.zero) * 2.0**shift - x.grid.zero * k
    made = q.net(
        ops.FixAffine(shift, grid.dtype),
        x.value,
        q.net.constant(k.astype(np.int8)),
        q.net.constant(np.clip(np.rint(constant), -32768, 32767).astype(np.int16)),
        name=q.name(node.output),
    )
    q.bind(node.output, Fixed(made, grid.scaled(scale if q.varies(node.output) else scale[0])))
    return True


def _by_channel(numbers: np.ndarray, x: Value) -> np.ndarray | None:
    """A constant as () or one number for every channel of *x*; None if it is neither."""
    if not np.isfinite(numbers).all():
        return None
    if numbers.size == 1:
        return numbers.reshape(())
    rank = len(x.shape)
    shape = (1,) * (rank - numbers.ndim) + numbers.shape
    if rank < 2 or shape[1] != x.shape[1] or numbers.size != x.shape[1]:
        return None
    return numbers.reshape(-1)


# -- functions of one number ----------------------------------------------------------------------


@lowers(ops.Clip)
def clip(q: Quantizer, node: Node) -> bool:
    op = node.op
    assert isinstance(op, ops.Clip)
    x = q.net.fixed(node.operands[0])
    if x is None:
        return False
    q.bind(node.output, q.limit(x, op, node.output))
    return True


@lowers(*CURVES)
def curve(q: Quantizer, node: Node) -> bool:
    op = node.op
    x = q.net.fixed(node.operands[0])
    if x is None:
        return False
    if is_relu(op):
        q.bind(node.output, q.limit(x, ops.Clip(0.0, np.inf), node.output))
        return True
    if not is_curve(op) or not node.output.dtype.is_float:
        return False
    if is_hardswish(op) and x.grid.varies and x.grid.axis == 1:
        q.bind(node.output, _hardswish(q, node.output, x))
    else:
        q.bind(node.output, _table(q, node, q.common(x, f"{node.name}.common")))
    return True


def _table(q: Quantizer, node: Node, x: Fixed) -> Fixed:
    """The function's 256 results."""
    grid = q.grid(node.output)
    numbers = x.grid.real(np.arange(256, dtype=np.uint8).view(x.grid.dtype.numpy))
    real = node.op.compute(numbers.astype(np.float32))[0].astype(np.float64)
    steps = np.rint(np.nan_to_num(real / grid.scale)) + grid.zero
    steps = np.clip(steps, grid.low, grid.high).astype(grid.dtype.numpy)
    table = q.net.constant(steps, f"{node.name}.table")
    return Fixed(q.net(ops.Lut(), x.value, table, name=q.name(node.output)), grid)


def _hardswish(q: Quantizer, target: Value, x: Fixed) -> Fixed:
    """x * clip(x / 6 + 1/2, 0, 1): keeps the channels' own scales, and costs less than a table."""
    slope = x.grid.scale / 6 * GATE
    shift = 0
    while (slope * 2.0 ** (shift + 1)).max() <= FACTOR_HIGH and shift < 7:
        shift += 1
    k = np.rint(slope * 2.0**shift)
    offset = np.clip(np.rint(GATE / 2 * 2.0**shift - x.grid.zero * k), -32768, 32767)
    name = f"{target.name}.gate"
    gate = q.net(
        ops.FixAffine(shift, DType.I8),
        x.value,
        q.net.constant(np.clip(k, 0, FACTOR_HIGH).astype(np.int8), name),
        q.net.constant(offset.astype(np.int16), name),
        name=f"{name}.raw",
    )
    gate = q.net(ops.Binary("max"), gate, q.net.constant(np.zeros((), np.int8), name), name=name)
    return product(q, target, x, Fixed(gate, Grid(DType.I8, np.asarray(1 / GATE))))
