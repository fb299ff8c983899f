"""What a prototxt says beyond the graph: wishes for the quantisation, and where the data are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from nntc.ir.graph import Graph

VERSION = 1
MARK = "nntc_umodel"
"""The key, with the version, that tells our files from other prototxts."""

Strategy = Literal["USE_DEFAULT", "USE_KL", "USE_MAX"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)
DATA_LAYERS = ("Data", "AnnotatedData")


@dataclass(frozen=True)
class LayerKeys:
    """Wishes for the quantisation of one layer.

    Attributes:
        forward_with_float: the layer stays in fp32.
        th_strategy: how the threshold of its results is chosen.
        threshold: largest number that its results can hold; 0: chosen by the strategy.
        th_scale: factor on the threshold.
        use_winograd: kept, has no effect.
    """

    forward_with_float: bool = False
    th_strategy: Strategy = "USE_DEFAULT"
    threshold: float = 0.0
    th_scale: float = 1.0
    use_winograd: bool = False


@dataclass(frozen=True)
class Feed:
    """A Data layer: an input's samples, and what is done to them.

    Attributes:
        top: the network's input.
        source: folder of the LMDB, or another dataset; as written in the file.
        transforms: fields of each ``transform_op``, for
            :func:`nntc.data.from_transform_ops`.
        gray: pictures of one channel.
        labels: a second top, which no layer reads.
    """

    top: str
    source: str
    batch_size: int = 0
    backend: str = "LMDB"
    transforms: tuple[dict[str, Any], ...] = ()
    gray: bool = False
    labels: str = ""


@dataclass
class Network:
    """A graph with what its prototxt says.

    Attributes:
        keys: wishes by the name of the node.
        input_keys: the same for inputs.
        feeds: Data layers, in the order of the inputs.
        model_type: what made it, such as "BMNETP2UModel".
    """

    graph: Graph
    keys: dict[str, LayerKeys] = field(default_factory=dict[str, LayerKeys])
    input_keys: dict[str, LayerKeys] = field(default_factory=dict[str, LayerKeys])
    feeds: list[Feed] = field(default_factory=list[Feed])
    model_type: str = "NNTC2UModel"
