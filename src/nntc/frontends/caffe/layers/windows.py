"""Options of sliding windows: Caffe has them once, for each axis, or with _h and _w."""

from __future__ import annotations

from nntc.core.errors import ModelError
from nntc.frontends.caffe.text import Message

Sizes = tuple[int, ...]


def sizes(param: Message, name: str, axes: int, default: int, low: int, one: str = "") -> Sizes:
    """One number for each axis.

    Args:
        name: option with one number, or one for each axis; *one* if it is called otherwise.
        low: smallest allowed.

    Raises:
        ModelError: too many numbers, or one below *low*.
    """
    given = param.integers(one or name)
    if f"{name}_h" in param or f"{name}_w" in param:
        first = given[0] if given else default
        given = [param.integer(f"{name}_h", first), param.integer(f"{name}_w", first)]
    if len(given) <= 1:
        given = (given or [default]) * axes
    if len(given) != axes:
        raise ModelError(f"{name} has {len(given)} numbers for {axes} axes")
    if min(given) < low:
        raise ModelError(f"{name} is {given}, at least {low} is needed")
    return tuple(given)


def kernel(param: Message, axes: int) -> Sizes:
    """Size of the window; it has no default.

    Raises:
        ModelError: it is missing or below 1.
    """
    return sizes(param, "kernel", axes, 0, 1, "kernel_size")
