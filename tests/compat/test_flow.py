"""The historical flow step by step, and that it ends where the one command does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nntc import api, bmodel
from nntc.cli.main import main as nntc
from nntc.compat import bmnetu, cali_model, calibration_use_pb
from nntc.compat.build import write_fp32
from nntc.compat.ufwio import LMDB_Dataset
from nntc.core.errors import UserError
from nntc.ir import interpret, prototxt
from nntc.ir.text import print_graph
from nntc.quant import QuantizeOptions
from nntc.runtime import Engine
from tests.compat.nets import classifier, lmdb, npy, samples

INT8 = QuantizeOptions(int8_inputs=True, int8_outputs=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a model and data."""
    monkeypatch.chdir(tmp_path)
    classifier(tmp_path / "tiny.onnx")
    lmdb(tmp_path / "db")
    npy(tmp_path / "samples.npy")
    return tmp_path


@pytest.fixture
def fp32(here: Path) -> prototxt.Names:
    """The fp32 UModel with a Data layer."""
    write_fp32(api.load("tiny.onnx"), here, "tiny", "bmneto", "db")
    return prototxt.Names(here, "tiny_bmneto")


def calibrate(*more: str) -> None:
    argv = ["-model=tiny_bmneto_test_fp32.prototxt", "-weights=tiny_bmneto.fp32umodel", *more]
    assert calibration_use_pb.main(["quantize", *argv]) == 0


DEPLOY = "tiny_bmneto_deploy_int8_unique_top.prototxt"


def compile_umodel(outdir: str, *more: str) -> Path:
    argv = ["-model", DEPLOY, "-weight=tiny_bmneto.int8umodel", "--outdir", outdir, *more]
    assert bmnetu.main([*argv, "-target=BM1684"]) == 0
    return Path(outdir) / "compilation.bmodel"


@pytest.mark.parametrize("ints", [True, False])
def test_steps_and_the_one_command_give_the_same_bytes(fp32: prototxt.Names, ints: bool) -> None:
    word = str(ints).lower()
    calibrate(f"-int8_inputs={word}", f"-int8_outputs={word}")
    made = compile_umodel("steps")
    options = QuantizeOptions(int8_inputs=ints, int8_outputs=ints)
    api.quantize("tiny.onnx", "samples.npy", "one.bmodel", options=options)
    assert made.read_bytes() == Path("one.bmodel").read_bytes()


def test_files_of_every_step(fp32: prototxt.Names, capsys: pytest.CaptureFixture[str]) -> None:
    calibrate("-iterations=4", "-save_test_proto=true")
    out = capsys.readouterr().out
    assert "calibration for layer = c1" in out
    assert out.endswith("int8 calibration done.\n")
    names = {path.name for path in fp32.folder.iterdir()}
    assert names >= {
        "tiny_bmneto.int8umodel",
        DEPLOY,
        "tiny_bmneto_deploy_fp32_unique_top.prototxt",
        "tiny_bmneto_test_int8_unique_top.prototxt",
        "tiny_bmneto_test_fp32_unique_top.prototxt",
    }
    compile_umodel("out")
    out = capsys.readouterr().out
    rule = "#" * 38
    assert out.endswith(f"{rule}\n# Store bmodel of BMCompiler.\n{rule}\n")
    assert out.startswith("[BMCompiler:I] ")
    found = {path.name: path for path in Path("out").iterdir()}
    assert set(found) == {
        *("compilation.bmodel", "input_ref_data.dat", "output_ref_data.dat", "io_info.dat")
    }
    assert "input 0 name=image shape=[1,3,12,12] dtype=int8" in found["io_info.dat"].read_text()
    # The reference data are those of the graph.
    graph = prototxt.load(DEPLOY).graph
    x = np.fromfile(found["input_ref_data.dat"], np.int8).reshape(1, 3, 12, 12)
    y = interpret.run(graph, {"image": x})["logits"]
    assert found["output_ref_data.dat"].read_bytes() == y.tobytes()
    # The fp32 texts are of the same weights.
    for kind in ("deploy", "test"):
        other = prototxt.load(fp32.unique_top(kind, "fp32"), fp32.fp32_weights)
        assert print_graph(other.graph) == print_graph(prototxt.load(fp32.test_fp32).graph)
        assert bool(other.feeds) == (kind == "test")


