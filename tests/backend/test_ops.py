"""Every operator, compiled and simulated, against the interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest

from nntc.backend import compile_graph
from nntc.core.errors import UserError
from nntc.ir import ops
from nntc.runtime import open_device
from tests.backend import cases, cases_fixed  # noqa: F401  (registers its families)
from tests.backend.harness import assert_same_bytes, check, several, single

QUICK = [case for case in cases.all_cases() if case.quick]
MOST_FAILURES = 20
MOST_PARTS = 24
"""Operators in one network: the runtime's launch message holds some 100 inputs and outputs."""


def try_case(case: cases.Case) -> None:
    graph, inputs = single(case.op, case.operands)
    check(graph, inputs, case.tolerance)


@pytest.mark.parametrize("case", QUICK, ids=[case.name for case in QUICK])
def test_quick_cases(case: cases.Case) -> None:
    try_case(case)


@pytest.mark.slow
@pytest.mark.parametrize("family", cases.FAMILIES)
def test_all_cases_of(family: str) -> None:
    failures: list[str] = []
    for case in cases.FAMILIES[family]():
        try:
            try_case(case)
        except (AssertionError, UserError) as err:
            failures.append(f"{case.name}: {err}")
        if len(failures) == MOST_FAILURES:
            break
    assert not failures, "\n".join(failures)


def test_every_operator_has_a_case() -> None:
    tried = {case.op.name for case in QUICK}
    assert tried == set(ops.OPS)


@pytest.mark.cmodel
@pytest.mark.parametrize("family", cases.FAMILIES)
def test_the_c_model_gives_the_same_bytes(family: str, cmodel_libs: Path) -> None:
    """Quick cases of a family as one network."""
    parts = [(case.op, case.operands) for case in cases.FAMILIES[family]() if case.quick]
    order = ("gdma", "tiu")[list(cases.FAMILIES).index(family) % 2]
    for start in range(0, len(parts), MOST_PARTS):
        graph, inputs = several(parts[start : start + MOST_PARTS])
        model = compile_graph(graph).model
        device = open_device("cmodel-commands", libs=cmodel_libs, order=order, relocate=True)
        assert_same_bytes(model, inputs, device)
