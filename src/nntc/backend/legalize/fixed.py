"""Legal forms of operators on 8-bit integers: words of four samples (see fixed_ops.py).

Operators that leave the batch axis alone move words as they move any 32-bit elements. What has no
form here falls back to the operator's ordinary one, on fp32, which holds these integers exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nntc.backend.fixed_ops import (
    SAMPLES,
    Int8Affine,
    Int8Binary,
    Int8Conv,
    Int8Lut,
    Int8MaxPool,
    Int8Product,
    Int8Sum,
    Narrowing,
    replicate,
    replicate_constant,
    word_shape,
)
from nntc.backend.kernels.window import MAX_FIELD
from nntc.backend.legalize import network, packing, shapes
from nntc.backend.legalize.builder import Builder
from nntc.backend.legalize.registry import packs, rewrites
from nntc.core.dtype import DType
from nntc.core.errors import UnsupportedError
from nntc.ir import ops
from nntc.ir.graph import Node, Value
from nntc.isa.chip import MAX_C
from nntc.isa.layout import ceil_div


def _signed(value: Value) -> bool:
    return value.dtype is DType.I8


def _used(value: Value) -> int:
    """Bytes of a value's words that hold samples."""
    return min(value.shape[0], SAMPLES) if value.shape else 1


def _batch_kept(node: Node) -> bool:
    """Words of the operand are there, and operand and result have the same batch axis."""
    x, y = node.operands[0].shape, node.output.shape
    return len(x) > 0 and len(y) > 0 and x[0] == y[0]


# -- borders ------------------------------------------------------------------------------------


@rewrites(ops.Quantize)
@packs(ops.Quantize)
def quantize(b: Builder, node: Node) -> Value:
    """Multiply, cut to the range, round by adding 1.5 * 2**23, add the zero: the low byte is the
    result."""
    op = node.op
    assert isinstance(op, ops.Quantize)
    x, multiplier = (b.f32(v) for v in node.operands)
    return packing.quantize(b, x, multiplier, op.axis, op.to, op.zero)


@rewrites(ops.Dequantize)
def dequantize(b: Builder, node: Node) -> Value:
    """The byte as the mantissa of an fp32 number, minus what it is too large and the zero, times
    the scale."""
    op = node.op
    assert isinstance(op, ops.Dequantize)
    x, scale = node.operands[0], b.f32(node.operands[1])
    if b.has_words(x):
        return packing.unpack(b, b.words(x), x.type, scale, op.axis, op.zero)
    steps = b.sub(b.f32(x), float(op.zero)) if op.zero else b.f32(x)
    return b.mul(steps, packing.spread_scale(b, scale, op.axis, len(x.shape)))


# -- windows ------------------------------------------------------------------------------------


def _weights(b: Builder, node: Node) -> tuple[Value, Value | None]:
    """Constant weights and bias as fp32."""
    for value, what in zip(node.operands[1:], ("weights", "bias"), strict=False):
        if value.data is None:
            raise UnsupportedError(f"{node.source}: {node.op.name}: its {what} are not constant")
    bias = b.f32(node.operands[2]) if len(node.operands) > 2 else None
    return b.f32(node.operands[1]), bias


@rewrites(ops.FixConv)
@packs(ops.FixConv)
def fix_conv(b: Builder, node: Node) -> Value:
    """The int8 convolution instruction, depthwise or dense; a late bias is added in 16 bits,
    padding other than zeros put around the tiles in local memory."""
    op = node.op
    assert isinstance(op, ops.FixConv)
    w, bias = _weights(b, node)
    x = b.words(node.operands[0])
    conv = ops.Conv(op.strides, op.pads, op.dilations, op.group)
    return _convolve(b, node, x, w, bias, conv, op.pad_value)


