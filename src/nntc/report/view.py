"""A graph as one self-contained HTML page: a layered drawing and a table of its nodes.

Nothing is loaded from anywhere; names from the model are escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

from nntc.ir.graph import Graph, Node, Value
from nntc.report.labels import label

if TYPE_CHECKING:
    from nntc.backend import Finding

BOX_WIDTH, BOX_HEIGHT = 190, 46
GAP_X, GAP_Y = 26, 34
MAX_DRAWN = 3000
"""Boxes above which the drawing is left out: browsers become too slow to be useful."""


@dataclass
class Box:
    """One rectangle of the drawing: a node, or a network input or output."""

    title: str
    detail: str
    tooltip: str
    kind: str
    layer: int = 0
    column: int = 0
    parents: list[Box] = field(default_factory=list)

    @property
    def x(self) -> int:
        return GAP_X + self.column * (BOX_WIDTH + GAP_X)

    @property
    def y(self) -> int:
        return GAP_Y + self.layer * (BOX_HEIGHT + GAP_Y)


def page(graph: Graph, findings: Sequence[Finding] = ()) -> str:
    """The page.

    Args:
        findings: where each node runs (:func:`nntc.api.check`); colours the drawing.
    """
    places = {id(f.node): (f.place, f.reason) for f in findings}
    boxes = _boxes(graph, places)
    _arrange(boxes)
    counts = Counter(label(node.op) for node in graph.nodes)
    weights = sum(v.type.size for v in graph.constants())
    summary = f"{len(graph.nodes)} nodes, {weights:,} weights; " + ", ".join(
        f"{count} {name}" for name, count in counts.most_common()
    )
    template = resources.files("nntc.report").joinpath("view.html").read_text(encoding="utf-8")
    drawing = _svg(boxes) if len(boxes) <= MAX_DRAWN else "<p>Too many nodes to draw.</p>"
    for key, text in {
        "@TITLE@": escape(graph.name),
        "@SUMMARY@": escape(summary),
        "@DRAWING@": drawing,
        "@ROWS@": "\n".join(_row(n, node, places) for n, node in enumerate(graph.nodes)),
    }.items():
        template = template.replace(key, text)
    return template


def _types(values: Sequence[Value | None]) -> str:
    return ", ".join("-" if v is None else f"{v.name}: {v.type}" for v in values)


def _attributes(node: Node) -> str:
    return ", ".join(f"{key}={value}" for key, value in node.op.attributes().items())


def _boxes(graph: Graph, places: dict[int, tuple[str, str]]) -> list[Box]:
    """Inputs, nodes in their order, outputs; each with the boxes that it reads."""
    made_by: dict[Value, Box] = {}
    boxes: list[Box] = []
    for value in graph.inputs:
        made_by[value] = Box(value.name, str(value.type), f"network input {value.name}", "io")
        boxes.append(made_by[value])
    for node in graph.nodes:
        place, reason = places.get(id(node), ("", ""))
        lines = [
            f"{node.source}",
            f"{node.op.name}({_attributes(node)})",
            f"in: {_types(node.inputs)}",
            f"out: {_types(node.outputs)}",
        ]
        if place:
            lines.append(f"runs on: {place} {reason}")
        box = Box(label(node.op), str(node.output.type), "\n".join(lines), place.lower() or "node")
        box.parents = _unique(made_by[v] for v in node.operands if v in made_by)
        made_by.update(dict.fromkeys(node.outputs, box))
        boxes.append(box)
    for value in graph.outputs:
        box = Box(value.name, str(value.type), f"network output {value.name}", "io")
        if value in made_by:
            box.parents = [made_by[value]]
        boxes.append(box)
    return boxes


def _unique(boxes: Iterable[Box]) -> list[Box]:
    return list({id(box): box for box in boxes}.values())


def _arrange(boxes: list[Box]) -> None:
    """Layer: longest way from an input. Column: near the parents' columns, without overlap."""
    for box in boxes:
        box.layer = 1 + max((parent.layer for parent in box.parents), default=-1)
    layers: dict[int, list[Box]] = {}
    for box in boxes:
        layers.setdefault(box.layer, []).append(box)
    for number in sorted(layers):
        wanted = {
            id(box): sum(p.column for p in box.parents) / len(box.parents) if box.parents else 0
            for box in layers[number]
        }
        column = 0
        for box in sorted(layers[number], key=lambda box: wanted[id(box)]):
            column = max(column, round(wanted[id(box)]))
            box.column = column
            column += 1


def _svg(boxes: list[Box]) -> str:
    width = max(box.x for box in boxes) + BOX_WIDTH + GAP_X
    height = max(box.y for box in boxes) + BOX_HEIGHT + GAP_Y
    parts = [f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}">']
    for box in boxes:
        x, y = box.x + BOX_WIDTH // 2, box.y
        for parent in box.parents:
            px, py = parent.x + BOX_WIDTH // 2, parent.y + BOX_HEIGHT
            # Lines over several layers pass beside the boxes between.
            bend = 0 if box.layer == parent.layer + 1 else BOX_WIDTH // 2 + GAP_X
            parts.append(
                f'<path d="M{px} {py}C{px + bend} {py + GAP_Y} {x + bend} {y - GAP_Y} {x} {y}"/>'
            )
    for box in boxes:
        parts.append(
            f'<g class="box {escape(box.kind)}"><title>{escape(box.tooltip)}</title>'
            f'<rect x="{box.x}" y="{box.y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
            f'<text x="{box.x + 8}" y="{box.y + 19}">{escape(_short(box.title))}</text>'
            f'<text class="small" x="{box.x + 8}" y="{box.y + 37}">{escape(_short(box.detail))}'
            "</text></g>"
        )
    parts.append("</svg>")
    return "\n".join(parts)


def _short(text: str, limit: int = 24) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _row(number: int, node: Node, places: dict[int, tuple[str, str]]) -> str:
    place, reason = places.get(id(node), ("", ""))
    cells = (
        str(number),
        label(node.op),
        node.source,
        ", ".join(str(v.type) for v in node.operands if not v.is_constant),
        ", ".join(str(v.type) for v in node.outputs),
        _attributes(node),
        f"{place} {reason}".strip(),
    )
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
