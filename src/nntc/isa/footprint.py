"""Which bytes an instruction reads and writes.

``footprint(instruction)`` gives, per operand, a :class:`~nntc.isa.regions.Region`: the bounding
byte interval that the operand occupies in every lane of a lane set (local memory), in L2 or in
system memory. The interval is conservative: it may hold bytes that are not touched, never the
other way round. Compilers track dependencies with it, the simulator finds missing ones.

Where boxes overlap although the strided accesses interleave, :func:`~nntc.isa.regions.overlap`
compares the exact patterns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from nntc.core.errors import InstructionError
from nntc.isa.chip import L2_BASE, L2_BYTES, LANE_BYTES, LANES, LOCAL_BASE, Engine, Fmt
from nntc.isa.forms import Instruction
from nntc.isa.layout import align_up, ceil_div
from nntc.isa.regions import Axes, Pattern, Region, box, lane_mask, may_overlap, overlap

__all__ = ["Footprint", "Region", "footprint", "may_overlap", "overlap"]

Values = Mapping[str, int]


class Footprint(NamedTuple):
    """The regions that an instruction reads and those that it writes."""

    reads: tuple[Region, ...]
    writes: tuple[Region, ...]


Reader = Callable[[Values], Footprint]


def _local(address: int, channels: int, slot_step: int, run: int, axes: Axes) -> Region:
    """Region of a tensor whose channels spread over the lanes; *axes* without the channels."""
    lane, base = divmod(address - LOCAL_BASE, LANE_BYTES)
    if not 0 <= lane < LANES:
        # No such lane: an offset outside every lane, so that a bounds check reports it.
        low, high = box(address - LOCAL_BASE, run, axes)
        return Region("local", low, high, 1)
    last_slot = (lane + channels - 1) // LANES
    low, high = box(base, run, (*axes, (last_slot + 1, slot_step)) if last_slot else axes)
    pattern = Pattern(base, run, axes, lane, channels, slot_step)
    return Region("local", low, high, lane_mask(lane, channels), pattern)


def _system(address: int, run: int, axes: Axes) -> Region:
    low, high = box(address, run, axes)
    if L2_BASE <= address < L2_BASE + L2_BYTES:
        pattern = Pattern(address - L2_BASE, run, axes)
        return Region("l2", low - L2_BASE, high - L2_BASE, 0, pattern)
    return Region("ddr", low, high, 0, Pattern(address, run, axes))


def _l2_words(address: int, words: int) -> Region:
    offset = address & (L2_BYTES - 1)
    return Region("l2", offset, offset + 4 * words)


def _lane(address: int) -> int:
    return ((address - LOCAL_BASE) // LANE_BYTES) % LANES


# ---------------------------------------------------------------- TIU


def _aligned(address: int, n: int, c: int, h: int, w: int, unit: int = 4) -> Region:
    """A tensor in the aligned layout; *unit* bytes per position (4: word, 8: int16 in 4N)."""
    slot = align_up(h * w, 32) * unit
    step = ceil_div(_lane(address) + c, LANES) * slot
    axes = ((n, step),) if n > 1 else ()
    return _local(address, c, slot, h * w * unit, axes)


def _strided(
    address: int,
    shape: tuple[int, int, int, int],
    strides: tuple[int, int, int, int],
    shifts: tuple[int, int] = (0, 0),
) -> Region:
    """A tensor of words with strides in words."""
    (n, c, h, w), (ns, cs, hs, ws) = shape, strides
    if shifts != (0, 0):
        rows, columns = ((h - 1) * hs) >> shifts[0], ((w - 1) * ws) >> shifts[1]
        axes = ((n, 4 * ns), (2, 4 * rows), (2, 4 * columns))
        return _local(address, c, 4 * cs, 4, axes)._replace(pattern=None)
    if ws == 1:
        if hs == w:
            return _local(address, c, 4 * cs, 4 * w * h, ((n, 4 * ns),))
        return _local(address, c, 4 * cs, 4 * w, ((n, 4 * ns), (h, 4 * hs)))
    return _local(address, c, 4 * cs, 4, ((n, 4 * ns), (h, 4 * hs), (w, 4 * ws)))


def _user(v: Values, role: str) -> tuple[int, int, int, int]:
    g = v.get
    return (
        g(f"{role}_n_str", 0),
        g(f"{role}_c_str", 0),
        g(f"{role}_h_str", 0),
        g(f"{role}_w_str", 0),
    )


def _per_channel(v: Values, role: str, size: int) -> Region:
    """One value per channel, slots packed."""
    address = v.get(f"{role}_addr", 0)
    if size == 2:
        address &= ~1
    return _local(address, v.get("res0_c", 0), size, size, ())


def _window_input(v: Values, groups: int, channels: int, honour_strides: bool) -> Region:
    """Operand 0 of convolutions and pools; *groups* counts samples (fp32) or groups of 4."""
    g = v.get
    address, h, w = g("opd0_addr", 0), g("opd0_h", 0), g("opd0_w", 0)
    if honour_strides and g("short_opd0_str", 0) == 3:
        return _strided(address, (groups, channels, h, w), _user(v, "opd0"))
    return _aligned(address, groups, channels, h, w)


def _bias(v: Values, size: int) -> list[Region]:
    return [_per_channel(v, "opd2", size)] if v.get("tsk_opd_num", 0) == 3 else []


def _conv(v: Values, fp32: bool) -> Footprint:
    g = v.get
    n, oc, oh, ow = g("res0_n", 0), g("res0_c", 0), g("res0_h", 0), g("res0_w", 0)
    ic, kh, kw = g("opd0_c", 0), g("opd1_h", 0), g("opd1_w", 0)
    groups = n if fp32 else ceil_div(n, 4)
    reads = [_window_input(v, groups, ic, True)]
    if not g("opt_opd1_const", 0):
        unit, together = (8, 2) if fp32 else (4, 4)
        address = g("opd1_addr", 0)
        if g("short_opd1_str", 0) == 3:
            ns, cs, hs, ws = _user(v, "opd1")
        else:
            cs, hs, ws = kh * kw, kw, 1
            ns = ceil_div(_lane(address) + oc, LANES) * cs
        axes = ((ceil_div(ic, together), unit * ns), (kh, unit * hs), (kw, unit * ws))
        reads.append(_local(address, oc, unit * cs, unit, axes))
    reads += _bias(v, 4 if fp32 else 2)
    wide = not fp32 and g("opt_res0_prec", 0) == 3
    result = _aligned(g("res0_addr", 0), groups, oc, oh, ow, 8 if wide else 4)
    if not fp32 and g("short_res0_str", 0) == 3:
        unit = 8 if wide else 4
        axes = ((groups, g("res0_n_str", 0) * unit),)
        result = _local(g("res0_addr", 0), oc, align_up(oh * ow, 32) * unit, oh * ow * unit, axes)
    if fp32 and g("opt_res_add", 0):
        reads.append(result)
    return Footprint(tuple(reads), (result,))


def _winograd(v: Values, fp32: bool) -> Footprint:
    g = v.get
    n, oc, ic = g("res0_n", 0), g("res0_c", 0), g("opd0_c", 0)
    groups = n if fp32 else ceil_div(n, 4)
    address = g("opd1_addr", 0)
    step = ceil_div(_lane(address) + oc, LANES) * 64
    weights = _local(address, oc, 64, 64, ((ic if fp32 else ceil_div(ic, 4), step),))
    reads = [_window_input(v, groups, ic, True), weights, *_bias(v, 4 if fp32 else 2)]
    result = _aligned(g("res0_addr", 0), groups, oc, g("res0_h", 0), g("res0_w", 0))
    if fp32 and g("opt_res_add", 0):
        reads.append(result)
    return Footprint(tuple(reads), (result,))


def _pool(v: Values, fp32: bool, weights: bool) -> Footprint:
    g = v.get
    n, c = g("res0_n", 0), g("res0_c", 0)
    groups = n if fp32 else ceil_div(n, 4)
    reads = [_window_input(v, groups, c, False)]
    if weights:
        if not g("opt_opd1_const", 0):
            run = g("opd1_h", 0) * g("opd1_w", 0) * (4 if fp32 else 1)
            reads.append(_local(g("opd1_addr", 0), c, run, run, ()))
        if fp32 or not g("opt_opd1_const", 0):
            reads += _bias(v, 4 if fp32 else 2)
    wide = not fp32 and g("opt_res0_prec", 0) == 3
    result = _aligned(
        g("res0_addr", 0), groups, c, g("res0_h", 0), g("res0_w", 0), 8 if wide else 4
    )
    return Footprint(tuple(reads), (result,))


def _matrix(address: int, rows: int, pieces: int, width: int, size: int) -> Region:
    """A matmul matrix: rows over n, pieces of *width* columns over the channels."""
    slot = align_up(width * size, 128)
    step = ceil_div(_lane(address) + pieces, LANES) * slot
    return _local(address, pieces, slot, width * size, ((rows, step),))


def _matmul(v: Values, fp32: bool) -> Footprint:
    g = v.get
    rows, inner = g("opd0_n", 0), (g("opd0_c", 0) - 1) * g("opd0_w", 0) + g("opd1_w", 0)
    size = 4 if fp32 else 1
    pieces, width = g("res0_c", 0), g("res0_w", 0)
    m, k = (inner, rows) if g("opt_left_tran", 0) else (rows, inner)
    reads = [_matrix(g("opd1_addr", 0), k, pieces, width, size)]
    if not g("opt_opd0_const", 0):
        reads.append(_matrix(g("opd0_addr", 0), rows, g("opd0_c", 0), g("opd0_w", 0), size))
    if g("tsk_opd_num", 0) == 3:
        reads.append(_matrix(g("opd2_addr", 0), 1, pieces, width, 4 if fp32 else 2))
    address = g("res0_addr", 0)
    wide = not fp32 and g("opt_res0_prec", 0) == 3
    result = _matrix(address, m, pieces, width, 4 if fp32 else 2 if wide else 1)
    if g("opt_res_add", 0):
        reads.append(result if fp32 else _matrix(address, m, pieces, width, 2))
    return Footprint(tuple(reads), (result,))


def _operand_strides(v: Values, role: str, shape: tuple[int, int, int, int]):
    """Strides in words of an `ar` operand: code 0 is the aligned layout, any other the fields."""
    fields = _user(v, role)
    if v.get(f"short_{role}_str", 0):
        return fields
    _, c, h, w = shape
    slots = ceil_div(_lane(v.get(f"{role}_addr", 0)) + c, LANES)
    if role != "opd1":
        cs = align_up(h * w, 32)
        return slots * cs, cs, w, 1
    # Operand 1 honours zero strides as sizes of 1 even in the aligned layout.
    rows, columns = (h if fields[2] else 1), (w if fields[3] else 1)
    cs = align_up(rows * columns, 32)
    return (
        slots * cs if fields[0] else 0,
        cs,
        columns if fields[2] else 0,
        1 if fields[3] else 0,
    )


_SIZE_OF_PREC = {0: 1, 1: 2, 2: 4, 3: 2, 4: 4}


def _arithmetic(v: Values, fixed: bool, operands: int, accumulates: bool) -> Footprint:
    g = v.get
    n, c, h, w = g("res0_n", 0), g("res0_c", 0), g("res0_h", 0), g("res0_w", 0)

    def tensor(role: str) -> Region:
        count, shifts = n, (0, 0)
        if fixed:
            together = 4 // _SIZE_OF_PREC.get(g(f"opt_{role}_prec", 0), 4)
            count = 1 if g(f"{role}_neq1", 0) else ceil_div(n, together)
        else:
            shifts = (g(f"{role}_h_shift", 0), g(f"{role}_w_shift", 0))
        strides = _operand_strides(v, role, (n, c, h, w))
        return _strided(g(f"{role}_addr", 0), (count, c, h, w), strides, shifts)

    reads = [tensor(role) for role in ("opd0", "opd1")[:operands] if not g(f"opt_{role}_const", 0)]
    result = tensor("res0")
    if accumulates:
        reads.append(result)
    return Footprint(tuple(reads), (result,))


def _same_shape(v: Values, role: str) -> Region:
    """A tensor of the result's shape in the aligned layout."""
    g = v.get
    return _aligned(
        g(f"{role}_addr", 0), g("res0_n", 0), g("res0_c", 0), g("res0_h", 0), g("res0_w", 0)
    )


