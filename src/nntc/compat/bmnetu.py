"""The historical ``bmnetu``: a UModel becomes a BModel.

    bmnetu -model x_bmnetp_deploy_int8_unique_top.prototxt -weight x_bmnetp.int8umodel \\
        -max_n 4 -prec=INT8 -target=BM1684 -outdir=int8_4b

From Python: ``bmnetu.compile(model=..., weight=..., outdir=..., prec="INT8", ...)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nntc.compat.arguments import COMMON, Command, Option, names, switch, text, warn, whole, word_of
from nntc.compat.build import build, make_folder
from nntc.core.errors import UserError

__all__ = ["COMMAND", "compile", "main", "run"]

COMMAND = Command(
    "bmnetu",
    "Compile a UModel (.prototxt and .int8umodel or .fp32umodel) for the BM1684.",
    (
        Option("model", text, None, "the .prototxt", required=True),
        Option("weight", text, None, "the .int8umodel or .fp32umodel", alias=("weights",)),
        Option("prec", word_of("FP32", "INT8"), None, "FP32 or INT8; default: the model's"),
        Option("max_n", whole, None, "batch; default: the model's"),
        Option("input_as_fp32", names, (), "inputs that are fp32 in the BModel"),
        Option("output_as_fp32", names, (), "outputs that are fp32 in the BModel"),
        Option("use_wino", switch, None, idle="the compiler chooses exact convolutions only"),
        Option("dump_ref", switch, False, "write reference data without --cmp"),
        *COMMON,
    ),
)


def run(options: dict[str, Any]) -> Path:
    """Do what the options say; the file that was made.

    Raises:
        UserError: the UModel cannot be read, or does not fit the options.
    """
    from nntc import passes
    from nntc.ir import prototxt
    from nntc.passes.batch import with_input_shapes
    from nntc.passes.borders import float_borders, is_quantised

    model, weights = options["model"], options["weight"]
    if not prototxt.is_network(model):
        raise UserError(f"{model}: is no UModel; bmnetu reads what GenUmodel and calibration write")
    network = prototxt.load(model, weights)
    graph = network.graph
    quantised = is_quantised(graph)
    wanted = options["prec"]
    if wanted == "INT8" and not quantised:
        raise UserError(f"{model}: prec is INT8, but the model is fp32; quantise it first")
    if wanted == "FP32" and quantised:
        raise UserError(f"{model}: prec is FP32, but the model is int8")
    if options["net_name"]:
        graph.name = options["net_name"]
    if options["mode"] == "GenUmodel":
        text_file, file = prototxt.partner(model) if weights is None else (model, weights)
        folder = make_folder(options["outdir"])
        made = [folder / Path(name).name for name in (text_file, file)]
        return prototxt.save(network, *made)[0]
    if not quantised:
        graph = passes.simplify(graph)
    if options["shapes"]:
        graph = with_input_shapes(graph, options["shapes"])
    if options["max_n"]:
        graph = passes.with_batch(graph, options["max_n"])
    graph = float_borders(graph, options["input_as_fp32"], options["output_as_fp32"])
    return build(
        graph,
        options["outdir"],
        net_name=graph.name,
        opt=options["opt"],
        cmp=options["cmp"],
        seed=options["seed"],
        dump_ref=options["dump_ref"],
    )


def compile(
    model: str, weight: str | None = None, outdir: str | None = None, *more: Any, **options: Any
) -> int:
    """Compile a UModel; arguments as of the command.

    Raises:
        UserError: names everything that is wrong.
    """
    if more:
        warn("bmnetu.compile: only model, weight and outdir are taken by position")
    run(COMMAND.keywords({"model": model, "weight": weight, "outdir": outdir, **options}))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return COMMAND.main(run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
