"""The layers of a prototxt that make up the network for use: names, phases, old spellings."""

from __future__ import annotations

from dataclasses import dataclass, field

from nntc.core.errors import ModelError
from nntc.frontends.caffe.text import Message, Token

# Types of the first schema whose name is not found by joining its words in capitals.
_OLD_TYPES = {
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "ELU": "ELU",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "IM2COL": "Im2col",
    "LRN": "LRN",
    "MVN": "MVN",
    "PRELU": "PReLU",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}


@dataclass
class Layer:
    """One layer.

    Attributes:
        kind: its type as the present schema spells it.
    """

    name: str
    kind: str
    bottoms: list[str]
    tops: list[str]
    message: Message

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}, line {self.message.line})"


@dataclass
class Net:
    """A network: declared inputs (None: no shape) and the layers of the test phase in order."""

    name: str
    inputs: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)


def read_net(root: Message) -> Net:
    """The network for use.

    Raises:
        ModelError: it is none, or a layer has no type.
    """
    net = Net(root.text("name") or "network")
    net.inputs = _inputs(root)
    state = root.message("state")
    levels, stages = state.integer("level", 0), set(state.texts("stage"))
    several = [*root.messages("layer"), *root.messages("layers")]
    if not several and not net.inputs:
        raise ModelError("not a Caffe network (it has no layers)")
    for number, message in enumerate(several):
        if "layer" in message:
            raise ModelError(
                f"line {message.line}: a layer of the oldest schema; upgrade it with Caffe's "
                "upgrade_net_proto_text"
            )
        if not _takes_part(message, levels, stages):
            continue
        kind = (message.tokens("type") or [None])[-1]
        if kind is None or not kind.text:
            raise ModelError(f"line {message.line}: a layer without a type")
        net.layers.append(
            Layer(
                message.text("name") or f"layer{number}",
                _present_type(kind),
                message.texts("bottom"),
                message.texts("top"),
                message,
            )
        )
    return net


def _present_type(kind: Token) -> str:
    """The type as a name; the first schema has words in capitals, without quotes."""
    if kind.kind != "word":
        return kind.text
    if kind.text in _OLD_TYPES:
        return _OLD_TYPES[kind.text]
    return "".join(word.capitalize() for word in kind.text.split("_"))


def _inputs(root: Message) -> dict[str, tuple[int, ...] | None]:
    """Inputs declared beside the layers: names, and shapes in one of two forms."""
    names = root.texts("input")
    shapes = [tuple(m.integers("dim")) for m in root.messages("input_shape")]
    dims = root.integers("input_dim")
    if dims and not shapes:
        if len(dims) != 4 * len(names):
            raise ModelError(f"{len(dims)} input_dim for {len(names)} inputs, 4 each are needed")
        shapes = [tuple(dims[i : i + 4]) for i in range(0, len(dims), 4)]
    if shapes and len(shapes) != len(names):
        raise ModelError(f"{len(shapes)} shapes for {len(names)} inputs")
    found: dict[str, tuple[int, ...] | None] = dict.fromkeys(names)
    found.update(zip(names, shapes, strict=False))
    return found


def _takes_part(layer: Message, level: int, stages: set[str]) -> bool:
    """Whether a layer is part of the network in the test phase."""
    phase = layer.text("phase")
    if phase and phase not in ("TEST", "1"):
        return False
    include, exclude = layer.messages("include"), layer.messages("exclude")
    if include:
        return any(_meets(rule, level, stages) for rule in include)
    return not any(_meets(rule, level, stages) for rule in exclude)


def _meets(rule: Message, level: int, stages: set[str]) -> bool:
    if rule.text("phase", "TEST") not in ("TEST", "1"):
        return False
    if level < rule.integer("min_level", level) or level > rule.integer("max_level", level):
        return False
    wanted, unwanted = set(rule.texts("stage")), set(rule.texts("not_stage"))
    return wanted <= stages and not unwanted & stages
