"""The same graph gives the same bytes, in this process and in others."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from nntc.backend import CompileOptions, compile_graph
from nntc.bmodel import encode
from tests.backend.random_fixed import random_fixed
from tests.backend.random_graphs import random_graph

SEEDS = range(300, 304)


def digest(opt: int = 2) -> str:
    """Over the command streams, coefficients and tensors of some networks."""
    found = hashlib.sha256()
    for graph, _ in (*(random_graph(s, 14) for s in SEEDS), *(random_fixed(s, 14) for s in SEEDS)):
        model = compile_graph(graph, CompileOptions(opt=opt)).model
        found.update(encode(model))
    return found.hexdigest()


def test_compiling_twice() -> None:
    assert digest() == digest()
    assert digest(0) != digest(2)


def test_other_hash_seeds() -> None:
    """The order of Python's sets changes with PYTHONHASHSEED."""
    root = Path(__file__).resolve().parents[2]
    code = "from tests.backend.test_deterministic import digest; print(digest())"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=root,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert done.stdout.strip() == digest()


def test_compiling_leaves_the_graph_alone() -> None:
    graph, _ = random_graph(5, 14)
    before = [(n.name, n.op, [v.name for v in n.operands]) for n in graph.nodes]
    names = [v.name for v in graph.values()]
    compile_graph(graph)
    assert [(n.name, n.op, [v.name for v in n.operands]) for n in graph.nodes] == before
    assert [v.name for v in graph.values()] == names
