"""What the historical calibration commands share: an fp32 UModel becomes an int8 one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nntc.compat.arguments import Option, names, switch, target, text, warn, whole, word_of
from nntc.core.errors import UserError
from nntc.core.files import write_bytes
from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value
from nntc.ir.prototxt import LayerKeys, Names, Network, print_network, save

if TYPE_CHECKING:
    from nntc.api import Progress
    from nntc.quant import QuantizeOptions, Statistics

_METHODS = ("KL", "SYMKL", "JSD", "ADMM", "ACIQ", "MAX", "PERCENTILE9999", "MSE")
_BETTER = "channels have scales of their own, to which it adds nothing"

OPTIONS = (
    Option("iterations", whole, 0, "samples for the statistics, spread over the data; 0: all"),
    Option(
        "th_method",
        word_of(*_METHODS),
        None,
        "how thresholds are found; default: that of nntc quantize",
    ),
    Option("bitwidth", word_of("TO_INT8"), "TO_INT8", "TO_INT8"),
    Option("per_channel", switch, None, "a scale for every channel; default: true"),
    Option("accuracy_opt", switch, False, "depthwise convolutions in fp32"),
    Option("fpfwd_inputs", names, (), "fp32 from the inputs up to these layers"),
    Option("fpfwd_outputs", names, (), "fp32 from these layers to the outputs"),
    Option("fpfwd_blocks", names, (), "fp32 from these layers to the next convolution"),
    Option("dump_dist", text, None, "file to keep the distributions in"),
    Option("load_dist", text, None, "use the distributions in this file"),
    Option("save_test_proto", switch, False, "write *_test_*_unique_top.prototxt, too"),
    Option("save_model", switch, True, "write the int8 model"),
    Option("adaptive", switch, None, "round weights to what serves the results; default: true"),
    Option("samples", whole, None, "samples on which layers are fitted"),
    Option("int8_inputs", switch, True, "the inputs are integers with a scale"),
    Option("int8_outputs", switch, True, "the outputs are integers with a scale"),
    Option("target", target, "BM1684", "the chip"),
    Option("th_binnum", whole, None, idle="histograms have a fixed number of bins"),
    Option("winograd", switch, False, idle="the compiler chooses exact convolutions only"),
    Option("graph_transform", switch, False, "simplify the network first; always done"),
    Option("conv_group", switch, False, idle=_BETTER),
    Option("fold_concat_scale", switch, False, idle=_BETTER),
    Option("merge_scale_to_conv", switch, False, idle="it is always done"),
    Option("merge_depwise_scale", switch, False, idle="it is always done"),
    Option("notmerge_conv_layer", names, None, idle="layers are merged exactly"),
    Option("pad_value", text, None, idle="padding is exact"),
    Option("random_input_compare", text, None, idle="the network is not changed by guesswork"),
    Option("fp32_diff", text, None, idle="the network is not changed by guesswork"),
    Option("debug_log_level", text, None, idle="the log is short"),
    Option("asym_threshold", text, None, idle="it is of another chip"),
)
"""Options of ``calibration_use_pb quantize`` beside the model's files."""


class RandomData:
    """Samples of random numbers in 0 ... 1: for trying out a flow, never for accuracy."""

    def __init__(self, inputs: Mapping[str, tuple[int, ...]], count: int, seed: int = 0) -> None:
        self._inputs, self._count, self._seed = dict(inputs), count, seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < self._count:
            raise IndexError(index)
        rng = np.random.default_rng([self._seed, index])
        return {n: rng.random(shape, np.float32) for n, shape in self._inputs.items()}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return (self[index] for index in range(self._count))

    @property
    def digest(self) -> str:
        return f"random {self._seed} {self._count} {self._inputs}"

    @property
    def skipped(self) -> list[tuple[str, str]]:
        return []

    def name(self, index: int) -> str:
        return f"random sample {index}"


@dataclass(frozen=True)
class Result:
    """What was quantised.

    Attributes:
        network: the int8 network, of the batch of the fp32 one.
        floats: names of the layers in fp32.
    """

    network: Network
    floats: list[str]


def quantize(
    network: Network,
    data: Any,
    options: Mapping[str, Any],
    layers: Sequence[str] = (),
    progress: Progress | None = None,
) -> Result:
    """Calibrate and quantise a network as the options say.

    Args:
        network: its graph is simplified in place.
        data: samples; see :class:`nntc.quant.calibrate.Samples`.
        options: values of OPTIONS.
        layers: further layers that stay in fp32.

    Raises:
        UserError: data or names do not fit.
    """
    from nntc import passes, quant
    from nntc.passes import batch_of, with_batch
    from nntc.passes.borders import is_quantised

    if is_quantised(network.graph):
        raise UserError(f"{network.graph.name}: is quantised already")
    whole_graph = network.graph
    graph = passes.simplify(passes.one_sample(whole_graph))
    if options["load_dist"]:
        statistics = quant.Statistics.load(options["load_dist"])
        statistics.check(graph)
    else:
        statistics = quant.calibrate(graph, data, limit=options["iterations"], progress=progress)
    if options["dump_dist"]:
        statistics.save(options["dump_dist"])
    for name, reason in data.skipped:
        warn(f"sample {name} is left out: {reason}")
    chosen = quantize_options(network, graph, statistics, options, layers)
    made = quant.quantize(graph, statistics, data, chosen, progress)
    for layer in made.report:
        in_float = "true" if layer.place == "fp32" else "false"
        print(f"calibration for layer = {layer.node}, forward_with_float = {in_float}")
    print("int8 calibration done.", flush=True)
    result = made.graph
    if graph is not whole_graph:
        result = with_batch(result, batch_of(whole_graph))
    floats = [layer.node for layer in made.report if layer.place == "fp32"]
    return Result(Network(result, model_type=network.model_type), floats)