def _scalar(v: Values) -> Footprint:
    g = v.get
    reads = [_same_shape(v, r) for r in ("opd0", "opd1") if not g(f"opt_{r}_const", 0)]
    result = _same_shape(v, "res0")
    if g("opt_res_add", 0):
        reads.append(result)
    return Footprint(tuple(reads), (result,))


def _sfu(v: Values) -> Footprint:
    return Footprint((_same_shape(v, "opd0"),), (_same_shape(v, "res0"),))


def _taylor(v: Values) -> Footprint:
    table = _l2_words(v.get("opd1_addr", 0), v.get("opd1_n", 0))
    return Footprint((_same_shape(v, "opd0"), table), (_same_shape(v, "res0"),))


def _linear(v: Values, mac: bool) -> Footprint:
    g = v.get
    reads = [_same_shape(v, "opd0")]
    for role in ("opd1", "opd2") if mac else ("opd1",):
        if not g(f"opt_{role}_const", 0):
            reads.append(_per_channel(v, role, 4))
    result = _same_shape(v, "res0")
    if mac and g("opt_res_add", 0):
        reads.append(result)
    return Footprint(tuple(reads), (result,))


def _compare(v: Values, operands: int, results: tuple[str, ...]) -> Footprint:
    roles = ("opd0", "opd1", "opd2", "opd3")[:operands]
    reads = tuple(_same_shape(v, r) for r in roles if not v.get(f"opt_{r}_const", 0))
    return Footprint(reads, tuple(_same_shape(v, r) for r in results))


