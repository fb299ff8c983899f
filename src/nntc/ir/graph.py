"""The typed graph: values, nodes, and the base class of operators.

A graph is a list of nodes in execution order. Every value has a static type (element type and
shape); a value with ``data`` is a constant. Operators are frozen dataclasses whose fields are the
attributes, so two equal operators compare equal and print the same.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, get_type_hints

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.ir.attributes import normalise


@dataclass(frozen=True)
class TensorType:
    """Element type and static shape; a scalar has the shape ``()``."""

    dtype: DType
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for dim in self.shape:
            count *= dim
        return count

    @staticmethod
    def of(array: np.ndarray) -> TensorType:
        """The type of an array.

        Raises:
            KeyError: NumPy type without an equivalent.
        """
        return TensorType(DType.of(array), array.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{'x'.join(map(str, self.shape))}]"


class Op:
    """Base of all operators. A subclass is a frozen dataclass; its fields are the attributes.

    ``name`` is the operator's name in text files: the name of the class. ``infer`` is the shape
    rule, ``compute`` the meaning in NumPy (float32 for float types); both take one entry per
    operand, None for an optional operand that is absent. The parameters of ``infer`` declare the
    operands: their names, which are optional (a default), whether there may be any number (*xs).

    ``unbounded`` names the float attributes that may be infinite.
    """

    name: ClassVar[str] = ""
    unbounded: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.name = cls.__name__

    def __post_init__(self) -> None:
        """Bring attributes to their declared types, e.g. lists and NumPy numbers.

        Raises:
            ModelError: an attribute is of another kind.
        """
        for name, kind in attribute_kinds(type(self)).items():
            value = getattr(self, name)
            normal = normalise(kind, value, f"{self.name}: attribute {name}")
            if normal is not value:
                object.__setattr__(self, name, normal)

    def infer(self, *args: TensorType | None) -> tuple[TensorType, ...]:
        """Result types.

        Raises:
            ModelError: the operands or attributes break a rule of the operator.
        """
        raise NotImplementedError(self.name)

    def compute(self, *args: np.ndarray | None) -> tuple[np.ndarray, ...]:
        """Results of the operator on NumPy arrays."""
        raise NotImplementedError(self.name)

    def attributes(self) -> dict[str, object]:
        """Attribute name → value, in declaration order."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {f.name: getattr(self, f.name) for f in fields}


class Value:
    """One tensor of the graph: a name, a type, and the data if it is a constant.

    ``scale`` and ``zero`` say what the integers of a quantised tensor mean: real number =
    (integer - zero) * scale. The scale is an fp32 constant with one element, or one for every index
    of axis 1. They are for people, reports and the network's inputs and outputs; no operator reads
    them from here.
    """

    __slots__ = ("data", "name", "producer", "scale", "type", "zero")

    def __init__(self, name: str, type: TensorType, data: np.ndarray | None = None) -> None:
        self.name = name
        self.type = type
        self.data = data
        self.producer: Node | None = None
        self.scale: Value | None = None
        self.zero = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    def __repr__(self) -> str:
        return f"Value({self.name}: {self.type})"


class Node:
    """One use of an operator. ``source`` names the origin in the user's model, for messages."""

    __slots__ = ("inputs", "name", "op", "outputs", "source")

    def __init__(
        self,
        op: Op,
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
        name: str,
        source: str = "",
    ) -> None:
        self.op = op
        self.inputs: list[Value | None] = list(inputs)
        self.outputs: list[Value] = list(outputs)
        self.name = name
        self.source = source or name
        for value in self.outputs:
            value.producer = self

    @property
    def output(self) -> Value:
        """The first output."""
        return self.outputs[0]

    @property
    def operands(self) -> list[Value]:
        """The inputs that are present."""
        return [v for v in self.inputs if v is not None]

    def __repr__(self) -> str:
        return f"Node({self.name}: {self.op.name})"


