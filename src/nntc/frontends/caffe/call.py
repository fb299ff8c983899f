"""One layer as its reader sees it, and the table of readers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends.builder import Builder
from nntc.frontends.caffe.net import Layer
from nntc.frontends.caffe.text import Message
from nntc.frontends.errors import RefusedError
from nntc.ir.graph import Value


@dataclass
class Call:
    """A layer to read.

    Attributes:
        param: the layer's own options, e.g. ``convolution_param``; empty if there are none.
        xs: its bottoms.
        blobs: its weights, in the order of the file.
        wanted: whether anybody reads each top.
    """

    b: Builder
    layer: Layer
    param: Message
    xs: Sequence[Value]
    blobs: Sequence[np.ndarray]
    wanted: Sequence[bool]

    @property
    def kind(self) -> str:
        return self.layer.kind

    # -- bottoms ----------------------------------------------------------------------------

    def x(self, index: int = 0) -> Value:
        """Raises ModelError if the layer has fewer bottoms."""
        if index >= len(self.xs):
            raise ModelError(f"{len(self.xs)} bottoms, at least {index + 1} are needed")
        return self.xs[index]

    def picture(self, index: int = 0) -> Value:
        """A bottom of rank 4: [N, C, H, W].

        Raises:
            ModelError: its rank is another.
        """
        x = self.x(index)
        if len(x.shape) != 4:
            raise ModelError(f"bottom {index} has shape {list(x.shape)}, rank 4 is needed")
        return x

    def axis(self, key: str, default: int, rank: int, last: bool = False) -> int:
        """An option that names an axis; negative ones count from the end.

        Args:
            last: the place after the last axis is allowed, too.

        Raises:
            ModelError: there is no such axis.
        """
        value = self.param.integer(key, default)
        at = value + rank + last if value < 0 else value
        if not 0 <= at < rank + last:
            raise ModelError(f"{key} {value}: the bottom has {rank} axes")
        return at

    # -- options ----------------------------------------------------------------------------

    def positive(self, key: str, default: int) -> int:
        """Raises ModelError if the option is below 1."""
        value = self.param.integer(key, default)
        if value < 1:
            raise ModelError(f"{key} is {value}, at least 1 is needed")
        return value

    def choice(self, key: str, names: Sequence[str], default: str = "") -> str:
        """An option with one of these names, or its place among them; by default the first.

        Raises:
            ModelError: it is none of them.
        """
        text = self.param.text(key, default or names[0])
        if text.isdecimal() and int(text) < len(names):
            return names[int(text)]
        if text not in names or not text:
            raise ModelError(f"{key} is {text}, known are {', '.join(filter(None, names))}")
        return text

    # -- weights ----------------------------------------------------------------------------

    def blob(self, index: int, shape: Sequence[int], what: str) -> np.ndarray:
        """A blob in the given shape; axes of length 1 in front do not matter.

        Raises:
            ModelError: it is missing, or of another shape.
        """
        if index >= len(self.blobs):
            raise ModelError(
                f"its {what} are missing: the caffemodel has {len(self.blobs)} blobs for a layer "
                "of this name"
            )
        data = self.blobs[index]
        if _bare(data.shape) != _bare(shape):
            raise ModelError(f"its {what} have shape {list(data.shape)}, not {list(shape)}")
        return data.reshape(tuple(shape))

    def vector(self, index: int, what: str) -> np.ndarray:
        """A blob as a list of numbers, of any length."""
        if index >= len(self.blobs):
            return self.blob(index, (), what)
        return self.blobs[index].reshape(-1)

    def spread(self, data: np.ndarray, axis: int, rank: int) -> Value:
        """A constant whose axes are those of a bottom of *rank* from *axis* on."""
        return self.b.const(data.reshape(*data.shape, *(1,) * (rank - axis - data.ndim)))

    # -- tops -------------------------------------------------------------------------------

    def refuse_top(self, index: int, what: str) -> None:
        """Refuse if anybody reads this top.

        Raises:
            RefusedError: names it.
        """
        if index < len(self.wanted) and self.wanted[index]:
            raise RefusedError(f"its top '{self.layer.tops[index]}' ({what}) is used")


def _bare(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without the 1s that old files have in front."""
    dims = list(shape)
    while dims and dims[0] == 1:
        dims.pop(0)
    return tuple(dims)


def count(shape: Sequence[int]) -> int:
    return math.prod(shape)


Reader = Callable[[Call], "Value | list[Value]"]


@dataclass(frozen=True)
class Entry:
    """What a layer becomes.

    Attributes:
        param: field with its options.
        becomes: its meaning in the graph, for the documentation.
        limits: what of it is refused.
    """

    read: Reader
    param: str
    becomes: str
    limits: str = ""


READERS: dict[str, Entry] = {}
"""Layer type → how it is read."""

DATA = ("Input", "Data", "ImageData", "HDF5Data", "MemoryData", "WindowData", "AnnotatedData")
"""Layers whose tops are inputs of the network."""

DROPPED = ("Accuracy", "DetectionEvaluate", "HDF5Output", "SoftmaxWithLoss")
"""Layers left out, besides the losses (``*Loss``): what they read may be an output."""

REFUSED: dict[str, str] = {
    **dict.fromkeys(("LSTM", "RNN", "Recurrent"), "recurrent, with a state between its steps"),
    "Python": "it runs Python code of the user",
    "Filter": "the number of its results depends on the data",
    "BatchReindex": "the number of its results depends on the data",
    "Proposal": "the number of its results depends on the data",
    "PSROIPooling": "pooling of position-sensitive regions",
}
"""Layer type → why it is not read."""


def is_dropped(kind: str) -> bool:
    return kind in DROPPED or kind.endswith("Loss")


def reads(*kinds: str, param: str, becomes: str, limits: str = "") -> Callable[[Reader], Reader]:
    """Register a reader for layers of these types."""

    def register(reader: Reader) -> Reader:
        for kind in kinds:
            assert kind not in READERS, kind
            READERS[kind] = Entry(reader, param, becomes, limits)
        return reader

    return register
