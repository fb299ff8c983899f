"""Readers of sections, by family. Importing this package fills the table."""

from __future__ import annotations

from nntc.frontends.darknet.layers import conv, dense, heads, merge, move, pool

__all__ = ["conv", "dense", "heads", "merge", "move", "pool"]
