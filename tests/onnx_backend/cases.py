"""The test cases that the onnx package ships, classified for a static float32 network.

``all_cases()`` lists them; ``judge(case, run)`` runs one through a callable and says what came
out; ``table(...)`` counts. The callable gets the case and returns the outputs by name, so the same
cases judge the graph (NumPy) and a compiled network.
"""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper

from nntc.core.errors import ModelError, UnsupportedError, UserError

Arrays = Mapping[str, np.ndarray]
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")

# Operands that set shapes or choose algorithms. The tests pass them as inputs; a compiled network
# needs to know them, so they are fixed while it is compiled.
_REDUCE = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
PARAMETERS: dict[str, tuple[int, ...]] = {
    **{f"Reduce{fn}": (1,) for fn in _REDUCE},
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "Compress": (1,),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "Loop": (0, 1),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2, 3, 4),
    "NonZero": (0,),
    "OneHot": (1,),
    "Pad": (1, 2, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "SplitToSequence": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unique": (0,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}

_T = TensorProto
_STATIC = {
    _T.FLOAT: "float32",
    _T.BOOL: "bool",
    **dict.fromkeys(
        (_T.INT8, _T.UINT8, _T.INT16, _T.UINT16, _T.INT32, _T.UINT32, _T.INT64, _T.UINT64), "int"
    ),
}
_OTHER_FLOAT = {_T.DOUBLE: "float64", _T.FLOAT16: "float16", _T.BFLOAT16: "bfloat16"}
# Tests whose expectation ONNX Runtime does not share; its results are the ones to match.
DISPUTED: dict[str, str] = {
    "test_maxunpool_export_with_output_shape": "indices count in the shape before output_shape",
    "test_resize_downsample_scales_cubic_align_corners": "fractional length of the result",
    "test_resize_downsample_scales_linear_align_corners": "fractional length of the result",
}
_RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)


@dataclass(frozen=True)
class Case:
    """One test.

    Attributes:
        inputs: run-time inputs; other float types than float32 are converted already.
        constants: inputs to fix while compiling (shapes, axes, ...).
        expected: results; floats are float32.
        category: float32, int or bool (the static types), float64, float16 or bfloat16 (run in
            float32 instead), or the reason why it is excluded.
        excluded: the category is a reason.
        filled: results of a data-dependent length are filled with -1 to a static length.
    """

    name: str
    kind: str
    model: ModelProto
    inputs: Arrays
    constants: Arrays
    expected: Arrays
    category: str
    excluded: bool
    rtol: float
    atol: float
    filled: bool = False

    @property
    def is_static(self) -> bool:
        """Whether it counts among the static fp32/int/bool tests."""
        return not self.excluded and self.category in ("float32", "int", "bool")

    @property
    def ops(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(node.op_type for node in self.model.graph.node))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: array.shape for name, array in self.inputs.items()}


@dataclass(frozen=True)
class Outcome:
    """What came out of one case, and why: pass, refused, disputed, fail or excluded."""

    case: Case
    status: str
    reason: str = ""


@functools.cache
def all_cases(kinds: tuple[str, ...] = ("node",)) -> tuple[Case, ...]:
    """All cases of the given kinds, in the onnx package's order."""
    from onnx.backend.test.loader import load_model_tests

    cases: list[Case] = []
    parameters: dict[str, set[str]] = {}
    for kind in kinds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = load_model_tests(kind=kind)
        for item in found:
            cases += _cases(item, kind, parameters)
    return tuple(cases)


def _cases(item: Any, kind: str, parameters: dict[str, set[str]]) -> Iterable[Case]:
    model = item.model
    if model is None:
        model = onnx.load(str(Path(item.model_dir) / "model.onnx"))
    data_sets = item.data_sets or _stored(Path(item.model_dir), model)
    # A test of an operator's expansion has the operands of the operator's own test.
    base = item.name.split("_expanded")[0]
    fixed = parameters.setdefault(base, _parameters(model))
    weights = {t.name for t in model.graph.initializer}
    names = [v.name for v in model.graph.input if v.name not in weights]
    for number, (inputs, outputs) in enumerate(data_sets):
        category, excluded = _category(model, inputs, outputs)
        given = {} if excluded else dict(zip(names, map(_plain, inputs), strict=False))
        results = [v.name for v in model.graph.output]
        yield Case(
            name=item.name if len(data_sets) == 1 else f"{item.name}_{number}",
            kind=kind,
            model=model,
            inputs={n: a for n, a in given.items() if n not in fixed},
            constants={n: a for n, a in given.items() if n in fixed},
            expected={} if excluded else dict(zip(results, map(_plain, outputs), strict=True)),
            category=category,
            excluded=excluded,
            rtol=item.rtol,
            atol=item.atol,
            filled=any(n.op_type == "NonMaxSuppression" for n in model.graph.node),
        )


def _parameters(model: ModelProto) -> set[str]:
    inputs = {v.name for v in model.graph.input}
    return {
        node.input[index]
        for node in model.graph.node
        for index in PARAMETERS.get(node.op_type, ())
        if index < len(node.input) and node.input[index] in inputs
    }


def _stored(folder: Path, model: ModelProto) -> list[tuple[list[Any], list[Any]]]:
    """Data sets of a case that lies on disk."""
    sets: list[tuple[list[Any], list[Any]]] = []
    for data in sorted(folder.glob("test_data_set_*")):
        pair: list[list[Any]] = []
        for what in ("input", "output"):
            files = sorted(data.glob(f"{what}_*.pb"), key=lambda p: int(p.stem.split("_")[1]))
            infos = model.graph.input if what == "input" else model.graph.output
            pair.append([_read(f, v) for f, v in zip(files, infos, strict=False)])
        sets.append((pair[0], pair[1]))
    return sets


