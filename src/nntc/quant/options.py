"""What a user can choose about quantisation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QuantizeOptions:
    """Choices; the defaults are what the accuracy figures of the documentation were measured with.

    Names of layers are names of nodes, their sources in the user's model, or results.

    Attributes:
        method: how thresholds are found; see :data:`nntc.quant.thresholds.METHODS`.
        adaptive: round weights such that the sums over real inputs change least.
        correct_bias: choose biases such that the mean results over the samples stay.
        per_channel: values may have a scale for every channel.
        asymmetric: values may have a zero point.
        samples: samples on which layers are fitted, spread over the dataset; fewer where memory
            would not suffice. Thresholds come from all samples of the statistics.
        memory: bytes that the values of these samples may take.
        float_layers: layers that stay in fp32.
        float_inputs: so do all from the inputs up to these.
        float_outputs: and all from these to the outputs.
        float_blocks: and all from these up to, without it, the next convolution or matrix product.
        thresholds: value name → threshold that is used instead of the method's.
        int8_inputs, int8_outputs: the network takes, gives integers with a scale instead of fp32.
        seed: of the choice of places on which layers are fitted.
    """

    method: str = "PERCENTILE9999"
    adaptive: bool = True
    correct_bias: bool = True
    per_channel: bool = True
    asymmetric: bool = True
    samples: int = 64
    memory: int = 600 << 20
    float_layers: tuple[str, ...] = ()
    float_inputs: tuple[str, ...] = ()
    float_outputs: tuple[str, ...] = ()
    float_blocks: tuple[str, ...] = ()
    thresholds: tuple[tuple[str, float], ...] = ()
    int8_inputs: bool = False
    int8_outputs: bool = False
    seed: int = 0