def test_loading_by_any_of_the_names(fp32: prototxt.Names) -> None:
    calibrate()
    texts = [
        print_graph(api.load(name))
        for name in (DEPLOY, "tiny_bmneto.int8umodel", fp32.int8_weights)
    ]
    assert texts[0] == texts[1] == texts[2]
    assert "FixConv" in texts[0]
    # What is simple already does not change by loading.
    assert print_graph(api.load(fp32.test_fp32)) == print_graph(prototxt.load(fp32.test_fp32).graph)
    with pytest.raises(UserError, match="inputs and outputs of a UModel are those in its text"):
        api.load(DEPLOY, output_names=["c1"])


@pytest.mark.parametrize("how", [["-max_n", "4"], ["--shapes=[4,3,12,12]"]])
def test_batch_of_four(fp32: prototxt.Names, how: list[str]) -> None:
    calibrate()
    one, four = compile_umodel("one"), compile_umodel("four", *how)
    x = samples(4)[:, 0]
    with Engine(one) as engine:
        singly = np.concatenate([engine(image=x[i : i + 1])["logits"] for i in range(4)])
    with Engine(four) as engine:
        np.testing.assert_array_equal(engine(image=x)["logits"], singly)
    assert len(np.unique(singly)) > 5


def test_nntc_compile_takes_umodels_and_batches(fp32: prototxt.Names) -> None:
    calibrate()
    made = compile_umodel("four", "-max_n", "4")
    argv = ["compile", "tiny_bmneto.int8umodel", "--batch", "4", "--net_name", "tiny"]
    assert nntc([*argv, "-o", "four.bmodel", "--cmp", "-q"]) == 0
    assert Path("four.bmodel").read_bytes() == made.read_bytes()
    assert nntc(["compile", DEPLOY, "--shapes", "[4,3,12,13]", "-o", "x.bmodel"]) == 2


def test_a_umodel_is_copied(fp32: prototxt.Names) -> None:
    calibrate()
    assert bmnetu.main(["-model", DEPLOY, "-mode=GenUmodel", "-outdir=copy"]) == 0
    for name in (DEPLOY, "tiny_bmneto.int8umodel"):
        assert Path("copy", name).read_bytes() == Path(name).read_bytes()


def test_a_model_of_batch_four_is_calibrated_sample_by_sample(here: Path) -> None:
    classifier(here / "four.onnx", 4)
    write_fp32(api.load("four.onnx"), here, "tiny", "bmneto", "db")
    calibrate()
    graph = prototxt.load(DEPLOY).graph
    assert graph.inputs[0].shape == (4, 3, 12, 12)
    assert bmnetu.main(["-model", DEPLOY, "-max_n=1", "-net_name", "tiny", "-outdir", "o"]) == 0
    api.quantize("tiny.onnx", "samples.npy", "one.bmodel", options=INT8)
    assert Path("o/compilation.bmodel").read_bytes() == Path("one.bmodel").read_bytes()
    assert bmnetu.main(["-model", DEPLOY, "-outdir", "o", "-net_name=four"]) == 0
    api.quantize("four.onnx", "samples.npy", "four.bmodel", options=INT8, umodel="x.int8umodel")
    assert Path("o/compilation.bmodel").read_bytes() == Path("four.bmodel").read_bytes()
    api.compile("x.int8umodel", "again.bmodel", net_name="four")
    assert Path("again.bmodel").read_bytes() == Path("four.bmodel").read_bytes()
    api.quantize("tiny.onnx", "samples.npy", "b.bmodel", options=INT8, batch=4, net_name="four")
    assert Path("b.bmodel").read_bytes() == Path("four.bmodel").read_bytes()
    # Records may hold the whole batch.
    with LMDB_Dataset("db") as db:
        db.put(list(samples(8).reshape(2, 4, 3, 12, 12)))
    calibrate()
    np.save("eight.npy", samples(8)[:, 0])
    api.quantize("four.onnx", "eight.npy", options=INT8, umodel="y.int8umodel")
    assert Path("tiny_bmneto.int8umodel").read_bytes() == Path("y.int8umodel").read_bytes()
    with pytest.raises(UserError, match="is quantised already"):
        api.quantize("x.int8umodel", "samples.npy", "b.bmodel")


