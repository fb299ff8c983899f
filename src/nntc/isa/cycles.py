"""How long an instruction takes, and how the two engines overlap.

The TIU formulas reproduce the cycle functions that the chip maker's C-model exports; the GDMA rule
is a fit to its answers: a *block* (a run that is contiguous on both sides) costs at least one unit
of about 30 bytes, a transfer starts with a fixed latency. Bank conflicts and DDR refresh are in
none of them, so boards are slower.

Every form has one :class:`Rule`, whose text is also what the reference page shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import NamedTuple

import numpy as np

from nntc.core.errors import InstructionError
from nntc.isa import TABLES
from nntc.isa.chip import CLOCK_HZ, LANE_BYTES, LANES, LOCAL_BASE, Direction, Engine, Fmt, Prec
from nntc.isa.forms import Instruction
from nntc.isa.layout import ceil_div

Get = Callable[[str], int]
"""Field name → value; fields that are not given are 0."""

LIMIT = 1 << 31
"""The C-model's functions answer this where a cost does not fit 32 bits."""


@dataclass(frozen=True)
class Rule:
    """The cost of one or more forms.

    Attributes:
        forms: mnemonics, or the part before the first point.
        formula: the cost in words.
        cost: the cost in cycles from the fields.
    """

    forms: tuple[str, ...]
    formula: str
    cost: Callable[[Get], int]


