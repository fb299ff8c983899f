"""The HTML page of a graph."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np

from nntc import api
from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph
from nntc.report import view


class Balance(HTMLParser):
    """Fails on tags that do not match."""

    VOID = ("meta", "input", "rect", "path")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def branches() -> Graph:
    graph = Graph("<script>alert(1)</script>")
    x = graph.input('in"put', DType.F32, (1, 4, 3, 5))
    left = graph.add(ops.Unary("exp"), x, name="left").output
    right = graph.add(ops.Unary("abs"), left, name="right & left").output
    two = graph.constant(np.float32(2), "two")
    right = graph.add(ops.Binary("mul"), right, two, name="twice").output
    graph.outputs = [graph.add(ops.Binary("add"), left, right, name="sum").output]
    return graph


def test_the_page_is_well_formed_and_escaped() -> None:
    graph = branches()
    text = view.page(graph, api.check(graph))
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert "<script>alert" not in text
    assert "right &amp; left" in text
    assert text.count('class="box tpu"') == 4
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_layers_follow_the_longest_way() -> None:
    boxes = view._boxes(branches(), {})
    view._arrange(boxes)
    assert [(box.title, box.layer) for box in boxes] == [
        ('in"put', 0),
        ("Unary exp", 1),
        ("Unary abs", 2),
        ("Binary mul", 3),
        ("Binary add", 4),
        ("sum", 5),
    ]
    places = {(box.layer, box.column) for box in boxes}
    assert len(places) == len(boxes)


def test_a_huge_graph_gets_a_table_only() -> None:
    graph = Graph("long")
    value = graph.input("x", DType.F32, (1,))
    for _ in range(view.MAX_DRAWN):
        value = graph.add(ops.Unary("abs"), value).output
    graph.outputs = [value]
    text = view.page(graph)
    assert "<svg" not in text
    assert text.count("<tr>") == view.MAX_DRAWN + 1
