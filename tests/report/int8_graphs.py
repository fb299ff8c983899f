"""A float network of a few layers and the same in int8, made by hand; layers can be spoilt."""

from __future__ import annotations

import numpy as np

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.graph import Graph, Value

SHAPE = (1, 4, 6, 6)
LAYERS = 4
CLASSES = 5


def weights(layer: int) -> np.ndarray:
    """f32 [8, in, 1, 1] of a layer."""
    channels = SHAPE[1] if layer == 0 else 8
    generator = np.random.default_rng(layer)
    return generator.standard_normal((8, channels, 1, 1)).astype(np.float32) / channels**0.5


def float_graph(batch: int = 1, name: str = "float", prefix: str = "") -> Graph:
    """x → (1x1 convolution, ReLU) four times → y [N, 8] by mean."""
    graph = Graph(name)
    value = graph.input(f"{prefix}x", DType.F32, (batch, *SHAPE[1:]))
    for layer in range(LAYERS):
        weight = graph.constant(weights(layer), f"w{layer}")
        conv = ops.Conv((1, 1), (0, 0, 0, 0), (1, 1), 1)
        value = graph.add(conv, value, weight, name=f"{prefix}conv{layer}").output
        value = graph.add(ops.Unary("relu"), value, name=f"{prefix}relu{layer}").output
    value = graph.add(ops.Reduce("mean", (2, 3), False), value, name=f"{prefix}mean").output
    graph.outputs = [value]
    return graph


def ranges(samples: list[dict[str, np.ndarray]]) -> list[float]:
    """The largest number of each ReLU, by computing them."""
    found = [0.0] * LAYERS
    for sample in samples:
        x = sample["x"]
        for layer in range(LAYERS):
            x = np.maximum(np.einsum("oi,nihw->nohw", weights(layer)[:, :, 0, 0], x), 0)
            found[layer] = max(found[layer], float(x.max()))
    return found


def samples(count: int = 6, batch: int = 1) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(7)
    shape = (batch, *SHAPE[1:])
    return [{"x": generator.standard_normal(shape).astype(np.float32)} for _ in range(count)]


def int8_graph(
    largest: list[float],
    *,
    coarse: int = -1,
    clipped: int = -1,
    shifted: int = -1,
    scales: bool = True,
    batch: int = 1,
    prefix: str = "",
) -> Graph:
    """The int8 form.

    Args:
        largest: of each ReLU.
        coarse, clipped, shifted: the layer whose weights keep two bits only, whose threshold is a
            quarter of what it should be, whose bias is wrong.
        scales: note what the integers stand for.
    """
    graph = Graph("int8")
    x = graph.input(f"{prefix}x", DType.F32, (batch, *SHAPE[1:]))
    scale = 4.0 / 127
    multiplier = graph.constant(np.asarray(1 / scale, np.float32), "m")
    value = graph.add(ops.Quantize(DType.I8), x, multiplier, name=f"{prefix}x.fixed").output
    note(graph, value, np.float32(scale), scales)
    for layer in range(LAYERS):
        out = largest[layer] / 255 * (0.25 if layer == clipped else 1)
        value = _layer(graph, layer, value, scale, out, layer == coarse, layer == shifted, prefix)
        note(graph, value, np.full(8, out, np.float32), scales)
        scale = out
    factor = graph.constant(np.asarray(scale, np.float32), "s")
    value = graph.add(ops.Dequantize(), value, factor, name=f"{prefix}relu3.float").output
    mean = ops.Reduce("mean", (2, 3), False)
    graph.outputs = [graph.add(mean, value, name=f"{prefix}mean").output]
    return graph


def _layer(
    graph: Graph, layer: int, x: Value, before: float, after: float, coarse: bool, shifted: bool,
    prefix: str,
) -> Value:  # fmt: skip
    wanted = weights(layer) * before / after
    shift = 1
    while shift < 16 and np.abs(wanted).max() * 2 ** (shift + 1) <= 127:
        shift += 1
    integers = np.rint(wanted * 2**shift)
    if coarse:
        integers = np.rint(integers / 64) * 64
    # A quarter of the range too much.
    bias = np.full(8, 64 << shift if shifted else 0)
    weight = graph.constant(integers.clip(-128, 127).astype(np.int8), f"q{layer}")
    offsets = graph.constant(bias.clip(-32768, 32767).astype(np.int16), f"b{layer}")
    conv = ops.FixConv((1, 1), (0, 0, 0, 0), (1, 1), 1, shift, DType.U8)
    return graph.add(conv, x, weight, offsets, name=f"{prefix}relu{layer}").output


def note(graph: Graph, value: Value, scale: np.ndarray | np.float32, wanted: bool) -> None:
    """Say what the integers stand for."""
    if wanted:
        value.scale = graph.constant(np.asarray(scale, np.float32), f"{value.name}.scale")
