"""The cases on the compiled path: loaded, simplified, compiled, run on the simulator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tests.onnx_backend.cases import Arrays, Case, judge, load_case

STATUSES = ("TPU", "CPU", "refused", "disputed", "failed", "excluded")
"""Right, all on the TPU; right, in part by CPU layers of the runtime; see :mod:`.cases`."""

KNOWN_FAILURES: dict[str, str] = {
    **dict.fromkeys(
        ("test_dynamicquantizelinear", "test_dynamicquantizelinear_expanded"),
        "one element lies at a rounding boundary, which an approximate reciprocal misses",
    ),
    "test_gru_bidirectional": "a gate near 1 is up to 4 units in the last place low",
}
"""Case → why its result is not the expected one."""


@dataclass(frozen=True)
class Verdict:
    """What became of one case; the reason where it is not simply right."""

    case: Case
    status: str
    reason: str = ""


class Compiler:
    """Runs a case; ``layers`` says how many CPU layers the last one had."""

    def __init__(self) -> None:
        self.layers = 0

    def __call__(self, case: Case) -> Arrays:
        from nntc.backend import compile_graph
        from nntc.bmodel import SubNetMode
        from nntc.frontends.onnx import load
        from nntc.passes import simplify
        from nntc.runtime import Engine

        graph = simplify(load_case(case, load))
        model = compile_graph(graph).model
        subnets = model.nets[0].stages[0].subnets
        self.layers = sum(subnet.mode is SubNetMode.CPU for subnet in subnets)
        with Engine(model) as engine:
            found = engine({v.name: case.inputs[v.name] for v in graph.inputs})
        # 64-bit integers and truth values are 32-bit words on the device.
        return {
            v.name: _shaped(found[v.name], v.shape).astype(v.dtype.numpy) for v in graph.outputs
        }


def _shaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Scalars have one dimension on the device; rows that were not found are left out."""
    return array.reshape(shape) if array.size == np.prod(shape, dtype=np.int64) else array


def verdicts(cases: Sequence[Case]) -> Iterator[Verdict]:
    """Judge cases one after another."""
    compiler = Compiler()
    for case in cases:
        compiler.layers = 0
        outcome = judge(case, compiler)
        status = {"pass": "CPU" if compiler.layers else "TPU", "fail": "failed"}
        yield Verdict(case, status.get(outcome.status, outcome.status), outcome.reason)
