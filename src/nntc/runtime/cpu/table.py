"""The layers there are: for users, for the compiler, and for the reference page."""

from __future__ import annotations

from nntc.bmodel.cpu_ops import PARAMS
from nntc.core.errors import UnsupportedError
from nntc.runtime.cpu import (
    deform,
    elementwise,
    gather,
    multiclass,
    nms,
    pool,
    priors,
    proposals,
    random,
    resize,
    roi,
    sampling,
    scatter,
    select,
    sorting,
    ssd,
    user,
    yolo,
)
from nntc.runtime.cpu.registry import LAYERS, Port

# Importing a family registers its layers.
FAMILIES = (
    deform,
    elementwise,
    gather,
    multiclass,
    nms,
    pool,
    priors,
    proposals,
    random,
    resize,
    roi,
    sampling,
    scatter,
    select,
    sorting,
    ssd,
    yolo,
)


def supported() -> dict[int, str]:
    """Layer types that can run, with what each does (users' layers by their names)."""
    built_in = {op: LAYERS[op].text for op in sorted(LAYERS)}
    return {**built_in, **{op: name for op, name in user.names().items() if op >= 10000}}


def signature(op_type: int) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Input and output ports of a built-in layer: names, element kinds, which are optional.

    Raises:
        UnsupportedError: not a built-in layer.
    """
    if op_type not in LAYERS:
        raise UnsupportedError(f"CPU layer type {op_type} is not one of the runtime's")
    return LAYERS[op_type].inputs, LAYERS[op_type].outputs


def reference() -> str:
    """The reference table in Markdown, one row a layer."""
    lines = [
        "| id | layer | inputs | outputs | parameter | what it does |",
        "|---|---|---|---|---|---|",
    ]
    for op in sorted(LAYERS):
        found = LAYERS[op]
        struct = PARAMS[found.op]
        members = ", ".join(struct.__dataclass_fields__) or "none"
        lines.append(
            f"| {op} | {found.op.name} | {'; '.join(map(str, found.inputs))} "
            f"| {'; '.join(map(str, found.outputs))} | {members} ({struct.size()} bytes) "
            f"| {found.text} |"
        )
    return "\n".join(lines) + "\n"
