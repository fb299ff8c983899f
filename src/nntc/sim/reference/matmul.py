"""Matrix products: rows over n, pieces of columns over the channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from nntc.isa.chip import Prec
from nntc.isa.forms import Instruction
from nntc.isa.layout import Shape4, aligned_strides
from nntc.sim.reference import fp32
from nntc.sim.reference.address import Access, lane_of, positions
from nntc.sim.reference.convolution import BIAS, signed_result
from nntc.sim.reference.integers import integer, saturate, shift_round


def _matrix(address: int, rows: int, pieces: int, width: int, size: int) -> np.ndarray:
    """Positions [rows, pieces * width]; every piece starts on 128 bytes."""
    shape = Shape4(rows, pieces, 1, width)
    strides = aligned_strides(shape, lane_of(address), 128 // size)
    return positions(address, shape, strides, size).reshape(rows, pieces * width)


def _left(i: Instruction, memory: Access, dtype: np.dtype[Any]) -> np.ndarray:
    """A [M, K]; the last piece holds opd1_w columns only."""
    rows, columns = i.opd0_n, (i.opd0_c - 1) * i.opd0_w + i.opd1_w
    if i.opt_opd0_const:
        pattern = np.frombuffer((i.opd0_addr & 0xFFFFFFFF).to_bytes(4, "little"), dtype)[0]
        left = np.full((rows, columns), pattern)
    else:
        at = _matrix(i.opd0_addr, rows, i.opd0_c, i.opd0_w, dtype.itemsize)
        left = memory.load(at[:, :columns], dtype)
    return left.T if i.opt_left_tran else left


def matmul_f32(i: Instruction, memory: Access) -> None:
    """Two sums, of even and odd k; the first starts with its first product."""
    a = _left(i, memory, np.dtype(np.float32))
    m, k = a.shape
    b = memory.load(_matrix(i.opd1_addr, k, i.res0_c, i.res0_w, 4))
    zero = np.zeros((m, b.shape[1]), np.float32)
    sums: list[np.ndarray | None] = [None, None]
    for t in range(k):
        product = fp32.mul(a[:, t, None], b[t])
        before = sums[t & 1]
        if t:
            product = fp32.add(zero if before is None else before, product)
        sums[t & 1] = product
    even, odd = sums
    out = zero if even is None else even if odd is None else fp32.add(even, odd)
    if i.tsk_opd_num == BIAS:
        out = fp32.add(out, memory.load(_matrix(i.opd2_addr, 1, i.res0_c, i.res0_w, 4)))
    at = _matrix(i.res0_addr, m, i.res0_c, i.res0_w, 4)
    if i.opt_res_add:
        out = fp32.add(out, memory.load(at))
    memory.store(at, out)


def matmul_i8(i: Instruction, memory: Access) -> None:
    """Exact sum; the previous result is always an int16 matrix, also when the new one is int8."""
    a = _left(i, memory, integer(1, i.opt_opd0_sign)).astype(np.int64)
    m, k = a.shape
    pieces, width = i.res0_c, i.res0_w
    right = _matrix(i.opd1_addr, k, pieces, width, 1)
    total = a @ memory.load(right, integer(1, i.opt_opd1_sign)).astype(np.int64)
    if i.tsk_opd_num == BIAS:
        bias = _matrix(i.opd2_addr, 1, pieces, width, 2)
        total = total + memory.load(bias, integer(2, i.opt_opd2_sign))
    if i.opt_res_add:
        before = memory.load(
            _matrix(i.res0_addr, m, pieces, width, 2), integer(2, i.opt_res_add_sign)
        )
        total = total + (before.astype(np.int64) << i.opt_left_shift)
    size = 2 if i.opt_res0_prec == Prec.INT16 else 1
    result = saturate(shift_round(total, i.opt_right_shift), size, signed_result(i))
    memory.store(_matrix(i.res0_addr, m, pieces, width, size), result)


OPERATIONS = {"matmul.f32": matmul_f32, "matmul.i8": matmul_i8}
