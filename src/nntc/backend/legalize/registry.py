"""Operator class → the function that writes its legal form."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from nntc.backend.legalize.builder import Builder
from nntc.ir.graph import Node, Op, Value

Rewrite = Callable[[Builder, Node], "Value | list[Value]"]

PackedRewrite = Callable[[Builder, Node], "Value | None"]
Packing = TypeVar("Packing", bound=PackedRewrite)

TABLE: dict[type[Op], Rewrite] = {}
PACKED: dict[type[Op], PackedRewrite] = {}
"""For operators with an 8-bit result: they give its words, or None if only TABLE's way is open."""

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


def packs(*classes: type[Op]) -> Callable[[Packing], Packing]:
    """Register a function that makes words of four 8-bit samples from such words."""

    def register(function: Packing) -> Packing:
        for cls in classes:
            PACKED[cls] = function
        return function

    return register
