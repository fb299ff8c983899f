"""The command line: ``nntc compile | run | check | info | disasm | view | doctor``.

One file for each command; each has ``HELP``, ``configure(parser)`` and ``execute(args)``, and
imports what is heavy only inside ``execute``, so that ``nntc --help`` is instant.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    from nntc.cli.main import main as run

    return run(argv)


__all__ = ["main"]
