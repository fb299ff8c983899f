"""All forms, and random field values for them."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from nntc.isa import TABLES, Form

ALL_FORMS = [f for table in TABLES.values() for f in table.forms]
EACH_FORM = pytest.mark.parametrize("each", ALL_FORMS, ids=lambda f: f.mnemonic)


def bounds(each: Form, name: str) -> tuple[int, int]:
    """Lowest and highest value that the form takes for a field."""
    spec = each.layout.by_name[name]
    return each.limits.get(name, (spec.minimum, spec.maximum))


def field_values(each: Form) -> st.SearchStrategy[dict[str, int]]:
    """Any fields of the form with values in range that keep the operation."""
    ranges = {
        name: st.sampled_from(each.select[name])
        if name in each.select
        else st.integers(*bounds(each, name))
        for name in each.layout.by_name
    }
    return st.fixed_dictionaries({}, optional=ranges)
