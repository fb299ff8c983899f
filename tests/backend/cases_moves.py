"""Moving, picking and placing elements."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from nntc.ir import ops
from tests.backend.case import Dims, Made, dims, f32, family

MOVED = ["f32", "i32", "bool", "u8", "i64"]


@family(
    0, False, perm=[p for r in (1, 2, 3, 4) for p in itertools.permutations(range(r))], dtype=MOVED
)
def transposes(perm: Dims, dtype: str) -> Made:
    yield ops.Transpose(perm), f"{dtype}[{dims(*(70, 3, 4, 5)[: len(perm)])}]"


MANY_AXES = [
    *list(itertools.permutations(range(5)))[::7],
    (5, 4, 3, 2, 1, 0),
    (0, 5, 1, 4, 2, 3),
    (6, 5, 4, 3, 2, 1, 0),
]


@family(0, False, perm=MANY_AXES, dtype=["f32"])
def transposes_of_many_axes(perm: Dims, dtype: str) -> Made:
    yield ops.Transpose(perm), f"{dtype}[{dims(*(2, 3, 4, 5, 3, 2, 2)[: len(perm)])}]"


@family(
    0,
    axis=[0, 1, 2],
    shapes=[
        ((2, 3, 4), (2, 3, 4)),
        ((2, 3, 4),) * 5,
        ((1, 3, 4), (5, 3, 4)),
        ((2, 1, 4), (2, 6, 4), (2, 70, 4)),
        ((2, 3, 1), (2, 3, 66)),
        ((2, 3, 4),),
    ],
    dtype=MOVED,
    constant=["", "="],
)
def concats(axis: int, shapes: Sequence[Dims], dtype: str, constant: str) -> Made:
    parts = [f"{dtype}[{dims(*s)}]" for s in shapes]
    yield ops.Concat(axis), " ".join([*parts[:-1], constant + parts[-1]])


@family(
    0,
    first=[(0, 6, 1), (2, 5, 1), (0, 6, 2), (5, -1, -1), (4, 0, -2), (1, 6, 4), (3, 3, 1)],
    second=[(0, 70, 1), (1, 69, 3), (69, -1, -1), (65, 2, -7), (64, 70, 1)],
    third=[(0, 4, 1), (1, 3, 1), (3, -1, -2), (0, 4, 3)],
    dtype=MOVED,
)
def slices(first: Dims, second: Dims, third: Dims, dtype: str) -> Made:
    starts, ends, steps = zip(first, second, third, strict=True)
    yield ops.Slice(starts, ends, steps), f"{dtype}[6x70x4]"


@family(
    0,
    mode=["constant", "edge", "reflect", "wrap"],
    pads=[
        (1, 2, 3, 2, 1, 0),
        (0, 0, 3, 0, 0, 3),
        (2, 0, 0, 2, 0, 0),
        (-1, 1, 0, 0, -2, 2),
        (0, 0, 0, 0, 0, 0),
        (0, -3, 0, 0, 0, -1),
    ],
    dtype=MOVED,
    value=[0.0, 1.0, 2.5],
)
def pads(mode: Any, pads: Dims, dtype: str, value: float) -> Made:
    if value and (mode != "constant" or (value == 2.5 and dtype != "f32")):
        return
    yield ops.Pad(pads, mode, value), f"{dtype}[4x6x5]"


@family(
    0,
    shape=[(), (1,), (70,), (3, 1), (1, 4), (3, 4), (2, 1, 4)],
    dtype=MOVED,
    target=[(1,), (70,), (3, 4), (2, 3, 4), (2, 2, 3, 4), (5, 1, 3, 4)],
)
def expands(shape: Dims, dtype: str, target: Dims) -> Made:
    yield ops.Expand(target), f"{dtype}[{dims(*shape)}]"


@family(
    0,
    repeats=[(1, 1, 1), (2, 1, 1), (1, 3, 1), (1, 1, 4), (2, 3, 4)],
    dtype=MOVED,
    shape=[(2, 3, 5), (1, 70, 1)],
)
def tiles(repeats: Dims, dtype: str, shape: Dims) -> Made:
    yield ops.Tile(repeats), f"{dtype}[{dims(*shape)}]"


@family(
    0,
    block=[1, 2, 3],
    mode=["DCR", "CRD", "to depth"],
    dtype=["f32", "u8"],
    shape=[(1, 36, 6, 12), (2, 72, 6, 6)],
)
def depth_and_space(block: int, mode: Any, dtype: str, shape: Dims) -> Made:
    op = ops.SpaceToDepth(block) if mode == "to depth" else ops.DepthToSpace(block, mode)
    yield op, f"{dtype}[{dims(*shape)}]"


@family(
    0,
    shape=[((2, 3, 4), (6, 4)), ((6, 70), (4, 105)), ((1,), ()), ((), (1, 1)), ((5, 1, 4), (5, 4))],
    dtype=MOVED,
)
def reshapes(shape: tuple[Dims, Dims], dtype: str) -> Made:
    yield ops.Reshape(shape[1]), f"{dtype}[{dims(*shape[0])}]"


@family(
    0,
    upper=[True, False],
    k=[-9, -2, 0, 1, 8],
    shape=[(5, 7), (70, 3), (2, 3, 4, 4)],
    dtype=["f32", "i32", "bool"],
)
def trilu(upper: bool, k: int, shape: Dims, dtype: str) -> Made:
    yield ops.Trilu(upper, k), f"{dtype}[{dims(*shape)}]"


GATHERED = [(9,), (9, 70), (4, 5, 6), (2, 3, 4, 5)]


@family(
    1e-6,
    shape=GATHERED,
    axis=range(4),
    indices=[(), (1,), (7,), (2, 3)],
    constant=["", "="],
    dtype=["f32", "i32", "bool"],
)
def gathers(shape: Dims, axis: int, indices: Dims, constant: str, dtype: str) -> Made:
    if axis < len(shape):
        size = shape[axis]
        place = f"{constant}i64[{dims(*indices)}]:{-size}:{size}"
        yield ops.Gather(axis), f"{dtype}[{dims(*shape)}] {place}"


@family(
    1e-6,
    shape=[(9,), (9, 7), (4, 5, 6), (2, 3, 4, 5, 2)],
    axis=range(5),
    count=[1, 3, 40],
    constant=["", "="],
    dtype=["f32", "i32"],
)
def gathers_of_elements(shape: Dims, axis: int, count: int, constant: str, dtype: str) -> Made:
    if axis < len(shape):
        size = shape[axis]
        wanted = [count if a == axis else max(s - 1, 1) for a, s in enumerate(shape)]
        place = f"{constant}i64[{dims(*wanted)}]:{-size}:{size}"
        yield ops.GatherElements(axis), f"{dtype}[{dims(*shape)}] {place}"


@family(
    1e-6,
    batch=[0, 1, 2],
    depth=[1, 2, 3],
    constant=["", "="],
    dtype=["f32", "i32"],
    rest=[(), (3,), (2, 3)],
)
def gathers_nd(batch: int, depth: int, constant: str, dtype: str, rest: Dims) -> Made:
    lead = (4, 4)[:batch]
    place = f"{constant}i64[{dims(*lead, *rest, depth)}]:-4:4"
    yield ops.GatherND(batch), f"{dtype}[4x4x4x4] {place}"


@family(
    1e-6,
    shape=[(9,), (5, 7), (4, 5, 6)],
    axis=range(3),
    count=[1, 3, 30],
    reduction=["none", "add", "mul", "max", "min"],
    constant=["", "="],
)
def scatters_of_elements(shape: Dims, axis: int, count: int, reduction: Any, constant: str) -> Made:
    """Several updates of one place; with none the last one wins."""
    if axis < len(shape) and (count < 30 or reduction not in ("max", "min")):
        size = shape[axis]
        wanted = dims(*(count if a == axis else max(s - 1, 1) for a, s in enumerate(shape)))
        place = f"{constant}i64[{wanted}]:{-size}:{size}"
        yield ops.ScatterElements(axis, reduction), f"{f32(*shape)} {place} f32[{wanted}]"


@family(
    1e-6,
    depth=[1, 2, 3],
    rows=[(), (4,), (2, 3)],
    reduction=["none", "add", "mul"],
    constant=["", "="],
)
def scatters_nd(depth: int, rows: Dims, reduction: Any, constant: str) -> Made:
    place = f"{constant}i64[{dims(*rows, depth)}]:-4:4"
    yield ops.ScatterND(reduction), f"f32[4x4x4] {place} {f32(*rows, *(4, 4, 4)[depth:])}"


@family(
    1e-6,
    axis=[0, 1, 2],
    depth=[1, 5, 70],
    shape=[(), (6,), (3, 4)],
    dtype=["i64", "i32", "f32"],
    constant=["", "="],
)
def one_hots(axis: int, depth: int, shape: Dims, dtype: str, constant: str) -> Made:
    """Some indices lie outside."""
    if dtype != "f32":
        yield ops.OneHot(axis, depth), f"{dtype}[{dims(*shape)}]:-7:9 {constant}f32[2]"


@family(
    1e-6,
    shape=[(9,), (5, 70), (3, 4, 8)],
    axis=range(3),
    k=[1, 2, 5],
    largest=[True, False],
    dtype=["f32", "i32"],
)
def top_k(shape: Dims, axis: int, k: int, largest: bool, dtype: str) -> Made:
    limits = ":-900:900" if dtype == "i32" else ""
    yield ops.TopK(k, axis, largest), f"{dtype}[{dims(*shape)}]{limits}"


@family(0, axes=[(0, 1), (1, 0)], shape=[(5, 5, 3), (4, 5)], dtype=["f32", "i32"])
def reverse_sequences(axes: Dims, shape: Dims, dtype: str) -> Made:
    """Operands: x, lengths within the time axis."""
    batch, time = axes
    yield (
        ops.ReverseSequence(batch, time),
        f"{dtype}[{dims(*shape)}] i64[{shape[batch]}]:0:{shape[time] + 1}",
    )
