"""From an fp32 graph and samples to an int8 graph; docs/int8.md."""

from __future__ import annotations

from nntc.quant.calibrate import calibrate
from nntc.quant.options import QuantizeOptions
from nntc.quant.quantize import Quantized, check_options, quantize
from nntc.quant.quantizer import LayerReport
from nntc.quant.statistics import Statistics, ValueStatistics

__all__ = [
    "LayerReport",
    "QuantizeOptions",
    "Quantized",
    "Statistics",
    "ValueStatistics",
    "calibrate",
    "check_options",
    "quantize",
]