def _lookup(v: Values, bytes_index: bool) -> Footprint:
    g = v.get
    table = _l2_words(g("opd1_addr", 0), 256)
    if not bytes_index:
        return Footprint((_same_shape(v, "opd0"), table), (_same_shape(v, "res0"),))
    address, c, plane = g("opd0_addr", 0), g("res0_c", 0), g("res0_h", 0) * g("res0_w", 0)
    slot = align_up(plane, 128)
    step = ceil_div(_lane(address) + c, LANES) * slot
    index = _local(address, c, slot, plane, ((g("res0_n", 0), step),))
    return Footprint((index, table), (_same_shape(v, "res0"),))


def _vector(v: Values) -> Footprint:
    g = v.get
    c0, w0 = g("opd0_c", 0), g("opd0_w", 0)
    count = (c0 - 1) * w0 + g("opd1_w", 0)
    c, w = g("res0_c", 0), g("res0_w", 0)
    return Footprint(
        (_aligned(g("opd0_addr", 0), 1, c0, 1, w0), _aligned(g("opd1_addr", 0), 1, c, 1, w)),
        (_aligned(g("res0_addr", 0), count, c, 1, w),),
    )


# ---------------------------------------------------------------- GDMA


def _address(v: Values, side: str) -> int:
    return v.get(f"{side}_start_addr_l32", 0) | v.get(f"{side}_start_addr_h8", 0) << 32


