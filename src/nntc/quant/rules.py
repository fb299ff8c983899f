"""Operator class → the function that writes its integer form."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from nntc.ir.graph import Node, Op

if TYPE_CHECKING:
    from nntc.quant.quantizer import Quantizer

Rule = Callable[["Quantizer", Node], bool]
"""Returns False where the node has no integer form; then it is computed in fp32."""

TABLE: dict[type[Op], Rule] = {}


def lowers(*classes: type[Op]) -> Callable[[Rule], Rule]:
    """Register a rule for operator classes."""

    def register(rule: Rule) -> Rule:
        for cls in classes:
            TABLE[cls] = rule
        return rule

    return register
