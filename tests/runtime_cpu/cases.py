"""All random case makers; importing a family registers its makers."""

from __future__ import annotations

from tests.runtime_cpu import (
    cases_detection,
    cases_images,
    cases_indexing,
    cases_proposals,
    cases_select,
    cases_sorting,
)
from tests.runtime_cpu.case import MAKERS

FAMILIES = (
    cases_detection,
    cases_images,
    cases_indexing,
    cases_proposals,
    cases_select,
    cases_sorting,
)

__all__ = ["FAMILIES", "MAKERS"]
