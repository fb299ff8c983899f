"""Typed functions that turn tensors into instructions.

Each method emits one operation of the chip on :class:`~nntc.backend.local.Local` tensors or
system memory and records what it touches; nothing here decides where tensors lie or in which
order things happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nntc.backend.local import Local
from nntc.backend.stream import Range, Stream, l2_range
from nntc.isa import Direction, Fmt, Form, form
from nntc.isa.chip import L2_BASE, WORD_BYTES
from nntc.isa.layout import Shape4, aligned_strides

Scalar = float


def f32_bits(value: float) -> int:
    """The 32 bits of *value* as fp32."""
    return int(np.float32(value).view(np.uint32))


class System(NamedTuple):
    """A box in system memory: byte address and strides (n, c, h, w) in elements."""

    address: int
    strides: tuple[int, int, int, int]
    fmt: Fmt = Fmt.FP32


@dataclass(frozen=True)
class Window:
    """Geometry of a convolution or pooling on one tile.

    Pads are (up, down, left, right); ``insert`` counts zeros put between input rows and columns.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    insert: tuple[int, int] = (0, 0)

    def fields(self) -> dict[str, int]:
        up, down, left, right = self.pads
        return {
            "opd1_h": self.kernel[0],
            "opd1_w": self.kernel[1],
            "res_op_y_str": self.stride[0],
            "res_op_x_str": self.stride[1],
            "opd1_y_ins0": self.dilation[0] - 1,
            "opd1_x_ins0": self.dilation[1] - 1,
            "opd0_up_pad": up,
            "opd0_dn_pad": down,
            "opd0_lf_pad": left,
            "opd0_rt_pad": right,
            "opd0_y_ins0": self.insert[0],
            "opd0_x_ins0": self.insert[1],
        }


def _ranges(*tensors: Local | Scalar | None) -> list[Range]:
    return [t.extent for t in tensors if isinstance(t, Local)]


def shape_fields(role: str, shape: Shape4) -> dict[str, int]:
    """A tensor's sizes."""
    return {f"{role}_{d}": size for d, size in zip("nchw", shape, strict=True)}


