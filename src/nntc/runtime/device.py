"""What a device is to the engine, and the list of devices.

A :class:`Device` loads a BModel and gives a :class:`Session`, which launches its nets. A device
that runs whole nets by itself (the chip maker's runtime) implements just that. A device that
offers memory and executes commands (the simulator, the bare C-model) implements
:class:`CommandDevice` instead, and :class:`nntc.runtime.subnets.SubnetSession` does the rest:
storage modes, subnets, CPU layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from nntc.bmodel import BModel, Stage
from nntc.core.errors import UserError


class Session(Protocol):
    """One BModel, loaded on a device. Launches may come from several threads at once."""

    def launch(self, net: int, stage: int, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run a stage of a net.

        Args:
            inputs: in the order, types and shapes of the stage's inputs, C order; not changed.

        Returns:
            The outputs in the stage's order and types.

        Raises:
            UserError: the device refuses, or the run fails.
        """
        ...

    def close(self) -> None:
        """Free what the device holds; launches after this are errors."""
        ...


class Device(Protocol):
    """Where nets run."""

    @property
    def name(self) -> str: ...

    def load(self, model: BModel, data: bytes | None = None) -> Session:
        """Bring a BModel onto the device.

        Args:
            data: the file's bytes, where the model came from a file.

        Raises:
            DeviceError: the device is absent, or cannot run this model.
        """
        ...


class Context(Protocol):
    """Private memory of one run of one stage, at the addresses that it was compiled for.

    Relocation, where a device needs it, is the device's business.
    """

    def write(self, address: int, data: np.ndarray) -> None:
        """Copy bytes (uint8) into device memory."""
        ...

    def read(self, address: int, size: int) -> np.ndarray:
        """A copy of *size* bytes (uint8) of device memory."""
        ...

    def run(self, subnet: int) -> None:
        """Execute all command groups of a TPU subnet and wait for them."""
        ...


class LoadedStage(Protocol):
    """A stage whose coefficients and commands are on the device."""

    def context(self) -> Context:
        """New working memory; contexts of a stage may run at the same time."""
        ...


class CommandDevice(Protocol):
    """A device that offers memory and runs command groups."""

    def load_stage(self, stage: Stage) -> LoadedStage: ...

    def close(self) -> None: ...


def open_device(name: str, **options: Any) -> Device:
    """The device of that name.

    Args:
        name: ``simulator``; ``cmodel`` (the chip maker's runtime and C-model); or
            ``cmodel-commands`` (the C-model alone, command by command).
        options: of the device, see its class.

    Raises:
        UserError: no such device, or an option that it does not have.
        DeviceError: it is not there.
    """
    if name == "simulator":
        from nntc.runtime.simulator import SimulatorDevice as Chosen
    elif name == "cmodel":
        from nntc.runtime.cmodel import RuntimeDevice as Chosen
    elif name == "cmodel-commands":
        from nntc.runtime.cmodel import CommandsDevice as Chosen
    else:
        raise UserError(
            f"device {name!r} is unknown; there are simulator, cmodel and cmodel-commands"
        )
    known = Chosen.__init__.__annotations__.keys() - {"return"}
    unknown = sorted(options.keys() - known)
    if unknown:
        raise UserError(
            f"device {name} has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
    return Chosen(**options)
