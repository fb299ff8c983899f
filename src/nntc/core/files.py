"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

from nntc.core.errors import UserError


def _reason(err: OSError) -> str:
    return err.strerror or type(err).__name__


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Generator[Path, None, None]:
    """Give a temporary path beside *path*; on success it is renamed to *path*, else removed.

    A link stays a link: its target is replaced. Devices and pipes are written to.

    Raises:
        UserError: the folder is missing, not writable or full.
    """
    final = Path(path)
    try:
        if final.is_dir():
            raise UserError(f"{final}: is a folder, a file name is needed")
        target = Path(os.path.realpath(final))
        special = target.exists() and not target.is_file()
        folder = None if special else target.parent
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=folder)
    except OSError as err:
        raise UserError(f"{final}: cannot be written: {_reason(err)}") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if special:
            target.write_bytes(temporary.read_bytes())
            return
        # mkstemp makes the file private; a result should have the user's usual permissions.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, target)
    except OSError as err:
        raise UserError(f"{final}: cannot be written: {_reason(err)}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write *data* to *path* atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The whole file.

    Raises:
        UserError: missing, a folder, or not readable.
    """
    try:
        return Path(path).read_bytes()
    except OSError as err:
        raise UserError(f"{path}: cannot be read: {_reason(err)}") from None
