"""What each layer does by itself: both models' layer on the same inputs.

The inputs are A's tensors as far as B's grids can hold them. So errors are not handed on, and what
a grid rounds or clips is charged to the layer that writes it, not to those that read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Graph
from nntc.report.accuracy.pairs import Pair
from nntc.report.accuracy.runners import GraphRunner

Arrays = Mapping[str, np.ndarray]


def _read_rounded(graph: Graph | None) -> set[str]:
    """Results of Quantize nodes whose operand nobody reads as it is."""
    if graph is None:
        return set()
    users = graph.users()
    return {
        node.output.name
        for node in graph.nodes
        if isinstance(node.op, ops.Quantize)
        and node.operands[0] not in graph.outputs
        and all(isinstance(user.op, ops.Quantize) for user in users[node.operands[0]])
    }


def run_layers(
    a: GraphRunner,
    b: GraphRunner,
    pairs: Sequence[Pair],
    expected: Arrays,
    inputs: tuple[Arrays, Arrays],
    judge: Callable[[str, np.ndarray, np.ndarray], None],
) -> None:
    """Run both models layer by layer.

    Args:
        expected: tensors of A, as real numbers.
        inputs: of A and of B.
        judge: called as (tensor of B, numbers of A's layer, what B's layer makes).
    """
    known = {pair.value: pair for pair in pairs if pair.reference in expected}
    held: dict[str, np.ndarray] = {}
    rounded = _read_rounded(b.graph)
    for name, pair in known.items():
        # Of a tensor that B has in fp32 and rounded, A's layers get what B's layers read.
        if pair.reference not in held or (name in rounded if pair.rounds else True):
            form = b.forms[name]
            held[pair.reference] = form.real(form.given(expected[pair.reference]))
    made: dict[str, np.ndarray] = {}

    def keep(name: str, array: np.ndarray) -> None:
        made[name] = a.forms[name].real(array)

    def visit(name: str, array: np.ndarray) -> None:
        pair = known[name]
        exact = expected[pair.reference]
        judge(name, exact if pair.rounds else made.get(pair.reference, exact), array)

    a.run_alone(inputs[0], held, keep)
    b.run_alone(inputs[1], {name: expected[p.reference] for name, p in known.items()}, visit)
