"""RNN, GRU and LSTM against ONNX Runtime."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from onnx import ModelProto, TensorProto

from nntc.core.errors import ModelError
from nntc.frontends.onnx import load
from nntc.ir import interpret
from tests.frontends.agree import agree, assert_close, random_inputs
from tests.frontends.models import info, model, node, rng_array

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, BATCH, WIDTH, HIDDEN = 4, 2, 5, 3


def layer(
    kind: str,
    direction: str = "forward",
    bias: bool = True,
    lengths: bool = False,
    initial: bool = False,
    peephole: bool = False,
    constant_lengths: tuple[int, ...] | None = None,
    **attrs: object,
) -> ModelProto:
    count = 2 if direction == "bidirectional" else 1
    gates = GATES[kind]
    names = ["x", "w", "r", "b" if bias else "", "", ""]
    inputs = [info("x", [STEPS, BATCH, WIDTH])]
    weights = {
        "w": rng_array(count, gates * HIDDEN, WIDTH),
        "r": rng_array(count, gates * HIDDEN, HIDDEN, seed=1),
    }
    if bias:
        weights["b"] = rng_array(count, 2 * gates * HIDDEN, seed=2)
    if lengths:
        names[4] = "lengths"
        inputs.append(info("lengths", [BATCH], TensorProto.INT32))
    if constant_lengths is not None:
        names[4] = "lengths"
        weights["lengths"] = np.array(constant_lengths, np.int32)
    if initial:
        names[5] = "h0"
        inputs.append(info("h0", [count, BATCH, HIDDEN]))
    outputs = ["y", "yh"]
    if kind == "LSTM":
        names += ["c0" if initial else "", "p" if peephole else ""]
        outputs.append("yc")
        if initial:
            inputs.append(info("c0", [count, BATCH, HIDDEN]))
        if peephole:
            weights["p"] = rng_array(count, 3 * HIDDEN, seed=3)
    nodes = [node(kind, names, outputs, hidden_size=HIDDEN, direction=direction, **attrs)]
    return model(nodes, inputs, outputs, weights, opset=14)


@pytest.mark.parametrize(
    ("kind", "direction"),
    list(itertools.product(GATES, ["forward", "reverse", "bidirectional"])),
)
@pytest.mark.parametrize("initial", [False, True])
def test_directions(kind: str, direction: str, initial: bool) -> None:
    agree(layer(kind, direction, initial=initial))


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_lengths_per_batch_at_run_time(kind: str, direction: str) -> None:
    proto = layer(kind, direction, lengths=True)
    inputs = dict(random_inputs(load(proto)))
    inputs["lengths"] = np.array([2, 4], np.int32)
    agree(proto, inputs=inputs)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("lengths", [(4, 4), (1, 3)])
def test_constant_lengths(kind: str, lengths: tuple[int, ...]) -> None:
    graph = agree(layer(kind, "bidirectional", constant_lengths=lengths))
    masks = [n for n in graph.nodes if n.op.name == "Where"]
    assert bool(masks) == (lengths != (4, 4))


VARIANTS: list[tuple[str, Mapping[str, object]]] = [
    ("RNN", {"activations": ["Relu"]}),
    ("RNN", {"activations": ["Affine"], "activation_alpha": [0.5], "activation_beta": [0.25]}),
    ("RNN", {"activations": ["ScaledTanh"], "activation_alpha": [0.5], "activation_beta": [2.0]}),
    ("RNN", {"activations": ["LeakyRelu"], "activation_alpha": [0.3]}),
    ("RNN", {"activations": ["Elu"], "activation_alpha": [0.7]}),
    ("RNN", {"activations": ["Softsign"]}),
    ("RNN", {"activations": ["Softplus"]}),
    ("RNN", {"activations": ["HardSigmoid"]}),
    ("RNN", {"clip": 0.5}),
    ("GRU", {"linear_before_reset": 1}),
    ("GRU", {"linear_before_reset": 1, "bias": False}),
    ("GRU", {"bias": False}),
    ("GRU", {"activations": ["HardSigmoid", "Relu"]}),
    ("LSTM", {"bias": False}),
    ("LSTM", {"peephole": True}),
    ("LSTM", {"input_forget": 1}),
    ("LSTM", {"peephole": True, "direction": "bidirectional", "initial": True}),
    ("LSTM", {"activations": ["Sigmoid", "Relu", "Tanh"]}),
    ("LSTM", {"activations": ["HardSigmoid", "Tanh", "Relu"], "activation_alpha": [0.3]}),
]


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_variants(kind: str, options: Mapping[str, object]) -> None:
    agree(layer(kind, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_batch_first_is_the_transposed_time_first(kind: str) -> None:
    """ONNX Runtime does not implement layout 1, so the two layouts are compared."""
    first = load(layer(kind, "bidirectional"))
    proto = layer(kind, "bidirectional", layout=1)
    proto.graph.input[0].CopyFrom(info("x", [BATCH, STEPS, WIDTH]))
    second = load(proto)
    x = rng_array(STEPS, BATCH, WIDTH)
    wanted = interpret.run(first, {"x": x})
    got = interpret.run(second, {"x": x.transpose(1, 0, 2)})
    turned = {"y": got["y"].transpose(1, 2, 0, 3)}
    turned |= {n: got[n].transpose(1, 0, 2) for n in got if n != "y"}
    assert_close(turned, wanted)


def test_lengths_skip_the_right_steps_backwards() -> None:
    graph = load(layer("RNN", "reverse", constant_lengths=(1, 4)))
    x = rng_array(STEPS, BATCH, WIDTH)
    y = interpret.run(graph, {"x": x})["y"]
    assert not y[1:, 0, 0].any()
    changed = x.copy()
    changed[1:, 0] = 100
    np.testing.assert_array_equal(interpret.run(graph, {"x": changed})["y"], y)


@pytest.mark.parametrize(
    ("attrs", "words"),
    [
        ({"hidden_size": 7}, "hidden_size"),
        ({"direction": "sideways"}, "sideways"),
        ({"activations": ["Nonsense", "Tanh", "Tanh"]}, "Nonsense"),
        ({"activations": ["Tanh"]}, "3 are needed"),
    ],
)
def test_malformed_layers_are_refused(attrs: Mapping[str, object], words: str) -> None:
    proto = layer("LSTM")
    kept = {"hidden_size": HIDDEN, "direction": "forward", **attrs}
    proto.graph.node[0].CopyFrom(
        node("LSTM", proto.graph.node[0].input, proto.graph.node[0].output, **kept)
    )
    with pytest.raises(ModelError, match=words):
        load(proto)
