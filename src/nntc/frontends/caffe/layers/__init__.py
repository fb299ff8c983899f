"""Readers of layers, by family. Importing this package fills the table."""

from __future__ import annotations

from nntc.frontends.caffe.layers import (
    conv,
    detect,
    elementwise,
    move,
    norm,
    pool,
    reduce,
    resample,
)

__all__ = ["conv", "detect", "elementwise", "move", "norm", "pool", "reduce", "resample"]
