"""Say where each operator of a model would run: on the TPU, on the CPU beside it, or nowhere.

examples:
  nntc check model.onnx
  nntc check model.onnx --shapes [1,3,224,224] --all

Exit status 2 if some operator is refused, so that scripts can test it.
"""

from __future__ import annotations

import argparse

HELP = "which operators of a model run where"


def configure(parser: argparse.ArgumentParser) -> None:
    from nntc.cli.compile import add_model_options

    add_model_options(parser)
    parser.add_argument("--all", action="store_true", help="list every node, not only a summary")


def execute(args: argparse.Namespace) -> int:
    from collections import Counter

    from nntc import api
    from nntc.cli.compile import model_arguments
    from nntc.cli.console import table
    from nntc.core.errors import EXIT_STATUS
    from nntc.report.labels import label

    findings = api.check(args.model, **model_arguments(args))
    if args.all:
        table(
            [(f.node.source, label(f.node.op), f.place, f.reason) for f in findings],
            ("node", "operator", "runs on", "reason"),
        )
        print()
    counts = Counter((label(f.node.op), f.place, f.reason) for f in findings)
    rows = [(op, count, place, reason) for (op, place, reason), count in sorted(counts.items())]
    table(rows, ("operator", "count", "runs on", "reason"), right="lr")
    nodes = {id(f.node) for f in findings}
    refused = {id(f.node) for f in findings if f.place == "refused"}
    if refused:
        print(f"\n{len(refused)} of {len(nodes)} nodes cannot be compiled")
    else:
        print(f"\nall {len(nodes)} nodes can be compiled")
    return EXIT_STATUS if refused else 0
