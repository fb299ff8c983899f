"""Every rule of the quantiser on a small graph: accuracy, place, names, bits."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from nntc import api
from nntc.core.errors import UnsupportedError
from nntc.ir import interpret, ops, umodel
from nntc.ir.graph import Graph
from nntc.quant import Quantized
from nntc.quant.agreement import CURVES
from tests.backend import harness
from tests.quant import checks
from tests.quant.cases_rules import CASES

BENDS = (*CURVES, ops.LeakyRelu, ops.PRelu)
ALL = [(name, batch) for name, case in CASES.items() for batch in case.batches]
FIRST = [(name, case.batches[0]) for name, case in CASES.items()]


@functools.cache
def _made(name: str, batch: int) -> tuple[Graph, list[checks.Sample], Quantized]:
    case = CASES[name]
    graph = case.graph(batch)
    given = checks.samples(graph, case.count, case.offset)
    return graph, given, checks.quantized(graph, given)


@pytest.mark.parametrize(("name", "batch"), ALL)
def test_interface_and_accuracy(name: str, batch: int) -> None:
    graph, given, made = _made(name, batch)
    checks.check_sound(made, graph)
    fresh = checks.samples(graph, 2, CASES[name].offset, seed=4)
    for some, least in ((given, CASES[name].sqnr), (fresh, CASES[name].sqnr - 4)):
        wanted = [interpret.run(graph, sample) for sample in some]
        got = [interpret.run(made.graph, sample) for sample in some]
        for value in graph.outputs:
            a = np.stack([w[value.name] for w in wanted])
            b = np.stack([g[value.name] for g in got])
            if value.dtype.is_float:
                assert checks.decibels(a, b) >= least, value.name
            else:
                assert (a == b).mean() > 0.9, value.name


@pytest.mark.parametrize(("name", "batch"), FIRST)
def test_places(name: str, batch: int) -> None:
    """What stays in fp32 is what the case says."""
    _, _, made = _made(name, batch)
    floats = {r.operator for r in made.report if r.place == "fp32"}
    assert floats == set(CASES[name].floats)


@pytest.mark.parametrize(("name", "batch"), FIRST)
def test_inner_values_stand_for_those_of_their_name(name: str, batch: int) -> None:
    graph, given, made = _made(name, batch)
    some = given[:3]
    wanted = [checks.all_values(graph, sample) for sample in some]
    got = [checks.all_values(made.graph, sample) for sample in some]
    floats = {v.name: v for v in graph.values() if v.data is None and v.dtype.is_float}
    # What a curve or a leaky ReLU reads may be cut where that makes little difference.
    bent = {v.name for n in graph.nodes if isinstance(n.op, BENDS) for v in n.operands}
    compared = 0
    for value in made.graph.values():
        known = floats.get(value.name.removesuffix(".fixed").removesuffix(".float"))
        if value.data is not None or known is None or known.shape != value.shape:
            continue
        if known.name in bent and known not in graph.outputs:
            continue
        if not value.dtype.is_float and value.scale is None:
            continue
        a = np.stack([w[known.name] for w in wanted])
        b = np.stack([g[value.name] for g in got])
        assert checks.decibels(a, b) >= CASES[name].sqnr - 6, value.name
        compared += known.producer is not None
    assert compared or bent


@pytest.mark.parametrize(("name", "batch"), ALL[::3])
def test_same_input_same_bytes(name: str, batch: int, tmp_path) -> None:  # type: ignore[no-untyped-def]
    _, given, made = _made(name, batch)
    umodel.save(made.graph, tmp_path / "a.umodel")
    again = checks.quantized(CASES[name].graph(batch), given)
    umodel.save(again.graph, tmp_path / "b.umodel")
    first = {p.name[1:]: p.read_bytes() for p in tmp_path.iterdir() if p.name.startswith("a")}
    second = {p.name[1:]: p.read_bytes() for p in tmp_path.iterdir() if p.name.startswith("b")}
    assert first == second
    loaded = umodel.load(tmp_path / "a.umodel")
    results = [interpret.run(g, given[0]) for g in (made.graph, loaded)]
    for key, array in results[0].items():
        np.testing.assert_array_equal(array, results[1][key])


@pytest.mark.parametrize(("name", "batch"), ALL)
def test_simulated_bits(name: str, batch: int) -> None:
    _, given, made = _made(name, batch)
    wanted = interpret.run(made.graph, given[1])
    if CASES[name].refused:
        with pytest.raises(UnsupportedError, match=CASES[name].refused):
            api.compile(made.graph, net_name="case")
        return
    result = api.compile(made.graph, net_name="case")
    got = harness.run_compiled(made.graph, result, given[1])
    assert got.keys() == wanted.keys()
    exact = not CASES[name].floats
    for key, array in wanted.items():
        assert got[key].dtype == array.dtype
        assert got[key].shape == array.shape
        if exact:
            np.testing.assert_array_equal(got[key], array)
        elif array.dtype.kind == "f":
            np.testing.assert_allclose(got[key], array, rtol=1e-4, atol=1e-5)
