"""The runtime: load BModels and run them on a device."""

from nntc.runtime.device import Device, Session, open_device
from nntc.runtime.engine import Engine, Network
from nntc.runtime.tensors import TensorInfo

__all__ = ["Device", "Engine", "Network", "Session", "TensorInfo", "open_device"]
