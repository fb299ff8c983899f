"""Weights onto integers such that the layer's results, not the weights, change least.

Rounding to nearest minimises the error of the weights. What matters is the error of the sums over
real inputs: with the inputs' covariance H, a row's squared error is ``d H d`` for the rounding
errors d. Columns are rounded one after another; every rounding error is passed on to the columns
that are still open, weighted by how well they can make up for it (the second-order method known
from optimal brain surgery and GPTQ).
"""

from __future__ import annotations

import numpy as np

BLOCK = 64
LOW, HIGH = -127, 127


def nearest(target: np.ndarray) -> np.ndarray:
    """Rounded to nearest and cut to int8."""
    return np.clip(np.rint(target), LOW, HIGH).astype(np.int8)


def adaptive(target: np.ndarray, covariance: np.ndarray, damping: float = 0.01) -> np.ndarray:
    """Integers for the rows of *target* that keep the sums over real inputs.

    Args:
        target: [rows, columns], in units of the integer grid.
        covariance: [columns, columns] of the inputs, shared by all rows.
        damping: part of the mean variance that is added to every column's.

    Returns:
        int8 [rows, columns].
    """
    rows, columns = target.shape
    h = covariance.astype(np.float64)
    variance = np.diag(h).copy()
    mean = float(variance.mean())
    if mean <= 0 or columns == 1:
        return nearest(target)
    h[np.diag_indices(columns)] += damping * mean
    # Columns with large inputs first: their errors cost most and have most columns to go to.
    order = np.argsort(-variance, kind="stable")
    upper = _inverse_factor(h[np.ix_(order, order)])
    w = target[:, order].astype(np.float64)
    q = np.empty((rows, columns), np.int8)
    for start in range(0, columns, BLOCK):
        stop = min(start + BLOCK, columns)
        errors = np.empty((rows, stop - start))
        for i in range(start, stop):
            q[:, i] = nearest(w[:, i])
            errors[:, i - start] = (w[:, i] - q[:, i]) / upper[i, i]
            w[:, i:stop] -= errors[:, i - start, None] * upper[i, i:stop]
        w[:, stop:] -= errors @ upper[start:stop, stop:]
    result = np.empty_like(q)
    result[:, order] = q
    return result


def _inverse_factor(h: np.ndarray) -> np.ndarray:
    """Upper triangular U with U^T U = h^-1."""
    inverse = np.linalg.inv(h)
    return np.linalg.cholesky((inverse + inverse.T) / 2).T


def adaptive_single(
    target: np.ndarray, covariance: np.ndarray, damping: float = 0.01
) -> np.ndarray:
    """The same where every row has inputs of its own (depthwise convolutions).

    Args:
        target: [rows, columns].
        covariance: [rows, columns, columns].
    """
    rows, columns = target.shape
    h = covariance.astype(np.float64)
    mean = np.trace(h, axis1=1, axis2=2) / columns
    h += (damping * mean + (mean <= 0))[:, None, None] * np.eye(columns)
    inverse = np.linalg.inv(h)
    upper = np.linalg.cholesky((inverse + inverse.swapaxes(1, 2)) / 2).swapaxes(1, 2)
    w = target.astype(np.float64).copy()
    q = np.empty((rows, columns), np.int8)
    for i in range(columns):
        q[:, i] = nearest(w[:, i])
        error = (w[:, i] - q[:, i]) / upper[:, i, i]
        w[:, i:] -= error[:, None] * upper[:, i, i:]
    return q
