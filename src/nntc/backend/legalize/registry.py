"""Operator class → the function that writes its legal form."""

from __future__ import annotations

from collections.abc import Callable

from nntc.backend.legalize.builder import Builder
from nntc.ir.graph import Node, Op, Value

Rewrite = Callable[[Builder, Node], "Value | list[Value]"]

TABLE: dict[type[Op], Rewrite] = {}
PLACES: dict[type[Op], str] = {}


def rewrites(*classes: type[Op], place: str = "TPU") -> Callable[[Rewrite], Rewrite]:
    """Register a function for operator classes; it returns the node's results.

    Args:
        place: where the operator runs, for the documentation.
    """

    def register(function: Rewrite) -> Rewrite:
        for cls in classes:
            TABLE[cls] = function
            PLACES[cls] = place
        return function

    return register
