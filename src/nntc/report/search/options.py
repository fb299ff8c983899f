"""What a user can choose about the search."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace

from nntc.core.errors import Problems, UserError
from nntc.data import Dataset
from nntc.report.accuracy.metrics import Metric, open_metric


@dataclass(frozen=True)
class SearchOptions:
    """What the int8 network has to reach, and how hard to try.

    Attributes:
        max_drop: the score of int8 may be so much less than that of fp32.
        metric: of the outputs: cosine, sqnr, top1, or ``FILE.py:function``, which is executed; or
            one that has been opened (:func:`nntc.report.accuracy.metrics.open_metric`).
            The drop of cosine is 1 - cosine; that of sqnr is the noise relative to the signal,
            10^(-SQNR / 10); top1 counts the right classes where the data notes them, else the
            classes that fp32 gives, too.
        data: samples that judge; None: some are split off those that calibrate.
        limit: judge with so many samples, spread evenly; 0: all of ``data``, or a quarter of the
            calibration data, 32 at most.
        trials: how many sets of layers may be tried.
    """

    max_drop: float
    metric: str | Metric = "cosine"
    data: str | os.PathLike[str] | Dataset | None = None
    limit: int = 0
    trials: int = 40

    def opened(self) -> SearchOptions:
        """The same with the metric opened.

        Raises:
            UserError: lists what makes no sense; or the metric cannot be opened.
        """
        problems = Problems(UserError)
        if not math.isfinite(self.max_drop) or self.max_drop < 0:
            problems.add(f"max_drop {self.max_drop}: 0 or a number above is needed")
        if self.limit < 0:
            problems.add(f"search with {self.limit} samples: the number cannot be negative")
        if self.trials < 1:
            problems.add(f"search with {self.trials} trials: one is needed at least")
        problems.raise_if_any()
        if isinstance(self.metric, Metric):
            return self
        return replace(self, metric=open_metric(self.metric))
