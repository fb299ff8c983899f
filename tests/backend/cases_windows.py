"""Convolutions and pooling."""

from __future__ import annotations

from typing import Any

from nntc.ir import ops
from nntc.ir.graph import Op
from tests.backend.case import Dims, Made, dims, f32, family

CONV_TOLERANCE = 2e-6


@family(
    CONV_TOLERANCE,
    image=[(1, 3, 17, 19), (2, 64, 9, 9), (1, 65, 7, 11), (3, 1, 12, 8), (1, 130, 5, 14)],
    out=[1, 5, 64, 70, 129],
    kernel=[(1, 1), (3, 3), (2, 5), (7, 1)],
    stride=[(1, 1), (2, 2), (3, 1)],
    pad=[(0, 0, 0, 0), (1, 1, 1, 1), (0, 2, 3, 1)],
    dilation=[(1, 1), (2, 2), (1, 3)],
    bias=[True, False],
)
def conv(
    image: Dims, out: int, kernel: Dims, stride: Dims, pad: Dims, dilation: Dims, bias: bool
) -> Made:
    weight = dims(out, image[1], *kernel)
    yield (
        ops.Conv(stride, pad, dilation),
        f"{f32(*image)} =f32[{weight}]" + (f" =f32[{out}]" if bias else ""),
    )