def _mask(v: Values) -> int:
    return v.get("localmem_mask_l32", 0) | v.get("localmem_mask_h32", 0) << 32


_SIZE_OF_FORMAT = (*(f.size for f in Fmt), 4, 4, 4)


def _tensor_side(v: Values, side: str, local: bool, converts: bool = False) -> Region:
    """One side of a tensor transfer.

    Strides are elements; their size follows from the source's format on both sides, but for a
    conversion (measured: without one the destination's format has no influence).
    """
    g = v.get
    address = _address(v, side)
    size = _SIZE_OF_FORMAT[g("dst_data_format" if converts else "src_data_format", 0)]
    n, c, h, w = (g(f"{side}_{d}size", 0) for d in "nchw")
    if g("stride_enable", 0):
        ns, cs, hs, ws = (g(f"{side}_{d}stride", 0) for d in "nchw")
    elif local:
        cs = align_up(h * w, 128 // size)
        ns, hs, ws = ceil_div(_lane(address) + c, LANES) * cs, w, 1
    else:
        ns, cs, hs, ws = c * h * w, h * w, w, 1
    row_shift, column_shift = g(f"{side}_hshift", 0), g(f"{side}_wshift", 0)
    shifted = bool(row_shift or column_shift)
    if shifted:
        rows, columns = ((h - 1) * hs) >> row_shift, ((w - 1) * ws) >> column_shift
        run, axes = size, ((n, ns * size), (2, rows * size), (2, columns * size))
    elif ws == 1:
        run, axes = w * size, ((n, ns * size), (h, hs * size))
    else:
        run, axes = size, ((n, ns * size), (h, hs * size), (w, ws * size))
    if local:
        region = _local(address, c, cs * size, run, axes)
    else:
        region = _system(address, run, ((c, cs * size), *axes))
    return region._replace(pattern=None) if shifted else region


def _masked(region: Region, v: Values) -> Region:
    return region._replace(lanes=region.lanes & _mask(v))


def _transfer(
    v: Values, source_local: bool, target_local: bool, converts: bool = False
) -> Footprint:
    source = _tensor_side(v, "src", source_local)
    target = _tensor_side(v, "dst", target_local, converts)
    if target_local:
        target = _masked(target, v)
    reads = (source, target) if v.get("acc_write_enable", 0) else (source,)
    return Footprint(reads, (target,))


def _fill(v: Values, local: bool) -> Footprint:
    target = _tensor_side(v, "dst", local)
    return Footprint((), (_masked(target, v) if local else target,))


def _matrix_move(v: Values, to_local: bool) -> Footprint:
    g = v.get
    system, local = ("src", "dst") if to_local else ("dst", "src")
    size = _SIZE_OF_FORMAT[g("src_data_format", 0)]
    rows, columns = g(f"{system}_hsize", 0), g(f"{system}_wsize", 0)
    matrix = _system(
        _address(v, system), columns * size, ((rows, g(f"{system}_hstride", 0) * size),)
    )
    n, c, w = g(f"{local}_nsize", 0), g(f"{local}_csize", 0), g(f"{local}_wsize", 0)
    ns, cs = g(f"{local}_nstride", 0), g(f"{local}_cstride", 0)
    tensor = _local(g(f"{local}_start_addr_l32", 0), c, cs * size, w * size, ((n, ns * size),))
    if to_local:
        tensor = _masked(tensor, v)
    source, target = (matrix, tensor) if to_local else (tensor, matrix)
    reads = (source, target) if g("acc_write_enable", 0) else (source,)
    return Footprint(reads, (target,))


def _linear_copy(v: Values) -> Footprint:
    size = _SIZE_OF_FORMAT[v.get("src_data_format", 0)] * v.get("src_nstride", 0)
    return Footprint(
        (_system(_address(v, "src"), size, ()),), (_system(_address(v, "dst"), size, ()),)
    )


# ---------------------------------------------------------------- dispatch


def _readers() -> dict[str, Reader]:
    found: dict[str, Reader] = {
        "conv.f32": lambda v: _conv(v, True),
        "conv.i8": lambda v: _conv(v, False),
        "wino.f32": lambda v: _winograd(v, True),
        "wino.i8": lambda v: _winograd(v, False),
        "depthwise.f32": lambda v: _pool(v, True, True),
        "depthwise.i8": lambda v: _pool(v, False, True),
        "maxpool.f32": lambda v: _pool(v, True, False),
        "maxpool.i8": lambda v: _pool(v, False, False),
        "matmul.f32": lambda v: _matmul(v, True),
        "matmul.i8": lambda v: _matmul(v, False),
        "sfu.taylor": _taylor,
        "linear.mac": lambda v: _linear(v, True),
        "linear.add_square": lambda v: _linear(v, False),
        "linear.sub_square": lambda v: _linear(v, False),
        "compare.max_only": lambda v: _compare(v, 2, ("res0",)),
        "compare.select": lambda v: _compare(v, 4, ("res1",)),
        "compare.max_select": lambda v: _compare(v, 4, ("res0", "res1")),
        "lut.i8": lambda v: _lookup(v, True),
        "lut.i32": lambda v: _lookup(v, False),
        "fill.system": lambda v: _fill(v, False),
        "fill.local": lambda v: _fill(v, True),
        "transpose_cw.l2l": lambda v: _transfer(v, True, True),
        "linear.s2s": _linear_copy,
    }
    for kind in ("copy", "transpose_nc", "convert"):
        for name, source, target in (
            ("s2l", False, True),
            ("l2s", True, False),
            ("s2s", False, False),
            ("l2l", True, True),
        ):
            found[f"{kind}.{name}"] = partial(
                _transfer,
                source_local=source,
                target_local=target,
                converts=kind == "convert",
            )
    for kind in ("matrix", "matrix_t"):
        for name, to_local in (("s2l", True), ("l2s", False)):
            found[f"{kind}.{name}"] = lambda v, t=to_local: _matrix_move(v, t)
    return found


_READERS = _readers()


def _reader(mnemonic: str) -> Reader | None:
    known = _READERS.get(mnemonic)
    if known is not None:
        return known
    family, _, rest = mnemonic.partition(".")
    if family == "ar":
        operation, _, kind = rest.partition(".")
        operands, accumulates = (1 if operation == "copy" else 2), operation == "mac"
        fixed = kind == "fix"
        known = partial(_arithmetic, fixed=fixed, operands=operands, accumulates=accumulates)
    elif family == "scalar":
        known = _scalar
    elif family == "sfu":
        known = _sfu
    elif family == "vector":
        known = _vector
    if known is not None:
        _READERS[mnemonic] = known
    return known


def footprint(instruction: Instruction) -> Footprint:
    """The bytes that *instruction* reads and writes, conservatively.

    An address outside its memory gives a region outside it; nothing is checked here.

    Raises:
        InstructionError: the instruction has no known form.
    """
    form = instruction.form
    reader = _reader(form.mnemonic) if form is not None else None
    if reader is None:
        engine = Engine(instruction.engine).name
        raise InstructionError(
            f"{engine} command {instruction.number}: no known operation, its reads and writes "
            "are unknown"
        )
    return reader(instruction.values)
