"""The layers that a BModel's CPU subnets run on the host.

The chip maker's runtime hands a CPU subnet to a library of its own (libcpuop): an op id, the bytes
of a parameter struct, and host buffers of 32-bit words. :func:`run` computes the same, bit for bit
where the arithmetic allows, odd results included, so that a BModel with CPU subnets behaves alike
in both runtimes. Every layer, its ports, element types and limits: docs/cpu-layers.md.

Users add layers with :func:`user_layer`.
"""

from __future__ import annotations

from nntc.runtime.cpu.run import run, run_into
from nntc.runtime.cpu.table import reference, signature, supported
from nntc.runtime.cpu.user import UserLayer, user_layer

__all__ = ["UserLayer", "reference", "run", "run_into", "signature", "supported", "user_layer"]
