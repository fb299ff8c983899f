"""Parser, dispatch, and the one place where exceptions become exit statuses.

Status 0: done. 2: something in the user's input or environment, one ``error:`` line for each
problem. 1: a fault of this program. 130: interrupted. 141: the reader of our output went away.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from nntc import __version__
from nntc.cli.options import join_brackets
from nntc.core.errors import EXIT_STATUS, UserError

COMMANDS = (
    *("compile", "quantize", "run", "check", "info", "disasm"),
    *("view", "compare", "doctor", "install-shims"),
)

EPILOG = """\
the two everyday commands:
  nntc compile model.onnx -o model.bmodel
  nntc run model.bmodel --input photo.npz --output result.npz

'nntc COMMAND --help' explains a command with examples.
"""


class Parser(argparse.ArgumentParser):
    """argparse that reports a wrong command line as every other problem is reported."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see '{self.prog} --help')")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="nntc",
        description="Compiler, bit-exact simulator and runtime for the Sophon BM1684 TPU.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"nntc {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name in COMMANDS:
        module = importlib.import_module(f"nntc.cli.{name.replace('-', '_')}")
        sub = commands.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.configure(sub)
        sub.set_defaults(execute=module.execute)
    return parser


def printable(text: str) -> str:
    """*text* on one line without control characters: names come from files that nobody vetted."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def report(problems: Sequence[str]) -> int:
    for problem in problems:
        print(f"error: {printable(problem)}", file=sys.stderr)
    return EXIT_STATUS


def _quiet_stdout() -> None:
    """Send what is still buffered to nowhere, so that the interpreter's last flush cannot fail."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def guard(action: Callable[[], int | None]) -> int:
    """Run *action*; every exception becomes a message and an exit status."""
    debug = bool(os.environ.get("NNTC_DEBUG"))
    try:
        status = action() or 0
        sys.stdout.flush()
        return status
    except SystemExit as leave:  # argparse's --help and --version
        return int(leave.code or 0)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except UserError as err:
        if debug:
            raise
        return report(err.problems)
    except BrokenPipeError:
        _quiet_stdout()
        return 141
    except MemoryError:
        if debug:
            raise
        return report(["not enough memory for this model or input"])
    except OSError as err:
        if debug:
            raise
        _quiet_stdout()
        where = f"{err.filename}: " if err.filename else ""
        return report([f"{where}{err.strerror or err}"])
    except Exception as err:
        if debug:
            raise
        message = printable(f"{type(err).__name__}: {err}")
        print(f"internal error: {message} (set NNTC_DEBUG=1 to see the traceback)", file=sys.stderr)
        return 1


class _OneLine(logging.Formatter):
    """``warning: text``, whatever the text holds."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {printable(record.getMessage())}"


def _show_warnings() -> None:
    """Print what the toolchain's modules log, from warnings up."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    logger = logging.getLogger("nntc")
    logger.handlers[:] = [handler]
    logger.propagate = False


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # Names and messages hold any character; a terminal of few characters gets escapes.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]

    _show_warnings()

    def action() -> int | None:
        parser = build_parser()
        args = parser.parse_args(join_brackets(list(sys.argv[1:] if argv is None else argv)))
        if args.command is None:
            parser.print_help()
            return EXIT_STATUS
        return args.execute(args)

    return guard(action)
