"""Loads an ONNX model as a graph of static shapes."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto

from nntc.core.dtype import DType
from nntc.core.errors import ModelError, Problems, UnsupportedError, UserError
from nntc.frontends.builder import Builder, log
from nntc.frontends.errors import MALFORMED, malformed, one_line
from nntc.frontends.finish import finish
from nntc.frontends.onnx import readers, schemas
from nntc.frontends.onnx.call import ListValue, RefusedError
from nntc.frontends.onnx.file import ExternalData, read_model
from nntc.frontends.onnx.importer import Importer, PoisonedError, Scope
from nntc.frontends.onnx.inputs import Input, Shapes, check_type, declared, fix_shapes
from nntc.frontends.onnx.order import operands, plan, producers
from nntc.ir.graph import Graph, Value

readers.register_all()


def load(
    source: str | os.PathLike[str] | bytes | ModelProto,
    shapes: Shapes | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    *,
    constants: Mapping[str, np.ndarray] | None = None,
    strict: bool = False,
) -> Graph:
    """Read an ONNX model.

    Shape arithmetic and everything else that depends on constants only is evaluated; loops are
    unrolled and functions inlined; float types become f32. Values keep the model's names.

    Args:
        source: a path, the bytes of a file, or a parsed model. External data needs a path.
        shapes: shapes of the inputs, in their order or by name; inputs beyond a list's end and
            None entries keep the shape the model declares.
        input_names: tensors that become the network's inputs, in this order; anything before
            them is cut off. Default: the model's inputs.
        output_names: tensors that become the outputs. Default: the model's outputs.
        constants: inputs to fix to a value; they are no inputs of the network then.
        strict: let unexpected exceptions through, instead of blaming the file (for tests).

    Raises:
        ModelError: the file is not a valid model, or shapes do not fit.
        UnsupportedError: every node that cannot be expressed, one line each.
        UserError: a file cannot be read.
    """
    model, folder, name = read_model(source)
    try:
        return _Loader(model, folder, strict).load(
            shapes, input_names, output_names, constants or {}
        )
    except RefusedError as err:
        raise UnsupportedError(one_line(f"{name}: {err}")) from None
    except UserError as err:
        raise type(err)([one_line(f"{name}: {line}") for line in err.problems]) from None
    except MALFORMED as err:
        if strict:
            raise
        raise malformed(name, err) from None


class _Loader:
    def __init__(self, model: ModelProto, folder: Path | None, strict: bool) -> None:
        self.model = model
        self.proto: GraphProto = model.graph
        self.folder = folder
        self.strict = strict
        self.opsets = schemas.opsets(model.opset_import) or {"": 1}
        version = self.opsets.get("", 1)
        if version < 1:
            raise ModelError(f"operator set version {version} does not exist")
        if version > schemas.newest():
            log.warning(
                "the model uses operator set %d, %d is the newest known here; operators whose "
                "meaning changed since are read as before",
                version,
                schemas.newest(),
            )
        names = [self.proto.name, *(v.name for v in (*self.proto.input, *self.proto.output))]
        if not all(isinstance(n, str) for n in names):
            raise ModelError("the name of the graph, an input or an output is not valid text")
        # Before IR version 4 every initialiser is listed as an input, too.
        weights = {t.name for t in self.proto.initializer}
        weights |= {s.values.name for s in self.proto.sparse_initializer}
        self.weights = weights
        self.inputs = {v.name: v for v in self.proto.input if v.name not in weights}

    def load(
        self,
        shapes: Shapes | None,
        input_names: Sequence[str] | None,
        output_names: Sequence[str] | None,
        constants: Mapping[str, np.ndarray],
    ) -> Graph:
        outputs = list(output_names or (v.name for v in self.proto.output))
        self._check_names([*(input_names or ()), *constants, *outputs])
        given = [n for n in (input_names or self.inputs) if n not in constants]
        specs = self._specs(given)
        fixed = fix_shapes(specs, shapes)
        builder = Builder(self.proto.name or "network", producers(self.proto.node))
        importer = Importer(builder, ExternalData(self.folder), self.model.functions, self.strict)
        scope = Scope(self.opsets)
        importer.open(self.proto, scope)
        for spec in specs:
            scope.weights.pop(spec.name, None)
            scope.values[spec.name] = _input(builder, spec.name, spec.dtype, fixed[spec.name])
        for name, data in constants.items():
            scope.weights.pop(name, None)
            importer.bind(scope, name, builder.const(data))
        self._check_cut(outputs, scope)
        importer.run(self.proto.node, outputs, scope)
        found = self._outputs(outputs, importer, scope)
        importer.finish()
        values = {n: v for n, v in zip(outputs, found, strict=True) if v is not None}
        finish(builder, values, outputs)
        return builder.graph

    # -- inputs -----------------------------------------------------------------------------

    def _check_names(self, names: Sequence[str]) -> None:
        known = {*self.inputs, *self.weights, *producers(self.proto.node)}
        problems = Problems(ModelError)
        for name in dict.fromkeys(names):
            if name not in known:
                near = difflib.get_close_matches(name, known, 3)
                hint = f"; similar: {', '.join(near)}" if near else ""
                problems.add(f"the model has no tensor named '{name}'{hint}")
        problems.raise_if_any()

    def _specs(self, names: Sequence[str]) -> list[Input]:
        infos = {v.name: v for v in (*self.proto.value_info, *self.proto.output)}
        refused = Problems(UnsupportedError)
        specs: list[Input] = []
        for name in names:
            try:
                if name in self.inputs:
                    spec = declared(self.inputs[name])
                else:
                    spec = self._cut_spec(name, infos)
                check_type(spec)
                specs.append(spec)
            except RefusedError as err:
                refused.add(str(err))
        refused.raise_if_any()
        return specs

    def _cut_spec(self, name: str, infos: Mapping[str, object]) -> Input:
        """Type of an inner tensor: as the model states it, else by reading what makes it."""
        info = infos.get(name)
        if info is not None:
            spec = declared(info)  # type: ignore[arg-type]
            if spec.is_static:
                return spec
        try:
            graph = _Loader(self.model, self.folder, self.strict).load(None, None, [name], {})
            kind = graph.outputs[0].type
            return Input(name, schemas.onnx_type(kind.dtype), list(kind.shape))
        except (UserError, RefusedError):
            if info is not None:
                return spec
            return Input(name, schemas.onnx_type(DType.F32), None)

    def _check_cut(self, outputs: Sequence[str], scope: Scope) -> None:
        """Every tensor that the outputs need comes after the cut.

        Raises:
            ModelError: names the model's inputs that are still needed.
        """
        needed = {n for node in plan(self.proto.node, outputs, scope.has) for n in operands(node)}
        lost = [n for n in self.inputs if n in needed | set(outputs) and not scope.has(n)]
        if lost:
            listed = ", ".join(f"'{n}'" for n in lost)
            raise ModelError(
                f"the outputs still depend on the model's inputs {listed}; name them as inputs "
                "too, or cut at other tensors"
            )

    # -- outputs ----------------------------------------------------------------------------

    def _outputs(
        self, names: Sequence[str], importer: Importer, scope: Scope
    ) -> list[Value | None]:
        found: list[Value | None] = []
        for name in names:
            value = None
            try:
                value = importer.find(name, scope)
                if isinstance(value, ListValue) or value is None:
                    raise RefusedError(
                        "it is a sequence or optional; the chip's networks give tensors"
                    )
            except PoisonedError:
                pass
            except RefusedError as err:
                importer.refused.add(f"output '{name}': {err}")
            except ModelError as err:
                for line in err.problems:
                    importer.broken.add(f"output '{name}': {line}")
            found.append(value if isinstance(value, Value) else None)
        return found


def _input(builder: Builder, name: str, dtype: DType, shape: tuple[int, ...]) -> Value:
    value = builder.graph.input(name, dtype, shape)
    if value.type.size == 0:
        # An empty tensor is known; the network keeps the input, nothing reads it.
        return builder.const(np.empty(shape, dtype.numpy))
    return value
