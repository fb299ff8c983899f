"""Random commands of every form, and random memory for them.

Everything a command touches lies in the first SPAN bytes of the lanes, at the start of L2's
tables, or in the first DDR_BYTES of DDR, so that memories are quick to fill and to compare.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nntc import isa
from nntc.core.errors import InstructionError
from nntc.isa.chip import DDR_BASE, L2_BASE, LANES, Direction, Fmt, local_address
from nntc.isa.footprint import footprint
from nntc.isa.forms import Instruction
from nntc.isa.regions import may_overlap
from nntc.sim.memory import Memory
from nntc.sim.validate import rule_problems

SPAN = 40 * 1024
DDR_BYTES = 256 * 1024
FLOAT_PRODUCTS = ("conv.f32", "depthwise.f32", "matmul.f32", "wino.f32")
"""Forms whose NaN payloads are not defined: the order of operands inside a sum is free."""

SPECIAL = np.array(
    [
        *(0, 0x80000000, 1, 0x807FFFFF, 0x00800000, 0x80800001, 0x7F7FFFFF, 0xFF800000),
        *(0x7F800000, 0x7FC00000, 0xFFC12345, 0x7F812345, 0x3F800000, 0xBF800000, 0x4B000001, 3),
    ],
    np.uint32,
)


class Random:
    """A seeded source of small numbers and of choices."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def upto(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def few(self, high: int) -> int:
        """0 mostly, else up to *high*."""
        return self.upto(1, high) if self.rng.random() < 0.35 else 0

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def channels(self) -> int:
        return self.upto(1, 9) if self.chance(0.7) else self.upto(50, 140)

    def local(self, align: int = 4) -> int:
        lane = self.upto(0, LANES - 1) if self.chance(0.4) else 0
        return local_address(self.upto(0, SPAN // 2 // align) * align, lane)

    def floats(self, count: int) -> np.ndarray:
        """fp32 values, a few of them special."""
        x = self.rng.standard_normal(count).astype(np.float32)
        if self.chance(0.5):
            x *= np.float32(2) ** self.rng.integers(-40, 40, count).astype(np.float32)
        if self.chance(0.4):
            at = self.rng.random(count) < 0.05
            x.view(np.uint32)[at] = self.rng.choice(SPECIAL, int(at.sum()))
        return x

    def constant(self) -> int:
        if self.chance(0.3):
            return int(self.rng.choice(SPECIAL))
        return int(self.floats(1).view(np.uint32)[0])


def fill(memory: Memory, random: Random, floats: bool) -> None:
    """Random bytes, or random fp32 words, wherever commands may read."""
    ddr = memory.segments[0].data
    if floats:
        memory.local[:, :SPAN].view(np.uint32)[:] = (
            random.floats(LANES * SPAN // 4).view(np.uint32).reshape(LANES, -1)
        )
        ddr.view(np.uint32)[:] = random.floats(ddr.size // 4).view(np.uint32)
    else:
        memory.local[:, :SPAN] = random.rng.integers(0, 256, (LANES, SPAN), np.uint8)
        ddr[:] = random.rng.integers(0, 256, ddr.size, np.uint8)


def _window(
    r: Random, kernel: tuple[int, int] | None = None, insert: bool = True
) -> dict[str, int]:
    while True:
        v = {
            "opd0_h": r.upto(1, 12), "opd0_w": r.upto(1, 14),
            "opd1_h": kernel[0] if kernel else r.upto(1, 4),
            "opd1_w": kernel[1] if kernel else r.upto(1, 4),
            "opd0_up_pad": r.few(3), "opd0_dn_pad": r.few(3),
            "opd0_lf_pad": r.few(3), "opd0_rt_pad": r.few(3),
            "res_op_y_str": 1 + r.few(3), "res_op_x_str": 1 + r.few(3),
        }  # fmt: skip
        if insert:
            v |= {k: r.few(2) for k in ("opd0_y_ins0", "opd0_x_ins0", "opd1_y_ins0", "opd1_x_ins0")}
        height = (v["opd0_h"] - 1) * (v.get("opd0_y_ins0", 0) + 1) + 1
        width = (v["opd0_w"] - 1) * (v.get("opd0_x_ins0", 0) + 1) + 1
        height += v["opd0_up_pad"] + v["opd0_dn_pad"]
        width += v["opd0_lf_pad"] + v["opd0_rt_pad"]
        kh = (v["opd1_h"] - 1) * (v.get("opd1_y_ins0", 0) + 1) + 1
        kw = (v["opd1_w"] - 1) * (v.get("opd1_x_ins0", 0) + 1) + 1
        if height >= kh and width >= kw:
            v["res0_h"] = (height - kh) // v["res_op_y_str"] + 1
            v["res0_w"] = (width - kw) // v["res_op_x_str"] + 1
            return v


def _signs(r: Random) -> dict[str, int]:
    names = ("opt_opd0_sign", "opt_opd1_sign", "opt_opd2_sign", "opt_relu")
    return {n: r.upto(0, 1) for n in names} | {"opt_right_shift": r.upto(0, 16)}


def _user_input(r: Random, v: dict[str, int]) -> None:
    if r.chance(0.3):
        w = r.upto(1, 2)
        h = v["opd0_w"] * w + r.few(5)
        c = v["opd0_h"] * h + r.few(9)
        v |= {"short_opd0_str": 3, "opd0_w_str": w, "opd0_h_str": h, "opd0_c_str": c}
        v["opd0_n_str"] = 3 * c + r.few(9)


def _convolution(r: Random, mnemonic: str) -> dict[str, int]:
    int8, wino = mnemonic.endswith("i8"), mnemonic.startswith("wino")
    v = _window(r, (3, 3) if wino else None)
    if wino:
        v |= dict.fromkeys(("res_op_y_str", "res_op_x_str"), 1) | {"opd1_h": 4, "opd1_w": 4}
        for name in ("opd1_y_ins0", "opd1_x_ins0"):
            del v[name]
        h = (v["opd0_h"] - 1) * (v["opd0_y_ins0"] + 1) + 1 + v["opd0_up_pad"] + v["opd0_dn_pad"]
        w = (v["opd0_w"] - 1) * (v["opd0_x_ins0"] + 1) + 1 + v["opd0_lf_pad"] + v["opd0_rt_pad"]
        v |= {"res0_h": h - 2, "res0_w": w - 2}
    v |= {"res0_n": r.upto(1, 5), "res0_c": r.channels(), "opd0_c": r.channels()}
    if v["res0_c"] * v["opd0_c"] > 2000:
        v["opd0_c"] = r.upto(1, 9)
    v |= {"tsk_opd_num": r.upto(2, 3)}
    _user_input(r, v)
    if not wino:
        group = -(-v["opd0_c"] // (4 if int8 else 2))
        v |= {"opt_kernel_rotate": r.upto(0, 1), "opt_opd1_const": int(r.chance(0.1))}
        if r.chance(0.7):
            kh, kw = v["opd1_h"], v["opd1_w"]
            v |= {"short_opd1_str": 3, "opd1_c_str": kh * kw * group}
            if r.chance(0.6):
                v |= {"opd1_n_str": 1, "opd1_w_str": group, "opd1_h_str": kw * group}
            else:
                v |= {"opd1_n_str": kh * kw, "opd1_w_str": 1, "opd1_h_str": kw}
    if int8:
        v |= _signs(r)
        if wino:
            v["opt_opd1_sign"] = 1
        else:
            v["opt_res0_prec"] = r.upto(0, 1) * 3
    else:
        v["opt_res_add"] = int(r.chance(0.3))
    v |= {"res0_addr": r.local(8), "opd0_addr": r.local(), "opd2_addr": r.local()}
    v["opd1_addr"] = r.constant() if v.get("opt_opd1_const") else r.local(8)
    return v


def _pool(r: Random, mnemonic: str) -> dict[str, int]:
    int8, depthwise = mnemonic.endswith("i8"), mnemonic.startswith("depthwise")
    const = depthwise and r.chance(0.3)
    v = _window(r, insert=depthwise and not (const and int8))
    v |= {"res0_n": r.upto(1, 6), "res0_c": r.channels(), "tsk_opd_num": r.upto(2, 3)}
    v |= {"res0_addr": r.local(8), "opd0_addr": r.local(), "opd2_addr": r.local()}
    if not depthwise:
        v["tsk_opd_num"] = 1
        return v | ({"opt_opd0_sign": r.upto(0, 1), "opt_relu": r.upto(0, 1)} if int8 else {})
    v["opd1_addr"] = r.constant() if const else r.local()
    v["opt_opd1_const"] = int(const)
    if int8:
        v |= _signs(r)
        if const:
            v["tsk_opd_num"] = 2
        else:
            v["opt_res0_prec"] = r.upto(0, 1) * 3
    return v


def _matmul(r: Random, mnemonic: str) -> dict[str, int]:
    width = r.upto(1, 40)
    v = {
        "opd0_n": r.upto(1, 12), "opd0_c": r.upto(1, 5), "opd0_w": width,
        "opd1_w": r.upto(1, width), "res0_c": r.channels(), "res0_w": r.upto(1, 40),
        "opt_left_tran": r.upto(0, 1), "opt_opd0_const": int(r.chance(0.1)),
        "tsk_opd_num": r.upto(2, 3), "opt_res_add": int(r.chance(0.3)),
        "res0_addr": r.local(), "opd1_addr": r.local(), "opd2_addr": r.local(),
    }  # fmt: skip
    v["opd0_addr"] = r.constant() if v["opt_opd0_const"] else r.local()
    if mnemonic.endswith("i8"):
        v |= _signs(r) | {"opt_left_shift": r.upto(0, 8), "opt_res_add_sign": r.upto(0, 1)}
        v["opt_res0_prec"] = r.upto(0, 1) * 3
    return v


def _shape(r: Random) -> dict[str, int]:
    return {
        "res0_n": r.upto(1, 6), "res0_c": r.channels(),
        "res0_h": r.upto(1, 9), "res0_w": r.upto(1, 40) if r.chance(0.3) else r.upto(1, 9),
    }  # fmt: skip


def _strides(r: Random, v: dict[str, int], role: str, broadcast: bool) -> None:
    if r.chance(0.3):
        return

    def zero() -> bool:
        return broadcast and r.chance(0.25)

    w = 0 if zero() else 1 + r.few(2)
    h = 0 if zero() else v["res0_w"] * max(w, 1) + r.few(4)
    c = 0 if zero() else v["res0_h"] * max(h, 1) + r.few(7)
    n = 0 if zero() else 3 * max(c, 1) + r.few(9)
    v |= {f"short_{role}_str": 3, f"{role}_w_str": w, f"{role}_h_str": h}
    v |= {f"{role}_c_str": c, f"{role}_n_str": n}


def _arithmetic(r: Random, mnemonic: str) -> dict[str, int]:
    _, operation, kind = mnemonic.split(".")
    v = _shape(r) | {"res0_addr": r.local(), "opd2_addr": r.constant()}
    for role in ("res0", "opd0", "opd1"):
        _strides(r, v, role, broadcast=role != "res0")
    for role in ("opd0", "opd1"):
        bitwise = kind == "fix" and operation in ("shift", "and", "or", "xor", "copy")
        const = r.chance(0.2) and not (role == "opd0" and (bitwise or operation == "copy"))
        v |= {f"opt_{role}_const": int(const)}
        v[f"{role}_addr"] = r.constant() if const else r.local()
    if kind == "i32":
        v["opt_shift_typ"] = r.upto(0, 1)
    if kind != "fix":
        if r.chance(0.1):
            v |= {f"{role}_{d}_shift": r.few(2) for role in ("res0", "opd0", "opd1") for d in "hw"}
        return v
    v |= {"opt_right_shift": r.upto(0, 15), "opt_left_shift": r.upto(0, 10)}
    v |= {"opt_opd0_sign": r.upto(0, 1), "opt_opd1_sign": r.upto(0, 1)}
    v["opt_shift_typ"] = r.upto(0, 1)
    precisions = [r.upto(0, 1) * 3 for _ in range(3)]
    if operation == "mul":
        precisions = [0, 0, precisions[2]]
    elif operation == "mac":
        precisions = [0, 0, 3]
    elif operation == "shift":
        precisions = [3, 3, 3]
    elif operation not in ("add", "sub"):
        precisions = [precisions[0]] * 3
        v["opt_opd1_sign"] = v["opt_opd0_sign"]
    v |= dict(zip(("opt_opd0_prec", "opt_opd1_prec", "opt_res0_prec"), precisions, strict=True))
    for role in ("opd0", "opd1"):
        if r.chance(0.15) and not v[f"opt_{role}_const"]:
            v |= {f"{role}_neq1": 1, f"short_{role}_str": 3, f"{role}_n_str": 0}
            v |= {f"{role}_{d}_str": v.get(f"{role}_{d}_str", 1) for d in "chw"}
    return v


def _special(r: Random, mnemonic: str) -> dict[str, int]:
    family, _, operation = mnemonic.partition(".")
    v = _shape(r) | {f"{role}_addr": r.local() for role in ("res0", "res1", "opd0", "opd1")}
    v |= {"opd2_addr": r.local(), "opd3_addr": r.local()}
    if family in ("scalar", "linear", "compare"):
        for role in ("opd0", "opd1", "opd2", "opd3"):
            readable = role != "opd0" or family == "scalar"
            if readable and r.chance(0.25):
                v |= {f"opt_{role}_const": 1, f"{role}_addr": r.constant()}
        v["opt_res_add"] = int(r.chance(0.3))
    if operation == "taylor":
        v |= {"opd1_addr": 0x300C00 + 256 * r.upto(0, 2), "opd1_n": r.upto(1, 32)}
    elif family == "lut":
        v["opd1_addr"] = int(r.rng.choice([0x300000, 0x300400, 0x301300]))
    elif family == "vector":
        width = r.upto(1, 8)
        v |= {"opd0_c": r.upto(1, 5), "opd0_w": width, "opd1_w": r.upto(1, width)}
        v["res0_w"] = r.upto(1, 33)
    return v


def _transfer_side(r: Random, v: dict[str, int], side: str, local: bool, size: int) -> None:
    c, h, w = (v[f"{side}_{d}size"] for d in "chw")
    step = 1 if local or r.chance(0.8) else r.upto(2, 3)
    row = w * step + r.few(5)
    channel = h * row + r.few(9)
    v |= {f"{side}_wstride": step, f"{side}_hstride": row, f"{side}_cstride": channel}
    v[f"{side}_nstride"] = (c if not local else 3) * channel + r.few(9)
    if local:
        v[f"{side}_start_addr_l32"] = r.local()
    elif r.chance(0.15):
        v[f"{side}_start_addr_l32"] = L2_BASE + 0x200000 + 4 * r.upto(0, 999)
    else:
        v[f"{side}_start_addr_h8"] = DDR_BASE >> 32
        v[f"{side}_start_addr_l32"] = size * r.upto(0, 9000)


def _transfer(r: Random, mnemonic: str) -> dict[str, int]:
    kind, _, way = mnemonic.partition(".")
    direction = Direction[way.upper()]
    locals_ = {"src": way.startswith("l2"), "dst": way.endswith("l")}
    source = [r.upto(1, 4), r.channels(), r.upto(1, 7), r.upto(1, 12)]
    if kind == "transpose_cw":
        source = [1, r.upto(1, 70), 1, r.upto(1, 70)]
    target = list(source)
    formats = [int(r.rng.choice([Fmt.FP32, Fmt.INT16, Fmt.INT8]))] * 2
    if kind == "transpose_nc":
        target = [source[1], source[0], *source[2:]]
    elif kind == "transpose_cw":
        target = [1, source[3], 1, source[1]]
    elif kind == "convert":
        pairs = [(0, 2), (0, 3), (2, 0), (3, 0), (0, 4), (4, 0)]
        formats = [int(f) for f in r.rng.choice(pairs)]
    elif r.chance(0.2):
        n, c, h, w = source
        target = [[n, c, 1, h * w], [1, n * c, h, w], [n, 1, c * h, w], [w, h, c, n]][r.upto(0, 3)]
    v = {f"src_{d}size": s for d, s in zip("nchw", source, strict=True)}
    v |= {f"dst_{d}size": s for d, s in zip("nchw", target, strict=True)}
    v |= {"src_data_format": formats[0], "dst_data_format": formats[1]}
    for side, code in zip(("src", "dst"), formats, strict=True):
        _transfer_side(r, v, side, locals_[side], Fmt(code).size)
    if direction is not Direction.S2S and kind not in ("transpose_cw", "convert") and r.chance(0.3):
        v["stride_enable"] = 0
    if kind == "copy" and formats[0] == 0 and r.chance(0.1):
        v["acc_write_enable"] = 1
    if locals_["dst"] and kind == "copy" and r.chance(0.1):
        v |= {"localmem_mask_l32": r.upto(0, 2**32 - 1), "localmem_mask_h32": r.upto(0, 2**32 - 1)}
    return v


def _fill(r: Random, mnemonic: str) -> dict[str, int]:
    fmt = int(r.rng.choice([Fmt.FP32, Fmt.INT16, Fmt.INT8]))
    v = {"dst_nsize": r.upto(1, 4), "dst_csize": r.channels(), "dst_hsize": r.upto(1, 7)}
    v |= {"dst_wsize": r.upto(1, 12), "dst_data_format": fmt, "src_data_format": fmt}
    v["constant_value"] = r.constant()
    _transfer_side(r, v, "dst", mnemonic.endswith("local"), Fmt(fmt).size)
    return v


def _matrix(r: Random, mnemonic: str) -> dict[str, int]:
    to_local = mnemonic.endswith("s2l")
    system, local = ("src", "dst") if to_local else ("dst", "src")
    fmt = int(r.rng.choice([Fmt.FP32, Fmt.INT16, Fmt.INT8]))
    size = Fmt(fmt).size
    rows, columns, w = r.upto(1, 40), r.upto(1, 200), r.upto(1, 32)
    n, length = (columns, rows) if mnemonic.startswith("matrix_t") else (rows, columns)
    c = -(-length // w)
    step = -(-w * size // 128) * 128 // size
    return {
        f"{system}_nsize": 1, f"{system}_csize": 1, f"{system}_hsize": rows,
        f"{system}_wsize": columns, f"{system}_hstride": columns + r.few(9),
        f"{system}_wstride": 1, f"{local}_nsize": n, f"{local}_csize": c, f"{local}_hsize": 1,
        f"{local}_wsize": w, f"{local}_wstride": 1, f"{local}_hstride": step,
        f"{local}_cstride": step, f"{local}_nstride": step * 4,
        f"{local}_start_addr_l32": r.local(), f"{system}_start_addr_h8": DDR_BASE >> 32,
        f"{system}_start_addr_l32": size * r.upto(0, 999),
        "src_data_format": fmt, "dst_data_format": fmt,
    }  # fmt: skip


def _linear(r: Random, mnemonic: str) -> dict[str, int]:
    return {
        "src_nstride": r.upto(1, 5000), "src_data_format": int(r.rng.choice([0, 1, 3])),
        "src_start_addr_h8": 1, "src_start_addr_l32": 4 * r.upto(0, 9000),
        "dst_start_addr_h8": 1, "dst_start_addr_l32": 65536 + 4 * r.upto(0, 9000),
    }  # fmt: skip


_MAKERS: dict[str, Callable[[Random, str], dict[str, int]]] = {
    "conv": _convolution, "wino": _convolution, "depthwise": _pool, "maxpool": _pool,
    "matmul": _matmul, "ar": _arithmetic, "scalar": _special, "sfu": _special,
    "linear": _special, "compare": _special, "lut": _special, "vector": _special,
    "copy": _transfer, "transpose_nc": _transfer, "convert": _transfer,
    "transpose_cw": _transfer, "fill": _fill, "matrix": _matrix, "matrix_t": _matrix,
}  # fmt: skip

MNEMONICS = [name for table in isa.TABLES.values() for name in table.by_name]


def inside(instruction: Instruction) -> bool:
    """Whether everything lies where :func:`fill` fills."""
    found = footprint(instruction)
    for region in (*found.reads, *found.writes):
        if region.space == "local" and not 0 <= region.start <= region.stop <= SPAN:
            return False
        if region.space == "ddr" and region.stop > DDR_BASE + DDR_BYTES:
            return False
    return True


def overlaps(instruction: Instruction) -> bool:
    """Whether a result may overlap an operand, other than by accumulating onto it."""
    found = footprint(instruction)
    clash = any(may_overlap(r, w) for r in found.reads for w in found.writes if r != w)
    return clash or (len(found.writes) == 2 and may_overlap(*found.writes))


def make(mnemonic: str, random: Random, in_place: bool = True) -> Instruction:
    """A random command that keeps all rules.

    Args:
        in_place: results may lie on operands, aligned or not.
    """
    form = isa.form(mnemonic)
    maker = _linear if mnemonic == "linear.s2s" else _MAKERS[mnemonic.partition(".")[0]]
    while True:
        values = maker(random, mnemonic)
        if in_place and random.chance(0.15) and "opd0_addr" in values:
            values["res0_addr"] = values["opd0_addr"]
        known = {k: x for k, x in values.items() if k in form.operands or k in form.select}
        ids = {"cmd_id_tpu": 1} if form.engine is isa.Engine.TIU else {"cmd_id": 1}
        try:
            instruction = form.make(**known, **ids)
        except InstructionError:  # A random value outside a form's limits.
            continue
        if any(rule_problems(instruction)) or not inside(instruction):
            continue
        if not in_place and overlaps(instruction):
            continue
        return instruction
