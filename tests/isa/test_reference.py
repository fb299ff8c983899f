"""The generated page says what the declarations say."""

from __future__ import annotations

from pathlib import Path

import pytest

from nntc.core.errors import UserError
from nntc.isa import TABLES
from nntc.isa.reference import main, markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "isa.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == markdown(), "run: python -m nntc.isa.reference docs/isa.md"


def test_every_form_and_field_is_on_the_page() -> None:
    page = markdown()
    for table in TABLES.values():
        for form in table.forms:
            assert f"\n### {form.mnemonic}\n\n{form.doc}\n" in page
            for name in form.layout.by_name:
                assert f"| `{name}` |" in page


def test_writing_the_page(tmp_path: Path) -> None:
    main([str(tmp_path / "isa.md")])
    assert (tmp_path / "isa.md").read_text() == markdown()
    with pytest.raises(SystemExit, match="usage"):
        main([])
    with pytest.raises(UserError):
        main([str(tmp_path / "absent" / "isa.md")])
