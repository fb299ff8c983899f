"""LMDB data files: a reader in Python, and a writer through the ``lmdb`` package.

LMDB's own library follows the offsets of a memory-mapped file unchecked: a damaged or cut off file
ends the process. Reading is a walk over a B-tree of pages, so it is done here, with checks.

The file (little-endian, of 64-bit machines): pages of ``psize`` bytes. Pages 0 and 1 hold the meta
data, of which the one of the later transaction counts. A page starts with its number (u64), a u16,
flags (u16), then the end of its table of u16 offsets and the start of its nodes (or, on the first
page of a large value, how many pages it takes: u32). A node is lo, hi, flags, key size (u16 each),
key, value; on branch pages lo, hi and flags are the number of the page below.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from nntc.core.errors import UserError
from nntc.core.files import atomic_path

FILE_NAME = "data.mdb"
MAX_KEY_BYTES = 511

_MAGIC = 0xBEEFC0DE
_HEADER = 16
_META = 136
_NODE = 8
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_BIG, _OTHER_NODE_FLAGS = 1, 6
_NO_PAGE = (1 << 64) - 1


@dataclass(frozen=True)
class Place:
    """Where in the file a value is."""

    start: int
    size: int


class LmdbReader:
    """The keys and values of a ``data.mdb``, in the order of the keys.

    Args:
        path: the file, or its folder.

    Raises:
        UserError: missing, not an LMDB file, or damaged where its pages are described.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        given = Path(path)
        self.path = given / FILE_NAME if given.is_dir() else given
        with self._open() as file:
            self._size = file.seek(0, os.SEEK_END)
            self._page_size, self._root = self._meta(file)
            self.entries: list[tuple[bytes, Place]] = list(self._walk(file))

    def __len__(self) -> int:
        return len(self.entries)

    def value(self, index: int) -> bytes:
        """The value of the *index*-th key.

        Raises:
            UserError: the file has changed or cannot be read any more.
        """
        place = self.entries[index][1]
        with self._open() as file:
            return self._read(file, place.start, place.size)

    @contextmanager
    def _open(self) -> Generator[IO[bytes], None, None]:
        try:
            with self.path.open("rb") as file:
                yield file
        except OSError as err:
            raise UserError(f"{self.path}: cannot be read: {err.strerror or err}") from None

    def _damaged(self, why: str) -> UserError:
        return UserError(f"{self.path}: damaged LMDB file: {why}")

    def _read(self, file: IO[bytes], offset: int, size: int) -> bytes:
        if offset + size <= self._size:
            file.seek(offset)
            data = file.read(size)
            if len(data) == size:
                return data
        raise self._damaged(
            f"it has {self._size} bytes and refers to those at {offset}; it may be cut off"
        )

    def _meta(self, file: IO[bytes]) -> tuple[int, int]:
        """Page size and number of the root page."""
        if self._size < _HEADER + _META:
            raise UserError(f"{self.path}: is no LMDB file: {self._size} bytes")
        magic, version, page_size = struct.unpack("<II16xI", self._read(file, _HEADER, 28))
        if magic != _MAGIC:
            raise UserError(f"{self.path}: is no LMDB file (or of another byte order)")
        if version != 1:
            raise UserError(f"{self.path}: LMDB format {version} is not read, 1 is")
        if not (256 <= page_size <= 1 << 16 and page_size & (page_size - 1) == 0):
            raise self._damaged(f"pages of {page_size} bytes")
        metas: list[tuple[int, int]] = []
        for number in (0, 1):
            meta = self._read(file, number * page_size + _HEADER, _META)
            if meta[:4] == _MAGIC.to_bytes(4, "little"):
                # The number of the last page, between these, may be that of one never written.
                root, transaction = struct.unpack_from("<Q8xQ", meta, 112)
                metas.append((transaction, root))
        return page_size, max(metas)[1]

    def _walk(self, file: IO[bytes]) -> Iterator[tuple[bytes, Place]]:
        """All keys and the places of their values, without reading values."""
        seen: set[int] = set()
        before: bytes | None = None
        # The pages still to visit, the next one last.
        waiting = [] if self._root == _NO_PAGE else [self._root]
        while waiting:
            number = waiting.pop()
            if number in seen:
                raise self._damaged(f"page {number} is reached twice")
            seen.add(number)
            base = number * self._page_size
            page = self._read(file, base, self._page_size)
            flags, lower = struct.unpack_from("<HH", page, 10)
            if not _HEADER <= lower <= self._page_size or not flags & (_BRANCH | _LEAF):
                raise self._damaged(f"page {number} is no page of keys")
            nodes = struct.unpack_from(f"<{(lower - _HEADER) // 2}H", page, _HEADER)
            if any(node > self._page_size - _NODE for node in nodes):
                raise self._damaged(f"page {number}: a key is not on it")
            if flags & _BRANCH:
                waiting += [_below(page, node) for node in reversed(nodes)]
                continue
            for node in nodes:
                key, place = self._leaf(file, page, base, node)
                if before is not None and key <= before:
                    raise self._damaged(f"key {key!r} stands behind {before!r}")
                before = key
                yield key, place

    def _leaf(self, file: IO[bytes], page: bytes, base: int, node: int) -> tuple[bytes, Place]:
        low, high, flags, key_size = struct.unpack_from("<HHHH", page, node)
        at = node + _NODE + key_size
        size = low | high << 16
        if at + 8 * (flags & _BIG) > len(page) or flags & _OTHER_NODE_FLAGS:
            raise self._damaged(f"the node at {base + node} is no plain key and value")
        key = page[node + _NODE : at]
        start, end = base + at, base + self._page_size
        if flags & _BIG:
            (first,) = struct.unpack_from("<Q", page, at)
            header = self._read(file, first * self._page_size, _HEADER)
            over_flags, pages = struct.unpack_from("<HI", header, 10)
            start = first * self._page_size + _HEADER
            end = (first + pages) * self._page_size
            if not over_flags & _OVERFLOW:
                raise self._damaged(f"page {first} holds no value")
        if start + size > end:
            raise self._damaged(f"the value of key {key!r} leaves its pages")
        if start + size > self._size:
            raise self._damaged(f"the value of key {key!r} is missing; it was cut off")
        return key, Place(start, size)


