"""The two devices: the chip maker's runtime, and the C-model driven by us."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Sequence

import numpy as np

from nntc.bmodel import BModel, Stage, SubNetMode, encode
from nntc.core.errors import DeviceError, UserError
from nntc.isa.chip import DDR_BASE
from nntc.isa.layout import align_up
from nntc.runtime.cmodel.libs import Libraries, find_libraries
from nntc.runtime.cmodel.process import Worker
from nntc.runtime.subnets import SubnetSession

DEFAULT_TIMEOUT = 600.0
RELOCATION = (0x100_0000, 0x234_5000)
"""How far ``relocate`` moves coefficients and working memory."""


class RuntimeDevice:
    """The chip maker's runtime, with its firmware, on their C-model.

    Args:
        libs: folder of the libraries; default: NNTC_CMODEL_LIBS.
        timeout: seconds for loading, and for one launch.
    """

    name = "cmodel"

    def __init__(
        self, libs: str | os.PathLike[str] | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self._libs = find_libraries(libs)
        self._libs.require("cmodel", "bmlib", "bmrt")
        self._timeout = timeout

    def load(self, model: BModel, data: bytes | None = None) -> RuntimeSession:
        return RuntimeSession(model, data, self._libs, self._timeout)


class RuntimeSession:
    """A BModel in the chip maker's runtime.

    That runtime's C-model build ends while it loads a net of several stages; such a file is
    given to it one stage at a time, each in its own process.
    """

    def __init__(self, model: BModel, data: bytes | None, libs: Libraries, timeout: float) -> None:
        self._model = model
        self._data = data
        self._libs = libs
        self._timeout = timeout
        self._lock = threading.Lock()
        self._workers: dict[tuple[int, int], Worker] = {}
        self._closed = False
        self._whole = all(len(net.stages) == 1 for net in model.nets)

    def launch(self, net: int, stage: int, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        content = self._model.nets[net]
        subnets = content.stages[stage].subnets
        wait = any(subnet.mode is not SubNetMode.CPU for subnet in subnets)
        worker = self._worker((0, 0) if self._whole else (net, stage))
        return worker.request("launch", inputs, net=content.name, wait=wait)

    def _worker(self, key: tuple[int, int]) -> Worker:
        with self._lock:
            if self._closed:
                raise DeviceError("the engine is closed")
            if key not in self._workers:
                worker = Worker(self._libs, self._timeout)
                data = np.frombuffer(self._file(*key), np.uint8)
                files = {
                    kind: str(getattr(self._libs, kind)) for kind in ("bmlib", "bmrt", "cmodel")
                }
                worker.request("load", [data], **files)
                self._workers[key] = worker
            return self._workers[key]

    def _file(self, net: int, stage: int) -> bytes:
        """The BModel, or that one stage of it as a BModel."""
        if self._whole:
            return encode(self._model) if self._data is None else self._data
        content = self._model.nets[net]
        only = dataclasses.replace(content, stages=[content.stages[stage]])
        return encode(dataclasses.replace(self._model, nets=[only]))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for worker in self._workers.values():
                worker.close()
            self._workers.clear()


class CommandsDevice:
    """The C-model without a runtime: we place memory, relocate, and order the commands.

    Args:
        libs: folder of the libraries; default: NNTC_CMODEL_LIBS.
        timeout: seconds for one subnet.
        order: ``gdma`` or ``tiu``: the engine that runs as far ahead as it may.
        relocate: put memory elsewhere than compiled, as the runtime may.
        contexts: launches of one stage at the same time, each in its own process.
    """

    name = "cmodel-commands"

    def __init__(
        self,
        libs: str | os.PathLike[str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        order: str = "gdma",
        relocate: bool = False,
        contexts: int = 1,
    ) -> None:
        if order not in ("gdma", "tiu"):
            raise UserError(f"order {order!r} is unknown; there are gdma and tiu")
        self._libs = find_libraries(libs)
        self._libs.require("cmodel")
        self._timeout = timeout
        self._order = order
        self._offsets = RELOCATION if relocate else (0, 0)
        self._contexts = contexts

    def load(self, model: BModel, data: bytes | None = None) -> SubnetSession:
        return SubnetSession(model, self, self._contexts)

    def load_stage(self, stage: Stage) -> CommandsStage:
        return CommandsStage(stage, self._libs, self._timeout, self._order, self._offsets)

    def close(self) -> None:
        """Each context ends its own process."""


class CommandsStage:
    """A stage; each of its contexts is a process."""

    def __init__(
        self,
        stage: Stage,
        libs: Libraries,
        timeout: float,
        order: str,
        offsets: tuple[int, int],
    ) -> None:
        self._stage = stage
        self._libs = libs
        self._timeout = timeout
        self._order = order
        self._offsets = offsets

    def context(self) -> CommandsContext:
        stage = self._stage
        coeff_offset, ctx_offset = self._offsets
        end = stage.ctx_addr + stage.ctx_size + ctx_offset
        if stage.coeff is not None:
            end = max(end, stage.coeff.address + len(stage.coeff.data) + coeff_offset)
        worker = Worker(self._libs, self._timeout)
        worker.request(
            "chip",
            cmodel=str(self._libs.cmodel),
            size=align_up(end - DDR_BASE, 1 << 20),
            ctx_addr=stage.ctx_addr,
            coeff_offset=coeff_offset,
            ctx_offset=ctx_offset,
            order=self._order,
        )
        context = CommandsContext(stage, worker)
        if stage.coeff is not None and len(stage.coeff.data):
            context.write(stage.coeff.address, np.frombuffer(stage.coeff.data, np.uint8))
        return context


class CommandsContext:
    """The memory of one C-model process."""

    def __init__(self, stage: Stage, worker: Worker) -> None:
        self._stage = stage
        self._worker = worker

    def write(self, address: int, data: np.ndarray) -> None:
        self._worker.request("write", [data], address=address)

    def read(self, address: int, size: int) -> np.ndarray:
        return self._worker.request("read", address=address, size=size)[0]

    def run(self, subnet: int) -> None:
        streams = [
            np.frombuffer(data, np.uint8)
            for group in self._stage.subnets[subnet].groups
            for data in (group.tiu, group.gdma)
        ]
        self._worker.request("run", streams)
