"""A network as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, cast

from nntc.core.dtype import DType
from nntc.core.textformat import quoted
from nntc.ir.graph import Node, Value
from nntc.ir.prototxt.keys import MARK, VERSION, Feed, LayerKeys, Network
from nntc.ir.text import INLINE_ELEMENTS, digest, inline_text


def print_network(network: Network, weights: str = "") -> str:
    """The network as text; the same network gives the same text.

    Args:
        weights: name of the file with the constants that the text does not hold.

    Raises:
        ModelError: a name cannot stand in a text.
    """
    return "\n".join(_Writer(network).lines(weights)) + "\n"


class _Writer:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._declared: set[Value] = set()

    def lines(self, weights: str) -> Iterator[str]:
        graph, network = self._network.graph, self._network
        yield f"{MARK}: {VERSION}"
        yield f"name: {quoted(graph.name)}"
        yield f"model_type: {quoted(network.model_type)}"
        yield "state { phase: TEST }"
        if weights:
            yield f"weights: {quoted(weights)}"
        feeds = {feed.top: feed for feed in network.feeds}
        for value in graph.inputs:
            yield "layer {"
            yield from self._input(value, feeds.get(value.name))
            yield "}"
        for node in graph.nodes:
            yield "layer {"
            yield from self._node(node)
            yield "}"
        for value in graph.outputs:
            yield from self._params(value)
            yield f"output: {quoted(value.name)}"

    def _input(self, value: Value, feed: Feed | None) -> Iterator[str]:
        yield f"  name: {quoted(value.name)}"
        yield f"  type: {quoted('Data' if feed else 'Input')}"
        yield f"  top: {quoted(value.name)}"
        if feed is not None and feed.labels:
            yield f"  top: {quoted(feed.labels)}"
        dims = " ".join(f"dim: {size}" for size in value.shape)
        yield f"  input_param {{ shape {{ {dims} }} dtype: {value.dtype} }}"
        if feed is not None:
            yield "  include { phase: TEST }"
            yield from _transforms(feed)
            yield "  data_param {"
            yield f"    source: {quoted(feed.source)}"
            yield f"    batch_size: {feed.batch_size}"
            yield f"    backend: {feed.backend}"
            yield "  }"
        yield from _keys(self._network.input_keys.get(value.name))
        yield from self._scale(value)

    def _node(self, node: Node) -> Iterator[str]:
        yield f"  name: {quoted(node.name)}"
        yield f"  type: {quoted(node.op.name)}"
        for value in node.inputs:
            yield f"  bottom: {quoted('' if value is None else value.name)}"
        for value in node.outputs:
            yield f"  top: {quoted(value.name)}  # {value.type}"
        if node.source != node.name:
            yield f"  source: {quoted(node.source)}"
        for name, attribute in node.op.attributes().items():
            yield f"  {name}: {_attribute(attribute)}"
        yield from _keys(self._network.keys.get(node.name))
        for value in node.operands:
            yield from self._params(value, "  ")
        for value in node.outputs:
            yield from self._scale(value)

    def _params(self, value: Value, indent: str = "") -> Iterator[str]:
        """The declaration of a constant where it is used first."""
        if value.data is None or value in self._declared:
            return
        self._declared.add(value)
        content = inline_text(value, INLINE_ELEMENTS)
        held = f"sha256: {quoted(digest(value))}" if content is None else f"data: {content}"
        name, kind = quoted(value.name), quoted(str(value.type))
        yield f"{indent}param {{ name: {name} type: {kind} {held} }}"
        yield from self._scale(value, indent)

    def _scale(self, value: Value, indent: str = "  ") -> Iterator[str]:
        if value.scale is not None:
            yield from self._params(value.scale, indent)
            of, what = quoted(value.name), quoted(value.scale.name)
            zero = f" zero: {value.zero}" if value.zero else ""
            yield f"{indent}scale {{ of: {of} param: {what}{zero} }}"


def _attribute(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_attribute, cast("tuple[object, ...]", value))) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, DType):
        return str(value)
    return quoted(value) if isinstance(value, str) else repr(value)


def _keys(keys: LayerKeys | None) -> Iterator[str]:
    if keys is None:
        return
    for item in fields(keys):
        value = getattr(keys, item.name)
        if value != item.default:
            text = str(value) if isinstance(value, str) else _attribute(value)
            yield f"  {item.name}: {text}"


def _transforms(feed: Feed) -> Iterator[str]:
    if not feed.transforms and not feed.gray:
        return
    yield "  transform_param {"
    if feed.gray:
        yield "    force_gray: true"
    for op in feed.transforms:
        yield "    transform_op {"
        for name, value in op.items():
            several: list[Any] = value if isinstance(value, list) else [value]
            for one in several:
                text = one if name == "op" else _attribute(one)
                yield f"      {name}: {text}"
        yield "    }"
    yield "  }"
