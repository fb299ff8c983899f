"""Inputs and outputs of a net as the user sees them, and the way there and back.

A tensor of an integer type that carries a scale holds real numbers: a float array given for it is
quantised, ``q = round(x * scale) + zero_point`` saturated to the type, and what comes out is
``(q - zero_point) * scale`` in float32. Arrays of integers are taken as they are. The scale of a
float tensor is not applied: older compilers left there what quantised neighbours have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nntc.bmodel import Net, Tensor
from nntc.core.errors import BModelError, Problems


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a net.

    Attributes:
        shape: in the first stage.
        shapes: one for each stage of the net.
        dtype: type of the elements on the device.
        scale, zero_point: as in the BModel.
    """

    name: str
    dtype: np.dtype[np.generic]
    shapes: tuple[tuple[int, ...], ...]
    scale: float = 1.0
    zero_point: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.shapes[0]

    @property
    def is_quantised(self) -> bool:
        """Integers on the device, real numbers for the user."""
        return self.dtype.kind in "iu" and (self.scale != 1.0 or self.zero_point != 0)

    @property
    def is_real(self) -> bool:
        """The user gives and gets real numbers."""
        return self.dtype.kind == "f" or self.is_quantised

    @property
    def user_dtype(self) -> np.dtype[np.generic]:
        """Type of the arrays that come out."""
        return np.dtype(np.float32) if self.is_real else self.dtype

    def __str__(self) -> str:
        shapes = " or ".join(str(list(shape)) for shape in self.shapes)
        text = f"{self.name}: {self.dtype.name} {shapes}"
        if self.is_quantised:
            text += f" scale {self.scale:g}"
            text += f" zero point {self.zero_point}" if self.zero_point else ""
        return text

    # -- the way in -------------------------------------------------------------------------

    def encode(self, array: np.ndarray, problems: Problems) -> np.ndarray:
        """*array* in the device's type, C order; what is wrong with it goes to *problems*."""
        if array.dtype.kind not in "biuf":
            problems.add(f"input {self.name}: {array.dtype} given, {self.dtype.name} expected")
            return array
        if array.dtype == self.dtype:
            return np.ascontiguousarray(array)
        if self.dtype.kind == "f":
            return self._to_float(array, problems)
        if array.dtype.kind == "f":
            return self._quantise(array, problems)
        return self._in_range(array, problems)

    def _to_float(self, array: np.ndarray, problems: Problems) -> np.ndarray:
        with np.errstate(over="ignore"):
            cast = np.ascontiguousarray(array, self.dtype)
        if array.dtype.kind == "f" and np.isinf(cast).sum() > np.isinf(array).sum():
            problems.add(f"input {self.name}: values beyond the range of {self.dtype.name}")
        return cast

    def _quantise(self, array: np.ndarray, problems: Problems) -> np.ndarray:
        limits = np.iinfo(self.dtype)  # type: ignore[type-var]
        if not self.is_quantised and self.dtype.itemsize > 2:
            # Indices and the like: a fraction here is a mistake.
            if not np.array_equal(array, np.rint(array)):
                problems.add(
                    f"input {self.name}: {array.dtype} numbers that are not whole, "
                    f"{self.dtype.name} expected"
                )
                return array
            return self._in_range(array.astype(np.float64), problems)
        if np.isnan(array).any():
            problems.add(f"input {self.name}: holds NaN, which {self.dtype.name} cannot hold")
            return array
        scaled = np.rint(array.astype(np.float32) * np.float32(self.scale)) + self.zero_point
        # float32 cannot hold the largest 32-bit integers; saturate in float64 there.
        wide = scaled.astype(np.float64) if self.dtype.itemsize > 2 else scaled
        return np.ascontiguousarray(np.clip(wide, limits.min, limits.max)).astype(self.dtype)

    def _in_range(self, array: np.ndarray, problems: Problems) -> np.ndarray:
        limits = np.iinfo(self.dtype)  # type: ignore[type-var]
        if array.dtype.kind != "b" and array.size:
            low, high = array.min(), array.max()
            if not (low >= limits.min and high <= limits.max):
                problems.add(
                    f"input {self.name}: values {low}..{high} given, {self.dtype.name} holds "
                    f"{limits.min}..{limits.max}"
                )
                return array
        return np.ascontiguousarray(array).astype(self.dtype)

    # -- the way out ------------------------------------------------------------------------

    def decode(self, array: np.ndarray) -> np.ndarray:
        """What the user gets: float32 for float and quantised tensors, integers for others."""
        if self.is_quantised:
            wide = np.float64 if self.dtype.itemsize > 2 else np.float32
            real = (array.astype(wide) - self.zero_point) * wide(self.scale)
            return real.astype(np.float32)
        return array.astype(self.user_dtype, copy=False)


def describe(net: Net, kind: Literal["inputs", "outputs"]) -> tuple[TensorInfo, ...]:
    """The inputs or outputs of a net, in the order of its first stage.

    Raises:
        BModelError: the stages do not agree on names and types.
    """
    problems = Problems(BModelError)
    tables: list[dict[str, Tensor]] = []
    for number, stage in enumerate(net.stages):
        tensors: list[Tensor] = getattr(stage, kind)
        table = {tensor.name: tensor for tensor in tensors}
        if len(table) != len(tensors):
            problems.add(f"net {net.name} stage {number}: two {kind} have one name")
        tables.append(table)
        facts = [
            {t.name: (t.dtype, t.scale, t.zero_point) for t in part.values()}
            for part in (tables[0], table)
        ]
        if facts[0] != facts[1]:
            problems.add(f"net {net.name}: {kind} of stage {number} are not those of stage 0")
    problems.raise_if_any()
    return tuple(
        TensorInfo(
            tensor.name,
            tensor.dtype.numpy,
            tuple(tuple(table[tensor.name].shape) for table in tables),
            tensor.scale,
            tensor.zero_point,
        )
        for tensor in tables[0].values()
    )
