"""Graphs under the historical file names: an editable ``.prototxt`` beside a file of weights.

    x_bmnetp_test_fp32.prototxt               + x_bmnetp.fp32umodel
    x_bmnetp_deploy_int8_unique_top.prototxt  + x_bmnetp.int8umodel

The text is protobuf's text format with our own keys (docs/historical.md); the weights are
safetensors. Layers may be edited, and carry what the user wants of the quantisation
(:class:`LayerKeys`); Data layers say where the calibration data are (:class:`Feed`).
"""

from __future__ import annotations

from nntc.ir.prototxt.files import Names, is_network, load, partner, save
from nntc.ir.prototxt.keys import Feed, LayerKeys, Network
from nntc.ir.prototxt.read import parse_network
from nntc.ir.prototxt.write import print_network

__all__ = [
    "Feed",
    "LayerKeys",
    "Names",
    "Network",
    "is_network",
    "load",
    "parse_network",
    "partner",
    "print_network",
    "save",
]
