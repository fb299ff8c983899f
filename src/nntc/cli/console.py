"""What commands print: tables, and progress.

A terminal gets progress bars, on standard error. Elsewhere progress is lines of the output, so
that standard error holds nothing but problems.
"""

from __future__ import annotations

import contextlib
import sys
import time
import unicodedata
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING

from nntc.cli.main import printable

if TYPE_CHECKING:
    from nntc.api import Progress


def width(text: str) -> int:
    """Columns of *text* in a terminal: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def table(rows: Iterable[Sequence[object]], header: Sequence[str] = (), right: str = "") -> None:
    """Print rows in aligned columns.

    Args:
        right: one character for each column, ``r`` for right-aligned.
    """
    lines = [[printable(str(cell)) for cell in row] for row in rows]
    if header:
        lines.insert(0, list(header))
    if not lines:
        return
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        cells = []
        for index, (cell, size) in enumerate(zip(line, widths, strict=True)):
            gap = " " * (size - width(cell))
            cells.append(gap + cell if right[index : index + 1] == "r" else cell + gap)
        print("  ".join(cells).rstrip())
        if header and number == 0:
            print("  ".join("-" * size for size in widths))


def human_bytes(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GB"


def human_seconds(seconds: float) -> str:
    for unit, size in (("us", 1e6), ("ms", 1e3)):
        if seconds * size < 1000:
            return f"{seconds * size:.3g} {unit}"
    return f"{seconds:.2f} s"


@contextlib.contextmanager
def progress(quiet: bool = False) -> Generator[Progress, None, None]:
    """A progress function for :mod:`nntc.api`: a bar on a terminal, one line a stage elsewhere."""
    if quiet:
        yield lambda stage, done, total: None
    elif sys.stderr.isatty():
        with _bars() as update:
            yield update
    else:
        lines = _Lines()
        yield lines.update
        lines.close()


class _Lines:
    """One line when a stage ends, with its time."""

    def __init__(self) -> None:
        self.stage = ""
        self.started = time.perf_counter()

    def update(self, stage: str, done: int, total: int) -> None:
        if stage != self.stage:
            self.close()
            self.stage, self.started = stage, time.perf_counter()

    def close(self) -> None:
        if self.stage:
            elapsed = time.perf_counter() - self.started
            print(f"{printable(self.stage)}: {elapsed:.2f} s", flush=True)
        self.stage = ""


@contextlib.contextmanager
def _bars() -> Generator[Progress, None, None]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    with Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def finish() -> None:
            for task in bars.tasks:
                if task.stop_time is None:
                    whole = task.total or 1
                    bars.update(task.id, total=whole, completed=whole)
                    bars.stop_task(task.id)

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                finish()
                tasks[stage] = bars.add_task(printable(stage), total=total or None)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield update
        # Not after an error: the stage that failed stays unfinished.
        finish()