class Assembler:
    """Emits instructions into a :class:`Stream`."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    # -- GDMA -------------------------------------------------------------------------------

    def _gdma(
        self,
        what: Form,
        shape: Sequence[int],
        source: tuple[int, Sequence[int], Fmt] | None,
        target: tuple[int, Sequence[int], Fmt],
        reads: Sequence[Range] = (),
        writes: Sequence[Range] = (),
        **extra: int,
    ) -> None:
        fields: dict[str, int] = dict(extra)
        for side, end in (("src", source), ("dst", target)):
            if end is None:
                continue
            address, strides, fmt = end
            fields[f"{side}_start_addr_l32"] = address & 0xFFFFFFFF
            fields[f"{side}_start_addr_h8"] = address >> 32
            fields[f"{side}_data_format"] = int(fmt)
            for d, size, stride in zip("nchw", shape, strides, strict=True):
                fields[f"{side}_{d}size"] = size
                # Command generators of the maker accept no other w stride than 1.
                fields[f"{side}_{d}stride"] = 1 if d == "w" and size == 1 else stride
        self.stream.append(what.make(**fields), reads, writes)

    def load(self, target: Local, source: System) -> None:
        """System memory → local memory, element for element of ``target.shape``.

        An integer format on the system side is converted to fp32.
        """
        name = "copy.s2l" if source.fmt is Fmt.FP32 else "convert.s2l"
        self._gdma(
            form(name),
            target.shape,
            (source.address, source.strides, source.fmt),
            (target.address, target.strides, Fmt.FP32),
            writes=[target.extent],
        )

    def store(self, source: Local, target: System) -> None:
        """Local memory → system memory; fp32 is converted when the system side is an integer."""
        name = "copy.l2s" if target.fmt is Fmt.FP32 else "convert.l2s"
        self._gdma(
            form(name),
            source.shape,
            (source.address, source.strides, Fmt.FP32),
            (target.address, target.strides, target.fmt),
            reads=[source.extent],
        )

    def copy_system(self, shape: Sequence[int], target: System, source: System) -> None:
        """System memory → system memory, 32-bit words."""
        self._gdma(
            form("copy.s2s"),
            shape,
            (source.address, source.strides, Fmt.FP32),
            (target.address, target.strides, Fmt.FP32),
        )

    def copy_to_l2(self, offset: int, address: int, rows: int, cols: int) -> None:
        """System memory → L2, *rows* times *cols* words without gaps."""
        shape, strides = (1, 1, rows, cols), (rows * cols, rows * cols, cols, 1)
        self._gdma(
            form("copy.s2s"),
            shape,
            (address, strides, Fmt.FP32),
            (L2_BASE + offset, strides, Fmt.FP32),
            writes=[l2_range(offset, rows * cols * WORD_BYTES)],
        )

    def fill_system(self, shape: Sequence[int], target: System, bits: int) -> None:
        """Fill a box of 32-bit words in system memory."""
        self._gdma(
            form("fill.system"),
            shape,
            None,
            (target.address, target.strides, Fmt.FP32),
            constant_value=bits,
        )

    def load_matrix(self, target: Local, address: int, rows: int, cols: int, pitch: int) -> None:
        """A row-major matrix of words → the matmul layout of *target* (n rows, c pieces of w).

        The unused tail of the last piece keeps its content.
        """
        self._matrix(Direction.S2L, target, address, rows, cols, pitch)

    def store_matrix(self, source: Local, address: int, rows: int, cols: int, pitch: int) -> None:
        """The matmul layout → a row-major matrix of words; extra columns are not stored."""
        self._matrix(Direction.L2S, source, address, rows, cols, pitch)

    def _matrix(
        self, direction: Direction, local: Local, address: int, rows: int, cols: int, pitch: int
    ) -> None:
        system, side = ("src", "dst") if direction is Direction.S2L else ("dst", "src")
        pieces = -(-cols // local.shape.w)
        strides = aligned_strides(Shape4(rows, local.shape.c, 1, local.shape.w))
        fields = {
            f"{system}_start_addr_l32": address & 0xFFFFFFFF,
            f"{system}_start_addr_h8": address >> 32,
            f"{system}_nsize": 1,
            f"{system}_csize": 1,
            f"{system}_hsize": rows,
            f"{system}_wsize": cols,
            f"{system}_nstride": rows * pitch,
            f"{system}_cstride": rows * pitch,
            f"{system}_hstride": pitch,
            f"{system}_wstride": 1,
            f"{side}_start_addr_l32": local.address,
            f"{side}_nsize": rows,
            f"{side}_csize": pieces,
            f"{side}_hsize": 1,
            f"{side}_wsize": local.shape.w,
            f"{side}_nstride": strides.n,
            f"{side}_cstride": strides.c,
            f"{side}_hstride": strides.c,
            f"{side}_wstride": 1,
        }
        extent = [local.extent]
        load = direction is Direction.S2L
        self.stream.append(
            form("matrix.s2l" if load else "matrix.l2s").make(**fields),
            [] if load else extent,
            extent if load else [],
        )

    # -- element-wise -----------------------------------------------------------------------

    def _arithmetic(
        self,
        mnemonic: str,
        out: Local,
        a: Local | Scalar | int,
        b: Local | Scalar | int | None = None,
        accumulate: bool = False,
        integer: bool = False,
        **extra: int,
    ) -> None:
        """``ar``: any strides, operands broadcast by stride 0, constants on either side."""
        what = form(mnemonic)
        fields = {**shape_fields("res0", out.shape), "res0_addr": out.address, **extra}
        fields.update(stride_fields("res0", out))
        reads: list[Range] = []
        for role, operand in (("opd0", a), ("opd1", b)):
            if operand is None:
                continue
            if isinstance(operand, Local):
                seen = operand.broadcast(out.shape)
                fields[f"{role}_addr"] = seen.address
                fields.update(stride_fields(role, seen))
                reads.append(seen.extent)
            else:
                fields[f"opt_{role}_const"] = 1
                fields[f"{role}_addr"] = int(operand) & 0xFFFFFFFF if integer else f32_bits(operand)
        if accumulate:
            reads.append(out.extent)
        self.stream.append(what.make(**fields), reads, [out.extent])

    def _aligned(
        self,
        mnemonic: str,
        out: Local,
        reads: dict[str, Local | Scalar],
        accumulate: bool = False,
        **extra: int,
    ) -> None:
        """Forms that know only the aligned layout of the result's shape."""
        fields = {**shape_fields("res0", out.shape), "res0_addr": out.address, **extra}
        for role, operand in reads.items():
            if isinstance(operand, Local):
                fields[f"{role}_addr"] = operand.address
            else:
                fields[f"opt_{role}_const"] = 1
                fields[f"{role}_addr"] = f32_bits(operand)
        touched = _ranges(*reads.values()) + ([out.extent] if accumulate else [])
        self.stream.append(form(mnemonic).make(**fields), touched, [out.extent])

    def binary(self, op: str, out: Local, a: Local | Scalar, b: Local | Scalar) -> None:
        """fp32 ``out = a op b``; op: add sub mul div max min.

        The forms for aligned tensors of one shape are up to twice as fast and are chosen where
        they fit.
        """
        fits = all(not isinstance(t, Local) or _same(t, out) for t in (out, a, b))
        if fits and op in ("add", "sub", "mul", "div"):
            self._aligned(f"scalar.{op}", out, {"opd0": a, "opd1": b})
        elif fits and op == "max" and isinstance(a, Local):
            self._aligned("compare.max_only", out, {"opd0": a, "opd1": b})
        else:
            self._arithmetic(f"ar.{op}.f32", out, a, b)

    def multiply_add(self, out: Local, a: Local | Scalar, b: Local | Scalar) -> None:
        """fp32 ``out += a*b``, product rounded first."""
        if all(not isinstance(t, Local) or _same(t, out) for t in (out, a, b)):
            self._aligned("scalar.mul", out, {"opd0": a, "opd1": b}, True, opt_res_add=1)
        else:
            self._arithmetic("ar.mac.f32", out, a, b, accumulate=True)

    def select_greater(
        self, out: Local, a: Local | Scalar, b: Local | Scalar, value: float
    ) -> None:
        """``out = a > b ? value : 0`` with a constant value."""
        self._arithmetic("ar.select_gt.f32", out, a, b, opd2_addr=f32_bits(value), opt_opd2_const=1)

    def select_equal(self, out: Local, a: Local | Scalar, b: Local | Scalar, value: float) -> None:
        """``out = bits(a) == bits(b) ? value : 0`` with a constant value."""
        self._arithmetic("ar.select_eq.f32", out, a, b, opd2_addr=f32_bits(value), opt_opd2_const=1)

    def where_greater(
        self,
        out: Local,
        a: Local,
        b: Local | Scalar,
        c: Local | Scalar,
        d: Local | Scalar,
    ) -> None:
        """``out = a > b ? c : d``; every tensor aligned and of one shape."""
        # A select writes only result 1; the place of result 0 is what cycle counters look at.
        at = {"res0_addr": out.address, "res1_addr": out.address}
        fields = {**shape_fields("res0", out.shape), **at}
        reads: list[Range] = []
        for role, operand in zip(("opd0", "opd1", "opd2", "opd3"), (a, b, c, d), strict=True):
            if isinstance(operand, Local):
                fields[f"{role}_addr"] = operand.address
                reads.append(operand.extent)
            else:
                fields[f"opt_{role}_const"] = 1
                fields[f"{role}_addr"] = f32_bits(operand)
        self.stream.append(form("compare.select").make(**fields), reads, [out.extent])

    def integer(self, op: str, out: Local, a: Local | int, b: Local | int) -> None:
        """int32 bits: and or xor shift (positive: left; logical to the right)."""
        self._arithmetic(f"ar.{op}.i32", out, a, b, integer=True, opt_shift_typ=0)

    def shift_arithmetic(self, out: Local, a: Local | int, amount: Local | int) -> None:
        """int32 shift that keeps the sign to the right."""
        self._arithmetic("ar.shift.i32", out, a, amount, integer=True, opt_shift_typ=1)

    def copy(self, out: Local, source: Local) -> None:
        """32-bit copy with any strides."""
        self._arithmetic("ar.copy.f32", out, source)

    def fill(self, out: Local, bits: int) -> None:
        """Fill with a 32-bit word."""
        self._arithmetic("ar.or.i32", out, 0, bits, integer=True)

    # -- special functions ------------------------------------------------------------------

    def to_int(self, out: Local, x: Local) -> None:
        """fp32 → int32 by truncation, saturating."""
        self._aligned("sfu.f32_to_i32", out, {"opd0": x})

    def rsqrt(self, out: Local, x: Local) -> None:
        """1/sqrt(x)."""
        self._aligned("sfu.rsqrt", out, {"opd0": x})

    def exponent(self, out: Local, x: Local) -> None:
        """The biased exponent as int32 (see the form sfu.norm_a)."""
        self._aligned("sfu.norm_a", out, {"opd0": x})

    def power_of_two(self, out: Local, x: Local) -> None:
        """The power of two near x (see the form sfu.norm_b)."""
        self._aligned("sfu.norm_b", out, {"opd0": x})

    def taylor(self, out: Local, x: Local, table: int, length: int) -> None:
        """Polynomial without constant term from a table in L2."""
        self._aligned("sfu.taylor", out, {"opd0": x}, opd1_addr=table, opd1_n=length)

    def lookup(self, out: Local, index: Local, table: int) -> None:
        """Table of 256 words in L2 indexed by the low 8 bits of *index*."""
        fields = {**shape_fields("res0", out.shape), "res0_addr": out.address}
        fields.update(opd0_addr=index.address, opd1_addr=table)
        reads = [index.extent, l2_range(table, 256 * WORD_BYTES)]
        self.stream.append(form("lut.i32").make(**fields), reads, [out.extent])

    # -- windows and matrices ---------------------------------------------------------------

    def conv(
        self,
        out: Local,
        x: Local,
        weight: Local,
        bias: Local | None,
        window: Window,
        groups2: int,
        rotate: bool = False,
        accumulate: bool = False,
    ) -> None:
        """fp32 convolution of one tile.

        Args:
            weight: 2IC layout [oc][kh][kw][pairs][2], 8-byte aligned, one oc a channel.
            groups2: pairs of input channels, ceil(ic/2).
        """
        kh, kw = window.kernel
        fields = {
            **window.fields(),
            **shape_fields("res0", out.shape),
            "opd0_c": x.shape.c,
            "opd0_h": x.shape.h,
            "opd0_w": x.shape.w,
            "res0_addr": out.address,
            "opd0_addr": x.address,
            "opd1_addr": weight.address,
            "short_opd1_str": 3,
            "opd1_n_str": 1,
            "opd1_w_str": groups2,
            "opd1_h_str": kw * groups2,
            "opd1_c_str": kh * kw * groups2,
            "opt_kernel_rotate": int(rotate),
            "opt_res_add": int(accumulate),
        }
        fields.update(stride_fields("opd0", x))
        if bias is not None:
            fields.update(tsk_opd_num=3, opd2_addr=bias.address)
        reads = _ranges(x, weight, bias) + ([out.extent] if accumulate else [])
        self.stream.append(form("conv.f32").make(**fields), reads, [out.extent])

    def depthwise(
        self, out: Local, x: Local, weight: Local | Scalar, bias: Local | None, window: Window
    ) -> None:
        """fp32 depthwise convolution; a constant weight makes it a window sum."""
        fields = {
            **window.fields(),
            **shape_fields("res0", out.shape),
            "opd0_h": x.shape.h,
            "opd0_w": x.shape.w,
            "res0_addr": out.address,
            "opd0_addr": x.address,
        }
        if isinstance(weight, Local):
            fields["opd1_addr"] = weight.address
        else:
            fields.update(opt_opd1_const=1, opd1_addr=f32_bits(weight))
        if bias is not None:
            fields.update(tsk_opd_num=3, opd2_addr=bias.address)
        self.stream.append(
            form("depthwise.f32").make(**fields), _ranges(x, weight, bias), [out.extent]
        )

    def max_pool(self, out: Local, x: Local, window: Window) -> None:
        """fp32 maximum over a window; padding counts as -FLT_MAX."""
        fields = {
            **window.fields(),
            **shape_fields("res0", out.shape),
            "opd0_h": x.shape.h,
            "opd0_w": x.shape.w,
            "res0_addr": out.address,
            "opd0_addr": x.address,
        }
        self.stream.append(form("maxpool.f32").make(**fields), _ranges(x), [out.extent])

    def matmul(
        self,
        out: Local,
        a: Local,
        b: Local,
        bias: Local | None,
        inner: int,
        transposed: bool = False,
        accumulate: bool = False,
    ) -> None:
        """fp32 ``out[M,N] = a[M,K] b[K,N]``, all in the matmul layout (n rows, c pieces of w).

        Args:
            inner: K (not transposed) resp. M (transposed): the columns of *a* as stored.
            transposed: *a* is stored as [K, M].
        """
        fields = {
            "opd0_n": a.shape.n,
            "opd0_c": -(-inner // a.shape.w),
            "opd0_w": a.shape.w,
            "opd1_w": (inner - 1) % a.shape.w + 1,
            "res0_c": out.shape.c,
            "res0_w": out.shape.w,
            "res0_addr": out.address,
            "opd0_addr": a.address,
            "opd1_addr": b.address,
            "opt_left_tran": int(transposed),
            "opt_res_add": int(accumulate),
        }
        if bias is not None:
            fields.update(tsk_opd_num=3, opd2_addr=bias.address)
        reads = _ranges(a, b, bias) + ([out.extent] if accumulate else [])
        self.stream.append(form("matmul.f32").make(**fields), reads, [out.extent])


def stride_fields(role: str, tensor: Local) -> dict[str, int]:
    """A tensor's strides, in words."""
    explicit = {f"{role}_{d}_str": s for d, s in zip("nchw", tensor.strides, strict=True)}
    return {f"short_{role}_str": 3, **explicit}


def _same(tensor: Local, out: Local) -> bool:
    """Both in the aligned layout of one shape."""
    return tensor.shape == out.shape and tensor.aligned
