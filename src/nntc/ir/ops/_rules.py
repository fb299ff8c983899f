"""Checks that shape rules share. Each refuses with a ModelError; the caller's node is added later
by :func:`nntc.ir.graph.infer_types`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.ir.graph import TensorType

FLOAT = tuple(d for d in DType if d.is_float)
INTEGER = tuple(d for d in DType if d.is_integer)
SIGNED = (*FLOAT, DType.I8, DType.I16, DType.I32, DType.I64)
NUMBER = (*FLOAT, *INTEGER)
BOOL = (DType.BOOL,)
ANY = tuple(DType)
INDEX = (DType.I32, DType.I64)


def require(condition: bool, message: str) -> None:
    """Refuse unless *condition* holds.

    Raises:
        ModelError: with *message*.
    """
    if not condition:
        raise ModelError(message)


def need(what: str, kind: TensorType, dtypes: Iterable[DType], rank: int | None = None) -> None:
    """Operand *what* has one of *dtypes* and, if given, the *rank*."""
    allowed = tuple(dtypes)
    if kind.dtype not in allowed:
        names = ", ".join(map(str, allowed))
        raise ModelError(f"{what} is {kind.dtype}, allowed are {names}")
    if rank is not None and len(kind.shape) != rank:
        raise ModelError(f"{what} has rank {len(kind.shape)}, rank {rank} is needed")


def need_rank(what: str, kind: TensorType, low: int, high: int | None = None) -> int:
    """The rank of operand *what*, which must lie in *low* ... *high*."""
    rank = len(kind.shape)
    if high is None:
        require(rank >= low, f"{what} has rank {rank}, at least {low} is needed")
    else:
        require(low <= rank <= high, f"{what} has rank {rank}, {low} to {high} is needed")
    return rank


def need_shape(what: str, kind: TensorType, shape: Sequence[int], dtype: DType) -> None:
    """Operand *what* is exactly *dtype* and *shape*."""
    wanted = TensorType(dtype, tuple(shape))
    require(kind == wanted, f"{what} is {kind}, {wanted} is needed")


def same_dtype(**kinds: TensorType | None) -> DType:
    """The element type that all operands share; None is skipped."""
    present = {name: kind.dtype for name, kind in kinds.items() if kind is not None}
    text = ", ".join(f"{name} {dtype}" for name, dtype in present.items())
    require(len(set(present.values())) == 1, f"operands differ in element type: {text}")
    return next(iter(present.values()))


def need_axis(axis: int, rank: int, what: str = "axis") -> None:
    """*axis* lies in 0 ... rank-1. Operators hold axes counted from the front only."""
    require(0 <= axis < rank, f"{what} {axis} is outside 0 ... {rank - 1} (rank {rank})")


def need_axes(axes: Sequence[int], rank: int, what: str = "axes") -> None:
    """All *axes* are in range and none is twice."""
    for axis in axes:
        need_axis(axis, rank, what)
    require(len(set(axes)) == len(axes), f"{what} {tuple(axes)} name an axis twice")


def need_length(values: Sequence[object], length: int, what: str) -> None:
    """Attribute *what* has *length* entries."""
    require(len(values) == length, f"{what} has {len(values)} entries, {length} are needed")


def need_at_least(values: Iterable[int], low: int, what: str) -> None:
    """Every entry of attribute *what* is at least *low*."""
    seen = tuple(values)
    require(all(v >= low for v in seen), f"{what} {seen} must be at least {low}")


def broadcast(*shapes: Sequence[int]) -> tuple[int, ...]:
    """NumPy's broadcast of the shapes."""
    rank = max(map(len, shapes), default=0)
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    result: list[int] = []
    for dims in zip(*padded, strict=True):
        sizes = {d for d in dims if d != 1}
        if len(sizes) > 1:
            text = " and ".join(str(tuple(s)) for s in shapes)
            raise ModelError(f"shapes {text} do not broadcast")
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def broadcast_to(what: str, shape: Sequence[int], target: Sequence[int]) -> None:
    """*shape* broadcasts to *target* without growing it."""
    fits = len(shape) <= len(target) and all(
        a in (1, b) for a, b in zip(reversed(shape), reversed(target), strict=False)
    )
    require(fits, f"{what} of shape {tuple(shape)} does not broadcast to {tuple(target)}")