def _convolve(
    b: Builder,
    node: Node,
    x: Value,
    w: Value,
    bias: Value | None,
    conv: ops.Conv,
    pad_value: int = 0,
) -> Value:
    x, w, conv = network.fit_fields(b, x, w, conv, float(replicate(pad_value)))
    if x.shape[1] > MAX_C and conv.group == 1:
        x, w = _fold_channels(b, node, x, w)
    return _int8_conv(b, node, x, w, bias, conv, pad_value if any(conv.pads) else 0)


def _fold_channels(b: Builder, node: Node, x: Value, w: Value) -> tuple[Value, Value]:
    """More channels than the field holds: of images of one pixel, some become columns."""
    channels = x.shape[1]
    if max(*x.shape[2:], *w.shape[2:]) > 1:
        raise UnsupportedError(
            f"{node.source}: {node.op.name}: {channels} input channels of 8-bit images; "
            f"the chip sums over at most {MAX_C}"
        )
    columns = ceil_div(channels, MAX_C)
    inner = ceil_div(channels, columns)
    extra = inner * columns - channels
    rest = [0] * (len(x.shape) - 2)
    pads = (0, 0, *rest, 0, extra, *rest)
    ones = [1] * (len(x.shape) - 3)
    folded = [b.reshape(b.pad(v, pads), (v.shape[0], inner, *ones, columns)) for v in (x, w)]
    return folded[0], folded[1]


def _int8_conv(
    b: Builder,
    node: Node,
    x: Value,
    w: Value,
    bias: Value | None,
    conv: ops.Conv | ops.FixConvTranspose,
    pad_value: int = 0,
) -> Value:
    op, source = node.op, node.operands[0]
    assert isinstance(op, (ops.FixConv, ops.FixConvTranspose))
    made = Int8Conv(
        word_shape(node.output.shape),
        node.output.shape[0],
        conv.strides,
        conv.pads,
        conv.dilations,
        conv.group,
        op.shift,
        op.narrow,
        op.to,
        (_signed(source), _signed(node.operands[1])),
        isinstance(conv, ops.FixConvTranspose),
        pad_value,
    )
    return b.append(made, x, w, *([] if bias is None else [bias]))


@rewrites(ops.FixConvTranspose)
@packs(ops.FixConvTranspose)
def fix_conv_transpose(b: Builder, node: Node) -> Value:
    """The int8 convolution instruction with zeros inserted between the inputs."""
    op = node.op
    assert isinstance(op, ops.FixConvTranspose)
    w, bias = _weights(b, node)
    x = b.words(node.operands[0])
    if not network.transposed_fits(op, w.shape[2:]) or x.shape[1] > MAX_C:
        x, w, conv = network.spread_input(b, x, w, op)
        return _convolve(b, node, x, w, bias, conv)
    return _int8_conv(b, node, x, w, bias, op)


@packs(ops.MaxPool)
def max_pool(b: Builder, node: Node) -> Value | None:
    """The pooling instruction; dilated and very wide windows are left to fp32."""
    op, x = node.op, node.operands[0]
    assert isinstance(op, ops.MaxPool)
    if not b.has_words(x) or len(op.kernel) > 2:
        return None
    begins, ends = network.explicit_pads(node)
    if max(op.dilations) > 1 or max(*begins, *ends, *op.strides) > MAX_FIELD:
        return None
    pads = (*begins, *ends)
    made = Int8MaxPool(op.kernel, op.strides, pads, op.dilations, False, x.shape[0], _signed(x))
    return b.append(made, b.words(x))


# -- element-wise ---------------------------------------------------------------------------------


@packs(ops.FixSum)
def fix_sum(b: Builder, node: Node) -> Value | None:
    op = node.op
    assert isinstance(op, ops.FixSum)
    left, ka, right, kb = node.operands[:4]
    rank = len(left.shape)
    offset = node.operands[4] if len(node.operands) > 4 else None
    ending = _ending(b, node, offset, rank, op.axis, op.shift - 1, op.to)
    if ending is None:
        return None
    end, offsets = ending
    factors = [_factor(b, node, k, rank, op.axis) for k in (ka, kb)]
    made = Int8Sum(_used(left), (_signed(left), _signed(right)), end)
    return b.append(made, b.words(left), factors[0], b.words(right), factors[1], *offsets)


