"""Runs commands on the chip maker's C-model; a process of its own, because the library switches
its process to flush-to-zero and ends it when a command breaks a rule.

usage: cmodel_child.py LIBRARY_FOLDER INPUT.npz OUTPUT_FOLDER

INPUT holds ``commands`` (u8[k, 128]), ``engines`` (u8[k]) and the memory before every command:
``local`` (u8[64, span]), ``l2`` and ``ddr``. For command k, OUTPUT_FOLDER/k.npz gets the bytes
that changed: positions and values per memory.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import numpy as np

LANES, LANE_BYTES = 64, 512 * 1024
L2_OFFSET = 0x200000


class _LocalMemory(ctypes.Structure):
    _fields_ = (("raw", ctypes.c_void_p),)


def _array(address: int, size: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


def main(folder: str, source: str, target: str) -> None:
    library = ctypes.CDLL(str(Path(folder) / "libcmodel_bm1684.so"))
    library.cmodel_init.argtypes = [ctypes.c_int32, ctypes.c_int64]
    library.cmodel_init(0, 1 << 26)
    library.get_global_memaddr.restype = ctypes.c_void_p
    library.get_l2_sram.restype = ctypes.c_void_p
    library.get_local_mem.restype = ctypes.POINTER(_LocalMemory)
    library.get_atomic_function.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p)
    library.get_atomic_function.restype = call

    with np.load(source) as archive:
        z = {name: archive[name] for name in archive.files}
    raw = library.get_local_mem(0).contents.raw
    lanes = _array(raw, LANES * LANE_BYTES).reshape(LANES, LANE_BYTES)
    memories = {
        "local": lanes[:, : z["local"].shape[1]],
        "l2": _array(library.get_l2_sram(0), 1 << 22)[L2_OFFSET : L2_OFFSET + z["l2"].size],
        "ddr": _array(library.get_global_memaddr(0), z["ddr"].size),
    }
    for k, (command, engine) in enumerate(zip(z["commands"], z["engines"], strict=True)):
        for name, memory in memories.items():
            memory[...] = z[name]
        data = ctypes.create_string_buffer(command.tobytes(), 192)
        pointer = ctypes.cast(data, ctypes.c_void_p)
        library.get_atomic_function(pointer, int(engine))(0, pointer)
        found: dict[str, np.ndarray] = {}
        for name, memory in memories.items():
            at = np.flatnonzero(memory != z[name])
            found[f"{name}_at"], found[f"{name}_value"] = at, memory.ravel()[at]
        np.savez(Path(target) / f"{k}.npz", **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # The library's destructors abort.
