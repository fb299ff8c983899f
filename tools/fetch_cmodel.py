"""Bring the chip maker's BM1684 C-model and runtime libraries into a cache folder; print it.

They are part of the wheel tpu-mlir on PyPI (312 MB, 19 MB of which are kept). They are not part of
this project and are used only to check it.

    python tools/fetch_cmodel.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "tpu-mlir==1.30.2"
LIBRARIES = {
    "libbmrt.so.1.0": "libbmrt.so.1.0",
    "libbmlib_bm1684x.so.0": "libbmlib.so.0",
    "libcmodel_bm1684.so": "libcmodel_bm1684.so",
    "libcpuop.so.1.0.0": "libcpuop.so",
}
"""Name in the wheel → name under which the runtime looks for it."""


def folder() -> Path:
    """Where the libraries are kept; NNTC_CMODEL_LIBS wins."""
    named = os.environ.get("NNTC_CMODEL_LIBS")
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "nntc" / "cmodel"


def fetch(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        work = Path(name)
        print(f"downloading {WHEEL} (312 MB, once)", file=sys.stderr)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
        command += ["--python-version", "310", "--only-binary=:all:", "-d", str(work), WHEEL]
        subprocess.run(command, check=True, stdout=sys.stderr)
        (wheel,) = work.glob("*.whl")
        ready = work / "libs"
        ready.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for source, name in LIBRARIES.items():
                data = archive.read(f"tpu_mlir/lib/{source}")
                (ready / name).write_bytes(data)
        ready.rename(target)


def main() -> int:
    target = folder()
    missing = [name for name in LIBRARIES.values() if not (target / name).exists()]
    if missing and not target.exists():
        if os.environ.get("NNTC_CMODEL_LIBS"):
            print(f"{target}: no such folder (NNTC_CMODEL_LIBS)", file=sys.stderr)
            return 1
        try:
            fetch(target)
        except (OSError, subprocess.CalledProcessError) as err:
            print(f"the C-model's libraries could not be fetched: {err}", file=sys.stderr)
            return 1
    elif missing and len(missing) == len(LIBRARIES):
        print(f"{target}: holds none of {', '.join(missing)}", file=sys.stderr)
        return 1
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
