"""Loops that count, compiled by Numba."""

from __future__ import annotations

import math

import numpy as np

from nntc.core.native import kernel

_INFINITE = 0x7F800000
"""Bits of +inf; those of a NaN without sign are larger."""


@kernel
def accumulate(first, last, x, bits, low, high, zeros, exponents, counts, whole_exponent, whole):
    """Count channels *first* to *last* of x; False if a number is not finite.

    A plane is read twice, the second time from the cache: its extremes decide how far the bins
    must reach, then its elements are counted.

    Args:
        x: [N, C, L] float32; *bits*: the same memory as int32.
        low, high: [C] float32, least and largest number so far.
        zeros: [C], exact zeros so far.
        exponents: [C]; counts: [C, B], B a power of two or 0 for no histogram by channel.
        whole_exponent: [1]; whole: [bins], the histogram of all channels; bins >= B.
    """
    half = np.int64(whole.size // 2)
    part = np.int64(counts.shape[1] // 2)
    coarser = 0
    while part << coarser < half and part > 0:
        coarser += 1
    for c in range(first, last):
        for n in range(x.shape[0]):
            least, most, none = _extremes(bits[n, c])
            if most >= _INFINITE or least <= ~_INFINITE:
                return False
            values = x[n, c]
            # Adding 0 turns -0 into 0.
            smallest, largest = _number(least) + np.float32(0), _number(most) + np.float32(0)
            low[c], high[c] = min(low[c], smallest), max(high[c], largest)
            zeros[c] += none
            extreme = max(-smallest, largest)
            exponent = math.frexp(extreme)[1]
            if extreme > 0 and exponent > exponents[c]:
                coarsen(counts[c], exponent - exponents[c])
                exponents[c] = exponent
            if exponents[c] > whole_exponent[0]:
                coarsen(whole, exponents[c] - whole_exponent[0])
                whole_exponent[0] = exponents[c]
            scale = math.ldexp(float(half), -exponents[c])
            shift = min(np.int64(whole_exponent[0] - exponents[c]), np.int64(62))
            own = counts[c]
            if part:
                for i in range(values.size):
                    # A product with a power of two in float64 is exact.
                    place = np.int64(math.floor(float(values[i]) * scale))
                    own[np.uint64((place >> coarser) + part)] += 1
                    whole[np.uint64((place >> shift) + half)] += 1
            else:
                for i in range(values.size):
                    place = np.int64(math.floor(float(values[i]) * scale))
                    whole[np.uint64((place >> shift) + half)] += 1
    return True


@kernel
def _extremes(bits):
    """Least and largest of the numbers, as integers in the same order, and the count of zeros.

    Integers, because their minimum and maximum become vector instructions, and because NaN and
    infinities are the extremes then.
    """
    least, most, none = np.int32(0x7FFFFFFF), np.int32(-0x80000000), 0
    for i in range(bits.size):
        b = bits[i]
        key = b ^ ((b >> np.int32(31)) & np.int32(0x7FFFFFFF))
        least = min(least, key)
        most = max(most, key)
        none += (b & np.int32(0x7FFFFFFF)) == 0
    return least, most, none


@kernel
def _number(key):
    """The number of an integer that _extremes gave."""
    bits = np.empty(1, np.int32)
    bits[0] = key ^ ((key >> np.int32(31)) & np.int32(0x7FFFFFFF))
    return bits.view(np.float32)[0]


@kernel
def coarsen(counts, steps):
    """Merge neighbouring bins *steps* times, so that the same bins reach 2**steps as far."""
    half = counts.size // 2
    if half == 0 or steps <= 0:
        return
    shift = min(np.int64(steps), np.int64(62))
    old = counts.copy()
    counts[:] = 0
    for i in range(counts.size):
        counts[((i - half) >> shift) + half] += old[i]


@kernel
def coarsen_all(counts, steps):
    for c in range(counts.shape[0]):
        coarsen(counts[c], steps[c])
