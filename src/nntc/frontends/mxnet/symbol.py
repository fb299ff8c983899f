"""Reads a ``-symbol.json`` file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from nntc.core.errors import ModelError

_LARGEST = 1 << 24

Place = tuple[int, int]
"""Number of a node, and which of its results."""


@dataclass
class Node:
    """One node; ``null`` nodes are inputs and parameters."""

    name: str
    op: str
    inputs: list[Place]
    attrs: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} ({self.op})"


@dataclass
class Symbol:
    """A network."""

    nodes: list[Node]
    heads: list[Place]

    def output_name(self, place: Place) -> str:
        """As MXNet calls it."""
        node, index = self.nodes[place[0]], place[1]
        if node.op == "null":
            return node.name
        numbered = node.op in ("SliceChannel", "split") or (
            node.op == "topk" and node.attrs.get("ret_typ") in ("both", "value")
        )
        return f"{node.name}_output{index if numbered or index else ''}"


def parse(data: bytes) -> Symbol:
    """The network in a file.

    Options of a node stand in ``param`` (to 0.8), ``attr`` (to 1.1) or ``attrs``.

    Raises:
        ModelError: the file is no symbol, or names nodes that do not exist.
    """
    if len(data) > _LARGEST:
        raise ModelError(f"{len(data)} bytes are too many for a symbol")
    try:
        root = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise ModelError(f"not an MXNet symbol: {type(err).__name__}: {err}") from None
    if not isinstance(root, dict) or not isinstance(root.get("nodes"), list):
        raise ModelError("not an MXNet symbol (it has no nodes)")
    nodes = [_node(number, item) for number, item in enumerate(root["nodes"])]
    heads = [_place(item, len(nodes), "heads") for item in _list(root.get("heads"), "heads")]
    if not heads:
        raise ModelError("the symbol has no heads")
    return Symbol(nodes, heads)


def _list(item: Any, what: str) -> list[Any]:
    if not isinstance(item, list):
        raise ModelError(f"{what} is no list")
    return item


def _node(number: int, item: Any) -> Node:
    if not isinstance(item, dict):
        raise ModelError(f"node {number} is no object")
    name, op = item.get("name"), item.get("op")
    if not isinstance(name, str) or not isinstance(op, str):
        raise ModelError(f"node {number} has no name or op")
    inputs = [
        _place(place, number, f"node {number} ('{name}')")
        for place in _list(item.get("inputs"), f"inputs of node {number}")
    ]
    attrs: dict[str, str] = {}
    for key in ("attr", "attrs", "param"):
        given = item.get(key)
        if isinstance(given, dict):
            attrs.update({str(k): str(v) for k, v in given.items()})
    return Node(name, op, inputs, attrs)


def _place(item: Any, below: int, what: str) -> Place:
    """A pair (or, with a version, three) of numbers; nodes come in order."""
    numbers = item if isinstance(item, list) else [item]
    if not numbers or not all(type(n) is int for n in numbers):
        raise ModelError(f"{what}: {str(item)[:80]} names no node")
    node, index = numbers[0], numbers[1] if len(numbers) > 1 else 0
    if not 0 <= node < below or not 0 <= index < 10_000:
        raise ModelError(f"{what}: node {node} does not come before it")
    return node, index
