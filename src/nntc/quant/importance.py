"""How much an error in a channel adds to errors of the network's results.

Errors are taken as independent noise and followed backwards: through a convolution they add up
with the squares of the weights. Activations are taken as straight lines. The numbers are good for
comparing the channels of one tensor, which is what they are used for.
"""

from __future__ import annotations

import numpy as np

from nntc.ir import ops
from nntc.ir.graph import Graph, Node, Value


def channel_importance(graph: Graph) -> dict[Value, np.ndarray]:
    """Value → importance of its channels (axis 1), with mean 1; absent where nothing is known."""
    found: dict[Value, np.ndarray] = {}

    def add(value: Value, gain: np.ndarray | None) -> None:
        if gain is None or value.data is not None or len(value.shape) < 2:
            return
        if gain.shape != (value.shape[1],) or not np.isfinite(gain).all():
            return
        found[value] = found[value] + gain if value in found else gain

    for value in graph.outputs:
        if len(value.shape) >= 2:
            found[value] = np.ones(value.shape[1])
    for node in reversed(graph.nodes):
        result = node.outputs[0]
        above = found.get(result)
        if above is None and len(result.shape) >= 2:
            above = np.ones(result.shape[1])
        if above is None:
            continue
        # Only proportions count; without this deep networks overflow.
        above = above / max(float(above.mean()), 1e-30)
        found[result] = above
        for value, gain in _through(node, above):
            add(value, gain)
    return {v: g / max(float(g.mean()), 1e-30) for v, g in found.items()}


def _through(node: Node, above: np.ndarray) -> list[tuple[Value, np.ndarray | None]]:
    op, x = node.op, node.operands[0]
    if isinstance(op, ops.Conv) and node.operands[1].data is not None:
        w = node.operands[1].data.astype(np.float64) ** 2
        w = w.reshape(*w.shape[:2], -1).sum(axis=2)
        by_group = w.reshape(op.group, -1, w.shape[1])
        gains = above.reshape(op.group, -1, 1)
        return [(x, (by_group * gains).sum(axis=1).reshape(-1))]
    if isinstance(op, ops.ConvTranspose) and node.operands[1].data is not None:
        w = node.operands[1].data.astype(np.float64) ** 2
        w = w.reshape(op.group, -1, *w.shape[1:2], int(np.prod(w.shape[2:]))).sum(axis=3)
        gains = above.reshape(op.group, 1, -1)
        return [(x, (w * gains).sum(axis=2).reshape(-1))]
    if isinstance(op, ops.MatMul):
        b = node.operands[1]
        if b.data is None or b.data.ndim != 2 or len(x.shape) != 2 or op.transpose_a:
            return []
        w = (b.data.T if op.transpose_b else b.data).astype(np.float64) ** 2
        return [(x, w @ above)]
    if isinstance(op, ops.Concat) and op.axis == 1:
        marks = np.cumsum([v.shape[1] for v in node.operands])[:-1]
        return list(zip(node.operands, np.split(above, marks), strict=True))
    if isinstance(op, ops.Reshape):
        if len(x.shape) >= 2 and x.shape[0] == op.shape[0] and above.size % x.shape[1] == 0:
            return [(x, above.reshape(x.shape[1], -1).sum(axis=1))]
        return []
    return [(v, above) for v in node.operands if v.shape[1:2] == node.outputs[0].shape[1:2]]
