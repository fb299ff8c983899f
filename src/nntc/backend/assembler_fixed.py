"""Instructions on 8-bit integers, four samples in a word, and 16-bit integers, two in a word.

A :class:`~nntc.backend.local.Local` counts words: its n is the number of groups of four resp. two
samples. Instructions are told the number of samples.
"""

from __future__ import annotations

from typing import NamedTuple

from nntc.backend.assembler import Assembler, Window, shape_fields, stride_fields
from nntc.backend.local import Local
from nntc.isa import form
from nntc.isa.chip import Prec
from nntc.isa.layout import Strides

_PREC = {8: int(Prec.INT8), 16: int(Prec.INT16)}


class Fixed(NamedTuple):
    """An operand: a tensor or a constant, its bits a sample and its sign."""

    data: Local | int
    bits: int = 8
    signed: bool = True


class Requant(NamedTuple):
    """How sums become results.

    Attributes:
        shift: right shift that rounds half up.
        unsigned: saturate to unsigned numbers whatever the operands are.
        wide: 16-bit results, a group of four samples in two words.
    """

    shift: int
    unsigned: bool
    wide: bool = False


def arithmetic(
    asm: Assembler,
    op: str,
    out: Local,
    a: Fixed,
    b: Fixed,
    samples: int,
    *,
    bits: int = 8,
    shift: int = 0,
    accumulate: bool = False,
) -> None:
    """``out = saturate(R(a op b, shift))``; signed if an operand is.

    Operands of one word along n are the same for all samples.

    Args:
        op: mul, mac (with *accumulate*), add, max or min.
        samples: along n.
        bits: of a result's sample.
    """
    fields = {
        **shape_fields("res0", out.shape),
        **stride_fields("res0", out),
        "res0_n": samples,
        "res0_addr": out.address,
        "opt_res0_prec": _PREC[bits],
        "opt_right_shift": shift,
    }
    reads = [out.extent] if accumulate else []
    for role, operand in (("opd0", a), ("opd1", b)):
        fields[f"opt_{role}_prec"] = _PREC[operand.bits]
        fields[f"opt_{role}_sign"] = int(operand.signed)
        if isinstance(operand.data, Local):
            seen = _seen(operand.data, out)
            fields[f"{role}_addr"] = seen.address
            fields.update(stride_fields(role, seen))
            reads.append(operand.data.extent)
        else:
            fields[f"opt_{role}_const"] = 1
            fields[f"{role}_addr"] = operand.data & 0xFFFFFFFF
    asm.stream.append(form(f"ar.{op}.fix").make(**fields), reads, [out.extent])


def _seen(tensor: Local, out: Local) -> Local:
    """Broadcast to the result's shape, but for n."""
    seen = tensor.broadcast(out.shape._replace(n=tensor.shape.n))
    if tensor.shape.n > 1:
        return seen
    return seen.view(seen.shape, Strides(0, *seen.strides[1:]))


def conv(
    asm: Assembler,
    out: Local,
    x: Local,
    weight: Local,
    bias: Local | None,
    window: Window,
    samples: int,
    signed: tuple[bool, bool],
    requant: Requant,
    rotate: bool = False,
) -> None:
    """Convolution.

    Args:
        out: the result; for wide results twice as many words (n doubled).
        weight: 4IC layout [oc][kh][kw][groups of four input channels], one oc a channel.
        bias: 16 bits for every 64 channels, in each lane.
        signed: of x and of the weights.
    """
    kh, kw = window.kernel
    groups = weight.shape.w // kw
    fields = {
        **_window_fields(out, x, window, samples, signed, requant),
        "opd0_c": x.shape.c,
        "opd1_addr": weight.address,
        "short_opd1_str": 3,
        "opd1_n_str": 1,
        "opd1_w_str": groups,
        "opd1_h_str": kw * groups,
        "opd1_c_str": kh * kw * groups,
        "opt_kernel_rotate": int(rotate),
        **stride_fields("opd0", x),
    }
    _window(asm, "conv.i8", fields, out, x, weight, bias)


def depthwise(
    asm: Assembler,
    out: Local,
    x: Local,
    weight: Local,
    bias: Local | None,
    window: Window,
    samples: int,
    signed: tuple[bool, bool],
    requant: Requant,
) -> None:
    """Depthwise convolution; weights are bytes, kh*kw for every 64 channels, in each lane."""
    fields = _window_fields(out, x, window, samples, signed, requant)
    fields["opd1_addr"] = weight.address
    _window(asm, "depthwise.i8", fields, out, x, weight, bias)


def _window(
    asm: Assembler,
    mnemonic: str,
    fields: dict[str, int],
    out: Local,
    x: Local,
    weight: Local,
    bias: Local | None,
) -> None:
    reads = [x.extent, weight.extent]
    if bias is not None:
        fields.update(tsk_opd_num=3, opd2_addr=bias.address, opt_opd2_sign=1)
        reads.append(bias.extent)
    asm.stream.append(form(mnemonic).make(**fields), reads, [out.extent])


def _window_fields(
    out: Local,
    x: Local,
    window: Window,
    samples: int,
    signed: tuple[bool, bool],
    requant: Requant,
) -> dict[str, int]:
    return {
        **window.fields(),
        **shape_fields("res0", out.shape),
        "res0_n": samples,
        "res0_addr": out.address,
        "opt_res0_prec": _PREC[16 if requant.wide else 8],
        "opd0_h": x.shape.h,
        "opd0_w": x.shape.w,
        "opd0_addr": x.address,
        "opt_opd0_sign": int(signed[0]),
        "opt_opd1_sign": int(signed[1]),
        "opt_right_shift": requant.shift,
        "opt_relu": int(requant.unsigned),
    }


def max_pool(
    asm: Assembler, out: Local, x: Local, window: Window, samples: int, signed: bool
) -> None:
    """Maximum over a window; padding counts as the type's lowest value."""
    fields = {
        **window.fields(),
        **shape_fields("res0", out.shape),
        "res0_n": samples,
        "res0_addr": out.address,
        "opd0_h": x.shape.h,
        "opd0_w": x.shape.w,
        "opd0_addr": x.address,
        "opt_opd0_sign": int(signed),
    }
    asm.stream.append(form("maxpool.i8").make(**fields), [x.extent], [out.extent])
