"""Operators on 8-bit integers; every result must be right to the bit."""

from __future__ import annotations

from dataclasses import dataclass

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Op
from tests.backend.cases import Made, dims, family

Dims = tuple[int, ...]
ANY = {"i8": ":-128:128", "u8": ":0:256", "i16": ":-32768:32768"}
BYTES = ["i8", "u8"]
TO = {"i8": DType.I8, "u8": DType.U8}


def whole(kind: str, *sizes: int) -> str:
    """An operand with values of the type's whole range."""
    return f"{kind}[{dims(*sizes)}]{ANY[kind]}"


@dataclass(frozen=True)
class Form:
    """What sums become: types of x, w and y, shifts, and whether there is a bias."""

    types: str
    shift: int
    narrow: int = 0
    bias: bool = True

    def operands(self, x: Dims, w: Dims, m: int) -> str:
        kinds = self.types.split()
        bias = f" ={whole('i16', m)}" if self.bias else ""
        return f"{whole(kinds[0], *x)} ={whole(kinds[1], *w)}{bias}"

    @property
    def to(self) -> DType:
        return TO[self.types.split()[2]]

    def padding(self, byte: int) -> int:
        """A byte as a number of x's type."""
        return byte if self.types[0] == "u" or byte < 128 else byte - 256


FORMS = [
    Form("i8 i8 i8", 0),
    Form("i8 i8 i8", 11),
    Form("u8 i8 u8", 11),
    Form("u8 i8 i8", 9, bias=False),
    Form("i8 u8 u8", 8, bias=False),
    Form("u8 u8 i8", 12, bias=False),
    Form("u8 u8 i8", 15),
    Form("u8 u8 u8", 13, bias=False),
    Form("i8 i8 i8", 4, 8),
    Form("i8 i8 u8", 1, 4),
    Form("u8 u8 i8", 7, 6),
    Form("u8 u8 u8", 8, 1),
    Form("u8 i8 u8", 5, 12),
    Form("i8 i8 i8", 15, 15),
]
Window = tuple[Dims, Dims, Dims, Dims]
PADDING = [0, 1, 113, 255]
"""Bytes that padding holds."""

WINDOWS: list[Window] = [
    ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
    ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    ((3, 3), (2, 2), (1, 0, 1, 2), (1, 1)),
    ((5, 2), (1, 3), (0, 1, 3, 1), (1, 1)),
    ((2, 3), (2, 1), (1, 2, 1, 2), (2, 3)),
]
"""Kernel, strides, pads, dilations."""


@family(
    0,
    image=[(1, 3, 17, 19), (2, 64, 9, 9), (3, 65, 7, 11), (4, 1, 12, 8), (5, 130, 5, 14)],
    out=[1, 64, 70, 129],
    window=WINDOWS,
    form=FORMS,
    byte=PADDING,
)
def fix_conv(image: Dims, out: int, window: Window, form: Form, byte: int) -> Made:
    kernel, stride, pad, dilation = window
    value = form.padding(byte)
    op = ops.FixConv(stride, pad, dilation, 1, form.shift, form.to, form.narrow, value)
    yield op, form.operands(image, (out, image[1], *kernel), out)


