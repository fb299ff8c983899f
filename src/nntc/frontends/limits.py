"""Bounds that keep an untrusted or mistaken model file from taking all time or memory.

They are far above what fits on the chip; a model that meets one is refused with a message.
"""

from __future__ import annotations

from collections.abc import Sequence

from nntc.core.dtype import DType
from nntc.core.errors import ModelError

# One tensor at run time, in bytes; a BM1684 has at most 12 GB of memory.
TENSOR_BYTES = 1 << 33
# One constant made while reading (ConstantOfShape, Range, weights in a packed form).
CONSTANT_BYTES = 1 << 30
# Results of operators on constants above these sizes stay operators of the network: the first is
# one result, the second the sum over the network.
FOLD_BYTES = 1 << 28
FOLD_TOTAL_BYTES = 1 << 32
# Operators of the network and nodes read, both after loops are unrolled and functions inlined.
NODES = 200_000
STEPS = 400_000
# Iterations of one Loop or Scan, steps of one recurrent layer.
TRIPS = 10_000
# Calls of functions inside functions, and graphs inside graphs.
DEPTH = 50


def count(shape: Sequence[int]) -> int:
    """Number of elements, as an exact integer.

    Raises:
        ModelError: a dimension is negative.
    """
    total = 1
    for dim in shape:
        if dim < 0:
            raise ModelError(f"shape {list(shape)} has a negative dimension")
        total *= int(dim)
    return total


def check_bytes(shape: Sequence[int], dtype: DType, limit: int, what: str) -> None:
    """Refuse a tensor above *limit* bytes, before anything of its size is allocated.

    Raises:
        ModelError: names *what*, the shape and the limit.
    """
    size = count(shape) * dtype.size
    if size > limit:
        raise ModelError(
            f"{what} of shape {list(shape)} ({dtype}) takes {size} bytes, the limit is {limit}"
        )
