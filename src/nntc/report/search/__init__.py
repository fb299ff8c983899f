"""Mixed precision: which layers have to stay in fp32, at the least cost; docs/int8.md."""

from __future__ import annotations

from nntc.report.search.find import search
from nntc.report.search.options import SearchOptions
from nntc.report.search.result import LayerHarm, SearchError, SearchResult, Trial

__all__ = ["LayerHarm", "SearchError", "SearchOptions", "SearchResult", "Trial", "search"]
