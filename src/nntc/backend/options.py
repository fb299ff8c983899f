"""What the user can choose about a compilation, and what comes out of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nntc.bmodel import BModel
from nntc.core.dtype import DType
from nntc.ir.graph import TensorType


@dataclass(frozen=True)
class CompileOptions:
    """Options of the backend.

    Attributes:
        net_name: the net's name in the BModel; empty: the graph's name.
        keep_values: store every operator's result and let results share no memory, so that all
            of them can be read after a run (``nntc compile --cmp``).
        opt: 0 runs every operator on its own; 1 and 2 form groups.
        scales: what the BModel says about its inputs and outputs of 8 bits, by name; of an
            input 1 / step, of an output the step.
        zeros: the integers that stand for 0 there, where that is not 0.
    """

    net_name: str = ""
    keep_values: bool = False
    opt: int = 2
    scales: Mapping[str, float] = field(default_factory=dict[str, float])
    zeros: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Where:
    """Where a value of the source graph lies after a run: fp32 or int32 words, row-major.

    Attributes:
        packed: the words hold four samples of 8 bits each of a value of this type.
    """

    address: int
    dtype: DType
    shape: tuple[int, ...]
    packed: TensorType | None = None

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return math.prod(self.shape) * self.dtype.size

    def decode(self, data: np.ndarray) -> np.ndarray:
        """The value from its bytes; 8-bit values that are packed in their own type."""
        words = data.view(self.dtype.numpy).reshape(self.shape)
        if self.packed is None:
            return words
        samples = np.ascontiguousarray(words).view(self.packed.dtype.numpy)
        samples = samples.reshape(*self.shape, 4)
        if not self.shape:
            return samples[0]
        stacked = np.moveaxis(samples, -1, 1).reshape(-1, *self.shape[1:])
        return np.ascontiguousarray(stacked[: self.packed.shape[0]])


@dataclass
class CompileResult:
    """A BModel and what is known about how it was made.

    Attributes:
        value_map: values of the source graph that lie in memory after a run (all stored ones
            with ``keep_values``).
        statistics: counts and sizes for a summary, in order.
    """

    model: BModel
    value_map: dict[str, Where] = field(default_factory=dict[str, Where])
    statistics: dict[str, int] = field(default_factory=dict[str, int])
