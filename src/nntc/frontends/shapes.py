"""The shapes of inputs that a model declares as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nntc.core.dtype import DType
from nntc.core.errors import ModelError, Problems
from nntc.frontends import limits

Shapes = Mapping[str, Sequence[int]] | Sequence[Sequence[int] | None]
Shape = tuple[int, ...]


def fix_shapes(declared: Mapping[str, Shape | None], shapes: Shapes | None) -> dict[str, Shape]:
    """The shape of every input: as given, else as declared.

    Args:
        declared: input → its shape in the file, None if there is none.
        shapes: name → shape, or a list in the inputs' order; None entries and inputs beyond the
            list's end keep the declared shape.

    Raises:
        ModelError: unknown names, shapes of another rank, inputs without a shape, or too large.
    """
    problems = Problems(ModelError)
    names = ", ".join(f"'{n}'" for n in declared) or "none"
    given: dict[str, Sequence[int]] = {}
    if isinstance(shapes, Mapping):
        for name, shape in shapes.items():
            if name not in declared:
                problems.add(f"a shape is given for '{name}', the inputs are {names}")
            given[name] = shape
    elif shapes is not None:
        if len(shapes) > len(declared):
            problems.add(f"{len(shapes)} shapes are given, the inputs are {names}")
        pairs = zip(declared, shapes, strict=False)
        given = {name: shape for name, shape in pairs if shape is not None}
    fixed: dict[str, Shape] = {}
    for name, usual in declared.items():
        shape = tuple(int(d) for d in given[name]) if name in given else usual
        if shape is None:
            problems.add(f"input '{name}' has no shape in the file; give one: --shapes [1,...]")
        elif usual is not None and len(shape) != len(usual):
            problems.add(
                f"input '{name}': the given shape {list(shape)} has {len(shape)} dimensions, the "
                f"model's {list(usual)} has {len(usual)}"
            )
        elif any(d < 1 for d in shape):
            problems.add(f"input '{name}': the shape {list(shape)} has a dimension below 1")
        else:
            with problems.collect():
                limits.check_bytes(shape, DType.F32, limits.TENSOR_BYTES, f"input '{name}'")
            fixed[name] = shape
    problems.raise_if_any()
    return fixed
