"""Convolution, fp32 and int8, direct and by Winograd."""

from __future__ import annotations

import numpy as np

from nntc.isa.chip import Prec
from nntc.isa.forms import Instruction
from nntc.isa.layout import (
    Shape4,
    Strides,
    aligned_strides,
    ceil_div,
    compact_strides,
    slots,
)
from nntc.sim.reference import fp32
from nntc.sim.reference.address import (
    Access,
    aligned,
    aligned_4n,
    lane_of,
    per_channel,
    positions,
    result_shape,
    user_strides,
)
from nntc.sim.reference.integers import integer, saturate, shift_round

USER = 3
"""Stride code: the stride fields hold."""

BIAS = 3
"""tsk_opd_num of a command with a bias."""

_INPUT_TRANSFORM = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_OUTPUT_TRANSFORM = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def pad_input(i: Instruction, x: np.ndarray, fill: int | float = 0) -> np.ndarray:
    """Insert zeros between rows and columns, then pad with *fill*."""
    n, c, h, w = x.shape
    step_y, step_x = i.opd0_y_ins0 + 1, i.opd0_x_ins0 + 1
    height, width = (h - 1) * step_y + 1, (w - 1) * step_x + 1
    top, left = i.opd0_up_pad, i.opd0_lf_pad
    shape = (n, c, height + top + i.opd0_dn_pad, width + left + i.opd0_rt_pad)
    padded = np.full(shape, fill, x.dtype)
    padded[:, :, top : top + height, left : left + width] = 0
    padded[:, :, top : top + height : step_y, left : left + width : step_x] = x
    return padded


def windows(i: Instruction, padded: np.ndarray) -> np.ndarray:
    """[n, c, oh, ow, kh, kw]: the input under every kernel position.

    Rows and columns beyond the padded input read as zero.
    """
    n, c = padded.shape[:2]
    oh, ow, kh, kw = i.res0_h, i.res0_w, i.opd1_h, i.opd1_w
    dy, dx = i.opd1_y_ins0 + 1, i.opd1_x_ins0 + 1
    sy, sx = i.res_op_y_str, i.res_op_x_str
    height, width = (oh - 1) * sy + (kh - 1) * dy + 1, (ow - 1) * sx + (kw - 1) * dx + 1
    grown = np.zeros((n, c, height, width), padded.dtype)
    rows, columns = min(height, padded.shape[2]), min(width, padded.shape[3])
    grown[:, :, :rows, :columns] = padded[:, :, :rows, :columns]
    view = np.lib.stride_tricks.sliding_window_view(
        grown, ((kh - 1) * dy + 1, (kw - 1) * dx + 1), axis=(2, 3)
    )
    return view[:, :, ::sy, ::sx, ::dy, ::dx]


def _input_f32(i: Instruction, memory: Access) -> np.ndarray:
    shape = Shape4(i.res0_n, i.opd0_c, i.opd0_h, i.opd0_w)
    if i.short_opd0_str == USER:
        return memory.load(positions(i.opd0_addr, shape, user_strides(i, "opd0")))
    return memory.load(aligned(i.opd0_addr, shape))


def _input_i8(i: Instruction, memory: Access) -> np.ndarray:
    shape = Shape4(i.res0_n, i.opd0_c, i.opd0_h, i.opd0_w)
    if i.short_opd0_str == USER:
        at = positions(i.opd0_addr, shape, user_strides(i, "opd0"), 4, 4, 1)
    else:
        at = aligned_4n(i.opd0_addr, shape)
    return memory.load(at, integer(1, i.opt_opd0_sign)).astype(np.int64)


def _weight_positions(i: Instruction, size: int, together: int) -> np.ndarray:
    """[oc, ic, kh, kw]: *together* input channels share one unit of *size* * *together* bytes."""
    lane, oc, kh, kw = lane_of(i.opd1_addr), i.res0_c, i.opd1_h, i.opd1_w
    if i.short_opd1_str == USER:
        strides = user_strides(i, "opd1")
    else:
        strides = compact_strides(Shape4(1, oc, kh, kw), lane)
    # The n stride steps over groups of input channels.
    at = positions(
        i.opd1_addr,
        Shape4(i.opd0_c, oc, kh, kw),
        strides,
        size * together,
        together,
        size,
    )
    return at.transpose(1, 0, 2, 3)


