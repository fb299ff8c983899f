"""Running a net on a device that offers memory and commands: subnets, storage modes, CPU layers.

A stage is a list of subnets. Execution starts at the first and follows each one's list of
successors. Tensors are matched by name: a TPU subnet finds its operands in device memory, a CPU
subnet in host arrays, and a tensor is copied across when the side that needs it does not have the
latest value. SWITCH chooses a successor by a condition; MERGE takes whichever of its candidate
inputs was written last.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Sequence

import numpy as np

from nntc.bmodel import BModel, Stage, SubNet, SubNetMode, Tensor
from nntc.bmodel.model import COMPUTED
from nntc.core.errors import BModelError, DeviceError, Problems, UserError
from nntc.isa.chip import CONTEXT_BASE, WORD_BYTES
from nntc.runtime.device import CommandDevice, Context, LoadedStage

MAX_CONTEXT_BYTES = 12 << 30
"""Working memory of a stage above which it is refused: no board with this chip has more."""


class SubnetSession:
    """A BModel on a command device; see :class:`nntc.runtime.device.Session`.

    Args:
        contexts: launches of one stage that may run at the same time; further ones wait.
    """

    def __init__(self, model: BModel, device: CommandDevice, contexts: int) -> None:
        self._model = model
        self._device = device
        self._contexts = contexts
        self._lock = threading.Lock()
        self._stages: dict[tuple[int, int], _Pool] = {}
        self._closed = False

    def launch(self, net: int, stage: int, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self._pool(net, stage).launch(inputs)

    def trace(self, net: int, stage: int, inputs: Sequence[np.ndarray]) -> Launch:
        """Like :meth:`launch`, in memory of its own, of which everything can be read after."""
        return self._pool(net, stage).trace(inputs)

    def _pool(self, net: int, stage: int) -> _Pool:
        """The loaded stage; loads it on first use."""
        with self._lock:
            if self._closed:
                raise DeviceError("the engine is closed")
            pool = self._stages.get((net, stage))
            if pool is None:
                content = self._model.nets[net].stages[stage]
                where = f"net {self._model.nets[net].name} stage {stage}"
                check_stage(content, where)
                pool = _Pool(content, where, self._device.load_stage(content), self._contexts)
                self._stages[net, stage] = pool
            return pool

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._stages.clear()
        self._device.close()


def check_stage(stage: Stage, where: str) -> None:
    """Refuse what cannot be run before anything is allocated.

    Raises:
        BModelError: lists every problem.
    """
    problems = Problems(BModelError)
    if stage.is_dynamic or any(s.is_dynamic for s in stage.subnets):
        problems.add(f"{where}: is dynamic: the chip's firmware makes its commands at run time")
    if not stage.subnets:
        problems.add(f"{where}: has no subnet")
    if stage.ctx_size > MAX_CONTEXT_BYTES:
        problems.add(f"{where}: needs {stage.ctx_size} bytes of working memory")
    end = stage.ctx_addr + stage.ctx_size
    on_device = [
        tensor
        for subnet in stage.subnets
        if subnet.mode is SubNetMode.TPU
        for tensor in (*subnet.inputs, *subnet.outputs)
    ]
    known = {tensor.name: tensor for tensor in (*stage.inputs, *stage.outputs)}
    for tensor in {t.name: known.get(t.name, t) for t in on_device}.values():
        size = _stored(tensor).stored_bytes
        if tensor.device_addr >= stage.ctx_addr and tensor.device_addr + size > end:
            problems.add(
                f"{where}: tensor {tensor.name} at {tensor.device_addr:#x}, {size} bytes, ends "
                f"beyond the working memory {stage.ctx_addr:#x}..{end:#x}"
            )
    problems.raise_if_any()


def _stored(tensor: Tensor) -> Tensor:
    """The tensor with the shape that it has in device memory.

    The firmware puts rows of zeros above and below an input with ``pad_h`` (a trick for
    convolutions on 3 channels).
    """
    top, bottom = tensor.pad_h >> 16, tensor.pad_h & 0xFFFF
    if not tensor.pad_h or len(tensor.shape) != 4:
        return tensor
    n, c, h, w = tensor.shape
    return dataclasses.replace(tensor, shape=(n, c, top + h + bottom, w), size=COMPUTED)


class _Pool:
    """A loaded stage and its contexts, each used by one launch at a time."""

    def __init__(self, stage: Stage, where: str, loaded: LoadedStage, limit: int) -> None:
        self._stage = stage
        self._where = where
        self._loaded = loaded
        self._slots = threading.BoundedSemaphore(limit)
        self._idle: list[Context] = []

    def trace(self, inputs: Sequence[np.ndarray]) -> Launch:
        launch = Launch(self._stage, self._where, self._loaded.context())
        launch.run(inputs)
        return launch

    def launch(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        with self._slots:
            try:
                context = self._idle.pop()
            except IndexError:
                context = self._loaded.context()
            outputs = Launch(self._stage, self._where, context).run(inputs)
            # Only reached without an error: memory that a failed run left behind is not used again.
            self._idle.append(context)
            return outputs


class Launch:
    """One run of a stage: which tensor has its latest value where.

    Args:
        where: net and stage, for messages.

    Attributes:
        context: device memory.
        host: tensors whose latest value is (also) a host array.
    """

    def __init__(self, stage: Stage, where: str, context: Context) -> None:
        self._stage = stage
        self._where = where
        self.context = context
        self._tensors = {t.name: t for t in (*stage.inputs, *stage.outputs)}
        self.host: dict[str, np.ndarray] = {}
        self._device: set[str] = set()
        self._buffers: dict[str, np.ndarray] = {}
        self._written: dict[str, int] = {}
        self._clock = 0

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        for tensor, array in zip(self._stage.inputs, inputs, strict=True):
            self._put_host(tensor.name, array)
        position = 0
        steps = 0
        while 0 <= position < len(self._stage.subnets):
            steps += 1
            if steps > len(self._stage.subnets):
                raise BModelError(f"{self._where}: the subnets follow each other in a circle")
            position = self._step(position)
        return [self._to_host(tensor) for tensor in self._stage.outputs]

    def _step(self, position: int) -> int:
        """Run a subnet; returns the position of the next one, or -1."""
        subnet = self._stage.subnets[position]
        if subnet.mode is SubNetMode.TPU:
            for tensor in subnet.inputs:
                self._to_device(self._tensors.get(tensor.name, tensor))
            try:
                self.context.run(position)
            except UserError as err:
                where = f"{self._where} subnet {position}"
                raise type(err)([f"{where}: {text}" for text in err.problems]) from None
            for tensor in subnet.outputs:
                self._put_device(tensor.name)
        elif subnet.mode is SubNetMode.CPU:
            self._run_cpu(subnet)
        elif subnet.mode is SubNetMode.MERGE:
            self._merge(subnet)
        branch = 0
        if subnet.mode is SubNetMode.SWITCH:
            branch = self._switch(subnet)
        return self._next(position, branch)

    def _next(self, position: int, branch: int) -> int:
        subnet = self._stage.subnets[position]
        if subnet.id < 0 and not subnet.next_ids:
            # Files of one or a few subnets leave the ids out: the subnets form a chain.
            return position + 1
        return subnet.next_ids[branch] if branch < len(subnet.next_ids) else -1

    # -- where values are -------------------------------------------------------------------

    def _put_host(self, name: str, array: np.ndarray) -> None:
        self.host[name] = array
        self._device.discard(name)
        self._clock += 1
        self._written[name] = self._clock

    def _put_device(self, name: str) -> None:
        self.host.pop(name, None)
        self._device.add(name)
        self._clock += 1
        self._written[name] = self._clock

    def _to_device(self, tensor: Tensor) -> None:
        """Make sure that the device has the latest value."""
        if tensor.name in self._device or self._is_coefficient(tensor):
            return
        array = self.host.get(tensor.name)
        if array is None:
            raise BModelError(
                f"{self._where}: a subnet reads tensor {tensor.name}, which nothing wrote"
            )
        if array.size == math.prod(tensor.shape):
            stored = _stored(tensor)
            array = array.astype(tensor.dtype.numpy, copy=False).reshape(tensor.shape)
            if stored is not tensor:
                top = tensor.pad_h >> 16
                rows = (top, stored.shape[2] - tensor.shape[2] - top)
                array = np.pad(array, ((0, 0), (0, 0), rows, (0, 0)))
            data = stored.store(array)
        elif tensor.name in self._buffers and self._buffers[tensor.name].nbytes == tensor.size:
            # A CPU layer found fewer elements than there is room for: the room is copied.
            data = self._buffers[tensor.name].view(np.uint8)
        else:
            raise BModelError(
                f"{self._where}: tensor {tensor.name} has the shape {list(array.shape)}, "
                f"{list(tensor.shape)} is expected"
            )
        self.context.write(tensor.device_addr, data)
        self._device.add(tensor.name)

    def _to_host(self, tensor: Tensor) -> np.ndarray:
        """The latest value as an array."""
        array = self.host.get(tensor.name)
        if array is None:
            if tensor.name not in self._device and not self._is_coefficient(tensor):
                raise BModelError(f"{self._where}: nothing wrote tensor {tensor.name}")
            stored = _stored(tensor)
            array = stored.load(self.context.read(tensor.device_addr, stored.stored_bytes))
            if stored is not tensor:
                top = tensor.pad_h >> 16
                array = array[:, :, top : top + tensor.shape[2]]
            self.host[tensor.name] = array
        return array.astype(tensor.dtype.numpy, copy=False)

    def _is_coefficient(self, tensor: Tensor) -> bool:
        in_coefficients = CONTEXT_BASE <= tensor.device_addr < self._stage.ctx_addr
        return in_coefficients and tensor.name not in self._written

    # -- subnets that are not on the TPU ----------------------------------------------------

    def _run_cpu(self, subnet: SubNet) -> None:
        """Host buffers are arrays of 32-bit words, of the declared size and zero at first."""
        from nntc.runtime import cpu

        layer = subnet.cpu
        if layer is None:
            raise BModelError(f"{self._where}: a CPU subnet has no CPU layer")
        constants = {constant.name: constant.data for constant in layer.constants}
        for tensor in (*subnet.inputs, *subnet.outputs):
            if tensor.dtype.size != WORD_BYTES:
                raise BModelError(
                    f"{self._where}: tensor {tensor.name} of a CPU layer is {tensor.dtype.text}; "
                    "CPU layers work on 32-bit elements"
                )
        inputs: list[np.ndarray] = []
        for tensor in subnet.inputs:
            if tensor.name in constants and tensor.name not in self._written:
                words = np.frombuffer(constants[tensor.name], tensor.dtype.numpy)
                inputs.append(words[: math.prod(tensor.shape)].reshape(tensor.shape))
            else:
                inputs.append(self._to_host(self._tensors.get(tensor.name, tensor)))
        buffers = [np.zeros(math.prod(t.shape), np.float32) for t in subnet.outputs]
        shapes = cpu.run_into(
            layer.op_type,
            layer.param,
            inputs,
            buffers,
            [tensor.shape for tensor in subnet.outputs],
            name=f"{self._where}: CPU layer {layer.op_type}",
        )
        for tensor, buffer, shape in zip(subnet.outputs, buffers, shapes, strict=True):
            words = buffer.view(tensor.dtype.numpy)
            self._put_host(tensor.name, words[: math.prod(shape)].reshape(shape))
            self._buffers[tensor.name] = words

    def _merge(self, subnet: SubNet) -> None:
        """Each output is the candidate that was written last."""
        for tensor, candidates in zip(subnet.outputs, subnet.merge_from, strict=False):
            sources = [subnet.inputs[i] for i in candidates if i < len(subnet.inputs)]
            latest = max(sources, key=lambda t: self._written.get(t.name, 0), default=None)
            if latest is None or latest.name not in self._written:
                raise BModelError(f"{self._where}: a merge of {tensor.name} has no written input")
            self._put_host(tensor.name, self._to_host(self._tensors.get(latest.name, latest)))

    def _switch(self, subnet: SubNet) -> int:
        """The last input chooses the branch; the others pass through."""
        if not subnet.inputs:
            raise BModelError(f"{self._where}: a switch has no condition")
        for tensor, source in zip(subnet.outputs, subnet.switch_from, strict=False):
            if source < len(subnet.inputs):
                given = subnet.inputs[source]
                self._put_host(tensor.name, self._to_host(self._tensors.get(given.name, given)))
        condition = subnet.inputs[-1]
        return int(bool(self._to_host(self._tensors.get(condition.name, condition)).any()))
