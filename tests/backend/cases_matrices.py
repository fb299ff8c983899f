"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence

from nntc.ir import ops
from tests.backend.case import Dims, Made, f32, family


@family(
    2e-6,
    m=[1, 2, 64, 257],
    k=[1, 3, 32, 100, 1537],
    n=[1, 5, 33, 1025, 2049],
    constant=["=", ""],
    bias=["", "n", "m1", "mn", "1"],
)
def matmul(m: int, k: int, n: int, constant: str, bias: str) -> Made:
    shape = {"n": (n,), "m1": (m, 1), "mn": (m, n), "1": ()}
    last = f" {f32(*shape[bias])}" if bias else ""
    yield ops.MatMul(), f"{f32(m, k)} {constant}{f32(k, n)}{last}"


@family(
    2e-6,
    shapes=[
        ((3, 4, 5), (5, 6)),
        ((4, 5), (3, 5, 6)),
        ((3, 4, 5), (3, 5, 6)),
        ((2, 1, 4, 5), (3, 5, 6)),
        ((2, 3, 4, 5), (1, 1, 5, 6)),
        ((1, 3, 4, 5), (2, 1, 5, 1)),
        ((2, 1, 3, 4, 5), (1, 2, 1, 5, 6)),
        ((2, 1, 1, 5), (2, 3, 5, 6)),
        ((5, 5, 1, 5), (5, 5, 5)),
    ],
    turned=[(False, False), (True, False), (False, True), (True, True)],
    bias=["", "f32[6]", "f32[4x1]", "f32[3x1x1]", "f32[]"],
)
def matmul_batches(shapes: Sequence[Dims], turned: tuple[bool, bool], bias: str) -> Made:
    a, b = ((*s[:-2], s[-1], s[-2]) if t else s for s, t in zip(shapes, turned, strict=True))
    yield ops.MatMul(*turned), f"{f32(*a)} {f32(*b)} {bias}".strip()


@family(
    2e-6,
    shapes=[
        ((5,), (5,)),
        ((5,), (5, 3)),
        ((4, 5), (5,)),
        ((2, 4, 5), (5,)),
        ((5,), (2, 5, 3)),
        ((1,), (1,)),
        ((1,), (1, 1)),
    ],
    constant=["", "="],
)
def matmul_vectors(shapes: Sequence[Dims], constant: str) -> Made:
    yield ops.MatMul(), f"{f32(*shapes[0])} {constant}{f32(*shapes[1])}"


@family(2e-6, False, m=[1, 7], k=[2000, 9999], n=[1, 40, 3000])
def matmul_large(m: int, k: int, n: int) -> Made:
    yield ops.MatMul(), f"{f32(m, k)} ={f32(k, n)}"