def bias_f32(i: Instruction, memory: Access, out: np.ndarray) -> np.ndarray:
    """*out* plus the bias, if the command has one."""
    if i.tsk_opd_num != BIAS:
        return out
    return fp32.add(out, memory.load(per_channel(i.opd2_addr, i.res0_c)))


def bias_i8(i: Instruction, memory: Access, total: np.ndarray) -> np.ndarray:
    """*total* plus the int16 bias, if the command has one."""
    if i.tsk_opd_num != BIAS:
        return total
    at = per_channel(i.opd2_addr & ~1, i.res0_c, 2)
    return total + memory.load(at, integer(2, i.opt_opd2_sign)).astype(np.int64)


def signed_result(i: Instruction, weights_count: bool = True) -> bool:
    """Whether an int8 result saturates as signed: one operand is signed and no ReLU."""
    signed = i.opt_opd0_sign
    if weights_count:
        signed |= i.opt_opd1_sign
        if i.tsk_opd_num == BIAS:
            signed |= i.opt_opd2_sign
    return bool(signed and not i.opt_relu)


def _finish_f32(i: Instruction, memory: Access, out: np.ndarray, shape: Shape4) -> None:
    out = bias_f32(i, memory, out)
    at = aligned(i.res0_addr, shape)
    if i.opt_res_add:
        out = fp32.add(out, memory.load(at))
    memory.store(at, out)


def conv_f32(i: Instruction, memory: Access) -> None:
    """Four sums per output, by parity of the step and of the input channel."""
    x = windows(i, pad_input(i, _input_f32(i, memory)))
    oc, ic, kh, kw = i.res0_c, i.opd0_c, i.opd1_h, i.opd1_w
    if i.opt_opd1_const:
        weights = np.full((oc, ic, kh, kw), fp32.constant(i.opd1_addr))
    else:
        weights = memory.load(_weight_positions(i, 4, 2))
    if i.opt_kernel_rotate:
        weights = weights[:, :, ::-1, ::-1]
    shape = result_shape(i)
    pairs = ceil_div(ic, 2)
    sums = np.zeros((2, 2, *shape), np.float32)
    for k in range(kh * kw):
        ky, kx = divmod(k, kw)
        for c in range(ic):
            step = k * pairs + c // 2
            product = fp32.mul(x[:, c, :, :, ky, kx][:, None], weights[:, c, ky, kx, None, None])
            sums[step & 1, c & 1] = fp32.add(sums[step & 1, c & 1], product)
    even, odd = fp32.add(sums[0, 0], sums[1, 0]), fp32.add(sums[0, 1], sums[1, 1])
    _finish_f32(i, memory, fp32.add(even, odd), shape)


def conv_i8(i: Instruction, memory: Access) -> None:
    """Exact integer sum, bias, right shift with rounding, saturation."""
    x = windows(i, pad_input(i, _input_i8(i, memory)))
    oc, ic, kh, kw = i.res0_c, i.opd0_c, i.opd1_h, i.opd1_w
    dtype = integer(1, i.opt_opd1_sign)
    if i.opt_opd1_const:
        weights = np.full((oc, ic, kh, kw), np.uint8(i.opd1_addr & 255).view(dtype))
    else:
        weights = memory.load(_weight_positions(i, 1, 4), dtype)
    if i.opt_kernel_rotate:
        weights = weights[:, :, ::-1, ::-1]
    total = np.einsum("nchwij,ocij->nohw", x, weights.astype(np.int64), optimize=True)
    total = bias_i8(i, memory, total)
    size = 2 if i.opt_res0_prec == Prec.INT16 else 1
    shape = result_shape(i)
    grouped = Shape4(ceil_div(shape.n, 4), *shape[1:])
    strides = aligned_strides(grouped, lane_of(i.res0_addr))
    if i.short_res0_str == USER:
        strides = strides._replace(n=i.res0_n_str)
    at = positions(i.res0_addr, shape, strides, 4 * size, 4, size)
    result = shift_round(total, i.opt_right_shift)
    memory.store(at, saturate(result, size, signed_result(i)))


def _tiles(i: Instruction, padded: np.ndarray) -> np.ndarray:
    """[n, c, th, tw, 4, 4]: the 4x4 inputs of every 2x2 outputs; zeros beyond the input."""
    th, tw = ceil_div(i.res0_h, 2), ceil_div(i.res0_w, 2)
    n, c = padded.shape[:2]
    grown = np.zeros((n, c, 2 * th + 2, 2 * tw + 2), padded.dtype)
    rows, columns = min(grown.shape[2], padded.shape[2]), min(grown.shape[3], padded.shape[3])
    grown[:, :, :rows, :columns] = padded[:, :, :rows, :columns]
    view = np.lib.stride_tricks.sliding_window_view(grown, (4, 4), axis=(2, 3))
    return view[:, :, ::2, ::2]


