"""The files of a network, and their historical names."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nntc.core.errors import ModelError, UserError
from nntc.core.files import atomic_path
from nntc.core.textformat import LARGEST, parse
from nntc.ir.prototxt.keys import MARK, Feed, Network
from nntc.ir.prototxt.read import parse_network
from nntc.ir.prototxt.write import print_network
from nntc.ir.text import INLINE_ELEMENTS, inline_text
from nntc.ir.weights import read_weights, write_weights

WEIGHTS = (".fp32umodel", ".int8umodel")
_TEXTS = {
    ".int8umodel": ("_deploy_int8_unique_top.prototxt", "_test_int8_unique_top.prototxt"),
    ".fp32umodel": (
        "_test_fp32.prototxt",
        "_deploy_fp32_unique_top.prototxt",
        "_test_fp32_unique_top.prototxt",
    ),
}
_OPTIMIZED = "_optimized"
_MARK = re.compile(rb"^[ \t]*" + MARK.encode() + rb"[ \t]*:", re.MULTILINE)
_MAKERS = re.compile(rb'^[ \t]*model_type[ \t]*:[ \t]*"\w{1,40}2UModel"', re.MULTILINE)


@dataclass(frozen=True)
class Names:
    """The files of a network called *stem*, such as ``x_bmnetp``, in *folder*."""

    folder: Path
    stem: str

    @property
    def fp32_weights(self) -> Path:
        return self.folder / f"{self.stem}.fp32umodel"

    @property
    def int8_weights(self) -> Path:
        return self.folder / f"{self.stem}.int8umodel"

    @property
    def test_fp32(self) -> Path:
        return self.folder / f"{self.stem}_test_fp32.prototxt"

    def unique_top(self, kind: str, precision: str) -> Path:
        """``x_deploy_int8_unique_top.prototxt`` and its like: kind deploy or test."""
        return self.folder / f"{self.stem}_{kind}_{precision}_unique_top.prototxt"

    @staticmethod
    def of(weights: str | os.PathLike[str]) -> Names:
        """From the file of the weights."""
        path = Path(weights)
        return Names(path.parent, path.name.removesuffix(_OPTIMIZED).rpartition(".")[0])


def is_network(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a prototxt of ours, or the weights of one.

    Raises:
        UserError: it cannot be read, or is a UModel of the chip maker's tools.
    """
    name = Path(path).name.removesuffix(_OPTIMIZED)
    if name.endswith(WEIGHTS):
        return True
    if not name.endswith(".prototxt"):
        return False
    data = _read(path)
    if _MARK.search(data):
        return True
    if _MAKERS.search(data):
        raise UserError(
            f"{path}: a UModel of the chip maker's tools, whose weights are in a format of their "
            "own; make it again from the original model (--mode GenUmodel)"
        )
    return False


def partner(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The text and the weights that belong together, from either of them.

    Raises:
        UserError: the other one is not there.
    """
    file = Path(path)
    name, _, ending = file.name.partition(_OPTIMIZED)
    ending = _OPTIMIZED if _OPTIMIZED in file.name and not ending else ""
    name = name if ending else file.name
    for weights, texts in _TEXTS.items():
        if name.endswith(weights):
            stem = name.removesuffix(weights)
            names = [stem + text + ending for text in (*texts, ".prototxt")]
            return _first(file, names, "text"), file
    for weights, texts in _TEXTS.items():
        for text in (*texts, ".prototxt"):
            candidate = file.with_name(name.removesuffix(text) + weights + ending)
            if name.endswith(text) and candidate.is_file():
                return file, candidate
    named = Path(parse(_read(file)).text("weights")).name
    return file, _first(file, [named] if named else [], "weights")


def _read(path: str | os.PathLike[str]) -> bytes:
    """A text; of one that is too large as much as shows it.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as err:
        raise UserError(f"{path}: cannot be read: {err.strerror or err}") from None


def _first(file: Path, names: list[str], what: str) -> Path:
    for name in names:
        if file.with_name(name).is_file():
            return file.with_name(name)
    tried = f" (looked for {', '.join(names)})" if names else ""
    raise UserError(f"{file}: the file with its {what} is not beside it{tried}")


def save(
    network: Network, text: str | os.PathLike[str], weights: str | os.PathLike[str]
) -> tuple[Path, Path]:
    """Write a network; the same network gives the same bytes.

    Raises:
        UserError: a file cannot be written; then neither is changed.
    """
    tensors = {
        v.name: v.data
        for v in network.graph.constants()
        if v.data is not None and inline_text(v, INLINE_ELEMENTS) is None
    }
    content = print_network(network, Path(weights).name)
    with atomic_path(text) as text_path, atomic_path(weights) as weights_path:
        write_weights(tensors, weights_path)
        text_path.write_text(content, encoding="utf-8", newline="\n")
    return Path(text), Path(weights)


def load(path: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None) -> Network:
    """Read a network.

    Args:
        path: its prototxt, or its weights if *weights* is not given.
        weights: default: the file beside *path* that its name calls for.

    Raises:
        UserError: a file is missing or cannot be read.
        ModelError: names every fault, with file and line.
    """
    text_path, weights_path = partner(path) if weights is None else (Path(path), Path(weights))
    constants: dict[str, np.ndarray] = read_weights(weights_path)

    def shape_of(feed: Feed) -> tuple[int, ...]:
        from nntc.ir.prototxt.feed import shape

        return shape(feed, text_path.parent)

    try:
        return parse_network(_read(text_path), constants, shape_of)
    except ModelError as err:
        raise ModelError([f"{text_path}: {problem}" for problem in err.problems]) from None
