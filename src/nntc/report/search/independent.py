"""An int8 network whose layers know nothing of each other's errors.

The quantiser fits every layer to what the layers before it give, errors included: its weights and
its bias make up for them. Alone, such a layer would make up for errors that are not there, and
behind a layer that gives nothing of use it fits noise. Here every layer is fitted to what it would
read if all before it were exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nntc.ir.graph import Graph, Node, Value
from nntc.quant import QuantizeOptions, Statistics
from nntc.quant.grid import Grid
from nntc.quant.quantizer import Quantizer


def independent(
    graph: Graph,
    statistics: Statistics,
    samples: Sequence[dict[str, np.ndarray]],
    options: QuantizeOptions,
    progress: Callable[[str, int, int], None],
) -> Graph:
    """The int8 graph.

    Args:
        samples: on which layers are fitted; all their values are in memory for a time.
    """
    return _Independent(graph, statistics, samples, options).run(progress)


class _Independent(Quantizer):
    """Puts right what every layer has given before the next one is fitted."""

    def _lower(self, node: Node) -> None:
        before = set(self._done)
        super()._lower(node)
        for done in (node, *(self._done - before)):
            for value in done.outputs:
                self._put_right(value)

    def _put_right(self, value: Value) -> None:
        form, exact = self.net.fixed(value), self.net.reference.get(value)
        if form is not None and exact is not None:
            self.net.arrays(form.value)[:] = [_given(form.grid, array) for array in exact]


def _given(grid: Grid, numbers: np.ndarray) -> np.ndarray:
    """Numbers as integers of a grid."""
    steps = np.rint(numbers / grid.along(numbers.ndim)) + grid.zero
    return np.clip(steps, grid.low, grid.high).astype(grid.dtype.numpy)
