"""The historical module names, put where Python finds them when the user asks for it.

Scripts say ``import bmnetu`` or ``python3 -m ufw.cali.cali_model``. Such names at the top level are
not part of the installation: they could hide, or be hidden by, the chip maker's own packages.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

from nntc.core.errors import Problems, UserError
from nntc.core.files import write_bytes

_TOOLS = ("bmneto", "bmnetc", "bmnetd", "bmnetm", "bmnetp", "bmnett", "bmnetu", "bmpaddle")
_CONVERTERS = ("cf", "tf", "pt", "mx", "dn", "on", "pp")

MODULES = {
    **{tool: f"nntc.compat.{tool}" for tool in _TOOLS},
    **{
        f"ufw.tools.{short}_to_umodel": f"nntc.compat.to_umodel:{short}_to_umodel"
        for short in _CONVERTERS
    },
    "ufw.tools": "nntc.compat.to_umodel:to_umodel",
    "ufw.tools.to_umodel": "nntc.compat.to_umodel:to_umodel",
    "ufw": "",
    "ufw.cali": "",
    "ufw.cali.cali_model": "nntc.compat.cali_model",
    "ufw.io": "nntc.compat.ufwio",
    "ufwio": "nntc.compat.ufwio",
    "ufwio.io": "nntc.compat.ufwio",
    "ufwio.lmdb_info": "nntc.compat.lmdb_info",
}
"""Historical module → the module that does its work, and its main function if it is not ``main``;
"" is an empty package."""

MARK = "# Written by 'nntc install-shims'; taken away by 'nntc install-shims --remove'.\n"


def files() -> dict[Path, str]:
    """Relative path → content of every file."""
    found: dict[Path, str] = {}
    for name, real in MODULES.items():
        package = any(other.startswith(f"{name}.") for other in MODULES)
        path = Path(*name.split("."))
        path = path / "__init__.py" if package else path.with_suffix(".py")
        module, _, main = real.partition(":")
        content = _CONTENT.format(real=module, main=main or "main") if real else ""
        found[path] = MARK + content
    return found


_CONTENT = """\
from {real} import *  # noqa: F403

if __name__ == "__main__":
    from {real} import {main}

    raise SystemExit({main}())
"""


def default_folder() -> Path:
    """Where Python keeps installed packages."""
    return Path(sysconfig.get_paths()["purelib"])


def install(folder: str | os.PathLike[str] | None = None) -> list[Path]:
    """Write the modules; files of ours are renewed.

    Raises:
        UserError: a file that is not ours is in the way, or the folder cannot be written; then
            nothing is changed.
    """
    root = default_folder() if folder is None else Path(folder)
    problems = Problems()
    for name in sorted({name.split(".")[0] for name in MODULES}):
        for path in (root / name, root / f"{name}.py"):
            if path.exists() and not _is_ours(path):
                problems.add(f"{path}: is of another package; use --into with another folder")
    problems.raise_if_any()
    written: list[Path] = []
    for relative, content in files().items():
        path = root / relative
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise UserError(
                f"{path.parent}: cannot be made: {err.strerror or err}; --into says where else"
            ) from None
        write_bytes(path, content.encode())
        written.append(path)
    return written


def remove(folder: str | os.PathLike[str] | None = None) -> list[Path]:
    """Delete the modules that :func:`install` wrote, and folders that become empty.

    Raises:
        UserError: one cannot be deleted.
    """
    root = default_folder() if folder is None else Path(folder)
    gone: list[Path] = []
    try:
        for relative in files():
            path = root / relative
            if path.is_file() and _has_mark(path):
                path.unlink()
                gone.append(path)
        for relative in sorted(files(), reverse=True):
            parent = (root / relative).parent
            while parent != root and parent.is_dir():
                for cached in parent.glob("__pycache__/*.pyc"):
                    cached.unlink()
                if (parent / "__pycache__").is_dir():
                    (parent / "__pycache__").rmdir()
                if any(parent.iterdir()):
                    break
                parent.rmdir()
                parent = parent.parent
    except OSError as err:
        raise UserError(f"{err.filename}: cannot be removed: {err.strerror}") from None
    return gone


def _is_ours(path: Path) -> bool:
    return _has_mark(path / "__init__.py" if path.is_dir() else path)


def _has_mark(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8", errors="replace").startswith(MARK)
    except OSError:
        return False
