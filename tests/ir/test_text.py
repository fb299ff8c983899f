"""Text form: exact round trip, and what is said of faulty text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.ir import ops
from nntc.ir.graph import Graph
from nntc.ir.text import parse_graph, print_graph
from tests.ir.strategies import graphs, same_graph

TINY = """\
nntc graph 1 "tiny"
input %x : f32[1x3x8x8]
const %w : f32[4x3x3x3] = sha256:8fad195c7112f87f
const %half : f32[1] = [0.5]
%y : f32[1x4x6x6] = Conv(%x, %w) strides=[1, 1] pads=[0, 0, 0, 0] dilations=[1, 1] group=1
%z : f32[1x4x6x6] = Binary(%y, %half) fn=mul @scale from "/model/Mul"
%v : f32[1x4x6x2], %i : i64[1x4x6x2] = TopK(%z) k=2 axis=3 largest=true sorted=true
output %v
output %i
"""
WEIGHTS = {"w": np.arange(108, dtype=np.float32).reshape(4, 3, 3, 3)}


def test_tiny() -> None:
    graph = parse_graph(TINY, WEIGHTS)
    assert graph.name == "tiny"
    assert [n.name for n in graph.nodes] == ["y", "scale", "v"]
    assert graph.nodes[1].source == "/model/Mul"
    assert graph.nodes[0].op == ops.Conv((1, 1), (0, 0, 0, 0), (1, 1))
    assert graph.constants()[0].data is WEIGHTS["w"]
    assert print_graph(graph) == TINY


def test_a_parsed_graph_goes_on_growing() -> None:
    graph = parse_graph(TINY, WEIGHTS)
    node = graph.add(ops.Unary("relu"), graph.outputs[0], name="y", outputs=["w"])
    assert node.name == "y_1"
    assert node.output.name == "w_1"


def test_text_of_a_person() -> None:
    graph = parse_graph(
        """
        # spaces, comments and defaults
        nntc graph 1 "mine"
        input %x   :f32[2x3]   # behind a line too
        const %"two words" : i64[] = [ -7 ]
        %1 : f32[2x3]=Softmax ( %x ) axis=1
        %2 : f32[2x3] = LayerNorm(%1, none, none) axis=1
        %3 : f32[2x3] = Clip(%2) max=6
        output %3
        """
    )
    assert [n.op for n in graph.nodes] == [ops.Softmax(1), ops.LayerNorm(1), ops.Clip(max=6)]
    assert graph.nodes[1].inputs[1:] == [None, None]


@given(graphs(), st.sampled_from([0, 1, 16, 10**6]))
@settings(max_examples=150, deadline=None)
def test_round_trip(graph: Graph, inline: int) -> None:
    text = print_graph(graph, inline)
    constants = {v.name: v.data for v in graph.constants() if v.data is not None}
    back = parse_graph(text, constants)
    same_graph(graph, back)
    assert print_graph(back, inline) == text
    assert text.isascii() or text.encode().decode() == text


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20))
def test_floats_keep_their_bits(values: list[float]) -> None:
    graph = Graph()
    array = np.array(values, np.float32)
    graph.outputs = graph.add(ops.Unary("abs"), graph.constant(array)).outputs
    back = parse_graph(print_graph(graph, 100))
    data = back.constants()[0].data
    assert data is not None
    assert data.tobytes() == array.tobytes()


def test_constants_read_as_a_person_writes_them() -> None:
    graph = Graph()
    for array in (
        np.array([0.1, -0.0, np.inf, 1e-45], np.float32),
        np.array([True, False]),
        np.array(2**63 - 1),
        np.array([65504, 1e-7], np.float16),
    ):
        graph.outputs += graph.add(
            ops.Transpose(tuple(range(array.ndim))), graph.constant(array)
        ).outputs
    lines = [
        line.partition(" = ")[2] for line in print_graph(graph).split("\n") if "const " in line
    ]
    assert lines == [
        "[0.1, -0.0, inf, 1e-45]",
        "[true, false]",
        "[9223372036854775807]",
        "[65500.0, 1e-07]",
    ]


# What to replace, by what (^ stands before the place that the message names), the message.
FAULTS = [
    (TINY, "^hello", 'the first line, and only it, is: nntc graph 1 "name"'),
    ("graph 1", "graph ^2", "format version 2, only 1 is known"),
    ("output %v", '^nntc graph 1 "x"', "the first line, and only it, is"),
    ("Conv(", "^Convv(", "unknown operator Convv; is Conv meant?"),
    ("Conv(%x, %w)", "^Conv(%x)", "y: Conv takes the operands x, w, b?; 1 given"),
    ("(%y, ", "(^%yy, ", "%yy is not declared above; is y meant?"),
    ("%z : ", "^%y : ", "%y is declared twice"),
    ("Binary(%y, %half) fn=mul", "^Binary(%y, %half) fn=mull", "/model/Mul: unknown function mull"),
    ("k=2", "k=^2.5", "2.5 is no integer"),
    ("k=2", "k=^99999999999999999999999", "99999999999999999999999 is no integer"),
    ("k=2", "^K=2", "TopK has no attribute K"),
    ("largest=", "^larges=", "TopK has no attribute larges; is largest meant?"),
    ("k=2", "k=2 ^k=3", "attribute k is given twice"),
    ("k=2 axis=3", "^axis=3", "TopK needs the attributes k"),
    ("largest=true", "largest=^1", "expected true or false, found '1'"),
    ("TopK(%z) k=2", "^TopK(%z) k=9", "v: k is 9, axis 3 of x has 6"),
    ("%v : f32[1x4x6x2]", "^%v : f32[1x4x6x3]", "declared f32[1x4x6x3], i64[1x4x6x2], TopK gives"),
    ("strides=[1, 1]", "strides=[1 ^1]", "expected ',', found '1'"),
    ("strides=[1, 1]", "strides=^1", "expected '[', found '1'"),
    ("strides=[1, 1] pads", "strides=[1 ^pads", "expected ',', found 'pads'"),
    ("strides=[1, 1]", "strides=[1, ^a]", "expected an integer, found 'a'"),
    ("[0.5]", "^[0.5, 2]", "2 elements, f32[1] holds 1"),
    ("[0.5]", "^half", "expected '[', found 'half'"),
    ("[0.5]", "^", "expected '[', found the end of the line"),
    ("f32[1] = [0.5]", "i8[1] = [^0.5]", "0.5 is no integer in -128 ... 127"),
    ("f32[1] = [0.5]", "u8[1] = [^-1]", "-1 is no integer in 0 ... 255"),
    ("f32[1] =", "^f33[1] =", "unknown element type f33"),
    ("f32[1] =", "^f32[1xx2] =", "bad shape [1xx2]"),
    ("f32[1] =", "^f32[99999999999x99999999999] =", "bad shape"),
    ("f32[1] =", "^f32 =", "expected a type such as f32[1x3], found 'f32'"),
    ("sha256:8fad", "^sha256:8fae", "the data of constant w have the hash sha256:8fad"),
    ("%w : f32[4x3x3x3] = ", "%u : f32[4x3x3x3] = ^", "the data of constant u are missing"),
    ("%w : f32[4x3x3x3]", "^%w : f32[4x3x3x4]", "constant w is declared f32[4x3x3x4], its data"),
    ("input", "^inpt", "expected input, const, output, scale or a %name, found 'inpt'"),
    ("output %i", "output %i ^%v", "unexpected '%v'"),
    ("output %i", "output ^i", "expected a %name, found 'i'"),
    ('"/model/Mul"', "^/model/Mul", "cannot read '/model/Mul'"),
    ('"/model/Mul"', '^"/model\\Mul"', "bad escape"),
    ('"/model/Mul"', '^"/model/Mul', "cannot read"),
    ("(%y, %half) fn", "(%y, %half ^fn", "expected ',', found 'fn'"),
    ("%y : f32", "%y : f32[2] ^; f32", "cannot read"),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS, ids=[f[2] for f in FAULTS])
def test_fault(old: str, new: str, message: str) -> None:
    assert old in TINY
    marked = TINY.replace(old, new, 1)
    before, _, after = marked.partition("^")
    place = f"line {before.count(chr(10)) + 1}, column {len(before.rpartition(chr(10))[2]) + 1}: "
    with pytest.raises(ModelError) as caught:
        parse_graph(before + after, WEIGHTS)
    assert caught.value.problems[0].startswith(place + message)


def test_no_text() -> None:
    for text in ("", "\n \n", "# only words"):
        with pytest.raises(ModelError, match="line 1, column 1: the text is empty"):
            parse_graph(text)


def test_one_message_for_one_fault() -> None:
    text = TINY.replace("Conv(", "Convv(").replace("fn=mul", "fn=mull").replace("k=2", "k=9")
    with pytest.raises(ModelError) as caught:
        parse_graph(text, WEIGHTS)
    assert [p.split(",")[0] for p in caught.value.problems] == ["line 5", "line 6", "line 7"]


def test_faults_without_end_are_cut_short() -> None:
    with pytest.raises(ModelError) as caught:
        parse_graph('nntc graph 1 "x"\n' + "what?\n" * 1000)
    assert len(caught.value.problems) == 20


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_mutated_text_is_read_or_refused(data: st.DataObject) -> None:
    text = TINY
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 5))
        text = (
            text[:at]
            + data.draw(st.text(max_size=3) | st.sampled_from("[]()%=x19,"))
            + text[at + cut :]
        )
    problems: list[str] = []
    try:
        print_graph(parse_graph(text, WEIGHTS))
    except ModelError as err:
        problems = err.problems
    assert all(problem.startswith("line ") for problem in problems)


def test_huge_text_takes_linear_time() -> None:
    digits = "9" * 200_000
    for part in (
        f"k={digits}",
        f"k=[{digits}]",
        '"' * 200_001,
        "%" + "a:" * 100_000,
        "(" * 200_000,
    ):
        with pytest.raises(ModelError):
            parse_graph(TINY.replace("k=2", part), WEIGHTS)


def test_a_long_type_is_refused() -> None:
    with pytest.raises(ModelError, match="bad shape"):
        parse_graph('nntc graph 1 "x"\ninput %x : f32[' + "1x" * 40 + "1]")


def test_all_types_print(tmp_path: object) -> None:
    graph = Graph()
    for dtype in DType:
        graph.outputs += graph.add(ops.Tile((2,)), graph.constant(np.ones(1, dtype.numpy))).outputs
    same_graph(graph, parse_graph(print_graph(graph)))


def test_scales() -> None:
    text = """nntc graph 1 "fixed"
input %x : u8[1x3x2x2]
const %s : f32[3] = [0.5, 0.25, 1]
%y : u8[1x3x2x2] = Binary(%x, %x) fn=max
output %y
scale %y = %s 7
"""
    graph = parse_graph(text)
    scale = graph.outputs[0].scale
    assert scale is not None
    assert scale.data is not None
    np.testing.assert_array_equal(scale.data, [0.5, 0.25, 1])
    assert scale in graph.constants()
    assert graph.outputs[0].zero == 7
    assert print_graph(parse_graph(print_graph(graph))) == print_graph(graph)
    for wrong, message in (
        ("scale %y = %x", "is no f32 constant"),
        ("scale %y = %s\nscale %y = %s", "has two scales"),
        ("scale %y = %s 1.5", "is no integer in -128"),
        ("scale %q = %s", "%q is not declared above"),
    ):
        with pytest.raises(ModelError) as caught:
            parse_graph(text.replace("scale %y = %s 7", wrong))
        assert message in str(caught.value)
