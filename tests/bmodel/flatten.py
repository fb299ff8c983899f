"""Changing bytes of a BModel file, for tests of the reader."""

from __future__ import annotations

import random
import struct

HEADER = 64
NUMBERS = (0, 1, 2, 3, 4, 8, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1)


def split(data: bytes) -> tuple[bytes, bytes]:
    """(flatbuffer, binary section)."""
    flat, binary = struct.unpack_from("<2I", data, 8)
    return data[HEADER : HEADER + flat], data[HEADER + flat : HEADER + flat + binary]


def join(flat: bytes, binary: bytes) -> bytes:
    """A file with a header that fits."""
    return struct.pack("<16I", 0xFF55AAEE, 64, len(flat), len(binary), *[0] * 12) + flat + binary


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to four random changes, most of them in the flatbuffer."""
    raw = bytearray(data)
    flat = struct.unpack_from("<I", data, 8)[0]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        end = len(raw) if rng.random() < 0.05 else min(len(raw), HEADER + flat)
        start = 0 if rng.random() < 0.05 else HEADER
        at = rng.randrange(start, end)
        kind = rng.randrange(6)
        if kind == 0:
            raw[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            raw[at] = rng.randrange(256)
        elif kind == 2:
            at -= at % 4
            raw[at : at + 4] = struct.pack("<I", rng.choice(NUMBERS))
        elif kind == 3:
            at -= at % 4
            old = int.from_bytes(raw[at : at + 4], "little")
            raw[at : at + 4] = struct.pack("<I", (old + rng.randrange(-64, 65)) % 2**32)
        elif kind == 4:
            at -= at % 2
            raw[at : at + 2] = struct.pack("<H", rng.choice(NUMBERS) & 0xFFFF)
        else:
            length = rng.randrange(1, 65)
            source = rng.randrange(start, end)
            raw[at : at + length] = raw[source : source + length]
    return bytes(raw[: len(data)])
