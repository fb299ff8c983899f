"""How the layers' inner loops are compiled."""

from __future__ import annotations

from numba import njit

# Division by zero gives infinity or NaN as in C, instead of an exception; other threads run on.
kernel = njit(cache=True, error_model="numpy", nogil=True)
