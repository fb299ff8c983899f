"""Walks the nodes of a model, its functions and subgraphs, and calls their readers.

Problems are collected, so that one run reports every node that cannot be read. The results of
such a node are unavailable; nodes that need them are passed over without a message of their own.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
)

from nntc.core.errors import ModelError, Problems, UnsupportedError, UserError
from nntc.frontends import limits
from nntc.frontends.builder import Builder
from nntc.frontends.errors import MALFORMED
from nntc.frontends.onnx import order, schemas
from nntc.frontends.onnx.call import Binding, Call, RefusedError, Result, find_reader
from nntc.frontends.onnx.file import ExternalData
from nntc.frontends.onnx.tensors import check_numbers, sparse_to_array, to_array
from nntc.ir.graph import Value

log = logging.getLogger("nntc")

# Smaller constants are not worth comparing.
_SHARED_BYTES = 1 << 12
FunctionKey = tuple[str, str, str]


@dataclass(frozen=True)
class Unavailable:
    """Stands for a value that could not be made; the reason is empty if it was reported."""

    reason: str = ""


class PoisonedError(Exception):
    """A needed value is unavailable, which was reported already."""


@dataclass
class Scope:
    """Names visible at one level: the model's graph, a subgraph, or a function's body.

    Attributes:
        prefix: put before names of values made here; empty in the model's graph.
        attrs: the attributes a function was called with; None outside functions.
        weights: initialisers that were not needed yet.
    """

    opsets: Mapping[str, int]
    prefix: str = ""
    parent: Scope | None = None
    attrs: Mapping[str, AttributeProto] | None = None
    depth: int = 0
    values: dict[str, Binding | Unavailable | None] = field(default_factory=dict)
    weights: dict[str, TensorProto | SparseTensorProto] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the name has a value at this level (outer levels aside)."""
        return name in self.values or name in self.weights

    def inner(self, prefix: str) -> Scope:
        """A scope that sees everything of this one."""
        if self.depth >= limits.DEPTH:
            raise ModelError(f"graphs are nested more than {limits.DEPTH} deep")
        return Scope(self.opsets, prefix, self, self.attrs, self.depth + 1)


