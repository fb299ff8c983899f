"""The onnx package's own tests at the level of the graph, before and after the passes."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.onnx_backend.cases import KINDS, Case, Outcome, all_cases, interpret, judge, table

# Operators whose tests are refused, and why; everything else must pass.
REFUSED = {
    "BitCast": "bits of floats",
    "Dropout": "at random",
}


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return [judge(case, interpret) for case in all_cases(KINDS)]


def test_nothing_fails(outcomes: list[Outcome]) -> None:
    failed = [f"{o.case.name}: {o.reason}" for o in outcomes if o.status == "fail"]
    assert not failed, "\n".join(failed[:20])


def test_only_known_operators_are_refused(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.status == "refused":
            (op,) = outcome.case.ops
            assert REFUSED[op] in outcome.reason


def test_at_least_99_of_100_static_tests_pass(outcomes: list[Outcome]) -> None:
    static = Counter(o.status for o in outcomes if o.case.is_static)
    print(table(outcomes))
    assert static["pass"] / static.total() >= 0.99
    # Measured with onnx 1.23: 1625 static tests. Older packages bring fewer.
    assert static.total() > 500


def test_a_wrong_result_is_noticed() -> None:
    case = next(c for c in all_cases() if c.name == "test_add")

    def wrong(case: Case) -> dict[str, object]:
        return {name: array + 0.01 for name, array in interpret(case).items()}

    assert judge(case, wrong).status == "fail"  # type: ignore[arg-type]
    assert judge(case, interpret).status == "pass"


def test_parameters_are_fixed_and_data_is_not() -> None:
    cases = {c.name: c for c in all_cases()}
    reshape = cases["test_reshape_reordered_all_dims"]
    assert list(reshape.inputs) == ["data"]
    assert list(reshape.constants) == ["shape"]
    assert not cases["test_gather_0"].constants
