"""Rules that a command must keep before either engine executes it.

Commands come from files: whatever they hold must end in an error message, never in a crash, in
memory outside its borders or in endless work.
"""

from __future__ import annotations

from collections.abc import Iterator

from nntc.isa.chip import L2_BYTES, LANE_BYTES, LOCAL_BASE, Direction, Engine
from nntc.isa.footprint import Footprint
from nntc.isa.forms import Instruction
from nntc.isa.regions import Region
from nntc.sim.memory import Memory

MOST_ELEMENTS = 1 << 25
"""More results than this in one command are refused (local memory holds 2^23 words)."""

MOST_PADDED = 1 << 26
"""More input elements than this, padding and inserted zeros included, are refused."""

MOST_STEPS = 1 << 20
"""More products per result are refused (a lane holds 2^17 fp32 or 2^19 int8 weights)."""

MOST_PRODUCTS = 1 << 35
"""More products in one command are refused."""

_POSITIVE = {
    "conv": ("opd0_c", "opd0_h", "opd0_w", "opd1_h", "opd1_w"),
    "wino": ("opd0_c", "opd0_h", "opd0_w"),
    "depthwise": ("opd0_h", "opd0_w", "opd1_h", "opd1_w"),
    "maxpool": ("opd0_h", "opd0_w", "opd1_h", "opd1_w"),
    "matmul": ("opd0_n", "opd0_c", "opd0_w", "opd1_w"),
    "vector": ("opd0_c", "opd0_w", "opd1_w", "res0_c", "res0_w"),
}
"""Family → sizes that must not be 0, beside the limits of the form."""

_HIGHEST_FORMAT = 4
_INT_PRECISIONS = (0, 3)


def describe(group: int, engine: Engine, position: int, instruction: Instruction) -> str:
    """How errors name a command."""
    return f"group {group} {engine.name} command {position} ({instruction.mnemonic})"


def rule_problems(i: Instruction) -> Iterator[str]:
    """What is wrong with the fields of a command of a known form."""
    if i.form is None:
        yield "no known operation"
        return
    v = i.values
    for name, (low, high) in i.form.limits.items():
        if name in i.form.operands and not low <= v.get(name, 0) <= high:
            yield f"{name} = {v.get(name, 0)} is outside {low}..{high}"
    family = i.mnemonic.partition(".")[0]
    for name in _POSITIVE.get(family, ()):
        if v.get(name, 0) < 1:
            yield f"{name} = {v.get(name, 0)} must be at least 1"
    if i.engine is Engine.GDMA:
        yield from _transfer_problems(i, family)
        return
    if i.mnemonic.endswith(".fix"):
        yield from _precision_problems(i)
    if family not in ("matmul", "vector"):
        yield from _count_problems(v, "res0_", "nchw", "")
    if family in ("conv", "wino", "depthwise", "maxpool"):
        yield from _window_problems(v, family)


def _precision_problems(i: Instruction) -> Iterator[str]:
    """Precisions of fixed-point arithmetic outside which results are not defined."""
    a, b, result = (i.values.get(f"opt_{role}_prec", 0) for role in ("opd0", "opd1", "res0"))
    operation = i.mnemonic.split(".")[1]
    b = a if operation == "copy" else b
    for role, code in (("opd1", b), ("res0", result)):
        if code not in _INT_PRECISIONS:
            yield f"opt_{role}_prec = {code}: int8 (0) or int16 (3) is needed"
            return
    rule = ""
    if operation in ("add", "sub"):
        pass
    elif operation in ("mul", "mac"):
        if a or b:
            rule = "operands must be int8"
        elif operation == "mac" and not result:
            rule = "the result must be int16"
    elif operation == "shift":
        if not (a and b and result):
            rule = "all must be int16"
    elif not a == b == result:
        rule = "all must be equal"
    if rule:
        yield f"precisions {a}, {b} → {result}: {rule}"


