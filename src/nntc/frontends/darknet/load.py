"""Loads a Darknet network as a graph of static shapes."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from nntc.core import files
from nntc.core.dtype import DType
from nntc.core.errors import ModelError, Problems, UnsupportedError, UserError
from nntc.frontends import siblings
from nntc.frontends.builder import Builder
from nntc.frontends.darknet import cfg, layers
from nntc.frontends.darknet.call import READERS, REFUSED, Call
from nntc.frontends.darknet.weights import Weights
from nntc.frontends.errors import MALFORMED, RefusedError, malformed, one_line
from nntc.frontends.finish import finish
from nntc.frontends.shapes import Shapes, fix_shapes
from nntc.ir.graph import Graph, Value

__all__ = ["load"]

INPUT = "data"
"""Name of the input; Darknet has none."""

# Importing the package fills the table of readers.
_ = layers.__all__

Source = str | os.PathLike[str] | bytes


def load(
    model: Source,
    weights: Source | None = None,
    shapes: Shapes | None = None,
    output_names: Sequence[str] | None = None,
    *,
    strict: bool = False,
) -> Graph:
    """Read a Darknet network.

    The input is called ``data``, a layer like its section and its number (``conv_0``,
    ``maxpool_1``, ``yolo_139``), as Darknet counts them. The outputs are the heads (yolo, region,
    ...) and the last layer. The batch is 1 unless *shapes* says otherwise: what the file states is
    the batch of training.

    Args:
        model: path or bytes of the .cfg file.
        weights: path or bytes of the .weights file; default: the file of the same name beside.
        shapes: shape of the input, [N, C, H, W], as {"data": shape} or [shape].
        output_names: layers whose results become the outputs, by name or number; the layers
            after the last of them are not read.
        strict: let unexpected exceptions through, instead of blaming the file (for tests).

    Raises:
        ModelError: a file is damaged, or the two do not belong together.
        UnsupportedError: lists the sections that cannot be expressed.
        UserError: a file cannot be read.
    """
    name = "model" if isinstance(model, bytes) else str(model)
    try:
        sections = cfg.parse(model if isinstance(model, bytes) else files.read_bytes(model))
    except ModelError as err:
        raise ModelError([one_line(f"{name}: {line}") for line in err.problems]) from None
    if weights is None:
        if isinstance(model, bytes):
            raise UserError("the weights of a network given as bytes must be given, too")
        weights = siblings.beside(model, ".weights")
    data = weights if isinstance(weights, bytes) else files.read_bytes(weights)
    if not isinstance(weights, bytes):
        name = f"{name}, {Path(weights).name}"
    try:
        return _read(sections, Weights(data), shapes, output_names, _stem(model))
    except RefusedError as err:
        raise UnsupportedError(one_line(f"{name}: {err}")) from None
    except UserError as err:
        raise type(err)([one_line(f"{name}: {line}") for line in err.problems]) from None
    except MALFORMED as err:
        if strict:
            raise
        raise malformed(name, err) from None


def _stem(model: Source) -> str:
    return "network" if isinstance(model, bytes) else Path(model).stem


def _read(
    sections: Sequence[cfg.Section],
    weights: Weights,
    shapes: Shapes | None,
    output_names: Sequence[str] | None,
    name: str,
) -> Graph:
    net, *rest = sections
    wanted = _outputs(rest, output_names)
    if output_names:
        rest = rest[: max(wanted.values()) + 1]
    _check_known(rest)
    shape = fix_shapes({INPUT: _input_shape(net)}, shapes)[INPUT]
    builder = Builder(name, [INPUT, *map(_layer_name, range(len(rest)), rest)])
    values: list[Value] = []
    shared: dict[int, dict] = {}
    x = builder.graph.input(INPUT, DType.F32, shape)
    for index, section in enumerate(rest):
        builder.label = _layer_name(index, section)
        builder.source = f"{builder.label} ([{section.name}], line {section.line})"
        x = _layer(Call(builder, section, index, x, values, weights, shared))
        values.append(x)
    if not output_names:
        weights.check_end()
    finish(builder, {n: values[at] for n, at in wanted.items()}, list(wanted))
    return builder.graph


def _layer(call: Call) -> Value:
    """Read one layer; messages name it."""
    source = call.b.source
    try:
        value = READERS[call.section.name].read(call)
    except RefusedError as err:
        raise RefusedError(f"{source}: {err}") from None
    except ModelError as err:
        raise ModelError([f"{source}: {line}" for line in err.problems]) from None
    if value in call.b.unnamed:
        call.b.unnamed.discard(value)
        value.name = call.b.label
    return value


def _layer_name(index: int, section: cfg.Section) -> str:
    short = {"convolutional": "conv", "deconvolutional": "deconv"}.get(section.name, section.name)
    return f"{short}_{index}"


def _check_known(sections: Sequence[cfg.Section]) -> None:
    """Refuse sections without a reader, all at once.

    Raises:
        UnsupportedError: one line for each kind.
    """
    problems = Problems(UnsupportedError)
    seen: set[str] = set()
    for section in sections:
        if section.name in READERS or section.name in seen:
            continue
        seen.add(section.name)
        near = difflib.get_close_matches(section.name, READERS, 1)
        hint = f" (is [{near[0]}] meant?)" if near else ""
        reason = REFUSED.get(section.name, f"the section is not known{hint}")
        problems.add(f"line {section.line}: [{section.name}]: {reason}")
    problems.raise_if_any()


def _input_shape(net: cfg.Section) -> tuple[int, int, int, int]:
    height, width, channels = (net.integer(key, 0) for key in ("height", "width", "channels"))
    if height > 0 and width > 0 and channels > 0:
        return (1, channels, height, width)
    inputs = net.integer("inputs", 0)
    if inputs > 0:
        return (1, inputs, 1, 1)
    raise ModelError(
        f"line {net.line}: [{net.name}] gives no size of the input: height={height} "
        f"width={width} channels={channels} inputs={inputs}"
    )


def _outputs(sections: Sequence[cfg.Section], output_names: Sequence[str] | None) -> dict[str, int]:
    """Name of each output → its layer.

    Raises:
        ModelError: there are no layers, or none of a wanted name.
    """
    names = [_layer_name(index, section) for index, section in enumerate(sections)]
    at = {name: index for index, name in enumerate(names)}
    if output_names:
        problems = Problems(ModelError)
        found: dict[str, int] = {}
        for wanted in map(str, output_names):
            if wanted.isdecimal() and int(wanted) < len(names):
                found[names[int(wanted)]] = int(wanted)
            elif wanted in at:
                found[wanted] = at[wanted]
            else:
                near = difflib.get_close_matches(wanted, names, 3)
                hint = f"; similar: {', '.join(near)}" if near else ""
                problems.add(f"the model has no layer '{wanted}'{hint}")
        problems.raise_if_any()
        return found
    heads = [
        index
        for index, section in enumerate(sections)
        if section.name in READERS and READERS[section.name].is_head
    ]
    kept = [i for i, s in enumerate(sections) if s.name not in ("cost", "empty", "silence")]
    if not kept:
        raise ModelError("the configuration has no layers")
    chosen = sorted({*heads, kept[-1]})
    return {names[index]: index for index in chosen}