def _below(page: bytes, node: int) -> int:
    """The number of the page that a node of a branch page is for."""
    low, high, flags = struct.unpack_from("<HHH", page, node)
    return low | high << 16 | flags << 32


class LmdbWriter:
    """Writes records with rising keys; the file appears whole when it is closed.

    Args:
        path: folder, made when missing; an older ``data.mdb`` in it is replaced on closing.
        map_size: bytes of address space to start with; doubled as needed.

    Raises:
        UserError: the folder cannot be written, or ``lmdb`` is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], map_size: int = 1 << 24) -> None:
        try:
            import lmdb
        except ImportError:
            raise UserError("writing LMDB files needs lmdb (pip install lmdb)") from None
        self._lmdb: Any = lmdb
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: is a file, a folder is needed")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise UserError(f"{self.path}: cannot be made: {err.strerror or err}") from None
        self._last = b""
        self._target = atomic_path(self.path / FILE_NAME)
        self._file = self._target.__enter__()
        self._env: Any = None
        try:
            # Nobody else reads the file before it is whole: no locks, one sync at the end.
            self._env = lmdb.open(
                str(self._file),
                map_size=max(1 << 20, math.ceil(map_size)),
                subdir=False,
                lock=False,
                sync=False,
                max_dbs=0,
            )
        except lmdb.Error as err:
            raise self._failed(err) from None

    def put(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Write records in one transaction.

        Raises:
            UserError: a key is not above the one before, or is too long; the disk is full, after
                which nothing more can be written.
        """
        if self._env is None:
            raise UserError(f"{self.path}: is closed")
        for key, _ in records:
            if not 0 < len(key) <= MAX_KEY_BYTES:
                raise UserError(f"{self.path}: key {key!r}: 1 to {MAX_KEY_BYTES} bytes are allowed")
            if key <= self._last:
                raise UserError(f"{self.path}: key {key!r} does not come after {self._last!r}")
            self._last = key
        while records:
            try:
                with self._env.begin(write=True) as transaction:
                    for key, value in records:
                        transaction.put(key, value, append=True)
                return
            except self._lmdb.MapFullError:
                self._env.set_mapsize(2 * self._env.info()["map_size"])
            except self._lmdb.Error as err:
                raise self._failed(err) from None

    def close(self) -> None:
        """Finish the file; again is allowed."""
        if self._env is None:
            return
        try:
            self._env.sync(True)
        except self._lmdb.Error as err:
            raise self._failed(err) from None
        self._leave(None)

    def discard(self) -> None:
        """Give up; nothing stays, an older file is left as it was."""
        if self._env is not None:
            self._leave(UserError("discarded"))

    def _failed(self, err: Exception) -> UserError:
        problem = UserError(f"{self.path}: cannot be written: {err}")
        self._leave(problem)
        return problem

    def _leave(self, error: UserError | None) -> None:
        """Close the file; it gets its name unless there was an error."""
        if self._env is not None:
            self._env.close()
            self._env = None
        self._target.__exit__(type(error) if error else None, error, None)
