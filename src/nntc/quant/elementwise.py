"""Sums, products, leaky ReLUs and limits of integers; functions of one number as tables."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Node, Value
from nntc.quant.agreement import CURVES, is_curve, is_hardswish, is_relu, leaky_slope
from nntc.quant.grid import Grid
from nntc.quant.network import Fixed
from nntc.quant.quantizer import Quantizer
from nntc.quant.rules import lowers
from nntc.quant.scales import FACTOR_HIGH, factor_shift

MAX_SHIFT = 14
SPARE = 0.1
"""Bits by which a product's step may be finer than wanted."""

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
    return _line(q, node)


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
    shift = factor_shift(largest / wanted, MAX_SHIFT, least=1)
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


def product(q: Quantizer, target: Value, a: Fixed, b: Fixed, line: Line | None = None) -> Fixed:
    """a * b, the zero point of b being 0; its scale follows from theirs and the shift.

    Args:
        line: what follows the product and belongs to *target*; its factor is positive.
    """
    grid = q.grid(target)
    added = line is not None and bool(line.offset.any())
    if (a.grid.zero or grid.zero or added) and b.grid.dtype is DType.U8:
        half = b.grid.scaled(b.grid.scale * (255 / 127))
        b = q.convert(b, replace(half, dtype=DType.I8), f"{target.name}.factor")
    signed = DType.I8 in (a.grid.dtype, b.grid.dtype)
    if not a.grid.zero and not grid.zero and not added:
        grid = replace(grid, dtype=DType.I8 if signed else DType.U8)
    unit = np.asarray(a.grid.scale * b.grid.scale * (1 if line is None else line.factor))
    wanted = np.asarray(q.channel_scales(target, unit.size) if unit.ndim else grid.scale)
    # A step below the wanted one cuts off what is largest; a little of that is no loss.
    needed = float(np.log2(wanted / unit).max()) - SPARE
    shift = int(np.clip(np.ceil(needed), 0, MAX_SHIFT))
    scale = unit * 2.0**shift
    operands = [a.value, b.value]
    if grid.zero or added:
        offset = np.asarray((grid.zero + (line.offset / scale if line else 0)) * 2.0**shift)
        offset = np.clip(np.rint(offset), -32768, 32767).astype(np.int16)
        operands.append(q.net.constant(offset, f"{target.name}.offset"))
    made = q.net(ops.FixMul(shift, grid.dtype, a.grid.zero), *operands, name=q.name(target))
    form = Fixed(made, grid.scaled(scale, 1))
    if form.grid.varies and not q.varies(target):
        form = q.common(form, f"{target.name}.common")
    return form


@dataclass(frozen=True)
class Line:
    """x * factor + offset; both () or one number for every channel."""

    factor: np.ndarray
    offset: np.ndarray

    @staticmethod
    def of(node: Node, x: Value) -> Line | None:
        """What a node with one constant operand computes of *x*; None if it is no line."""
        op = node.op
        if (
            not isinstance(op, ops.Binary)
            or len(node.operands) != 2
            or x.shape != node.output.shape
        ):
            return None
        a, b = node.operands
        other = b if a is x else a
        if other.data is None or op.fn not in ("add", "sub", "mul", "div"):
            return None
        numbers = _by_channel(other.data.astype(np.float64), x)
        if numbers is None or (op.fn == "div" and (b is x or not numbers.all())):
            return None
        one, none = np.ones(()), np.zeros(())
        if op.fn == "add":
            return Line(one, numbers)
        if op.fn == "sub":
            return Line(-one, numbers) if b is x else Line(one, -numbers)
        return Line(numbers if op.fn == "mul" else 1 / numbers, none)

    @property
    def is_scalar(self) -> bool:
        return self.factor.ndim == self.offset.ndim == 0

    def then(self, other: Line) -> Line:
        """*other* of this line."""
        factor = np.asarray(self.factor * other.factor)
        return Line(factor, np.asarray(self.offset * other.factor + other.offset))