@rewrites(ops.FixSum)
def fix_sum_f32(b: Builder, node: Node) -> Value:
    """Product, product and sum in 16 bits, offset and shift to 8 bits; in fp32 if offsets differ
    along the batch."""
    op = node.op
    assert isinstance(op, ops.FixSum)
    left, ka, right, kb, offset = node.operands
    spread = _spreader(b, left, op.axis)
    total = b.add(b.mul(b.f32(left), spread(ka)), b.mul(b.f32(right), spread(kb)))
    halved = b.unary("floor", b.mul(b.add(total, 1.0), 0.5))
    return _narrow_f32(b, b.add(halved, spread(offset)), op.shift - 1, op.to)


@packs(ops.FixAffine)
def fix_affine(b: Builder, node: Node) -> Value | None:
    op = node.op
    assert isinstance(op, ops.FixAffine)
    x, k, offset = node.operands
    rank = len(x.shape)
    ending = _ending(b, node, offset, rank, op.axis, op.shift, op.to)
    if ending is None:
        return None
    end, offsets = ending
    factor = _factor(b, node, k, rank, op.axis)
    return b.append(Int8Affine(_used(x), _signed(x), end), b.words(x), factor, *offsets)


@rewrites(ops.FixAffine)
def fix_affine_f32(b: Builder, node: Node) -> Value:
    """Product in 16 bits, offset and shift to 8 bits; in fp32 if offsets differ along the batch."""
    op = node.op
    assert isinstance(op, ops.FixAffine)
    x, k, offset = node.operands
    spread = _spreader(b, x, op.axis)
    total = b.add(b.mul(b.f32(x), spread(k)), spread(offset))
    return _narrow_f32(b, total, op.shift, op.to)


def _spreader(b: Builder, x: Value, axis: int) -> Callable[[Value], Value]:
    """A scale as fp32 that broadcasts to x."""
    return lambda scale: packing.spread_scale(b, b.f32(scale), axis, len(x.shape))


def _narrow_f32(b: Builder, total: Value, shift: int, to: DType) -> Value:
    """sat(R(total, shift)), exact for |total| < 2**17.

    Beyond a shift of 18, where a half plus the quotient may be rounded, it stays within 0 and 1.
    """
    limits = np.iinfo(to.numpy.name)
    rounded = total
    if shift:
        rounded = b.unary("floor", b.add(b.mul(total, 2.0**-shift), 0.5))
    return b.binary("min", b.binary("max", rounded, float(limits.min)), float(limits.max))


def _ending(
    b: Builder, node: Node, offset: Value | None, rank: int, axis: int, shift: int, to: DType
) -> tuple[Narrowing, list[Value]] | None:
    """How 16-bit sums become bytes, and the tensor of offsets if there is one.

    Returns:
        None if every sample has its own offset: words hold four samples of 8 bits, not of 16.
    """
    data = np.zeros((), np.int16)
    if offset is not None:
        if offset.data is None:
            raise UnsupportedError(f"{node.source}: {node.op.name}: its offsets are not constant")
        data = np.asarray(offset.data)
        data = data.reshape(()) if data.size == 1 else data
    end, data = Narrowing.of(shift, to, data)
    if data.ndim == 0 or offset is None:
        return end, []
    if axis == 0:
        return None
    twice = np.stack([data, data], -1).view(np.int32)
    return end, [b.constant(twice.reshape([-1 if a == axis else 1 for a in range(rank)]), "offset")]


