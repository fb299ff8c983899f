"""One line of the comparison: the numbers of one tensor, and in words what they mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nntc.core.errors import UserError
from nntc.report.accuracy.pairs import Origin, Pair
from nntc.report.accuracy.sums import ErrorSums

CEILING = 40.0
"""dB. About what rounding to 8 bits leaves; a tensor that is better counts as this good when
it is asked what an operator lost."""

SORTS = ("own", "drop", "sqnr", "order")

_FEW = 20
"""Numbers of one channel below which their mean says nothing."""


@dataclass(frozen=True)
class Row:
    """How one tensor of B compares with A's. Shares are 0 to 1; NaN is what cannot be said.

    Attributes:
        order: place in the order of execution.
        value, reference: its name in B, and in A.
        operator: A's operators since the last tensors that were compared.
        source: the node in the user's model.
        place: type in which B computes it: int8, fp32 ...
        shape: for B's batch.
        is_output: of the network.
        sqnr: signal to quantisation noise ratio, 10 log10(sum a² / sum (b-a)²), dB; inf: equal.
        drop: dB lost since the worst of the tensors that it is computed from; each counts as
            :data:`CEILING` at most.
        own: SQNR of B's layer against A's, both on the same inputs: what this layer alone does.
        cosine: of the two tensors over all samples.
        max_error: the largest |b-a|; relative: as a part of A's range.
        saturated: share of integers at a limit (the 0 of unsigned ones is none).
        clipping: share of the noise that is made where the integer is at a limit.
        offset: share of the noise that is a constant offset of each channel.
        rounding: SQNR if nothing but this grid's rounding made noise, dB.
        used: of the integers' range, that the median channel uses.
        worst_channel: the one with most noise, and its share of it.
        not_finite: numbers that are NaN or infinite in one of the two only.
        why: a few words about the likely cause; empty where there is none to name.
    """

    order: int
    value: str
    reference: str
    operator: str
    source: str
    place: str
    shape: tuple[int, ...]
    is_output: bool
    sqnr: float
    drop: float
    own: float
    cosine: float
    max_error: float
    relative: float
    saturated: float
    clipping: float
    offset: float
    rounding: float
    used: float
    worst_channel: int
    worst_share: float
    not_finite: int
    why: str


def make_rows(
    pairs: Sequence[Pair],
    sums: Sequence[ErrorSums],
    shapes: Sequence[tuple[int, ...]],
    known: Mapping[str, Origin],
) -> list[Row]:
    """The rows of all pairs.

    Args:
        shapes: B's.
        known: where A's tensors come from, see :func:`nntc.report.accuracy.pairs.origins`.
    """
    ratios = [sqnr(s) for s in sums]
    # A tensor may be compared twice, as B's fp32 numbers and rounded: what reads it gets the worse.
    worst: dict[str, float] = {}
    unrounded: dict[str, float] = {}
    for pair, ratio in zip(pairs, ratios, strict=True):
        worst[pair.reference] = min(ratio, worst.get(pair.reference, math.inf))
        if not pair.rounds:
            unrounded[pair.reference] = ratio
    rows: list[Row] = []
    for order, (pair, one, ratio, shape) in enumerate(
        zip(pairs, sums, ratios, shapes, strict=True)
    ):
        origin = known.get(pair.reference, Origin())
        if pair.rounds:
            origin = Origin("Quantize", origin.source)
            before = unrounded.get(pair.reference, math.inf)
        else:
            before = min((worst[name] for name in origin.inputs), default=math.inf)
        drop = min(before, CEILING) - min(ratio, CEILING) if known else math.nan
        rows.append(_row(order, pair, one, shape, origin, ratio, drop))
    return rows


def _row(
    order: int,
    pair: Pair,
    sums: ErrorSums,
    shape: tuple[int, ...],
    origin: Origin,
    ratio: float,
    drop: float,
) -> Row:
    noise = float(sums.noise.sum())
    worst = int(np.argmax(sums.noise))
    integers = sums.limits is not None
    span = sums.high - sums.low if sums.count else 0.0
    # A constant has no range of its own: its size serves.
    span = span or abs(sums.high if sums.count else 0.0)
    own = math.nan
    if sums.own_noise is not None:
        own = decibel(float(sums.signal.sum()), sums.own_noise)
    numbers = {
        "clipping": _share(sums.clipped, noise) if integers else math.nan,
        "offset": _offset(sums, noise),
        "rounding": _rounding(sums),
        "used": _used(sums),
        "worst_share": _share(float(sums.noise[worst]), noise) if sums.channels > 1 else math.nan,
    }
    return Row(
        order=order,
        value=pair.value,
        reference=pair.reference,
        operator=origin.operators,
        source=origin.source,
        place=sums.form.place,
        shape=shape,
        is_output=pair.is_output,
        sqnr=ratio,
        drop=drop,
        own=own,
        cosine=_cosine(sums),
        max_error=sums.largest_error,
        relative=_share(sums.largest_error, span),
        saturated=_share(sums.saturated, sums.count) if integers else math.nan,
        worst_channel=worst,
        not_finite=sums.not_finite,
        why=_why(sums, ratio, worst, own, **numbers),
        **numbers,
    )


def _share(part: float, whole: float) -> float:
    if whole:
        return part / whole
    return math.inf if part else 0.0


def decibel(signal: float, noise: float) -> float:
    """10 log10(signal / noise); inf without noise, -inf with nothing but noise."""
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal and noise < math.inf else -math.inf


def sqnr(sums: ErrorSums) -> float:
    """See :class:`Row`; -inf where numbers are NaN or infinite in one model only."""
    if sums.not_finite:
        return -math.inf
    return decibel(float(sums.signal.sum()), float(sums.noise.sum()))


def _cosine(sums: ErrorSums) -> float:
    a = float(sums.signal.sum())
    ab = a + float(sums.product.sum())
    b = a + 2 * float(sums.product.sum()) + float(sums.noise.sum())
    if a <= 0 or b <= 0:
        return 1.0 if a <= 0 and b <= 0 else 0.0
    return max(-1.0, min(1.0, ab / math.sqrt(a * b)))


def _offset(sums: ErrorSums, noise: float) -> float:
    each = sums.count / sums.channels
    if each < _FEW or not noise:
        return math.nan
    share = float(np.square(sums.offset).sum()) / each / noise
    # The mean of pure noise has 1/n of its power.
    return max(0.0, (share - 1 / each) / (1 - 1 / each))


def _rounding(sums: ErrorSums) -> float:
    scale = sums.scale
    if scale is None:
        return math.nan
    return decibel(float(sums.signal.sum()), float((sums.nonzero * scale**2).sum()) / 12)


def _used(sums: ErrorSums) -> float:
    alive = sums.reach > 0
    if sums.limits is None or not alive.any():
        return math.nan
    return float(np.median(sums.used[alive])) / sums.limits[1]


def _why(
    sums: ErrorSums,
    ratio: float,
    worst: int,
    own: float,
    *,
    clipping: float,
    offset: float,
    rounding: float,
    used: float,
    worst_share: float,
) -> str:
    """The first of the known causes that explains most of the noise."""
    if sums.not_finite:
        return f"{sums.not_finite} numbers are NaN or infinite in one model only"
    if ratio == math.inf:
        return ""
    if own - ratio > 6:
        return "inherited"
    if clipping > 0.5:
        return f"threshold too small: clipping makes {clipping:.0%} of the noise"
    if sums.channels >= 8 and worst_share > 0.5:
        return f"channel {worst} makes {worst_share:.0%} of the noise"
    if offset > 0.5:
        return f"bias: {offset:.0%} of the noise is a constant offset by channel"
    if ratio >= rounding - 3:
        if used < 0.25:
            return f"scale too large: {used:.0%} of the integers' range is used"
        return "rounding to the grid"
    if rounding - own > 6:
        return f"weights or bias: rounding to the grid alone would leave {rounding:.1f} dB"
    return ""


def ranked(rows: Sequence[Row], sort: str) -> list[Row]:
    """Rows in one of the orders :data:`SORTS`; the worst first for all but "order".

    Where own SQNRs are not known, by drop; where drops are not known either, by SQNR.

    Raises:
        UserError: unknown order.
    """
    if sort not in SORTS:
        raise UserError(f"sort {sort}: is unknown, known are {', '.join(SORTS)}")
    if sort == "order":
        return sorted(rows, key=lambda row: row.order)
    if sort == "own" and not all(math.isnan(row.own) for row in rows):
        return sorted(rows, key=lambda row: (math.isnan(row.own), row.own, row.order))
    if sort != "sqnr" and not all(math.isnan(row.drop) for row in rows):
        return sorted(rows, key=lambda row: (-row.drop, row.order))
    return sorted(rows, key=lambda row: (row.sqnr, row.order))
