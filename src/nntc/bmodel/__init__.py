"""The BModel container: read, write, show.

``read`` takes a path or bytes, ``encode`` gives bytes, ``write`` a file, ``info`` the text of the
maker's ``tpu_model --info``. The parameter structs of CPU layers are in ``cpu_ops``.
"""

from nntc.bmodel.info import info, memory_use
from nntc.bmodel.model import (
    CHIP,
    BModel,
    Coeff,
    CommandGroup,
    CpuConst,
    CpuLayer,
    Hidden,
    Location,
    MemType,
    Module,
    Net,
    Stage,
    SubNet,
    SubNetMode,
    Tensor,
)
from nntc.bmodel.reader import read
from nntc.bmodel.storage import BDataType, StoreMode
from nntc.bmodel.writer import encode, write

__all__ = [
    "CHIP",
    "BDataType",
    "BModel",
    "Coeff",
    "CommandGroup",
    "CpuConst",
    "CpuLayer",
    "Hidden",
    "Location",
    "MemType",
    "Module",
    "Net",
    "Stage",
    "StoreMode",
    "SubNet",
    "SubNetMode",
    "Tensor",
    "encode",
    "info",
    "memory_use",
    "read",
    "write",
]