def _window_problems(v: dict[str, int], family: str) -> Iterator[str]:
    """Sizes that no real layer has; strides of 0 could make endless work of them."""
    g = v.get
    n, oc, oh, ow = (g(f"res0_{d}", 0) for d in "nchw")
    kh, kw = g("opd1_h", 0), g("opd1_w", 0)
    channels = oc if family in ("depthwise", "maxpool") else g("opd0_c", 0)
    steps = kh * kw * (1 if family in ("depthwise", "maxpool") else channels)
    height = max((oh - 1) * g("res_op_y_str", 0) + 1, 1) + (kh - 1) * (g("opd1_y_ins0", 0) + 1)
    width = max((ow - 1) * g("res_op_x_str", 0) + 1, 1) + (kw - 1) * (g("opd1_x_ins0", 0) + 1)
    for name, count, most in (
        ("products per result", steps, MOST_STEPS),
        ("products", steps * n * oc * oh * (ow + kw * (g("opd1_x_ins0", 0) + 1)), MOST_PRODUCTS),
        ("padded input elements", n * channels * height * width, MOST_PADDED),
        ("input elements", n * channels * g("opd0_h", 0) * g("opd0_w", 0), MOST_PADDED),
    ):
        if count > most:
            yield f"{count} {name} are more than the {most} that one command may have"


def _count_problems(v: dict[str, int], prefix: str, axes: str, suffix: str) -> Iterator[str]:
    count = 1
    for axis in axes:
        count *= v.get(f"{prefix}{axis}{suffix}", 0)
    if count > MOST_ELEMENTS:
        yield f"{count} elements are more than the {MOST_ELEMENTS} that one command may have"


def _sizes(i: Instruction, side: str) -> list[int]:
    return [i.values.get(f"{side}_{d}size", 0) for d in "nchw"]


def _transfer_problems(i: Instruction, family: str) -> Iterator[str]:
    v = i.values
    for side in ("src", "dst"):
        code = v.get(f"{side}_data_format", 0)
        if code > _HIGHEST_FORMAT:
            yield f"{side}_data_format = {code}: formats are 0..{_HIGHEST_FORMAT}"
    if family == "linear":
        return
    yield from _count_problems(v, "dst_", "nchw", "size")
    if family in ("copy", "convert", "transpose_nc", "transpose_cw"):
        source, target = _sizes(i, "src"), _sizes(i, "dst")
        if family == "transpose_nc":
            source = [source[1], source[0], *source[2:]]
        elif family == "transpose_cw":
            source = [source[0], source[3], source[2], source[1]]
        equal = source == target
        if family in ("copy", "convert"):
            equal = _product(source) == _product(target)
        if not equal:
            yield f"source sizes {_sizes(i, 'src')} do not fit destination sizes {target}"
        if family == "transpose_cw" and (source[0], source[2]) != (1, 1):
            yield f"source sizes {_sizes(i, 'src')}: n and h must be 1"
    elif family in ("matrix", "matrix_t"):
        system, local = ("src", "dst") if i.direction == Direction.S2L else ("dst", "src")
        rows, columns = _sizes(i, system)[2:]
        if family == "matrix_t":
            rows, columns = columns, rows
        n, c, _, w = _sizes(i, local)
        if n != rows or not (c - 1) * w < columns <= c * w:
            yield (f"{rows} rows of {columns} do not fit {local} sizes n = {n}, c = {c}, w = {w}")


def _product(sizes: list[int]) -> int:
    n, c, h, w = sizes
    return n * c * h * w


def static_problems(found: Footprint) -> Iterator[str]:
    """Accesses that leave a lane or L2."""
    for verb, region in _all(found):
        if region.space == "local" and not 0 <= region.start <= region.stop <= LANE_BYTES:
            if region.pattern is None and region.lanes == 1:
                address = LOCAL_BASE + region.start
                yield f"{verb} address {address:#x}: it lies in no lane of local memory"
            else:
                yield f"{verb} {region}: a lane holds {LANE_BYTES:#x} bytes"
        elif region.space == "l2" and not 0 <= region.start <= region.stop <= L2_BYTES:
            yield f"{verb} {region}: L2 holds {L2_BYTES:#x} bytes"


def mapping_problems(found: Footprint, memory: Memory) -> Iterator[str]:
    """Accesses to DDR that is not mapped, or not writable."""
    for verb, region in _all(found):
        if region.space != "ddr" or region.stop <= region.start:
            continue
        segment = memory.segment(region.start, region.stop - region.start)
        if segment is None:
            mapped = ", ".join(f"{s.address:#x}..{s.stop - 1:#x}" for s in memory.segments[:4])
            yield f"{verb} {region}: outside every mapped segment ({mapped or 'none'})"
        elif verb == "writes" and not segment.writable:
            yield f"{verb} {region}: this memory is read-only"


def _all(found: Footprint) -> Iterator[tuple[str, Region]]:
    for region in found.reads:
        yield "reads", region
    for region in found.writes:
        yield "writes", region
