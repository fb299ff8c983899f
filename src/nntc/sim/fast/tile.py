"""The inner loop of every product: a register tile of fp32 sums in a fixed order.

A tile is ROWS x COLUMNS results. Every result has one, two or four sums ("classes"); a sum adds
the products of its steps one after the other, each product rounded before it is added (two
instructions, never a fused one). That is exactly the order of the hardware, and all results of a
tile advance together in vector registers.

Operands stay where they are: step k reads the weights of row r at ``a[a_offset[k] + r*a_pitch]``
and the columns from ``b[b_offset[k]]`` on. With the lanes of local memory as rows, weights are
used in place; with a padded image as b, a convolution needs no unfolding (im2col).

Sizes follow the processor: all sums of a class must fit its vector registers.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types

from nntc.sim.fast.native import EXPLICIT_FLUSH, emitter

_FEATURES = llvm.get_host_cpu_features()
if _FEATURES.get("avx512f", False):
    VECTOR, ROWS, VECTORS = 16, 8, 2
elif _FEATURES.get("avx2", False):
    VECTOR, ROWS, VECTORS = 8, 6, 2
else:
    VECTOR, ROWS, VECTORS = 4, 6, 2

COLUMNS = VECTOR * VECTORS
"""Columns of the wide tile (ROWS rows)."""

LINE = VECTOR * 4
"""Columns of the single-row tile."""

_F32 = ir.FloatType()
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)


def _splat(builder: Any, value: Any) -> Any:
    kind = ir.VectorType(value.type, VECTOR)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, VECTOR), [0] * VECTOR)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def _flushed(builder: Any, value: Any) -> Any:
    """*value* with denormals replaced by zero of their sign."""
    ints = ir.VectorType(_I32, VECTOR)
    raw = builder.bitcast(value, ints)
    exponent = builder.and_(raw, ir.Constant(ints, [0x7F800000] * VECTOR))
    sign = builder.and_(raw, ir.Constant(ints, [-0x80000000] * VECTOR))
    tiny = builder.icmp_unsigned("==", exponent, ir.Constant(ints, [0] * VECTOR))
    return builder.bitcast(builder.select(tiny, sign, raw), value.type)


def _product(builder: Any, a: Any, b: Any) -> Any:
    if not EXPLICIT_FLUSH:
        return builder.fmul(a, b)
    # Exact in double precision; a product is tiny if it rounds, at 24 bits, to less than 2^-126.
    wide = ir.VectorType(ir.DoubleType(), VECTOR)
    exact = builder.fmul(
        builder.fpext(_flushed(builder, a), wide), builder.fpext(_flushed(builder, b), wide)
    )
    rounded = builder.fptrunc(exact, a.type)
    limit = ir.Constant(wide, [2.0**-126 * (1 - 2.0**-25)] * VECTOR)
    below = builder.and_(
        builder.fcmp_ordered("<", exact, limit),
        builder.fcmp_ordered(
            ">", exact, ir.Constant(wide, [-(2.0**-126) * (1 - 2.0**-25)] * VECTOR)
        ),
    )
    ints = ir.VectorType(_I32, VECTOR)
    sign = builder.and_(builder.bitcast(rounded, ints), ir.Constant(ints, [-0x80000000] * VECTOR))
    return builder.select(below, builder.bitcast(sign, a.type), rounded)


def _sum(builder: Any, a: Any, b: Any) -> Any:
    total = builder.fadd(a, b)
    # Sums of flushed operands are never rounded at the border: flushing afterwards is exact.
    return _flushed(builder, total) if EXPLICIT_FLUSH else total


def _make(rows: int, vectors: int, classes: int) -> Any:
    @emitter
    def tile(
        _context: Any,
        _a: Any,
        _a_pitch: Any,
        _a_offset: Any,
        _b: Any,
        _b_offset: Any,
        _counts: Any,
        _starts: Any,
        _bias: Any,
        _out: Any,
        _out_pitch: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            _emit(builder, rows, vectors, classes, args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 10), generate

    return tile


Sums = dict[tuple[int, int], Any]
"""(row, vector) → LLVM value."""


def _emit(builder: Any, rows: int, vectors: int, classes: int, args: Any) -> None:
    """IR of one tile; all pointers arrive as addresses."""
    a, a_pitch, a_offset, b, b_offset, counts, starts, bias, out, out_pitch = args
    floats, longs = _F32.as_pointer(), _I64.as_pointer()
    first: Any = ir.Constant(_I64, 0)
    partial: list[Sums] = []
    for k in range(classes):
        at = ir.Constant(_I64, k)
        count = builder.load(builder.gep(builder.inttoptr(counts, longs), [at]))
        start = builder.load(builder.gep(builder.inttoptr(starts, floats), [at]))
        last = builder.add(first, count)
        operands = (a, a_pitch, a_offset, b, b_offset)
        partial.append(_emit_class(builder, rows, vectors, first, last, start, operands))
        first = last
    while len(partial) > 1:
        # (0 + 1) + (2 + 3)
        pairs = zip(partial[::2], partial[1::2], strict=True)
        partial = [{cell: _sum(builder, p[cell], q[cell]) for cell in p} for p, q in pairs]
    bias_pointer, row_pointer = builder.inttoptr(bias, floats), builder.inttoptr(out, floats)
    vector = ir.VectorType(_F32, VECTOR).as_pointer()
    for r in range(rows):
        offset = _splat(builder, builder.load(builder.gep(bias_pointer, [ir.Constant(_I64, r)])))
        for v in range(vectors):
            pointer = builder.gep(row_pointer, [ir.Constant(_I64, v * VECTOR)])
            result = _sum(builder, partial[0][r, v], offset)
            builder.store(result, builder.bitcast(pointer, vector), align=4)
        row_pointer = builder.gep(row_pointer, [out_pitch])


def _emit_class(
    builder: Any, rows: int, vectors: int, first: Any, last: Any, start: Any, operands: Any
) -> Sums:
    """The sums over the steps [first, last); continues in a new block."""
    a, a_pitch, a_offset, b, b_offset = operands
    vector = ir.VectorType(_F32, VECTOR)
    floats, ints = _F32.as_pointer(), _I32.as_pointer()
    cells = [(r, v) for r in range(rows) for v in range(vectors)]
    start_vector = _splat(builder, start)
    entry = builder.basic_block
    loop = builder.append_basic_block("step")
    done = builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed("<", first, last), loop, done)

    builder.position_at_end(loop)
    k = builder.phi(_I64)
    k.add_incoming(first, entry)
    sums: Sums = {cell: builder.phi(vector) for cell in cells}
    a_at = builder.sext(builder.load(builder.gep(builder.inttoptr(a_offset, ints), [k])), _I64)
    b_at = builder.sext(builder.load(builder.gep(builder.inttoptr(b_offset, ints), [k])), _I64)
    b_pointer = builder.gep(builder.inttoptr(b, floats), [b_at])
    columns: list[Any] = []
    for v in range(vectors):
        pointer = builder.gep(b_pointer, [ir.Constant(_I64, v * VECTOR)])
        columns.append(builder.load(builder.bitcast(pointer, vector.as_pointer()), align=4))
    a_pointer = builder.gep(builder.inttoptr(a, floats), [a_at])
    grown: Sums = {}
    for r in range(rows):
        weight = _splat(builder, builder.load(a_pointer))
        a_pointer = builder.gep(a_pointer, [a_pitch])
        for v in range(vectors):
            grown[r, v] = _sum(builder, sums[r, v], _product(builder, weight, columns[v]))
    following = builder.add(k, ir.Constant(_I64, 1))
    k.add_incoming(following, loop)
    for cell in cells:
        sums[cell].add_incoming(start_vector, entry)
        sums[cell].add_incoming(grown[cell], loop)
    builder.cbranch(builder.icmp_signed("<", following, last), loop, done)

    builder.position_at_end(done)
    results: Sums = {}
    for cell in cells:
        results[cell] = builder.phi(vector)
        results[cell].add_incoming(start_vector, entry)
        results[cell].add_incoming(grown[cell], loop)
    return results


tile4 = _make(ROWS, VECTORS, 4)
"""tile(a, a_pitch, a_offset, b, b_offset, counts, starts, bias, out, out_pitch).

ROWS x COLUMNS results of four sums each: (0 + 1) + (2 + 3), then + bias. All but the pitches are
addresses: a, b, out of fp32; the offsets of int32 tables, the steps of class 0 first; counts of
the steps per class (int64); starts of what each sum starts with (fp32); bias of one fp32 per row
(-0.0 changes nothing). Pitches and offsets count fp32 elements.
"""

tile2 = _make(ROWS, VECTORS, 2)
"""The same with two sums."""

tile1 = _make(ROWS, VECTORS, 1)
"""The same with one sum."""

line2 = _make(1, 4, 2)
"""One row of LINE columns, two sums."""

single2 = _make(1, 1, 2)
"""One row of VECTOR columns, two sums."""
