"""Fixes the shapes of the network's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import TypeProto, ValueInfoProto

from nntc.core.dtype import DType
from nntc.core.errors import ModelError, Problems
from nntc.frontends import limits
from nntc.frontends.builder import log
from nntc.frontends.onnx.call import RefusedError, element_type, type_name

Shapes = Mapping[str, Sequence[int]] | Sequence[Sequence[int] | None]


@dataclass
class Input:
    """A declared input. ``dims`` holds numbers, names of symbolic dimensions ('' if unnamed), or
    is None if not even the rank is declared."""

    name: str
    elem_type: int
    dims: list[int | str] | None

    @property
    def dtype(self) -> DType:
        """Raises RefusedError for types without an equivalent."""
        return element_type(self.elem_type, f"input '{self.name}': element type")

    @property
    def is_static(self) -> bool:
        return self.dims is not None and all(isinstance(d, int) for d in self.dims)

    def __str__(self) -> str:
        if self.dims is None:
            return f"'{self.name}' (any rank)"
        return f"'{self.name}' [{', '.join(str(d) or '?' for d in self.dims)}]"


def declared(info: ValueInfoProto) -> Input:
    """The declaration of an input.

    Raises:
        RefusedError: not a tensor.
    """
    kind = info.type.WhichOneof("value")
    if kind == "optional_type" and info.type.optional_type.elem_type.HasField("tensor_type"):
        return _tensor(info.name, info.type.optional_type.elem_type.tensor_type)
    if kind != "tensor_type":
        what = (kind or "unknown type").replace("_type", "")
        raise RefusedError(f"input '{info.name}' is a {what}; the chip's networks take tensors")
    return _tensor(info.name, info.type.tensor_type)


def _tensor(name: str, tensor: TypeProto.Tensor) -> Input:
    dims: list[int | str] | None = None
    if tensor.HasField("shape"):
        dims = [_dim(d.WhichOneof("value"), d.dim_value, d.dim_param) for d in tensor.shape.dim]
    return Input(name, tensor.elem_type, dims)


def _dim(which: str | None, value: int, param: str) -> int | str:
    # Old exporters write -1 for "any".
    return value if which == "dim_value" and value >= 0 else param


def fix_shapes(inputs: Sequence[Input], shapes: Shapes | None) -> dict[str, tuple[int, ...]]:
    """A static shape for every input.

    Dimensions come from *shapes*, else from the declaration, else from a symbol that another
    input's given shape has fixed, else, for the first dimension alone, 1 with a warning.

    Args:
        shapes: name → shape, or a list in input order; None entries and inputs beyond the
            list's end keep the declared shape.

    Raises:
        ModelError: every input whose shape is unknown or contradicts its declaration.
    """
    problems = Problems(ModelError)
    given = _given(inputs, shapes, problems)
    symbols: dict[str, int] = {}
    for item in inputs:
        for wanted, dim in zip(given.get(item.name, ()), item.dims or (), strict=False):
            if isinstance(dim, str) and dim:
                symbols.setdefault(dim, wanted)
    fixed: dict[str, tuple[int, ...]] = {}
    unknown: list[Input] = []
    for item in inputs:
        shape = given.get(item.name)
        if shape is None:
            shape = _from_declaration(item, symbols)
        if shape is None:
            unknown.append(item)
            continue
        _check(item, shape, item.name in given, problems)
        fixed[item.name] = shape
    if unknown:
        example = ",".join(_example(item, fixed.get(item.name)) for item in inputs)
        for item in unknown:
            problems.add(
                f"input {item} has no fixed shape; give one for every input, in order: "
                f"--shapes {example}"
            )
    problems.raise_if_any()
    return fixed


def _given(
    inputs: Sequence[Input], shapes: Shapes | None, problems: Problems
) -> dict[str, tuple[int, ...]]:
    if shapes is None:
        return {}
    names = [item.name for item in inputs]
    if isinstance(shapes, Mapping):
        for name in shapes:
            if name not in names:
                problems.add(f"a shape is given for '{name}', the inputs are {_listed(names)}")
        pairs = [(n, s) for n, s in shapes.items() if n in names]
    else:
        if len(shapes) > len(inputs):
            problems.add(f"{len(shapes)} shapes are given, the inputs are {_listed(names)}")
        pairs = [(n, s) for n, s in zip(names, shapes, strict=False) if s is not None]
    return {name: tuple(int(d) for d in shape) for name, shape in pairs}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{n}'" for n in names) or "none"


def _from_declaration(item: Input, symbols: Mapping[str, int]) -> tuple[int, ...] | None:
    if item.dims is None:
        return None
    dims = [symbols.get(d, d) if isinstance(d, str) else d for d in item.dims]
    # Old exporters also write 0 for "any"; a truly empty input must be asked for.
    if 0 in dims:
        return None
    if dims and isinstance(dims[0], str) and all(isinstance(d, int) for d in dims[1:]):
        log.warning(
            "input %s: its batch (first dimension) is not fixed, 1 is used; --shapes sets it", item
        )
        dims[0] = 1
    return tuple(d for d in dims if isinstance(d, int)) if _static(dims) else None


def _static(dims: Sequence[int | str]) -> bool:
    return all(isinstance(d, int) for d in dims)


def _check(item: Input, shape: tuple[int, ...], is_given: bool, problems: Problems) -> None:
    text = list(shape)
    empty = item.dims is not None and 0 in item.dims
    if any(d < (0 if empty else 1) for d in shape):
        problems.add(f"input {item}: the shape {text} has a dimension below 1")
        return
    with problems.collect():
        limits.check_bytes(shape, DType.F32, limits.TENSOR_BYTES, f"input '{item.name}'")
    if not is_given or item.dims is None:
        return
    if len(shape) != len(item.dims):
        problems.add(
            f"input {item}: the given shape {text} has rank {len(shape)}, the model declares "
            f"rank {len(item.dims)}"
        )
        return
    for axis, (wanted, dim) in enumerate(zip(shape, item.dims, strict=True)):
        if not isinstance(dim, int) or wanted == dim:
            continue
        if axis:
            problems.add(
                f"input {item}: the given shape {text} has {wanted} at dimension {axis}, the "
                f"model declares {dim}"
            )
        else:
            log.warning("input %s: the batch is set to %d", item, wanted)


def _example(item: Input, shape: tuple[int, ...] | None) -> str:
    dims = shape if shape is not None else item.dims
    if dims is None:
        return "[...]"
    return "[" + ",".join(str(d) if isinstance(d, int) else d or "?" for d in dims) + "]"


def check_type(item: Input) -> None:
    """Refuse inputs whose element type the network cannot take.

    Raises:
        RefusedError: names the input and its type.
    """
    try:
        _ = item.dtype
    except RefusedError:
        raise RefusedError(
            f"input '{item.name}' holds {type_name(item.elem_type)}, which has no equivalent on "
            "the chip"
        ) from None
