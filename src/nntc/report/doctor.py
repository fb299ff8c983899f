"""What is installed and working on this machine, and why something is not."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

import nntc
from nntc.core.errors import UserError

NEEDED = ("numpy", "numba", "onnx", "flatbuffers", "safetensors", "rich", "pillow", "lmdb")
OPTIONAL = {
    "onnxruntime": "second opinion of 'compile --cmp'",
}
_MODULES = {"pillow": "PIL"}


@dataclass(frozen=True)
class Check:
    """One line of the report; ``good`` is None for something optional that is absent."""

    name: str
    good: bool | None
    detail: str


def examine(libs: str | None = None) -> list[Check]:
    """Every check, in the order of the report.

    Args:
        libs: folder of the C-model's libraries; default: NNTC_CMODEL_LIBS.
    """
    checks = [
        Check("nntc", True, f"{nntc.__version__} in {Path(nntc.__file__).parent}"),
        Check("python", sys.version_info >= (3, 10), _python()),
    ]
    checks += [_package(name, needed=True) for name in NEEDED]
    checks += [_package(name, needed=False) for name in OPTIONAL]
    checks.append(_cache())
    checks.append(_try("simulator (fast)", lambda: _device("simulator", engine="fast")))
    checks.append(_try("simulator (reference)", lambda: _device("simulator", engine="reference")))
    checks += _cmodel(libs)
    return checks


def _python() -> str:
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    return f"{platform.python_version()} on {system}"


def _package(name: str, needed: bool) -> Check:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        # Some distributions ship a module without its metadata.
        version = "" if util.find_spec(_MODULES.get(name, name)) else None
    if version is None:
        use = "" if needed else f" ({OPTIONAL[name]})"
        return Check(name, False if needed else None, f"not installed{use}")
    return Check(name, True, version or "installed")


def _cache() -> Check:
    """Where the simulator's compiled kernels are kept between runs."""
    try:
        from nntc.sim.fast.native import _CACHE_FOLDER
    except ImportError as err:
        return Check("cache", False, str(err))
    if _CACHE_FOLDER:
        return Check("cache", True, f"compiled kernels are kept in {_CACHE_FOLDER}")
    return Check("cache", None, "no folder is writable: set XDG_CACHE_HOME, or each start compiles")


def _try(name: str, action: Callable[[], object]) -> Check:
    started = time.perf_counter()
    try:
        action()
    except UserError as err:
        return Check(name, False, "; ".join(err.problems))
    except Exception as err:  # whatever is broken here is what the user wants to know
        return Check(name, False, f"{type(err).__name__}: {err}")
    return Check(name, True, f"a small net is right ({time.perf_counter() - started:.2f} s)")


def _device(name: str, **options: Any) -> None:
    from nntc.runtime import open_device
    from nntc.runtime.selftest import try_device

    try_device(open_device(name, **options))


def _cmodel(libs: str | None) -> list[Check]:
    """The chip maker's C-model is optional, but what is named must work."""
    from nntc.runtime.cmodel import find_libraries
    from nntc.runtime.cmodel.libs import FOLDER_VARIABLE

    named = libs or os.environ.get(FOLDER_VARIABLE)
    try:
        found = find_libraries(libs)
    except UserError as err:
        return [Check("cmodel", False if named else None, "; ".join(err.problems))]
    checks = [Check("cmodel libraries", True, str(found.folder))]
    options: dict[str, Any] = {"libs": str(found.folder), "timeout": 60.0}
    for device in ("cmodel", "cmodel-commands"):
        checks.append(_try(device, lambda device=device: _device(device, **options)))
    return checks
