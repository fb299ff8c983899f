"""What the onnx package knows of standard operators: versions, limits, function bodies."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from onnx import (
    AttributeProto,
    FunctionProto,
    NodeProto,
    OperatorSetIdProto,
    TensorProto,
    TypeProto,
    defs,
    helper,
)
from onnx.defs import OpSchema

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends.onnx.call import Binding
from nntc.ir.graph import Value

Schema = OpSchema

_RANDOM = "its result is random; a compiled network gives the same result for the same input"
_STRING = "it works on strings"
_TRAINING = "it belongs to training"
# Operators without a meaning in a static network, and why; else the reason is a general one.
REFUSED: dict[str, str] = {
    **dict.fromkeys(
        (
            "Bernoulli",
            "Multinomial",
            "RandomNormal",
            "RandomNormalLike",
            "RandomUniform",
            "RandomUniformLike",
        ),
        _RANDOM,
    ),
    **dict.fromkeys(
        ("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit"),
        _STRING,
    ),
    **dict.fromkeys(("Adagrad", "Adam", "Gradient", "Momentum"), _TRAINING),
    "ImageDecoder": "it decodes image files; decode before the network",
}


def plain_domain(domain: str) -> str:
    """The default domain has two spellings."""
    return "" if domain == "ai.onnx" else domain


def opsets(imports: Iterable[OperatorSetIdProto]) -> dict[str, int]:
    """Domain → version of the operator set."""
    return {plain_domain(o.domain): o.version for o in imports}


def newest() -> int:
    """The newest operator set that the installed onnx package knows."""
    return defs.onnx_opset_version()


@functools.cache
def find(op: str, domain: str, opset: int) -> Schema | None:
    """The definition of an operator that applies in an operator set, None if there is none."""
    try:
        # A version beyond the package's own gets its newest definition.
        return defs.get_schema(op, min(max(opset, 1), 1 << 20), domain)
    except (defs.SchemaError, TypeError):
        # A name that is not valid text is no operator's.
        return None


@functools.cache
def _known_attributes(op: str, domain: str, since: int) -> tuple[frozenset[str], frozenset[str]]:
    """All attribute names, and the required ones."""
    attributes = defs.get_schema(op, since, domain).attributes
    return frozenset(attributes), frozenset(n for n, a in attributes.items() if a.required)


def check(schema: Schema, node: NodeProto) -> None:
    """The node's operands and attributes are those that its definition has.

    Raises:
        ModelError: wrong number of operands or results, attributes unknown or missing.
    """
    if schema.deprecated:
        return
    for what, names, low, high in (
        ("operands", node.input, schema.min_input, schema.max_input),
        ("results", node.output, schema.min_output, schema.max_output),
    ):
        given = len(names)
        if not low <= given <= high:
            allowed = str(low) if low == high else f"{low} to {high}"
            raise ModelError(f"it has {given} {what}, {schema.name} has {allowed}")
    known, required = _known_attributes(schema.name, schema.domain, schema.since_version)
    names = {a.name for a in node.attribute}
    for name in names - known:
        raise ModelError(
            f"attribute '{name}' does not exist in {schema.name} of version {schema.since_version}"
        )
    for name in required - names:
        raise ModelError(f"attribute '{name}' is missing")


def defaults(schema: Schema) -> dict[str, AttributeProto]:
    """Default values of the attributes that have one."""
    return {
        name: attr.default_value
        for name, attr in schema.attributes.items()
        if attr.default_value.name
    }


def is_function(schema: Schema) -> bool:
    """Whether the operator is defined in terms of others."""
    known: Any = schema
    return known.has_function or known.has_context_dependent_function


def function_body(
    schema: Schema,
    node: NodeProto,
    attrs: Mapping[str, AttributeProto],
    operands: Sequence[Binding | None],
    opset: int,
) -> FunctionProto | None:
    """The definition of an operator in terms of others, None if it has none."""
    # The package's type stubs leave these members out.
    known: Any = schema
    if known.has_function:
        version = _newest_fitting(known.function_opset_versions, opset)
        return FunctionProto.FromString(known.get_function_with_opset_version(version))
    if not known.has_context_dependent_function:
        return None
    plain = NodeProto()
    plain.CopyFrom(node)
    del plain.attribute[:]
    for name, attr in attrs.items():
        copy = plain.attribute.add()
        copy.CopyFrom(attr)
        copy.name = name
    types = [_type_of(v).SerializeToString() for v in operands]
    types += [b""] * (len(node.input) - len(types))
    version = _newest_fitting(known.context_dependent_function_opset_versions, opset)
    body = known.get_context_dependent_function_with_opset_version(
        version, plain.SerializeToString(), types
    )
    return FunctionProto.FromString(body) if body else None


def _newest_fitting(versions: Sequence[int], opset: int) -> int:
    fitting = [v for v in versions if v <= opset]
    return max(fitting) if fitting else min(versions)


_NUMBER = {
    DType.F32: TensorProto.FLOAT,
    DType.F16: TensorProto.FLOAT16,
    DType.F64: TensorProto.DOUBLE,
    DType.BOOL: TensorProto.BOOL,
    DType.I8: TensorProto.INT8,
    DType.U8: TensorProto.UINT8,
    DType.I16: TensorProto.INT16,
    DType.U16: TensorProto.UINT16,
    DType.I32: TensorProto.INT32,
    DType.U32: TensorProto.UINT32,
    DType.I64: TensorProto.INT64,
    DType.U64: TensorProto.UINT64,
}


def onnx_type(dtype: DType) -> int:
    return _NUMBER[dtype]


def _type_of(value: Binding | None) -> TypeProto:
    if not isinstance(value, Value):
        return TypeProto()
    return helper.make_tensor_type_proto(onnx_type(value.dtype), value.shape)
