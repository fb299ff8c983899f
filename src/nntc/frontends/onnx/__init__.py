"""The ONNX front end: :func:`load` reads a model into a graph.

One node of a model is read by one function, registered for an operator and the version of its
definition from which on it applies (``readers/``). A reader gets a :class:`~.call.Call` and gives
back values made with the :class:`~.builder.Builder`. Operators without a reader that ONNX defines
in terms of others are inlined.
"""

from __future__ import annotations

from nntc.frontends.onnx.load import load

__all__ = ["load"]
