"""Loads an MXNet network as a graph of static shapes."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from nntc.core import files
from nntc.core.dtype import DType
from nntc.core.errors import ModelError, Problems, UnsupportedError, UserError
from nntc.frontends.builder import Builder
from nntc.frontends.errors import MALFORMED, RefusedError, malformed, one_line
from nntc.frontends.finish import finish
from nntc.frontends.mxnet import readers
from nntc.frontends.mxnet.call import READERS, REFUSED, Call
from nntc.frontends.mxnet.params import read_params
from nntc.frontends.mxnet.symbol import Place, Symbol, parse
from nntc.frontends.shapes import Shapes, fix_shapes
from nntc.ir.graph import Graph, Value

__all__ = ["load"]

# Importing the package fills the table of readers.
_ = readers.__all__

Source = str | os.PathLike[str] | bytes


def load(
    model: Source,
    weights: Source | None = None,
    shapes: Shapes | None = None,
    output_names: Sequence[str] | None = None,
    *,
    strict: bool = False,
) -> Graph:
    """Read an MXNet network.

    Values have the names of the nodes, outputs those of MXNet (``fc1_output``).

    Args:
        model: path or bytes of ``NAME-symbol.json``.
        weights: path or bytes of the parameters; default: the one ``NAME-EPOCH.params`` beside,
            of several the last epoch.
        shapes: shapes of the inputs, in their order or by name. Labels are no inputs.
        output_names: nodes, or their outputs by MXNet's name, that become the outputs.
        strict: let unexpected exceptions through, instead of blaming the file (for tests).

    Raises:
        ModelError: a file is damaged, or the two do not belong together.
        UnsupportedError: lists the nodes that cannot be expressed.
        UserError: a file cannot be read.
    """
    name = "model" if isinstance(model, bytes) else str(model)
    try:
        symbol = parse(model if isinstance(model, bytes) else files.read_bytes(model))
        if weights is None and not isinstance(model, bytes):
            weights = find_params(model)
        data = weights if isinstance(weights, bytes) else files.read_bytes(weights or "")
        try:
            params = read_params(data)
        except ModelError as err:
            where = "parameters" if isinstance(weights, bytes) else Path(weights or "").name
            raise ModelError([f"{where}: {line}" for line in err.problems]) from None
        stem = "network" if isinstance(model, bytes) else Path(model).name.split("-symbol")[0]
        return _Loader(symbol, params, stem).load(shapes, output_names)
    except UserError as err:
        lines = [line if line.startswith(name) else f"{name}: {line}" for line in err.problems]
        raise type(err)([one_line(line) for line in lines]) from None
    except MALFORMED as err:
        if strict:
            raise
        raise malformed(name, err) from None


def find_params(model: str | os.PathLike[str]) -> Path:
    """The parameters beside a symbol.

    Raises:
        UserError: there are none.
    """
    path = Path(model)
    stem = path.name.split("-symbol")[0].removesuffix(".json")
    try:
        found = sorted(p for p in path.parent.iterdir() if p.suffix == ".params")
    except OSError:
        found = []
    mine = [p for p in found if p.stem == stem or p.stem.rpartition("-")[0] == stem]
    if not mine:
        raise UserError(
            f"{model}: its parameters ({stem}-0000.params) are not beside it; name them"
        )
    return mine[-1]


class _Loader:
    def __init__(self, symbol: Symbol, params: Mapping[str, np.ndarray], name: str) -> None:
        self.symbol = symbol
        self.params = params
        self.builder = Builder(name, [node.name for node in symbol.nodes])
        self.values: dict[int, list[Value]] = {}
        self.broken = Problems(ModelError)
        self.refused = Problems(UnsupportedError)
        # Nodes that could not be read, and those that depend on them.
        self.lost: set[int] = set()

    def load(self, shapes: Shapes | None, output_names: Sequence[str] | None) -> Graph:
        outputs = self._outputs(output_names)
        needed = self._needed(place[0] for place in outputs.values())
        self._check_known(needed)
        nodes = self.symbol.nodes
        declared = {
            nodes[n].name: _declared(nodes[n].attrs.get("__shape__", ""))
            for n in needed
            if nodes[n].op == "null" and nodes[n].name not in self.params
        }
        fixed = fix_shapes(declared, shapes)
        for number in needed:
            node = nodes[number]
            if node.op != "null":
                self._read(number)
            elif node.name in fixed:
                value = self.builder.graph.input(node.name, DType.F32, fixed[node.name])
                self.values[number] = [value]
            else:
                self.builder.label = node.name
                self.values[number] = [self.builder.const(self.params[node.name])]
        self.refused.raise_if_any()
        self.broken.raise_if_any()
        found: dict[str, Value] = {}
        for name, (number, index) in outputs.items():
            results = self.values[number]
            if index >= len(results):
                raise ModelError(f"{nodes[number]} has {len(results)} results, not {index + 1}")
            found[name] = results[index]
        finish(self.builder, found, list(found))
        return self.builder.graph

    def _outputs(self, wanted: Sequence[str] | None) -> dict[str, Place]:
        """Names and places of the outputs.

        Raises:
            ModelError: a name is not known.
        """
        symbol = self.symbol
        if not wanted:
            return {symbol.output_name(place): place for place in symbol.heads}
        names: dict[str, Place] = {}
        for number, node in enumerate(symbol.nodes):
            names.setdefault(node.name, (number, 0))
            names.setdefault(f"{node.name}_output", (number, 0))
        names |= {symbol.output_name(place): place for place in symbol.heads}
        problems = Problems(ModelError)
        for name in wanted:
            if name not in names:
                near = difflib.get_close_matches(name, names, 3)
                hint = f"; similar: {', '.join(near)}" if near else ""
                problems.add(f"the model has no node '{name}'{hint}")
        problems.raise_if_any()
        return {name: names[name] for name in wanted}

    def _needed(self, roots: Iterable[int]) -> list[int]:
        """Nodes that the outputs depend on, in order; labels are not among them."""
        seen: set[int] = set(roots)
        for number in range(len(self.symbol.nodes) - 1, -1, -1):
            if number in seen:
                node = self.symbol.nodes[number]
                inputs = node.inputs[:1] if node.op in readers.WITH_LABEL else node.inputs
                seen.update(place[0] for place in inputs)
        return sorted(seen)

    def _check_known(self, needed: Sequence[int]) -> None:
        problems = Problems(UnsupportedError)
        kinds: dict[str, list[str]] = {}
        for number in needed:
            node = self.symbol.nodes[number]
            if node.op != "null" and node.op not in READERS:
                kinds.setdefault(node.op, []).append(str(node))
        for op, nodes in kinds.items():
            near = difflib.get_close_matches(op, READERS, 1)
            hint = f" (is {near[0]} meant?)" if near else ""
            reason = REFUSED.get(op, f"the operator is not known{hint}")
            more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
            problems.add(f"{nodes[0]}{more}: {reason}")
        problems.raise_if_any()

    def _read(self, number: int) -> None:
        node = self.symbol.nodes[number]
        if any(place[0] in self.lost for place in node.inputs):
            self.lost.add(number)
            return
        self.builder.label, self.builder.source = node.name, str(node)
        call = Call(self.builder, node, lambda i: self._operand(number, i), len(node.inputs))
        try:
            result = READERS[node.op](call)
        except RefusedError as err:
            self.refused.add(f"{node}: {err}")
            self.lost.add(number)
            return
        except ModelError as err:
            for line in err.problems:
                self.broken.add(f"{node}: {line}")
            self.lost.add(number)
            return
        results = [result] if isinstance(result, Value) else result
        for index, value in enumerate(results):
            if value in self.builder.unnamed:
                self.builder.unnamed.discard(value)
                value.name = node.name if len(results) == 1 else f"{node.name}.{index}"
        self.values[number] = results

    def _operand(self, number: int, index: int) -> Value:
        source, output = self.symbol.nodes[number].inputs[index]
        results = self.values[source]
        if output >= len(results):
            raise ModelError(
                f"operand {index} is result {output} of '{self.symbol.nodes[source].name}', which "
                f"has {len(results)}"
            )
        return results[output]


def _declared(text: str) -> tuple[int, ...] | None:
    """A shape that a variable states, if it is whole."""
    parts = text.strip("()[] ").split(",")
    try:
        dims = tuple(int(part.strip().rstrip("L")) for part in parts if part.strip())
    except ValueError:
        return None
    return dims if dims and min(dims) > 0 else None
