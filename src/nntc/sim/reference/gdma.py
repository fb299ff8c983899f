"""GDMA: copies, transpositions, conversion, fills and matrix transfers."""

from __future__ import annotations

from functools import partial

import numpy as np

from nntc.isa.chip import LANE_BYTES, LANES, Direction, Fmt
from nntc.isa.forms import Instruction
from nntc.isa.layout import Shape4, Strides, align_up, contiguous_strides, slots
from nntc.sim.reference import fp32
from nntc.sim.reference.address import Access, lane_of, positions
from nntc.sim.reference.integers import integer

_ALL_LANES = (1 << LANES) - 1


def address(i: Instruction, side: str) -> int:
    low, high = getattr(i, f"{side}_start_addr_l32"), getattr(i, f"{side}_start_addr_h8")
    return low | high << 32


def sizes(i: Instruction, side: str) -> Shape4:
    return Shape4(*(getattr(i, f"{side}_{d}size") for d in "nchw"))


def side_strides(i: Instruction, side: str, local: bool, size: int) -> Strides:
    """Strides in elements of *size* bytes."""
    shape = sizes(i, side)
    if i.stride_enable:
        return Strides(*(getattr(i, f"{side}_{d}stride") for d in "nchw"))
    if not local:
        return contiguous_strides(shape)
    # Here the slots of 1-byte and 2-byte elements are aligned to 128 bytes too.
    step = align_up(shape.h * shape.w, 128 // size)
    return Strides(slots(shape.c, lane_of(address(i, side))) * step, step, shape.w, 1)


def _system_positions(
    start: int, shape: Shape4, strides: Strides, size: int, shifts: tuple[int, int]
) -> np.ndarray:
    n, c, h, w = np.ogrid[: shape.n, : shape.c, : shape.h, : shape.w]
    elements = (
        n.astype(np.int64) * strides.n
        + c * strides.c
        + ((h * strides.h) >> shifts[0])
        + ((w * strides.w) >> shifts[1])
    )
    return start + size * elements


def _side(i: Instruction, side: str, local: bool, size: int) -> np.ndarray:
    """Positions of all elements of one side: flat local bytes, or system addresses."""
    shape, strides = sizes(i, side), side_strides(i, side, local, size)
    shifts = (getattr(i, f"{side}_hshift"), getattr(i, f"{side}_wshift"))
    start = address(i, side)
    if local:
        return positions(start, shape, strides, size, shifts=shifts)
    return _system_positions(start, shape, strides, size, shifts)


def _load(memory: Access, at: np.ndarray, local: bool, size: int) -> np.ndarray:
    dtype = integer(size, False)
    return memory.load(at, dtype) if local else memory.load_system(at, dtype)


def _store(i: Instruction, memory: Access, at: np.ndarray, local: bool, raw: np.ndarray) -> None:
    """Store raw elements, with the lane mask and the fp32 accumulation."""
    mask = i.localmem_mask_l32 | i.localmem_mask_h32 << 32
    if local and mask != _ALL_LANES:
        written = np.array([mask >> lane & 1 for lane in range(LANES)], np.bool_)[at // LANE_BYTES]
        at, raw = at[written], raw[written]
    if i.acc_write_enable:
        before = fp32.value(_load(memory, at, local, raw.itemsize))
        raw = fp32.bits(fp32.add(before, fp32.value(raw)))
    if local:
        memory.store(at, raw)
    else:
        memory.store_system(at, raw)


def fp16_to_fp32(raw: np.ndarray) -> np.ndarray:
    """Exponent + 112 and the mantissa shifted, without special cases: zero becomes 2^-15; u32."""
    raw = raw.astype(np.uint32)
    exponent = ((raw >> 10) & 31) + np.uint32(112)
    return (raw & 0x8000) << 16 | exponent << 23 | (raw & 0x3FF) << 13


def fp32_to_fp16(raw: np.ndarray) -> np.ndarray:
    """Mantissa truncated; too small is zero, too large infinity, of the same sign; u16."""
    sign = (raw >> 16) & np.uint32(0x8000)
    exponent = ((raw >> 23) & 255).astype(np.int64) - 112
    kept = sign | np.clip(exponent, 0, 31).astype(np.uint32) << 10 | (raw >> 13) & 0x3FF
    kept = np.where(exponent <= 0, sign, kept)
    return np.where(exponent >= 31, sign | 0x7C00, kept).astype(np.uint16)


def fp32_to_int(raw: np.ndarray, target: Fmt) -> np.ndarray:
    """Round half to even and saturate; NaN saturates by its sign; u8."""
    info = np.iinfo(np.uint8 if target == Fmt.UINT8 else np.int8)
    x = fp32.value(raw)
    wide = np.where(fp32.is_nan(x), np.where(raw >> 31 == 1, -1e30, 1e30), fp32.wide(x))
    return np.clip(np.rint(wide), info.min, info.max).astype(info.dtype).view(np.uint8)


def convert(raw: np.ndarray, source: Fmt, target: Fmt) -> np.ndarray:
    """Raw elements of one format in another, by way of fp32."""
    if source == Fmt.FP16:
        raw = fp16_to_fp32(raw)
    elif source == Fmt.UINT8:
        raw = raw.astype(np.float32).view(np.uint32)
    elif source == Fmt.INT8:
        raw = raw.view(np.int8).astype(np.float32).view(np.uint32)
    if target == Fmt.FP16:
        return fp32_to_fp16(raw)
    if target in (Fmt.UINT8, Fmt.INT8):
        return fp32_to_int(raw, target)
    return raw


def transfer(kind: str, direction: Direction, i: Instruction, memory: Access) -> None:
    from_local = direction in (Direction.L2S, Direction.L2L)
    to_local = direction in (Direction.S2L, Direction.L2L)
    source, target = Fmt(i.src_data_format), Fmt(i.dst_data_format)
    raw = _load(memory, _side(i, "src", from_local, source.size), from_local, source.size)
    size = source.size
    if kind == "transpose_nc":
        raw = raw.transpose(1, 0, 2, 3)
    elif kind == "transpose_cw":
        raw = raw.transpose(0, 3, 2, 1)
    elif kind == "convert":
        raw = convert(raw, source, target)
        size = target.size
    at = _side(i, "dst", to_local, size)
    _store(i, memory, at, to_local, np.ascontiguousarray(raw).reshape(at.shape))


def fill(local: bool, i: Instruction, memory: Access) -> None:
    # The destination's format has no influence.
    size = Fmt(i.src_data_format).size
    at = _side(i, "dst", local, size)
    pattern = i.constant_value & ((1 << 8 * size) - 1)
    _store(i, memory, at, local, np.full(at.shape, pattern, integer(size, False)))


def matrix(transposed: bool, to_local: bool, i: Instruction, memory: Access) -> None:
    """System: rows x columns; local: row r at n = r, columns in pieces of w over c."""
    system, local = ("src", "dst") if to_local else ("dst", "src")
    size = Fmt(i.src_data_format).size
    _, _, rows, columns = sizes(i, system)
    stride = getattr(i, f"{system}_hstride")
    shape = Shape4(1, 1, rows, columns)
    outside = _system_positions(address(i, system), shape, Strides(0, 0, stride, 1), size, (0, 0))
    outside = outside[0, 0].T if transposed else outside[0, 0]
    n, c, _, w = sizes(i, local)
    strides = Strides(getattr(i, f"{local}_nstride"), getattr(i, f"{local}_cstride"), 0, 1)
    inside = positions(getattr(i, f"{local}_start_addr_l32"), Shape4(n, c, 1, w), strides, size)
    inside = inside.reshape(n, c * w)[:, : outside.shape[1]]
    if to_local:
        _store(i, memory, inside, True, _load(memory, outside, False, size))
    else:
        _store(i, memory, outside, False, _load(memory, inside, True, size))


def linear(i: Instruction, memory: Access) -> None:
    at = np.arange(i.src_nstride * Fmt(i.src_data_format).size, dtype=np.int64)
    if at.size:
        raw = memory.load_system(address(i, "src") + at, np.dtype(np.uint8))
        memory.store_system(address(i, "dst") + at, raw)


OPERATIONS = {
    **{
        f"{kind}.{direction.name.lower()}": partial(transfer, kind, direction)
        for kind in ("copy", "transpose_nc", "convert")
        for direction in Direction
    },
    "transpose_cw.l2l": partial(transfer, "transpose_cw", Direction.L2L),
    "fill.system": partial(fill, False),
    "fill.local": partial(fill, True),
    "matrix.s2l": partial(matrix, False, True),
    "matrix.l2s": partial(matrix, False, False),
    "matrix_t.s2l": partial(matrix, True, True),
    "matrix_t.l2s": partial(matrix, True, False),
    "linear.s2s": linear,
}