def _untile(i: Instruction, y: np.ndarray) -> np.ndarray:
    """[n, oc, th, tw, 2, 2] → [n, oc, oh, ow]."""
    n, oc, th, tw = y.shape[:4]
    y = y.transpose(0, 1, 2, 4, 3, 5).reshape(n, oc, 2 * th, 2 * tw)
    return y[:, :, : i.res0_h, : i.res0_w]


def _winograd_weights(i: Instruction, size: int, together: int) -> np.ndarray:
    """Positions [oc, ic, 4, 4] of the transformed weights: 16 units per slot, slots packed."""
    step = 16 * slots(i.res0_c, lane_of(i.opd1_addr))
    at = positions(
        i.opd1_addr,
        Shape4(i.opd0_c, i.res0_c, 4, 4),
        Strides(step, 16, 4, 1),
        size * together,
        together,
        size,
    )
    return at.transpose(1, 0, 2, 3)


def wino_f32(i: Instruction, memory: Access) -> None:
    """F(2x2,3x3): sums over channels in the transformed domain, then one nine-operand adder."""
    d = _tiles(i, pad_input(i, fp32.flush(_input_f32(i, memory))))
    u = memory.load(_winograd_weights(i, 4, 1))
    n, ic, th, tw = d.shape[:4]
    transformed = np.empty((n, ic, th, tw, 4, 4), np.float32)
    for a in range(4):
        for b in range(4):
            signs = np.outer(_INPUT_TRANSFORM[a], _INPUT_TRANSFORM[b])
            plus = [d[..., p, q] for p, q in np.argwhere(signs > 0)]
            minus = [d[..., p, q] for p, q in np.argwhere(signs < 0)]
            first = fp32.add(plus[0], plus[1])
            if minus:
                transformed[..., a, b] = fp32.sub(first, fp32.add(minus[0], minus[1]))
            else:
                transformed[..., a, b] = fp32.add(first, fp32.add(plus[2], plus[3]))
    sums = np.zeros((2, n, i.res0_c, th, tw, 4, 4), np.float32)
    for c in range(ic):
        product = fp32.mul(transformed[:, None, c], u[None, :, c, None, None])
        sums[c & 1] = fp32.add(sums[c & 1], product)
    m = fp32.add(sums[0], sums[1])
    y = np.empty((*m.shape[:4], 2, 2), np.float32)
    for a in range(2):
        for b in range(2):
            signs = np.outer(_OUTPUT_TRANSFORM[a], _OUTPUT_TRANSFORM[b])
            terms = [m[..., p, q] * np.float32(signs[p, q]) for p, q in np.argwhere(signs)]
            y[..., a, b] = fp32.aligned_sum(np.stack(terms, -1))
    out = _untile(i, y)
    if i.tsk_opd_num == BIAS:
        # The bias is the first operand here: its NaN wins over the sum's.
        out = fp32.add(memory.load(per_channel(i.opd2_addr, i.res0_c)), out)
    at = aligned(i.res0_addr, result_shape(i))
    if i.opt_res_add:
        out = fp32.add(out, memory.load(at))
    memory.store(at, out)


def wino_i8(i: Instruction, memory: Access) -> None:
    """Exact in integers; weights are always signed, precision 3 acts as 0."""
    d = _tiles(i, pad_input(i, _input_i8(i, memory)))
    u = memory.load(_winograd_weights(i, 1, 4), np.int8).astype(np.int64)
    bt, at = _INPUT_TRANSFORM, _OUTPUT_TRANSFORM
    transformed = np.einsum("ap,ncijpq,bq->ncijab", bt, d, bt, optimize=True)
    m = np.einsum("ncijab,ocab->noijab", transformed, u, optimize=True)
    y = np.einsum("ap,noijpq,bq->noijab", at, m, at, optimize=True)
    total = bias_i8(i, memory, _untile(i, y))
    result = saturate(shift_round(total, i.opt_right_shift), 1, not i.opt_relu)
    memory.store(aligned_4n(i.res0_addr, result_shape(i)), result)


OPERATIONS = {
    "conv.f32": conv_f32,
    "conv.i8": conv_i8,
    "wino.f32": wino_f32,
    "wino.i8": wino_i8,
}
