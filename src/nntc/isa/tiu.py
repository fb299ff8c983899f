"""Every TIU operation, declared once.

Facts were measured on the chip maker's C-model (golden vectors in the tests); a field without
influence is left out of a form's operands on purpose, and written as the maker's compilers write
it, because hardware has seen no other value there.
"""

from __future__ import annotations

from nntc.isa.chip import Engine, Prec
from nntc.isa.forms import Form, FormTable

_ROLES = ("res0", "opd0", "opd1", "opd2")
_F32 = {f"opt_{role}_prec": int(Prec.FP32) for role in _ROLES} | {
    "opt_relu": 1,
    "opt_opd1_sign": 1,
    "opt_opd2_sign": 1,
    "short_opd2_str": 2,
}
_I32 = {**_F32, **{f"opt_{role}_prec": int(Prec.INT32) for role in _ROLES}}
_INT8_RESULT = (int(Prec.INT8), int(Prec.INT16))
_NOT_INT_RESULT = (2, 1, 4, 5, 6, 7)
_WORD_RESULT = (4, 1, 2, 5, 6, 7)
_HEAD = {
    "cmd_en": 1,
    "cmd_id_en": 1,
    "opt_shift_typ": 1,
    "res_op_x_str": 1,
    "res_op_y_str": 1,
    "tsk_lane_num": (1 << 64) - 1,
    **{f"{role}_{d}": 1 for role in ("opd0", "opd1") for d in "nchw"},
    **{f"{role}_{d}_str": 1 for role in _ROLES for d in "nchw"},
}
"""Defaults of every form. Strides of 1 also keep operand 1 of ``ar`` from broadcasting: with code 0
it would honour strides of 0."""

_IDS = frozenset({"cmd_id_tpu", "cmd_id_gdma"})


