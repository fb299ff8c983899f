"""Arrays in .npy and .npz files, one sample at a time: nothing is unpickled or read whole.

Memory holds one sample. Of arrays stored plainly (``.npy``, ``np.savez``) any sample is read
directly; those in Fortran order, where a sample lies all over the file, are memory-mapped.
Compressed ones (``np.savez_compressed``) are read as a stream: going forward costs what it skips,
going back starts again.
"""

from __future__ import annotations

import ast
import contextlib
import lzma
import math
import struct
import threading
import zipfile
import zlib
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from nntc.core.errors import UserError

MAX_SAMPLE_BYTES = 1 << 31
"""An array that has to be read at once is refused above this."""

_CHUNK = 1 << 20
_MAX_HEADER_BYTES = 1 << 14
_LOCAL_HEADER = 30
# Deflate makes data at most 1032 times smaller.
_MOST_DEFLATED = 1040

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,  # a compression method that nobody uses
    OverflowError,
    RuntimeError,  # an encrypted member
    MemoryError,
    SyntaxError,
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
)
"""What NumPy and zipfile raise on damaged files."""


class DamagedFileError(UserError):
    """A file that cannot be read or is not what it should be; its data is not to blame."""


@dataclass(frozen=True)
class Header:
    """What is written before the numbers of an array; *start* is their offset."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def _read_header(file: IO[bytes], where: str) -> Header:
    """What an .npy starts with.

    NumPy's own reader repairs headers of Python 2 and raises anything on damaged ones.

    Raises:
        UserError: no array of real numbers; or one of DAMAGE.
    """
    magic, major, minor = struct.unpack("<6sBB", file.read(8))
    if magic != b"\x93NUMPY" or (major, minor) not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError("no .npy header")
    (length,) = struct.unpack(*(("<H", file.read(2)) if major == 1 else ("<I", file.read(4))))
    if length > _MAX_HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes")
    fields = ast.literal_eval(file.read(length).decode("utf-8").strip())
    shape, fortran = fields["shape"], bool(fields["fortran_order"])
    dtype = np.dtype(fields["descr"])
    if dtype.hasobject:
        raise UserError(f"{where}: holds Python objects, not numbers")
    if dtype.kind not in "biuf":
        raise UserError(f"{where}: type {dtype} is no type of real numbers")
    if not isinstance(shape, tuple) or not all(type(dim) is int and dim >= 0 for dim in shape):
        raise ValueError(f"shape {shape!r}")
    return Header(shape, fortran, dtype, file.tell())


@contextlib.contextmanager
def naming(where: str) -> Generator[None, None, None]:
    """Errors of reading *where* as one DamagedFileError that names it."""
    try:
        yield
    except OSError as err:
        raise DamagedFileError(f"{where}: cannot be read: {err.strerror or err}") from None
    except DAMAGE as err:
        detail = str(err).strip() or type(err).__name__
        raise DamagedFileError(f"{where}: damaged: {detail.splitlines()[0]}") from None


class StoredArray:
    """An array in a file, whose leading axis is the samples'.

    Attributes:
        where: the file, and the array's name in it, for messages.
        name: the array's name; empty for .npy.
    """

    def __init__(self, path: Path, member: zipfile.ZipInfo | None = None) -> None:
        """Reads the header only.

        Raises:
            DamagedFileError: not readable, or damaged.
            UserError: not an array of real numbers.
        """
        self.path = path
        self.name = _array_name(member) if member else ""
        self.where = f"{path}: array {self.name!r}" if member else str(path)
        self._member = member
        self._lock = threading.Lock()
        self._stream: IO[bytes] | None = None
        self._next = 0
        self._crc = 0
        self._failure: list[str] | None = None
        self._mapped: np.ndarray | None = None
        with naming(self.where), self._open() as file:
            self._header = _read_header(file, self.where)
            available = _size(path, member)
            if available - self._header.start < self._header.bytes:
                raise ValueError(
                    f"shape {list(self.shape)} takes {self._header.bytes} bytes, "
                    f"{available - self._header.start} are there"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        return self._header.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._header.dtype

    def read(self) -> np.ndarray:
        """The whole array, read at once.

        Raises:
            DamagedFileError: damaged.
            UserError: above MAX_SAMPLE_BYTES.
        """
        header = self._header
        if header.bytes > MAX_SAMPLE_BYTES:
            raise UserError(f"{self.where}: {header.bytes} bytes; {MAX_SAMPLE_BYTES} are read")
        with naming(self.where), self._open() as file:
            _read_header(file, self.where)
            data = file.read(header.bytes)
            # The end of a member is where its check sum is compared.
            file.read(1)
            return self._form(data, header.shape)

    def check_samples(self) -> None:
        """Raise a UserError if samples cannot be read one by one."""
        if self._header.fortran and len(self.shape) > 1 and not self._plain:
            raise UserError(
                f"{self.where}: compressed in Fortran order, samples cannot be read one by one; "
                "save np.ascontiguousarray of it, or with np.savez"
            )

    def sample(self, index: int) -> np.ndarray:
        """``array[index]``, with memory for that sample alone; see check_samples.

        Raises:
            DamagedFileError: from now on every time, at once.
        """
        with self._lock:
            if self._failure is None:
                try:
                    with naming(self.where):
                        return self._sample(index)
                except DamagedFileError as err:
                    self._failure = err.problems
            raise DamagedFileError(self._failure)

    @property
    def _plain(self) -> bool:
        return self._member is None or self._member.compress_type == zipfile.ZIP_STORED

    def _sample(self, index: int) -> np.ndarray:
        if not self._plain:
            return self._streamed(index)
        if self._header.fortran and len(self.shape) > 1:
            return np.array(self._map()[index])
        return self._direct(index)

    def _form(self, data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        if len(data) != math.prod(shape) * self.dtype.itemsize:
            raise EOFError("it ends early")
        flat = np.frombuffer(data, self.dtype)
        return flat.reshape(shape[::-1]).T if self._header.fortran else flat.reshape(shape)

    @contextlib.contextmanager
    def _open(self) -> Generator[IO[bytes], None, None]:
        if self._member is None:
            with self.path.open("rb") as file:
                yield file
        else:
            with zipfile.ZipFile(self.path) as archive, archive.open(self._member) as content:
                yield content

    def _map(self) -> np.ndarray:
        if self._mapped is None:
            start = self._data_offset() + self._header.start
            self._mapped = np.memmap(self.path, self.dtype, "r", start, self.shape, "F")
        return self._mapped

    def _direct(self, index: int) -> np.ndarray:
        """Not through a memory map: its pages would count as this process's memory."""
        shape = self.shape[1:]
        size = math.prod(shape) * self.dtype.itemsize
        start = self._data_offset()
        with self.path.open("rb") as file:
            if index == 0:
                file.seek(start)
                self._crc, self._next = zlib.crc32(file.read(self._header.start)), 0
            file.seek(start + self._header.start + index * size)
            data = file.read(size)
        if self._member is not None and index == self._next:
            # Read in order, the check sum of the whole costs nothing to speak of.
            self._crc, self._next = zlib.crc32(data, self._crc), index + 1
            ends = self._header.start + self._next * size == self._member.file_size
            if ends and self._crc != self._member.CRC:
                raise ValueError("the check sum is wrong")
        return self._form(data, shape)

    def _data_offset(self) -> int:
        """Where in the file the .npy starts."""
        member = self._member
        if member is None:
            return 0
        if member.flag_bits & 1:
            raise ValueError("it is encrypted")
        with self.path.open("rb") as file:
            file.seek(member.header_offset)
            local = file.read(_LOCAL_HEADER)
        if len(local) != _LOCAL_HEADER or local[:4] != b"PK\3\4":
            raise ValueError("no local header")
        name, extra = struct.unpack_from("<HH", local, 26)
        return member.header_offset + _LOCAL_HEADER + name + extra

    def _streamed(self, index: int) -> np.ndarray:
        assert self._member is not None
        shape = self.shape[1:]
        size = math.prod(shape) * self.dtype.itemsize
        if self._stream is None or index < self._next:
            self.close()
            # The archive's own file is closed with the last stream on it.
            with zipfile.ZipFile(self.path) as archive:
                self._stream = archive.open(self._member)
            self._next = 0
            _read_header(self._stream, self.where)
        try:
            self._skip(self._stream, (index - self._next) * size)
            data = self._stream.read(size)
            if index == self.shape[0] - 1:
                self._stream.read(1)
            self._next = index + 1
            return self._form(data, shape)
        except BaseException:
            self.close()
            raise

    def _skip(self, stream: IO[bytes], count: int) -> None:
        while count:
            found = len(stream.read(min(count, _CHUNK)))
            if not found:
                raise EOFError("it ends early")
            count -= found

    def close(self) -> None:
        """Forget the stream; the next sample opens it again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _size(path: Path, member: zipfile.ZipInfo | None) -> int:
    """Bytes of the .npy; of a compressed one at most what its compressed bytes can hold."""
    if member is None:
        return path.stat().st_size
    if member.compress_type != zipfile.ZIP_DEFLATED:
        return member.file_size
    return min(member.file_size, _MOST_DEFLATED * member.compress_size)


def arrays_of(path: Path, wanted: Collection[str]) -> list[StoredArray]:
    """The arrays of an .npz, or the one of an .npy; told apart by content.

    When all the *wanted* names are there, only those: what else lies in the file does not matter.

    Raises:
        DamagedFileError: not readable, not such a file, or damaged.
        UserError: names every array that is none of real numbers.
    """
    with naming(str(path)):
        if not path.is_file():
            # Opening a pipe would wait for a writer.
            raise DamagedFileError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            start = file.read(6)
        if start == b"\x93NUMPY":
            return [StoredArray(path)]
        if not start:
            raise DamagedFileError(f"{path}: the file is empty")
        if not start.startswith(b"PK"):
            raise DamagedFileError(f"{path}: is neither an .npz nor an .npy file")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    names = [_array_name(member) for member in members]
    if len(set(names)) < len(names):
        raise DamagedFileError(f"{path}: damaged: two arrays of one name")
    if set(wanted) <= set(names):
        members = [member for member in members if _array_name(member) in wanted]
    found: list[StoredArray] = []
    problems: list[str] = []
    damaged: list[str] = []
    for member in members:
        try:
            found.append(StoredArray(path, member))
        except DamagedFileError as err:
            damaged += err.problems
        except UserError as err:
            problems += err.problems
    if damaged and not problems:
        raise DamagedFileError(damaged)
    if problems:
        raise UserError(problems + damaged)
    if not found:
        raise DamagedFileError(f"{path}: holds no array")
    return found


def _array_name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes in pieces; none when it is no file any more."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece
