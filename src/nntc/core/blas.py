"""Matrix products whose bits do not depend on the number of threads.

A multi-threaded BLAS divides a product by its number of threads, and the order of a sum changes
with the division. So the library runs with one thread while :func:`one_thread` is active, and
callers divide products themselves, by shape alone.

Known here: OpenBLAS, which NumPy's wheels bring along. Other libraries keep their threads.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

_lock = threading.Lock()
_active = 0
_before = 0


@contextmanager
def one_thread() -> Generator[None, None, None]:
    """OpenBLAS runs with one thread inside the block, in the whole process."""
    global _active, _before
    read, write = _controls()
    with _lock:
        if not _active:
            _before = read()
            write(1)
        _active += 1
    try:
        yield
    finally:
        with _lock:
            _active -= 1
            if not _active:
                write(_before)


@functools.cache
def _controls() -> tuple[Callable[[], int], Callable[[int], Any]]:
    """Functions that read and set the number of threads; idle ones for other libraries."""
    for path in _libraries():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for name in ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}"):
            read = getattr(library, name.format("get_num_threads"), None)
            write = getattr(library, name.format("set_num_threads"), None)
            if read is not None and write is not None:
                return read, write
    return (lambda: 1), (lambda count: None)


def _libraries() -> list[str]:
    """OpenBLAS libraries that NumPy has loaded."""
    try:
        lines = Path("/proc/self/maps").read_text(errors="replace").splitlines()
        found = {line.split(maxsplit=5)[-1] for line in lines if "openblas" in line.lower()}
    except OSError:
        package = Path(np.__file__).parent
        folders = (package.parent / "numpy.libs", package / ".dylibs")
        found = {str(file) for folder in folders for file in folder.glob("*openblas*")}
    return sorted(found)