def quantize_options(
    network: Network,
    graph: Graph,
    statistics: Statistics,
    options: Mapping[str, Any],
    layers: Sequence[str] = (),
) -> QuantizeOptions:
    """The quantiser's choices: what is not given keeps its best value."""
    from nntc.quant import QuantizeOptions

    found: dict[str, Any] = {
        name: options[option]
        for name, option in (
            ("method", "th_method"),
            ("per_channel", "per_channel"),
            ("adaptive", "adaptive"),
            ("samples", "samples"),
        )
        if options[option] is not None
    }
    wanted = [*layers, *_marked(network, graph)]
    if options["accuracy_opt"]:
        wanted += [node.name for node in graph.nodes if _is_depthwise(node)]
    inputs = {v.name: v for v in graph.inputs}
    users = graph.users()

    layer_names = _names(graph)
    method = found.get("method", QuantizeOptions.method)

    def behind(given: Iterable[str]) -> tuple[str, ...]:
        """Names of layers; an input stands for what reads it."""
        result: list[str] = []
        for name in given:
            readers = users.get(inputs[name], []) if name in inputs else None
            found = [layer_names.get(name, name)]
            result += found if readers is None else [node.name for node in readers]
        return tuple(result)

    return QuantizeOptions(
        **found,
        float_layers=tuple(layer_names.get(name, name) for name in wanted),
        float_inputs=behind(n for n in options["fpfwd_inputs"] if n not in inputs),
        float_outputs=behind(options["fpfwd_outputs"]),
        float_blocks=behind(options["fpfwd_blocks"]),
        thresholds=_thresholds(network, graph, statistics, method, users),
        int8_inputs=options["int8_inputs"],
        int8_outputs=options["int8_outputs"],
    )


def _names(graph: Graph) -> dict[str, str]:
    """What users may call a layer → its name: also its model's name without the operator."""
    found: dict[str, str] = {}
    for node in graph.nodes:
        for name in (node.name, *(v.name for v in node.outputs), node.source):
            found.setdefault(name, node.name)
    for node in graph.nodes:
        found.setdefault(node.source.rpartition(" (")[0], node.name)
    return found


def _is_depthwise(node: Node) -> bool:
    op = node.op
    return isinstance(op, ops.Conv) and op.group > 1 and op.group == node.operands[0].shape[1]


def _marked(network: Network, graph: Graph) -> list[str]:
    """Layers with forward_with_float that simplification left in the graph."""
    there = {node.name for node in graph.nodes}
    found = [name for name, keys in network.keys.items() if keys.forward_with_float]
    for name in found:
        if name not in there:
            warn(f"layer {name}: forward_with_float has no effect: it became part of another layer")
    return [name for name in found if name in there]


def _thresholds(
    network: Network,
    graph: Graph,
    statistics: Statistics,
    method: str,
    users: Mapping[Value, Sequence[Node]],
) -> tuple[tuple[str, float], ...]:
    """What th_strategy, threshold and th_scale ask for, by the names of values."""
    from nntc.quant.thresholds import value_threshold

    found: dict[str, float] = {}
    wishes = [(v, keys) for v in graph.inputs if (keys := network.input_keys.get(v.name))]
    for node in graph.nodes:
        keys = network.keys.get(node.name)
        if keys is None:
            continue
        # A ReLU or limit is done by the layer before it: its results are what is stored.
        values = [node.output]
        readers = users.get(node.output, ())
        if len(readers) == 1 and _is_limit(readers[0]):
            values.append(readers[0].output)
        wishes += [(value, keys) for value in values]
    for value, keys in wishes:
        if keys.threshold == 0 and keys.th_scale == 1 and keys.th_strategy == "USE_DEFAULT":
            continue
        known = statistics.values.get(value.name)
        top = keys.threshold
        if top == 0 and known is not None:
            top = float(value_threshold(_method(keys, method), known))
        if top > 0:
            found[value.name] = top * keys.th_scale
    return tuple(found.items())


def _method(keys: LayerKeys, default: str) -> str:
    return {"USE_KL": "KL", "USE_MAX": "MAX"}.get(keys.th_strategy, default)


def _is_limit(node: Node) -> bool:
    return isinstance(node.op, ops.Clip) or node.op == ops.Unary("relu")


def write_int8(
    source: Network, result: Result, files: Names, fp32_weights: str, test_proto: bool
) -> None:
    """Write the int8 model, and the texts that go with it.

    Raises:
        UserError: a file cannot be written.
    """
    int8 = result.network
    save(int8, files.unique_top("deploy", "int8"), files.int8_weights)
    bare = Network(source.graph, source.keys, source.input_keys, [], source.model_type)
    texts = {files.unique_top("deploy", "fp32"): (bare, fp32_weights)}
    if test_proto:
        test = Network(int8.graph, feeds=source.feeds, model_type=int8.model_type)
        texts[files.unique_top("test", "int8")] = (test, files.int8_weights.name)
        texts[files.unique_top("test", "fp32")] = (source, fp32_weights)
    for path, (network, weights) in texts.items():
        write_bytes(path, print_network(network, weights).encode())
