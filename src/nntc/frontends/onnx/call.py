"""One node of the user's model as its reader sees it, and the table of readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends.builder import Builder
from nntc.frontends.errors import RefusedError
from nntc.ir.graph import Value

if TYPE_CHECKING:
    from nntc.frontends.onnx.importer import Importer, Scope


@dataclass
class ListValue:
    """A sequence (or an optional) of the user's model: it exists only while reading."""

    items: list[Value] = field(default_factory=list)
    optional: bool = False


Binding = Value | ListValue
Result = Value | ListValue | Sequence["Value | ListValue | None"]
Reader = Callable[["Call"], Result]

_A = AttributeProto
_Text = TypeVar("_Text", bound=str)


@dataclass
class Call:
    """A node, its operands, and typed access to its attributes.

    Attributes:
        since: version of the operator's definition that applies (``since_version``).
    """

    b: Builder
    importer: Importer
    scope: Scope
    node: NodeProto
    op: str
    domain: str
    since: int
    operands: list[Binding | None]
    attrs: Mapping[str, AttributeProto]

    # -- operands ---------------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of operands, absent ones between present ones included."""
        return len(self.operands)

    def operand_name(self, index: int) -> str:
        names = self.node.input
        return f"operand {index} ('{names[index]}')" if index < len(names) else f"operand {index}"

    def raw(self, index: int) -> Binding | None:
        """Operand of any kind, or None if absent."""
        return self.operands[index] if index < len(self.operands) else None

    def opt(self, index: int) -> Value | None:
        """Tensor operand, or None if absent."""
        value = self.raw(index)
        if isinstance(value, ListValue):
            raise ModelError(f"{self.operand_name(index)} is a sequence, a tensor is needed")
        return value

    def x(self, index: int = 0) -> Value:
        """Tensor operand that must be there."""
        value = self.opt(index)
        if value is None:
            raise ModelError(f"{self.operand_name(index)} is missing")
        return value

    def all(self) -> list[Value]:
        """All operands of a variadic operator."""
        if not self.operands:
            raise ModelError("there are no operands")
        return [self.x(i) for i in range(len(self.operands))]

    def items(self, index: int = 0) -> list[Value]:
        """The tensors of a sequence operand."""
        value = self.raw(index)
        if not isinstance(value, ListValue):
            raise ModelError(f"{self.operand_name(index)} is not a sequence")
        return value.items

    def const(self, index: int, what: str) -> np.ndarray:
        """Data of an operand that must be known while compiling.

        Raises:
            RefusedError: it depends on the network's inputs.
        """
        data = self.x(index).data
        if data is None:
            raise RefusedError(
                f"{what}, {self.operand_name(index)}, depends on the network's inputs; it must be "
                "known when the network is compiled"
            )
        return data

    def opt_const(self, index: int, what: str) -> np.ndarray | None:
        return None if self.opt(index) is None else self.const(index, what)

    def const_ints(self, index: int, what: str) -> tuple[int, ...]:
        """An operand of integers that must be known while compiling, as a flat tuple."""
        data = self.const(index, what)
        if data.dtype.kind not in "iu" or data.ndim > 1:
            raise ModelError(f"{what} must be a list of integers, not {data.dtype}{data.shape}")
        return tuple(int(v) for v in data.reshape(-1))

    def opt_ints(self, index: int, what: str) -> tuple[int, ...] | None:
        return None if self.opt(index) is None else self.const_ints(index, what)

    def const_scalar(self, index: int, what: str) -> int | float | bool:
        """An operand of one element that must be known while compiling."""
        data = self.const(index, what)
        if data.size != 1:
            raise ModelError(f"{what} must be one number, its shape is {data.shape}")
        return data.reshape(-1)[0].item()

    def const_int(self, index: int, what: str) -> int:
        number = self.const_scalar(index, what)
        if not isinstance(number, int):
            raise ModelError(f"{what} must be an integer, not {number}")
        return int(number)

    # -- attributes -------------------------------------------------------------------------

    def _attr(self, name: str, kind: int) -> AttributeProto | None:
        attr = self.attrs.get(name)
        # Files of IR version 1 carry no attribute type.
        if attr is not None and attr.type not in (kind, _A.UNDEFINED):
            raise ModelError(
                f"attribute '{name}' is of type {_A.AttributeType.Name(attr.type)}, "
                f"{_A.AttributeType.Name(kind)} is needed"
            )
        return attr

    def has(self, name: str) -> bool:
        return name in self.attrs

    def need(self, name: str) -> None:
        """Refuse if the attribute is absent."""
        if name not in self.attrs:
            raise ModelError(f"attribute '{name}' is missing")

    def i(self, name: str, default: int) -> int:
        attr = self._attr(name, _A.INT)
        return default if attr is None else attr.i

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self.i(name, int(default)))

    def f(self, name: str, default: float) -> float:
        attr = self._attr(name, _A.FLOAT)
        return default if attr is None else attr.f

    def s(self, name: str, default: str = "") -> str:
        attr = self._attr(name, _A.STRING)
        return default if attr is None else text(attr.s)

    def choice(self, name: str, default: _Text, allowed: Sequence[_Text]) -> _Text:
        """A string attribute that must be one of *allowed*."""
        value = self.s(name, default)
        if value not in allowed:
            raise ModelError(f"attribute '{name}' is '{value}', allowed are {', '.join(allowed)}")
        return allowed[allowed.index(value)]  # type: ignore[arg-type]

    def ints(self, name: str) -> tuple[int, ...] | None:
        attr = self._attr(name, _A.INTS)
        return None if attr is None else tuple(attr.ints)

    def floats(self, name: str) -> tuple[float, ...] | None:
        attr = self._attr(name, _A.FLOATS)
        return None if attr is None else tuple(attr.floats)

    def strings(self, name: str) -> tuple[str, ...] | None:
        attr = self._attr(name, _A.STRINGS)
        return None if attr is None else tuple(text(s) for s in attr.strings)

    def tensor(self, name: str) -> TensorProto | None:
        attr = self._attr(name, _A.TENSOR)
        return None if attr is None else attr.t

    def graph(self, name: str) -> GraphProto:
        self.need(name)
        attr = self._attr(name, _A.GRAPH)
        assert attr is not None
        return attr.g

    def axis(self, name: str, default: int, rank: int) -> int:
        """An axis attribute counted from the front."""
        return front_axis(self.i(name, default), rank)

    # -- results ----------------------------------------------------------------------------

    def wants(self, index: int) -> bool:
        """Whether the node's result *index* has a name, so someone may read it."""
        return index < len(self.node.output) and bool(self.node.output[index])

    def dtype(self, elem_type: int, what: str = "type") -> DType:
        """The element type that a type number of the model becomes here."""
        return element_type(elem_type, what)


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def front_axis(axis: int, rank: int) -> int:
    """*axis* counted from the front.

    Raises:
        ModelError: outside -rank ... rank-1.
    """
    if not -rank <= axis < rank:
        raise ModelError(f"axis {axis} is outside {-rank} ... {rank - 1} (rank {rank})")
    return axis % rank


