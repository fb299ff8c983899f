"""Depthwise convolution, average and maximum pooling."""

from __future__ import annotations

import numpy as np

from nntc.isa.chip import Prec
from nntc.isa.forms import Instruction
from nntc.isa.layout import Shape4, compact_strides
from nntc.sim.reference import fp32
from nntc.sim.reference.address import Access, aligned, aligned_4n, lane_of, positions, result_shape
from nntc.sim.reference.convolution import (
    bias_f32,
    bias_i8,
    pad_input,
    signed_result,
    windows,
)
from nntc.sim.reference.integers import integer, saturate, shift_round

LOWEST = float(np.finfo(np.float32).min)
"""What padding counts as in a maximum."""


def average_weight(positions_in_window: int) -> int:
    """The 8-bit weight of an int8 average over that many values.

    round(2^s / K) for the largest s that stays below 256, halved while even; the C-model
    computes it from the kernel size and ignores the operand.
    """
    k, s = positions_in_window, 0
    while (2 * (1 << (s + 1)) + k) // (2 * k) <= 255 and s < 31:
        s += 1
    weight = (2 * (1 << s) + k) // (2 * k)
    while weight % 2 == 0 and s > 0:
        weight //= 2
        s -= 1
    return weight


def _input_shape(i: Instruction) -> Shape4:
    return Shape4(i.res0_n, i.res0_c, i.opd0_h, i.opd0_w)


def _kernel_positions(i: Instruction, size: int) -> np.ndarray:
    """[1, c, kh, kw], compact."""
    shape = Shape4(1, i.res0_c, i.opd1_h, i.opd1_w)
    return positions(i.opd1_addr, shape, compact_strides(shape, lane_of(i.opd1_addr)), size)


def depthwise_f32(i: Instruction, memory: Access) -> None:
    """Two sums, of even and of odd kernel positions; the first starts with its first product."""
    x = windows(i, pad_input(i, memory.load(aligned(i.opd0_addr, _input_shape(i)))))
    kh, kw = i.opd1_h, i.opd1_w
    if i.opt_opd1_const:
        weights = np.full((1, i.res0_c, kh, kw), fp32.constant(i.opd1_addr))
    else:
        weights = memory.load(_kernel_positions(i, 4))
    zero = np.zeros(result_shape(i), np.float32)
    sums: list[np.ndarray | None] = [None, None]
    for t in range(kh * kw):
        ky, kx = divmod(t, kw)
        product = fp32.mul(x[..., ky, kx], weights[:, :, ky, kx, None, None])
        before = sums[t & 1]
        if t:
            product = fp32.add(zero if before is None else before, product)
        sums[t & 1] = product
    even, odd = sums
    assert even is not None
    out = even if odd is None else fp32.add(even, odd)
    memory.store(aligned(i.res0_addr, result_shape(i)), bias_f32(i, memory, out))


def depthwise_i8(i: Instruction, memory: Access) -> None:
    dtype = integer(1, i.opt_opd0_sign)
    raw = memory.load(aligned_4n(i.opd0_addr, _input_shape(i)), dtype).astype(np.int64)
    x = windows(i, pad_input(i, raw))
    if i.opt_opd1_const:
        weight = average_weight(i.opd1_h * i.opd1_w)
        if i.opt_opd1_sign and weight > 127:
            weight -= 256
        total = x.sum((-1, -2)) * weight
        signed = signed_result(i, weights_count=False)
    else:
        dtype = integer(1, i.opt_opd1_sign)
        weights = memory.load(_kernel_positions(i, 1), dtype)[0].astype(np.int64)
        total = bias_i8(i, memory, np.einsum("nchwij,cij->nchw", x, weights))
        signed = signed_result(i)
    size = 2 if i.opt_res0_prec == Prec.INT16 else 1
    result = saturate(shift_round(total, i.opt_right_shift), size, signed)
    memory.store(aligned_4n(i.res0_addr, result_shape(i), size), result)


def maxpool_f32(i: Instruction, memory: Access) -> None:
    """In raster order; the first of equal values (+0, -0) stays, NaN never wins."""
    x = memory.load(aligned(i.opd0_addr, _input_shape(i)))
    x = windows(i, pad_input(i, x, LOWEST))
    best = np.full(result_shape(i), LOWEST, np.float32)
    for t in range(i.opd1_h * i.opd1_w):
        candidate = x[..., t // i.opd1_w, t % i.opd1_w]
        best = np.where(fp32.greater(candidate, best), candidate, best)
    memory.store(aligned(i.res0_addr, result_shape(i)), fp32.flush(best))


def maxpool_i8(i: Instruction, memory: Access) -> None:
    dtype = integer(1, i.opt_opd0_sign)
    x = memory.load(aligned_4n(i.opd0_addr, _input_shape(i)), dtype)
    best = windows(i, pad_input(i, x, np.iinfo(dtype).min)).max((-1, -2))
    if i.opt_relu:
        # The top bit counts as a sign even for unsigned data.
        best = np.where(best.view(np.int8) < 0, 0, best).astype(dtype)
    memory.store(aligned_4n(i.res0_addr, result_shape(i)), best)


OPERATIONS = {
    "depthwise.f32": depthwise_f32,
    "depthwise.i8": depthwise_i8,
    "maxpool.f32": maxpool_f32,
    "maxpool.i8": maxpool_i8,
}
