"""The page of what is read is that of the code."""

from __future__ import annotations

from nntc.frontends import reference
from tests.conftest import ROOT


def test_the_page_is_up_to_date() -> None:
    written = (ROOT / "docs" / "frontends.md").read_text(encoding="utf-8")
    assert written == reference.page(), "python -m nntc.frontends.reference docs/frontends.md"
