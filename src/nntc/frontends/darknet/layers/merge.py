"""Layers that join the results of several."""

from __future__ import annotations

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends.darknet import activations
from nntc.frontends.darknet.call import Call, reads
from nntc.frontends.errors import RefusedError
from nntc.ir.graph import Value


@reads("route", becomes="Concat along channels; of groups of channels with groups=")
def route(c: Call) -> Value:
    found = c.layers_of("layers")
    groups, group = c.integer("groups", 1, 1), c.integer("group_id", 0, 0)
    if group >= groups:
        raise ModelError(f"group_id={group} is not below groups={groups}")
    pieces: list[Value] = []
    for number, x in zip(c.numbers_of("layers"), found, strict=True):
        if x.shape[2:] != found[0].shape[2:]:
            first, other = ("x".join(map(str, v.shape[2:])) for v in (found[0], x))
            raise ModelError(f"layer {number} has {other} pixels, the first has {first}")
        if x.shape[1] % groups:
            raise ModelError(f"groups={groups} does not divide layer {number}'s {x.shape[1]}")
        part = x.shape[1] // groups
        pieces.append(c.b.slice(x, 1, group * part, (group + 1) * part))
    return c.b.concat(pieces, 1)


@reads(
    "shortcut",
    becomes="Add, activation; with weights_type= a weighted sum",
    limits="pictures of equal size, or the added one a whole number of times larger",
)
def shortcut(c: Call) -> Value:
    operands = [c.x, *(_fit(c, v) for v in c.layers_of("from"))]
    factors = _factors(c, len(operands))
    if factors is not None:
        scaled = zip(operands, factors, strict=True)
        operands = [c.b.mul(v, c.per_channel(factor)) for v, factor in scaled]
    total = operands[0]
    for operand in operands[1:]:
        total = c.b.add(total, operand)
    return activations.apply(c.b, c.text("activation", "linear"), total)


def _fit(c: Call, other: Value) -> Value:
    """An operand in the shape of this layer's: channels cut off or filled with zeros, pixels
    dropped."""
    _, channels, *image = c.x.shape
    steps = [have // want for have, want in zip(other.shape[2:], image, strict=True)]
    fits = [s * want == have for s, want, have in zip(steps, image, other.shape[2:], strict=True)]
    if not all(fits) or steps[0] != steps[1]:
        raise RefusedError(
            f"from={c.text('from', '')}: a picture of {other.shape[2]}x{other.shape[3]} is added "
            f"to one of {image[0]}x{image[1]}"
        )
    if steps[0] > 1:
        for axis in (2, 3):
            other = c.b.slice(other, axis, 0, other.shape[axis], steps[0])
    if other.shape[1] > channels:
        return c.b.slice(other, 1, 0, channels)
    return c.b.pad(other, (0, 0, 0, 0, 0, channels - other.shape[1], 0, 0))


def _factors(c: Call, count: int) -> np.ndarray | None:
    """Weights of the operands, f32[count, 1 or channels]; None for a plain sum."""
    kind, rule = c.text("weights_type", "none"), c.text("weights_normalization", "none")
    if kind == "none":
        return None
    if kind not in ("per_feature", "per_layer", "per_channel"):
        raise ModelError(f"weights_type={kind} is not known")
    factors = c.take((count, c.channels if kind == "per_channel" else 1), "weights")
    if rule in ("relu", "avg_relu"):
        factors = np.maximum(factors, np.float32(0.001))
    elif rule == "softmax":
        factors = np.exp(factors - factors.max(0))
    elif rule == "none":
        return factors
    else:
        raise ModelError(f"weights_normalization={rule} is not known")
    return factors / (factors.sum(0) + np.float32(0.0001))


@reads("scale_channels", becomes="Mul with one factor per channel (or, scale_wh=1, per pixel)")
def scale_channels(c: Call) -> Value:
    (other,) = c.layers_of("from")[:1]
    n, channels, height, width = other.shape
    wanted = (n, 1, height, width) if c.flag("scale_wh") else (n, channels, 1, 1)
    if c.x.shape != wanted:
        raise ModelError(f"the factors have shape {list(c.x.shape)}, {list(wanted)} is needed")
    y = c.b.mul(other, c.x)
    return activations.apply(c.b, c.text("activation", "linear"), y)


@reads("sam", becomes="Mul, activation")
def sam(c: Call) -> Value:
    (other,) = c.layers_of("from")[:1]
    if other.shape != c.x.shape:
        raise ModelError(f"shapes {list(c.x.shape)} and {list(other.shape)} differ")
    return activations.apply(c.b, c.text("activation", "linear"), c.b.mul(c.x, other))


def _with_channels(c: Call) -> Value:
    (other,) = c.layers_of("from")[:1]
    if other.shape[1:] != (c.channels, 1, 1):
        raise ModelError(
            f"the layer in from= has shape {list(other.shape)}, not one number for each of "
            f"{c.channels} channels"
        )
    return other


@reads("shift_channels", becomes="Add of one number per channel")
def shift_channels(c: Call) -> Value:
    return c.b.add(c.x, _with_channels(c))


@reads("control_channels", becomes="Mul with one number per channel")
def control_channels(c: Call) -> Value:
    return c.b.mul(c.x, _with_channels(c))
