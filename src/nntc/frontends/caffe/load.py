"""Loads a Caffe network as a graph of static shapes."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nntc.core import files
from nntc.core.dtype import DType
from nntc.core.errors import ModelError, Problems, UnsupportedError, UserError
from nntc.frontends import siblings
from nntc.frontends.builder import Builder, log
from nntc.frontends.caffe import layers as families
from nntc.frontends.caffe import text, wire
from nntc.frontends.caffe.call import DATA, READERS, REFUSED, Call, is_dropped
from nntc.frontends.caffe.data import data_shapes
from nntc.frontends.caffe.net import Layer, Net, read_net
from nntc.frontends.errors import MALFORMED, RefusedError, malformed, one_line
from nntc.frontends.finish import finish
from nntc.frontends.shapes import Shapes, fix_shapes
from nntc.ir.graph import Graph, Value

__all__ = ["load"]

# Importing the package fills the table of readers.
_ = families.__all__

Source = str | os.PathLike[str] | bytes
Blobs = Mapping[str, Sequence[np.ndarray]]

# Options that say how to train or run a layer, not what it computes.
_QUIET = frozenset(
    ("engine", "weight_filler", "bias_filler", "filler", "force_nd_im2col", "scale_filler",
     "slope_filler", "moving_average_fraction", "dropout_ratio", "cudnn_convolution_algo_seeker",
     "visualize_param", "save_output_param", "frozen", "min_bias")
)  # fmt: skip


def load(
    model: Source,
    weights: Source | None = None,
    shapes: Shapes | None = None,
    output_names: Sequence[str] | None = None,
    *,
    strict: bool = False,
) -> Graph:
    """Read a Caffe network as it is in the test phase.

    Values have the names of the tops; a value that a later layer replaces in place has the name
    of its layer. The outputs are the tops that no layer reads, in the order of their names as in
    Caffe; losses and accuracies are left out.

    Args:
        model: path or bytes of the .prototxt.
        weights: path or bytes of the .caffemodel; default: the file of the same name beside. Not
            needed if no layer has weights.
        shapes: shapes of the inputs, in their order or by name.
        output_names: tops, or layers, that become the outputs; what only others need is not read.
        strict: let unexpected exceptions through, instead of blaming the file (for tests).

    Raises:
        ModelError: a file is damaged, or the two do not belong together.
        UnsupportedError: lists the layers that cannot be expressed.
        UserError: a file cannot be read.
    """
    name = "model" if isinstance(model, bytes) else str(model)
    try:
        net = read_net(text.parse(model if isinstance(model, bytes) else files.read_bytes(model)))
        data, where = _weights(model, weights)
        try:
            blobs = wire.read_blobs(data) if data is not None else {}
        except ModelError as err:
            raise ModelError([f"{where}: {line}" for line in err.problems]) from None
        return _Loader(net, blobs).load(shapes, output_names)
    except UserError as err:
        lines = [line if line.startswith(name) else f"{name}: {line}" for line in err.problems]
        raise type(err)([one_line(line) for line in lines]) from None
    except MALFORMED as err:
        if strict:
            raise
        raise malformed(name, err) from None


def _weights(model: Source, weights: Source | None) -> tuple[bytes | None, str]:
    """Bytes of the weights, and what to call them."""
    if isinstance(weights, bytes):
        return weights, "weights"
    if weights is None:
        if isinstance(model, bytes):
            return None, ""
        weights = siblings.beside(model, ".caffemodel")
    return files.read_bytes(weights), Path(weights).name


class _Loader:
    def __init__(self, net: Net, blobs: Blobs) -> None:
        self.net = net
        self.blobs = blobs
        self.layers = [layer for layer in net.layers if not is_dropped(layer.kind)]
        self.refused = Problems(UnsupportedError)
        self.broken = Problems(ModelError)
        # Top → number of the last layer that reads or makes it.
        self.last_read: dict[str, int] = {}
        self.last_made: dict[str, int] = {}

    def load(self, shapes: Shapes | None, output_names: Sequence[str] | None) -> Graph:
        outputs = list(dict.fromkeys(output_names or self._unread_tops()))
        if not outputs:
            raise ModelError("the network has no outputs: every top is read by a layer")
        needed = self._needed(outputs)
        self._check_known(needed)
        declared = {**self.net.inputs, **self._data_inputs(needed)}
        used = {name for layer in needed for name in layer.bottoms} | set(outputs)
        declared = {name: shape for name, shape in declared.items() if name in used}
        builder = Builder(self.net.name, [*declared, *outputs, *_names(self.layers)])
        values: dict[str, Value | None] = {}
        for name, shape in fix_shapes(declared, shapes).items():
            values[name] = builder.graph.input(name, DType.F32, shape)
        found: dict[str, Value | None] = {}
        wanted_layers = set(outputs) - {top for layer in needed for top in layer.tops}
        self._find_last_uses(needed, outputs)
        for number, layer in enumerate(needed):
            if layer.kind in DATA:
                continue
            tops = self._layer(builder, layer, number, values)
            values.update(zip(layer.tops, tops, strict=True))
            if layer.name in wanted_layers and tops:
                found[layer.name] = tops[0]
        self.refused.raise_if_any()
        self.broken.raise_if_any()
        for name in outputs:
            found.setdefault(name, values.get(name))
        finish(builder, {n: v for n, v in found.items() if v is not None}, outputs)
        return builder.graph

    # -- which layers -----------------------------------------------------------------------

    def _unread_tops(self) -> list[str]:
        """Tops that no layer reads, in the order of their names."""
        open_tops: set[str] = set()
        for layer in self.layers:
            open_tops -= set(layer.bottoms)
            if layer.kind not in DATA:
                open_tops |= set(layer.tops)
        return sorted(open_tops)

    def _needed(self, outputs: Sequence[str]) -> list[Layer]:
        """The layers that the outputs depend on, in order.

        Raises:
            ModelError: a name is neither of a top nor of a layer.
        """
        tops = {top for layer in self.layers for top in layer.tops} | set(self.net.inputs)
        names = {layer.name for layer in self.layers}
        problems = Problems(ModelError)
        for name in outputs:
            if name not in tops | names:
                near = difflib.get_close_matches(name, sorted(tops), 3)
                hint = f"; similar: {', '.join(near)}" if near else ""
                problems.add(f"the model has no top or layer '{name}'{hint}")
        problems.raise_if_any()
        blobs, wanted = set(outputs) & tops, set(outputs) - tops
        needed: list[Layer] = []
        for layer in reversed(self.layers):
            if layer.name in wanted or blobs & set(layer.tops):
                needed.append(layer)
                blobs -= set(layer.tops)
                blobs |= set(layer.bottoms)
        return needed[::-1]

    def _check_known(self, needed: Sequence[Layer]) -> None:
        """Refuse types without a reader, all at once.

        Raises:
            UnsupportedError: one line for each type.
        """
        problems = Problems(UnsupportedError)
        kinds: dict[str, list[Layer]] = {}
        for layer in needed:
            if layer.kind not in READERS and layer.kind not in DATA:
                kinds.setdefault(layer.kind, []).append(layer)
        for kind, layers in kinds.items():
            near = difflib.get_close_matches(kind, READERS, 1)
            hint = f" (is {near[0]} meant?)" if near else ""
            reason = REFUSED.get(kind, f"the type is not known{hint}")
            more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
            problems.add(f"{layers[0]}{more}: {reason}")
        problems.raise_if_any()

    def _data_inputs(self, needed: Sequence[Layer]) -> dict[str, tuple[int, ...] | None]:
        found: dict[str, tuple[int, ...] | None] = {}
        for layer in needed:
            if layer.kind in DATA:
                found.update(zip(layer.tops, data_shapes(layer), strict=False))
        return found

    # -- one layer --------------------------------------------------------------------------

    def _find_last_uses(self, needed: Sequence[Layer], outputs: Sequence[str]) -> None:
        self.last_read = {
            name: number for number, layer in enumerate(needed) for name in layer.bottoms
        }
        self.last_read.update(dict.fromkeys(outputs, len(needed)))
        self.last_made = {
            name: number for number, layer in enumerate(needed) for name in layer.tops
        }

    def _layer(
        self, builder: Builder, layer: Layer, number: int, values: Mapping[str, Value | None]
    ) -> list[Value | None]:
        """Its tops; None for those that could not be made (reported, or a bottom's fault)."""
        nothing: list[Value | None] = [None] * len(layer.tops)
        operands: list[Value] = []
        for name in layer.bottoms:
            if name not in values:
                self.broken.add(f"{layer}: no layer before it has the top '{name}'")
                return nothing
            value = values[name]
            if value is None:
                return nothing
            operands.append(value)
        entry = READERS[layer.kind]
        wanted = [self.last_read.get(top, -1) > number for top in layer.tops]
        label = layer.tops[0] if layer.tops else layer.name
        builder.label, builder.source = self._value_name(layer, label, number), str(layer)
        try:
            param = layer.message.message(entry.param) if entry.param else layer.message
            call = Call(builder, layer, param, operands, self.blobs.get(layer.name, ()), wanted)
            result = entry.read(call)
            if entry.param:
                _warn_unread(layer, entry.param, param)
        except RefusedError as err:
            self.refused.add(f"{layer}: {err}")
            return nothing
        except ModelError as err:
            for line in err.problems:
                self.broken.add(f"{layer}: {line}")
            return nothing
        tops = [result] if isinstance(result, Value) else result
        if len(tops) < len(layer.tops):
            extra = [t for t, w in zip(layer.tops, wanted, strict=True) if w][len(tops) :]
            if extra:
                self.broken.add(f"{layer}: {len(layer.tops)} tops, it makes {len(tops)}")
            tops = [*tops, *tops[:1] * (len(layer.tops) - len(tops))]
        tops = tops[: len(layer.tops)]
        for top, value in zip(layer.tops, tops, strict=True):
            if value in builder.unnamed:
                builder.unnamed.discard(value)
                value.name = self._value_name(layer, top, number)
        return list(tops)

    def _value_name(self, layer: Layer, top: str, number: int) -> str:
        """The top's name; if a later layer replaces it, something of this layer."""
        if self.last_made.get(top, number) == number:
            return top
        return layer.name if layer.name != top else f"{top}/{layer.kind}"


def _names(layers: Sequence[Layer]) -> list[str]:
    return [name for layer in layers for name in (layer.name, *layer.tops)]


def _warn_unread(layer: Layer, field: str, param: text.Message) -> None:
    unknown = [name for name in param.unread() if name not in _QUIET]
    if unknown:
        log.warning("%s: %s: %s is not known and ignored", layer, field, ", ".join(unknown))
