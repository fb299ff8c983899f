"""Files are written whole or not at all, and only files are replaced."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from nntc.core.errors import UserError
from nntc.core.files import atomic_path, read_bytes, write_bytes


def test_a_failure_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"before")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    link.symlink_to(target)
    for data in (b"new", b"changed"):
        write_bytes(link, data)
        assert link.is_symlink()
        assert target.read_bytes() == data


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in the file system")
def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    # If the pipe is replaced by a file instead, the reader waits forever: it must not hold us up.
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_bytes(pipe, b"data")
    reader.join(10)
    assert got == [b"data"]
    assert pipe.is_fifo()


def test_what_cannot_be_written_or_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        write_bytes(tmp_path, b"")
    with pytest.raises(UserError, match="cannot be written: No such file"):
        write_bytes(tmp_path / "no" / "x", b"")
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_bytes(tmp_path / "x")
    assert os.listdir(tmp_path) == []
