"""Einsum as transposes, products and sums.

Operands are contracted from the left, two at a time; a pair becomes one batched matrix product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.frontends.builder import Builder
from nntc.ir.graph import Value

# Letters for the axes of an ellipsis, which equations cannot hold.
_ELLIPSIS = "0123456789"

Term = tuple[Value, str]


def einsum(b: Builder, equation: str, operands: Sequence[Value]) -> Value:
    """The value of *equation* over *operands*.

    Raises:
        ModelError: the equation is malformed or does not fit the operands.
    """
    inputs, output = _parse(equation, [len(x.shape) for x in operands])
    sizes: dict[str, int] = {}
    for x, labels in zip(operands, inputs, strict=True):
        for label, size in zip(labels, x.shape, strict=True):
            if sizes.get(label, 1) == 1:
                sizes[label] = size
            elif size not in (1, sizes[label]):
                raise ModelError(f"'{label}' in '{equation}' is {sizes[label]} and {size}")
    terms = [_diagonal(b, x, labels) for x, labels in zip(operands, inputs, strict=True)]
    while len(terms) > 1:
        keep = set(output).union(*(labels for _, labels in terms[2:]))
        terms[:2] = [_contract(b, terms[0], terms[1], keep, sizes)]
    value, labels = _sum_out(b, terms[0], set(output))
    value = b.transpose(value, [labels.index(label) for label in output])
    return b.expand(value, [sizes[label] for label in output])


def _parse(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    text = equation.replace(" ", "")
    left, arrow, output = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ModelError(f"'{equation}' has {len(terms)} terms, {len(ranks)} operands are given")
    spread = 0
    inputs: list[str] = []
    for term, rank in zip(terms, ranks, strict=True):
        labels = term.replace("...", "")
        extra = rank - len(labels)
        if extra < 0 or (extra and "..." not in term) or extra > len(_ELLIPSIS):
            raise ModelError(f"'{term}' in '{equation}' does not fit an operand of rank {rank}")
        spread = max(spread, extra)
        inputs.append(term.replace("...", _ELLIPSIS[len(_ELLIPSIS) - extra :]))
    dots = _ELLIPSIS[len(_ELLIPSIS) - spread :]
    if not arrow:
        count = Counter(left.replace("...", "").replace(",", ""))
        output = dots + "".join(sorted(k for k, n in count.items() if n == 1))
    output = output.replace("...", dots)
    letters = "".join(inputs)
    valid = all(c.isalpha() or c in _ELLIPSIS for c in letters + output)
    if not valid or len(set(output)) != len(output) or not set(output) <= set(letters):
        raise ModelError(f"equation '{equation}' is not valid")
    return inputs, output


def _diagonal(b: Builder, x: Value, labels: str) -> Term:
    """Axes with one label become one axis, the diagonal."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            size = x.shape[first]
            if x.shape[second] != size:
                raise ModelError(f"axes '{label}' of {list(x.shape)} differ in length")
            # Bring both axes to the front, flatten them, take every (size+1)-th element.
            rest = [i for i in range(len(labels)) if i not in (first, second)]
            x = b.transpose(x, [first, second, *rest])
            x = b.reshape(x, (size * size, *x.shape[2:]))
            x = b.gather(x, np.arange(size) * (size + 1), 0)
            labels = label + "".join(labels[i] for i in rest)
    return x, labels


def _sum_out(b: Builder, term: Term, keep: set[str]) -> Term:
    x, labels = term
    axes = [i for i, label in enumerate(labels) if label not in keep]
    if not axes:
        return term
    return b.reduce("sum", x, axes, keepdims=False), "".join(c for c in labels if c in keep)


def _contract(b: Builder, left: Term, right: Term, keep: set[str], sizes: dict[str, int]) -> Term:
    """One product of two terms; labels in *keep* stay."""
    left = _sum_out(b, left, keep | set(right[1]))
    right = _sum_out(b, right, keep | set(left[1]))
    shared = [c for c in left[1] if c in right[1]]
    batch = [c for c in shared if c in keep]
    inner = [c for c in shared if c not in keep]
    rows = [c for c in left[1] if c not in right[1]]
    columns = [c for c in right[1] if c not in left[1]]
    if not inner and left[0].dtype is not DType.BOOL:
        return _outer(b, left, right, batch, rows, columns)

    def arrange(term: Term, groups: Sequence[list[str]]) -> Value:
        """The term with axes in the order of *groups*, the last two groups flattened."""
        x, labels = term
        order = [c for group in groups for c in group]
        x = b.transpose(x, [labels.index(c) for c in order])
        shape = [x.shape[order.index(c)] for c in groups[0]]
        # Axes of length 1 that broadcast against a longer one must be widened inside a product.
        full = [sizes[c] if c in inner else x.shape[order.index(c)] for c in order]
        x = b.expand(x, full)
        position = len(groups[0])
        for group in groups[1:]:
            size = 1
            for _ in group:
                size *= full[position]
                position += 1
            shape.append(size)
        return b.reshape(x, shape)

    product = b.matmul(arrange(left, (batch, rows, inner)), arrange(right, (batch, inner, columns)))
    row_sizes = [left[0].shape[left[1].index(c)] for c in rows]
    column_sizes = [right[0].shape[right[1].index(c)] for c in columns]
    shape = [*product.shape[: len(batch)], *row_sizes, *column_sizes]
    return b.reshape(product, shape), "".join(batch + rows + columns)


def _outer(
    b: Builder, left: Term, right: Term, batch: list[str], rows: list[str], columns: list[str]
) -> Term:
    """Nothing is summed: an element-wise product with broadcasting."""
    order = batch + rows + columns

    def align(term: Term) -> Value:
        x, labels = term
        x = b.transpose(x, [labels.index(c) for c in order if c in labels])
        sizes = iter(x.shape)
        return b.reshape(x, [next(sizes) if c in labels else 1 for c in order])

    return b.mul(align(left), align(right)), "".join(order)
