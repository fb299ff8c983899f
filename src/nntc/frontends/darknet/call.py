"""One section as its reader sees it, and the table of readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends.builder import Builder
from nntc.frontends.darknet.cfg import Section
from nntc.frontends.darknet.weights import Weights
from nntc.frontends.errors import RefusedError
from nntc.ir import ops
from nntc.ir.graph import Value


@dataclass
class Call:
    """A layer to read.

    Attributes:
        index: the layer's number; [net] is none.
        x: result of the layer before, f32[N, C, H, W] as all results are.
        layers: results of all layers before.
        shared: layer → its parameters, for layers that use another's.
    """

    b: Builder
    section: Section
    index: int
    x: Value
    layers: Sequence[Value]
    weights: Weights
    shared: dict[int, dict[str, np.ndarray]]

    @property
    def channels(self) -> int:
        return self.x.shape[1]

    # -- options ----------------------------------------------------------------------------

    def integer(self, key: str, default: int, low: int = -(1 << 31)) -> int:
        """Raises ModelError if the option is below *low*."""
        value = self.section.integer(key, default)
        if value < low:
            raise ModelError(f"{key}={value} is below {low}")
        return value

    def number(self, key: str, default: float) -> float:
        return self.section.number(key, default)

    def flag(self, key: str) -> bool:
        return self.section.number(key, 0) != 0

    def text(self, key: str, default: str) -> str:
        return self.section.text(key, default)

    def strides(self, default: int = 1) -> tuple[int, int]:
        """Steps down and across: stride_y and stride_x, else stride for both."""
        stride = self.integer("stride", default, 1)
        return self.integer("stride_y", stride, 1), self.integer("stride_x", stride, 1)

    def refuse_flags(self, reasons: dict[str, str]) -> None:
        """Refuse options that are on and change what is computed.

        Raises:
            RefusedError: with the reason of the first.
        """
        for key, reason in reasons.items():
            if self.flag(key):
                raise RefusedError(f"{key}={self.text(key, '')}: {reason}")

    # -- other layers -----------------------------------------------------------------------

    def numbers_of(self, key: str) -> list[int]:
        """Layers that an option names; negative numbers count back from this layer.

        Raises:
            ModelError: none, or a layer that does not come before this one.
        """
        wanted = self.section.integers(key)
        if not wanted:
            raise ModelError(f"option {key}= is missing; it names the layers to take")
        found: list[int] = []
        for number in wanted:
            at = number + self.index if number < 0 else number
            if not 0 <= at < self.index:
                raise ModelError(
                    f"{key}={number}: there is no layer {at} before this one, which is {self.index}"
                )
            found.append(at)
        return found

    def layers_of(self, key: str) -> list[Value]:
        """Results of the layers that an option names."""
        return [self.layers[at] for at in self.numbers_of(key)]

    # -- parameters -------------------------------------------------------------------------

    def take(self, shape: Sequence[int], what: str) -> np.ndarray:
        return self.weights.take(shape, what)

    # -- values -----------------------------------------------------------------------------

    def per_channel(self, data: np.ndarray) -> Value:
        """A constant f32[C] that broadcasts over rows and columns."""
        return self.b.const(data.reshape(-1, 1, 1))

    def batch_norm(self, x: Value, parameters: dict[str, np.ndarray], epsilon: float) -> Value:
        """scales * (x - mean) / sqrt(variance + epsilon) + biases, per channel (axis 1)."""
        names = ("scales", "biases", "mean", "variance")
        return self.b.op(
            ops.BatchNorm(epsilon), x, *(self.b.const(parameters[name]) for name in names)
        )


Reader = Callable[[Call], Value]


@dataclass(frozen=True)
class Entry:
    """What a section becomes.

    Attributes:
        becomes: its meaning in the graph, for the documentation.
        limits: what of it is refused.
        is_head: whether its result is an output of the network wherever it stands.
    """

    read: Reader
    becomes: str
    limits: str = ""
    is_head: bool = False


READERS: dict[str, Entry] = {}
"""Section name → how it is read."""

REFUSED: dict[str, str] = {
    **dict.fromkeys(
        ("rnn", "gru", "lstm", "crnn", "conv_lstm", "history"),
        "recurrent: it keeps a state from one picture to the next",
    ),
    "iseg": "a head for training instance segmentation",
    "contrastive": "only for training",
}
"""Section name → why it is not read."""


def reads(
    *names: str, becomes: str, limits: str = "", is_head: bool = False
) -> Callable[[Reader], Reader]:
    """Register a reader for sections of these names."""

    def register(reader: Reader) -> Reader:
        for name in names:
            assert name not in READERS, name
            READERS[name] = Entry(reader, becomes, limits, is_head)
        return reader

    return register
