"""Results do not depend on how work is cut: into tiles, parts of sums, and commands."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nntc.backend import CompileOptions, compile_graph, group, grouping, matmul, moves, stream
from nntc.backend.group import Group, Tiling
from nntc.backend.legalize import norms
from nntc.core.dtype import DType
from nntc.core.errors import UnsupportedError
from nntc.ir import interpret, ops
from nntc.ir.graph import Graph, Op
from tests.backend.harness import Arrays, differences, run, run_compiled, several, single

CONV = ops.Conv((2, 1), (1, 2, 1, 0), (1, 2))
WINDOWS: list[tuple[Op, str]] = [
    (CONV, "f32[3x70x14x12] =f32[135x70x3x3] =f32[135]"),
    (CONV, "f32[3x70x14x12] f32[135x70x3x3] f32[135]"),
    (ops.Conv((1, 1), (1, 1, 1, 1), (1, 1), 2), "f32[2x260x9x8] =f32[260x130x3x3] =f32[260]"),
    (ops.Conv((1, 1), (1, 1, 1, 1), (1, 1), 130), "f32[3x130x9x12] =f32[130x1x3x3] =f32[130]"),
    (ops.Conv((2,), (1, 1), (1,)), "f32[3x9x31] =f32[70x9x3]"),
    (
        ops.ConvTranspose((2, 3), (1, 0, 1, 0), (1, 1), 1, (0, 1)),
        "f32[3x66x7x6] =f32[66x70x3x3] =f32[70]",
    ),
    (ops.ConvTranspose((2, 2), (0, 0, 0, 0), (1, 1), 66, (0, 0)), "f32[2x66x7x6] =f32[66x1x2x2]"),
    (ops.MaxPool((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)), "f32[3x130x15x13]"),
    (ops.AveragePool((3, 2), (1, 1), (1, 0, 1, 1), (1, 1), True), "f32[3x130x9x13]"),
]
POINTWISE: list[tuple[Op, str]] = [
    (ops.Unary("gelu"), "f32[3x130x9x12]"),
    (ops.Binary("add"), "f32[3x130x9x12] f32[130x1x1]"),
    (ops.Binary("mul"), "f32[3x1x9x1] f32[1x130x1x12]"),
    (ops.Where(), "bool[3x130x9x12] f32[9x12] f32[130x1x1]"),
    (ops.Softmax(3), "f32[3x130x9x12]"),
    (ops.Softmax(2), "f32[3x130x9x12]"),
    (ops.LayerNorm(2, 1e-5), "f32[3x130x9x12] f32[9x12] f32[9x12]"),
    (ops.Reduce("sum", (3,)), "f32[3x130x9x12]"),
    (ops.Cast(DType.U8), "f32[3x130x9x12]:0:200"),
]
CUTS = [
    Tiling(n=3),
    Tiling(c=3),
    Tiling(h=3),
    Tiling(h=100),
    Tiling(w=4),
    Tiling(w=100),
    Tiling(n=2, c=2, h=2, w=2),
    Tiling(n=2, c=2, h=2, w=2, channels_outside=False),
    Tiling(c=3, h=3, channels_outside=False),
]
PARTS = [Tiling(parts=2), Tiling(parts=5), Tiling(c=2, h=2, parts=35)]


def force(monkeypatch: pytest.MonkeyPatch, wanted: Tiling) -> list[Tiling]:
    """Make every group take this tiling as far as its limits allow; returns what they took."""
    taken: list[Tiling] = []

    def choose(self: Group) -> None:
        limits = self._limits()
        cuts = {
            k: min(getattr(wanted, k), getattr(limits, k)) for k in ("n", "c", "h", "w", "parts")
        }
        self.tiling = Tiling(**cuts, channels_outside=wanted.channels_outside)
        taken.append(self.tiling)

    monkeypatch.setattr(Group, "choose_tiling", choose)
    return taken


def same(one: Arrays, two: Arrays) -> None:
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name], err_msg=name)


@pytest.mark.parametrize("tiling", CUTS, ids=str)
@pytest.mark.parametrize(("op", "operands"), WINDOWS + POINTWISE)
def test_tiles_change_no_bit(
    op: Op, operands: str, tiling: Tiling, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, inputs = single(op, operands)
    whole = run(graph, inputs)
    taken = force(monkeypatch, tiling)
    cut = run(graph, inputs)
    assert all(t.parts == 1 for t in taken)
    same(whole, cut)


def test_the_forced_tilings_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the test above would compare a tiling with itself."""
    graph, _ = several(WINDOWS)
    for tiling in (*CUTS, *PARTS):
        with monkeypatch.context() as patch:
            taken = force(patch, tiling)
            compile_graph(graph)
            assert max(t.count for t in taken) > 1


