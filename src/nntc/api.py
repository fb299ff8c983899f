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
    from nntc.backend import CompileResult, Finding
    from nntc.ir.graph import Graph

Progress = Callable[[str, int, int], None]
Shapes = Mapping[str, Sequence[int]] | Sequence[Sequence[int]]
"""Input name → shape, or one shape for each input in order."""

ModelSource = str | os.PathLike[str] | Any
"""A file name, an ``onnx.ModelProto`` or a :class:`nntc.ir.graph.Graph`."""


def load(
    model: ModelSource,
    *,
    weights: str | os.PathLike[str] | None = None,
    shapes: Shapes | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    simplify: bool = True,
    progress: Progress | None = None,
) -> Graph:
    """Read a model into a graph with static shapes.

    Args:
        model: file name (see :data:`nntc.frontends.SUFFIXES`; .umodel), an ``onnx.ModelProto``,
            or a graph, which is returned as it is.
        weights: the file with the weights, for frameworks that keep them apart; default: the file
            of the same name beside the model.
        shapes: shapes of the inputs; needed where the model leaves dimensions open.
        input_names, output_names: cut the model at these tensors.
        simplify: run the passes that make the graph smaller without changing what it computes.

    Raises:
        UserError: the file cannot be read, or holds what this toolchain cannot express.
    """
    from nntc import passes
    from nntc.ir.graph import Graph

    if isinstance(model, Graph):
        return model
    tell = progress or _silent
    tell("read", 0, 0)
    graph = _read(model, weights, shapes, input_names, output_names)
    if simplify:
        tell("simplify", 0, 0)
        graph = passes.simplify(graph)
    return graph


def _read(
    model: ModelSource,
    weights: str | os.PathLike[str] | None,
    shapes: Shapes | None,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
) -> Graph:
    """The graph from a UModel, or from the front end that the file's name calls for."""
    if isinstance(model, (str, os.PathLike)) and Path(model).suffix.lower() == ".umodel":
        if weights or shapes or input_names or output_names:
            raise UserError(
                f"{model}: a UModel has fixed shapes, weights, inputs and outputs; "
                "they are chosen when it is made"
            )
        from nntc.ir import umodel

        return umodel.load(model)
    from nntc import frontends

    return frontends.load(model, weights, shapes, input_names, output_names)


def check(model: ModelSource, **options: Any) -> list[Finding]:
    """Where each operator of a model would run, and why not on the TPU if elsewhere.

    Args:
        model, options: see :func:`load`.

    Raises:
        UserError: see :func:`load`.
    """
    from nntc import backend

    return backend.check(load(model, **options))


def compile(
    model: ModelSource,
    output: str | os.PathLike[str] | None = None,
    *,
    net_name: str = "",
    opt: int = 2,
    keep_values: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> CompileResult:
    """Compile a model into a BModel.

    Args:
        model, options: see :func:`load`.
        output: file to write; None: the BModel is only in the result.
        net_name: name of the net in the BModel; default: the file's name without its ending.
        opt: optimisation level, 0 to 2.
        keep_values: give every value a place in memory of its own, so that all can be read and
            compared after a run; needs more memory on the device.

    Raises:
        UserError: the model cannot be read, or the file not written.
        UnsupportedError: lists every node that the chip and its runtime cannot run.
    """
    from nntc import backend, bmodel

    tell = progress or _silent
    if output is not None:
        check_writable(Path(output))
    graph = load(model, progress=tell, **options)
    if not net_name and isinstance(model, (str, os.PathLike)):
        net_name = Path(model).stem
    chosen = backend.CompileOptions(net_name=net_name, opt=opt, keep_values=keep_values)
    result = backend.compile_graph(graph, chosen, tell)
    if output is not None:
        tell("write", 0, 0)
        bmodel.write(result.model, output)
    return result


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def check_writable(path: Path) -> None:
    """Refuse at once what would fail after minutes of work.

    Raises:
        UserError: a file cannot be written at *path*.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder, a file name is needed")
    if not path.parent.is_dir():
        raise UserError(f"{path}: cannot be written: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{path}: cannot be written: no permission in the folder {path.parent}")
