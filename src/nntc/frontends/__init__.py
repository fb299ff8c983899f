"""The front ends: one reader a framework. :func:`load` chooses by the file's name.

A front end is a package with a function ``load`` that gives a :class:`~nntc.ir.graph.Graph` of
static shapes. It is imported on use.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nntc.core.errors import UserError
from nntc.frontends.siblings import beside

if TYPE_CHECKING:
    from nntc.frontends.shapes import Shapes
    from nntc.ir.graph import Graph

SUFFIXES = {
    ".onnx": "onnx",
    ".cfg": "darknet",
    ".prototxt": "caffe",
    ".caffemodel": "caffe",
    ".json": "mxnet",
}
"""Ending of a model file's name → the front end that reads it."""


def load(
    model: str | os.PathLike[str] | Any,
    weights: str | os.PathLike[str] | None = None,
    shapes: Shapes | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Graph:
    """Read a model of any framework.

    Args:
        model: file name, or an ``onnx.ModelProto``. Of a Caffe network either file may be the
            model, and the other one the weights.
        weights: file with the weights, for frameworks that keep them apart; default: the file
            that lies beside the model under the same name.
        shapes: shapes of the inputs; needed where the model leaves dimensions open.
        input_names, output_names: cut the model at these tensors.

    Raises:
        UserError: the file cannot be read, or holds what this toolchain cannot express.
    """
    kind = _kind(model)
    if kind == "onnx":
        from nntc.frontends import onnx

        if weights is not None:
            raise UserError(f"{model}: an ONNX model holds its weights; {weights} is not needed")
        return onnx.load(model, shapes, input_names, output_names)
    if input_names:
        raise UserError(f"{model}: inputs cannot be chosen for this kind of model, outputs can")
    if kind == "caffe":
        from nntc.frontends import caffe

        if Path(model).suffix.lower() == ".caffemodel":
            model, weights = weights or beside(model, ".prototxt"), model
        return caffe.load(model, weights, shapes, output_names)
    if kind == "mxnet":
        from nntc.frontends import mxnet

        return mxnet.load(model, weights, shapes, output_names)
    from nntc.frontends import darknet

    return darknet.load(model, weights, shapes, output_names)


def _kind(model: object) -> str:
    """The front end for a model.

    Raises:
        UserError: none is known.
    """
    if not isinstance(model, (str, os.PathLike)):
        return "onnx"
    suffix = Path(model).suffix.lower()
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    known = ", ".join([*SUFFIXES, ".umodel"])
    raise UserError(f"{model}: unknown kind of model {suffix!r}; known are {known}")
