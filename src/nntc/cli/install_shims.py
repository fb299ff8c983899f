"""Let scripts use the historical modules: import bmnetu, python3 -m ufw.cali.cali_model ...

examples:
  nntc install-shims
  nntc install-shims --into shims && PYTHONPATH=shims python3 -m bmnetu --help
  nntc install-shims --remove

Writes tiny modules of these names, beside the installed packages or into a folder. Files of other
packages are never touched. The commands bmnetu, calibration_use_pb and convert_imageset need none
of this. docs/historical.md lists what there is.
"""

from __future__ import annotations

import argparse

HELP = "historical module names for users' scripts"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--into", metavar="DIR", help="folder; default: Python's packages")
    parser.add_argument("--remove", action="store_true", help="take them away")


def execute(args: argparse.Namespace) -> None:
    from nntc.cli import shims

    changed = shims.remove(args.into) if args.remove else shims.install(args.into)
    for path in changed:
        print(f"{'removed' if args.remove else 'written'}: {path}")
    if args.into and not args.remove:
        print(f"for Python to find them: export PYTHONPATH={args.into}:$PYTHONPATH")
