"""Say what is installed and working on this machine, and why something is not.

examples:
  nntc doctor
  nntc doctor --libs ~/bm1684-libs

Exit status 2 if something is broken that compiling or simulating needs.
"""

from __future__ import annotations

import argparse

HELP = "what works on this machine, and why something does not"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--libs", metavar="DIR", help="folder of the C-model's libraries; default: NNTC_CMODEL_LIBS"
    )


def execute(args: argparse.Namespace) -> int:
    from nntc.cli.console import table
    from nntc.core.errors import EXIT_STATUS
    from nntc.report.doctor import examine

    checks = examine(args.libs)
    marks = {True: "ok", False: "FAILED", None: "-"}
    table([(marks[check.good], check.name, check.detail) for check in checks])
    return EXIT_STATUS if any(check.good is False for check in checks) else 0