def _fields(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _dims(role: str, which: str = "nchw") -> frozenset[str]:
    return frozenset(f"{role}_{d}" for d in which)


def _strides(role: str, which: str = "nchw") -> frozenset[str]:
    return frozenset(f"{role}_{d}_str" for d in which) | {f"short_{role}_str"}


_WINDOW = _fields(
    "opd0_up_pad opd0_dn_pad opd0_lf_pad opd0_rt_pad res_op_x_str res_op_y_str opd1_h opd1_w"
)
_INSERT = _fields("opd0_x_ins0 opd0_y_ins0")
_DILATE = _fields("opd1_x_ins0 opd1_y_ins0")
_SIGNS = _fields("opt_opd0_sign opt_opd1_sign opt_opd2_sign")
_REQUANT = _fields("opt_right_shift opt_relu") | _SIGNS
_ADDR3 = _fields("res0_addr opd0_addr opd1_addr opd2_addr tsk_opd_num")
_WINDOW_LIMITS = {
    "res_op_x_str": (1, 15),
    "res_op_y_str": (1, 15),
    "res0_n": (1, 65535),
    "res0_c": (1, 4095),
    "res0_h": (1, 65535),
    "res0_w": (1, 65535),
}
_NO_INSERT = dict.fromkeys(("opd0_x_ins0", "opd0_y_ins0"), (0, 0))
_NO_DILATION = dict.fromkeys(("opd1_x_ins0", "opd1_y_ins0"), (0, 0))
_RESULT_LIMITS = {k: v for k, v in _WINDOW_LIMITS.items() if k.startswith("res0")}


def _tiu(
    mnemonic: str,
    select: dict[str, tuple[int, ...]],
    operands: frozenset[str],
    doc: str,
    defaults: dict[str, int] | None = None,
    limits: dict[str, tuple[int, int]] | None = None,
) -> Form:
    return Form(
        mnemonic,
        Engine.TIU,
        select,
        (operands | _IDS) - set(select),
        {**_HEAD, **(defaults or {})},
        limits if limits is not None else _RESULT_LIMITS,
        doc,
    )


def _convolutions() -> list[Form]:
    geometry = _dims("res0") | _dims("opd0", "chw") | _WINDOW | _INSERT | _ADDR3
    weights = _strides("opd1") | {"opt_opd1_const", "opt_kernel_rotate"} | _DILATE
    int8 = {"tsk_opd_num": 2, "opt_opd2_prec": int(Prec.INT16), "short_opd2_str": 1}
    f32 = {"tsk_opd_num": 2, **_F32}
    wino = {"opd1_h": 4, "opd1_w": 4, "short_opd1_str": 1}
    wino_limits = {
        **_WINDOW_LIMITS,
        **dict.fromkeys(("opd1_h", "opd1_w"), (4, 4)),
        **dict.fromkeys(("res_op_x_str", "res_op_y_str"), (1, 1)),
        **_NO_DILATION,
        "opt_opd1_const": (0, 0),
    }
    return [
        _tiu(
            "conv.f32",
            {"tsk_typ": (0,), "opt_winograd": (0,), "opt_res0_prec": _NOT_INT_RESULT},
            geometry | weights | _strides("opd0") | {"opt_res_add"},
            "Convolution, fp32. Weights 2IC: a 64-bit unit holds two input channels. Four sums: "
            "step t = kernel position * pairs + pair goes to sum [t mod 2][channel mod 2]; result "
            "= (S00+S10) + (S01+S11), then bias, then the previous result (opt_res_add).",
            f32,
            _WINDOW_LIMITS,
        ),
        _tiu(
            "conv.i8",
            {"tsk_typ": (0,), "opt_winograd": (0,), "opt_res0_prec": _INT8_RESULT},
            geometry
            | weights
            | _strides("opd0")
            | _REQUANT
            | {"short_res0_str", "res0_n_str", "short_opd2_str"},
            "Convolution, int8 in 4N layout, weights 4IC, bias int16. Exact integer sum plus bias, "
            "right shift with round half up, saturation to int8 (prec 0) or int16 (prec 3).",
            int8,
            {**_WINDOW_LIMITS, "opt_res_add": (0, 0)},
        ),
        _tiu(
            "wino.f32",
            {"tsk_typ": (0,), "opt_winograd": (1,), "opt_res0_prec": _NOT_INT_RESULT},
            geometry | _strides("opd0") | {"opt_res_add"},
            "Convolution 3x3 stride 1 by Winograd F(2x2,3x3), fp32; memory holds G g G^T (4x4).",
            {**f32, **wino},
            wino_limits,
        ),
        _tiu(
            "wino.i8",
            {"tsk_typ": (0,), "opt_winograd": (1,), "opt_res0_prec": _INT8_RESULT},
            geometry | _strides("opd0") | _strides("opd1") | (_REQUANT - {"opt_opd1_sign"}),
            "Convolution 3x3 stride 1 by Winograd F(2x2,3x3), int8 in and out (prec 3 acts as 0); "
            "transformed weights are signed, strides as conv.i8 (code 3) or compact.",
            {**int8, **wino, "opt_opd1_sign": 1},
            wino_limits,
        ),
    ]


def _pooling() -> list[Form]:
    geometry = _dims("res0") | _dims("opd0", "hw") | _WINDOW | _ADDR3
    f32 = {"tsk_opd_num": 2, **_F32}
    int8 = {"tsk_opd_num": 2, "opt_opd2_prec": int(Prec.INT16), "short_opd2_str": 2}
    maxima = tuple([4] + [k for k in range(32) if k not in (1, 4)])
    return [
        _tiu(
            "depthwise.f32",
            {"tsk_typ": (1,), "tsk_eu_typ": (1,), "opt_res0_prec": _NOT_INT_RESULT},
            geometry | _INSERT | _DILATE | {"opt_opd1_const"},
            "Depthwise convolution, fp32; with opt_opd1_const every weight is the constant in "
            "opd1_addr (average pooling). Even and odd kernel positions are two sums, added at the "
            "end, then bias.",
            f32,
            _WINDOW_LIMITS,
        ),
        _tiu(
            "depthwise.i8",
            {
                "tsk_typ": (1,),
                "tsk_eu_typ": (1,),
                "opt_res0_prec": _INT8_RESULT,
                "opt_opd0_prec": (0,),
            },
            geometry | _INSERT | _DILATE | _REQUANT | {"opt_opd1_const"},
            "Depthwise convolution, int8 (weights 1N bytes, bias int16), or average pooling with a "
            "constant weight (opt_opd1_const; the weight follows from the kernel size). Rounding "
            "and saturation as conv.i8.",
            int8,
            _WINDOW_LIMITS,
        ),
        _tiu(
            "maxpool.f32",
            {"tsk_typ": (1,), "tsk_eu_typ": maxima, "opt_res0_prec": _NOT_INT_RESULT},
            geometry,
            "Maximum over a window, fp32; padding counts as -FLT_MAX; the first of equal values "
            "stays.",
            {**f32, "tsk_opd_num": 1},
            _WINDOW_LIMITS,
        ),
        _tiu(
            "maxpool.i8",
            {
                "tsk_typ": (1,),
                "tsk_eu_typ": maxima,
                "opt_res0_prec": _INT8_RESULT,
                "opt_opd0_prec": (0,),
            },
            geometry | {"opt_opd0_sign", "opt_relu", "opt_right_shift"},
            "Maximum over a window, int8; padding counts as the type's lowest value.",
            {**int8, "tsk_opd_num": 1},
            {**_WINDOW_LIMITS, **_NO_INSERT, **_NO_DILATION, "opt_right_shift": (0, 0)},
        ),
    ]


def _matmul() -> list[Form]:
    shape = _fields("opd0_n opd0_c opd0_w opd1_w res0_c res0_w opt_left_tran opt_opd0_const")
    base = {"tsk_opd_num": 2, "res0_n": 1, "res0_h": 1, "short_opd2_str": 2}
    limits = {"res0_c": (1, 4095), "res0_w": (1, 65535), "opd0_c": (1, 4095)}
    text = (
        "Matrix product R[M,N] = A[M,K]*B[K,N]; a row is cut into pieces of w columns, piece p in "
        "channel p. K = (opd0_c-1)*opd0_w + opd1_w, N = res0_c*res0_w, M = opd0_n."
    )
    return [
        _tiu(
            "matmul.f32",
            {"tsk_typ": (2,), "opt_res0_prec": _NOT_INT_RESULT},
            shape | _ADDR3 | {"opt_res_add"},
            text
            + " Even and odd k are two sums, added at the end, then bias, then the previous R.",
            {**base, **_F32},
            limits,
        ),
        _tiu(
            "matmul.i8",
            {"tsk_typ": (2,), "opt_res0_prec": _INT8_RESULT},
            shape | _ADDR3 | _REQUANT | _fields("opt_res_add opt_res_add_sign opt_left_shift"),
            text + " int8 in 1N layout, bias int16; the previous R is int16 and shifted left.",
            {**base, "opt_opd2_prec": int(Prec.INT16)},
            limits,
        ),
    ]


EU = {
    "mul": 0,
    "mac": 1,
    "add": 2,
    "sub": 3,
    "max": 4,
    "min": 5,
    "shift": 6,
    "and": 7,
    "or": 8,
    "xor": 9,
    "select_gt": 10,
    "select_eq": 11,
    "div": 12,
    "taylor": 13,
    "f32_to_i32": 14,
    "norm_a": 15,
    "norm_b": 16,
    "rsqrt": 17,
    "copy": 19,
    "add_square": 20,
    "sub_square": 21,
    "max_only": 22,
    "select": 23,
    "max_select": 24,
}
"""Codes of tsk_eu_typ."""

_F32_MEANING = {
    "mul": "a*b",
    "mac": "a*b + previous result, two roundings",
    "add": "a+b",
    "sub": "a-b",
    "max": "a>b ? a : b, denormals flushed",
    "min": "a<=b ? a : b",
    "select_gt": "a>b ? opd2 : 0",
    "select_eq": "bitwise a==b ? opd2 : 0",
    "div": "rsqrt(|b|)^2 * (b<0 ? -a : a), not correctly rounded",
    "copy": "32-bit copy",
}
_I32_MEANING = {
    "and": "a & b",
    "or": "a | b",
    "xor": "a ^ b",
    "shift": "by the signed low 6 bits of b: left if positive, else right",
    "copy": "32-bit copy",
}
_FIX_MEANING = {
    "mul": "saturate(round(a*b >> rs))",
    "mac": "saturate(round((a*b + (previous << ls)) >> rs)), 16-bit result",
    "add": "saturate(round((a+b) >> rs))",
    "sub": "saturate(round((a-b) >> rs)), signed",
    "max": "max(a, b)",
    "min": "min(a, b)",
    "and": "a & b",
    "or": "a | b",
    "xor": "a ^ b",
    "shift": "16-bit: by the signed low byte of b",
    "copy": "copy",
}


def _arithmetic() -> list[Form]:
    shifts = _fields(
        "res0_h_shift res0_w_shift opd0_h_shift opd0_w_shift opd1_h_shift opd1_w_shift"
    )

    def reads(name: str) -> frozenset[str]:
        """The result, the operands that the operation reads, and their places."""
        both = _dims("res0") | _strides("res0") | _strides("opd0")
        both |= _fields("res0_addr opd0_addr opt_opd0_const")
        if name != "copy":
            both |= _strides("opd1") | _fields("opd1_addr opt_opd1_const")
        return both | {"opd2_addr"} if name.startswith("select") else both

    forms: list[Form] = []
    for name, meaning in _F32_MEANING.items():
        copy = name == "copy"
        precs = (int(Prec.FP32),) if copy else (int(Prec.FP32), int(Prec.INT32))
        forms.append(
            _tiu(
                f"ar.{name}.f32",
                {
                    "tsk_typ": (3,),
                    "tsk_eu_typ": (EU[name],),
                    "opt_res0_prec": _NOT_INT_RESULT,
                    "opt_opd0_prec": precs,
                },
                reads(name) | shifts,
                f"Element-wise fp32: {meaning}.",
                {**_F32, "tsk_opd_num": 1 if copy else 2, "opt_shift_typ": 0},
            )
        )
    for name, meaning in _I32_MEANING.items():
        forms.append(
            _tiu(
                f"ar.{name}.i32",
                {
                    "tsk_typ": (3,),
                    "tsk_eu_typ": (EU[name],),
                    "opt_res0_prec": _WORD_RESULT,
                    "opt_opd0_prec": (int(Prec.INT32),),
                },
                reads(name) | shifts | {"opt_shift_typ"},
                f"Element-wise int32: {meaning}.",
                {**_I32, "tsk_opd_num": 1 if name == "copy" else 2},
            )
        )
    fix_operands = _fields(
        "opd0_neq1 opd1_neq1 opt_right_shift opt_left_shift opt_opd0_sign opt_opd1_sign "
        "opt_res0_prec opt_opd1_prec opt_shift_typ"
    )
    fix_defaults = {
        "tsk_opd_num": 2,
        "opt_opd2_prec": int(Prec.FP32),
        "opt_opd2_sign": 1,
        "short_opd2_str": 2,
    }
    for name, meaning in _FIX_MEANING.items():
        forms.append(
            _tiu(
                f"ar.{name}.fix",
                {"tsk_typ": (3,), "tsk_eu_typ": (EU[name],), "opt_opd0_prec": _INT8_RESULT},
                reads(name) | fix_operands | shifts,
                f"Element-wise int8 (4N) and int16 (2N): {meaning}.",
                {**fix_defaults, "opt_res_add_sign": 1} if name == "mac" else fix_defaults,
            )
        )
    return forms


def _special() -> list[Form]:
    two = _dims("res0") | _fields("res0_addr opd0_addr opd1_addr opt_opd0_const opt_opd1_const")
    one = _dims("res0") | _fields("res0_addr opd0_addr")
    base = {**_F32, "tsk_opd_num": 2}
    forms: list[Form] = []
    for name in ("mul", "add", "sub", "div"):
        forms.append(
            _tiu(
                f"scalar.{name}",
                {"tsk_typ": (8,), "tsk_eu_typ": (EU[name],)},
                two | {"opt_res_add"},
                f"fp32 {_F32_MEANING[name]} on aligned tensors of one shape; with opt_res_add the "
                "previous result is added.",
                base,
            )
        )
    sfu = {
        "taylor": "y = 0; for k = L-1..0: y = (y + t[k])*x, table t of opd1_n words at the L2 "
        "offset opd1_addr",
        "f32_to_i32": "truncation toward zero, saturating",
        "norm_a": "biased exponent, plus 1 where the significand exceeds 4/3",
        "norm_b": "the power of two of norm_a with the sign of x",
        "rsqrt": "1/sqrt(x) by 0x5f3759df and three Newton steps",
    }
    integers = ("f32_to_i32", "norm_a")
    for name, meaning in sfu.items():
        extra = _fields("opd1_addr opd1_n") if name == "taylor" else frozenset[str]()
        limits = {**_RESULT_LIMITS, "opd1_n": (1, 64)} if name == "taylor" else None
        forms.append(
            _tiu(
                f"sfu.{name}",
                {"tsk_typ": (9,), "tsk_eu_typ": (EU[name],)},
                one | extra,
                f"Special function on an aligned fp32 tensor: {meaning}.",
                {**base, **({"opt_res0_prec": int(Prec.INT32)} if name in integers else {})},
                limits,
            )
        )
    linear = {
        "mac": "a*opd2 + opd1 per channel, plus the previous result with opt_res_add",
        "add_square": "(a + opd1)^2",
        "sub_square": "(a - opd1)^2",
    }
    for name, meaning in linear.items():
        extra = (
            _fields("opd2_addr opt_opd2_const opt_res_add") if name == "mac" else frozenset[str]()
        )
        forms.append(
            _tiu(
                f"linear.{name}",
                {"tsk_typ": (10,), "tsk_eu_typ": (EU[name],)},
                one | _fields("opd1_addr opt_opd1_const") | extra,
                f"Per-channel fp32 on aligned tensors: {meaning}.",
                {**base, "tsk_opd_num": 3},
            )
        )
    compare = {
        "max_only": "res0 = max(A, B)",
        "select": "res1 = A>B ? C : D",
        "max_select": "res0 = A>B ? A : B and res1 = A>B ? C : D",
    }
    for name, meaning in compare.items():
        extra = frozenset[str]()
        if name != "max_only":
            extra = _fields("opd2_addr opd3_addr res1_addr opt_opd2_const opt_opd3_const")
        reads = two - {"res0_addr"} if name == "select" else two
        forms.append(
            _tiu(
                f"compare.{name}",
                {"tsk_typ": (13,), "tsk_eu_typ": (EU[name],)},
                reads | extra,
                f"Compare aligned fp32 tensors: {meaning}.",
                {**base, "tsk_opd_num": 0},
            )
        )
    for suffix, codes, doc in (
        ("i8", (0,), "index: 1N uint8 tensor"),
        ("i32", (2, 1, 3, 4, 5, 6, 7), "index: low 8 bits of 32-bit words"),
    ):
        forms.append(
            _tiu(
                f"lut.{suffix}",
                {"tsk_typ": (6,), "opt_opd0_prec": codes},
                one | {"opd1_addr"},
                f"32-bit words from a table at the L2 offset opd1_addr; {doc}.",
                {**base, "opt_opd0_prec": codes[0], "opd1_h": 8},
            )
        )
    vector = _fields("res0_c res0_w res0_addr opd0_c opd0_w opd1_w opd0_addr opd1_addr")
    for name in ("mul", "add", "sub", "max", "min", "div"):
        forms.append(
            _tiu(
                f"vector.{name}.f32",
                {"tsk_typ": (14,), "tsk_eu_typ": (EU[name],), "opt_opd0_prec": (2,)},
                vector,
                f"Outer operation of two vectors, fp32: res[i][c][0][w] = v0[i] op v1[c][w], "
                f"op: {_F32_MEANING[name]}.",
                base,
            )
        )
    for name in ("and", "or", "xor"):
        forms.append(
            _tiu(
                f"vector.{name}.i32",
                {"tsk_typ": (14,), "tsk_eu_typ": (EU[name],), "opt_opd0_prec": (int(Prec.INT32),)},
                vector,
                f"Outer operation of two vectors, int32: {_I32_MEANING[name]}.",
                {**_I32, "tsk_opd_num": 2},
            )
        )
    return forms


FORMS = FormTable(
    Engine.TIU,
    [*_convolutions(), *_pooling(), *_matmul(), *_arithmetic(), *_special()],
)
