"""RNN, GRU and LSTM, unrolled over time.

The product with the input is taken for all steps at once; each step then needs one product with
the state. Where a batch has its own length, a step beyond it leaves the state as it is and gives
zeros; run backwards, that is the same as reversing each sequence within its length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nntc.core.errors import ModelError
from nntc.frontends import limits
from nntc.frontends.builder import Builder
from nntc.frontends.onnx.call import Call, reads
from nntc.ir import ops
from nntc.ir.graph import Op, Value

Activation = Callable[[Value], Value]
Step = Callable[[Value, "State"], "State"]


@dataclass
class State:
    """Hidden state, and the cell of an LSTM."""

    h: Value
    c: Value | None = None


@dataclass
class Direction:
    """Weights of one direction: w [gates*H, I], r [gates*H, H], biases [gates*H] or None."""

    w: Value
    r: Value
    input_bias: Value | None
    state_bias: Value | None
    peephole: Value | None
    backwards: bool
    activations: list[Activation]


@dataclass
class Layer:
    """A recurrent node, its operands in time-major order: x [T, B, I], states [D, B, H]."""

    call: Call
    gates: int
    x: Value
    hidden: int
    directions: list[Direction]
    lengths: Value | None
    initial: list[State]

    @property
    def b(self) -> Builder:
        return self.call.b


_DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@reads("RNN")
def rnn(c: Call) -> list[Value]:
    layer = _layer(c)

    def make(d: Direction) -> Step:
        def step(x: Value, state: State) -> State:
            total = c.b.add(x, c.b.matmul(state.h, d.r, transpose_b=True))
            return State(d.activations[0](total))

        return step

    return _run(layer, make)


@reads("GRU")
def gru(c: Call) -> list[Value]:
    layer = _layer(c)
    size = layer.hidden
    reset_after = c.flag("linear_before_reset")

    def make(d: Direction) -> Step:
        f, g = d.activations
        gates_r, hidden_r = c.b.split(d.r, 0, (2 * size, size))
        gates_bias, hidden_bias = (
            (None, None)
            if d.state_bias is None
            else tuple(c.b.split(d.state_bias, 0, (2 * size, size)))
        )

        def product(h: Value, r: Value, bias: Value | None) -> Value:
            return c.b.matmul(h, r, bias, transpose_b=True)

        def step(x: Value, state: State) -> State:
            x_gates, x_hidden = c.b.split(x, 1, (2 * size, size))
            gates = f(c.b.add(x_gates, product(state.h, gates_r, gates_bias)))
            update, reset = c.b.split(gates, 1, (size, size))
            if reset_after:
                part = c.b.mul(reset, product(state.h, hidden_r, hidden_bias))
            else:
                part = product(c.b.mul(reset, state.h), hidden_r, hidden_bias)
            candidate = g(c.b.add(x_hidden, part))
            # (1 - z) * candidate + z * h
            change = c.b.mul(update, c.b.sub(state.h, candidate))
            return State(c.b.add(candidate, change))

        return step

    return _run(layer, make)


@reads("LSTM")
def lstm(c: Call) -> list[Value]:
    """Gates in the order input, output, forget, cell; peepholes input, output, forget."""
    layer = _layer(c)
    size = layer.hidden
    coupled = c.flag("input_forget")

    def make(d: Direction) -> Step:
        f, g, h = d.activations
        peep = None if d.peephole is None else c.b.split(d.peephole, 0, (size,) * 3)

        def step(x: Value, state: State) -> State:
            assert state.c is not None
            total = c.b.add(x, c.b.matmul(state.h, d.r, transpose_b=True))
            if peep is None:
                gates, cell_in = c.b.split(total, 1, (3 * size, size))
                i, o, forget = c.b.split(f(gates), 1, (size,) * 3)
            else:
                i, o, forget, cell_in = c.b.split(total, 1, (size,) * 4)
                i = f(c.b.add(i, c.b.mul(peep[0], state.c)))
                forget = f(c.b.add(forget, c.b.mul(peep[2], state.c)))
            if coupled:
                forget = c.b.sub(c.b.like(1.0, i), i)
            cell = c.b.add(c.b.mul(forget, state.c), c.b.mul(i, g(cell_in)))
            if peep is not None:
                o = f(c.b.add(o, c.b.mul(peep[1], cell)))
            return State(c.b.mul(o, h(cell)), cell)

        return step

    return _run(layer, make)


# -- operands -----------------------------------------------------------------------------------


def _layer(c: Call) -> Layer:
    """Check the operands and bring them to time-major order."""
    kind, gates = c.op, _GATES[c.op]
    x, w, r, bias, lengths = c.x(0), c.x(1), c.x(2), c.opt(3), c.opt(4)
    if len(x.shape) != 3 or len(w.shape) != 3 or len(r.shape) != 3:
        raise ModelError(f"operands {list(x.shape)}, {list(w.shape)}, {list(r.shape)} need rank 3")
    batch_first = c.flag("layout")
    if batch_first:
        x = c.b.transpose(x, (1, 0, 2))
    steps, batch, width = x.shape
    count, hidden = r.shape[0], r.shape[2]
    names = ("forward", "reverse", "bidirectional")
    direction = c.choice("direction", "forward", names)
    if count != (2 if direction == "bidirectional" else 1):
        raise ModelError(f"direction {direction} does not fit {count} sets of weights")
    if c.has("hidden_size") and c.i("hidden_size", 0) != hidden:
        raise ModelError(f"attribute 'hidden_size' is not {hidden}, which the weights have")
    shapes = {
        "w": (w, (count, gates * hidden, width)),
        "r": (r, (count, gates * hidden, hidden)),
        "b": (bias, (count, 2 * gates * hidden)),
        "sequence_lens": (lengths, (batch,)),
    }
    peephole = c.opt(7) if kind == "LSTM" else None
    shapes["p"] = (peephole, (count, 3 * hidden))
    for name, (value, wanted) in shapes.items():
        if value is not None and value.shape != wanted:
            raise ModelError(f"{name} is {list(value.shape)}, {list(wanted)} is needed")
    if steps > limits.TRIPS:
        raise ModelError(f"{steps} steps, at most {limits.TRIPS} are unrolled")
    activations = _activations(c, count)
    directions: list[Direction] = []
    for index in range(count):

        def part(v: Value | None, index: int = index) -> Value | None:
            if v is None:
                return None
            return c.b.squeeze(c.b.slice(v, 0, index, index + 1), 0)

        both = part(bias)
        halves = [None, None] if both is None else c.b.split(both, 0, (gates * hidden,) * 2)
        w_part, r_part = part(w), part(r)
        assert w_part is not None
        assert r_part is not None
        directions.append(
            Direction(
                w_part,
                r_part,
                halves[0],
                halves[1],
                part(peephole),
                direction == "reverse" or index == 1,
                activations[index],
            )
        )
    states = [_states(c, i, (count, batch, hidden), batch_first) for i in (5, 6)]
    initial = [State(h, cell if kind == "LSTM" else None) for h, cell in zip(*states, strict=True)]
    return Layer(c, gates, x, hidden, directions, _used_lengths(lengths, steps), initial)


def _used_lengths(lengths: Value | None, steps: int) -> Value | None:
    """None if every sequence has all steps."""
    if lengths is None or (lengths.data is not None and (lengths.data >= steps).all()):
        return None
    return lengths


def _states(c: Call, index: int, shape: tuple[int, int, int], batch_first: bool) -> list[Value]:
    """Initial states [B, H] of each direction; zeros if absent."""
    count, batch, hidden = shape
    value = c.opt(index) if index == 5 or c.op == "LSTM" else None
    if value is None:
        return [c.b.full((batch, hidden), 0.0, c.x().dtype)] * count
    if batch_first:
        value = c.b.transpose(value, (1, 0, 2))
    if value.shape != shape:
        raise ModelError(f"{c.operand_name(index)} is {list(value.shape)}, not {list(shape)}")
    return [c.b.squeeze(c.b.slice(value, 0, i, i + 1), 0) for i in range(count)]


def _activations(c: Call, directions: int) -> list[list[Activation]]:
    """Functions of each direction; alphas and betas go, in order, to those that take them."""
    names = c.strings("activations") or _DEFAULTS[c.op] * directions
    each = len(_DEFAULTS[c.op])
    if len(names) != each * directions:
        raise ModelError(f"{len(names)} activations are given, {each * directions} are needed")
    alphas = iter(c.floats("activation_alpha") or ())
    betas = iter(c.floats("activation_beta") or ())
    bound = c.f("clip", 0.0)
    made = [_activation(c.b, name, alphas, betas, bound) for name in names]
    return [made[i * each : (i + 1) * each] for i in range(directions)]


def _activation(
    b: Builder, name: str, alphas: Iterator[float], betas: Iterator[float], bound: float
) -> Activation:
    key = name.lower()
    plain = ("relu", "tanh", "sigmoid", "softsign", "softplus")
    with_alpha = {"leakyrelu": 0.01, "thresholdedrelu": 1.0, "elu": 1.0}
    with_both = {"hardsigmoid": (0.2, 0.5), "scaledtanh": (1.0, 1.0), "affine": (1.0, 0.0)}
    op: Op | None = None
    alpha = beta = 1.0
    if key in plain:
        op = ops.Unary(key)
    elif key in with_alpha:
        alpha = next(alphas, with_alpha[key])
        makers = {"leakyrelu": ops.LeakyRelu, "thresholdedrelu": ops.ThresholdedRelu}
        op = makers.get(key, ops.Elu)(alpha)
    elif key in with_both:
        alpha = next(alphas, with_both[key][0])
        beta = next(betas, with_both[key][1])
        op = ops.HardSigmoid(alpha, beta) if key == "hardsigmoid" else None
    else:
        raise ModelError(f"activation '{name}' is not defined")

    def apply(x: Value) -> Value:
        if bound > 0 and math.isfinite(bound):
            x = b.clip(x, -bound, bound)
        if op is not None:
            return b.op(op, x)
        if key == "affine":
            return b.add(b.scale(x, alpha), b.like(beta, x))
        return b.scale(b.unary("tanh", b.scale(x, beta)), alpha)

    return apply


# -- unrolling ----------------------------------------------------------------------------------


def _run(layer: Layer, make: Callable[[Direction], Step]) -> list[Value]:
    """Y [T, D, B, H], then the last states [D, B, H]; batch first if the node says so."""
    c, b = layer.call, layer.b
    results = [
        _run_direction(layer, d, make(d), state)
        for d, state in zip(layer.directions, layer.initial, strict=True)
    ]
    outputs = [b.concat([b.unsqueeze(y, 1) for y, _ in results], 1)]
    outputs.append(b.concat([b.unsqueeze(s.h, 0) for _, s in results], 0))
    if c.op == "LSTM":
        outputs.append(b.concat([b.unsqueeze(s.c, 0) for _, s in results if s.c is not None], 0))
    if not c.flag("layout"):
        return outputs
    return [b.transpose(outputs[0], (2, 0, 1, 3))] + [
        b.transpose(state, (1, 0, 2)) for state in outputs[1:]
    ]


def _run_direction(layer: Layer, d: Direction, step: Step, state: State) -> tuple[Value, State]:
    """Results of all steps [T, B, H], and the last state."""
    b = layer.b
    steps, batch, width = layer.x.shape
    flat = b.reshape(layer.x, (steps * batch, width))
    bias = d.input_bias
    if layer.call.op != "GRU" and bias is not None and d.state_bias is not None:
        bias = b.add(bias, d.state_bias)
    projected = b.matmul(flat, d.w, bias, transpose_b=True)
    projected = b.reshape(projected, (steps, batch, d.w.shape[0]))
    outputs: list[Value | None] = [None] * steps
    zeros = b.full((batch, layer.hidden), 0.0, layer.x.dtype)
    for t in range(steps)[:: -1 if d.backwards else 1]:
        x = b.squeeze(b.slice(projected, 0, t, t + 1), 0)
        new = step(x, state)
        output = new.h
        if layer.lengths is not None:
            index = b.const(np.array(t), layer.lengths.dtype)
            active = b.reshape(b.binary("gt", layer.lengths, index), (batch, 1))
            output = b.where(active, new.h, zeros)
            cell = None
            if new.c is not None and state.c is not None:
                cell = b.where(active, new.c, state.c)
            new = State(b.where(active, new.h, state.h), cell)
        state = new
        outputs[t] = b.unsqueeze(output, 0)
    return b.concat([v for v in outputs if v is not None], 0), state
