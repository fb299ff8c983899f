"""Networks of 8-bit integers: NumPy meaning, simulator and the maker's C-model to the bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from nntc.backend import CompileOptions, check, compile_graph
from nntc.backend.assembler import Assembler, System
from nntc.backend.fixed_ops import pack_constant, word_shape
from nntc.backend.group import Group, Tiling
from nntc.backend.grouping import form_units
from nntc.backend.legalize import legalize
from nntc.backend.local import Local
from nntc.bmodel import encode
from nntc.core.dtype import DType
from nntc.core.errors import UnsupportedError
from nntc.ir import interpret, ops
from nntc.ir.graph import Graph, Value
from nntc.report.compare import simulate as simulate_values
from nntc.runtime import open_device
from tests.backend.harness import (
    Arrays,
    assert_same_bytes,
    differences,
    run,
    run_compiled,
    single,
)
from tests.backend.random_fixed import random_fixed
from tests.backend.test_random_graphs import sizes


def assert_exact(graph: Graph, inputs: Arrays, opt: int = 2, engine: str = "fast") -> None:
    problems = differences(run(graph, inputs, opt, engine), interpret.run(graph, inputs), 0)
    assert not problems, "\n".join(problems)


def try_seed(seed: int) -> None:
    """opt 0 and 2, either order of the two streams."""
    graph, inputs = random_fixed(seed, sizes(seed))
    wanted = interpret.run(graph, inputs)
    for opt, first in ((0, "gdma"), (2, "gdma"), (2, "tiu")):
        result = compile_graph(graph, CompileOptions(opt=opt))
        problems = differences(run_compiled(graph, result, inputs, first=first), wanted, 0)
        assert not problems, f"opt {opt}, {first} first: " + "\n".join(problems)


@pytest.mark.parametrize("seed", range(24))
def test_random_networks(seed: int) -> None:
    try_seed(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_many_random_networks(block: int) -> None:
    for seed in range(100 + 25 * block, 125 + 25 * block):
        try:
            try_seed(seed)
        except Exception as err:
            raise AssertionError(f"seed {seed}: {err}") from err


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50, 56))
def test_the_simulators_other_engine(seed: int) -> None:
    assert_exact(*random_fixed(seed, 6), engine="reference")


@pytest.mark.cmodel
@pytest.mark.parametrize("seed", range(200, 216))
def test_the_c_model_gives_the_same_bytes(seed: int, cmodel_libs: Path) -> None:
    """The maker's runtime, and the C-model alone in both orders with relocation."""
    graph, inputs = random_fixed(seed, sizes(seed))
    model = compile_graph(graph, CompileOptions(opt=2 if seed % 4 else 0)).model
    assert_same_bytes(model, inputs, open_device("cmodel", libs=cmodel_libs))
    for order in ("gdma", "tiu"):
        device = open_device("cmodel-commands", libs=cmodel_libs, order=order, relocate=True)
        assert_same_bytes(model, inputs, device)


def test_the_same_bytes_every_time() -> None:
    for seed in (3, 17):
        models = [encode(compile_graph(random_fixed(seed, 16)[0]).model) for _ in range(2)]
        assert models[0] == models[1]


# -- tilings ------------------------------------------------------------------------------------

