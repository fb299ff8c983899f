"""The embedded simulator as a device."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import numpy as np

from nntc.bmodel import BModel, Coeff, Stage
from nntc.core.errors import BModelError, DeviceError, UserError
from nntc.isa.chip import LOCAL_BYTES
from nntc.runtime.subnets import SubnetSession

if TYPE_CHECKING:
    from nntc.sim import Memory, Program

ENGINES = ("fast", "reference")


class SimulatorDevice:
    """Runs BModels on :mod:`nntc.sim`, at the addresses they were compiled for.

    Args:
        engine: ``fast``, or ``reference`` (plain NumPy, slow).
        contexts: launches of one stage that may run at the same time, each with its own working
            memory (36 MB and the stage's); default: the number of processors.
    """

    name = "simulator"

    def __init__(self, engine: str = "fast", contexts: int | None = None) -> None:
        if engine not in ENGINES:
            raise UserError(f"simulator engine {engine!r} is unknown; there are fast and reference")
        if contexts is not None and contexts < 1:
            raise UserError(f"contexts = {contexts}: at least 1 is needed")
        self._engine = engine
        self._contexts = contexts or os.cpu_count() or 1

    def load(self, model: BModel, data: bytes | None = None) -> SubnetSession:
        return SubnetSession(model, _Loader(self._engine), self._contexts)


class _Loader:
    """The stages of one BModel; coefficients are shared by their check code, as on the chip."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._coefficients: dict[tuple[bytes, int], np.ndarray] = {}

    def load_stage(self, stage: Stage) -> SimulatorStage:
        coefficients = self._shared(stage.coeff) if stage.coeff else None
        return SimulatorStage(stage, coefficients, self._engine)

    def _shared(self, coeff: Coeff) -> np.ndarray:
        """The blob as read-only memory: no command may write coefficients."""
        data = np.frombuffer(coeff.data, np.uint8)
        known = self._coefficients.get((coeff.check_code, data.size))
        if known is None:
            known = self._coefficients[coeff.check_code, data.size] = data
        elif not np.array_equal(known, data):
            raise BModelError(
                f"coefficients of {data.size} bytes differ but carry one check code: "
                "the chip's runtime would take the first for both"
            )
        return known

    def close(self) -> None:
        self._coefficients.clear()


class SimulatorStage:
    """Coefficients and planned command groups of a stage, shared by all of its contexts."""

    def __init__(self, stage: Stage, coefficients: np.ndarray | None, engine: str) -> None:
        self._stage = stage
        self._coefficients = coefficients
        self._engine = engine
        self._programs: dict[int, Program] = {}
        self._lock = threading.Lock()

    def program(self, subnet: int) -> Program:
        """The planned commands of a TPU subnet; planned on first use."""
        from nntc.sim import Program

        with self._lock:
            if subnet not in self._programs:
                groups = self._stage.subnets[subnet].groups
                self._programs[subnet] = Program([(g.tiu, g.gdma) for g in groups])
            return self._programs[subnet]

    def context(self) -> SimulatorContext:
        from nntc.sim import Memory

        stage = self._stage
        try:
            memory = Memory()
            if stage.ctx_size:
                memory.map(stage.ctx_addr, stage.ctx_size)
        except MemoryError:
            raise DeviceError(
                f"no {stage.ctx_size + LOCAL_BYTES} bytes of memory for another run of this stage"
            ) from None
        if stage.coeff is not None and self._coefficients is not None and self._coefficients.size:
            memory.map(stage.coeff.address, self._coefficients)
        return SimulatorContext(self, memory)

    @property
    def engine(self) -> str:
        return self._engine


class SimulatorContext:
    """Local, L2 and DDR memory of one run."""

    def __init__(self, stage: SimulatorStage, memory: Memory) -> None:
        from nntc.sim import Simulator

        self._stage = stage
        self._memory = memory
        self._simulator = Simulator(memory, engine=stage.engine)

    def write(self, address: int, data: np.ndarray) -> None:
        self._memory.write(address, data)

    def read(self, address: int, size: int) -> np.ndarray:
        return self._memory.read(address, size)

    def run(self, subnet: int) -> None:
        self._simulator.run(self._stage.program(subnet))
