"""What operators are tried with: lists of values, of which every product is a case.

A case is *quick* if the default run has it: few combinations that together show every pair of
values (or, for families that say so, every value) once. Combinations that an operator's own shape
rule refuses are left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nntc.core.errors import ModelError
from nntc.ir.graph import Op
from tests.backend.harness import Spec


@dataclass(frozen=True)
class Case:
    """One operator with operands as :meth:`tests.backend.harness.Spec.parse` reads them."""

    op: Op
    operands: str
    tolerance: float
    quick: bool

    @property
    def name(self) -> str:
        attributes = ",".join(_short(v) for v in self.op.attributes().values())
        return f"{self.op.name}({attributes})-{self.operands.replace(' ', ',')}"


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return "x".join(_short(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


Dims = tuple[int, ...]
Made = Iterator[tuple[Op, str]]
Family = Callable[..., Made]
FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {}


def family(
    tolerance: float = 1e-6, pairs: bool = True, **lists: Sequence[Any]
) -> Callable[[Family], Family]:
    """Register a function from one value of each list to (operator, operands) pairs.

    Args:
        tolerance: see :func:`tests.backend.harness.differences`.
        pairs: quick cases show every pair of values; else every value.
    """

    def register(function: Family) -> Family:
        def cases() -> Iterator[Case]:
            marks = _pairs if pairs else _singles
            missing = marks(list(lists.values()))
            seen: set[tuple[Op, str]] = set()
            for values in _shuffled(list(itertools.product(*lists.values()))):
                try:
                    made = [m for m in function(*values) if _legal(*m) and m not in seen]
                except ModelError:
                    continue
                if not made:
                    continue
                seen.update(made)
                mine = marks([[v] for v in values])
                quick = bool(mine & missing)
                missing -= mine
                for op, operands in made:
                    yield Case(op, operands, tolerance, quick)

        FAMILIES[function.__name__] = cases
        return function

    return register


def _singles(lists: list[Sequence[Any]]) -> set[Any]:
    """Every (number of the list, value)."""
    return {(i, repr(v)) for i, values in enumerate(lists) for v in values}


def _pairs(lists: list[Sequence[Any]]) -> set[Any]:
    """Every pair of (number of the list, value) of two lists."""
    tagged = [[(i, repr(v)) for v in values] for i, values in enumerate(lists)]
    return {pair for a, b in itertools.combinations(tagged, 2) for pair in itertools.product(a, b)}


def _shuffled(items: list[Any]) -> list[Any]:
    """A fixed order in which neighbours differ in many values, so that few cover all pairs."""
    step = max(int(len(items) * 0.618), 1)
    while math.gcd(step, len(items)) != 1:
        step += 1
    return [items[i * step % len(items)] for i in range(len(items))]


def _legal(op: Op, operands: str) -> bool:
    given = [None if text == "-" else Spec.parse(text).type for text in operands.split()]
    if any(t is not None and t.size == 0 for t in given):
        return False
    try:
        return all(t.size for t in op.infer(*given))
    except ModelError:
        return False


def all_cases() -> Iterator[Case]:
    for cases in FAMILIES.values():
        yield from cases()


def dims(*sizes: int) -> str:
    return "x".join(map(str, sizes))


def f32(*sizes: int) -> str:
    return f"f32[{dims(*sizes)}]"
