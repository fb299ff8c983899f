"""The MXNet front end: :func:`load` reads ``-symbol.json`` and ``.params`` into a graph.

MXNet is not needed: ``symbol`` reads the network as versions 0.8 to 1.9 write it, ``params`` the
arrays. An operator is read by one function, registered for its names (``readers/``), which gets a
:class:`~.call.Call` and gives back the operator's results.
"""

from __future__ import annotations

from nntc.frontends.mxnet.load import load

__all__ = ["load"]
