"""Element-wise mathematics on one tile: instruction sequences for functions of one tensor.

The chip adds, multiplies, compares and shifts; everything else is built from that. Accuracies
are measured in the tests. Denormal results are zero, as everywhere on the chip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from nntc.backend.assembler import Assembler, Scalar, f32_bits
from nntc.backend.local import Local

_SIGN = 0x80000000
_LOG2E = math.log2(math.e)
_LN2_HIGH = 0.693359375
_LN2_LOW = -2.12194440e-4
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
_LOG = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
_SIN = (2.5992781947e-6, -1.9806202010e-4, 8.3330103260e-3, -1.6666656731e-1)
_ATAN = (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)
_ASIN = (4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1)
_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_ERF_SMALL = (
    7.853861353e-5,
    -8.010193625e-4,
    5.188327686e-3,
    -2.685381194e-2,
    1.128358515e-1,
    -3.761262582e-1,
    1.128379166,
)
"""Polynomial coefficients, highest power first: the classical single-precision minimax
polynomials of the Cephes library, Abramowitz & Stegun 7.1.26 for erf, and for the sine a least
squares fit at Chebyshev nodes over a quarter turn each way (error 5e-9)."""

TANH_SERIES = (
    -5.70498872745e-3,
    2.06390887954e-2,
    -5.37397155531e-2,
    1.33314422036e-1,
    -3.33332819422e-1,
)
SINH_SERIES = (2.03721912945e-4, 8.33028376239e-3, 1.66667160211e-1)
ASINH_SERIES = (2.0122003309e-2, -4.2699340972e-2, 7.4847586088e-2, -1.6666288134e-1)
ATANH_SERIES = (
    1.81740078349e-1,
    8.24370301058e-2,
    1.46691431730e-1,
    1.99782164500e-1,
    3.33337300303e-1,
)
"""p of :meth:`Tile.near_zero`, Cephes again."""

TWO23 = 8388608.0
_SMALLEST = 2.0**-126
"""The smallest normal number: what is nearer to zero counts as zero."""

ROUND = 12582912.0
"""1.5 * 2**23: adding it rounds |x| < 2**22 to an integer in the low mantissa bits."""


class Tile:
    """The assembler together with scratch tensors shaped like the result."""

    def __init__(self, asm: Assembler, out: Local, scratch: Callable[[], Local]) -> None:
        self.asm = asm
        self.out = out
        self.scratch = scratch

    def full(self, operand: Local | Scalar) -> Local:
        """*operand* with the result's full shape: itself, or a copy in scratch."""
        if isinstance(operand, Local) and operand.shape == self.out.shape:
            return operand
        copy = self.scratch()
        if isinstance(operand, Local):
            self.asm.copy(copy, operand)
        else:
            self.asm.fill(copy, f32_bits(operand))
        return copy

    def horner(self, out: Local, x: Local, coefficients: Sequence[float]) -> None:
        """``out = ((c0*x + c1)*x + ...) + c_last``; out must not be x."""
        asm = self.asm
        asm.binary("mul", out, x, coefficients[0])
        for coefficient in coefficients[1:-1]:
            asm.binary("add", out, out, coefficient)
            asm.binary("mul", out, out, x)
        asm.binary("add", out, out, coefficients[-1])

    def exp(self, out: Local, x: Local) -> None:
        """e**x: 2**k * p(r) with x = k ln 2 + r. Zero below -88, infinite above 88.37."""
        power, k = self.scratch(), self.scratch()
        self._split_exponent(out, power, k, x, 89.0)
        self.horner(k, out, (*_EXP, 1.0, 1.0))
        self.asm.binary("mul", out, k, power)

    def expm1(self, out: Local, x: Local) -> None:
        """e**x - 1, relatively exact near 0; x is cut at 88 so that the result is finite."""
        power, k = self.scratch(), self.scratch()
        self._split_exponent(out, power, k, x, 88.0)
        # 2**k * (p(r) - 1) + (2**k - 1)
        self.horner(k, out, (*_EXP, 1.0))
        self.asm.binary("mul", out, out, k)
        self.asm.binary("mul", out, out, power)
        self.asm.binary("sub", power, power, 1.0)
        self.asm.binary("add", out, out, power)

    def _split_exponent(self, r: Local, power: Local, k: Local, x: Local, most: float) -> None:
        """x = k ln 2 + r with |r| <= ln 2 / 2; ``power`` = 2**k, 0 for k = -127."""
        asm = self.asm
        asm.binary("max", k, x, -88.0)
        asm.binary("min", r, k, most)
        # The sum's low mantissa bits hold k + 127, which shifted left is the float 2**k.
        magic = ROUND + 127.0
        asm.binary("mul", power, r, _LOG2E)
        asm.binary("add", power, power, magic)
        asm.binary("sub", k, power, magic)
        asm.multiply_add(r, k, -_LN2_HIGH)
        asm.multiply_add(r, k, -_LN2_LOW)
        asm.integer("shift", power, power, 23)

    def log(self, out: Local, x: Local) -> None:
        """Natural logarithm; -infinity for zero and denormals, NaN for negative numbers."""
        asm = self.asm
        e, m, p, square = self.scratch(), self.scratch(), self.scratch(), self.scratch()
        asm.integer("shift", e, x, -23)
        asm.integer("or", e, e, 0x4B000000)
        asm.binary("sub", e, e, TWO23 + 127.0)
        asm.integer("and", m, x, 0x007FFFFF)
        asm.integer("or", m, m, 0x3F800000)
        # Move the significand from [1, 2) to [0.707, 1.414), where the polynomial holds.
        asm.select_greater(p, m, math.sqrt(2.0), 1.0)
        asm.binary("add", e, e, p)
        asm.binary("mul", p, p, -0.5)
        asm.binary("add", p, p, 1.0)
        asm.binary("mul", m, m, p)
        asm.binary("sub", m, m, 1.0)
        asm.binary("mul", square, m, m)
        self.horner(p, m, _LOG)
        asm.binary("mul", p, p, square)
        asm.binary("mul", p, p, m)
        asm.multiply_add(p, e, _LN2_LOW)
        asm.multiply_add(p, square, -0.5)
        asm.binary("add", m, m, p)
        asm.multiply_add(m, e, _LN2_HIGH)
        asm.where_greater(p, x, -_SMALLEST, -math.inf, math.nan)
        asm.where_greater(out, x, 0.0, m, p)

    def divide(self, out: Local, a: Local | Scalar, b: Local | Scalar) -> None:
        self.asm.binary("div", out, a, b)

    def sqrt(self, out: Local, x: Local) -> None:
        """Square root; NaN for negative numbers."""
        root = self.scratch()
        self.asm.rsqrt(root, x)
        self.asm.binary("mul", root, x, root)
        self.asm.where_greater(out, x, -_SMALLEST, root, math.nan)

    def absolute(self, out: Local, x: Local) -> None:
        self.asm.integer("and", out, x, _SIGN - 1)

    def negate(self, out: Local, x: Local) -> None:
        self.asm.integer("xor", out, x, _SIGN)

    def copy_sign(self, out: Local, magnitude: Local, sign: Local) -> None:
        """``|magnitude|`` (already non-negative) with the sign bits of *sign*."""
        bit = self.scratch()
        self.asm.integer("and", bit, sign, _SIGN)
        self.asm.integer("or", out, magnitude, bit)

    def _round_magnitude(self, out: Local, a: Local) -> None:
        """Round a >= 0 half to even."""
        t = self.scratch()
        self.asm.binary("add", t, a, TWO23)
        self.asm.binary("sub", t, t, TWO23)
        self.asm.where_greater(out, a, TWO23, a, t)

    def round(self, out: Local, x: Local) -> None:
        """Half to even, for every magnitude."""
        a, t = self.scratch(), self.scratch()
        self.absolute(a, x)
        self._round_magnitude(t, a)
        self.copy_sign(out, t, x)

    def floor(self, out: Local, x: Local) -> None:
        r, over = self.scratch(), self.scratch()
        self.round(r, x)
        self.asm.select_greater(over, r, x, 1.0)
        self.asm.binary("sub", out, r, over)

    def ceil(self, out: Local, x: Local) -> None:
        r, under = self.scratch(), self.scratch()
        self.round(r, x)
        self.asm.select_greater(under, x, r, 1.0)
        self.asm.binary("add", out, r, under)

    def trunc(self, out: Local, x: Local) -> None:
        a, t = self.scratch(), self.scratch()
        self.absolute(a, x)
        self._round_magnitude(t, a)
        over = self.scratch()
        self.asm.select_greater(over, t, a, 1.0)
        self.asm.binary("sub", t, t, over)
        self.copy_sign(out, t, x)

    def sign(self, out: Local, x: Local) -> None:
        t = self.scratch()
        self.asm.select_greater(t, 0.0, x, 1.0)
        self.asm.select_greater(out, x, 0.0, 1.0)
        self.asm.binary("sub", out, out, t)

    def sigmoid(self, out: Local, x: Local) -> None:
        t = self.scratch()
        self.negate(t, x)
        # The chip's 1 / infinity is infinity: the denominator must stay finite.
        self.asm.binary("min", t, t, 88.0)
        self.exp(out, t)
        self.asm.binary("add", out, out, 1.0)
        self.divide(out, 1.0, out)

    def near_zero(
        self, out: Local, x: Local, far: Local, limit: float, coefficients: Sequence[float]
    ) -> None:
        """``far`` where |x| > limit, else the odd series x + x**3 * p(x**2).

        Formulas that subtract nearly equal numbers lose all digits around zero; the series does
        not.
        """
        asm, square, p = self.asm, self.scratch(), self.scratch()
        asm.binary("mul", square, x, x)
        self.horner(p, square, coefficients)
        asm.binary("mul", p, p, square)
        asm.binary("mul", p, p, x)
        asm.binary("add", p, p, x)
        asm.where_greater(out, square, limit * limit, far, p)

    def tanh(self, out: Local, x: Local) -> None:
        """E / (E + 2) with E = exp(2x) - 1: relatively exact near 0."""
        t, e = self.scratch(), self.scratch()
        self.asm.binary("mul", t, x, 2.0)
        self.asm.binary("min", t, t, 40.0)
        self.expm1(e, t)
        self.asm.binary("add", t, e, 2.0)
        self.divide(out, e, t)
        self.asm.binary("min", out, out, 1.0)

    def erf(self, out: Local, x: Local) -> None:
        """An odd polynomial below 1, where the quotient's error would show."""
        square, small, large = self.scratch(), self.scratch(), self.scratch()
        self.asm.binary("mul", square, x, x)
        self.horner(small, square, _ERF_SMALL)
        self.asm.binary("mul", small, small, x)
        self.coarse_erf(large, x)
        self.asm.where_greater(out, square, 1.0, large, small)

    def coarse_erf(self, out: Local, x: Local) -> None:
        """Absolute error about 1e-6: that of the division, magnified by the polynomial."""
        asm = self.asm
        a, t, p, e = self.scratch(), self.scratch(), self.scratch(), self.scratch()
        self.absolute(a, x)
        asm.binary("min", a, a, 10.0)
        asm.binary("mul", t, a, 0.3275911)
        asm.binary("add", t, t, 1.0)
        self.divide(t, 1.0, t)
        self.horner(p, t, (*_ERF, 0.0))
        asm.binary("mul", a, a, a)
        self.negate(a, a)
        self.exp(e, a)
        asm.binary("mul", p, p, e)
        asm.binary("sub", p, 1.0, p)
        asm.binary("max", p, p, 0.0)
        self.copy_sign(out, p, x)

    def softplus(self, out: Local, x: Local) -> None:
        a, t, p = self.scratch(), self.scratch(), self.scratch()
        self.asm.integer("or", a, x, _SIGN)
        self.exp(t, a)
        self.asm.binary("add", t, t, 1.0)
        self.log(p, t)
        self.asm.binary("max", a, x, 0.0)
        self.asm.binary("add", out, p, a)

    def sin(self, out: Local, x: Local, quarter_turns: int = 0) -> None:
        """sin(x + quarter_turns*pi/2); accurate for |x| up to some thousands."""
        asm = self.asm
        k, r, sign, square = self.scratch(), self.scratch(), self.scratch(), self.scratch()
        # x + q*pi/2 = k*pi + r with r in [-pi/2, pi/2]; the sign alternates with k.
        shift = quarter_turns / 2.0
        asm.binary("mul", k, x, 1.0 / math.pi)
        if shift:
            asm.binary("add", k, k, shift)
        asm.binary("add", sign, k, ROUND)
        asm.binary("sub", k, sign, ROUND)
        asm.integer("shift", sign, sign, 31)
        if shift:
            asm.binary("sub", k, k, shift)
        asm.binary("add", r, x, 0.0)
        for part in (3.140625, 9.67502593994140625e-4, 1.509957990978376432e-7):
            asm.multiply_add(r, k, -part)
        asm.binary("mul", square, r, r)
        self.horner(k, square, _SIN)
        asm.binary("mul", k, k, square)
        asm.binary("mul", k, k, r)
        asm.binary("add", k, k, r)
        asm.integer("xor", out, k, sign)

    def atan(self, out: Local, x: Local) -> None:
        """Two reductions bring the argument below tan(pi/8)."""
        asm = self.asm
        a, inverse, big = self.scratch(), self.scratch(), self.scratch()
        t, p = self.scratch(), self.scratch()
        self.absolute(a, x)
        # The chip's 1 / infinity is infinity, and 1 / 0 is not needed.
        asm.binary("max", t, a, 1e-30)
        asm.binary("min", t, t, 1e30)
        self.divide(inverse, 1.0, t)
        asm.select_greater(big, a, 1.0, 1.0)
        asm.where_greater(t, a, 1.0, inverse, a)
        # atan(t) = pi/4 + atan((t-1)/(t+1)) for t above tan(pi/8)
        asm.binary("sub", inverse, t, 1.0)
        asm.binary("add", p, t, 1.0)
        self.divide(inverse, inverse, p)
        high = self.scratch()
        limit = math.sqrt(2.0) - 1.0
        asm.select_greater(high, t, limit, math.pi / 4.0)
        asm.where_greater(a, t, limit, inverse, t)
        asm.binary("mul", t, a, a)
        self.horner(p, t, _ATAN)
        asm.binary("mul", p, p, t)
        asm.binary("mul", p, p, a)
        asm.binary("add", p, p, a)
        asm.binary("add", p, p, high)
        # pi/2 - p where |x| > 1
        asm.binary("sub", t, math.pi / 2.0, p)
        asm.where_greater(a, big, 0.5, t, p)
        self.copy_sign(out, a, x)

    def asin(self, out: Local, x: Local) -> None:
        """asin(a) = pi/2 - 2 asin(sqrt((1-a)/2)) for a > 1/2."""
        asm = self.asm
        a, z, root, p = self.scratch(), self.scratch(), self.scratch(), self.scratch()
        t = self.scratch()
        self.absolute(a, x)
        asm.binary("sub", z, 1.0, a)
        asm.binary("mul", z, z, 0.5)
        asm.binary("max", z, z, 0.0)
        self.sqrt(root, z)
        asm.where_greater(t, a, 0.5, root, a)
        asm.binary("mul", z, t, t)
        self.horner(p, z, _ASIN)
        asm.binary("mul", p, p, z)
        asm.binary("mul", p, p, t)
        asm.binary("add", p, p, t)
        asm.binary("mul", t, p, -2.0)
        asm.binary("add", t, t, math.pi / 2.0)
        asm.where_greater(z, a, 0.5, t, p)
        self.copy_sign(out, z, x)

    def is_nan(self, out: Local, x: Local) -> None:
        """1 where neither x > -1 nor 1 > x holds."""
        t = self.scratch()
        self.asm.select_greater(t, x, -1.0, 1.0)
        self.asm.select_greater(out, 1.0, x, 1.0)
        self.asm.binary("max", out, out, t)
        self.asm.binary("sub", out, 1.0, out)

    def equal(self, out: Local, a: Local | Scalar, b: Local | Scalar) -> None:
        """1 where a equals b, +0 and -0 included."""
        left, right = self.full(a), self.full(b)
        s, t = self.scratch(), self.scratch()
        # Adding +0 turns -0 into +0; the comparison itself is bit by bit.
        self.asm.binary("add", s, left, 0.0)
        self.asm.binary("add", t, right, 0.0)
        self.asm.select_equal(out, s, t, 1.0)

    def invert(self, out: Local, truth: Local) -> None:
        """Logical not of 0/1."""
        self.asm.binary("sub", out, 1.0, truth)

    def truth(self, out: Local, x: Local | Scalar) -> None:
        """1 where x is not 0."""
        self.equal(out, x, 0.0)
        self.invert(out, out)

    def int_to_float(self, out: Local, x: Local) -> None:
        """int32 → fp32, correctly rounded: 16 bits at a time."""
        asm, low = self.asm, self.scratch()
        asm.integer("and", low, x, 0xFFFF)
        asm.integer("or", low, low, 0x4B000000)
        asm.binary("sub", low, low, TWO23)
        asm.shift_arithmetic(out, x, -16)
        asm.integer("and", out, out, 0x7FFFFF)
        asm.integer("xor", out, out, 0x400000)
        asm.integer("or", out, out, 0x4B000000)
        asm.binary("sub", out, out, TWO23 + 4194304.0)
        asm.binary("mul", out, out, 65536.0)
        asm.binary("add", out, out, low)

    def power(self, out: Local, x: Local, y: Local | Scalar) -> None:
        """x**y by exp(y log|x|), with the signs and special cases of powers."""
        asm = self.asm
        magnitude, t, odd = self.scratch(), self.scratch(), self.scratch()
        exponent = self.full(y)
        self.absolute(magnitude, x)
        self.log(t, magnitude)
        asm.binary("max", t, t, -1e30)
        asm.binary("mul", t, t, exponent)
        self.exp(odd, t)
        # Negative x with odd y: negative result. y mod 2 = 1 after removing whole pairs.
        half, sign = self.scratch(), self.scratch()
        asm.binary("mul", half, exponent, 0.5)
        self.floor(t, half)
        asm.binary("sub", half, half, t)
        asm.select_equal(half, half, 0.5, 1.0)
        asm.select_greater(sign, 0.0, x, 1.0)
        asm.binary("mul", half, half, sign)
        asm.binary("mul", half, half, -2.0)
        asm.binary("add", half, half, 1.0)
        asm.binary("mul", odd, odd, half)
        # A negative x has no power with an exponent that is not whole.
        self.floor(t, exponent)
        asm.select_greater(half, exponent, t, 1.0)
        asm.binary("mul", half, half, sign)
        asm.where_greater(t, half, 0.5, math.nan, odd)
        # x**0 = 1 for every x.
        self.equal(half, exponent, 0.0)
        asm.where_greater(out, half, 0.5, 1.0, t)
