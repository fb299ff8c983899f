"""Print what a BModel holds: nets, stages, tensors, memory, like the chip maker's own tool.

examples:
  nntc info model.bmodel
"""

from __future__ import annotations

import argparse

HELP = "what a BModel holds"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.bmodel")


def execute(args: argparse.Namespace) -> None:
    from nntc import bmodel

    text = bmodel.info(bmodel.read(args.model))
    print(text, end="" if text.endswith("\n") else "\n")
