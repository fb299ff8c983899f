"""Passes: each takes a graph, improves it in place and returns it; the meaning stays, up to float32
rounding. :func:`simplify` is the pipeline that every front end's graph goes through.
"""

from __future__ import annotations

from typing import Protocol

from nntc.ir.graph import Graph
from nntc.passes.activations import RecogniseActivations
from nntc.passes.batch import batch_of, one_sample, with_batch
from nntc.passes.batch_norm import LowerBatchNorm
from nntc.passes.common_subexpressions import CommonSubexpressions
from nntc.passes.dead_code import DeadCode
from nntc.passes.fold_affine import FoldAffine
from nntc.passes.fold_constants import FoldConstants
from nntc.passes.fold_input_affine import FoldInputAffine
from nntc.passes.fold_pad import FoldPad
from nntc.passes.identities import RemoveIdentities
from nntc.passes.layout import MergeLayout
from nntc.passes.normalisations import RecogniseNormalisations
from nntc.passes.slices import MergeSlices
from nntc.passes.strength import ReduceStrength
from nntc.passes.transposes import MoveTransposes

__all__ = ["PIPELINE", "Pass", "batch_of", "one_sample", "simplify", "with_batch"]


class Pass(Protocol):
    """A change of a graph. ``name`` is for messages."""

    name: str

    def apply(self, graph: Graph) -> Graph: ...


PIPELINE: tuple[Pass, ...] = (
    DeadCode(),
    FoldConstants(),
    RemoveIdentities(),
    CommonSubexpressions(),
    MergeLayout(),
    MergeSlices(),
    # Forms with several operators first, before their parts change.
    RecogniseActivations(),
    RecogniseNormalisations(),
    ReduceStrength(),
    LowerBatchNorm(),
    FoldAffine(),
    FoldInputAffine(),
    FoldPad(),
    MoveTransposes(),
)

# A round leaves the graph alone unless the one before it made something new possible.
_ROUNDS = 10


def simplify(graph: Graph) -> Graph:
    """Run the pipeline until nothing changes."""
    before = None
    for _ in range(_ROUNDS):
        now = [(node.op, tuple(map(id, node.inputs))) for node in graph.nodes]
        if now == before:
            break
        before = now
        for item in PIPELINE:
            item.apply(graph)
    return graph
