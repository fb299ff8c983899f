"""CPU layers that users write in Python.

A class registered with :func:`user_layer` runs for the BModel's layer type 3 (user defined) under
its user op id, the first int32 of the parameter, or, with an id from 10000 up, for a custom layer
type of its own::

    @user_layer(0, "exp")
    class Exp:
        def shape(self, param, input_shapes):
            return [input_shapes[0]]

        def run(self, param, inputs):
            inner, outer = struct.unpack("<2f", param[:8])
            return [np.exp(inputs[0] * inner) * outer]
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np

from nntc.bmodel.cpu_ops import FIRST_CUSTOM_OP, CpuOp
from nntc.core.errors import UnsupportedError, UserError
from nntc.runtime.cpu.registry import Shape


class UserLayer(Protocol):
    """What a user's layer class has; it is made without arguments."""

    def shape(self, param: bytes, input_shapes: Sequence[Shape]) -> Sequence[Sequence[int]]:
        """Shapes of the outputs (the largest possible ones, if they depend on values)."""
        ...

    def run(self, param: bytes, inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Compute the outputs from f32 arrays; outputs are f32 or int32 arrays."""
        ...


_USER: dict[int, tuple[str, type[UserLayer]]] = {}

C = TypeVar("C", bound=type[UserLayer])


def user_layer(op_id: int, name: str) -> Callable[[C], C]:
    """Register a class as a CPU layer.

    Args:
        op_id: 0..9999 is the user op id within layer type 3; from 10000 up the layer type itself.
        name: the layer's name in messages and tables.

    Raises:
        UserError: the id is taken or negative, or the class lacks ``shape`` or ``run``.
    """

    def register(cls: C) -> C:
        for method in ("shape", "run"):
            if not callable(getattr(cls, method, None)):
                raise UserError(f"user layer {name}: class {cls.__name__} has no {method}()")
        if op_id < 0 or op_id == CpuOp.DEBUG:
            raise UserError(f"user layer {name}: {op_id} cannot be a user layer's id")
        if op_id in _USER:
            raise UserError(f"user layer {name}: id {op_id} is already {_USER[op_id][0]}")
        _USER[op_id] = (name, cls)
        return cls

    return register


def unregister(op_id: int) -> None:
    """Forget a user layer, as tests and reloading plug-ins need."""
    _USER.pop(op_id, None)


def names() -> dict[int, str]:
    return {op_id: name for op_id, (name, _) in _USER.items()}


def is_user(op_type: int) -> bool:
    """Whether a BModel's layer type is the user's business, not the runtime's."""
    return op_type == CpuOp.USER_DEFINED or (op_type >= FIRST_CUSTOM_OP and op_type != CpuOp.DEBUG)


def find(op_type: int, param: bytes, name: str) -> tuple[UserLayer, bytes]:
    """The layer's object and the part of the parameter that it gets (without the user op id).

    Raises:
        UnsupportedError: no such layer is registered.
        UserError: layer type 3 without an op id in its parameter.
    """
    op_id, body = op_type, param
    if op_type == CpuOp.USER_DEFINED:
        if len(param) < 4:
            raise UserError(f"{name}: user layer with a parameter of {len(param)} bytes, needs 4")
        (op_id,), body = struct.unpack("<i", param[:4]), param[4:]
    if op_id not in _USER:
        known = ", ".join(f"{i} {n}" for i, n in sorted(names().items())) or "none"
        raise UnsupportedError(f"{name}: user layer {op_id} is not registered (there are: {known})")
    return _USER[op_id][1](), body
