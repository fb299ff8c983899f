"""Compare two models on sample data, value by value: which layer loses how much.

examples:
  nntc compare model.onnx model.int8.umodel --data photos --preprocess crop=224,scale=0.0078
  nntc compare model.onnx model.int8.umodel --data photos.npz --html report.html
  nntc compare model.onnx model.bmodel --data photos.npz --metric top1
  nntc compare fp32.umodel int8.umodel --data photos --metric mine.py:accuracy --limit 100

A is the reference. Each is a model file, a UModel (fp32 or int8), a .bmodel (run on the simulator;
its outputs are compared), or recorded outputs (.npz, .npy or a folder of these). Integers are
compared as the numbers they stand for. SQNR is the ratio of signal to error, in dB. 'own' is the
SQNR that a layer would have if its inputs were exact: the least names the guilty layer. 'drop' is
what a value has lost since the values that it is computed from. FILE.py of --metric is executed;
its function(outputs of A, outputs of B, the sample's number) returns a number, the more the better.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "compare two models on sample data: which layer loses how much"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="the reference, e.g. model.onnx")
    parser.add_argument("b", metavar="B", help="what is judged, e.g. model.int8.umodel")
    parser.add_argument(
        "--data", metavar="DATA", help="folder of pictures or arrays, .npz, .npy, list or LMDB"
    )
    parser.add_argument("--preprocess", metavar="P", help="what makes an input of a picture")
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="use N samples (default: all)"
    )
    parser.add_argument(
        "--metric", metavar="M", help="of the outputs: cosine, sqnr, top1 or FILE.py:function"
    )
    parser.add_argument("--html", metavar="OUT.html", help="write a report with plots")
    parser.add_argument(
        "--top",
        type=int,
        default=20,
        metavar="K",
        help="print, and draw in the report, the K worst values; 0: all (default: 20)",
    )
    parser.add_argument(
        "--sort",
        choices=("own", "drop", "sqnr", "order"),
        default="own",
        help="first the layers that are worst on exact inputs, those that lose most, the worst "
        "values; or in order of execution (default: own, or drop where that is not known)",
    )
    parser.add_argument(
        "--statistics", metavar="FILE", help="of a calibration of A: drawn in the report"
    )
    parser.add_argument(
        "--simulate", action="store_true", help="compile B and run it on the simulated chip"
    )
    parser.add_argument(
        "--weights", "--weight", metavar="FILE", help="of a model that keeps them in a second file"
    )
    parser.add_argument(
        "--shapes", action="append", default=[], metavar="SHAPES", help="see 'nntc compile'"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="do not show progress")


def execute(args: argparse.Namespace) -> None:
    from nntc import api
    from nntc.cli import console
    from nntc.cli.main import printable
    from nntc.cli.options import parse_shapes
    from nntc.core.errors import UserError
    from nntc.core.files import write_bytes

    if args.top < 0:
        raise UserError(f"--top {args.top}: the number of values cannot be negative")
    if args.html:
        api.check_writable(Path(args.html))
    with console.progress(args.quiet) as progress:
        comparison = api.compare(
            args.a,
            args.b,
            args.data,
            preprocess=args.preprocess,
            limit=args.limit,
            metric=args.metric,
            statistics=args.statistics,
            simulate=args.simulate,
            distributions=bool(args.html),
            progress=progress,
            weights=args.weights,
            shapes=parse_shapes(args.shapes) or None,
        )
    for line in comparison.table(args.top, args.sort).split("\n"):
        print(printable(line))
    if args.html:
        write_bytes(args.html, comparison.html(args.top, args.sort).encode())
        print(args.html)
