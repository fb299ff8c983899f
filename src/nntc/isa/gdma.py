"""Every GDMA operation, declared once. See :mod:`nntc.isa.tiu` for the conventions."""

from __future__ import annotations

from nntc.isa.chip import Direction, Engine
from nntc.isa.forms import Form, FormTable

_HEAD = {
    "pio_gdma_enable": 1,
    "barrier_enable": 1,
    "prefetch_disable": 1,
    "stride_enable": 1,
    "lrn_shift_num": 1,
    "localmem_mask_l32": 0xFFFFFFFF,
    "localmem_mask_h32": 0xFFFFFFFF,
}
_IDS = frozenset({"cmd_id", "eng0_sync_id"})

COPY, TRANSPOSE_NC, CONVERT, FILL, TRANSPOSE_CW = 0, 1, 3, 4, 5
"""Codes of special_func."""


def _side(side: str) -> frozenset[str]:
    return frozenset(
        [f"{side}_{d}stride" for d in "nchw"]
        + [f"{side}_{d}size" for d in "nchw"]
        + [f"{side}_start_addr_l32", f"{side}_start_addr_h8", f"{side}_hshift", f"{side}_wshift"]
    )


_BOTH = _side("src") | _side("dst")
_MASK = frozenset({"localmem_mask_l32", "localmem_mask_h32"})
_FORMAT = frozenset({"src_data_format", "dst_data_format"})
_SIZES = {f"{s}_{d}size": (1, 65535) for s in ("src", "dst") for d in "nchw"}
_COPY_LIMITS = {**_SIZES, "src_wstride": (0, 4095), "src_wshift": (0, 15)}
"""The C-model stops beyond these; the maker's generators go no further than a w stride of 1."""


def _gdma(
    mnemonic: str,
    select: dict[str, tuple[int, ...]],
    operands: frozenset[str],
    doc: str,
    defaults: dict[str, int] | None = None,
    limits: dict[str, tuple[int, int]] | None = None,
) -> Form:
    return Form(
        mnemonic,
        Engine.GDMA,
        select,
        (operands | _IDS) - set(select),
        {**_HEAD, **(defaults or {})},
        limits or {},
        doc,
    )


def _forms() -> list[Form]:
    forms: list[Form] = []
    plain = {"common_mode": (0,), "sys_mem_type": (0,)}
    kinds = (
        ("copy", COPY, "Tensor copy; elements are matched in linear n,c,h,w order."),
        (
            "transpose_nc",
            TRANSPOSE_NC,
            "dst[c][n][h][w] = src[n][c][h][w]; dst sizes are (C,N,H,W).",
        ),
        ("convert", CONVERT, "Copy with conversion fp32 <-> int8/uint8 and fp32 <-> fp16."),
    )
    for name, code, doc in kinds:
        for direction in Direction:
            operands = _BOTH | _FORMAT | {"stride_enable", "acc_write_enable"}
            if direction in (Direction.S2L, Direction.L2L):
                operands |= _MASK
            limits = _COPY_LIMITS
            if code == CONVERT:
                # Accumulation changes fp32 and fp16 results here too; its law is not measured.
                limits = {**limits, "acc_write_enable": (0, 0)}
            # Code 2 acts as a plain copy only in forms that were not measured: it stays unknown.
            forms.append(
                _gdma(
                    f"{name}.{direction.name.lower()}",
                    {**plain, "special_func": (code,), "direction": (int(direction),)},
                    operands,
                    doc,
                    limits=limits,
                )
            )
    for name, direction in (("system", Direction.S2S), ("local", Direction.L2L)):
        forms.append(
            _gdma(
                f"fill.{name}",
                {**plain, "special_func": (FILL,), "direction": (int(direction),)},
                _side("dst")
                | _MASK
                | {"constant_value", "src_data_format", "stride_enable", "src_start_addr_l32"},
                "Store the low bytes of constant_value; the source address is 0. The element size "
                "is that of src_data_format; generators write dst_data_format alike.",
                limits={
                    **{k: v for k, v in _SIZES.items() if k.startswith("dst")},
                    # The C-model divides by the source sizes then.
                    "chw_copy": (0, 0),
                },
            )
        )
    forms.append(
        _gdma(
            "transpose_cw.l2l",
            {**plain, "special_func": (TRANSPOSE_CW,), "direction": (int(Direction.L2L),)},
            _BOTH | _FORMAT | _MASK | {"stride_enable"},
            "dst[0][w][0][c] = src[0][c][0][w] (n = h = 1); the ranges must not overlap.",
            limits=_COPY_LIMITS,
        )
    )
    for direction in (Direction.S2L, Direction.L2S):
        for name, code in (("matrix", COPY), ("matrix_t", TRANSPOSE_NC)):
            operands = _BOTH | _FORMAT | {"acc_write_enable", "stride_enable"}
            if direction is Direction.S2L:
                operands |= _MASK
            forms.append(
                _gdma(
                    f"{name}.{direction.name.lower()}",
                    {
                        "common_mode": (0,),
                        "sys_mem_type": (1,),
                        "special_func": (code,),
                        "direction": (int(direction),),
                    },
                    operands,
                    "System side: a row-major matrix (hsize rows, wsize columns, hstride). Local "
                    "side: row r at n = r, column j at channel j div w, w = j mod w"
                    + ("; transposed." if code else "."),
                    limits=_SIZES,
                )
            )
    forms.append(
        _gdma(
            "linear.s2s",
            {"common_mode": (1,), "direction": (int(Direction.S2S),)},
            frozenset(
                {"src_nstride", "src_start_addr_l32", "src_start_addr_h8"}
                | {"dst_start_addr_l32", "dst_start_addr_h8"}
            )
            | _FORMAT,
            "One-dimensional copy of src_nstride elements.",
            {"stride_enable": 0},
        )
    )
    return forms


FORMS = FormTable(Engine.GDMA, _forms())
