"""Inner loops compiled by Numba, and their split over the processor's cores.

Import this where a compiled loop is first needed, not at the top of a package's front page:
importing Numba takes half a second.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from numba import config, njit

THREADS: int = min(cast("int", cast("Any", config).NUMBA_NUM_THREADS), 8)
"""Threads that share a long loop; the environment's NUMBA_NUM_THREADS limits them."""

_pools: dict[int, ThreadPoolExecutor] = {}
_here = threading.local()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile on first use: no GIL, division by zero as in C, kept on disk where possible.

    No operation is reordered or fused, so that the results do not depend on the processor.
    """
    try:
        return njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # no folder where compiled code could be kept
        return njit(nogil=True, error_model="numpy")(function)


def split(function: Callable[[int, int], object], count: int, least: int = 1) -> None:
    """Call ``function(first, last)`` for ranges that cover ``range(count)``, on several threads.

    Inside such a call everything runs on the thread that it is on.

    Args:
        least: a range shorter than this is not worth a thread.
    """
    parts = min(THREADS, count // max(least, 1))
    if parts < 2 or getattr(_here, "busy", False):
        function(0, count)
        return
    bounds = [count * i // parts for i in range(parts + 1)]
    others = [
        _pool().submit(_alone, function, first, last)
        for first, last in itertools.pairwise(bounds[1:])
    ]
    try:
        _alone(function, 0, bounds[1])
    finally:
        for other in others:
            other.result()


def _alone(function: Callable[[int, int], object], first: int, last: int) -> None:
    """Call it so that a split inside does not wait for the threads that wait for it."""
    _here.busy = True
    try:
        function(first, last)
    finally:
        _here.busy = False


def _pool() -> ThreadPoolExecutor:
    """The threads of this process; a forked child starts its own."""
    process = os.getpid()
    if process not in _pools:
        _pools.clear()
        _pools[process] = ThreadPoolExecutor(max(1, THREADS - 1), "nntc-loops")
    return _pools[process]
