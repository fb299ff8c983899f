"""Compile a trained model into a BModel for the BM1684.

examples:
  nntc compile model.onnx -o model.bmodel
  nntc compile model.onnx --shapes [1,3,224,224] -o model.bmodel
  nntc compile two_inputs.onnx --shapes "[1,3,64,64],[1,10]" -o two.bmodel
  nntc compile two_inputs.onnx --shapes image=1x3x64x64 --shapes ids=1x10 -o two.bmodel
  nntc compile model.onnx --output_names features -o backbone.bmodel
  nntc compile model.onnx --cmp -o model.bmodel
  nntc compile model.int8umodel --batch 4 -o model_batch4.bmodel

--shapes fixes the dimensions that the model leaves open; shapes are in the order of the model's
inputs, or by name. --cmp runs every operator of the model in NumPy (and the whole in ONNX Runtime
if that is installed) and on the simulated chip, and names the first value that differs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

HELP = "model file → BModel"

if TYPE_CHECKING:
    from nntc.api import Progress
    from nntc.backend import CompileResult
    from nntc.bmodel import BModel
    from nntc.ir.graph import Graph
    from nntc.report.compare import Comparison


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that reads a model."""
    parser.add_argument(
        "model", metavar="MODEL", help="model file (.onnx, .cfg, .prototxt, -symbol.json)"
    )
    parser.add_argument(
        "--weights", "--weight", metavar="FILE", help="its weights; default: the file beside MODEL"
    )
    parser.add_argument(
        "--shapes",
        action="append",
        default=[],
        metavar="SHAPES",
        help="input shapes: [1,3,224,224], [[1,3],[5]], [1,3],[5] or name=1x3x224x224",
    )
    for kind in ("input", "output"):
        parser.add_argument(
            f"--{kind}_names",
            f"--{kind}-names",
            dest=f"{kind}_names",
            metavar="A,B",
            help=f"cut the model: these tensors become its {kind}s",
        )


def model_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments for :func:`nntc.api.load` from the options."""
    from nntc.cli.options import parse_names, parse_shapes

    return {
        "weights": args.weights,
        "shapes": parse_shapes(args.shapes) or None,
        "input_names": parse_names(args.input_names),
        "output_names": parse_names(args.output_names),
    }


def configure(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    parser.add_argument(
        "-o", "--output", metavar="OUT.bmodel", help="result; default: MODEL's name with .bmodel"
    )
    parser.add_argument(
        "--net_name",
        "--net-name",
        dest="net_name",
        metavar="NAME",
        help="name of the net in the BModel; default: MODEL's name",
    )
    parser.add_argument(
        "--opt", type=int, choices=(0, 1, 2), default=2, help="optimisation level (default: 2)"
    )
    parser.add_argument(
        "--batch", type=int, default=0, metavar="N", help="samples at once; default: the model's"
    )
    parser.add_argument(
        "--cmp", action="store_true", help="compare every operator with the simulated chip"
    )
    parser.add_argument(
        "--input", metavar="IN.npz", help="with --cmp: compare on this input, not on random numbers"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="with --cmp: seed of the random input (default: 0)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print only problems")


def execute(args: argparse.Namespace) -> int:
    from nntc import api
    from nntc.cli import console
    from nntc.core.errors import EXIT_STATUS, UserError
    from nntc.passes import with_batch

    if args.input and not args.cmp:
        raise UserError("--input is used only together with --cmp")
    output = args.output or f"{Path(args.model).stem}.bmodel"
    api.check_writable(Path(output))
    comparison = None
    with console.progress(args.quiet) as progress:
        graph = api.load(args.model, progress=progress, **model_arguments(args))
        if args.batch:
            graph = with_batch(graph, args.batch)
        result = api.compile(
            graph,
            output,
            net_name=args.net_name or Path(args.model).stem,
            opt=args.opt,
            progress=progress,
        )
        if args.cmp:
            comparison = _compare(args, graph, result.model, progress)
    if not args.quiet:
        summary(graph, result, output)
    if comparison is not None:
        print(comparison.text())
    return 0 if comparison is None or comparison.passed else EXIT_STATUS


def _compare(
    args: argparse.Namespace, graph: Graph, model: BModel, progress: Progress
) -> Comparison:
    from nntc import api
    from nntc.report.compare import compare, random_inputs
    from nntc.runtime.arrays import load_inputs

    inputs = load_inputs(args.input) if args.input else random_inputs(graph, args.seed)
    kept = api.compile(graph, opt=args.opt, keep_values=True, progress=progress)
    # ONNX Runtime runs whole models only, of the batch that they have.
    whole = args.input_names is None and args.output_names is None and not args.batch
    source = args.model if whole and args.model.lower().endswith(".onnx") else None
    return compare(graph, kept, model, inputs, source=source, progress=progress)


def summary(graph: Graph, result: CompileResult, output: str) -> None:
    """The closing table of a compilation.

    The time counts every command's cycles; it knows no conflicts of memory banks and no refresh
    of the DDR, so a board is somewhat slower.
    """
    from nntc.cli.console import human_bytes, human_seconds, table
    from nntc.isa.cycles import replay

    stage = result.model.nets[0].stages[0]
    groups = [group for subnet in stage.subnets for group in subnet.groups]
    on_cpu = sum(subnet.cpu is not None for subnet in stage.subnets)
    rows: list[tuple[str, object]] = [
        ("net", result.model.nets[0].name),
        ("nodes", len(graph.nodes)),
        ("subnets", f"{len(stage.subnets)} ({on_cpu} on the CPU)"),
        ("TIU instructions", sum(group.tiu_count for group in groups)),
        ("GDMA instructions", sum(group.gdma_count for group in groups)),
        ("weights", human_bytes(len(stage.coeff.data) if stage.coeff else 0)),
        ("working memory", human_bytes(stage.ctx_size)),
    ]
    timing = replay([(group.tiu, group.gdma) for group in groups])
    if timing.total:
        tiu, gdma = (part / timing.total for part in (timing.tiu_busy, timing.gdma_busy))
        seconds = human_seconds(timing.seconds)
        rows.append(("estimated time", f"{seconds} (TIU busy {tiu:.0%}, GDMA {gdma:.0%})"))
    rows.append(("file", f"{output} ({human_bytes(Path(output).stat().st_size)})"))
    table(rows)
