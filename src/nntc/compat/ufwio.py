"""The historical ``ufwio``: LMDB folders of samples, written and read.

    with LMDB_Dataset("samples") as db:
        db.put(images)
    for key, array in lmdb_data("samples"):
        ...

Keys are ``{number:010d}__{key}``, one space for no key; values are ``ufw.Datum`` messages, byte for
byte as the chip maker's tools write them. The file is ``data.mdb`` in the folder; an older one is
replaced. Unlike there, it appears whole when the dataset is closed, or not at all.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Sequence
from types import TracebackType

import numpy as np

from nntc.core.errors import UserError
from nntc.data.datum import DatumError, decode_datum, encode_datum
from nntc.data.lmdb_file import LmdbReader, LmdbWriter

__all__ = ["LMDB_Dataset", "lmdb_data"]

_FLUSH_BYTES = 1 << 26


class LMDB_Dataset:  # noqa: N801 - the historical name
    """A folder being written.

    Args:
        path: made when missing.
        queuesize: samples kept in memory before they are written; fewer when they are large.
        mapsize: bytes of address space to start with; doubled as needed.
        queue_size, map_size: other spellings of the same.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        queuesize: int = 100,
        mapsize: float = 20e6,
        *,
        queue_size: int | None = None,
        map_size: float | None = None,
    ) -> None:
        self._limit = queuesize if queue_size is None else queue_size
        self._writer = LmdbWriter(path, int(mapsize if map_size is None else map_size))
        self._queue: list[tuple[bytes, bytes]] = []
        self._queued = 0
        self._count = 0
        # Scripts that never call close() get their data when the object or the program ends.
        self._finalizer = weakref.finalize(self, _finish, self._writer, self._queue)

    def put(
        self,
        images: np.ndarray | Sequence[np.ndarray],
        labels: int | Sequence[int] | None = None,
        keys: str | Sequence[str] | None = None,
    ) -> None:
        """Add one array, or each of a list.

        Args:
            images: float32, int8, uint8, int16, uint16, int32 or uint32; stored with their shape,
                which should be the network's input's, batch included.
            labels: class numbers, one for each array.
            keys: names, one for each array; the running number is put before them.

        Raises:
            UserError: another type, numbers of labels or keys that differ, or closed already.
        """
        if not self._finalizer.alive:
            raise UserError(f"{self._writer.path}: is closed")
        arrays = [images] if isinstance(images, np.ndarray) else list(images)
        if labels is None:
            numbers: list[int | None] = [None] * len(arrays)
        else:
            numbers = [int(label) for label in np.atleast_1d(np.asarray(labels)).tolist()]
        names = [""] * len(arrays) if keys is None else [keys] if isinstance(keys, str) else keys
        if not len(arrays) == len(numbers) == len(names):
            raise UserError(
                f"{self._writer.path}: {len(arrays)} arrays, {len(numbers)} labels and "
                f"{len(names)} keys; each array needs one"
            )
        records: list[tuple[bytes, bytes]] = []
        for place, (array, label, name) in enumerate(
            zip(arrays, numbers, names, strict=True), self._count
        ):
            try:
                value = encode_datum(array, label)
            except DatumError as err:
                raise UserError(f"{self._writer.path}: sample {place}: {err}") from None
            records.append((f"{place:010d}__{name:1}".encode(), value))
        self.put_records(records)

    def put_records(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Add finished keys and values; keys must rise."""
        self._queue += records
        self._count += len(records)
        self._queued += sum(len(value) for _, value in records)
        if len(self._queue) >= self._limit or self._queued >= _FLUSH_BYTES:
            try:
                self._writer.put(self._queue)
            except UserError:
                self._finalizer.detach()
                self._writer.discard()
                raise
            self._queue.clear()
            self._queued = 0

    def close(self) -> None:
        """Write what is queued and finish the file; again is allowed.

        Raises:
            UserError: it cannot be written.
        """
        if self._finalizer.detach():
            _finish(self._writer, self._queue)

    def __enter__(self) -> LMDB_Dataset:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        elif self._finalizer.detach():
            self._writer.discard()


def _finish(writer: LmdbWriter, queue: list[tuple[bytes, bytes]]) -> None:
    try:
        writer.put(queue)
    except UserError:
        writer.discard()
        raise
    writer.close()


def lmdb_data(path: str | os.PathLike[str]) -> Iterator[tuple[bytes, np.ndarray]]:
    """Keys and arrays of a folder, in order.

    Raises:
        UserError: not such a folder, or names a damaged record.
    """
    reader = LmdbReader(path)
    for index, (key, _) in enumerate(reader.entries):
        try:
            datum = decode_datum(reader.value(index))
        except DatumError as err:
            raise UserError(f"{path}: record {key!r} is damaged: {err}") from None
        if datum.array is None:
            raise UserError(f"{path}: record {key!r} is a picture file, not an array")
        yield key, datum.array
