"""Draw a model as one self-contained HTML page: layers, shapes, and where each operator runs.

examples:
  nntc view model.onnx -o model.html
  nntc view model.onnx --shapes [1,3,224,224] -o model.html
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "draw a model as an HTML page"


def configure(parser: argparse.ArgumentParser) -> None:
    from nntc.cli.compile import add_model_options

    add_model_options(parser)
    parser.add_argument(
        "-o", "--output", metavar="OUT.html", help="default: MODEL's name with .html"
    )


def execute(args: argparse.Namespace) -> None:
    from nntc import api
    from nntc.cli.compile import model_arguments
    from nntc.core.files import write_bytes
    from nntc.report.view import page

    graph = api.load(args.model, **model_arguments(args))
    output = args.output or f"{Path(args.model).stem}.html"
    write_bytes(output, page(graph, api.check(graph)).encode())
    print(output)
