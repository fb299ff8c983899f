"""What the user can choose about a compilation, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from nntc.bmodel import BModel
from nntc.core.dtype import DType


@dataclass(frozen=True)
class CompileOptions:
    """Options of the backend.

    Attributes:
        net_name: the net's name in the BModel; empty: the graph's name.
        keep_values: store every operator's result and let results share no memory, so that all
            of them can be read after a run (``nntc compile --cmp``).
        opt: 0 runs every operator on its own; 1 and 2 form groups.
    """

    net_name: str = ""
    keep_values: bool = False
    opt: int = 2


@dataclass(frozen=True)
class Where:
    """Where a value of the source graph lies after a run: fp32 or int32 words, row-major."""

    address: int
    dtype: DType
    shape: tuple[int, ...]


@dataclass
class CompileResult:
    """A BModel and what is known about how it was made.

    Attributes:
        value_map: values of the source graph that lie in memory after a run (all stored ones
            with ``keep_values``).
        statistics: counts and sizes for a summary, in order.
    """

    model: BModel
    value_map: dict[str, Where] = field(default_factory=dict[str, Where])
    statistics: dict[str, int] = field(default_factory=dict[str, int])
