"""Print the instructions of a BModel, ours or one of the chip maker's compilers.

examples:
  nntc disasm model.bmodel | less
  nntc disasm model.bmodel -o model.asm

Each line is one command: operation, number, what it waits for (<g7: GDMA command 7, <t3: TIU
command 3), and its operands. The text holds every bit: it parses back to the same bytes.
"""

from __future__ import annotations

import argparse

HELP = "the instructions of a BModel as text"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.bmodel")
    parser.add_argument("-o", "--output", metavar="FILE", help="write to a file")


def execute(args: argparse.Namespace) -> None:
    from nntc import bmodel
    from nntc.core.files import atomic_path
    from nntc.isa.text import listing_lines

    lines = listing_lines(bmodel.read(args.model))
    if not args.output:
        for line in lines:
            print(line)
        return
    with atomic_path(args.output) as path, path.open("w", encoding="utf-8") as out:
        for line in lines:
            out.write(line + "\n")
