"""From an fp32 graph and samples to an int8 graph; docs/int8.md."""

from __future__ import annotations

from nntc.quant.calibrate import calibrate
from nntc.quant.statistics import Statistics, ValueStatistics

__all__ = ["Statistics", "ValueStatistics", "calibrate"]
