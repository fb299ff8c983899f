"""The C-model alone: its memories, and its two engines command by command.

Used inside a worker process only. The order of execution is chosen here: one engine runs as far
ahead as the dependency numbers let it, so that a dependency that is missing shows every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import (
    CDLL,
    CFUNCTYPE,
    c_int,
    c_longlong,
    c_ubyte,
    c_uint,
    c_void_p,
    cast,
    create_string_buffer,
)
from pathlib import Path

import numpy as np

from nntc.core.errors import DeviceError
from nntc.isa import Engine, Instruction, decode
from nntc.isa.chip import COMMAND_BYTES, CONTEXT_BASE, DDR_BASE, Direction


class Chip:
    """One BM1684 with *size* bytes of DDR, working memory and coefficients moved as asked.

    Args:
        cmodel: the library's file.
        size: bytes of DDR from 0x1_0000_0000 on.
        ctx_addr: where the stage's working memory starts; coefficients lie below.
        coeff_offset, ctx_offset: how far from its compiled address each part is put.
        order: ``gdma`` or ``tiu``: the engine that runs ahead.
    """

    def __init__(
        self,
        cmodel: Path,
        size: int,
        ctx_addr: int,
        coeff_offset: int = 0,
        ctx_offset: int = 0,
        order: str = "gdma",
    ) -> None:
        lib = CDLL(str(cmodel))
        lib.cmodel_init.argtypes = [c_int, c_longlong]
        lib.get_global_memaddr.argtypes = [c_int]
        lib.get_global_memaddr.restype = c_void_p
        lib.get_atomic_function.argtypes = [c_void_p, c_uint]
        lib.get_atomic_function.restype = c_void_p
        lib.cmodel_init(0, size)
        start = lib.get_global_memaddr(0)
        self._lib = lib
        self._call = CFUNCTYPE(c_int, c_int, c_void_p)
        self._ddr = np.ctypeslib.as_array((c_ubyte * size).from_address(start))
        self._ctx_addr = ctx_addr
        self._coeff_offset = coeff_offset
        self._ctx_offset = ctx_offset
        self._ahead = Engine.GDMA if order == "gdma" else Engine.TIU

    def place(self, address: int) -> int:
        """Where a compiled address really lies (the runtime's rule for commands)."""
        if address < CONTEXT_BASE:
            return address
        return address + (self._coeff_offset if address < self._ctx_addr else self._ctx_offset)

    def _range(self, address: int, size: int) -> slice:
        start = self.place(address) - DDR_BASE
        if start < 0 or start + size > self._ddr.size:
            raise DeviceError(f"address {address:#x}, {size} bytes: outside of the C-model's DDR")
        return slice(start, start + size)

    def write(self, address: int, data: np.ndarray) -> None:
        self._ddr[self._range(address, data.size)] = data

    def read(self, address: int, size: int) -> np.ndarray:
        return self._ddr[self._range(address, size)].copy()

    def run(self, groups: Sequence[tuple[bytes, bytes]]) -> None:
        """Execute command groups (TIU bytes, GDMA bytes).

        Raises:
            DeviceError: the dependency numbers cannot be fulfilled.
        """
        for number, (tiu, gdma) in enumerate(groups):
            streams = {
                Engine.TIU: _commands(Engine.TIU, tiu),
                Engine.GDMA: _commands(Engine.GDMA, gdma),
            }
            self._run_group(number, streams)

    def _run_group(self, number: int, streams: dict[Engine, list[Instruction]]) -> None:
        other = {Engine.TIU: Engine.GDMA, Engine.GDMA: Engine.TIU}
        position = dict.fromkeys(streams, 0)
        done = dict.fromkeys(streams, 0)
        order = (self._ahead, other[self._ahead])
        while any(position[engine] < len(streams[engine]) for engine in order):
            for engine in order:
                if position[engine] == len(streams[engine]):
                    continue
                instruction = streams[engine][position[engine]]
                if done[other[engine]] >= instruction.waits_for:
                    self._execute(instruction)
                    position[engine] += 1
                    done[engine] = instruction.number
                    break
            else:
                at = ", ".join(f"{e.name} command {position[e] + 1}" for e in order)
                raise DeviceError(f"group {number}: the engines wait for each other at {at}")

    def _execute(self, instruction: Instruction) -> None:
        if instruction.engine is Engine.GDMA:
            instruction = self.relocate(instruction)
        buffer = create_string_buffer(instruction.encode(), COMMAND_BYTES)
        function = self._lib.get_atomic_function(buffer, int(instruction.engine))
        if not function:
            raise DeviceError(f"the C-model knows no such command: {instruction}")
        self._call(function)(0, cast(buffer, c_void_p))

    def relocate(self, instruction: Instruction) -> Instruction:
        """A GDMA command with its system addresses moved, as the chip's runtime does at load."""
        direction = instruction.direction
        sides = {
            Direction.S2L: ("src",),
            Direction.L2S: ("dst",),
            Direction.S2S: ("src", "dst"),
        }.get(Direction(direction), ())
        changes: dict[str, int] = {}
        for side in sides:
            low, high = f"{side}_start_addr_l32", f"{side}_start_addr_h8"
            address = self.place(getattr(instruction, low) | getattr(instruction, high) << 32)
            changes |= {low: address & 0xFFFFFFFF, high: address >> 32}
        return instruction.replace(**changes)


def _commands(engine: Engine, data: bytes) -> list[Instruction]:
    return [
        decode(engine, data[at : at + COMMAND_BYTES]) for at in range(0, len(data), COMMAND_BYTES)
    ]
