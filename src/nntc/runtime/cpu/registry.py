"""What a CPU layer is, the table of them, and the one way to run one.

The runtime keeps every tensor of a CPU layer in a host buffer of 32-bit words. Most are floats;
some layers read or write int32 in the same words, and some only move words. A layer's ports say
which: ``f32``, ``i32`` (the bits are an int32, not a float that holds a whole number) or ``any``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from nntc.bmodel.cpu_ops import CpuOp, CpuParam, unpack_param
from nntc.core.errors import BModelError, UnsupportedError, UserError

P = TypeVar("P", bound=CpuParam)

Shape = tuple[int, ...]

WORD_LIMIT = 1 << 26
"""Elements that an output may have when its buffer size is not known (256 MB)."""


WORK_LIMIT = 1 << 30
"""Steps of one call that its parameter or values, not its tensor sizes, may ask for."""


@dataclass(frozen=True)
class Padded:
    """An output whose buffer is written beyond its shape, as some of the maker's layers do.

    Attributes:
        data: all words written from the start of the buffer (1-D, f32 or i32).
        shape: the shape reported; its elements come first in *data*.
    """

    data: np.ndarray
    shape: Shape


Output = np.ndarray | Padded


@dataclass(frozen=True)
class Port:
    """One input or output tensor: name, kind of its words, whether it may be absent or repeat."""

    name: str
    kind: str
    optional: bool = False
    many: bool = False

    @staticmethod
    def parse(text: str) -> tuple[Port, ...]:
        """Ports from ``"x:f32 k:i32? more:any*"``; ``?`` is optional, ``*`` any number."""
        ports: list[Port] = []
        for word in text.split():
            name, kind = word.split(":")
            ports.append(Port(name, kind.rstrip("?*"), kind.endswith("?"), kind.endswith("*")))
        return tuple(ports)

    def __str__(self) -> str:
        return f"{self.name} {self.kind}" + (" …" if self.many else "?" if self.optional else "")


@dataclass(frozen=True)
class Call(Generic[P]):
    """One execution of a layer.

    Attributes:
        name: the layer in messages.
        inputs: C-contiguous f32 arrays (use :meth:`ints` for int32 words).
        output_shapes: the shapes declared for the outputs (their buffers have room for these), or
            None if not known.
    """

    name: str
    param: P
    inputs: tuple[np.ndarray, ...]
    output_shapes: tuple[Shape, ...] | None = None
    _steps: list[int] = field(default_factory=lambda: [0], repr=False)

    def work(self, steps: int, what: str) -> None:
        """Count *steps* ahead of doing them, so that a damaged model cannot keep us for hours."""
        self._steps[0] += steps
        self.require(self._steps[0] <= WORK_LIMIT, f"{what}: over {WORK_LIMIT} steps of work")

    def ints(self, index: int) -> np.ndarray:
        """Input *index* with its words taken as int32."""
        return self.inputs[index].view(np.int32)

    def error(self, message: str) -> UserError:
        return UserError(f"{self.name}: {message}")

    def require(self, condition: object, message: str) -> None:
        """Raise a UserError naming the layer unless *condition*."""
        if not condition:
            raise self.error(message)

    def rank(self, index: int, *ranks: int) -> None:
        """Require that input *index* has one of *ranks* dimensions."""
        shape = self.inputs[index].shape
        wanted = " or ".join(str(r) for r in ranks)
        self.require(len(shape) in ranks, f"input {index} is {shape}, needs {wanted} dimensions")

    def output_count(self, default: int) -> int:
        return default if self.output_shapes is None else len(self.output_shapes)

    def room(self, index: int, shape: Sequence[int]) -> Shape:
        """*shape* as a tuple, if output *index* has room for it; call before allocating it.

        Raises:
            UserError: a negative size, or more elements than the output's buffer.
        """
        made = tuple(int(d) for d in shape)
        self.require(min(made, default=0) >= 0, f"output {index} would have the shape {made}")
        elements = _count(made)
        limit = WORD_LIMIT if self.output_shapes is None else _count(self.output_shapes[index])
        self.require(
            elements <= limit,
            f"output {index} would have {elements} elements {made}, it has room for {limit}",
        )
        return made

    def declared(self, index: int, array: np.ndarray) -> np.ndarray:
        """*array* in the declared shape of output *index*, for layers that leave shapes alone."""
        if self.output_shapes is None or _count(self.output_shapes[index]) != array.size:
            return array
        return array.reshape(self.output_shapes[index])

    def in_range(self, indices: np.ndarray, size: int, what: str) -> None:
        """Require 0 <= index < size for all *indices*; names the first that is not."""
        bad = (indices < 0) | (indices >= size)
        if bad.any():
            where = int(np.argmax(bad.ravel()))
            value = int(indices.ravel()[where])
            raise self.error(f"{what} {value} (element {where}) is not in 0..{size - 1}")


def _count(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= int(size)
    return count


@dataclass(frozen=True)
class Layer:
    """A registered layer: what it does, its ports, and the function that does it."""

    op: CpuOp
    text: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    function: Callable[[Call[Any]], list[Output]]

    def count_problems(self, inputs: int, outputs: int | None) -> list[str]:
        """Messages if that many inputs or declared outputs do not fit the ports."""
        problems: list[str] = []
        for what, ports, given in (
            ("inputs", self.inputs, inputs),
            ("declared outputs", self.outputs, outputs),
        ):
            least = max(sum(not (p.optional or p.many) for p in ports), 1)
            most = None if any(p.many for p in ports) else len(ports)
            if given is not None and (given < least or (most is not None and given > most)):
                wanted = f"{least}" if most == least else f"{least} to {most or 'any number'}"
                problems.append(f"{given} {what}, needs {wanted}: {', '.join(map(str, ports))}")
        return problems


LAYERS: dict[int, Layer] = {}

F = TypeVar("F", bound=Callable[[Call[Any]], list[Output]])


def layer(op: CpuOp, text: str, inputs: str, outputs: str) -> Callable[[F], F]:
    """Register the function that computes *op*.

    Args:
        text: one phrase for the reference table.
        inputs, outputs: ports, see :meth:`Port.parse`.
    """

    def register(function: F) -> F:
        LAYERS[int(op)] = Layer(op, text, Port.parse(inputs), Port.parse(outputs), function)
        return function

    return register


def as_words(array: np.ndarray, what: str) -> np.ndarray:
    """A C-contiguous f32 array with the 32-bit words of *array* (f32, i32 or u32).

    Raises:
        UserError: another element type.
    """
    if array.dtype not in (np.float32, np.int32, np.uint32):
        raise UserError(
            f"{what}: element type {array.dtype}, the runtime's buffers hold 32-bit words"
        )
    # ascontiguousarray would turn a 0-d array into a 1-d one.
    return np.asarray(array, order="C").view(np.float32)


def execute(
    op_type: int,
    param: bytes,
    inputs: Sequence[np.ndarray],
    output_shapes: Sequence[Sequence[int]] | None,
    name: str,
) -> list[Output]:
    """Run a built-in layer; outputs as the layer's function gives them (f32 and i32 arrays).

    Raises:
        UserError: unknown layer, parameter or inputs that do not fit it, or a result that does
            not fit the declared outputs; the message names the layer.
    """
    found = LAYERS.get(op_type)
    if found is None:
        raise UnsupportedError(f"{name}: CPU layer type {op_type} is not one of the runtime's")
    try:
        decoded = unpack_param(op_type, param)
    except BModelError as err:
        raise BModelError([f"{name}: {problem}" for problem in err.problems]) from None
    problems = found.count_problems(
        len(inputs), None if output_shapes is None else len(output_shapes)
    )
    if problems:
        raise UserError([f"{name}: {problem}" for problem in problems])
    words = tuple(as_words(a, f"{name}: input {i}") for i, a in enumerate(inputs))
    shapes = None if output_shapes is None else tuple(tuple(map(int, s)) for s in output_shapes)
    call = Call(name, decoded, words, shapes)
    try:
        with np.errstate(all="ignore"):
            outputs = found.function(call)
    except (IndexError, ValueError, OverflowError, ZeroDivisionError, MemoryError) as err:
        # A layer checks what it can name; all else that a damaged model brings about ends here.
        given = ", ".join(str(a.shape) for a in words)
        raise UserError(f"{name}: {decoded} does not fit inputs {given}: {err}") from None
    if shapes is not None:
        call.require(
            len(outputs) == len(shapes),
            f"gives {len(outputs)} outputs, {len(shapes)} are declared",
        )
        for index, out in enumerate(outputs):
            call.room(index, out.shape)
    return outputs
