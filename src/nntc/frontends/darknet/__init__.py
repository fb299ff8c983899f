"""The Darknet front end: :func:`load` reads a ``.cfg`` and its ``.weights`` into a graph.

A section of the configuration is one layer. It is read by one function, registered for the
section's name (``layers/``), which gets a :class:`~.call.Call` and gives back the layer's result.
Meanings follow Joseph Redmon's Darknet and, for what came later, Alexey Bochkovskiy's; where the
two differ a layer says so.
"""

from __future__ import annotations

from nntc.frontends.darknet.load import load

__all__ = ["load"]
