"""Graphs as readable text, with an exact way back.

    nntc graph 1 "tiny"
    input %x : f32[1x3x8x8]
    const %w : f32[4x3x3x3] = sha256:5f9c6be0a1d20c77
    const %half : f32[1] = [0.5]
    %y : f32[1x4x6x6] = Conv(%x, %w) strides=[1, 1] pads=[0, 0, 0, 0] dilations=[1, 1] group=1
    %z : f32[1x4x6x6] = Binary(%y, %half) fn=mul @scale from "/model/Mul"
    output %z

One line per input, constant, node and output; # starts a comment. A name behind % or @ is put in
quotes where it holds other characters than letters, digits and ``_ . / - :``; as the colon may
belong to the name, a space stands before the one that leads to the type. An absent operand is
``none``. A node is called like its first result unless an @name follows; ``from`` tells its origin
in the user's model when that differs. A large constant is a reference: the start of the SHA-256 of
its type and bytes; its data are elsewhere. ``scale %q = %s 12`` says that the integers of %q, less
12, stand for themselves times the constant %s; the number may be left out.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError, Problems
from nntc.ir._syntax import Line, Token, array_text, attribute_text, name_text, quoted
from nntc.ir.graph import Graph, Node, Op, TensorType, Value, attribute_kinds, infer_types
from nntc.ir.ops import OPS

VERSION = 1
INLINE_ELEMENTS = 16
MOST_PROBLEMS = 20


# -- printing -------------------------------------------------------------------------------


def print_graph(graph: Graph, inline: int = INLINE_ELEMENTS) -> str:
    """The graph as text; constants of more than *inline* elements become references."""
    lines = [f"nntc graph {VERSION} {quoted(graph.name)}"]
    lines += [f"input {_declared(v)}" for v in graph.inputs]
    for value in graph.constants():
        text = inline_text(value, inline) or f"sha256:{digest(value)}"
        lines.append(f"const {_declared(value)} = {text}")
    lines += map(node_text, graph.nodes)
    lines += [f"output {_used(v)}" for v in graph.outputs]
    lines += [_scale_text(v) for v in graph.values() if v.scale is not None]
    return "\n".join(lines) + "\n"


def node_text(node: Node) -> str:
    """One node as a line of text."""
    results = ", ".join(map(_declared, node.outputs))
    operands = ", ".join(map(_used, node.inputs))
    words = [f"{results} = {node.op.name}({operands})"]
    words += [f"{name}={attribute_text(v)}" for name, v in node.op.attributes().items()]
    if node.name != node.outputs[0].name:
        words.append(f"@{name_text(node.name)}")
    if node.source != node.name:
        words.append(f"from {quoted(node.source)}")
    return " ".join(words)


def _scale_text(value: Value) -> str:
    text = f"scale {_used(value)} = {_used(value.scale)}"
    return f"{text} {value.zero}" if value.zero else text


def inline_text(value: Value, inline: int) -> str | None:
    """A constant's elements, or None if it goes by reference."""
    if value.data is None or value.data.size > inline:
        return None
    return array_text(value.data)


def digest(value: Value) -> str:
    """Start of the SHA-256 of a constant's type and bytes, in hexadecimal digits."""
    assert value.data is not None
    content: Any = np.ravel(np.ascontiguousarray(value.data))
    state = hashlib.sha256(f"{value.type} ".encode())
    state.update(content.view(np.uint8))
    return state.hexdigest()[:16]


def _declared(value: Value) -> str:
    return f"%{name_text(value.name)} : {value.type}"


def _used(value: Value | None) -> str:
    return "none" if value is None else f"%{name_text(value.name)}"


# -- reading --------------------------------------------------------------------------------


def parse_graph(text: str, constants: Mapping[str, np.ndarray] | None = None) -> Graph:
    """The graph that :func:`print_graph` printed, or that a person wrote.

    Args:
        constants: data of the constants that the text holds by reference, by name.

    Raises:
        ModelError: one problem per faulty line, with line and column: syntax, unknown names,
            types other than the shape rules give, constants that are missing or differ.
    """
    builder = _Builder(constants or {})
    for number, content in enumerate(text.split("\n"), 1):
        with builder.problems.collect():
            line = Line(content, number)
            if line.peek.kind != "end":
                builder.add(line)
        # Without a header this is some other file; after many faults the rest helps nobody.
        if builder.problems and (not builder.has_header or len(builder.problems) >= MOST_PROBLEMS):
            break
    if not builder.has_header and not builder.problems:
        builder.problems.add("line 1, column 1: the text is empty")
    builder.problems.raise_if_any()
    return builder.graph


@dataclass
class _Declared:
    """A value as a line declares it."""

    token: Token
    name: str
    type: TensorType


