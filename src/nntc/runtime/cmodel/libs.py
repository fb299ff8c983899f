"""Where the chip maker's libraries lie."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from nntc.core.errors import DeviceError

FOLDER_VARIABLE = "NNTC_CMODEL_LIBS"


@dataclass(frozen=True)
class Libraries:
    """File names of the libraries; None where one is missing.

    Attributes:
        cmodel: the chip: memories and engines.
        bmlib: the driver library, built for the C-model.
        bmrt: the runtime.
    """

    folder: Path
    cmodel: Path | None
    bmlib: Path | None
    bmrt: Path | None

    def require(self, *kinds: str) -> None:
        """Check that libraries are there.

        Raises:
            DeviceError: names those that are missing.
        """
        names = {"cmodel": "libcmodel_bm1684.so", "bmlib": "libbmlib.so", "bmrt": "libbmrt.so"}
        missing = [names[kind] for kind in kinds if getattr(self, kind) is None]
        if missing:
            raise DeviceError(f"{self.folder}: {' and '.join(missing)} missing for the C-model")


def find_libraries(folder: str | os.PathLike[str] | None = None) -> Libraries:
    """The libraries in *folder*, or in the folder that NNTC_CMODEL_LIBS names.

    Raises:
        DeviceError: no folder is given, it does not exist, or this machine cannot run them.
    """
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise DeviceError("the C-model's libraries run on x86-64 Linux only")
    chosen = folder or os.environ.get(FOLDER_VARIABLE)
    if not chosen:
        raise DeviceError(
            "the C-model's libraries are not part of nntc: name their folder with --libs or "
            f"{FOLDER_VARIABLE}"
        )
    path = Path(chosen).expanduser().resolve()
    if not path.is_dir():
        raise DeviceError(f"{path}: no such folder (C-model libraries)")
    return Libraries(
        path,
        _find(path, "libcmodel_bm1684.so"),
        _find(path, "libbmlib.so"),
        _find(path, "libbmrt.so"),
    )


def _find(folder: Path, name: str) -> Path | None:
    for candidate in (name, f"{name}.0", f"{name}.1.0"):
        if (folder / candidate).is_file():
            return folder / candidate
    return None
