"""Random graphs: uses of operators on inputs, constants and earlier results, with any names."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from nntc.core.dtype import DType
from nntc.ir.graph import Graph, TensorType, Value
from tests.ir.examples import EXAMPLES, kinds

NAMES = st.one_of(
    st.from_regex(r"[A-Za-z0-9_./:-]{1,12}", fullmatch=True),
    st.text(min_size=1, max_size=6),
    st.sampled_from(['"', "\\", "%x", "a b", "x:", "a::b", "none", "层/卷积", "\n", "#", "\u2028"]),
)


@st.composite
def arrays(draw: st.DrawFn, kind: TensorType) -> np.ndarray:
    """Any bits at all."""
    size = kind.size * kind.dtype.size
    if size > 200:
        seed = draw(st.integers(0, 2**32 - 1))
        content = np.random.default_rng(seed).bytes(size)
    else:
        content = draw(st.binary(min_size=size, max_size=size))
    if kind.dtype is DType.BOOL:
        content = bytes(b & 1 for b in content)
    return np.frombuffer(content, kind.dtype.numpy).reshape(kind.shape)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to five nodes; some constants are large, some hold odd NaNs."""
    graph = Graph(draw(NAMES))
    known: list[Value] = []
    for op, text in draw(st.lists(st.sampled_from(EXAMPLES), min_size=1, max_size=5)):
        operands: list[Value | None] = []
        for kind in kinds(text):
            if kind is None:
                operands.append(None)
                continue
            alike = [v for v in known if v.type == kind]
            choice = draw(st.sampled_from(["input", "constant", *(["known"] if alike else [])]))
            if choice == "known":
                operands.append(draw(st.sampled_from(alike)))
            elif choice == "input":
                operands.append(graph.input(draw(NAMES), kind.dtype, kind.shape))
            else:
                operands.append(graph.constant(draw(arrays(kind)), draw(NAMES)))
        names = draw(st.lists(NAMES, max_size=2))[: 2 if op.name == "TopK" else 1]
        label, source = draw(st.just("") | NAMES), draw(st.just("") | NAMES)
        node = graph.add(op, *operands, name=label, outputs=names, source=source)
        known += [v for v in (*node.operands, *node.outputs) if v not in known]
    graph.outputs = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3))
    return graph


def same_graph(one: Graph, two: Graph) -> None:
    """Equal in everything that text can tell, the constants' bits included."""
    assert one.name == two.name
    assert [(v.name, v.type) for v in one.inputs] == [(v.name, v.type) for v in two.inputs]
    assert [v.name for v in one.outputs] == [v.name for v in two.outputs]
    for a, b in zip(one.nodes, two.nodes, strict=True):
        assert (a.op, a.name, a.source) == (b.op, b.name, b.source)
        assert [v and v.name for v in a.inputs] == [v and v.name for v in b.inputs]
        assert [(v.name, v.type) for v in a.outputs] == [(v.name, v.type) for v in b.outputs]
        assert all(v.producer is b for v in b.outputs)
    held = [
        {v.name: (v.type, v.data.tobytes()) for v in g.constants() if v.data is not None}
        for g in (one, two)
    ]
    assert held[0] == held[1]