def front_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front; none may come twice."""
    result = tuple(front_axis(a, rank) for a in axes)
    if len(set(result)) != len(result):
        raise ModelError(f"axes {list(axes)} name an axis twice (rank {rank})")
    return result


# The chip computes in float32 only, so every float type becomes f32.
_T = TensorProto
_ELEMENT: dict[int, DType] = {
    _T.FLOAT: DType.F32,
    _T.FLOAT16: DType.F32,
    _T.BFLOAT16: DType.F32,
    _T.DOUBLE: DType.F32,
    _T.BOOL: DType.BOOL,
    _T.INT8: DType.I8,
    _T.UINT8: DType.U8,
    _T.INT16: DType.I16,
    _T.UINT16: DType.U16,
    _T.INT32: DType.I32,
    _T.UINT32: DType.U32,
    _T.INT64: DType.I64,
    _T.UINT64: DType.U64,
}


def type_name(elem_type: int) -> str:
    """The type number's name in ONNX, lower case."""
    try:
        return _T.DataType.Name(elem_type).lower()
    except ValueError:
        return f"number {elem_type}"


def element_type(elem_type: int, what: str) -> DType:
    """The element type here for an ONNX type number.

    Raises:
        RefusedError: the type has no equivalent (strings, complex numbers, floats of 8 bits and
            less, integers below 8 bits).
    """
    try:
        return _ELEMENT[elem_type]
    except KeyError:
        raise RefusedError(f"{what} {type_name(elem_type)} has no equivalent on the chip") from None


# -- the table ----------------------------------------------------------------------------------

_READERS: dict[tuple[str, str], dict[int, Reader]] = {}


def reads(*names: str, since: int = 1, domain: str = "") -> Callable[[Reader], Reader]:
    """Decorator: the function reads the operators *names* from definition version *since* on."""

    def register(function: Reader) -> Reader:
        for name in names:
            _READERS.setdefault((domain, name), {})[since] = function
        return function

    return register


def find_reader(domain: str, name: str, since: int) -> Reader | None:
    """The newest reader that is not newer than the definition version *since*."""
    versions = _READERS.get((domain, name))
    if versions is None:
        return None
    fitting = [v for v in versions if v <= since]
    return versions[max(fitting)] if fitting else None
