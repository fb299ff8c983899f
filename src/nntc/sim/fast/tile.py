"""The inner loop of every product: a register tile of fp32 sums in a fixed order.

``tile`` adds n steps to ROWS x COLUMNS sums. In every step each sum gets one product, rounded
before it is added (two instructions, never a fused one), so a sum is exactly the sequential fp32
sum that the hardware forms, and all sums of a tile advance together in vector registers.

Operands stay where they are: step k reads the weights of row r at ``a[a_offset[k] + r*a_pitch]``
and the columns from ``b[b_offset[k]]`` on. With the lanes of local memory as rows, weights are
used in place; with a padded image as b, a convolution needs no unfolding (im2col).

Sizes follow the processor: all sums of a tile must fit its vector registers.
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


def _make(rows: int, vectors: int) -> Any:
    @emitter
    def tile(
        _context: Any,
        _a: Any,
        _a_pitch: Any,
        _a_offset: Any,
        _b: Any,
        _b_offset: Any,
        _steps: Any,
        _start: Any,
        _out: Any,
    ) -> Any:
        signature = types.void(*[types.int64] * 6, types.float32, types.int64)

        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            _emit(builder, rows, vectors, args)
            return context.get_dummy_value()

        return signature, generate

    return tile


def _emit(builder: Any, rows: int, vectors: int, args: Any) -> None:
    """IR of one tile; all pointers arrive as addresses."""
    a, a_pitch, a_offset, b, b_offset, steps, start, out = args
    vector = ir.VectorType(_F32, VECTOR)
    floats, ints = _F32.as_pointer(), _I32.as_pointer()
    zero = ir.Constant(_I64, 0)
    cells = [(r, v) for r in range(rows) for v in range(vectors)]

    start_vector = _splat(builder, start)
    entry = builder.basic_block
    loop = builder.append_basic_block("step")
    done = builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", steps, zero), loop, done)

    builder.position_at_end(loop)
    k = builder.phi(_I64)
    k.add_incoming(zero, entry)
    sums = {cell: builder.phi(vector) for cell in cells}
    a_at = builder.sext(builder.load(builder.gep(builder.inttoptr(a_offset, ints), [k])), _I64)
    b_at = builder.sext(builder.load(builder.gep(builder.inttoptr(b_offset, ints), [k])), _I64)
    b_pointer = builder.gep(builder.inttoptr(b, floats), [b_at])
    columns: list[Any] = []
    for v in range(vectors):
        pointer = builder.gep(b_pointer, [ir.Constant(_I64, v * VECTOR)])
        columns.append(builder.load(builder.bitcast(pointer, vector.as_pointer()), align=4))
    a_pointer = builder.gep(builder.inttoptr(a, floats), [a_at])
    grown: dict[tuple[int, int], Any] = {}
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
    builder.cbranch(builder.icmp_signed("<", following, steps), loop, done)

    builder.position_at_end(done)
    results: list[Any] = []
    for cell in cells:
        result = builder.phi(vector)
        result.add_incoming(start_vector, entry)
        result.add_incoming(grown[cell], loop)
        results.append(result)
    out_pointer = builder.inttoptr(out, floats)
    for i, result in enumerate(results):
        pointer = builder.gep(out_pointer, [ir.Constant(_I64, i * VECTOR)])
        builder.store(result, builder.bitcast(pointer, vector.as_pointer()), align=4)


tile = _make(ROWS, VECTORS)
"""tile(a, a_pitch, a_offset, b, b_offset, steps, start, out): ROWS x COLUMNS sums.

a, b, out are addresses of fp32, the offsets addresses of int32 tables; pitch and offsets count
fp32 elements. out receives ROWS x COLUMNS values.
"""

line = _make(1, 4)
"""The same for one row of LINE columns."""

single = _make(1, 1)
"""The same for one row of VECTOR columns."""
