"""TfIdfVectorizer over integers: counts of n-grams, by comparing every window with every n-gram."""

from __future__ import annotations

import functools

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends.onnx.call import Call, RefusedError, reads
from nntc.ir.graph import Value


@reads("TfIdfVectorizer")
def tf_idf_vectorizer(c: Call) -> Value:
    x = c.x()
    if c.has("pool_strings"):
        raise RefusedError("it works on strings")
    pool = np.array(c.ints("pool_int64s") or (), np.int64)
    starts = [*(c.ints("ngram_counts") or ()), len(pool)]
    places = c.ints("ngram_indexes") or ()
    shortest, longest = c.i("min_gram_length", 1), c.i("max_gram_length", 1)
    if not places or min(places) < 0 or len(starts) - 1 < longest or shortest < 1:
        raise ModelError("n-grams, their lengths and their places do not fit each other")
    batched = len(x.shape) == 2
    rows = c.b.cast(x if batched else c.b.reshape(x, (1, *x.shape)), DType.I64)
    width = max(places) + 1
    total = c.b.full((rows.shape[0], width), 0.0, DType.F32)
    before = 0
    for length in range(1, longest + 1):
        grams = pool[starts[length - 1] : starts[length]].reshape(-1, length)
        mine = np.array(places[before : before + len(grams)])
        before += len(grams)
        if length < shortest or not len(grams):
            continue
        # Where the counts of these n-grams go in the result.
        to = np.zeros((len(grams), width), np.float32)
        to[np.arange(len(grams)), mine] = 1
        for skip in range(1 if length == 1 else c.i("max_skip_count", 0) + 1):
            found = _count(c, rows, grams, skip + 1)
            if found is not None:
                total = c.b.add(total, c.b.matmul(found, c.b.const(to)))
    total = _weigh(c, total)
    return total if batched else c.b.reshape(total, (width,))


def _count(c: Call, rows: Value, grams: np.ndarray, step: int) -> Value | None:
    """How often each n-gram [G, n] stands in each row [B, L], taking every step-th element."""
    length = grams.shape[1]
    windows = rows.shape[1] - (length - 1) * step
    if windows < 1:
        return None
    equal = [
        c.b.binary(
            "eq",
            c.b.unsqueeze(c.b.slice(rows, 1, k * step, k * step + windows), 2),
            c.b.const(grams[:, k]),
        )
        for k in range(length)
    ]
    match = functools.reduce(lambda a, b: c.b.binary("and", a, b), equal)
    return c.b.reduce("sum", c.b.cast(match, DType.F32), (1,), keepdims=False)


def _weigh(c: Call, total: Value) -> Value:
    mode = c.choice("mode", "TF", ("TF", "IDF", "TFIDF"))
    given = c.floats("weights")
    if mode == "TF" or given is None:
        if mode != "IDF":
            return total
        return c.b.cast(c.b.binary("gt", total, c.b.like(0.0, total)), DType.F32)
    places = c.ints("ngram_indexes") or ()
    if len(given) != len(places):
        raise ModelError(f"{len(given)} weights for {len(places)} n-grams")
    weights = np.zeros(total.shape[1], np.float32)
    weights[list(places)] = given
    if mode == "IDF":
        total = c.b.cast(c.b.binary("gt", total, c.b.like(0.0, total)), DType.F32)
    return c.b.mul(total, c.b.const(weights))