@family(
    CONV_TOLERANCE,
    channels=[
        (6, 2, 2),
        (64, 64, 64),
        (100, 100, 100),
        (70, 140, 70),
        (128, 64, 2),
        (12, 9, 3),
        (256, 256, 4),
        (192, 96, 32),
    ],
    size=[(9, 11), (16, 5)],
    kernel=[(3, 3), (1, 1), (5, 2)],
    stride=[(1, 1), (2, 2)],
    pad=[(0, 0, 0, 0), (1, 0, 1, 2)],
    dilation=[(1, 1), (2, 3)],
    constant=["=", ""],
)
def conv_groups(
    channels: Dims, size: Dims, kernel: Dims, stride: Dims, pad: Dims, dilation: Dims, constant: str
) -> Made:
    """Channels are (in, out, groups)."""
    c, m, group = channels
    weight = dims(m, c // group, *kernel)
    operands = f"{f32(2, c, *size)} {constant}f32[{weight}] {constant}f32[{m}]"
    yield ops.Conv(stride, pad, dilation, group), operands


@family(
    CONV_TOLERANCE,
    image=[(1, 4, 40, 23), (2, 66, 33, 20)],
    kernel=[(1, 1), (3, 4), (17, 2)],
    stride=[(16, 16), (17, 3), (1, 1), (31, 20)],
    pad=[(0, 0, 0, 0), (16, 1, 0, 17), (40, 3, 2, 50), (2, 2, 2, 2)],
    dilation=[(1, 1), (17, 1), (2, 18)],
    out=[3, 65],
    group=[1, 2],
)
def conv_beyond_fields(
    image: Dims, kernel: Dims, stride: Dims, pad: Dims, dilation: Dims, out: int, group: int
) -> Made:
    """Strides, pads and dilations that their fields cannot hold; pads beyond the kernel."""
    weight = dims(out - out % group, image[1] // group, *kernel)
    yield ops.Conv(stride, pad, dilation, group), f"{f32(*image)} =f32[{weight}]"


@family(
    CONV_TOLERANCE,
    image=[(1, 5, 60), (2, 70, 33)],
    kernel=[1, 3, 8],
    stride=[1, 2, 16],
    pad=[(0, 0), (1, 2), (20, 0)],
    dilation=[1, 2],
    constant=["=", ""],
)
def conv_1d(image: Dims, kernel: int, stride: int, pad: Dims, dilation: int, constant: str) -> Made:
    weight = dims(6, image[1], kernel)
    yield ops.Conv((stride,), pad, (dilation,)), f"{f32(*image)} {constant}f32[{weight}] =f32[6]"


@family(
    CONV_TOLERANCE,
    image=[(1, 3, 5, 9, 8), (2, 6, 4, 5, 6)],
    kernel=[(1, 1, 1), (3, 3, 3), (2, 3, 1)],
    stride=[(1, 1, 1), (2, 2, 1)],
    pad=[(0, 0, 0, 0, 0, 0), (1, 1, 1, 1, 1, 1), (2, 0, 1, 0, 1, 0)],
    dilation=[(1, 1, 1), (2, 1, 2)],
    group=[1, 3],
    constant=["=", ""],
)
def conv_3d(
    image: Dims, kernel: Dims, stride: Dims, pad: Dims, dilation: Dims, group: int, constant: str
) -> Made:
    weight = dims(6, image[1] // group, *kernel)
    yield (
        ops.Conv(stride, pad, dilation, group),
        f"{f32(*image)} {constant}f32[{weight}] {constant}f32[6]",
    )


@family(
    CONV_TOLERANCE,
    image=[(1, 6, 7, 9), (2, 64, 5, 4), (1, 66, 3, 8)],
    out=[1, 4, 67],
    kernel=[(1, 1), (2, 2), (3, 3), (4, 5)],
    stride=[(1, 1), (2, 2), (4, 3), (1, 17)],
    pad=[(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 2, 0)],
    dilation=[(1, 1), (2, 1)],
    more=[(0, 0), (1, 1), (0, 2)],
    group=[1, 2],
    constant=["=", ""],
)
def conv_transpose(
    image: Dims,
    out: int,
    kernel: Dims,
    stride: Dims,
    pad: Dims,
    dilation: Dims,
    more: Dims,
    group: int,
    constant: str,
) -> Made:
    weight = dims(image[1], out, *kernel)
    yield (
        ops.ConvTranspose(stride, pad, dilation, group, more),
        f"{f32(*image)} {constant}f32[{weight}] {constant}f32[{out * group}]",
    )


@family(
    CONV_TOLERANCE,
    channels=[3, 64, 80],
    size=[(6, 5), (1, 9)],
    kernel=[(2, 2), (3, 3), (4, 1)],
    stride=[(1, 1), (2, 2), (3, 2)],
    pad=[(0, 0, 0, 0), (1, 0, 1, 0)],
    more=[(0, 0), (1, 0)],
    constant=["=", ""],
)
def conv_transpose_depthwise(
    channels: int, size: Dims, kernel: Dims, stride: Dims, pad: Dims, more: Dims, constant: str
) -> Made:
    yield (
        ops.ConvTranspose(stride, pad, (1, 1), channels, more),
        f"{f32(2, channels, *size)} {constant}f32[{dims(channels, 1, *kernel)}]",
    )


@family(CONV_TOLERANCE, stride=[1, 2, 18], pad=[0, 1], more=[0, 1], rank=[1, 3], group=[1, 2])
def conv_transpose_other_ranks(stride: int, pad: int, more: int, rank: int, group: int) -> Made:
    op = ops.ConvTranspose(
        (stride,) * rank, (pad,) * 2 * rank, (1,) * rank, group, (more,) + (0,) * (rank - 1)
    )
    size = (5, 4, 6)[:rank]
    yield op, f"{f32(1, 4, *size)} =f32[{dims(4, 3, *(3,) * rank)}] =f32[{3 * group}]"


@family(
    1e-6,
    kind=["max", "average", "average with pads", "lp1", "lp2", "lp3"],
    image=[(1, 3, 14, 17), (2, 70, 9, 8)],
    kernel=[(2, 2), (3, 3), (1, 4), (5, 3)],
    stride=[(1, 1), (2, 2), (3, 1), (16, 2)],
    pad=[(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 0)],
    dilation=[(1, 1), (2, 1)],
    ceil=[False, True],
)
def pools(
    kind: str, image: Dims, kernel: Dims, stride: Dims, pad: Dims, dilation: Dims, ceil: bool
) -> Made:
    yield _pool(kind, kernel, stride, pad, dilation, ceil), f32(*image)


@family(
    1e-6,
    kind=["max", "average", "average with pads", "lp2"],
    stride=[1, 2, 17],
    pad=[0, 1],
    kernel=[2, 3],
    ceil=[False, True],
    rank=[1, 3],
    dilation=[1, 2],
)
def pools_of_other_ranks(
    kind: str, stride: int, pad: int, kernel: int, ceil: bool, rank: int, dilation: int
) -> Made:
    op = _pool(
        kind, (kernel,) * rank, (stride,) * rank, (pad,) * 2 * rank, (dilation,) * rank, ceil
    )
    yield op, f32(2, 5, *(40, 6, 9)[-rank:])


@family(
    1e-6,
    kind=["max", "average", "average with pads"],
    kernel=[(20, 33), (31, 1), (40, 40)],
    pad=[0, 10, 19],
    stride=[(1, 1), (7, 20)],
)
def pools_with_large_windows(kind: str, kernel: Dims, pad: int, stride: Dims) -> Made:
    yield _pool(kind, kernel, stride, (pad, 0, pad, 0), (1, 1), False), f32(1, 3, 40, 44)


def _pool(kind: str, kernel: Any, stride: Any, pad: Any, dilation: Any, ceil: bool) -> Op:
    if kind == "max":
        return ops.MaxPool(kernel, stride, pad, dilation, ceil)
    if kind.startswith("lp"):
        return ops.LpPool(int(kind[2:]), kernel, stride, pad, dilation, ceil)
    return ops.AveragePool(kernel, stride, pad, dilation, ceil, kind == "average with pads")