@pytest.mark.parametrize("tiling", PARTS, ids=str)
@pytest.mark.parametrize(("op", "operands"), [*WINDOWS[:3], *WINDOWS[4:6]])
def test_parts_of_the_input_channels(
    op: Op, operands: str, tiling: Tiling, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, inputs = single(op, operands)
    wanted = interpret.run(graph, inputs)
    taken = force(monkeypatch, tiling)
    problems = differences(run(graph, inputs), wanted, 2e-6)
    assert not problems, problems
    assert max(t.parts for t in taken) > 1


@pytest.mark.parametrize("target", [2048, 4096, 8192])
def test_chosen_tilings_fit_little_memory(target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With small limits the chooser itself cuts: fewer bytes, more tiles, the same results."""
    graph, inputs = several(WINDOWS[:4] + POINTWISE)
    wanted = interpret.run(graph, inputs)
    whole = compile_graph(graph)
    monkeypatch.setattr(group, "TARGET_BYTES", target)
    monkeypatch.setattr(group, "LIMIT_BYTES", 2 * target)
    result = compile_graph(graph)
    assert result.statistics["steps"] > whole.statistics["steps"]
    problems = differences(run_compiled(graph, result, inputs), wanted, 2e-6)
    assert not problems, problems


def test_what_cannot_be_cut_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "TARGET_BYTES", 128)
    monkeypatch.setattr(group, "LIMIT_BYTES", 256)
    graph, _ = single(ops.Softmax(1), "f32[200x1000]")
    with pytest.raises(UnsupportedError, match="Softmax: the smallest tile needs"):
        compile_graph(graph)


def fused() -> tuple[Graph, Arrays]:
    """A convolution with everything that may follow it in one group, and a residual."""
    rng = np.random.default_rng(3)

    def constant(*shape: int) -> np.ndarray:
        return rng.uniform(-0.2, 0.2, shape).astype(np.float32)

    graph = Graph("fused")
    x = graph.input("x", DType.F32, (2, 70, 13, 11))
    y = graph.add(CONV, x, graph.constant(constant(70, 70, 3, 3))).output
    y = graph.add(ops.BatchNorm(), y, *(graph.constant(constant(70) + 1) for _ in range(4))).output
    y = graph.add(ops.Unary("silu"), y).output
    gate = graph.add(ops.Reduce("mean", (2, 3)), y).output
    y = graph.add(ops.Binary("mul"), y, graph.add(ops.Unary("sigmoid"), gate).output).output
    z = graph.add(ops.Conv((1, 1), (1, 1, 1, 1), (1, 1)), y, graph.constant(constant(70, 70, 3, 3)))
    y = graph.add(ops.Binary("add"), z.output, y).output
    graph.outputs = [graph.add(ops.Unary("relu"), y).output, gate]
    return graph, {"x": rng.standard_normal((2, 70, 13, 11)).astype(np.float32)}


@pytest.mark.parametrize("tiling", CUTS, ids=str)
def test_tiles_of_fused_groups(tiling: Tiling, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, inputs = fused()
    whole = run(graph, inputs)
    problems = differences(whole, interpret.run(graph, inputs), 2e-6)
    assert not problems, problems
    force(monkeypatch, tiling)
    same(whole, run(graph, inputs))


def test_groups_change_no_bit() -> None:
    graph, inputs = fused()
    separate = compile_graph(graph, CompileOptions(opt=0))
    together = compile_graph(graph)
    assert separate.statistics["groups"] > together.statistics["groups"]
    same(run_compiled(graph, separate, inputs), run_compiled(graph, together, inputs))


def test_the_number_of_kernels_in_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, inputs = fused()
    whole = run(graph, inputs)
    for most in (2, 3):
        monkeypatch.setattr(grouping, "MAX_KERNELS", most)
        same(whole, run(graph, inputs))


@pytest.mark.parametrize("limit", [1, 3, 20])
def test_command_groups_change_no_bit(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, inputs = fused()
    whole = run(graph, inputs)
    monkeypatch.setattr(stream, "GROUP_LIMIT", limit)
    result = compile_graph(graph)
    assert len(result.model.nets[0].stages[0].subnets[0].groups) > 1
    same(whole, run_compiled(graph, result, inputs))


MATRICES = [
    "f32[37x70] =f32[70x130] =f32[130]",
    "f32[37x70] f32[70x130] f32[37x130]",
    "f32[2x5x33] f32[2x33x7]",
    "f32[1x99] =f32[99x1]",
]


@pytest.mark.parametrize("operands", MATRICES)
@pytest.mark.parametrize(
    ("rows", "columns", "inner"), [(5, 2048, 768), (256, 32, 768), (256, 64, 8), (7, 96, 2)]
)
def test_tiles_of_matrix_products(
    operands: str, rows: int, columns: int, inner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul, "MAX_ROWS", rows)
    monkeypatch.setattr(matmul, "MAX_COLUMNS", columns)
    monkeypatch.setattr(matmul, "MAX_INNER", inner)
    graph, inputs = single(ops.MatMul(), operands)
    problems = differences(run(graph, inputs), interpret.run(graph, inputs), 2e-6)
    assert not problems, problems


@pytest.mark.parametrize("limit", [64, 100, 1000])
def test_stages_of_long_reductions(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prime lengths are padded, others are cut evenly."""
    monkeypatch.setattr(norms, "ROW_LIMIT", limit)
    parts = [
        (ops.Reduce(fn, axes), f"f32[{shape}]:0.9:1.1")
        for fn in ("sum", "mean", "max", "min", "prod")
        for axes, shape in [((1,), "3x1009x2"), ((0, 1), "64x32x3"), ((1, 2), "2x47x53")]
    ]
    parts += [(ops.Softmax(1), "f32[2x5003]"), (ops.ArgReduce("max", 0), "f32[4096x2]")]
    graph, inputs = several(parts)
    problems = differences(run(graph, inputs), interpret.run(graph, inputs), 2e-5)
    assert not problems, problems


@pytest.mark.parametrize("most", [2, 7, 100])
def test_sizes_of_copies(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "MAX_SIZE", most)
    parts: list[tuple[Op, str]] = [
        (ops.Transpose((2, 0, 1)), "f32[5x13x9]"),
        (ops.Pad((1, 2, 3, 4)), "f32[11x13]"),
        (ops.Concat(1), "f32[3x11] f32[3x9]"),
        (ops.Slice((1, 12), (9, -1), (2, -3)), "f32[9x13]"),
        (ops.Tile((2, 3)), "f32[5x7]"),
    ]
    graph, inputs = several(parts)
    same(run(graph, inputs), interpret.run(graph, inputs))


def test_bytes_that_a_large_image_needs() -> None:
    """An image far larger than local memory is cut along its rows first."""
    graph, _ = single(ops.Conv((1, 1), (1, 1, 1, 1), (1, 1)), "f32[1x32x300x300] =f32[32x32x3x3]")
    result = compile_graph(graph)
    rows = math.ceil(300 * 300 * 8 / group.LIMIT_BYTES)
    assert rows <= result.statistics["steps"] <= 8 * rows
