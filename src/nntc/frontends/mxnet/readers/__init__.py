"""Readers of operators, by family. Importing this package fills the table."""

from __future__ import annotations

from nntc.frontends.mxnet.readers import elementwise, nn, norm, reduce, shape

__all__ = ["WITH_LABEL", "elementwise", "nn", "norm", "reduce", "shape"]

WITH_LABEL = frozenset(norm.OUTPUTS)
"""Operators whose second operand, the label, counts in training only."""
