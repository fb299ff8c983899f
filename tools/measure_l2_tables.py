#!/usr/bin/env python3
"""Read the firmware's small L2 tables from the chip maker's C-model.

usage: measure_l2_tables.py LIBRARY_FOLDER [--write]

Without ``--write`` the measured tables are compared with the stored ones and with the whole L2
image that the simulator starts from. The library switches its process to flush-to-zero, so this
script must stay a process of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
from pathlib import Path

import numpy as np

from nntc.isa.chip import L2_BYTES
from nntc.sim.memory import l2_image

STORED = Path(__file__).resolve().parent.parent / "src/nntc/sim/l2_tables.npy"
START, STOP = 0x300000, 0x301800


def measure(folder: Path) -> np.ndarray:
    """L2 after the C-model's initialisation; u8[4 MB]."""
    library = ctypes.CDLL(str(folder / "libcmodel_bm1684.so"))
    library.cmodel_init.argtypes = [ctypes.c_int32, ctypes.c_int64]
    library.get_l2_sram.restype = ctypes.c_void_p
    library.cmodel_init(0, 1 << 28)
    memory = (ctypes.c_uint8 * L2_BYTES).from_address(library.get_l2_sram(0))
    return np.ctypeslib.as_array(memory).copy()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = measure(options.folder.resolve())
    if options.write:
        np.save(STORED, found[START:STOP].view(np.uint32))
        print(f"wrote {STORED}")
        return 0
    differ = np.flatnonzero(found != l2_image())
    print(f"{differ.size} of {found.size} bytes differ from the stored image")
    return 1 if differ.size else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # The library's destructors abort.
