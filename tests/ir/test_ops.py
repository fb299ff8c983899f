"""What holds for all operators."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest

from nntc.core.dtype import DType
from nntc.core.errors import ModelError
from nntc.ir import ops
from nntc.ir.graph import Graph, Op, attribute_kinds, operand_parameters
from nntc.ir.interpret import evaluate, run
from nntc.ir.text import parse_graph, print_graph
from nntc.ir.verify import verify
from tests.ir.examples import EXAMPLES, graph_of, kinds

IDS = [f"{op.name}-{text.replace(' ', ',')}" for op, text in EXAMPLES]


def test_every_operator_is_exported_and_has_an_example() -> None:
    modules = [
        "elementwise",
        "nn",
        "norm",
        "reduce",
        "shape",
        "index",
        "vision",
        "detection",
        "fixed",
    ]
    defined = {
        name
        for module in modules
        for name, item in vars(getattr(ops, module)).items()
        if inspect.isclass(item) and issubclass(item, Op) and item is not Op
        if item.__module__ == f"nntc.ir.ops.{module}" and not name.startswith("_")
    }
    assert defined == set(ops.OPS) == set(ops.__all__) - {"OPS"}
    assert defined == {op.name for op, _ in EXAMPLES}


@pytest.mark.parametrize("kind", ops.OPS.values(), ids=ops.OPS.keys())
def test_an_operator_is_documented_and_frozen(kind: type[Op]) -> None:
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert kind.name == kind.__name__
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")
    assert operand_parameters(kind)
    attribute_kinds(kind)


@pytest.mark.parametrize(("op", "operands"), EXAMPLES, ids=IDS)
def test_operators_compare_by_value(op: Op, operands: str) -> None:
    twin = type(op)(**op.attributes())  # type: ignore[call-arg]
    assert twin == op
    assert hash(twin) == hash(op)
    for field in dataclasses.fields(op):  # type: ignore[arg-type]
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(op, field.name, None)


@pytest.mark.parametrize(("op", "operands"), EXAMPLES, ids=IDS)
def test_print_parse_verify(op: Op, operands: str) -> None:
    graph = graph_of(op, operands)
    verify(graph)
    text = print_graph(graph)
    back = parse_graph(text)
    assert print_graph(back) == text
    assert back.nodes[0].op == op


@pytest.mark.parametrize(("op", "operands"), EXAMPLES, ids=IDS)
def test_compute_gives_what_infer_promises(op: Op, operands: str) -> None:
    """On zeros and ones; the interpreter compares types and shapes."""
    graph = graph_of(op, operands)
    for fill in (0, 1):
        given = {v.name: np.full(v.shape, fill, v.dtype.numpy) for v in graph.inputs}
        if op.name == "RoiAlign":
            given["x2"][:] = 0
        if op.name == "RoiPool":
            given["x1"][:] = 0
        held = {name: array.copy() for name, array in given.items()}
        result = run(graph, given)
        assert list(result) == [v.name for v in graph.outputs]
        for name, array in given.items():
            np.testing.assert_array_equal(array, held[name])


EMPTY = [
    (op, text.replace("f32[1x4x8x8]", f"f32[{shape}]", 1))
    for op, text in EXAMPLES
    for shape in ("0x4x8x8", "2x4x0x8", "2x0x8x8")
    if text.startswith("f32[1x4x8x8]")
]
SCALARS: list[tuple[Op, str]] = [
    (ops.GridSample(), "f32[0x4x8x8] f32[0x2x2x2]"),
    (ops.GridSample(), "f32[2x4x8x8] f32[2x0x2x2]"),
    (ops.RoiAlign(), "f32[2x4x8x8] f32[0x4] i64[0]"),
    (ops.NonMaxSuppression(max_output=3), "f32[2x0x4] f32[2x3x0]"),
    (ops.ConvTranspose((1,), (0, 0), (1,), 2, (0,)), "f32[0x4x8] f32[4x0x3]"),
    (ops.RMSNorm(1), "f32[0x4] f32[4]"),
    (ops.RMSNorm(1), "f32[4x0] f32[0]"),
    (ops.MatMul(), "f32[0x3] f32[3x4]"),
    (ops.MatMul(), "i32[2x0] i32[0x4]"),
    (ops.CumSum(0), "f32[0]"),
    (ops.TopK(0, 0), "f32[0]"),
    (ops.DepthToSpace(2), "f32[0x4x2x2]"),
    (ops.Unary("erf"), "f32[]"),
    (ops.Binary("div"), "i32[] i32[]"),
    (ops.Clip(0, 6), "f32[]"),
    (ops.PRelu(), "f32[] f32[]"),
    (ops.Where(), "bool[] f32[] f32[]"),
    (ops.Cast(DType.F32), "i64[]"),
    (ops.MatMul(), "f32[3] f32[3]"),
    (ops.Reduce("sum", ()), "f32[]"),
    (ops.Reduce("sum", (0,), False), "f32[4]"),
    (ops.ArgReduce("max", 0, False), "f32[4]"),
    (ops.Reshape((1, 1)), "f32[]"),
    (ops.Reshape(()), "f32[1]"),
    (ops.Transpose(()), "f32[]"),
    (ops.Slice((), (), ()), "f32[]"),
    (ops.Pad(()), "f32[]"),
    (ops.Pad((), "edge"), "f32[]"),
    (ops.Expand((2, 3)), "f32[]"),
    (ops.Expand(()), "f32[]"),
    (ops.Tile(()), "f32[]"),
    (ops.Gather(0), "f32[4] i64[]"),
    (ops.Gather(0), "f32[4] i64[0]"),
    (ops.GatherND(0), "f32[4] i64[1]"),
    (ops.ScatterND(), "f32[4] i64[1] f32[]"),
    (ops.OneHot(0, 4), "i64[] f32[2]"),
]


@pytest.mark.parametrize(("op", "operands"), [*EMPTY, *SCALARS], ids=str)
def test_empty_tensors_and_scalars(op: Op, operands: str) -> None:
    """Where the shape rule allows them they compute, and give arrays."""
    try:
        graph = graph_of(op, operands)
    except ModelError:
        assert "0" in operands
        return
    given = {v.name: np.ones(v.shape, v.dtype.numpy) for v in graph.inputs}
    if op.name == "RoiAlign":
        given["x2"][:] = 0
    if op.name == "RoiPool":
        given["x1"][:] = 0
    try:
        run(graph, given)
    except ModelError as err:
        assert "is outside" in str(err)  # noqa: PT017


@pytest.mark.parametrize(("op", "operands"), EXAMPLES, ids=IDS)
def test_too_many_and_too_few_operands(op: Op, operands: str) -> None:
    types = kinds(operands)
    graph = Graph()
    values = [None if t is None else graph.input("x", t.dtype, t.shape) for t in types]
    parameters = operand_parameters(type(op))
    with pytest.raises(ModelError, match=op.name):
        graph.add(op)
    if parameters[-1].kind is not inspect.Parameter.VAR_POSITIONAL:
        spare = [None] * (len(parameters) - len(values))
        with pytest.raises(ModelError, match=r"takes the operands .*\d given"):
            graph.add(op, *values, *spare, values[0])
    with pytest.raises(ModelError, match=r"absent"):
        graph.add(op, None, *values[1:])


def test_attributes_take_their_declared_types() -> None:
    op = ops.Conv([1, np.int64(2)], np.zeros(4, np.int32), (1, 1), np.int8(3))  # type: ignore
    assert op == ops.Conv((1, 2), (0, 0, 0, 0), (1, 1), 3)
    assert {type(v) for v in (*op.strides, *op.pads, op.group)} == {int}
    assert type(ops.LeakyRelu(1).alpha) is float
    assert type(ops.LeakyRelu(np.float32(0.5)).alpha) is float  # type: ignore[arg-type]
    assert ops.Reduce("sum", (0,), 1).keepdims is True  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ops.Softmax("1"), "Softmax: attribute axis must be an integer of 64 bits"),
        (lambda: ops.Softmax(1.0), "an integer of 64 bits, not 1.0"),
        (lambda: ops.Softmax(True), "an integer of 64 bits, not True"),
        (lambda: ops.Softmax(1 << 63), "an integer of 64 bits"),
        (lambda: ops.Transpose(1), "perm must be a tuple of int, not 1"),
        (lambda: ops.Transpose((0, "1")), "perm must be an integer of 64 bits, not '1'"),
        (lambda: ops.LeakyRelu("x"), "alpha must be a number, not 'x'"),
        (lambda: ops.Reduce("sum", (), 2), "keepdims must be true or false, not 2"),
        (lambda: ops.Pad((), "mirror"), "one of constant, edge, reflect, wrap, not 'mirror'"),
        (lambda: ops.Cast("f32"), "to must be one of f32, f16"),
        (lambda: ops.Unary(3), "fn must be a string, not 3"),
    ],
)
def test_attributes_of_another_kind(make: object, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        make()  # type: ignore[operator]
    assert message in str(caught.value)


REFUSALS = [
    (ops.Unary("sine"), "f32[1]", "unknown function sine, known are abs"),
    (ops.Unary("exp"), "i32[1]", "exp: x is i32, allowed are f32, f16, f64"),
    (ops.Binary("add"), "f32[1] i32[1]", "differ in element type: a f32, b i32"),
    (ops.Binary("add"), "f32[2x3] f32[2]", "shapes (2, 3) and (2,) do not broadcast"),
    (ops.Binary("and"), "f32[1] f32[1]", "and: a is f32, allowed are bool"),
    (ops.Celu(0.0), "f32[1]", "alpha must not be 0"),
    (ops.PRelu(), "f32[2] f32[3x2]", "slope of shape (3, 2) does not broadcast to (2,)"),
    (ops.Where(), "f32[1] f32[1] f32[1]", "cond is f32, allowed are bool"),
    (ops.Conv((1,), (0,) * 4, (1, 1)), f"{'f32[1x3x8x8]'} f32[4x3x3x3]", "strides has 1 entries"),
    (ops.Conv((0, 1), (0,) * 4, (1, 1)), "f32[1x3x8x8] f32[4x3x3x3]", "strides (0, 1) must be"),
    (ops.Conv((1, 1), (-1, 0, 0, 0), (1, 1)), "f32[1x3x8x8] f32[4x3x3x3]", "must be at least 0"),
    (ops.Conv((1, 1), (0,) * 4, (1, 1)), "f32[1x3x8x8] f32[4x2x3x3]", "w takes 2 channels a group"),
    (ops.Conv((1, 1), (0,) * 4, (1, 1), 2), "f32[1x3x8x8] f32[4x2x3x3]", "do not split in 2"),
    (ops.Conv((1, 1), (0,) * 4, (1, 1)), "f32[1x3x2x8] f32[4x3x3x3]", "do not fit"),
    (ops.Conv((1, 1), (0,) * 4, (1, 1)), "f32[1x3x8x8] f32[4x3x3x3] f32[3]", "f32[4] is needed"),
    (ops.Conv((1, 1), (0,) * 4, (1, 1)), "f32[3x8] f32[4x3]", "x has rank 2, 3 to 5 is needed"),
    (
        ops.ConvTranspose((1, 1), (9,) * 4, (1, 1), 1, (0, 0)),
        "f32[1x3x8x8] f32[3x4x3x3]",
        "the result would have the spatial shape (-8, -8)",
    ),
    (ops.MatMul(), "f32[3x4] f32[5x4]", "a has 4 columns, b has 5 rows"),
    (ops.MatMul(True), "f32[4] f32[4x5]", "a is a vector, it cannot be transposed"),
    (ops.MatMul(), "f32[] f32[4x5]", "a is a scalar"),
    (ops.MatMul(), "f32[3x4] f32[4x5] f32[2x3x5]", "bias of shape (2, 3, 5) does not broadcast"),
    (
        ops.MaxPool((2, 2), (1, 1), (2, 0, 0, 0), (1, 1)),
        "f32[1x1x8x8]",
        "pads 2 and 0 of spatial axis 0 must be smaller than the window's 2",
    ),
    (ops.BatchNorm(), "f32[1x3] f32[3] f32[3] f32[3] f32[4]", "var is f32[4], f32[3] is needed"),
    (ops.LayerNorm(-1), "f32[3x4]", "axis -1 is outside 0 ... 1"),
    (ops.GroupNorm(2), "f32[1x3x4] f32[3] f32[3]", "3 channels of x do not split in 2 groups"),
    (ops.LpNorm(3, 0), "f32[4]", "p is 3, 1 or 2 is needed"),
    (ops.Softmax(0), "f32[]", "axis 0 is outside"),
    (ops.Reduce("sum", (1, 1)), "f32[3x4]", "axes (1, 1) name an axis twice"),
    (ops.Reduce("median", (1,)), "f32[3x4]", "unknown function median"),
    (ops.ArgReduce("max", 0), "f32[0x4]", "axis 0 of x is empty"),
    (ops.Reshape((-1, 2)), "f32[4]", "shape (-1, 2) must be at least 0"),
    (ops.Reshape((3, 2)), "f32[4]", "x has 4 elements, shape (3, 2) holds 6"),
    (ops.Transpose((0, 0)), "f32[4x4]", "perm (0, 0) is no permutation of 2 axes"),
    (ops.Concat(0), "f32[4x4] f32[4x5]", "operand 1 (f32[4x5]) differs from operand 0"),
    (ops.Slice((0,), (5,), (1,)), "f32[4]", "axis 0: start 0 and end 5 with step 1"),
    (ops.Slice((0,), (4,), (0,)), "f32[4]", "step of axis 0 is 0"),
    (ops.Pad((-3, -2)), "f32[4]", "pads -3, -2 cut more than the 4 of axis 0"),
    (ops.Pad((4, 0), "reflect"), "f32[4]", "must be smaller than its size 4"),
    (ops.Pad((1, 0), "edge"), "f32[0]", "axis 0 is empty"),
    (ops.Pad((1, 0), value=float("inf")), "i8[4]", "value inf does not exist in i8"),
    (ops.Pad((1, 0), value=-1.0), "u8[4]", "value -1.0 does not exist in u8"),
    (ops.Expand((3, 2)), "f32[3x4]", "x of shape (3, 4) does not broadcast to (3, 2)"),
    (ops.DepthToSpace(2), "f32[1x6x2x2]", "6 channels do not split in blocks of 2x2"),
    (ops.SpaceToDepth(2), "f32[1x6x2x3]", "2x3 does not split in blocks of 2x2"),
    (ops.Gather(0), "f32[4] f32[1]", "indices is f32, allowed are i32, i64"),
    (ops.GatherElements(0), "f32[4x4] i64[2x5]", "indices (2, 5) are larger than x (4, 4)"),
    (ops.GatherND(2), "f32[4x4] i64[4x4]", "batch_dims 2 is outside 0 ... 1"),
    (ops.ScatterND(), "f32[4x4] i64[3x3] f32[3]", "rows of indices have 3 entries, 1 to 2"),
    (ops.ScatterND("add"), "bool[4] i64[3x1] bool[3]", "x is bool"),
    (ops.OneHot(2, 3), "i64[4] f32[2]", "axis 2 is outside 0 ... 1"),
    (ops.ReverseSequence(1, 1), "f32[3x4] i64[4]", "are the same"),
    (ops.TopK(5, 0), "f32[4]", "k is 5, axis 0 of x has 4"),
    (ops.Resize((2,), (0.0,)), "f32[4]", "scales (0.0,) must be positive"),
    (ops.Resize((2,), (0.1,)), "f32[4]", "scale 0.1 does not take 4 elements to 2"),
    (ops.Resize((2,), (2.0,)), "f32[4]", "scale 2.0 does not take 4 elements to 2"),
    (ops.Resize((2,), (0.5,), roi=(0, 1)), "f32[4]", "roi has no meaning with half_pixel"),
    (ops.GridSample("cubic"), "f32[1x1x2x2x2] f32[1x2x2x2x3]", "cubic needs 2 spatial axes"),
    (ops.RoiAlign(), "f32[1x1x4x4] f32[3x5] i64[3]", "rois has rows of 5 numbers"),
    (ops.DetectionOutput(2), "f32[1x36] f32[1x18] f32[1x2x32]", "do not fit"),
    (ops.DetectionOutput(2), "f32[1x36] f32[1x27] f32[1x2x36]", "(1, 18) is needed"),
    (ops.DetectionOutput(2, eta=0.0), "f32[1x36] f32[1x18] f32[1x2x36]", "eta is 0.0"),
    (ops.RoiPool(2, 2), "f32[1x1x4x4] f32[3x4]", "rois has rows of 4 numbers"),
    (ops.NonMaxSuppression(iou=1.5), "f32[1x3x4] f32[1x1x3]", "iou is 1.5"),
    (ops.NonMaxSuppression(), "f32[1x3x4] f32[1x1x2]", "boxes are (1, 3, 4)"),
]


@pytest.mark.parametrize(("op", "operands", "message"), REFUSALS, ids=[r[2] for r in REFUSALS])
def test_refusal(op: Op, operands: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        graph_of(op, operands)
    text = str(caught.value)
    assert message in text
    assert text.startswith(f"{op.name}: ")
    assert "\n" not in text


def test_evaluate_checks_its_operands() -> None:
    with pytest.raises(ModelError, match="exp: x is i32"):
        evaluate(ops.Unary("exp"), [np.zeros(3, np.int32)])


def test_an_operator_that_breaks_its_promise_is_caught() -> None:
    class Broken(Op):
        def infer(self, x):  # type: ignore[no-untyped-def]
            return (x,)

        def compute(self, x):  # type: ignore[no-untyped-def]
            return (x.astype(np.float64),)

    broken = dataclasses.dataclass(frozen=True)(Broken)()
    with pytest.raises(TypeError, match=r"Broken: compute gave .*float64.*, infer promised f32"):
        evaluate(broken, [np.zeros(3, np.float32)])


def test_dtype_of_every_kind() -> None:
    assert {DType.of(np.zeros(1, d.numpy)) for d in DType} == set(DType)
