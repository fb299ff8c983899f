"""The historical ``calibration_use_pb``: an fp32 UModel becomes an int8 one.

    calibration_use_pb quantize -model=x_bmnetp_test_fp32.prototxt -weights=x_bmnetp.fp32umodel \\
        -iterations=200 -save_test_proto=true

The data are those of the Data layer in the prototxt. Beside the weights appear x_bmnetp.int8umodel,
x_bmnetp_deploy_int8_unique_top.prototxt and x_bmnetp_deploy_fp32_unique_top.prototxt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nntc.compat import calibration
from nntc.compat.arguments import Command, Option, switch, text, warn
from nntc.core.errors import UserError

COMMAND = Command(
    "calibration_use_pb",
    "Quantise a UModel with the data of its Data layer; or simplify it (graph_transform).",
    (
        Option("model", text, None, "*_test_fp32.prototxt", required=True),
        Option("weights", text, None, "*.fp32umodel", alias=("weight",)),
        Option("fuse_preprocess", switch, False, "not supported"),
        *calibration.OPTIONS,
    ),
    verbs=("quantize", "release", "graph_transform"),
)

RANDOM_SAMPLES = 20


def run(options: dict[str, Any]) -> None:
    """Do what the options say.

    Raises:
        UserError: files or data cannot be read, or do not fit the options.
    """
    from nntc.ir import prototxt
    from nntc.ir.prototxt import feed
    from nntc.passes import one_sample

    model = options["model"]
    if not prototxt.is_network(model):
        raise UserError(f"{model}: is no UModel; make one with --mode GenUmodel")
    text_file, weights_file = (Path(model), options["weights"])
    weights = Path(weights_file) if weights_file else prototxt.partner(model)[1]
    network = prototxt.load(text_file, weights)
    if options["verb"] == "graph_transform":
        transform(network, text_file, weights)
        return
    if options["fuse_preprocess"]:
        raise UserError("fuse_preprocess: the preprocessing cannot be made part of the network")
    inputs = {v.name: v.shape for v in one_sample(network.graph).inputs}
    data: Any = feed.dataset(network.feeds, inputs, text_file.parent)
    if data is None:
        warn(
            f"{model}: has no Data layer: random numbers are used, and the accuracy will be bad; "
            "see docs/historical.md"
        )
        data = calibration.RandomData(inputs, options["iterations"] or RANDOM_SAMPLES)
    # As many samples as so many passes of the Data layer.
    passes = options["iterations"] * max(network.feeds[0].batch_size if network.feeds else 1, 1)
    result = calibration.quantize(network, data, {**options, "iterations": passes})
    if options["save_model"]:
        files = prototxt.Names.of(weights)
        network = prototxt.load(text_file, weights)  # as it was given
        calibration.write_int8(network, result, files, weights.name, options["save_test_proto"])


def transform(network: Any, text_file: Path, weights: Path) -> None:
    """Write the simplified network beside the given one, with _optimized behind the names."""
    from nntc import passes
    from nntc.ir import prototxt

    network.graph = passes.simplify(network.graph)
    there = {node.name for node in network.graph.nodes}
    network.keys = {name: keys for name, keys in network.keys.items() if name in there}
    prototxt.save(network, f"{text_file}_optimized", f"{weights}_optimized")


def main(argv: Sequence[str] | None = None) -> int:
    return COMMAND.main(run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
