"""The chip maker's C-model and runtime as devices.

Their libraries are used as they are, through ctypes over the public C API, when the user gives
the folder where they lie (option ``libs`` or NNTC_CMODEL_LIBS). They switch the process to
flush-to-zero arithmetic, end it on an error and hold one model in global state; so each loaded
model runs in a process of its own (:mod:`nntc.runtime.cmodel.worker`), with a time-out.
"""

from nntc.runtime.cmodel.device import CommandsDevice, RuntimeDevice
from nntc.runtime.cmodel.libs import Libraries, find_libraries

__all__ = ["CommandsDevice", "Libraries", "RuntimeDevice", "find_libraries"]
