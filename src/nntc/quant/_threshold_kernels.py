"""Loops of the threshold methods, compiled by Numba. All take rows of masses of |x|.

A row has the mass of [i * width, (i + 1) * width) at i, spread evenly there.
"""

from __future__ import annotations

import math

import numpy as np

from nntc.core.native import kernel

_COARSE, _FINE = 126, 16
_STEP = 2.0 ** (1 / 16)
_KL_CANDIDATES = 256
_TINY = 1e-12

KL, SYMKL, JSD = 0, 1, 2


@kernel
def least_squares(first, last, mass, used, levels, result):
    """Threshold of the least mean squared error, in bins.

    Candidates fall from the used range by 2**(1/16), down to 1/225 of it; then the surroundings of
    the best are searched twice, each time finer.

    Args:
        mass: [rows, bins]; used: [rows], bins up to the last one with mass, positive.
        levels: the largest integer, which stands for the threshold.
        result: [rows] float64.
    """
    for row in range(first, last):
        top = float(used[row])
        best, lowest = top, np.inf
        for j in range(_COARSE):
            t = top * _STEP ** (-j)
            error = squared_error(mass[row], used[row], t, levels)
            if error < lowest:
                best, lowest = t, error
        ratio = _STEP
        for _ in range(2):
            centre = best
            for j in range(-_FINE, _FINE + 1):
                t = min(top, centre * ratio ** (j / _FINE))
                error = squared_error(mass[row], used[row], t, levels)
                if error < lowest:
                    best, lowest = t, error
            ratio = ratio ** (1 / _FINE)
        result[row] = best


@kernel
def squared_error(mass, used, t, levels):
    """Sum of squared errors when |x| is rounded to multiples of t / levels, at most t.

    The integral of (x - n*s)**2 from 0 to x, with n the nearest integer but at most *levels*, is
    n * s**3 / 12 + (x - n*s)**3 / 3; also beyond the last level, where it counts what is cut off.
    """
    s = t / levels
    each = s * s * s / 12
    before, total = 0.0, 0.0
    for i in range(used):
        x = i + 1.0
        n = min(math.floor(x / s + 0.5), float(levels))
        rest = x - n * s
        after = n * each + rest * rest * rest / 3
        total += mass[i] * (after - before)
        before = after
    return total


@kernel
def least_divergence(first, last, mass, used, levels, kind, result):
    """Threshold, in bins, where the quantised distribution says most about the true one.

    For a threshold of n bins, the true distribution is the first n masses, with everything beyond
    in the last one; the quantised one has these masses (without the beyond) in *levels* groups,
    each spread evenly over the bins of the group that are not empty.

    Args:
        kind: KL, SYMKL or JSD.
    """
    bins = mass.shape[1]
    true, quantised = np.empty(bins), np.empty(bins)
    for row in range(first, last):
        top = used[row]
        step = max(1, (top - levels) // _KL_CANDIDATES)
        best, lowest = top, np.inf
        total = mass[row, :top].sum()
        # From the widest down, so that of equals the widest wins.
        n = top
        while n >= min(levels, top):
            inside = _distributions(mass[row], n, levels, total, true, quantised)
            if inside > 0:
                value = _divergence(true[:n], quantised[:n], total, inside, kind)
                if value < lowest - _TINY:
                    best, lowest = n, value
            n -= step
        result[row] = best


@kernel
def _distributions(mass, n, levels, total, true, quantised):
    """Fill the masses of both distributions; returns the mass inside the threshold."""
    groups = min(levels, n)
    inside = 0.0
    for g in range(groups):
        begin, end = g * n // groups, (g + 1) * n // groups
        held, filled = 0.0, 0
        for i in range(begin, end):
            held += mass[i]
            filled += mass[i] > 0
        even = held / filled if filled else 0.0
        for i in range(begin, end):
            true[i] = mass[i]
            quantised[i] = even if mass[i] > 0 else 0.0
        inside += held
    true[n - 1] += total - inside
    return inside


@kernel
def _divergence(true, quantised, total, inside, kind):
    value = 0.0
    for i in range(true.size):
        p, q = true[i] / total, quantised[i] / inside
        if kind == JSD:
            m = (p + q) / 2
            if p > 0:
                value += p * math.log(p / m) / 2
            if q > 0:
                value += q * math.log(q / m) / 2
            continue
        if p > 0:
            value += p * math.log(p / max(q, _TINY))
        if kind == SYMKL and q > 0:
            value += q * math.log(q / max(p, _TINY))
    return value
