"""What becomes of every ONNX operator, for the support tables."""

from __future__ import annotations

from onnx import defs

from nntc.frontends.onnx import readers, schemas
from nntc.frontends.onnx.call import find_reader

readers.register_all()


def support(domain: str = "") -> dict[str, str]:
    """Operator → "read", "inlined" (through its definition by other operators), or the reason why
    it is refused; by the newest definition that the installed onnx package has."""
    table: dict[str, str] = {}
    for schema in defs.get_all_schemas():
        if schema.domain == domain:
            table[schema.name] = _how(schema)
    return dict(sorted(table.items()))


def _how(schema: schemas.Schema) -> str:
    if find_reader(schema.domain, schema.name, schema.since_version) is not None:
        return "read"
    if schema.name in schemas.REFUSED:
        return f"refused: {schemas.REFUSED[schema.name]}"
    if schemas.is_function(schema):
        return "inlined"
    return "refused: it has no meaning on the chip"
