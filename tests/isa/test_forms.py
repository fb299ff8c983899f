"""Every instruction form: selection, classification, ranges, encode and decode."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nntc.core.errors import InstructionError
from nntc.isa import TABLES, Engine, Form, decode, form
from nntc.isa.fields import TIU
from nntc.isa.forms import SYNC_FIELDS
from tests.isa.strategies import ALL_FORMS, EACH_FORM, bounds, field_values


def test_mnemonics_are_unique_over_both_engines() -> None:
    names = [each.mnemonic for each in ALL_FORMS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("engine", list(Engine), ids=lambda e: e.name)
def test_no_two_forms_overlap(engine: Engine) -> None:
    """Two forms differ in a field that both select, by disjoint sets of codes."""
    for a, b in combinations(TABLES[engine].forms, 2):
        shared = a.select.keys() & b.select.keys()
        assert any(not set(a.select[n]) & set(b.select[n]) for n in shared), (a, b)


@EACH_FORM
def test_every_field_is_classified_once(each: Form) -> None:
    names = set(each.layout.by_name)
    assert set(each.select) <= names
    assert each.operands <= names
    assert not each.operands & set(each.select)
    assert set(SYNC_FIELDS[each.engine]) <= each.operands
    assert set(each.limits) <= names
    assert each.doc.endswith(".")


@EACH_FORM
def test_defaults_and_codes_fit_their_fields(each: Form) -> None:
    for name, codes in each.select.items():
        spec = each.layout.by_name[name]
        assert len(set(codes)) == len(codes) >= 1
        assert all(spec.minimum <= code <= spec.maximum for code in codes)
    made = each.make()
    assert decode(each.engine, made.encode()).form is each
    assert made.encode() == each.layout.pack(each.written())


@EACH_FORM
@given(data=st.data())
@settings(max_examples=25)
def test_encode_decode_encode(each: Form, data: st.DataObject) -> None:
    values = data.draw(field_values(each))
    made = each.make(**values)
    back = decode(each.engine, made.encode())
    assert back.form is each
    assert all(getattr(back, name) == value for name, value in values.items())
    assert back.encode() == made.encode()
    assert back == made
    assert hash(back) == hash(made)


@EACH_FORM
def test_each_field_changes_the_encoding(each: Form) -> None:
    """No field is dropped on the way, and no two share bits."""
    written = each.written()
    start = int.from_bytes(each.make().encode(), "little")
    for name, spec in each.layout.by_name.items():
        low, high = (
            (min(each.select[name]), max(each.select[name]))
            if name in each.select
            else (bounds(each, name))
        )
        value = high if written.get(name, 0) != high else low
        changed = int.from_bytes(each.make(**{name: value}).encode(), "little")
        assert (changed ^ start) & ~(spec.mask << spec.low) == 0
        assert (changed == start) == (value == written.get(name, 0))


@EACH_FORM
def test_values_out_of_range_are_named(each: Form) -> None:
    name = "res0_w" if each.engine is Engine.TIU else "dst_wsize"
    low, high = bounds(each, name)
    with pytest.raises(InstructionError) as caught:
        each.make(**{name: high + 1, "colour": 3})
    assert caught.value.problems == [
        f"{each.mnemonic}: {name} = {high + 1} is outside {low}..{high}",
        f"{each.mnemonic}: unknown field colour",
    ]


def test_another_operation_is_refused() -> None:
    with pytest.raises(InstructionError, match=r"ar\.add\.f32: tsk_eu_typ = 3 would be another"):
        form("ar.add.f32").make(tsk_eu_typ=3)


def test_unknown_operations_decode_without_a_form() -> None:
    command = TIU.pack({"tsk_typ": 11, "res0_w": 3})
    found = decode(Engine.TIU, command)
    assert found.form is None
    assert found.mnemonic == "tiu.raw"
    assert found.encode() == command


def test_synchronisation_fields() -> None:
    for engine, name in ((Engine.TIU, "lut.i8"), (Engine.GDMA, "fill.local")):
        placed = form(name).make().with_sync(7, 3)
        assert (placed.engine, placed.number, placed.waits_for) == (engine, 7, 3)


def test_bias_and_stride_codes_have_the_measured_effect_on_the_form() -> None:
    """Precisions and engine codes that the C-model treats alike lead to the same form."""
    assert form("conv.f32").make(opt_res0_prec=1).form is form("conv.f32")
    same = decode(Engine.TIU, form("maxpool.f32").make(tsk_eu_typ=19).encode())
    assert same.form is form("maxpool.f32")
    average = decode(Engine.TIU, form("depthwise.f32").make(opt_opd1_const=1).encode())
    assert average.form is form("depthwise.f32")