def _read(path: Path, info: onnx.ValueInfoProto) -> object:
    if info.type.WhichOneof("value") != "tensor_type":
        return []
    return numpy_helper.to_array(TensorProto.FromString(path.read_bytes()))


def _category(model: ModelProto, inputs: Iterable[Any], outputs: Iterable[Any]) -> tuple[str, bool]:
    """The category, and whether it excludes the case."""
    for domain in {node.domain for node in model.graph.node}:
        if domain == "ai.onnx.ml":
            return "classical machine learning (domain ai.onnx.ml)", True
        if "training" in domain:
            return "training", True
    types: set[int] = set()
    for info in (*model.graph.input, *model.graph.output):
        if info.type.WhichOneof("value") != "tensor_type":
            return "inputs or outputs are sequences or optionals", True
        types.add(info.type.tensor_type.elem_type)
    if _T.STRING in types:
        return "strings", True
    if any(node.op_type in _RANDOM for node in model.graph.node):
        return "random results", True
    if any(node.op_type == "ImageDecoder" for node in model.graph.node):
        return "decodes image files", True
    if any(isinstance(a, np.ndarray) and a.size == 0 for a in inputs) and not all(
        d.HasField("dim_value") for v in model.graph.input for d in v.type.tensor_type.shape.dim
    ):
        return "an input without elements, of a size that the model leaves open", True
    if types - set(_STATIC) - set(_OTHER_FLOAT):
        return "floats of 8 bits and less, integers below 8 bits", True
    for name in _OTHER_FLOAT:
        if name in types:
            return _OTHER_FLOAT[name], False
    for name in ("float32", "int"):
        if name in {_STATIC[t] for t in types}:
            return name, False
    return "bool", False


def _plain(data: Any) -> np.ndarray:
    """float32 instead of other float types."""
    array = numpy_helper.to_array(data) if isinstance(data, TensorProto) else np.asarray(data)
    if array.dtype.kind in "biu" or array.dtype == np.float32:
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


# -- judging ------------------------------------------------------------------------------------


def judge(case: Case, run: Callable[[Case], Arrays]) -> Outcome:
    """Run one case: refusals are told from failures, everything unexpected is a failure."""
    if case.excluded:
        return Outcome(case, "excluded", case.category)
    try:
        results = run(case)
    except UnsupportedError as err:
        return Outcome(case, "refused", err.problems[0])
    except (ModelError, UserError) as err:
        return Outcome(case, "fail", err.problems[0])
    except Exception as err:
        return Outcome(case, "fail", f"{type(err).__name__}: {err}")
    try:
        compare(case, results)
    except AssertionError as err:
        if case.name in DISPUTED:
            return Outcome(case, "disputed", DISPUTED[case.name])
        return Outcome(case, "fail", " ".join(str(err).split())[:300])
    return Outcome(case, "pass")


def compare(case: Case, results: Arrays) -> None:
    """Assert that results equal the expected ones, within the case's tolerance.

    float16 and bfloat16 expectations carry the rounding of their own type. Sums that cancel to
    nearly zero keep the rounding of their terms: 1e-6 of the result's range is always allowed.
    """
    assert list(results) == list(case.expected), f"outputs {list(results)}"
    rtol = {"float16": 1e-2, "bfloat16": 5e-2}.get(case.category, case.rtol)
    atol = {"float16": 1e-3, "bfloat16": 2e-2}.get(case.category, case.atol)
    for name, wanted in case.expected.items():
        got = results[name]
        if case.filled:
            extra = len(got) - len(wanted)
            wanted = np.pad(wanted, ((0, extra), (0, 0)), constant_values=-1)
        assert got.dtype == wanted.dtype, f"{name}: {got.dtype}, expected {wanted.dtype}"
        assert got.shape == wanted.shape, f"{name}: {got.shape}, expected {wanted.shape}"
        spread = np.abs(wanted[np.isfinite(wanted)]).max(initial=0)
        atol = max(atol, 1e-6 * float(spread)) if wanted.dtype.kind == "f" else atol
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol, err_msg=name)


def interpret(case: Case) -> Arrays:
    """Load, simplify, and run the graph in NumPy."""
    from nntc.frontends.onnx import load
    from nntc.ir import interpret as interpreter
    from nntc.passes import simplify

    graph = simplify(load_case(case, load))
    return interpreter.run(graph, case.inputs)


def load_case(case: Case, load: Callable[..., Any]) -> Any:
    """The case's graph, with its parameters fixed."""
    return load(case.model, case.shapes, constants=case.constants, strict=True)


def table(outcomes: Iterable[Outcome]) -> str:
    """Counts by category and status, as text."""
    statuses = ("pass", "refused", "disputed", "fail", "excluded")
    counts: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        key = outcome.case.category
        counts.setdefault(key, Counter())[outcome.status] += 1
    total = functools.reduce(lambda a, b: a + b, counts.values(), Counter())
    rows = [("category", *statuses)]
    rows += [(k, *(str(v[s]) for s in statuses)) for k, v in sorted(counts.items())]
    rows.append(("all", *(str(total[s]) for s in statuses)))
    width = max(len(row[0]) for row in rows)
    return "\n".join(
        f"{row[0]:<{width}}" + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows
    )