def _factor(b: Builder, node: Node, k: Value, rank: int, axis: int) -> Value:
    """A factor in all bytes of its words; along the batch axis every byte has its own."""
    if k.data is None:
        raise UnsupportedError(f"{node.source}: {node.op.name}: its factors are not constant")
    data = np.asarray(k.data)
    if data.size == 1:
        return b.constant(replicate_constant(data.reshape(())), k.name)
    if axis == 0:
        packed = fixed_along_batch(data)
        return b.constant(packed.reshape(-1, *(1,) * (rank - 1)), k.name)
    shape = [data.size if a == axis else 1 for a in range(rank)]
    return b.constant(replicate_constant(data).reshape(shape), k.name)


def fixed_along_batch(data: np.ndarray) -> np.ndarray:
    """One number a sample, four in a word."""
    wide = np.zeros(ceil_div(data.size, SAMPLES) * SAMPLES, np.uint8)
    wide[: data.size] = data.view(np.uint8)
    return wide.view(np.int32)


@packs(ops.FixMul)
def fix_mul(b: Builder, node: Node) -> Value | None:
    op = node.op
    assert isinstance(op, ops.FixMul)
    left, right, *rest = node.operands
    if op.zero or rest:
        shape = node.output.shape
        offset = rest[0] if rest else None
        ending = _ending(b, node, offset, len(shape), op.axis, op.shift, op.to)
        if ending is None:
            return None
        end, offsets = ending
        made = Int8Product(_used(left), _signed(left), op.zero, end)
        words = (_broadcast_words(b, v, shape) for v in (left, right))
        return b.append(made, *words, *offsets)
    return _binary(b, node, "mul", op.shift)


@rewrites(ops.FixMul)
def fix_mul_f32(b: Builder, node: Node) -> Value:
    """The int8 product instruction; with a zero or an offset in 16 bits; in fp32 if offsets differ
    along the batch."""
    op = node.op
    assert isinstance(op, ops.FixMul)
    x, factor, offset = node.operands
    total = b.mul(b.sub(b.f32(x), float(op.zero)), b.f32(factor))
    total = b.add(total, _spreader(b, x, op.axis)(offset))
    return _narrow_f32(b, total, op.shift, op.to)


@packs(ops.Binary)
def binary(b: Builder, node: Node) -> Value | None:
    """Maximum and minimum of bytes."""
    op = node.op
    assert isinstance(op, ops.Binary)
    if op.fn not in ("max", "min") or not node.output.shape:
        return None
    if not any(b.has_words(v) for v in node.operands):
        return None
    return _binary(b, node, op.fn, 0)


def _binary(b: Builder, node: Node, fn: str, shift: int) -> Value:
    shape = node.output.shape
    signs = tuple(_signed(v) for v in node.operands)
    made = Int8Binary(fn, _used(node.output), shift, (signs[0], signs[1]))
    return b.append(made, *(_broadcast_words(b, v, shape) for v in node.operands))


def _broadcast_words(b: Builder, value: Value, shape: tuple[int, ...]) -> Value:
    """Words that broadcast to those of a result of *shape*: one sample is in all bytes."""
    rank, batch = len(shape), shape[0] if shape else 1
    wide = (1,) * (rank - len(value.shape)) + value.shape
    if value.data is not None and (rank == 0 or wide[0] == 1):
        return b.constant(replicate_constant(np.asarray(value.data)).reshape(wide), value.name)
    if len(value.shape) == rank:
        words = b.words(value)
    else:
        words = packing.pack(b, b.reshape(b.f32(value), wide))
    return packing.replicate(b, words) if rank and wide[0] == 1 and batch > 1 else words


@rewrites(ops.Lut)
@packs(ops.Lut)
def lut(b: Builder, node: Node) -> Value:
    """The table look-up instruction, once a sample; the tables lie in L2."""
    x, table = node.operands
    if table.data is None:
        raise UnsupportedError(f"{node.source}: {node.op.name}: its table is not constant")
    data = np.ascontiguousarray(table.data).tobytes()
    return b.append(Int8Lut(_used(x), data, b.table(data)), b.words(x))


