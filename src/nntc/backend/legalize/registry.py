"""Operator class → the function that writes its legal form."""

from __future__ import annotations

from collections.abc import Callable

from nntc.backend.legalize.builder import Builder
from nntc.ir.graph import Node, Op, Value

Rewrite = Callable[[Builder, Node], "Value | list[Value]"]

TABLE: dict[type[Op], Rewrite] = {}


def rewrites(*classes: type[Op]) -> Callable[[Rewrite], Rewrite]:
    """Register a function for operator classes; it returns the node's results."""

    def register(function: Rewrite) -> Rewrite:
        for cls in classes:
            TABLE[cls] = function
        return function

    return register
