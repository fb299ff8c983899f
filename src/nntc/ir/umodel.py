"""UModel: a graph on disk, as readable text beside its weights.

``stem.umodel`` is the text form (:mod:`nntc.ir.text`); ``stem.safetensors`` holds the constants
that the text keeps by reference, each under its name. The weights are mapped into memory, not read,
and must have the hashes that the text states: files that do not belong together are refused.
"""

from __future__ import annotations

import os
from pathlib import Path

from nntc.core.errors import ModelError
from nntc.core.files import atomic_path, read_bytes
from nntc.ir.graph import Graph
from nntc.ir.text import INLINE_ELEMENTS, inline_text, parse_graph, print_graph
from nntc.ir.weights import read_weights, write_weights

TEXT, WEIGHTS = ".umodel", ".safetensors"


def save(graph: Graph, stem: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write the graph; the same graph gives the same bytes.

    Args:
        stem: path without suffix, or of the text file.

    Returns:
        Paths of the text and of the weights.

    Raises:
        UserError: a file cannot be written; then neither is changed.
    """
    text_path, weights_path = _paths(stem)
    tensors = {
        v.name: v.data
        for v in graph.constants()
        if v.data is not None and inline_text(v, INLINE_ELEMENTS) is None
    }
    with atomic_path(text_path) as text, atomic_path(weights_path) as weights:
        write_weights(tensors, weights)
        text.write_text(print_graph(graph), encoding="utf-8", newline="\n")
    return text_path, weights_path


def load(path: str | os.PathLike[str]) -> Graph:
    """Read a graph; *path* is the text file or the path without suffix.

    Raises:
        UserError: a file is missing or cannot be read.
        ModelError: the files are damaged or do not belong together; names every fault.
    """
    text_path, weights_path = _paths(path)
    try:
        text = read_bytes(text_path).decode("utf-8")
    except UnicodeDecodeError as err:
        raise ModelError(f"{text_path}: is no text in UTF-8: byte {err.start} is wrong") from None
    # A graph written by hand may have no weights.
    constants = read_weights(weights_path) if weights_path.exists() else {}
    try:
        graph = parse_graph(text, constants)
    except ModelError as err:
        raise ModelError([f"{text_path}: {problem}" for problem in err.problems]) from None
    unused = sorted(set(constants) - {v.name for v in graph.constants()})
    if unused:
        raise ModelError(f"{weights_path}: tensor {unused[0]} is not in the text")
    return graph


def _paths(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    text = os.fspath(path)
    stem = text[: -len(TEXT)] if text.endswith(TEXT) else text
    return Path(stem + TEXT), Path(stem + WEIGHTS)