def test_fp32_at_the_borders(fp32: prototxt.Names) -> None:
    calibrate()
    both = ["-input_as_fp32=image", "-output_as_fp32", "logits"]
    model = bmodel.read(compile_umodel("out", *both))
    stage = model.nets[0].stages[0]
    assert [t.dtype.text for t in (*stage.inputs, *stage.outputs)] == ["float32", "float32"]
    assert bmnetu.main(["-model", DEPLOY, "-input_as_fp32=nothing", "-outdir=out"]) == 2


def test_a_zero_point_is_said(here: Path) -> None:
    x = samples(6)[:, 0] + 1.5
    np.save("above.npy", x)
    wanted = interpret.run(api.load("tiny.onnx"), {"image": x[:1]})["logits"]
    result = api.quantize("tiny.onnx", "above.npy", "o.bmodel", options=INT8)
    graph = result.quantized.graph
    with Engine("o.bmodel") as engine:
        assert engine.inputs[0].zero_point == graph.inputs[0].zero
        found = engine(image=x[:1])["logits"]
    np.testing.assert_allclose(found, wanted, atol=0.2 * np.abs(wanted).max())


def test_precision_is_known_from_the_model(
    fp32: prototxt.Names, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrate()
    compile_umodel("a", "-prec=INT8")
    assert bmnetu.main(["-model", DEPLOY, "-prec=FP32", "-outdir=b"]) == 2
    assert "prec is FP32, but the model is int8" in capsys.readouterr().err
    assert not Path("b").exists()
    weights = ["-weight", "tiny_bmneto.fp32umodel"]
    deploy = "tiny_bmneto_deploy_fp32_unique_top.prototxt"
    assert bmnetu.main(["-model", deploy, *weights, "-prec=INT8", "-outdir=b"]) == 2
    assert bmnetu.main(["-model", deploy, *weights, "-outdir=b"]) == 0
    api.compile("tiny.onnx", "one.bmodel")
    assert Path("b/compilation.bmodel").read_bytes() == Path("one.bmodel").read_bytes()


def scales(network: prototxt.Network) -> dict[str, float]:
    """The scales of values that have one for all channels."""
    known = {v.name: v.scale.data for v in network.graph.values() if v.scale is not None}
    return {n: float(s) for n, s in known.items() if s is not None and s.ndim == 0}


def test_wishes_in_the_text_are_honoured(fp32: prototxt.Names) -> None:
    calibrate("-th_method=MAX")
    usual = scales(prototxt.load(DEPLOY))
    text = fp32.test_fp32.read_text()
    text = text.replace('name: "c2"', 'name: "c2" forward_with_float: true', 1)
    text = text.replace('name: "logits"\n', 'name: "logits"\n  threshold: 2\n  th_scale: 0.5\n', 1)
    text = text.replace('name: "image"', 'name: "image" th_strategy: USE_MAX threshold: 3.0', 1)
    fp32.test_fp32.write_text(text)
    calibrate("-th_method=MAX")
    graph = prototxt.load(DEPLOY).graph
    assert [n.op.name for n in graph.nodes if n.source == "depthwise (Conv)"][-1] == "Conv"
    wished = scales(prototxt.load(DEPLOY))
    assert wished["logits"] < 0.5 * usual["logits"]
    assert wished["image"] == pytest.approx(3.0 / 127, rel=0.02)
    assert wished["image"] < 0.9 * usual["image"]
    deploy = fp32.unique_top("deploy", "fp32").read_text()
    assert "forward_with_float: true" in deploy


FLOATS = [
    ("-fpfwd_inputs=depthwise", {"c1", "c2"}, "logits"),
    ("-fpfwd_outputs=s", {"s", "p", "f", "logits"}, "c2"),
    ("-fpfwd_blocks=r1,", {"s", "p", "f"}, "c2"),
    ("-fpfwd_blocks=image", {"c1"}, "c2"),
    ("-accuracy_opt=true", {"c2"}, "c1"),
]


@pytest.mark.parametrize(("option", "wanted", "stays"), FLOATS, ids=[f[0] for f in FLOATS])
def test_layers_in_fp32(
    fp32: prototxt.Names,
    option: str,
    wanted: set[str],
    stays: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calibrate(option)
    lines = capsys.readouterr().out.splitlines()
    in_float = {line.split()[4].rstrip(",") for line in lines if line.endswith("float = true")}
    assert wanted <= in_float
    assert stays not in in_float


def test_distributions_are_kept(fp32: prototxt.Names) -> None:
    calibrate("-dump_dist=dist", "-th_method=KL", "-iterations=3")
    first = fp32.int8_weights.read_bytes()
    calibrate("-load_dist", "dist", "-th_method", "KL")
    assert fp32.int8_weights.read_bytes() == first
    calibrate("-load_dist", "dist", "-th_method", "MSE")
    assert fp32.int8_weights.read_bytes() != first


def test_without_a_data_layer(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_fp32(api.load("tiny.onnx"), here, "tiny", "bmneto")
    calibrate("-iterations=2")
    assert "has no Data layer: random numbers are used" in capsys.readouterr().err


def test_graph_transform(fp32: prototxt.Names) -> None:
    model = str(fp32.test_fp32)
    assert calibration_use_pb.main(["graph_transform", f"-model={model}"]) == 0
    again = f"{model}_optimized"
    assert print_graph(prototxt.load(again).graph) == print_graph(prototxt.load(model).graph)
    assert Path("tiny_bmneto.fp32umodel_optimized").is_file()


def test_errors_are_lines(fp32: prototxt.Names, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["quantize", f"-model={fp32.test_fp32}"]
    for argv, message in (
        ([*base, "-fpfwd_outputs=nothing"], "nothing: the network has none of this name"),
        ([*base, "-th_method=GUESS"], "one of KL, SYMKL"),
        ([*base, "-bitwidth=TO_INT16"], "one of TO_INT8"),
        ([*base, "-fuse_preprocess=true"], "cannot be made part of the network"),
        (["quantize", "-model=tiny.onnx"], "tiny.onnx: is no UModel"),
        (["quantize", "-model=no.prototxt"], "no.prototxt: cannot be read"),
        (["quantise", "-model=x"], "the first word must be one of quantize"),
    ):
        assert calibration_use_pb.main(argv) == 2
        err = capsys.readouterr().err
        assert message in err
        assert all(line.startswith(("error: ", "warning: ")) for line in err.splitlines())
    calibrate()
    capsys.readouterr()
    assert calibration_use_pb.main(["quantize", f"-model={DEPLOY}"]) == 2
    assert "is quantised already" in capsys.readouterr().err


def test_a_difference_stops_the_compiler(
    fp32: prototxt.Names, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrate()
    whole = interpret.run

    def wrong(*args: object, **more: object) -> dict[str, np.ndarray]:
        return {k: v + 1 for k, v in whole(*args, **more).items()}  # type: ignore[arg-type]

    monkeypatch.setattr(interpret, "run", wrong)
    assert bmnetu.main(["-model", DEPLOY, "-outdir=out"]) == 2
    assert "compare: logits" in capsys.readouterr().err
    assert not Path("out/compilation.bmodel").exists()
    monkeypatch.setenv("BMCOMPILER_STAT_ERR", "1")
    compile_umodel("out")
    assert "warning: compare: logits" in capsys.readouterr().err


def test_without_comparison(fp32: prototxt.Names) -> None:
    calibrate()
    compile_umodel("out", "-cmp", "false")
    assert [path.name for path in Path("out").iterdir()] == ["compilation.bmodel"]


def test_from_python(fp32: prototxt.Names) -> None:
    calibrate()
    made = compile_umodel("command", "-net_name", "n")
    arguments = {"prec": "INT8", "shapes": [[1, 3, 12, 12]], "net_name": "n", "target": "BM1684"}
    weight = "tiny_bmneto.int8umodel"
    bmnetu.compile(DEPLOY, weight, "python", opt=2, dyn=False, cmp=True, **arguments)
    assert Path("python/compilation.bmodel").read_bytes() == made.read_bytes()
    with pytest.raises(UserError, match="only the BM1684"):
        bmnetu.compile(model=DEPLOY, weight=weight, target="BM1684X")


# -- auto_cali ----------------------------------------------------------------------------------

AUTO = ["--net_name", "auto", "--model", "tiny.onnx", "--input_shapes", "[1,3,12,12]"]


def test_auto_cali_equals_the_one_command(here: Path) -> None:
    argv = [*AUTO, "--cali_lmdb=db", "--cali_iterations", "5", "--target=BM1684"]
    assert cali_model.main([*argv, "--postprocess_and_calc_score_class=none"]) == 0
    api.quantize("tiny.onnx", "samples.npy", "one.bmodel", options=INT8, limit=5, net_name="auto")
    made = here / "auto_batch1" / "compilation.bmodel"
    assert made.read_bytes() == Path("one.bmodel").read_bytes()
    names = {path.name for path in here.iterdir()}
    stems = ("_test_fp32.prototxt", ".fp32umodel", ".int8umodel")
    assert names >= {f"auto_bmneto{stem}" for stem in stems}
    assert "auto_bmneto_deploy_int8_unique_top.prototxt" in names
    # The products serve other batches.
    deploy = "auto_bmneto_deploy_int8_unique_top.prototxt"
    argv = ["-model", deploy, "-weight", "auto_bmneto.int8umodel", "-max_n", "4", "-prec=INT8"]
    assert bmnetu.main([*argv, "-dyn=0", "-cmp=1", "-target=BM1684", "-outdir=4b"]) == 0


def test_auto_cali_idioms(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        *("--model=tiny.onnx", "--net_name=auto", "--cali_lmdb", "db", "--outdir", "out"),
        *("--try_cali_accuracy_opt", "-fpfwd_outputs=classes;-th_method=KL;"),
        *("--convert_bmodel_cmd_opt", "-input_as_fp32=image -v=4 --enable_profile=true"),
        *("--fp32_layer_list", "conv1", "--test_iterations=3"),
    ]
    assert cali_model.main(argv) == 0
    captured = capsys.readouterr()
    assert "enable_profile has no effect" in captured.err
    for name in ("c1", "logits"):
        assert f"layer = {name}, forward_with_float = true" in captured.out
    stage = bmodel.read(Path("out/auto_batch1/compilation.bmodel")).nets[0].stages[0]
    assert stage.inputs[0].dtype.text == "float32"
    argv[argv.index("--convert_bmodel_cmd_opt") + 1] = "-outdir=direct"
    assert cali_model.main(argv) == 0
    assert Path("direct/compilation.bmodel").is_file()


def test_auto_cali_with_pictures(here: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (here / "photos").mkdir()
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (20, 16, 3), np.uint8)
        image.fromarray(pixels).save(here / "photos" / f"{index}.png")
    recipe = "\n resize_h=12,resize_w=12;\n mean_value=104:117:123, scale=0.02,bgr2rgb=True"
    argv = [*AUTO, "--cali_image_path=photos", "--cali_image_preprocess", recipe]
    assert cali_model.main(argv) == 0
    assert (here / "auto_batch1" / "compilation.bmodel").is_file()


def test_auto_cali_only_tried_out(here: Path) -> None:
    assert cali_model.main([*AUTO, "--debug_cmd", "use_fake_data_to_test;not_call_bmnetu"]) == 0
    assert not (here / "auto_batch1").exists()
    assert (here / "auto_bmneto.int8umodel").is_file()
    assert cali_model.main(AUTO) == 2


# -- module names -------------------------------------------------------------------------------


def run(*argv: str, path: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *argv], env=environment, capture_output=True, text=True, timeout=120
    )


def test_historical_modules(here: Path) -> None:
    installed = run("-m", "nntc", "install-shims", "--into", "shims", path="")
    assert installed.returncode == 0, installed.stderr
    assert "export PYTHONPATH=shims" in installed.stdout
    for module in ("bmnetu", "ufw.cali.cali_model", "ufwio.lmdb_info"):
        found = run("-m", module, "--help", path="shims")
        assert found.returncode == 0, found.stderr
        assert "usage: " in found.stdout
    code = "import bmnetu, ufwio, ufw.io; from ufwio.io import *; LMDB_Dataset; bmnetu.compile"
    assert run("-c", code, path="shims").returncode == 0
    listed = run("-m", "ufwio.lmdb_info", "db", path="shims")
    assert len(listed.stdout.splitlines()) == 7
    removed = run("-m", "nntc", "install-shims", "--into", "shims", "--remove", path="")
    assert removed.returncode == 0
    assert list((here / "shims").iterdir()) == []


def test_other_packages_are_left_alone(here: Path) -> None:
    (here / "shims" / "ufw").mkdir(parents=True)
    other = here / "shims" / "ufw" / "__init__.py"
    other.write_text("print('the real one')\n")
    found = run("-m", "nntc", "install-shims", "--into", "shims", path="")
    assert found.returncode == 2
    assert "is of another package" in found.stderr
    assert [p.name for p in (here / "shims").iterdir()] == ["ufw"]
    run("-m", "nntc", "install-shims", "--into", "shims", "--remove", path="")
    assert other.read_text() == "print('the real one')\n"