def _line(q: Quantizer, node: Node) -> bool:
    """A sum, difference, product or quotient with constants, and those that follow it."""
    a, b = node.operands
    x_value = a if b.data is not None else b
    x, line = q.net.fixed(x_value), Line.of(node, x_value)
    if x is None or line is None or (x.grid.varies and x.grid.axis != 1):
        return False
    target, rest = following(q, node.output)
    line = line if rest is None else line.then(rest)
    if line.factor.min() > 0 and not line.offset.any():
        scale = np.asarray(x.grid.scale * line.factor)
        if scale.ndim == 0 or q.varies(target):
            q.bind(target, Fixed(x.value, x.grid.scaled(scale, 1)))
            return True
    grid = q.grid(target)
    channels = x_value.shape[1] if len(x_value.shape) > 1 else 1
    factor = np.broadcast_to(x.grid.scale * line.factor, (channels,))
    scale = q.channel_scales(target, channels)
    shift = factor_shift(factor / scale, MAX_SHIFT)
    # The offset has to fit in 16 bits, too.
    while shift and (np.abs(line.offset / scale) + 512).max() * 2.0**shift > 32767:
        shift -= 1
    k = np.clip(np.rint(factor / scale * 2.0**shift), -128, FACTOR_HIGH)
    offset = (line.offset / scale + grid.zero) * 2.0**shift - x.grid.zero * k
    made = q.net(
        ops.FixAffine(shift, grid.dtype),
        x.value,
        q.net.constant(k.astype(np.int8)),
        q.net.constant(np.clip(np.rint(offset), -32768, 32767).astype(np.int16)),
        name=q.name(target),
    )
    q.bind(target, Fixed(made, grid.scaled(scale if q.varies(target) else scale[0])))
    return True


def following(
    q: Quantizer, value: Value, scalar: bool = False, rising: bool = False
) -> tuple[Value, Line | None]:
    """The lines that alone read a value, one after another: the last result, and all as one.

    Args:
        scalar: only lines that are the same for all channels.
        rising: only lines with positive factors.
    """
    line = None
    while True:
        node = q.only_reader(value)
        found = None if node is None else Line.of(node, value)
        if node is None or found is None:
            return value, line
        if (scalar and not found.is_scalar) or (rising and found.factor.min() <= 0):
            return value, line
        q.absorb(node)
        line = found if line is None else line.then(found)
        value = node.output


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
        target, line = following(q, node.output, rising=True)
        q.bind(target, product(q, target, x, _gate(q, target, x), line))
    else:
        _table(q, node, q.common(x, f"{node.name}.common"))
    return True


def _table(q: Quantizer, node: Node, x: Fixed) -> None:
    """The function's 256 results, with the lines that follow."""
    numbers = x.grid.real(np.arange(256, dtype=np.uint8).view(x.grid.dtype.numpy))
    real = node.op.compute(numbers.astype(np.float32))[0].astype(np.float64)
    target, line = following(q, node.output, scalar=True)
    if line is not None:
        real = real * line.factor + line.offset
    grid = q.grid(target)
    steps = np.rint(np.nan_to_num(real / grid.scale)) + grid.zero
    steps = np.clip(steps, grid.low, grid.high).astype(grid.dtype.numpy)
    table = q.net.constant(steps, f"{node.name}.table")
    q.bind(target, Fixed(q.net(ops.Lut(), x.value, table, name=q.name(target)), grid))


def _gate(q: Quantizer, target: Value, x: Fixed) -> Fixed:
    """clip(x / 6 + 1/2, 0, 1): x times it is the hard-swish, which keeps the channels' own scales
    and costs less than a table."""
    slope = x.grid.scale / 6 * GATE
    shift = factor_shift(slope, 7)
    k = np.clip(np.rint(slope * 2.0**shift), 0, FACTOR_HIGH)
    offset = np.clip(np.rint(GATE / 2 * 2.0**shift - x.grid.zero * k), -32768, 32767)
    name = f"{target.name}.gate"
    operands = [q.net.constant(k.astype(np.int8)), q.net.constant(offset.astype(np.int16))]
    raw = q.net(ops.FixAffine(shift, DType.I8), x.value, *operands, name=f"{name}.raw")
    gate = q.net(ops.Binary("max"), raw, q.net.constant(np.zeros((), np.int8)), name=name)
    return Fixed(gate, Grid(DType.I8, np.asarray(1 / GATE)))