@family(
    0,
    channels=[(6, 2, 2), (64, 64, 64), (100, 100, 100), (70, 140, 70), (128, 64, 2), (256, 256, 4)],
    batch=[1, 2, 4, 7],
    window=WINDOWS,
    form=FORMS[1::2],
    byte=PADDING,
)
def fix_conv_groups(channels: Dims, batch: int, window: Window, form: Form, byte: int) -> Made:
    """Channels are (in, out, groups)."""
    c, m, group = channels
    kernel, stride, pad, dilation = window
    shift, value = max(form.shift - 3, 0), form.padding(byte)
    op = ops.FixConv(stride, pad, dilation, group, shift, form.to, form.narrow, value)
    yield op, form.operands((batch, c, 9, 11), (m, c // group, *kernel), m)


@family(
    0,
    image=[(1, 4, 40, 23), (5, 10, 33, 20)],
    kernel=[(1, 1), (3, 4), (17, 2)],
    stride=[(16, 16), (17, 3), (1, 1)],
    pad=[(0, 0, 0, 0), (16, 1, 0, 17), (2, 2, 2, 2)],
    dilation=[(1, 1), (17, 1), (2, 18)],
    group=[1, 2],
    value=[0, -77],
)
def fix_conv_beyond_fields(
    image: Dims, kernel: Dims, stride: Dims, pad: Dims, dilation: Dims, group: int, value: int
) -> Made:
    """Strides, pads and dilations that their fields cannot hold; pads beyond the kernel."""
    op = ops.FixConv(stride, pad, dilation, group, 9, DType.I8, 0, value)
    yield op, f"{whole('i8', *image)} ={whole('i8', 6, image[1] // group, *kernel)}"


@family(
    0,
    batch=[1, 3, 6],
    length=[1, 31],
    channels=[(5, 7, 1), (66, 66, 66), (8, 6, 2)],
    kernel=[1, 3],
    stride=[1, 2],
    to=BYTES,
    value=[0, 99],
)
def fix_conv_1d(
    batch: int, length: int, channels: Dims, kernel: int, stride: int, to: str, value: int
) -> Made:
    c, m, group = channels
    op = ops.FixConv((stride,), (1, 1), (1,), group, 7, TO[to], 0, value)
    operands = f"{whole('i8', batch, c, length)} ={whole('i8', m, c // group, kernel)}"
    yield op, f"{operands} ={whole('i16', m)}"


@family(0, batch=[1, 4, 5], channels=[4096, 5000, 9001], out=[3, 70], to=BYTES)
def fix_dense(batch: int, channels: int, out: int, to: str) -> Made:
    """More input channels than a field holds."""
    op = ops.FixConv((1, 1), (0, 0, 0, 0), (1, 1), 1, 14, TO[to])
    yield op, f"{whole('u8', batch, channels, 1, 1)} ={whole('i8', out, channels, 1, 1)}"


@family(
    0,
    channels=[(5, 7, 1), (66, 70, 1), (66, 66, 66), (8, 12, 2)],
    batch=[1, 2, 5],
    window=[
        ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
        ((3, 2), (2, 3), (1, 0, 1, 1), (1, 1)),
        ((4, 4), (2, 2), (1, 1, 1, 1), (1, 1)),
        ((4, 4), (17, 1), (0, 0, 0, 0), (1, 1)),
        ((3, 3), (2, 2), (1, 1, 0, 1), (2, 1)),
    ],
    extra=[(0, 0), (1, 0)],
    form=FORMS[2::3],
)
def fix_conv_transpose(channels: Dims, batch: int, window: Window, extra: Dims, form: Form) -> Made:
    c, m, group = channels
    kernel, stride, pad, dilation = window
    shift = max(form.shift - 3, 0)
    op = ops.FixConvTranspose(stride, pad, dilation, group, extra, shift, form.to, form.narrow)
    yield op, form.operands((batch, c, 6, 5), (c, m // group, *kernel), m)


@family(0, batch=[1, 3, 6], length=[1, 12], stride=[1, 2], group=[1, 6], form=FORMS[2::3])
def fix_conv_transpose_1d(batch: int, length: int, stride: int, group: int, form: Form) -> Made:
    op = ops.FixConvTranspose((stride,), (1, 0), (1,), group, (0,), 7, form.to, form.narrow)
    yield op, form.operands((batch, 6, length), (6, 6 // group, 3), 6)


@family(
    0,
    shape=[
        (1, 70, 5, 6),
        (2, 3, 9, 9),
        (4, 64, 2),
        (5, 130, 3, 3),
        (8, 33),
        (6,),
        (),
        (3, 4, 2, 3, 5),
    ],
    types=["i8 i8 i8", "u8 i8 u8", "u8 u8 u8", "i8 u8 i8", "u8 u8 i8", "i8 i8 u8"],
    axis=[None, 0, 1],
    shift=[1, 2, 5, 8, 15, 16],
)
def fix_sum(shape: Dims, types: str, axis: int | None, shift: int) -> Made:
    a, b, y = types.split()
    factors = [] if axis is None else list(shape[axis : axis + 1])
    if axis is not None and not factors:
        return
    op = ops.FixSum(shift, TO[y], axis or 0)
    k = f"={whole('i8', *factors)}" if factors else "=i8[]:-128:128"
    yield op, f"{whole(a, *shape)} {k} {whole(b, *shape)} {k}"


# Signed results; unsigned ones whose offsets 16 bits hold lowered by 128 << shift, and others.
OFFSETS = [("i8", 0), ("i8", 8), ("u8", 0), ("u8", 6), ("u8", 7), ("u8", 9), ("i8", 20), ("u8", 31)]
BATCHES: list[Dims] = [(1, 70, 5, 6), (2, 3, 9, 9), (3, 64, 2), (4, 6, 5), (5, 130, 3, 3), (6,), ()]


def _offset_cases(op: Op, operands: str) -> Made:
    """Offsets of the whole range, and such that not too many results are cut off."""
    yield op, operands
    yield op, operands.replace(ANY["i16"], ":-9000:9000")


def _scales(shape: Dims, axis: int, each: tuple[bool, bool]) -> list[str]:
    """Constant factor and offset: one number, or one for every index of the axis."""
    sizes = [shape[axis : axis + 1] if e else () for e in each]
    return [f"={whole(kind, *s)}" for kind, s in zip(("i8", "i16"), sizes, strict=True)]


@family(
    0,
    shape=BATCHES,
    kinds=["i8 i8", "u8 i8", "i8 u8", "u8 u8"],
    axis=[0, 1, 2],
    each=[(False, False), (False, True), (True, False), (True, True)],
    form=OFFSETS,
)
def fix_sum_offset(
    shape: Dims, kinds: str, axis: int, each: tuple[bool, bool], form: tuple[str, int]
) -> Made:
    """*each*: whether factors and offsets differ along the axis."""
    a, b = kinds.split()
    k, offset = _scales(shape, axis, each)
    op = ops.FixSum(min(form[1] + 1, 31), TO[form[0]], axis)
    yield from _offset_cases(op, f"{whole(a, *shape)} {k} {whole(b, *shape)} {k} {offset}")


@family(
    0,
    shape=BATCHES,
    x=BYTES,
    axis=[0, 1, 2],
    each=[(False, False), (False, True), (True, False), (True, True)],
    form=OFFSETS,
)
def fix_affine(
    shape: Dims, x: str, axis: int, each: tuple[bool, bool], form: tuple[str, int]
) -> Made:
    k, offset = _scales(shape, axis, each)
    op = ops.FixAffine(form[1], TO[form[0]], axis)
    yield from _offset_cases(op, f"{whole(x, *shape)} {k} {offset}")


MUL_SHAPES: list[tuple[Dims, Dims]] = [
    ((1, 70, 5, 6), (1, 70, 5, 6)),
    ((1, 70, 5, 6), (1, 70, 1, 1)),
    ((4, 66, 4, 4), (4, 66, 1, 1)),
    ((4, 6, 4, 4), (1, 6, 4, 1)),
    ((5, 6, 4, 4), (6, 1, 4)),
    ((7, 6, 4), ()),
    ((2, 65), (65,)),
    ((9,), (9,)),
    ((3, 1, 4, 4), (3, 1, 4, 4)),
]


@family(
    0,
    shapes=MUL_SHAPES,
    types=["i8 i8 i8", "u8 i8 i8", "i8 u8 i8", "u8 u8 u8"],
    shift=[0, 1, 7, 8, 14],
    constant=["", "="],
)
def fix_mul(shapes: tuple[Dims, Dims], types: str, shift: int, constant: str) -> Made:
    a, b, y = types.split()
    op = ops.FixMul(shift, TO[y])
    yield op, f"{whole(a, *shapes[0])} {constant}{whole(b, *shapes[1])}"


@family(
    0,
    shapes=MUL_SHAPES,
    zero=[("u8", 0), ("u8", 1), ("u8", 128), ("u8", 129), ("u8", 255), ("i8", -128), ("i8", 127)],
    offset=["", "one", "channel", "sample"],
    form=OFFSETS,
    constant=["", "="],
)
def fix_mul_zero(
    shapes: tuple[Dims, Dims],
    zero: tuple[str, int],
    offset: str,
    form: tuple[str, int],
    constant: str,
) -> Made:
    a, b = shapes
    op = ops.FixMul(form[1], TO[form[0]], zero[1], int(offset == "channel"))
    sizes = a[op.axis : op.axis + 1] if offset in ("channel", "sample") else ()
    added = f" ={whole('i16', *sizes)}" if offset else ""
    if zero[1] or offset:
        yield op, f"{whole(zero[0], *a)} {constant}{whole('i8', *b)}{added}"


@family(
    0,
    shape=[(1, 70, 5, 6), (2, 3, 9), (4, 65), (6, 3, 4, 5), (3,), ()],
    types=["i8 i8", "u8 i8", "i8 u8"],
)
def lut(shape: Dims, types: str) -> Made:
    x, table = types.split()
    yield ops.Lut(), f"{whole(x, *shape)} ={whole(table, 256)}"


@family(
    0,
    shape=[
        (1, 70, 5, 6),
        (2, 3, 9),
        (4, 65),
        (6, 3, 4, 5),
        (3,),
        (),
        (5, 64, 3, 3),
        (3, 2, 3, 4, 5),
        (9, 2, 3, 4, 5),
    ],
    to=[("i8", 0), ("u8", 0), ("i8", -128), ("i8", 127), ("u8", 255), ("u8", 113)],
    axis=[None, 0, 1],
    constant=["", "="],
)
def quantize(shape: Dims, to: tuple[str, int], axis: int | None, constant: str) -> Made:
    if axis is not None and axis >= len(shape):
        return
    factors = "" if axis is None else str(shape[axis])
    op = ops.Quantize(TO[to[0]], axis or 0, to[1])
    yield op, f"f32[{dims(*shape)}]:-3:3 {constant}f32[{factors}]:1:90"


@family(
    0,
    shape=[
        (1, 70, 5, 6),
        (2, 3, 9),
        (4, 65),
        (6, 3, 4, 5),
        (3,),
        (),
        (5, 64, 3, 3),
        (3, 2, 3, 4, 5),
        (9, 2, 3, 4, 5),
    ],
    kind=[("i8", 0), ("u8", 0), ("i8", -128), ("i8", 127), ("u8", 255), ("u8", 113)],
    axis=[None, 0, 1],
    constant=["", "="],
)
def dequantize(shape: Dims, kind: tuple[str, int], axis: int | None, constant: str) -> Made:
    if axis is not None and axis >= len(shape):
        return
    factors = "" if axis is None else str(shape[axis])
    op = ops.Dequantize(axis or 0, kind[1])
    yield op, f"{whole(kind[0], *shape)} {constant}f32[{factors}]:0.1:2"
