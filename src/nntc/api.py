"""The calls that make up the toolchain: load, check, compile. Each reads as its own contents.

``progress`` arguments are functions ``(stage, done, total)``: the stage's name, and how many steps
of it are done out of how many (0: unknown). They are called often and must be cheap.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nntc.core.errors import UserError

if TYPE_CHECKING:
    from nntc.ir.graph import Graph

Progress = Callable[[str, int, int], None]
Shapes = Mapping[str, Sequence[int]] | Sequence[Sequence[int]]
"""Input name → shape, or one shape for each input in order."""

MODEL_SUFFIXES = {".onnx": "onnx", ".umodel": "umodel"}
"""File name ending → reader."""


def load(
    model: str | os.PathLike[str] | Any,
    *,
    shapes: Shapes | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Graph:
    """Read a model into a graph with static shapes.

    Args:
        model: file name (.onnx, .umodel), or an ``onnx.ModelProto``.
        shapes: shapes of the inputs; needed where the model leaves dimensions open.
        input_names, output_names: cut the model at these tensors.

    Raises:
        UserError: the file cannot be read, or holds what this toolchain cannot express.
    """
    kind = "onnx"
    if isinstance(model, (str, os.PathLike)):
        suffix = Path(model).suffix.lower()
        kind = MODEL_SUFFIXES.get(suffix, "")
        if not kind:
            known = ", ".join(MODEL_SUFFIXES)
            raise UserError(f"{model}: unknown kind of model {suffix!r}; known are {known}")
    if kind == "umodel":
        if shapes or input_names or output_names:
            raise UserError(
                f"{model}: a UModel has fixed shapes, inputs and outputs; "
                "they are chosen when it is made"
            )
        from nntc.ir import umodel

        return umodel.load(model)
    from nntc.frontends import onnx

    return onnx.load(model, shapes=shapes, input_names=input_names, output_names=output_names)
