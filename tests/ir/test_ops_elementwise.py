"""Elementwise operators against ONNX Runtime."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nntc.core.dtype import DType
from nntc.ir import ops
from nntc.ir.interpret import evaluate
from nntc.ir.ops.elementwise import BINARY, UNARY
from tests.ir.twin import cases, check, onnx_run, random, same

FINITE = (0.0, 1, 0.5, 1.5, 2.5, 3, 6, 88, 1e-30, 1e30)
SPECIAL = np.array([*FINITE, *(-v for v in FINITE), -np.inf, np.inf, np.nan], np.float32)
INTEGERS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)

# fn → ONNX operator, its attributes, its range of arguments
UNARY_TWINS: dict[str, tuple[str, dict[str, object], float, float]] = {
    "abs": ("Abs", {}, -9, 9),
    "neg": ("Neg", {}, -9, 9),
    "exp": ("Exp", {}, -9, 9),
    "log": ("Log", {}, -1, 9),
    "sqrt": ("Sqrt", {}, -1, 9),
    "reciprocal": ("Reciprocal", {}, -9, 9),
    "floor": ("Floor", {}, -9, 9),
    "ceil": ("Ceil", {}, -9, 9),
    "round": ("Round", {}, -9, 9),
    "sign": ("Sign", {}, -9, 9),
    "sin": ("Sin", {}, -9, 9),
    "cos": ("Cos", {}, -9, 9),
    "tan": ("Tan", {}, -1, 1),
    "asin": ("Asin", {}, -1, 1),
    "acos": ("Acos", {}, -1, 1),
    "atan": ("Atan", {}, -9, 9),
    "sinh": ("Sinh", {}, -9, 9),
    "cosh": ("Cosh", {}, -9, 9),
    "tanh": ("Tanh", {}, -9, 9),
    "asinh": ("Asinh", {}, -9, 9),
    "acosh": ("Acosh", {}, 1, 9),
    "atanh": ("Atanh", {}, -1, 1),
    "erf": ("Erf", {}, -5, 5),
    "sigmoid": ("Sigmoid", {}, -20, 20),
    "relu": ("Relu", {}, -9, 9),
    "softplus": ("Softplus", {}, -20, 20),
    "softsign": ("Softsign", {}, -9, 9),
    "mish": ("Mish", {}, -9, 9),
    "gelu": ("Gelu", {}, -9, 9),
    "gelu_tanh": ("Gelu", {"approximate": "tanh"}, -9, 9),
    "hardswish": ("HardSwish", {}, -9, 9),
    "not": ("Not", {}, 0, 1),
    "bitnot": ("BitwiseNot", {}, -9, 9),
    "isnan": ("IsNaN", {}, -9, 9),
}
EXACT = {"abs", "neg", "floor", "ceil", "round", "sign", "relu", "isnan"}


@pytest.mark.parametrize("fn", [f for f in UNARY_TWINS if DType.F32 in UNARY[f].dtypes])
def test_unary_float(fn: str) -> None:
    kind, attributes, low, high = UNARY_TWINS[fn]
    x = random((3, 50), np.float32, low, high)
    tolerance = 0 if fn in EXACT else 2e-6
    check(ops.Unary(fn), [x], kind, attributes, tolerance=tolerance)
    check(ops.Unary(fn), [x[0, 0]], kind, attributes, tolerance=tolerance)
    check(ops.Unary(fn), [x[:0]], kind, attributes)


def test_unary_without_twin() -> None:
    x = random((40,), np.float32, -9, 9)
    same(evaluate(ops.Unary("trunc"), [x])[0], np.trunc(x))
    same(evaluate(ops.Unary("silu"), [x])[0], x / (1 + np.exp(-x)), 2e-6)
    same(evaluate(ops.Unary("rsqrt"), [np.abs(x)])[0], np.abs(x) ** np.float32(-0.5), 2e-6)
    assert set(UNARY) == set(UNARY_TWINS) | {"trunc", "silu", "rsqrt"}


# ONNX Runtime's sign of NaN is 0; its polynomials for some functions lose infinities.
@pytest.mark.parametrize(
    "fn", ["abs", "neg", "exp", "log", "sqrt", "floor", "ceil", "round", "relu", "isnan", "atan"]
)
def test_unary_special(fn: str) -> None:
    kind, attributes, _, _ = UNARY_TWINS[fn]
    check(ops.Unary(fn), [SPECIAL], kind, attributes, tolerance=2e-6)


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        ("sigmoid", [0.5, 0.0, 1.0]),
        ("tanh", [0.0, -1.0, 1.0]),
        ("erf", [0.0, -1.0, 1.0]),
        ("softplus", [math.log(2), 0.0, math.inf]),
        ("sign", [0.0, -1.0, 1.0]),
        ("reciprocal", [math.inf, -0.0, 0.0]),
    ],
)
def test_unary_limits(fn: str, expected: list[float]) -> None:
    x = np.array([0, -np.inf, np.inf, np.nan], np.float32)
    y = evaluate(ops.Unary(fn), [x])[0]
    np.testing.assert_allclose(y[:3], np.array(expected, np.float32), rtol=1e-6)
    assert np.isnan(y[3])


def test_negative_zero_survives() -> None:
    zero = np.array([-0.0], np.float32)
    for fn in ("floor", "ceil", "round", "trunc", "sqrt", "sin", "tanh", "erf", "asinh"):
        assert np.signbit(evaluate(ops.Unary(fn), [zero])[0]).all(), fn
    assert np.signbit(evaluate(ops.Unary("round"), [np.array([-0.4], np.float32)])[0]).all()


def test_erf_is_exact_to_seven_digits() -> None:
    x = np.linspace(-7, 7, 20001, dtype=np.float32)
    exact = np.array([math.erf(v) for v in x])
    assert np.abs(evaluate(ops.Unary("erf"), [x])[0] - exact).max() < 1e-7
    wide = x.astype(np.float64)[::50]
    np.testing.assert_array_equal(evaluate(ops.Unary("erf"), [wide])[0], exact[::50])


@pytest.mark.parametrize(
    ("fn", "dtype"),
    [("abs", t) for t in INTEGERS]
    + [("sign", t) for t in INTEGERS]
    + [("neg", t) for t in (np.int8, np.int32, np.int64)]
    + [("bitnot", t) for t in INTEGERS]
    + [("relu", np.int8), ("relu", np.int32), ("not", np.bool_)],
)
def test_unary_integer(fn: str, dtype: type) -> None:
    check(ops.Unary(fn), [random((4, 9), dtype, -120, 120)], UNARY_TWINS[fn][0])


@pytest.mark.parametrize("fn", ["exp", "tanh", "gelu"])
def test_half_floats_compute_in_float32(fn: str) -> None:
    x = random((64,), np.float16)
    wide = evaluate(ops.Unary(fn), [x.astype(np.float32)])[0]
    same(evaluate(ops.Unary(fn), [x])[0], wide.astype(np.float16))


BINARY_TWINS: dict[str, tuple[str, dict[str, object]]] = {
    "add": ("Add", {}),
    "sub": ("Sub", {}),
    "mul": ("Mul", {}),
    "div": ("Div", {}),
    "max": ("Max", {}),
    "min": ("Min", {}),
    "mod": ("Mod", {}),
    "fmod": ("Mod", {"fmod": 1}),
    "eq": ("Equal", {}),
    "lt": ("Less", {}),
    "le": ("LessOrEqual", {}),
    "gt": ("Greater", {}),
    "ge": ("GreaterOrEqual", {}),
    "and": ("And", {}),
    "or": ("Or", {}),
    "xor": ("Xor", {}),
    "bitand": ("BitwiseAnd", {}),
    "bitor": ("BitwiseOr", {}),
    "bitxor": ("BitwiseXor", {}),
}
ARITHMETIC = ("add", "sub", "mul", "div", "max", "min")
COMPARISONS = ("eq", "lt", "le", "gt", "ge")
SHAPES = [((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((1, 5), (3, 1)), ((), (2, 2)), ((0, 3), (1, 3))]


@cases(fn=(*ARITHMETIC, *COMPARISONS, "fmod"), shapes=SHAPES)
def test_binary_float(case: dict) -> None:
    kind, attributes = BINARY_TWINS[case["fn"]]
    a, b = (random(s, np.float32, -9, 9) for s in case["shapes"])
    check(ops.Binary(case["fn"]), [a, b], kind, attributes, tolerance=1e-7)


@pytest.mark.parametrize("fn", [*ARITHMETIC, *COMPARISONS])
def test_binary_special(fn: str) -> None:
    a, b = (np.ravel(v) for v in np.meshgrid(SPECIAL, SPECIAL))
    check(ops.Binary(fn), [a, b], BINARY_TWINS[fn][0])


@cases(fn=(*ARITHMETIC, "mod", "fmod"), dtype=(np.int32, np.int64))
def test_binary_integer(case: dict) -> None:
    a, b = np.meshgrid(np.arange(-7, 8), [-5, -3, -2, -1, 1, 2, 3, 5])
    kind, attributes = BINARY_TWINS[case["fn"]]
    inputs = [a.astype(case["dtype"]), b.astype(case["dtype"])]
    check(ops.Binary(case["fn"]), inputs, kind, attributes)


@cases(fn=("add", "sub", "mul"), dtype=(np.int32, np.int64))
def test_binary_wraps(case: dict) -> None:
    info = np.iinfo(case["dtype"])
    a = np.array([info.max, info.min, info.max, 12345678], case["dtype"])
    b = np.array([1, -1, info.max, 87654321], case["dtype"])
    check(ops.Binary(case["fn"]), [a, b], BINARY_TWINS[case["fn"]][0])


def test_integer_division_edges() -> None:
    low = np.iinfo(np.int32).min
    a = np.array([7, -7, low, 5, low], np.int32)
    b = np.array([0, 0, -1, -2, 1], np.int32)
    y = evaluate(ops.Binary("div"), [a, b])[0]
    assert y.tolist() == [0, 0, low, -2, low]
    unsigned = evaluate(ops.Binary("div"), [np.array([250], np.uint8), np.array([7], np.uint8)])[0]
    assert unsigned.tolist() == [35]


@cases(fn=("bitand", "bitor", "bitxor"), dtype=INTEGERS)
def test_bitwise(case: dict) -> None:
    a, b = random((40,), case["dtype"], -99, 99), random((40,), case["dtype"], -50, 120)
    check(ops.Binary(case["fn"]), [a, b], BINARY_TWINS[case["fn"]][0])


@pytest.mark.parametrize("fn", ["and", "or", "xor", "eq", "ne"])
def test_logic(fn: str) -> None:
    a, b = random((40,), bool), random((4, 1), bool)
    if fn == "ne":
        same(evaluate(ops.Binary(fn), [a, b])[0], a != b)
    else:
        check(ops.Binary(fn), [a, b], BINARY_TWINS[fn][0])


@cases(fn=("shl", "shr"), dtype=(np.uint8, np.uint16, np.uint32, np.uint64))
def test_shifts(case: dict) -> None:
    a, b = random((40,), case["dtype"], 0, 255), random((40,), case["dtype"], 0, 7)
    direction = {"direction": "LEFT" if case["fn"] == "shl" else "RIGHT"}
    check(ops.Binary(case["fn"]), [a, b], "BitShift", direction)


def test_shift_of_negative_numbers_keeps_the_sign() -> None:
    a, b = np.array([-8, -1], np.int32), np.array([1, 5], np.int32)
    assert evaluate(ops.Binary("shr"), [a, b])[0].tolist() == [-4, -1]


@pytest.mark.parametrize(
    "dtypes",
    [
        (np.float32, np.float32),
        (np.float32, np.int32),
        (np.int32, np.int32),
        (np.int64, np.int64),
        (np.int32, np.float32),
    ],
)
def test_pow(dtypes: tuple[type, type]) -> None:
    a, b = random((5, 6), dtypes[0], 0, 9), random((6,), dtypes[1], 0, 3)
    check(ops.Binary("pow"), [a, b], "Pow", tolerance=1e-6)


def test_pow_special() -> None:
    a = np.array([-2, -2, 0, 0, np.inf, np.nan, 1], np.float32)
    b = np.array([3, 0.5, 0, -1, -1, 0, np.nan], np.float32)
    check(ops.Binary("pow"), [a, b], "Pow")


ACTIVATIONS = [
    (ops.LeakyRelu(0.1), "LeakyRelu", {"alpha": 0.1}),
    (ops.LeakyRelu(-2.0), "LeakyRelu", {"alpha": -2.0}),
    (ops.Elu(1.0), "Elu", {"alpha": 1.0}),
    (ops.Elu(0.3), "Elu", {"alpha": 0.3}),
    (ops.Selu(), "Selu", {}),
    (ops.Selu(2.0, 0.5), "Selu", {"alpha": 2.0, "gamma": 0.5}),
    (ops.Celu(1.0), "Celu", {"alpha": 1.0}),
    (ops.Celu(0.5), "Celu", {"alpha": 0.5}),
    (ops.HardSigmoid(), "HardSigmoid", {}),
    (ops.HardSigmoid(1 / 6, 0.5), "HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    (ops.ThresholdedRelu(1.5), "ThresholdedRelu", {"alpha": 1.5}),
    (ops.Shrink(1.5, 0.5), "Shrink", {"lambd": 1.5, "bias": 0.5}),
]


@pytest.mark.parametrize(("op", "kind", "attributes"), ACTIVATIONS, ids=str)
def test_activation(op: ops.Op, kind: str, attributes: dict) -> None:
    for shape in ((3, 50), ()):
        check(op, [random(shape, np.float32, -9, 9)], kind, attributes, tolerance=2e-6)


def test_swish() -> None:
    x = random((50,), np.float32, -9, 9)
    same(evaluate(ops.Swish(1.5), [x])[0], x / (1 + np.exp(-1.5 * x)), 2e-6)


def test_shrink_integer() -> None:
    x = random((30,), np.int32, -9, 9)
    check(ops.Shrink(3.0, 1.0), [x], "Shrink", {"lambd": 3.0, "bias": 1.0})


@cases(
    dtype=(np.float32, np.float64, np.int8, np.uint8, np.int32, np.int64, np.uint64),
    limits=((-2, 3), (None, 3), (1, None), (None, None), (3, 1)),
)
def test_clip(case: dict) -> None:
    low, high = case["limits"]
    x = random((4, 11), case["dtype"], -9, 9)
    if x.dtype.kind == "u" and low is not None:
        low = abs(low)
    op = ops.Clip(-math.inf if low is None else low, math.inf if high is None else high)
    extra = [None if v is None else np.array(v, x.dtype) for v in (low, high)]
    check(op, [x], "Clip", extra=extra)


def test_clip_beyond_the_integers() -> None:
    x = np.array([-128, 0, 127], np.int8)
    assert evaluate(ops.Clip(-1000, 1000), [x])[0].tolist() == [-128, 0, 127]
    assert evaluate(ops.Clip(-1.5, 1.5), [x])[0].tolist() == [-1, 0, 1]
    assert evaluate(ops.Clip(500, 900), [x])[0].tolist() == [127, 127, 127]
    wide = np.array([-(2**63), 2**63 - 1], np.int64)
    assert evaluate(ops.Clip(), [wide])[0].tolist() == wide.tolist()


def test_clip_keeps_nan() -> None:
    y = evaluate(ops.Clip(0, 6), [SPECIAL])[0]
    assert np.isnan(y[-1])
    assert y[-2] == 6
    assert y[-3] == 0


@cases(negative=(0, 1), positive=(0, 1))
def test_is_inf(case: dict) -> None:
    attributes = {"detect_negative": case["negative"], "detect_positive": case["positive"]}
    check(ops.IsInf(case["negative"], case["positive"]), [SPECIAL], "IsInf", attributes)


@cases(slope=((5,), (3, 1), (1,), (2, 3, 5)), dtype=(np.float32, np.int32))
def test_prelu(case: dict) -> None:
    if case["dtype"] is np.int32:
        x, slope = random((2, 3, 5), np.int32), random(case["slope"], np.int32)
        same(evaluate(ops.PRelu(), [x, slope])[0], np.where(x >= 0, x, x * slope))
    else:
        check(ops.PRelu(), [random((2, 3, 5)), random(case["slope"])], "PRelu", tolerance=1e-7)


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float16, np.int8, np.uint8, np.int32, np.int64, np.bool_]
)
def test_where(dtype: type) -> None:
    cond, x, y = random((3, 1), bool), random((3, 4), dtype), random((2, 1, 4), dtype)
    if dtype in (np.int8, np.float16, np.bool_):
        same(evaluate(ops.Where(), [cond, x, y])[0], np.where(cond, x, y))
    else:
        check(ops.Where(), [cond, x, y], "Where")


@cases(source=list(DType), target=list(DType))
def test_cast(case: dict) -> None:
    source, target = case["source"].numpy, case["target"].numpy
    low = 0 if target.kind == "u" else -100
    x = random((50,), source, low, 100)
    attributes = {"to": onnx_type(case["target"])}
    check(ops.Cast(case["target"]), [x], "Cast", attributes)


def onnx_type(dtype: DType) -> int:
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(dtype.numpy)


def test_cast_wraps_integers_and_rounds_halves() -> None:
    x = np.array([300, -1, 128, -129], np.int64)
    for target in (DType.U8, DType.I8, DType.I16):
        check(ops.Cast(target), [x], "Cast", {"to": onnx_type(target)})
    y = np.array([1 + 2**-11, 1 + 3 * 2**-11, 70000, np.nan], np.float32)
    expected = onnx_run("Cast", [y], {"to": onnx_type(DType.F16)})[0]
    same(evaluate(ops.Cast(DType.F16), [y])[0], expected)
    truth = evaluate(ops.Cast(DType.BOOL), [SPECIAL])[0]
    assert truth.tolist() == [bool(v) for v in SPECIAL]


def test_every_binary_function_was_tested() -> None:
    assert set(BINARY) == set(BINARY_TWINS) | {"ne", "pow", "shl", "shr"}