CONV = ops.FixConv((2, 1), (1, 2, 1, 0), (1, 2), 1, 11, DType.U8)
WINDOWS = [
    (CONV, "i8[9x70x14x12]:-128:128 =i8[135x70x3x3]:-128:128 =i16[135]:-9000:9000"),
    (
        dataclasses.replace(CONV, narrow=3, shift=8, to=DType.I8),
        "u8[6x70x14x12]:0:256 =i8[135x70x3x3]:-128:128 =i16[135]:-9000:9000",
    ),
    (
        dataclasses.replace(CONV, group=2),
        "i8[5x260x9x8]:-128:128 =i8[260x130x3x3]:-128:128 =i16[260]:-9000:9000",
    ),
    (
        dataclasses.replace(CONV, group=130, shift=7, narrow=1),
        "i8[9x130x9x12]:-128:128 =i8[130x1x3x3]:-128:128 =i16[130]:-9000:9000",
    ),
    (
        dataclasses.replace(CONV, pads=(2, 1, 1, 2), pad_value=-77),
        "i8[9x70x14x12]:-128:128 =i8[135x70x3x3]:-128:128 =i16[135]:-9000:9000",
    ),
    (
        dataclasses.replace(CONV, group=2, narrow=3, shift=8, pad_value=200),
        "u8[5x260x9x8]:0:256 =i8[260x130x3x3]:-128:128 =i16[260]:-9000:9000",
    ),
    (
        dataclasses.replace(CONV, pads=(2, 2, 2, 2), group=130, shift=7, pad_value=255),
        "u8[3x130x9x12]:0:256 =i8[130x1x3x3]:-128:128 =i16[130]:-9000:9000",
    ),
    (
        ops.FixConvTranspose((2, 3), (1, 0, 1, 0), (1, 1), 1, (0, 1), 10, DType.I8),
        "i8[9x66x7x6]:-128:128 =i8[66x70x3x3]:-128:128 =i16[70]:-9000:9000",
    ),
    (
        ops.FixConvTranspose((2, 2), (0, 0, 0, 0), (1, 1), 66, (0, 0), 7, DType.U8, 2),
        "u8[6x66x7x6]:0:256 =i8[66x1x2x2]:-128:128 =i16[66]:-9000:9000",
    ),
]
CUTS = [
    Tiling(n=3),
    Tiling(c=3),
    Tiling(h=3),
    Tiling(w=4),
    Tiling(n=2, c=2, h=2, w=2),
    Tiling(c=3, h=3, channels_outside=False),
]


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: f"{w[0].name}-{w[1]}")
def test_cut_windows(
    window: tuple[ops.FixConv, str], cut: Tiling, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = force(cut, monkeypatch)
    assert_exact(*single(*window), opt=0)
    assert max(t.count for t in taken) > 1


def force(cut: Tiling, monkeypatch: pytest.MonkeyPatch) -> list[Tiling]:
    """Every group is cut in this way, as far as it can be; what was taken."""
    taken: list[Tiling] = []

    def choose(self: Group) -> None:
        limits = self._limits()
        self.tiling = dataclasses.replace(
            cut, **{d: min(getattr(cut, d), getattr(limits, d)) for d in "nchw"}
        )
        taken.append(self.tiling)

    monkeypatch.setattr(Group, "choose_tiling", choose)
    return taken


@pytest.mark.parametrize(
    ("pads", "cut", "wanted"),
    [
        ((1, 0, 1, 0), Tiling(h=4), 2),
        ((0, 2, 0, 1), Tiling(h=2), 4),
        ((1, 1, 1, 1), Tiling(h=3, w=3), 12),
        ((0, 0, 0, 0), Tiling(h=2), 0),
        # Tiles are kept for the next channels, with what was filled.
        ((1, 1, 1, 1), Tiling(c=2, h=2, channels_outside=False), 6),
    ],
)
def test_only_what_is_outside_the_image_is_filled(
    pads: tuple[int, ...], cut: Tiling, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    force(cut, monkeypatch)
    strips: list[Local] = []
    fill, load = Assembler.fill, Assembler.load

    def count(self: Assembler, out: Local, bits: int) -> None:
        strips.append(out)
        assert bits & 0xFFFFFFFF == 0x95959595
        fill(self, out, bits)

    def examine(self: Assembler, target: Local, source: System) -> None:
        # The C-model counts whole strides from the first element.
        words = target.word + target.shape.n * target.strides.n
        assert words * 4 <= target.buffer.size
        load(self, target, source)

    monkeypatch.setattr(Assembler, "fill", count)
    monkeypatch.setattr(Assembler, "load", examine)
    op = ops.FixConv((1, 1), pads, (1, 1), 1, 10, DType.I8, 0, -107)
    assert_exact(*single(op, "i8[5x6x12x13]:-128:128 =i8[70x6x3x3]:-128:128"), opt=0)
    assert len(strips) == wanted


@pytest.mark.parametrize("first", ["gdma", "tiu"])
@pytest.mark.parametrize("batch", [1, 5])
def test_padding_of_large_images(batch: int, first: str) -> None:
    """Chosen tilings; the image is read with its padding and, for the sum, without."""
    graph, x = start(batch, 24, 150, 260)
    rng = np.random.default_rng(5)
    for group in (24, 1):
        w = graph.constant(rng.integers(-128, 128, (24, 24 // group, 3, 3)).astype(np.int8))
        op = ops.FixConv((1, 1), (1,) * 4, (1, 1), group, 9, DType.I8, 0, -100)
        y = graph.add(op, x, w).output
        offset = graph.constant(rng.integers(-9000, 9000, 24).astype(np.int16))
        ka, kb = (graph.constant(np.array(k, np.int8)) for k in (90, 70))
        x = graph.add(ops.FixSum(7, DType.I8), y, ka, x, kb, offset).output
    graph.outputs.append(x)
    inputs = images(batch, 24, 150, 260)
    problems = differences(run(graph, inputs, first=first), interpret.run(graph, inputs), 0)
    assert not problems, "\n".join(problems)


def test_the_image_with_and_without_padding() -> None:
    """Both boxes are the same: the loaded tiles are not."""
    graph, x = start(4, 8, 9, 9)
    w = graph.constant(np.full((8, 1, 3, 3), 20, np.int8))
    op = ops.FixConv((1, 1), (1,) * 4, (1, 1), 8, 8, DType.I8, 0, 55)
    graph.outputs.append(fix_sum(graph, graph.add(op, x, w).output, x))
    assert_exact(graph, images(4, 8, 9, 9))
    units = [[n.op.name for n in u.nodes] for u in form_units(legalize(graph).graph)]
    assert ["Int8Conv", "Int8Sum"] in [names[:2] for names in units]


@pytest.mark.parametrize("batch", [1, 4, 6])
def test_images_larger_than_local_memory(batch: int) -> None:
    """Chosen tilings; a residual block of one group."""
    graph, x = start(batch, 24, 150, 260)
    y = convolve(graph, x, 40, 3, DType.U8)
    z = convolve(graph, y, 40, 3, DType.I8)
    graph.outputs.append(fix_sum(graph, y, z))
    assert_exact(graph, images(batch, 24, 150, 260))


# -- what is kept together -------------------------------------------------------------------------


def start(*shape: int, to: DType = DType.I8) -> tuple[Graph, Value]:
    graph = Graph("fixed")
    x = graph.input("x", DType.F32, shape)
    return graph, graph.add(ops.Quantize(to), x, graph.constant(np.array(40.0, np.float32))).output


def images(*shape: int) -> Arrays:
    rng = np.random.default_rng(1)
    return {"x": rng.uniform(-3, 3, shape).astype(np.float32)}


def convolve(graph: Graph, x: Value, m: int, k: int, to: DType, stride: int = 1) -> Value:
    rng = np.random.default_rng(m)
    w = graph.constant(rng.integers(-128, 128, (m, x.shape[1], k, k)).astype(np.int8))
    b = graph.constant(rng.integers(-9000, 9000, m).astype(np.int16))
    shift = round(6.5 + np.log2(x.shape[1] * k * k) / 2)
    op = ops.FixConv((stride,) * 2, (k // 2,) * 4, (1, 1), 1, shift, to)
    return graph.add(op, x, w, b).output


def fix_sum(graph: Graph, a: Value, b: Value, to: DType = DType.U8) -> Value:
    ka, kb = (graph.constant(np.array(k, np.int8)) for k in (90, 70))
    return graph.add(ops.FixSum(7, to), a, ka, b, kb).output


@pytest.mark.parametrize("batch", [1, 4])
def test_a_residual_block_is_one_group_a_convolution(batch: int) -> None:
    graph, x = start(batch, 16, 20, 20)
    y = convolve(graph, x, 16, 3, DType.U8)
    z = fix_sum(graph, convolve(graph, y, 16, 3, DType.I8), x)
    table = np.arange(256, dtype=np.uint8)[::-1].copy()
    z = graph.add(ops.Lut(), z, graph.constant(table)).output
    graph.outputs.append(z)
    assert_exact(graph, images(batch, 16, 20, 20))
    names = [[n.op.name for n in u.nodes] for u in form_units(legalize(graph).graph)]
    assert ["Int8Conv"] in names
    joined = [n for n in names if n[0] == "Int8Conv" and len(n) > 1]
    assert joined
    assert joined[0][:3] == ["Int8Conv", "Int8Sum", "Int8Lut"]


def test_an_island_of_one_sample_stays_in_the_group() -> None:
    graph, x = start(1, 8, 12, 12)
    y = convolve(graph, x, 70, 3, DType.I8)
    scale = np.linspace(0.01, 0.1, 70, dtype=np.float32)
    f = graph.add(ops.Dequantize(), y, graph.constant(scale)).output
    f = graph.add(ops.Clip(-1.0, 2.0), f).output
    z = graph.add(ops.Quantize(DType.U8), f, graph.constant(1 / scale)).output
    graph.outputs.append(fix_sum(graph, z, y))
    assert_exact(graph, images(1, 8, 12, 12))
    units = [[n.op.name for n in u.nodes] for u in form_units(legalize(graph).graph)]
    anchored = next(names for names in units if names[0] == "Int8Conv")
    assert {"ByteToFloat", "Clip", "RoundToBits", "Int8Sum"} < set(anchored)


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 8])
def test_moves_stay_on_words(batch: int) -> None:
    """Nothing between the borders is converted to fp32 and back."""
    graph, x = start(batch, 8, 6, 6)
    y = convolve(graph, x, 8, 3, DType.I8)
    y = graph.add(ops.MaxPool((2, 2), (2, 2), (1, 0, 1, 0), (1, 1), True), y).output
    y = graph.add(ops.Pad((0, 0, 1, 0, 0, 0, 1, 2), "constant", -7.0), y).output
    y = graph.add(ops.Pad((0, 0, 1, 0, 0, 0, 1, 1), "reflect"), y).output
    y = graph.add(ops.Transpose((0, 2, 1, 3)), y).output
    y = graph.add(ops.Slice((0, 1, 0, 0), (batch, 7, 8, 6), (1, 2, 1, 1)), y).output
    y = graph.add(ops.Reshape((batch, 12, 4, y.type.size // batch // 48)), y).output
    y = graph.add(ops.Concat(1), y, y).output
    y = graph.add(ops.DepthToSpace(2, "DCR"), y).output
    y = graph.add(ops.SpaceToDepth(2), y).output
    size = (*y.shape[:2], 2 * y.shape[2], y.shape[3])
    y = graph.add(ops.Resize(size, (1.0, 1.0, 2.0, 1.0), "nearest"), y).output
    index = graph.constant(np.array([[3, 0], [1, 1]]))
    y = graph.add(ops.Gather(1), y, index).output
    y = graph.add(ops.Tile((1, 1, 2, 1, 1)), y).output
    limit = graph.constant(np.full(y.shape[-1:], 60, np.int8))
    y = graph.add(ops.Binary("min"), y, limit).output
    graph.outputs.append(y)
    assert_exact(graph, images(batch, 8, 6, 6))
    made = [n.op.name for n in legalize(graph).graph.nodes]
    assert made.count("RoundToBits") == 1, "one packing, at the input"
    assert made.count("ByteToFloat") == 1, "one unpacking, at the output"


# -- tables, interfaces ---------------------------------------------------------------------------


def test_tables_between_cpu_layers() -> None:
    """Every part of the network has its tables; equal ones lie in L2 once."""
    graph, x = start(1, 6, 5, 7)
    rng = np.random.default_rng(3)
    tables = [graph.constant(rng.integers(-128, 128, 256).astype(np.int8)) for _ in range(2)]
    tables.append(graph.constant(np.asarray(tables[0].data).copy()))
    y = x
    for table in tables:
        y = graph.add(ops.Lut(), y, table).output
    f = graph.add(ops.Dequantize(), y, graph.constant(np.array(0.02, np.float32))).output
    top = graph.add(ops.TopK(4, 3), f).outputs[0]
    q = graph.add(ops.Quantize(DType.I8), top, graph.constant(np.array(50.0, np.float32))).output
    graph.outputs.append(graph.add(ops.Lut(), q, tables[1]).output)
    assert_exact(graph, images(1, 6, 5, 7))
    offsets = {
        n.op.offset  # type: ignore[attr-defined]
        for n in legalize(graph).graph.nodes
        if n.op.name == "Int8Lut"
    }
    assert offsets == {0, 1024}


def test_scales_of_the_interface() -> None:
    graph = Graph("io")
    x = graph.input("x", DType.I8, (1, 4, 5, 5))
    y = convolve(graph, x, 4, 1, DType.U8)
    graph.outputs.append(y)
    options = CompileOptions(scales={"x": 32.0, y.name: 0.25})
    stage = compile_graph(graph, options).model.nets[0].stages[0]
    assert [t.scale for t in (*stage.inputs, *stage.outputs)] == [32.0, 0.25]
    assert compile_graph(graph).model.nets[0].stages[0].inputs[0].scale == 1.0


@pytest.mark.parametrize("batch", [1, 3, 5])
def test_kept_values_are_decoded(batch: int) -> None:
    """Every 8-bit value that ``keep_values`` leaves in memory, from its words."""
    graph, x = start(batch, 5, 6, 4)
    y = convolve(graph, x, 7, 3, DType.U8)
    z = graph.add(ops.Lut(), y, graph.constant(np.arange(256).astype(np.uint8)[::-1].copy())).output
    graph.outputs.append(graph.add(ops.Transpose((0, 2, 3, 1)), z).output)
    inputs = images(batch, 5, 6, 4)
    result = compile_graph(graph, CompileOptions(keep_values=True))
    found = simulate_values(result, inputs)
    graph.outputs[:] = [x, y, z]
    for name, wanted in interpret.run(graph, inputs).items():
        assert found[name].dtype == wanted.dtype
        np.testing.assert_array_equal(found[name], wanted, err_msg=name)


def test_words_of_constants() -> None:
    data = np.arange(5 * 3, dtype=np.int8).reshape(5, 3) - 7
    words = pack_constant(data)
    assert words.shape == word_shape(data.shape) == (2, 3)
    for n, row in enumerate(data):
        np.testing.assert_array_equal((words[n // 4] >> (8 * (n % 4))).astype(np.int8), row)


# -- refusals -------------------------------------------------------------------------------------


def test_too_many_channels_of_images() -> None:
    graph, x = start(1, 4100, 3, 3)
    graph.outputs.append(convolve(graph, x, 4, 3, DType.I8))
    with pytest.raises(UnsupportedError, match=r"4100 input channels .* at most 4095"):
        compile_graph(graph)
    assert [f.place for f in check(graph)] == ["TPU", "refused"]


def test_weights_of_the_run_time() -> None:
    graph, x = start(1, 4, 5, 5)
    w = graph.input("w", DType.I8, (4, 4, 1, 1))
    op = ops.FixConv((1, 1), (0, 0, 0, 0), (1, 1), 1, 7, DType.I8)
    graph.outputs.append(graph.add(op, x, w).output)
    with pytest.raises(UnsupportedError, match="its weights are not constant"):
        compile_graph(graph)