class _Builder:
    """Builds a graph line by line.

    A faulty line still declares its values, so that one mistake is not reported twice.
    """

    def __init__(self, constants: Mapping[str, np.ndarray]) -> None:
        self.graph = Graph()
        self.problems = Problems(ModelError)
        self.has_header = False
        self._constants = constants
        self._values: dict[str, Value] = {}
        self._readers: dict[str, Callable[[Line], None]] = {
            "nntc": self._header,
            "input": self._input,
            "const": self._const,
            "output": self._output,
            "scale": self._scale,
        }

    def add(self, line: Line) -> None:
        """Take one line that is not empty."""
        first = line.peek
        if (first.text == "nntc") == self.has_header:
            line.fail(first, f'the first line, and only it, is: nntc graph {VERSION} "name"')
        if first.kind == "value":
            self._node(line)
            return
        reader = self._readers.get(first.text)
        if reader is None:
            known = "input, const, output, scale or a %name"
            line.fail(first, f"expected {known}, found '{first.text[:40]}'")
        line.expect(first.text)
        reader(line)
        line.end()

    def _header(self, line: Line) -> None:
        line.expect("graph")
        version = line.take("number", "the version of the format")
        if version.text != str(VERSION):
            line.fail(version, f"format version {version.text[:40]}, only {VERSION} is known")
        self.graph.name = line.string("the graph's name in quotes")
        self.has_header = True

    def _input(self, line: Line) -> None:
        self.graph.inputs.append(self._declare(line, self._declaration(line)))

    def _output(self, line: Line) -> None:
        self.graph.outputs.append(self._operand(line))

    def _scale(self, line: Line) -> None:
        token = line.peek
        value = self._operand(line)
        line.expect("=")
        scale = self._operand(line)
        channels = value.shape[1:2]
        if value.scale is not None:
            line.fail(token, f"%{value.name} has two scales")
        if not scale.is_constant or scale.dtype is not DType.F32:
            line.fail(token, f"the scale %{scale.name} is no f32 constant")
        if scale.shape not in ((), channels):
            line.fail(token, f"the scale has the shape {scale.shape}, () or {channels} is needed")
        value.scale = scale
        if line.peek.kind == "number":
            value.zero = line.integer(-128, 255)

    def _const(self, line: Line) -> None:
        declared = self._declaration(line)
        value = self._declare(line, declared)
        line.expect("=")
        if line.peek.kind != "hash":
            value.data = line.array(declared.type)
            return
        reference = line.take("hash")
        data = self._constants.get(declared.name)
        if data is None:
            line.fail(reference, f"the data of constant {declared.name} are missing")
        found = (data.dtype, data.shape)
        if found != (declared.type.dtype.numpy, declared.type.shape):
            line.fail(
                declared.token,
                f"constant {declared.name} is declared {declared.type}, its data are "
                f"{data.dtype} of shape {data.shape}",
            )
        value.data = data
        if f"sha256:{digest(value)}" != reference.text:
            line.fail(
                reference,
                f"the data of constant {declared.name} have the hash sha256:{digest(value)}",
            )

    def _node(self, line: Line) -> None:
        declared = [self._declaration(line)]
        while line.accept(","):
            declared.append(self._declaration(line))
        outputs = [self._declare(line, d) for d in declared]
        line.expect("=")
        word = line.peek
        kind = _operator(line)
        inputs = self._operands(line)
        op = _attributes(line, kind)
        labelled = line.peek.kind == "label"
        name = line.name("label")[1] if labelled else outputs[0].name
        source = line.string() if line.accept("from") else name
        line.end()
        try:
            types = infer_types(op, inputs, source)
        except ModelError as err:
            line.fail(word, "; ".join(err.problems))
        given = tuple(v.type for v in outputs)
        if given != types:
            texts = [", ".join(map(str, kinds)) for kinds in (given, types)]
            line.fail(declared[0].token, f"declared {texts[0]}, {op.name} gives {texts[1]}")
        self.graph.unique_node_name(name)
        self.graph.nodes.append(Node(op, inputs, outputs, name, source))

    def _declaration(self, line: Line) -> _Declared:
        token, name = line.name("value")
        line.expect(":")
        return _Declared(token, name, line.type())

    def _declare(self, line: Line, declared: _Declared) -> Value:
        if declared.name in self._values:
            line.fail(declared.token, f"%{declared.name} is declared twice")
        value = Value(self.graph.unique_name(declared.name), declared.type)
        self._values[declared.name] = value
        return value

    def _operands(self, line: Line) -> list[Value | None]:
        line.expect("(")
        found: list[Value | None] = []
        while not line.accept(")"):
            if found:
                line.expect(",")
            found.append(None if line.accept("none") else self._operand(line))
        return found

    def _operand(self, line: Line) -> Value:
        token, name = line.name("value")
        value = self._values.get(name)
        if value is None:
            line.fail(token, f"%{name} is not declared above{_hint(name, self._values)}")
        return value


def _operator(line: Line) -> type[Op]:
    word = line.take("word", "an operator")
    kind = OPS.get(word.text)
    if kind is None:
        line.fail(word, f"unknown operator {word.text}{_hint(word.text, OPS)}")
    return kind


def _attributes(line: Line, kind: type[Op]) -> Op:
    """The operator with the attributes that follow as name=value."""
    kinds = attribute_kinds(kind)
    found: dict[str, object] = {}
    start = line.peek
    while line.peek.kind == "word" and line.peek.text != "from":
        word = line.take("word")
        if word.text not in kinds:
            line.fail(word, f"{kind.name} has no attribute {word.text}{_hint(word.text, kinds)}")
        if word.text in found:
            line.fail(word, f"attribute {word.text} is given twice")
        line.expect("=")
        found[word.text] = line.attribute(kinds[word.text])
    needed = [f.name for f in fields(kind) if f.default is MISSING]  # type: ignore[arg-type]
    missing = [name for name in needed if name not in found]
    if missing:
        line.fail(start, f"{kind.name} needs the attributes {', '.join(missing)}")
    try:
        return kind(**found)
    except ModelError as err:
        line.fail(start, "; ".join(err.problems))


def _hint(word: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word[:100], list(known)[:10000], 1)
    return f"; is {close[0]} meant?" if close else ""