class Importer:
    """Reads nodes into the builder's graph.

    Args:
        functions: the model's own functions.
        strict: let unexpected exceptions of readers through (tests), instead of blaming the file.
    """

    def __init__(
        self,
        builder: Builder,
        external: ExternalData,
        functions: Iterable[FunctionProto] = (),
        strict: bool = False,
    ) -> None:
        self.b = builder
        self.external = external
        self.refused = Problems(UnsupportedError)
        self.broken = Problems(ModelError)
        self._functions: dict[FunctionKey, FunctionProto] = {
            (schemas.plain_domain(f.domain), f.name, getattr(f, "overload", "")): f
            for f in functions
        }
        self._constants: dict[tuple[str, tuple[int, ...], bytes], np.ndarray] = {}
        self._steps = 0
        self._strict = strict

    def finish(self) -> None:
        """Raise what was collected: unsupported nodes first, then breaches of rules."""
        if len(self.refused):
            raise UnsupportedError([*self.refused, *self.broken])
        self.broken.raise_if_any()

    # -- values -----------------------------------------------------------------------------

    def find(self, name: str, scope: Scope) -> Binding | None:
        """The value of a name, looked up from the inside outwards; None: an absent operand.

        Raises:
            ModelError: nothing has that name.
            RefusedError: the value could not be made, for a reason not reported yet.
            PoisonedError: the value could not be made; reported already.
        """
        level: Scope | None = scope
        while level is not None:
            if name in level.values:
                value = level.values[name]
                if isinstance(value, Unavailable):
                    raise RefusedError(value.reason) if value.reason else PoisonedError
                return value
            if name in level.weights:
                return self._weight(name, level)
            level = level.parent
        raise ModelError(f"nothing makes the value '{name}'")

    def need(self, name: str, scope: Scope) -> Binding:
        """The value of a name that must have one."""
        value = self.find(name, scope)
        if value is None:
            raise ModelError(f"value '{name}' is absent")
        return value

    def _weight(self, name: str, level: Scope) -> Value:
        proto = level.weights[name]
        # A weight that cannot be read is reported once, however many nodes use it.
        level.values[name] = Unavailable()
        try:
            if isinstance(proto, SparseTensorProto):
                data = sparse_to_array(proto, self.external)
            else:
                data = to_array(proto, self.external)
            check_numbers(data, name)
        except RefusedError as err:
            self.refused.add(str(err))
            raise PoisonedError from None
        except UserError as err:
            for line in err.problems:
                self.broken.add(line)
            raise PoisonedError from None
        value = self.b.const(self.shared(data, level))
        self.bind(level, name, value)
        return value

    def shared(self, data: np.ndarray, scope: Scope) -> np.ndarray:
        """The data of a constant; a loop's body makes it once, however often it is unrolled."""
        if not scope.prefix or data.nbytes < _SHARED_BYTES:
            return data
        digest = hashlib.blake2b(data.tobytes(), digest_size=16).digest()
        return self._constants.setdefault((str(data.dtype), data.shape, digest), data)

    def bind(self, scope: Scope, name: str, value: Binding | Unavailable | None) -> None:
        """Give *value* a name; the first name in the model's graph becomes the value's own."""
        scope.values[name] = value
        if isinstance(value, Value) and value in self.b.unnamed:
            value.name = scope.prefix + name
            if not scope.prefix:
                self.b.unnamed.discard(value)

    def open(self, graph: GraphProto, scope: Scope) -> None:
        """Make a graph's initialisers visible in *scope*."""
        for tensor in graph.initializer:
            scope.weights[tensor.name] = tensor
        for sparse in graph.sparse_initializer:
            scope.weights[sparse.values.name] = sparse

    # -- nodes ------------------------------------------------------------------------------

    def run(self, nodes: Sequence[NodeProto], wanted: Iterable[str], scope: Scope) -> None:
        """Read the nodes that the values *wanted* need.

        Raises:
            ModelError: the nodes form a cycle, or names are used twice.
        """
        for node in order.plan(nodes, wanted, scope.has):
            self._step(node, scope)

    def _step(self, node: NodeProto, scope: Scope) -> None:
        label = f"{scope.prefix}{node.name or next(filter(None, node.output), node.op_type)}"
        outer = self.b.label, self.b.source
        domain = schemas.plain_domain(node.domain)
        opset = scope.opsets.get(domain)
        what = f"{label} ({node.op_type}, {domain or 'ai.onnx'} {opset or '?'})"
        self.b.label, self.b.source = label, f"{label} ({node.op_type})"
        results: list[Binding | Unavailable | None] = [Unavailable()] * len(node.output)
        try:
            self._steps += 1
            if self._steps > limits.STEPS:
                raise _TooLongError(f"more than {limits.STEPS} nodes after unrolling loops")
            # Protobuf gives text that is not UTF-8 as bytes.
            if not all(isinstance(n, str) for n in (*node.input, *node.output, node.op_type)):
                raise ModelError("a name is not valid text")
            results = self._read(node, scope, domain, opset)
        except PoisonedError:
            pass
        except RefusedError as err:
            self.refused.add(f"{what}: {err}")
        except _TooLongError as err:
            raise ModelError(f"{what}: {err}") from None
        except UserError as err:
            for line in err.problems:
                self.broken.add(f"{what}: {line}")
        except MALFORMED as err:
            if self._strict:
                raise
            log.debug("%s", what, exc_info=True)
            self.broken.add(f"{what}: the node is malformed ({type(err).__name__}: {err})")
        finally:
            self.b.label, self.b.source = outer
        for index, name in enumerate(node.output):
            if not name:
                continue
            value = results[index] if index < len(results) else None
            if value is None:
                value = Unavailable(f"result '{name}' of {what} is not available")
            self.bind(scope, name, value)

    def _read(
        self, node: NodeProto, scope: Scope, domain: str, opset: int | None
    ) -> list[Binding | Unavailable | None]:
        attrs = _resolve(node, scope)
        function = self._functions.get((domain, node.op_type, getattr(node, "overload", "")))
        schema = schemas.find(node.op_type, domain, opset or 1)
        since = schema.since_version if schema is not None else opset or 1
        reader = find_reader(domain, node.op_type, since)
        if function is not None and (reader is None or domain):
            return list(self._call_function(function, node, scope, attrs))
        if opset is None:
            raise ModelError(f"the model imports no operator set of domain '{domain}'")
        if schema is not None:
            schemas.check(schema, node)
        if reader is None:
            if schema is None:
                raise RefusedError("the operator is not known")
            reason = schemas.REFUSED.get(node.op_type)
            if reason:
                raise RefusedError(reason)
        operands = self._operands(node, scope)
        call = Call(self.b, self, scope, node, node.op_type, domain, since, operands, attrs)
        if reader is not None:
            return _as_list(reader(call))
        assert schema is not None
        body = schemas.function_body(schema, node, attrs, operands, opset)
        if body is None:
            raise RefusedError("the operator has no meaning on the chip")
        merged = {**schemas.defaults(schema), **attrs}
        return list(self._call_function(body, node, scope, merged))

    def _operands(self, node: NodeProto, scope: Scope) -> list[Binding | None]:
        operands = [self.find(name, scope) if name else None for name in node.input]
        while operands and operands[-1] is None:
            operands.pop()
        return operands

    # -- bodies -----------------------------------------------------------------------------

    def _call_function(
        self,
        function: FunctionProto,
        node: NodeProto,
        scope: Scope,
        attrs: Mapping[str, AttributeProto],
    ) -> list[Binding | None]:
        if scope.depth >= limits.DEPTH:
            raise ModelError(f"functions call each other more than {limits.DEPTH} deep")
        if len(node.input) > len(function.input):
            raise ModelError(
                f"function '{function.name}' takes {len(function.input)} operands, "
                f"{len(node.input)} are given"
            )
        given = {a.name: a for a in function.attribute_proto}
        given.update(attrs)
        inner = Scope(
            # Bodies of operators may leave out the sets that the caller imports.
            {**scope.opsets, **schemas.opsets(function.opset_import)},
            prefix=f"{self.b.label}/",
            attrs=given,
            depth=scope.depth + 1,
        )
        for index, formal in enumerate(function.input):
            actual = node.input[index] if index < len(node.input) else ""
            inner.values[formal] = self.find(actual, scope) if actual else None
        wanted = [
            formal if index < len(node.output) and node.output[index] else ""
            for index, formal in enumerate(function.output)
        ]
        self.run(function.node, filter(None, wanted), inner)
        return [self.find(name, inner) if name else None for name in wanted]

    def subgraph(
        self, graph: GraphProto, scope: Scope, bindings: Mapping[str, Binding], prefix: str
    ) -> list[Binding]:
        """The results of a subgraph whose inputs have the given values.

        Raises:
            PoisonedError: a node inside could not be read (reported).
        """
        inner = scope.inner(f"{self.b.label}/{prefix}")
        self.open(graph, inner)
        inner.values.update(bindings)
        names = [v.name for v in graph.output]
        self.run(graph.node, names, inner)
        return [self.need(name, inner) for name in names]


class _TooLongError(Exception):
    """Reading takes too many steps; nothing more is tried."""


def _as_list(result: Result) -> list[Binding | Unavailable | None]:
    if isinstance(result, Sequence):
        return list(result)
    return [result]


def _resolve(node: NodeProto, scope: Scope) -> dict[str, AttributeProto]:
    """The node's attributes; references to the enclosing function's are followed."""
    attrs: dict[str, AttributeProto] = {}
    for attr in node.attribute:
        if not attr.ref_attr_name:
            attrs[attr.name] = attr
        elif scope.attrs is None:
            raise ModelError(f"attribute '{attr.name}' refers to a function, there is none")
        elif attr.ref_attr_name in scope.attrs:
            attrs[attr.name] = scope.attrs[attr.ref_attr_name]
    return attrs
