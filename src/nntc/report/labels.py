"""Short names of operators for people."""

from __future__ import annotations

from nntc.ir.graph import Op


def label(op: Op) -> str:
    """The operator's name, with its function where one class stands for many: ``Unary exp``."""
    function = getattr(op, "fn", None)
    return f"{op.name} {function}" if function else op.name
