"""Quantise a float model to int8 with sample data, and compile it into a BModel.

examples:
  nntc quantize model.onnx --data photos/ \\
      --preprocess "resize=256,crop=224,mean=123.7:116.3:103.5,scale=0.0171,order=rgb" \\
      -o model_int8.bmodel
  nntc quantize model.onnx --data samples.npz -o model_int8.bmodel
  nntc quantize model.onnx --data samples.npz --umodel model_int8.umodel
  nntc quantize model.onnx --data samples.npz --float_outputs /head/conv -o mixed.bmodel
  nntc quantize model.onnx --data photos/ --search --metric top1 --max-drop 0.005

Step by step, with the same result:
  nntc quantize model.onnx --data D --save_statistics model.statistics --umodel model_int8.umodel
  nntc compile model_int8.umodel -o model_int8.bmodel

or with the files and commands of docs/historical.md.

DATA is a folder of pictures or of .npz files, one .npz or .npy with a leading sample axis, or an
LMDB folder; a hundred samples are usually enough. --preprocess says how pictures become inputs; see
docs/datasets.md.

--search finds the layers that have to stay in fp32 so that the metric loses no more than
--max-drop, at the least cost in cycles, and prints the options that repeat the result without a
search. It quantises many times; see docs/int8.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nntc.cli.compile import add_model_options, model_arguments

HELP = "model file + sample data → int8 BModel"

if TYPE_CHECKING:
    from nntc.api import QuantizeResult
    from nntc.quant import QuantizeOptions
    from nntc.report.search import SearchOptions


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that reads samples."""
    parser.add_argument(
        "--data", required=True, metavar="DATA", help="samples: folder, .npz, .npy or LMDB"
    )
    parser.add_argument(
        "--preprocess", metavar="STEPS", help="how pictures become inputs, or a file that says it"
    )
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="use N samples, spread over the data"
    )


def configure(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    add_data_options(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT.bmodel",
        help="result; default: MODEL's name with _int8.bmodel",
    )
    parser.add_argument("--umodel", metavar="OUT.umodel", help="write the int8 graph, too")
    _two(parser, "--net_name", metavar="NAME", help="name of the net; default: MODEL's name")
    parser.add_argument("--method", help="how thresholds are found (default: PERCENTILE9999)")
    parser.add_argument(
        "--samples", type=int, default=64, metavar="N",
        help="samples on which layers are fitted (default: 64)",
    )  # fmt: skip
    for name, what in (
        ("float_layers", "these layers"),
        ("float_inputs", "all layers from the inputs up to these"),
        ("float_outputs", "all layers from these to the outputs"),
        ("float_blocks", "these and what follows up to the next convolution"),
    ):
        _two(parser, f"--{name}", metavar="A,B", help=f"{what} stay in fp32")
    _configure_search(parser)
    _two(parser, "--nearest", action="store_true", help="round weights to nearest: faster")
    _two(parser, "--int8_inputs", action="store_true", help="the network takes integers")
    _two(parser, "--int8_outputs", action="store_true", help="the network gives integers")
    parser.add_argument("--statistics", metavar="FILE", help="use these instead of calibrating")
    _two(parser, "--save_statistics", metavar="FILE", help="keep the statistics of calibration")
    parser.add_argument("--resume", metavar="FILE", help="state of a calibration; continue from it")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="calibrate on a Dask cluster")
    parser.add_argument("--opt", type=int, choices=(0, 1, 2), default=2, help="as in compile")
    parser.add_argument("--batch", type=int, default=0, metavar="N", help="as in compile")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only problems")


def _configure_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--search", action="store_true", help="find the layers that have to stay in fp32"
    )
    parser.add_argument(
        "--metric", metavar="M", help="that judges: cosine (default), sqnr, top1, FILE.py:function"
    )
    _two(parser, "--max_drop", type=float, metavar="X", help="the metric may lose so much")
    _two(parser, "--search_data", metavar="DATA", help="samples that judge (default: part of DATA)")
    _two(parser, "--search_limit", type=int, metavar="N", help="judge with N samples")
    _two(parser, "--search_trials", type=int, metavar="N", help="quantise N times at most")


def search_options(args: argparse.Namespace) -> SearchOptions | None:
    """The options of the search; None if none is wanted.

    Raises:
        UserError: they are incomplete, or there is nothing that they are for.
    """
    from nntc.core.errors import UserError

    given = {
        "max_drop": args.max_drop,
        "metric": args.metric,
        "data": args.search_data,
        "limit": args.search_limit,
        "trials": args.search_trials,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if not args.search:
        if given:
            raise UserError("--metric, --max_drop and --search_... are options of --search")
        return None
    if args.max_drop is None:
        raise UserError("--search needs --max_drop: how much of the metric may be lost")
    from nntc.report.search import SearchOptions

    return SearchOptions(**given)


def _two(parser: argparse.ArgumentParser, name: str, **how: object) -> None:
    """An option with underscores or hyphens."""
    parser.add_argument(name, name.replace("_", "-"), dest=name.lstrip("-"), **how)  # type: ignore[arg-type]


def options(args: argparse.Namespace) -> QuantizeOptions:
    from nntc.cli.options import parse_names
    from nntc.quant import QuantizeOptions

    return QuantizeOptions(
        method=args.method or QuantizeOptions.method,
        adaptive=not args.nearest,
        samples=args.samples,
        float_layers=tuple(parse_names(args.float_layers) or ()),
        float_inputs=tuple(parse_names(args.float_inputs) or ()),
        float_outputs=tuple(parse_names(args.float_outputs) or ()),
        float_blocks=tuple(parse_names(args.float_blocks) or ()),
        int8_inputs=args.int8_inputs,
        int8_outputs=args.int8_outputs,
    )


def execute(args: argparse.Namespace) -> int:
    from nntc import api
    from nntc.cli import console

    output = args.output
    if output is None and args.umodel is None:
        output = f"{Path(args.model).stem}_int8.bmodel"
    with console.progress(args.quiet) as progress:
        result = api.quantize(
            args.model,
            args.data,
            output,
            preprocess=args.preprocess,
            options=options(args),
            statistics=args.statistics,
            save_statistics=args.save_statistics,
            limit=args.limit,
            resume=args.resume,
            scheduler=args.scheduler or "",
            umodel=args.umodel,
            net_name=args.net_name or Path(args.model).stem,
            opt=args.opt,
            batch=args.batch,
            search=search_options(args),
            progress=progress,
            **model_arguments(args),
        )
    for name, reason in result.skipped:
        print(f"skipped: {name}: {reason}")
    if not args.quiet:
        _summary(result, output)
    return 0


WORST = 8
"""Layers that the closing table shows."""


def _summary(result: QuantizeResult, output: str | None) -> None:
    from nntc.cli.compile import summary
    from nntc.cli.console import table
    from nntc.cli.main import printable

    report = result.quantized.report
    worst = sorted(report, key=lambda r: r.sqnr)[:WORST]
    table(
        [(r.node, r.operator, r.place, f"{r.sqnr:.1f}") for r in worst],
        header=("noisiest layers", "operator", "place", "SQNR dB"),
        right="lllr",
    )
    if result.search is not None:
        print()
        for line in result.search.lines():
            print(printable(line))
        print()
    in_float = sum(r.place == "fp32" for r in report)
    rows: list[tuple[str, object]] = [
        ("samples", f"{result.statistics.samples} used, {len(result.skipped)} skipped"),
        ("layers", f"{len(report)}, {in_float} of them in fp32"),
    ]
    table(rows)
    if result.compiled is not None and output is not None:
        summary(result.quantized.graph, result.compiled, output)