class Graph:
    """A network: inputs, outputs and nodes in execution order."""

    def __init__(self, name: str = "network") -> None:
        self.name = name
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.nodes: list[Node] = []
        self._names: set[str] = set()
        self._node_names: set[str] = set()

    # -- building ---------------------------------------------------------------------------

    def unique_name(self, wanted: str) -> str:
        """*wanted*, or *wanted* with a number appended if a value has it; reserves it."""
        return _reserve(wanted or "value", self._names)

    def unique_node_name(self, wanted: str) -> str:
        """The same among the names of nodes."""
        return _reserve(wanted or "node", self._node_names)

    def input(self, name: str, dtype: DType, shape: Iterable[int]) -> Value:
        """Append a network input."""
        value = Value(self.unique_name(name), TensorType(dtype, tuple(shape)))
        self.inputs.append(value)
        return value

    def constant(self, data: np.ndarray, name: str = "const") -> Value:
        """A constant value; it belongs to no node."""
        array = np.asarray(data)
        return Value(self.unique_name(name), TensorType.of(array), array)

    def add(
        self,
        op: Op,
        *inputs: Value | None,
        name: str = "",
        outputs: Sequence[str] = (),
        source: str = "",
    ) -> Node:
        """Append a node; result types come from the operator's shape rule.

        Args:
            name: wanted node name; default: the operator's name. Made unique with a number.
            outputs: wanted names of the results; default: the node's name.

        Raises:
            ModelError: the shape rule refuses; the message names the node.
        """
        label = self.unique_node_name(name or op.name)
        types = infer_types(op, inputs, source or label)
        wanted = list(outputs) + [""] * (len(types) - len(outputs))
        values = [
            Value(self.unique_name(text or (label if i == 0 else f"{label}.{i}")), kind)
            for i, (text, kind) in enumerate(zip(wanted, types, strict=True))
        ]
        node = Node(op, inputs, values, label, source)
        self.nodes.append(node)
        return node

    # -- looking ----------------------------------------------------------------------------

    def values(self) -> Iterator[Value]:
        """Every value once: inputs, then operands and results in node order, then outputs.

        The scale of a value follows the value.
        """
        seen: set[int] = set()
        groups: list[Iterable[Value]] = [self.inputs]
        for node in self.nodes:
            groups += [node.operands, node.outputs]
        groups.append(self.outputs)
        for group in groups:
            for value in group:
                for one in (value, value.scale):
                    if one is not None and id(one) not in seen:
                        seen.add(id(one))
                        yield one

    def constants(self) -> list[Value]:
        return [v for v in self.values() if v.is_constant]

    def users(self) -> dict[Value, list[Node]]:
        """Value → the nodes that read it (a node reading it twice is listed once)."""
        table: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.operands):
                table.setdefault(value, []).append(node)
        return table

    # -- changing ---------------------------------------------------------------------------

    def replace(self, old: Value, new: Value) -> None:
        """Make every reader of *old*, the network outputs included, read *new*."""
        for node in self.nodes:
            node.inputs = [new if v is old else v for v in node.inputs]
        self.outputs = [new if v is old else v for v in self.outputs]

    def prune(self) -> int:
        """Drop nodes whose results nobody reads; returns how many."""
        live = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if any(v in live for v in node.outputs):
                live.update(node.operands)
                kept.append(node)
        dropped = len(self.nodes) - len(kept)
        self.nodes = kept[::-1]
        return dropped

    def sort(self) -> None:
        """Put the nodes in a stable execution order.

        Raises:
            ModelError: the graph has a cycle.
        """
        done: set[Node] = set()
        order: list[Node] = []
        for root in self.nodes:
            stack: list[tuple[Node, bool]] = [(root, False)]
            open_nodes: set[Node] = set()
            while stack:
                node, leaving = stack.pop()
                if leaving:
                    open_nodes.discard(node)
                    if node not in done:
                        done.add(node)
                        order.append(node)
                    continue
                if node in done:
                    continue
                if node in open_nodes:
                    raise ModelError(f"{node.source}: the graph has a cycle through this node")
                open_nodes.add(node)
                stack.append((node, True))
                for value in reversed(node.operands):
                    if value.producer is not None and value.producer not in done:
                        stack.append((value.producer, False))
        self.nodes = order

    def __repr__(self) -> str:
        return f"Graph({self.name}: {len(self.nodes)} nodes)"


def _reserve(wanted: str, taken: set[str]) -> str:
    name, count = wanted, 0
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name


@functools.cache
def attribute_kinds(op: type[Op]) -> dict[str, object]:
    """Attribute name → declared type, in declaration order."""
    hints = get_type_hints(op)
    return {f.name: hints[f.name] for f in dataclasses.fields(op)}  # type: ignore[arg-type]


@functools.cache
def operand_parameters(op: type[Op]) -> tuple[inspect.Parameter, ...]:
    """The operands as ``infer`` declares them."""
    return tuple(inspect.signature(op.infer).parameters.values())[1:]


def check_operands(op: Op, given: Sequence[object | None]) -> None:
    """Refuse too few, too many, or absent operands.

    Raises:
        ModelError: says which operands the operator takes.
    """
    parameters = operand_parameters(type(op))
    if parameters[-1].kind is inspect.Parameter.VAR_POSITIONAL:
        if not given or None in given:
            raise ModelError(f"{op.name} takes one operand or more, none may be absent")
        return
    needed = [p.name for p in parameters if p.default is p.empty]
    absent = [name for name, value in zip(needed, given, strict=False) if value is None]
    if absent or not len(needed) <= len(given) <= len(parameters):
        names = [p.name + ("" if p.name in needed else "?") for p in parameters]
        got = f"{', '.join(absent)} is absent" if absent else f"{len(given)} given"
        raise ModelError(f"{op.name} takes the operands {', '.join(names)}; {got}")


def infer_types(op: Op, inputs: Sequence[Value | None], source: str) -> tuple[TensorType, ...]:
    """The operator's result types; a refusal names the node.

    Raises:
        ModelError: with the node's source in front of the operator's own message.
    """
    try:
        check_operands(op, inputs)
        return op.infer(*(None if v is None else v.type for v in inputs))
    except ModelError as err:
        given = ", ".join("none" if v is None else str(v.type) for v in inputs)
        raise ModelError(
            [f"{source}: {text} (operands: {given})" for text in err.problems]
        ) from None