# -- data movement ------------------------------------------------------------------------------


@packs(ops.Reshape)
def reshape(b: Builder, node: Node) -> Value | None:
    x = node.operands[0]
    if not b.has_words(x) or not _batch_kept(node):
        return None
    return b.reshape(b.words(x), word_shape(node.output.shape))


@packs(ops.Transpose)
def transpose(b: Builder, node: Node) -> Value | None:
    x, op = node.operands[0], node.op
    assert isinstance(op, ops.Transpose)
    if not b.has_words(x) or not op.perm or op.perm[0] != 0:
        return None
    return b.transpose(b.words(x), op.perm)


@packs(ops.Concat)
def concat(b: Builder, node: Node) -> Value | None:
    op = node.op
    assert isinstance(op, ops.Concat)
    axis = op.axis % len(node.output.shape)
    parts = [v for v in node.operands if v.shape[axis]]
    if axis == 0 or not any(b.has_words(v) for v in parts):
        return None
    return b.concat([b.words(v) for v in parts], axis)


@packs(ops.Slice)
def slice_(b: Builder, node: Node) -> Value | None:
    x, op = node.operands[0], node.op
    assert isinstance(op, ops.Slice)
    if not b.has_words(x) or not _batch_kept(node) or op.steps[0] != 1:
        return None
    words = b.words(x)
    return b.append(ops.Slice(op.starts, (words.shape[0], *op.ends[1:]), op.steps), words)


@packs(ops.Expand, ops.Tile)
def repeat(b: Builder, node: Node) -> Value | None:
    x, op = node.operands[0], node.op
    if not b.has_words(x) or not _batch_kept(node) or len(x.shape) != len(node.output.shape):
        return None
    if isinstance(op, ops.Expand):
        return b.expand(b.words(x), word_shape(node.output.shape))
    return b.append(op, b.words(x))


@packs(ops.Gather)
def gather(b: Builder, node: Node) -> Value | None:
    op, (x, indices) = node.op, node.operands
    assert isinstance(op, ops.Gather)
    axis = op.axis % max(len(x.shape), 1)
    if not b.has_words(x) or indices.data is None or axis == 0:
        return None
    positions = b.graph.constant(np.asarray(indices.data).astype(np.int32), indices.name)
    return b.append(ops.Gather(axis), b.words(x), positions)


@packs(ops.Pad)
def pad(b: Builder, node: Node) -> Value | None:
    x, op = node.operands[0], node.op
    assert isinstance(op, ops.Pad)
    rank = len(x.shape)
    if not b.has_words(x) or not rank or op.pads[0] or op.pads[rank]:
        return None
    if op.mode != "constant":
        return shapes.pad_by_positions(b, b.words(x), op)
    return b.pad(b.words(x), op.pads, float(replicate(round(op.value))))


@packs(ops.DepthToSpace, ops.SpaceToDepth)
def blocks(b: Builder, node: Node) -> Value | None:
    x, op = node.operands[0], node.op
    if not b.has_words(x):
        return None
    if isinstance(op, ops.DepthToSpace):
        return shapes.blocks_to_space(b, b.words(x), op)
    assert isinstance(op, ops.SpaceToDepth)
    return shapes.space_to_blocks(b, b.words(x), op)


@packs(ops.Resize)
def resize(b: Builder, node: Node) -> Value | None:
    x, op = node.operands[0], node.op
    assert isinstance(op, ops.Resize)
    if not b.has_words(x) or not _batch_kept(node) or op.coordinate == "tf_crop_and_resize":
        return None
    chosen = shapes.nearest_positions(op, x.shape, node.output.shape)
    if chosen is None or 0 in chosen:
        return None
    words = b.words(x)
    for axis, positions in chosen.items():
        words = shapes.take(b, words, positions, axis)
    return words
