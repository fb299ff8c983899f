"""Sequences and optionals: they exist while reading only, as lists of tensors."""

from __future__ import annotations

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends.onnx.call import Binding, Call, ListValue, RefusedError, reads
from nntc.ir.graph import Value


@reads("SequenceConstruct")
def sequence_construct(c: Call) -> ListValue:
    return ListValue(c.all())


@reads("SequenceEmpty")
def sequence_empty(c: Call) -> ListValue:
    return ListValue([])


@reads("SequenceLength")
def sequence_length(c: Call) -> Value:
    return c.b.const(np.int64(len(c.items())))


def _position(c: Call, index: int, size: int, default: int) -> int:
    """A position in a sequence, counted from the front."""
    if c.opt(index) is None:
        return default
    position = c.const_int(index, "the position")
    if not -size <= position < size:
        raise ModelError(f"position {position} is outside a sequence of {size}")
    return position % size


@reads("SequenceAt")
def sequence_at(c: Call) -> Value:
    items = c.items()
    return items[_position(c, 1, len(items), 0)]


@reads("SequenceInsert")
def sequence_insert(c: Call) -> ListValue:
    items = list(c.items())
    position = len(items) if c.opt(2) is None else c.const_int(2, "the position")
    if not -len(items) <= position <= len(items):
        raise ModelError(f"position {position} is outside a sequence of {len(items)}")
    items.insert(position, c.x(1))
    return ListValue(items)


@reads("SequenceErase")
def sequence_erase(c: Call) -> ListValue:
    items = list(c.items())
    del items[_position(c, 1, len(items), len(items) - 1)]
    return ListValue(items)


@reads("ConcatFromSequence")
def concat_from_sequence(c: Call) -> Value:
    items = c.items()
    if not items:
        raise ModelError("the sequence is empty")
    stack = c.flag("new_axis")
    axis = c.axis("axis", 0, len(items[0].shape) + stack)
    return c.b.concat([c.b.unsqueeze(v, axis) for v in items] if stack else items, axis)


@reads("SplitToSequence")
def split_to_sequence(c: Call) -> ListValue:
    x = c.x()
    axis = c.axis("axis", 0, len(x.shape))
    size = x.shape[axis]
    given = c.opt_const(1, "the sizes")
    if given is None:
        sizes = [1] * size
    elif given.ndim == 0:
        step = int(given)
        if step < 1:
            raise ModelError(f"pieces of {step}")
        sizes = [min(step, size - at) for at in range(0, size, step)]
    else:
        sizes = [int(v) for v in given.reshape(-1)]
        if sum(sizes) != size or min(sizes, default=0) < 0:
            raise ModelError(f"sizes {sizes} do not split axis {axis} of {list(x.shape)}")
    parts = c.b.split(x, axis, sizes)
    if given is None and not c.flag("keepdims", True):
        parts = [c.b.squeeze(p, axis) for p in parts]
    return ListValue(parts)


@reads("Optional")
def optional(c: Call) -> ListValue:
    value = c.raw(0)
    if isinstance(value, ListValue):
        raise RefusedError("an optional sequence")
    return ListValue([] if value is None else [value], optional=True)


@reads("OptionalHasElement")
def optional_has_element(c: Call) -> Value:
    value = c.raw(0)
    empty = value is None or (isinstance(value, ListValue) and value.optional and not value.items)
    return c.b.const(np.bool_(not empty))


@reads("OptionalGetElement")
def optional_get_element(c: Call) -> Binding:
    value = c.raw(0)
    if value is None:
        raise ModelError("the optional is absent")
    if isinstance(value, ListValue) and value.optional:
        if not value.items:
            raise ModelError("the optional is empty")
        return value.items[0]
    return value
