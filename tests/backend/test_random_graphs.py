"""Random small networks, compiled with every choice that must not change results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nntc.backend import CompileOptions, compile_graph
from nntc.ir import interpret
from nntc.runtime import open_device
from tests.backend.harness import Arrays, assert_same_bytes, differences, run_compiled
from tests.backend.random_graphs import random_graph

TOLERANCE = 1e-4
"""Of an output's largest value: a chain of 20 operators may magnify a last place."""


def sizes(seed: int) -> int:
    """Number of nodes."""
    return 4 + seed % 20


def try_seed(seed: int) -> None:
    """opt 0 and 2 agree with the interpreter; the order of the two streams does not matter."""
    graph, inputs = random_graph(seed, sizes(seed))
    wanted = interpret.run(graph, inputs)
    for opt in (0, 2):
        result = compile_graph(graph, CompileOptions(opt=opt))
        found = run_compiled(graph, result, inputs, first="gdma")
        assert_same(found, run_compiled(graph, result, inputs, first="tiu"))
        problems = differences(found, wanted, TOLERANCE)
        assert not problems, f"opt {opt}: " + "\n".join(problems)


def assert_same(one: Arrays, two: Arrays) -> None:
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name], err_msg=name)


@pytest.mark.parametrize("seed", range(16))
def test_random_graphs(seed: int) -> None:
    try_seed(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_random_graphs(block: int) -> None:
    for seed in range(100 + 20 * block, 120 + 20 * block):
        try:
            try_seed(seed)
        except Exception as err:
            raise AssertionError(f"seed {seed}: {err}") from err


@pytest.mark.slow
def test_both_engines_of_the_simulator() -> None:
    for seed in range(50, 56):
        graph, inputs = random_graph(seed, 8)
        result = compile_graph(graph)
        fast = run_compiled(graph, result, inputs)
        assert_same(fast, run_compiled(graph, result, inputs, engine="reference"))


@pytest.mark.cmodel
@pytest.mark.parametrize("seed", range(200, 212))
def test_the_makers_runtime_gives_the_same_bytes(seed: int, cmodel_libs: Path) -> None:
    graph, inputs = random_graph(seed, sizes(seed))
    device = open_device("cmodel", libs=cmodel_libs)
    assert_same_bytes(compile_graph(graph).model, inputs, device)