def _lane_slots(get: Get, result: str = "res0_addr") -> int:
    """Channel slots that a lane works on, one after the other."""
    return ceil_div((get(result) - LOCAL_BASE) // LANE_BYTES + get("res0_c"), LANES)


def _pixels(get: Get, unit: int) -> int:
    return ceil_div(get("res0_h") * get("res0_w"), unit)


def _tiles(get: Get, result: str = "res0_addr") -> int:
    """Groups of 16 words that an element-wise instruction produces, per lane."""
    return get("res0_n") * _lane_slots(get, result) * _pixels(get, 16)


def _bias(get: Get) -> bool:
    return get("tsk_opd_num") == 3


def _truncated(value: float) -> int:
    return int(value) if value < LIMIT else LIMIT


# Input fetch of int8 convolution: row min(stride h, stride w) (1..10, larger as 10), column
# ceil(channels / 4); 1 beyond the row's end. Measured.
_FETCH_I8 = (
    (6.82, 3.91, 1.55, 1.3, 1.15, 1.05),
    (7.89, 4.43, 3.29, 1.35, 1.2, 1.09, 1.03),
    (9.56, 5.26, 3.84, 3.12, 1.34, 1.21, 1.12, 1.05, 1.01),
    (9.94, 5.43, 3.95, 3.21, 2.77, 1.24, 1.14, 1.07, 1.02),
    (11.27, 6.07, 4.38, 3.53, 3.02, 1.23, 1.15, 1.09, 1.04, 1.01),
    (12.04, 6.51, 4.67, 3.75, 3.2, 2.83, 1.28, 1.19, 1.13, 1.07, 1.03),
    (7.31, 5.11, 3.98, 3.4, 3.04, 2.74, 2.5, 1.22, 1.16, 1.1, 1.05, 1.02),
    (13.78, 7.36, 5.24, 4.18, 3.54, 3.11, 2.81, 2.59, 1.22, 1.15, 1.1, 1.05, 1.02),
    (14.18, 7.56, 5.37, 4.28, 3.62, 3.18, 2.87, 2.64, 2.42, 1.19, 1.13, 1.09, 1.05, 1.01),
    (15.62, 8.3, 5.84, 4.63, 3.9, 3.42, 3.07, 2.81, 2.61, 2.45, 2.24, 1.14, 1.09, 1.06, 1.02),
)


def _f32(value: float) -> float:
    """Rounded to fp32: the C-model's functions compute in fp32."""
    return float(np.float32(value))


def _conv_f32(get: Get) -> int:
    channels = get("opd0_c")
    taps = get("opd1_h") * get("opd1_w") * ceil_div(channels, 2)
    step = _f32(taps * max(1.0, _f32((get("res_op_x_str") + 1) / channels)))
    fixed = 3 + 2 * _bias(get)
    if channels == 3:
        return _truncated(_f32((2.5 * step + fixed) * _tiles(get)))
    return _truncated(_f32(_f32(step + fixed) * _tiles(get)))


def _conv_i8(get: Get) -> int:
    groups = ceil_div(get("opd0_c"), 4)
    stride = min(get("res_op_y_str"), get("res_op_x_str"), len(_FETCH_I8))
    row = _FETCH_I8[stride - 1] if stride else (0.0,) * groups
    factor = _f32(row[groups - 1]) if groups <= len(row) else 1.0
    step = _f32(get("opd1_h") * get("opd1_w") * groups * factor)
    tiles = ceil_div(get("res0_n"), 4) * _lane_slots(get) * _pixels(get, 16)
    return _truncated(_f32(_f32(step + 8 + 2 * _bias(get)) * tiles))


def _wino_tiles(get: Get) -> int:
    return _lane_slots(get) * ceil_div(get("res0_h"), 2) * ceil_div(get("res0_w"), 2)


def _wino_f32(get: Get) -> int:
    return get("res0_n") * _wino_tiles(get) * (6 + get("opd0_c") + 7 * _bias(get)) // 2


def _wino_i8(get: Get) -> int:
    groups = 5 if get("opd0_c") == 3 else ceil_div(get("opd0_c"), 4)
    return ceil_div(get("res0_n"), 4) * _wino_tiles(get) * (11 + groups - _bias(get))


def _depthwise_f32(get: Get) -> int:
    kh, kw = get("opd1_h"), get("opd1_w")
    return _tiles(get) * (kh * (kw - 1) + get("res_op_x_str") * kh * kw + 5 * _bias(get))


def _depthwise_i8(get: Get) -> int:
    taps = get("opd1_h") * get("opd1_w")
    tiles = get("res0_n") * _lane_slots(get) * _pixels(get, 64)
    return tiles * (taps - 1 + get("res_op_x_str") * taps + 2 * _bias(get))


def _matmul(unit: int, fixed: int) -> Callable[[Get], int]:
    def cost(get: Get) -> int:
        depth = (get("opd0_c") - 1) * get("opd0_w") + get("opd1_w")
        extra = 2 * _bias(get) + 2 * get("opt_res_add")
        tiles = get("opd0_n") * _lane_slots(get) * ceil_div(get("res0_w"), unit)
        return tiles * (depth + fixed + extra)

    return cost


def _per_tile(cycles: int) -> Callable[[Get], int]:
    return lambda get: cycles * _tiles(get)


def _select(get: Get) -> int:
    """A select writes its second result only, so that one's lane counts."""
    return 2 * _tiles(get, "res1_addr")


def _taylor(get: Get) -> int:
    return _tiles(get) * (4 * max(1, get("opd1_n")) + 2)


_FIX_CYCLES = {
    "ar.mul.fix": 2,
    "ar.mac.fix": 4,
    "ar.add.fix": 3,
    "ar.sub.fix": 3,
    "ar.max.fix": 2,
    "ar.min.fix": 2,
    "ar.shift.fix": 3,
    "ar.and.fix": 2,
    "ar.or.fix": 2,
    "ar.xor.fix": 2,
    "ar.copy.fix": 1,
}


def _fix(mnemonic: str) -> Callable[[Get], int]:
    cycles = _FIX_CYCLES[mnemonic]

    def cost(get: Get) -> int:
        byte = get("opt_opd0_prec") == Prec.INT8
        samples = 4 if byte or get("opt_res0_prec") == Prec.INT8 else 2
        each = cycles + (mnemonic == "ar.mul.fix" and byte)
        tiles = ceil_div(get("res0_n"), samples) * ceil_div(get("res0_c"), LANES)
        return tiles * _pixels(get, 16) * each

    return cost


def _vector(cycles: int) -> Callable[[Get], int]:
    def cost(get: Get) -> int:
        rows = (get("opd0_c") - 1) * get("opd0_w") + get("opd1_w")
        return rows * _lane_slots(get) * ceil_div(get("res0_w"), 16) * cycles

    return cost


_START_NS = {Direction.S2L: 248.0, Direction.L2S: 82.0, Direction.S2S: 248.0}
_CYCLES_PER_NS = 0.554
_BYTES_PER_NS = 29.566209
_LOCAL_BYTES_PER_CYCLE = 32.0
_FORMAT_BYTES = {int(fmt): fmt.size for fmt in Fmt}


def _transfer(direction: int, count: int, block_bytes: int) -> int:
    """Cycles of *count* blocks of *block_bytes*."""
    if direction == Direction.L2L:
        return floor(3 + count * max(1.0, block_bytes / _LOCAL_BYTES_PER_CYCLE))
    start = _START_NS[Direction(direction)]
    return floor(_CYCLES_PER_NS * (start + count * max(1.0, block_bytes / _BYTES_PER_NS)))


def _element_bytes(get: Get) -> int:
    sizes: list[int] = []
    for field in ("src_data_format", "dst_data_format"):
        if get(field) not in _FORMAT_BYTES:
            raise InstructionError(f"{field} = {get(field)}: no such format")
        sizes.append(_FORMAT_BYTES[get(field)])
    return max(sizes)


def _sizes(get: Get, side: str) -> tuple[int, int, int, int]:
    return (
        get(f"{side}_nsize"),
        get(f"{side}_csize"),
        get(f"{side}_hsize"),
        get(f"{side}_wsize"),
    )


def _gdma_tensor(get: Get) -> int:
    n, c, h, w = _sizes(get, "src")
    strided, direction = get("stride_enable"), get("direction")
    rows_join = (
        not strided
        or h == 1
        or (get("src_hstride") == w and get("dst_hstride") == get("dst_wsize"))
    )
    count, run = (n * c, h * w) if rows_join else (n * c * h, w)
    channels_join = not strided or (
        rows_join and get("src_cstride") == h * w and get("dst_cstride") == h * w
    )
    if direction == Direction.S2S and channels_join:
        count, run = 1, n * c * h * w
    return _transfer(direction, count, run * _element_bytes(get))


def _gdma_whole(side: str) -> Callable[[Get], int]:
    """One block of all elements of one side."""

    def cost(get: Get) -> int:
        n, c, h, w = _sizes(get, side)
        return _transfer(get("direction"), 1, n * c * h * w * _element_bytes(get))

    return cost


def _gdma_linear(get: Get) -> int:
    return _transfer(get("direction"), 1, get("src_nstride") * _element_bytes(get))


_TILES_TEXT = "n * slots * ceil(h*w/16)"
_F32_PLAIN = ("mul", "add", "sub", "max", "min", "select_gt", "select_eq", "copy")

RULES: tuple[Rule, ...] = (
    Rule(
        ("conv.f32",),
        f"(kh*kw*ceil(ic/2) * max(1, (stride w + 1)/ic) + 3 + 2*bias) * {_TILES_TEXT}, in fp32, "
        "truncated; ic = 3: the first product counts 2.5 times",
        _conv_f32,
    ),
    Rule(
        ("conv.i8",),
        "(kh*kw*ceil(ic/4) * fetch + 8 + 2*bias) * ceil(n/4) * slots * ceil(h*w/16), in fp32, "
        "truncated; fetch >= 1 is a table over stride and ceil(ic/4), 1 from 25 channels on at "
        "stride 1",
        _conv_i8,
    ),
    Rule(
        ("wino.f32",),
        "floor(n * slots * ceil(h/2) * ceil(w/2) * (6 + ic + 7*bias) / 2)",
        _wino_f32,
    ),
    Rule(
        ("wino.i8",),
        "ceil(n/4) * slots * ceil(h/2) * ceil(w/2) * (11 + ceil(ic/4) - bias); ic = 3 counts as 20",
        _wino_i8,
    ),
    Rule(
        ("depthwise.f32", "maxpool.f32"),
        f"{_TILES_TEXT} * (kh*(kw-1) + stride w * kh*kw + 5*bias)",
        _depthwise_f32,
    ),
    Rule(
        ("depthwise.i8", "maxpool.i8"),
        "n * slots * ceil(h*w/64) * (kh*kw - 1 + stride w * kh*kw + 2*bias)",
        _depthwise_i8,
    ),
    Rule(
        ("matmul.f32",),
        "M * slots * ceil(res0_w/16) * (K' + 6 + 2*bias + 2*res_add), "
        "K' = (opd0_c-1)*opd0_w + opd1_w, M = opd0_n",
        _matmul(16, 6),
    ),
    Rule(
        ("matmul.i8",),
        "M * slots * ceil(res0_w/64) * (K' + 5 + 2*bias + 2*res_add)",
        _matmul(64, 5),
    ),
    Rule(
        (
            *(f"ar.{name}.f32" for name in _F32_PLAIN),
            *(f"ar.{name}.i32" for name in ("and", "or", "xor", "shift", "copy")),
        ),
        # The maker's function answers 1 for a copy; 2 is the cautious figure.
        f"2 * {_TILES_TEXT}",
        _per_tile(2),
    ),
    Rule(("ar.mac.f32",), f"5 * {_TILES_TEXT}", _per_tile(5)),
    Rule(("ar.div.f32",), f"30 * {_TILES_TEXT}", _per_tile(30)),
    *(
        Rule(
            (mnemonic,),
            f"{k}{' (3 with an int8 operand 0)' if mnemonic == 'ar.mul.fix' else ''} * "
            "ceil(n/4, or n/2 if operand 0 and the result are 16-bit) * ceil(c/64) * ceil(h*w/16)",
            _fix(mnemonic),
        )
        for mnemonic, k in _FIX_CYCLES.items()
    ),
    Rule(("scalar.mul", "scalar.add", "scalar.sub"), _TILES_TEXT, _per_tile(1)),
    Rule(("scalar.div",), f"30 * {_TILES_TEXT}", _per_tile(30)),
    Rule(("sfu.taylor",), f"(4 * length + 2) * {_TILES_TEXT}", _taylor),
    Rule(("sfu.f32_to_i32", "sfu.norm_a", "sfu.norm_b"), _TILES_TEXT, _per_tile(1)),
    Rule(("sfu.rsqrt",), f"27 * {_TILES_TEXT}", _per_tile(27)),
    Rule(("linear",), f"4 * {_TILES_TEXT}", _per_tile(4)),
    Rule(("compare.max_only",), _TILES_TEXT, _per_tile(1)),
    Rule(("compare.max_select",), f"2 * {_TILES_TEXT}", _per_tile(2)),
    Rule(("compare.select",), f"2 * {_TILES_TEXT}, slots of the second result", _select),
    Rule(("lut",), f"24 * {_TILES_TEXT}", _per_tile(24)),
    Rule(("vector.div.f32",), "30 * rows * slots * ceil(res0_w/16)", _vector(30)),
    Rule(("vector",), "rows * slots * ceil(res0_w/16), rows = elements of v0", _vector(1)),
    Rule(
        ("copy", "transpose_nc", "convert", "transpose_cw"),
        "a block per channel (whole tensor for contiguous S2S), or per row where a side's rows "
        "are not contiguous",
        _gdma_tensor,
    ),
    Rule(("fill",), "one block of all elements", _gdma_whole("dst")),
    Rule(("matrix", "matrix_t"), "one block of the source's elements", _gdma_whole("src")),
    Rule(("linear.s2s",), "one block", _gdma_linear),
)
"""Every cost; a full mnemonic is looked up before its first part."""

GDMA_FORMULA = (
    "floor(0.554 * (T0 + sum over blocks of max(1, bytes/29.566209))), T0 = 248 (S2L, S2S) or 82 "
    "(L2S); L2L: floor(3 + sum over blocks of max(1, bytes/32)); bytes count the wider format"
)


def _rule_table() -> Mapping[str, Rule]:
    by_name = {name: rule for rule in RULES for name in rule.forms}
    mnemonics = [form.mnemonic for table in TABLES.values() for form in table.forms]
    return {m: by_name[m] if m in by_name else by_name[m.partition(".")[0]] for m in mnemonics}


RULE_OF: Mapping[str, Rule] = _rule_table()
"""Mnemonic → its cost rule; total over all forms."""


def cycles(instruction: Instruction) -> int:
    """Cycles that an instruction keeps its engine busy.

    Raises:
        InstructionError: the operation is unknown, or its fields allow no answer.
    """
    if instruction.form is None:
        raise InstructionError(f"{instruction.mnemonic}: unknown operation, no cycle count")
    values = instruction.values
    try:
        return RULE_OF[instruction.mnemonic].cost(lambda name: values.get(name, 0))
    except ZeroDivisionError:
        raise InstructionError(f"{instruction.mnemonic}: a size is 0, no cycle count") from None


class Span(NamedTuple):
    """Time of one instruction, in cycles from the start of the first group."""

    start: int
    stop: int


@dataclass(frozen=True)
class GroupTiming:
    """One command group; spans in stream order."""

    start: int
    stop: int
    tiu: tuple[Span, ...]
    gdma: tuple[Span, ...]


@dataclass(frozen=True)
class Timing:
    """A replay: cycles from start to end, and cycles that each engine worked."""

    total: int
    tiu_busy: int
    gdma_busy: int
    groups: tuple[GroupTiming, ...]

    @property
    def seconds(self) -> float:
        return self.total / CLOCK_HZ


Stream = bytes | Sequence[Instruction]


def replay(groups: Sequence[tuple[Stream, Stream]]) -> Timing:
    """Run the two engines of each group in parallel, as their dependency ids allow.

    Args:
        groups: (TIU commands, GDMA commands) of each group; groups follow each other.

    Raises:
        InstructionError: unknown operations, or a wait that no command can end.
    """
    made: list[GroupTiming] = []
    now = 0
    for index, (tiu, gdma) in enumerate(groups):
        streams = (_decoded(Engine.TIU, tiu), _decoded(Engine.GDMA, gdma))
        made.append(_replay_group(index, now, streams))
        now = made[-1].stop
    busy = [
        sum(stop - start for group in made for start, stop in (group.tiu, group.gdma)[engine])
        for engine in Engine
    ]
    return Timing(now, busy[Engine.TIU], busy[Engine.GDMA], tuple(made))


def _decoded(engine: Engine, stream: Stream) -> Sequence[Instruction]:
    return TABLES[engine].decode_stream(stream) if isinstance(stream, bytes) else stream


def _replay_group(
    index: int, begin: int, streams: tuple[Sequence[Instruction], Sequence[Instruction]]
) -> GroupTiming:
    spans: tuple[list[Span], list[Span]] = ([], [])
    costs = [[cycles(i) for i in stream] for stream in streams]
    progress = True
    while progress:
        progress = False
        for engine, stream in zip(Engine, streams, strict=True):
            mine, other = spans[engine], spans[1 - engine]
            while len(mine) < len(stream) and stream[len(mine)].waits_for <= len(other):
                wait = stream[len(mine)].waits_for
                start = max(
                    mine[-1].stop if mine else begin, other[wait - 1].stop if wait else begin
                )
                mine.append(Span(start, start + costs[engine][len(mine)]))
                progress = True
    stuck = [s[len(done)] for s, done in zip(streams, spans, strict=True) if len(done) < len(s)]
    if stuck:
        raise InstructionError(
            [
                f"group {index}: {i.engine.name} #{i.number} {i.mnemonic} waits for command "
                f"{i.waits_for} of the other engine, which never completes"
                for i in stuck
            ]
        )
    stop = max([begin, *(done[-1].stop for done in spans if done)])
    return GroupTiming(begin, stop, tuple(spans[0]), tuple(spans[1]))
