"""A network from its text.

The text may have been edited by a person or damaged by anything: every problem names its line, and
reading takes time and memory linear in the text, whatever it holds.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, get_args, get_origin

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError, Problems
from nntc.core.textformat import Message, Token, parse
from nntc.ir._syntax import Line, is_possible_shape
from nntc.ir.graph import Graph, Node, Op, TensorType, Value, attribute_kinds, infer_types
from nntc.ir.ops import OPS
from nntc.ir.prototxt.data_layer import read_feed
from nntc.ir.prototxt.keys import DATA_LAYERS, MARK, STRATEGIES, VERSION, Feed, LayerKeys, Network
from nntc.ir.text import digest

MOST_PROBLEMS = 20
_INTEGER_DIGITS = 20

ShapeOf = Callable[[Feed], "tuple[int, ...]"]


def parse_network(
    data: bytes,
    constants: Mapping[str, np.ndarray] | None = None,
    shape_of: ShapeOf | None = None,
) -> Network:
    """The network that :func:`print_network` printed, or that a person edited.

    Args:
        constants: data of the constants that the text holds by reference, by name.
        shape_of: the shape of an input whose Data layer does not say it.

    Raises:
        ModelError: names every fault with its line.
    """
    root = parse(data)
    reader = _Reader(constants or {}, shape_of)
    reader.read(root)
    return reader.network


class _Enough(Exception):  # noqa: N818 - not an error
    """So many problems that more help nobody."""


class _Reader:
    def __init__(self, constants: Mapping[str, np.ndarray], shape_of: ShapeOf | None) -> None:
        self.network = Network(Graph())
        self._graph = self.network.graph
        self._constants = constants
        self._shape_of = shape_of
        self._problems = Problems(ModelError)
        self._values: dict[str, Value] = {}
        self._missing: set[str] = set()
        self._layers: set[str] = set()

    def read(self, root: Message) -> None:
        version = root.integer(MARK, 0)
        if version != VERSION:
            raise ModelError(
                f"line {root.line}: {MARK}: {VERSION} is missing: no UModel of this toolchain"
                if not version
                else f"{MARK} is {version}, only {VERSION} is known"
            )
        self._graph.name = root.text("name", "network")
        self.network.model_type = root.text("model_type", self.network.model_type)
        for name in ("state", "weights"):  # for people, and for finding the files
            root.fields.pop(name, None)
        layers, outputs = root.messages("layer"), root.tokens("output")
        scales = [m for one in (root, *layers) for m in one.messages("scale")]
        params = [m for one in (root, *layers) for m in one.messages("param")]
        try:
            for message in params:
                self._collect(self._param, message)
            self._inputs([m for m in layers if _type(m) in (*DATA_LAYERS, "Input")])
            for message in layers:
                if _type(message) not in (*DATA_LAYERS, "Input"):
                    self._collect(self._layer, message)
            for token in outputs:
                self._collect(self._output, token)
            if not outputs:
                self._problems.add('the network has no output: "NAME"')
            for message in scales:
                self._collect(self._scale, message)
        except _Enough:
            pass
        _no_rest(root, "the network", (), self._problems)
        self._problems.raise_if_any()

    def _collect(self, read: Callable[[Any], None], item: Any) -> None:
        with self._problems.collect():
            read(item)
        self._stop()

    def _stop(self) -> None:
        if len(self._problems) >= MOST_PROBLEMS:
            raise _Enough

    # -- values -----------------------------------------------------------------------------

    def _declare(self, name: str, line: int, kind: TensorType) -> Value:
        if not name:
            raise ModelError(f"line {line}: a tensor without a name")
        if name in self._values:
            raise ModelError(f"line {line}: {name} is declared twice")
        value = Value(self._graph.unique_name(name), kind)
        self._values[name] = value
        return value

    def _operand(self, token: Token) -> Value | None:
        if not token.text:
            return None
        value = self._values.get(token.text)
        if value is None:
            if token.text in self._missing:
                raise _Skip
            hint = _hint(token.text, self._values)
            raise ModelError(f"line {token.line}: {token.text} is not made above{hint}")
        return value

    def _param(self, message: Message) -> None:
        name = message.text("name")
        try:
            kind = _tensor_type(message)
            value = self._declare(name, message.line, kind)
            value.data = self._data(message, name, kind)
            if "sha256" in message and f"{digest(value)}" != message.text("sha256"):
                raise ModelError(
                    f"line {message.line}: the data of {name} have the hash {digest(value)}, "
                    f"not {message.text('sha256')[:40]}"
                )
        except ModelError:
            self._missing.add(name)
            self._values.pop(name, None)
            raise
        _no_rest(message, f"param {name}", ("name", "type", "sha256", "data"), self._problems)

    def _data(self, message: Message, name: str, kind: TensorType) -> np.ndarray:
        if "data" in message:
            tokens = message.tokens("data")
            if len(tokens) != kind.size:
                raise ModelError(
                    f"line {message.line}: param {name} is {kind}, {len(tokens)} numbers are given"
                )
            return _array(tokens, kind)
        data = self._constants.get(name)
        if data is None:
            raise ModelError(f"line {message.line}: the weights hold no {name}")
        if (data.dtype, data.shape) != (kind.dtype.numpy, kind.shape):
            raise ModelError(
                f"line {message.line}: {name} is declared {kind}, its data are {data.dtype} of "
                f"shape {data.shape}"
            )
        return data

    def _scale(self, message: Message) -> None:
        line = message.line
        names = [message.text("of"), message.text("param")]
        if self._missing.intersection(names):
            return
        for name in names:
            if name not in self._values:
                raise ModelError(f"line {line}: scale: there is no {name}")
        value, scale = (self._values[name] for name in names)
        if value.scale is not None:
            raise ModelError(f"line {line}: {value.name} has two scales")
        if scale.data is None or scale.dtype is not DType.F32:
            raise ModelError(f"line {line}: the scale {scale.name} is no f32 constant")
        if scale.shape not in ((), value.shape[1:2]):
            raise ModelError(
                f"line {line}: the scale {scale.name} has the shape {scale.shape}, () or "
                f"{value.shape[1:2]} is needed"
            )
        value.scale = scale
        value.zero = message.integer("zero", 0)
        _no_rest(message, "scale", ("of", "param", "zero"), self._problems)

    def _output(self, token: Token) -> None:
        try:
            value = self._operand(token)
        except _Skip:
            return
        if value is None:
            raise ModelError(f"line {token.line}: an output without a name")
        self._graph.outputs.append(value)

    # -- layers -----------------------------------------------------------------------------

    def _name(self, message: Message, default: str) -> str:
        name = message.text("name") or default
        if name in self._layers:
            raise ModelError(f"line {message.line}: two layers are called {name}")
        self._layers.add(name)
        return name

    def _wishes(self, message: Message, name: str, of: dict[str, LayerKeys]) -> None:
        keys = _layer_keys(message)
        if keys != LayerKeys():
            of[name] = keys

    def _inputs(self, messages: list[Message]) -> None:
        """Input and Data layers. A Data layer may stand beside the Input layer of its top."""
        shapes: dict[str, TensorType | None] = {}
        feeds: dict[str, Feed] = {}
        lines: dict[str, int] = {}
        for message in messages:
            with self._problems.collect():
                tops = message.texts("top")
                if not tops or not tops[0]:
                    raise ModelError(f"line {message.line}: an input layer without a top")
                name = message.text("name") or tops[0]
                self._wishes(message, tops[0], self.network.input_keys)
                if _type(message) == "Input":
                    if len(tops) != 1:
                        raise ModelError(f"line {message.line}: an Input layer has one top")
                else:
                    if tops[0] in feeds:
                        raise ModelError(f"line {message.line}: {tops[0]} has two Data layers")
                    feeds[tops[0]] = read_feed(message, tops)
                kind = _input_type(message)
                if shapes.get(tops[0]) is None:
                    shapes[tops[0]] = kind
                elif kind is not None and kind != shapes[tops[0]]:
                    raise ModelError(f"line {message.line}: {tops[0]} is declared twice")
                lines.setdefault(tops[0], message.line)
                message.messages("include")
                used = ("name", "type", "top", "include", "exclude", "input_param", "param")
                _no_rest(message, f"layer {name}", used, self._problems)
            self._stop()
        for name, kind in shapes.items():
            with self._problems.collect():
                feed, line = feeds.get(name), lines[name]
                if kind is None and feed is not None and self._shape_of is not None:
                    with _at(line):
                        kind = TensorType(DType.F32, self._shape_of(feed))
                if kind is None:
                    self._missing.add(name)
                    raise ModelError(
                        f"line {line}: the shape of {name} is not known: add "
                        "input_param { shape { dim: ... } }"
                    )
                self._graph.inputs.append(self._declare(name, line, kind))
            self._stop()
        self.network.feeds = [feeds[name] for name in shapes if name in feeds]

    def _layer(self, message: Message) -> None:
        tops = message.texts("top")
        try:
            self._node(message, tops)
        except _Skip:
            self._missing.update(tops)
        except ModelError:
            self._missing.update(tops)
            raise

    def _node(self, message: Message, tops: list[str]) -> None:
        line, kind_name = message.line, _type(message)
        name = self._name(message, tops[0] if tops else "")
        where = f"line {line}: layer {name}"
        kind = OPS.get(kind_name)
        if kind is None:
            hint = _hint(kind_name, OPS)
            raise ModelError(f"{where}: unknown type {kind_name or '(none)'}{hint}")
        self._wishes(message, name, self.network.keys)
        op = _operator(message, kind, where)
        inputs = [self._operand(token) for token in message.tokens("bottom")]
        source = message.text("source") or name
        try:
            types = infer_types(op, inputs, "")
        except ModelError as err:
            texts = [text.removeprefix(": ") for text in err.problems]
            raise ModelError([f"{where}: {text}" for text in texts]) from None
        if len(tops) != len(types):
            raise ModelError(f"{where}: {len(tops)} tops, {kind.name} makes {len(types)}")
        _no_rest(
            message,
            f"layer {name}",
            ("name", "type", "top", "bottom", *attribute_kinds(kind), *_KEYS),
            self._problems,
        )
        outputs = [self._declare(top, line, made) for top, made in zip(tops, types, strict=True)]
        self._graph.unique_node_name(name)
        self._graph.nodes.append(Node(op, inputs, outputs, name, source))


class _Skip(Exception):  # noqa: N818 - not an error
    """What is read depends on something faulty that has been reported."""


class _at:  # noqa: N801
    """Puts the line before the problems of what is done inside."""

    def __init__(self, line: int) -> None:
        self._line = line

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ModelError):
            return
        problems = getattr(error, "problems", None)
        if problems is not None:
            raise ModelError([f"line {self._line}: {text}" for text in problems]) from None


def _type(message: Message) -> str:
    return message.text("type")


_KEYS = tuple(f.name for f in fields(LayerKeys))


def _layer_keys(message: Message) -> LayerKeys:
    strategy: Any = message.text("th_strategy", "USE_DEFAULT")
    if strategy not in STRATEGIES:
        raise ModelError(
            f"line {message.line}: th_strategy is {strategy[:40]}; choose from "
            f"{', '.join(STRATEGIES)}"
        )
    numbers = {
        key: message.number(key, low) for key, low in (("threshold", 0.0), ("th_scale", 1.0))
    }
    if not (numbers["threshold"] >= 0 and numbers["th_scale"] > 0):
        raise ModelError(f"line {message.line}: threshold and th_scale must be positive")
    return LayerKeys(
        message.flag("forward_with_float"),
        strategy,
        numbers["threshold"],
        numbers["th_scale"],
        message.flag("use_winograd"),
    )


def _input_type(message: Message) -> TensorType | None:
    """What ``input_param`` says; None if the layer has none."""
    if "input_param" not in message:
        return None
    param = message.message("input_param")
    dims = param.message("shape").tokens("dim")
    sizes = tuple(_integer(token, "dim") for token in dims)
    dtype = param.text("dtype", "f32").lower()
    if dtype not in list(DType):
        raise ModelError(f"line {param.line}: unknown element type {dtype[:40]}")
    if not is_possible_shape(sizes) or any(size < 1 for size in sizes):
        raise ModelError(f"line {param.line}: bad shape {str(list(sizes))[:100]}")
    return TensorType(DType(dtype), sizes)


def _tensor_type(message: Message) -> TensorType:
    line = Line(message.text("type"), message.line)
    kind = line.type()
    line.end()
    return kind


def _operator(message: Message, kind: type[Op], where: str) -> Op:
    found: dict[str, object] = {}
    needed: list[str] = []
    for item in fields(kind):  # type: ignore[arg-type]
        declared = attribute_kinds(kind)[item.name]
        if item.name in message:
            found[item.name] = _attribute(message.tokens(item.name), declared, item.name, where)
        elif item.default is MISSING:
            needed.append(item.name)
    if needed:
        raise ModelError(f"{where}: {kind.name} needs {', '.join(needed)}")
    try:
        return kind(**found)
    except ModelError as err:
        raise ModelError([f"{where}: {text}" for text in err.problems]) from None


def _attribute(tokens: list[Token], kind: object, name: str, where: str) -> object:
    if get_origin(kind) is tuple:
        return tuple(_single(token, get_args(kind)[0], name) for token in tokens)
    if len(tokens) != 1:
        raise ModelError(f"{where}: {name} is given {len(tokens)} times")
    return _single(tokens[0], kind, name)


def _single(token: Token, kind: object, name: str) -> object:
    if kind is int:
        return _integer(token, name)
    if kind is float:
        return _float(token, name)
    if kind is bool:
        return _truth(token, name)
    if kind is DType:
        if token.text.lower() not in list(DType):
            raise ModelError(f"line {token.line}: {name} is {token.text[:40]}, no element type")
        return DType(token.text.lower())
    return token.text


def _integer(token: Token, name: str) -> int:
    # int() takes a time quadratic in the number of digits.
    digits = token.text.lstrip("+-")
    if token.kind != "number" or not digits.isdecimal() or len(digits) > _INTEGER_DIGITS:
        raise ModelError(f"line {token.line}: {name} is {token.text[:40]}, not a whole number")
    return int(token.text)


def _float(token: Token, name: str) -> float:
    try:
        if token.kind == "string":
            raise ValueError
        return float(token.text.rstrip("fF") if token.kind == "number" else token.text)
    except ValueError:
        raise ModelError(f"line {token.line}: {name} is {token.text[:40]}, not a number") from None


def _truth(token: Token, name: str) -> bool:
    if token.text not in ("true", "false"):
        raise ModelError(f"line {token.line}: {name} is {token.text[:40]}, not true or false")
    return token.text == "true"


def _array(tokens: Iterable[Token], kind: TensorType) -> np.ndarray:
    dtype = kind.dtype
    if dtype is DType.BOOL:
        items: list[Any] = [_truth(token, "data") for token in tokens]
    elif dtype.is_float:
        items = [_float(token, "data") for token in tokens]
    else:
        limits = np.iinfo(str(dtype.numpy))
        items = []
        for token in tokens:
            value = _integer(token, "data")
            if not limits.min <= value <= limits.max:
                raise ModelError(f"line {token.line}: {value} does not exist in {dtype}")
            items.append(value)
    with np.errstate(over="ignore"):
        return np.array(items, dtype.numpy).reshape(kind.shape)


def _no_rest(message: Message, what: str, known: tuple[str, ...], problems: Problems) -> None:
    """Keys that nobody read: misspelt, or of another operator."""
    for name in message.unread():
        value = message.fields[name][0]
        hint = _hint(name, dict.fromkeys(known))
        problems.add(f"line {value.line}: {what}: unknown key {name[:80]}{hint}")


def _hint(word: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(word[:100], list(known)[:10000], 1)
    return f"; is {close[0]} meant?" if close else ""
