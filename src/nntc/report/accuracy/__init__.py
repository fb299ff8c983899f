"""How far one model is from another, value by value, on sample data: a table and an HTML page."""

from __future__ import annotations

from nntc.report.accuracy.compare import Comparison, compare
from nntc.report.accuracy.rows import Row

__all__ = ["Comparison", "Row", "compare"]
