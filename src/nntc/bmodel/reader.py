"""Reading a BModel file, strictly.

A file is: 64-byte header (16 u32: magic, header size, flatbuffer size, binary size, 12 reserved),
flatbuffer, binary section; nothing else. It may come from anywhere: whatever its bytes, reading
ends in a model that is safe to use, or in a BModelError that says what is wrong and where.
"""

from __future__ import annotations

import os
import struct

from nntc.bmodel.convert import Lift
from nntc.bmodel.flat import Blobs, FlatReader
from nntc.bmodel.model import BModel
from nntc.bmodel.rules import problems as broken_rules
from nntc.bmodel.unknown import recover
from nntc.core.errors import BModelError, Problems
from nntc.core.files import read_bytes

MAGIC = 0xFF55AAEE
OLD_MAGIC = 0xFF55AAFF
HEADER = struct.Struct("<16I")
MAX_LINES = 20


def read(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> BModel:
    """The model in a file, given by path or by content.

    Raises:
        UserError: the file cannot be read.
        BModelError: it is not a sound BModel; one line for each problem.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, name = bytes(source), "BModel"
    else:
        data, name = read_bytes(source), os.fspath(source)
    problems = Problems(BModelError)
    model = _decode(data, problems)
    if model is None or len(problems):
        lines = [f"{name}: {line}" for line in problems]
        if len(lines) > MAX_LINES:
            more = len(lines) - MAX_LINES
            lines[MAX_LINES:] = [f"{name}: {more} more problems are not listed"]
        raise BModelError(lines)
    return model


def _decode(data: bytes, problems: Problems) -> BModel | None:
    sizes = _header(data, problems)
    if sizes is None:
        return None
    flat_size, binary_size = sizes
    flat = data[HEADER.size : HEADER.size + flat_size]
    blobs = Blobs(data, HEADER.size + flat_size, binary_size)
    reader = FlatReader(flat, HEADER.size, blobs, problems)
    root = reader.root()
    if root is None or len(problems):
        return None
    dropped = recover(reader)
    lift = Lift(problems)
    model = lift.model(root)
    model.dropped = (*dropped, *lift.dropped)
    if not len(problems):
        for line in broken_rules(model):
            problems.add(line)
    return model


def _header(data: bytes, problems: Problems) -> tuple[int, int] | None:
    """(bytes of the flatbuffer, bytes of the binary section)."""
    if len(data) < HEADER.size:
        problems.add(f"{len(data)} bytes, a BModel starts with a header of {HEADER.size}")
        return None
    magic, header_size, flat_size, binary_size = HEADER.unpack_from(data)[:4]
    if magic != MAGIC:
        kind = "an older format (bmtap2)" if magic == OLD_MAGIC else "not a BModel"
        problems.add(f"offset 0x0: magic {magic:#010x} is not {MAGIC:#010x}: {kind}")
        return None
    if header_size != HEADER.size:
        problems.add(f"offset 0x4: header size {header_size} is not {HEADER.size}")
    needed = HEADER.size + flat_size + binary_size
    if needed != len(data):
        problems.add(
            f"offset 0x8: flatbuffer {flat_size} + binary section {binary_size} + header "
            f"{HEADER.size} = {needed} bytes, the file has {len(data)}"
        )
    return None if len(problems) else (flat_size, binary_size)
