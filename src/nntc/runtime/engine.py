"""The runtime's front door: load a BModel, call it with arrays, get arrays.

    engine = Engine("model.bmodel")
    result = engine(image)["output"]

A BModel holds nets; a net has stages, the same network for other input shapes. A call chooses the
stage whose input shapes are those of the arrays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nntc import bmodel
from nntc.bmodel import BModel, Net
from nntc.core.errors import BModelError, Problems, UserError
from nntc.core.files import read_bytes
from nntc.runtime.device import Device, Session, open_device
from nntc.runtime.tensors import TensorInfo, describe

Inputs = Mapping[str, Any] | Sequence[Any] | np.ndarray


class Network:
    """One net of an engine; call it like the engine."""

    def __init__(self, net: Net, index: int, session: Session) -> None:
        if not net.stages:
            raise BModelError(f"net {net.name}: has no stage")
        self.name = net.name
        self.inputs: tuple[TensorInfo, ...] = describe(net, "inputs")
        self.outputs: tuple[TensorInfo, ...] = describe(net, "outputs")
        self._stages = net.stages
        self._index = index
        self._session = session

    def __call__(self, inputs: Inputs | None = None, /, **named: Any) -> dict[str, np.ndarray]:
        """Run the net.

        Args:
            inputs: one array for a net with one input; a list of arrays in the order of
                ``self.inputs``; or a dict name → array.
            named: the inputs as keyword arguments.

        Returns:
            Output name → array; float32 for float and quantised tensors, else integers.

        Raises:
            UserError: names, shapes or types do not fit (every problem is listed), or the run
                fails.
        """
        problems = Problems()
        given = self._by_name(inputs, named, problems)
        stage = self._choose_stage(given, problems)
        ready = {
            info.name: info.encode(given[info.name], problems)
            for info in self.inputs
            if info.name in given
        }
        problems.raise_if_any()
        content = self._stages[stage]
        arrays = [ready[tensor.name].reshape(tuple(tensor.shape)) for tensor in content.inputs]
        results = self._session.launch(self._index, stage, arrays)
        names = [tensor.name for tensor in content.outputs]
        found = dict(zip(names, results, strict=True))
        return {info.name: info.decode(found[info.name]) for info in self.outputs}

    def _by_name(
        self, inputs: Inputs | None, named: Mapping[str, Any], problems: Problems
    ) -> dict[str, np.ndarray]:
        """The arrays under the names of the inputs; what does not fit goes to *problems*."""
        expected = [info.name for info in self.inputs]
        text = ", ".join(str(info) for info in self.inputs)
        if inputs is None:
            items: dict[str, Any] = {}
        elif isinstance(inputs, Mapping):
            items = dict(inputs)
        else:
            listed = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
            if len(listed) != len(expected):
                raise UserError(
                    f"net {self.name}: {len(listed)} arrays given, "
                    f"{len(expected)} inputs expected: {text}"
                )
            items = dict(zip(expected, listed, strict=True))
        for name in sorted(named.keys() & items.keys()):
            problems.add(f"net {self.name}: input {name} is given twice")
        items.update(named)
        for name in items:
            if name not in expected:
                problems.add(f"net {self.name}: no input is called {name}; expected: {text}")
        arrays: dict[str, np.ndarray] = {}
        for info in self.inputs:
            if info.name not in items:
                problems.add(f"net {self.name}: input {info} is missing")
                continue
            with problems.collect():
                arrays[info.name] = _as_array(info.name, items[info.name])
        return arrays

    def _choose_stage(self, given: Mapping[str, np.ndarray], problems: Problems) -> int:
        """The stage whose shapes are those of the arrays; else 0, and *problems* says why.

        A tensor of one element takes an array of any rank with one element.
        """
        inputs = [info for info in self.inputs if info.name in given]
        for stage in range(len(self._stages)):
            if all(_fits(given[info.name].shape, info.shapes[stage]) for info in inputs):
                return stage
        before = len(problems)
        for info in inputs:
            shape = given[info.name].shape
            if not any(_fits(shape, allowed) for allowed in info.shapes):
                expected = " or ".join(str(list(s)) for s in dict.fromkeys(info.shapes))
                problems.add(
                    f"net {self.name}: input {info.name} has the shape {list(shape)}, "
                    f"expected {expected}"
                )
        if len(problems) == before:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in given.items())
            problems.add(f"net {self.name}: no stage takes the shapes {shapes} together")
        return 0

    def __repr__(self) -> str:
        return f"Network({self.name}: {len(self._stages)} stages)"


def _fits(given: Sequence[int], expected: Sequence[int]) -> bool:
    if tuple(given) == tuple(expected):
        return True
    return _count(given) == _count(expected) == 1


def _count(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _as_array(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except Exception as err:  # any object may refuse in its own way
        raise UserError(f"input {name}: not an array: {err}") from None
    if array.dtype == object:
        raise UserError(f"input {name}: not an array of numbers")
    return array


def _read(model: str | os.PathLike[str] | bytes | BModel) -> tuple[BModel, bytes | None]:
    """The BModel, and its bytes if it came as such."""
    if isinstance(model, BModel):
        return model, None
    if isinstance(model, bytes):
        return bmodel.read(model), model
    data = read_bytes(model)
    try:
        return bmodel.read(data), data
    except UserError as err:
        raise type(err)([f"{model}: {text}" for text in err.problems]) from None


class Engine:
    """A BModel on a device; call it to run its first net.

    Args:
        model: file name, the file's bytes, or a BModel.
        device: name of a device (see :func:`nntc.runtime.open_device`), or one that is open.
        options: options of the device when it is given by name.

    Raises:
        UserError: the file is no valid BModel, or the device is absent.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | BModel,
        device: str | Device = "simulator",
        **options: Any,
    ) -> None:
        if not isinstance(device, str) and options:
            raise UserError("options go with the name of a device, not with an open one")
        self.model, data = _read(model)
        if not self.model.nets:
            raise BModelError("the BModel holds no net")
        opened = open_device(device, **options) if isinstance(device, str) else device
        self._session = opened.load(self.model, data)
        # Of two nets with one name the chip's runtime keeps the first.
        self.nets: dict[str, Network] = {}
        for index, net in enumerate(self.model.nets):
            self.nets.setdefault(net.name, Network(net, index, self._session))

    def net(self, name: str | None = None) -> Network:
        """The net of that name; the first one for None.

        Raises:
            UserError: there is none of that name.
        """
        if name is None:
            return next(iter(self.nets.values()))
        if name not in self.nets:
            raise UserError(f"no net is called {name}; there are {', '.join(self.nets)}")
        return self.nets[name]

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Inputs of the first net."""
        return self.net().inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Outputs of the first net."""
        return self.net().outputs

    def __call__(self, inputs: Inputs | None = None, /, **named: Any) -> dict[str, np.ndarray]:
        """Run the first net; see :meth:`Network.__call__`. May be called from many threads."""
        return self.net()(inputs, **named)

    def close(self) -> None:
        """Free the device's memory; the engine cannot be called after this."""
        self._session.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Engine({', '.join(self.nets)})"
