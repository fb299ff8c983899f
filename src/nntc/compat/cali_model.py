"""The historical ``python3 -m ufw.cali.cali_model``: from a model file to an int8 BModel.

    python3 -m ufw.cali.cali_model --net_name x --model x.onnx --cali_lmdb data/ \\
        --cali_iterations 100 --input_shapes [1,3,224,224] --target BM1684

Beside the model appear the UModels of the steps, and ``x_batch1/compilation.bmodel``.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nntc.compat import bmnetu, calibration
from nntc.compat.arguments import Command, Option, names, shapes, target, text, warn, whole
from nntc.compat.build import write_fp32
from nntc.core.errors import UserError

COMMAND = Command(
    "cali_model",
    "Calibrate, quantise and compile a model in one go.",
    (
        Option("model", text, None, "model file, or Paddle's folder", required=True),
        Option("weights", text, None, "its weights", ("weight",)),
        Option("net_name", text, None, "name of the net and of the files"),
        Option("cali_lmdb", text, None, "LMDB folder (or any other dataset)"),
        Option("cali_image_path", text, None, "folder of pictures"),
        Option("cali_image_preprocess", text, None, "what is done to pictures"),
        Option("cali_iterations", whole, 0, "samples for the statistics; 0: all"),
        Option("input_shapes", shapes, None, "such as [1,3,224,224]", ("shapes",)),
        Option("input_names", names, None, "cut the model: its inputs"),
        Option("output_names", names, None, "cut the model: its outputs"),
        Option("target", target, "BM1684", "the chip"),
        Option("outdir", text, None, "where x_batchN appears; default: beside the model"),
        Option("fp32_layer_list", names, (), "layers that stay in fp32"),
        Option(
            "try_cali_accuracy_opt",
            text,
            "",
            "options of calibration_use_pb, with ; between",
            for_others=True,
        ),
        Option("convert_bmodel_cmd_opt", text, "", "options of bmnetu", for_others=True),
        Option("debug_cmd", text, "", "use_fake_data_to_test; not_call_bmnetu"),
        Option("input_descs", text, None, idle="inputs are random only for the comparison"),
        Option("test_iterations", whole, None, idle="no scores are computed; see nntc compare"),
        Option(
            "postprocess_and_calc_score_class",
            text,
            None,
            idle="no scores are computed; see nntc compare",
        ),
    ),
)

_TOOLS = {
    ".pt": "bmnetp",
    ".pth": "bmnetp",
    ".onnx": "bmneto",
    ".pb": "bmnett",
    ".h5": "bmnett",
    ".cfg": "bmnetd",
    ".prototxt": "bmnetc",
    ".json": "bmnetm",
}
_FAKE_SAMPLES = 4


def run(options: dict[str, Any]) -> None:
    """Do what the options say.

    Raises:
        UserError: the model, the data or an option does not fit.
    """
    from nntc import api
    from nntc.ir import prototxt

    model = Path(options["model"])
    steps = _steps(options)
    debug = {word.strip() for word in options["debug_cmd"].split(";")}
    convert = bmnetu.COMMAND.parse(
        ["-model=x", *shlex.split(options["convert_bmodel_cmd_opt"].strip())]
    )
    graph = api.load(
        model,
        weights=options["weights"],
        shapes=options["input_shapes"],
        input_names=options["input_names"],
        output_names=options["output_names"],
    )
    stem = options["net_name"] or model.stem
    tool = _TOOLS.get(model.suffix.lower(), "bmpaddle" if model.is_dir() else "nntc")
    folder = model if model.is_dir() else model.parent
    data = _data(options, graph, debug)
    # A Data layer is written where it says all there is to say.
    as_stored = "use_fake_data_to_test" not in debug and not options["cali_image_preprocess"]
    lmdb = (options["cali_lmdb"] or "") if as_stored else ""
    text_file, weights = write_fp32(graph, folder, stem, tool, lmdb)
    network = prototxt.load(text_file, weights)
    limit = options["cali_iterations"] or steps["iterations"]
    result = calibration.quantize(
        network, data, {**steps, "iterations": limit}, options["fp32_layer_list"]
    )
    files = prototxt.Names.of(weights)
    network = prototxt.load(text_file, weights)
    calibration.write_int8(network, result, files, weights.name, True)
    if "not_call_bmnetu" in debug:
        return
    place = Path(options["outdir"]) if options["outdir"] else folder
    batch = graph.inputs[0].shape[0] if graph.inputs and graph.inputs[0].shape else 1
    outdir = place / f"{stem}_batch{batch}"
    # The folder may be given in the options for bmnetu, too.
    if any("outdir" in word for word in shlex.split(options["convert_bmodel_cmd_opt"])):
        outdir = Path(convert["outdir"])
    given = {"model": str(files.unique_top("deploy", "int8")), "weight": str(files.int8_weights)}
    name = convert["net_name"] or stem
    bmnetu.run({**convert, **given, "outdir": str(outdir), "net_name": name})


def _steps(options: dict[str, Any]) -> dict[str, Any]:
    """Options for the quantisation: separated by semicolons or blanks."""
    words = [
        word
        for part in options["try_cali_accuracy_opt"].replace("\n", " ").split(";")
        for word in shlex.split(part)
    ]
    command = Command("try_cali_accuracy_opt", "", calibration.OPTIONS)
    return command.parse(words)


def _data(options: dict[str, Any], graph: Any, debug: set[str]) -> Any:
    """The samples that the options name."""
    from nntc.data import from_cali_text, open_dataset
    from nntc.ir.prototxt.feed import Feed, dataset
    from nntc.passes import one_sample

    inputs = {v.name: v.shape for v in one_sample(graph).inputs}
    if "use_fake_data_to_test" in debug:
        warn("cali_model: random numbers are used as data; the accuracy will be bad")
        return calibration.RandomData(inputs, options["cali_iterations"] or _FAKE_SAMPLES)
    recipe = options["cali_image_preprocess"]
    treatment = from_cali_text(recipe) if recipe and recipe.strip() else None
    if options["cali_lmdb"] and treatment is None:
        feeds = [Feed(name, options["cali_lmdb"]) for name in inputs]
        return dataset(feeds, inputs, Path())
    if options["cali_lmdb"]:
        return open_dataset(options["cali_lmdb"], inputs, treatment)
    if options["cali_image_path"]:
        return open_dataset(options["cali_image_path"], inputs, treatment)
    raise UserError("cali_model: --cali_lmdb or --cali_image_path must say where the samples are")


def main(argv: Sequence[str] | None = None) -> int:
    return COMMAND.main(run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
