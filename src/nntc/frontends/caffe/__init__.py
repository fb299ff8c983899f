"""The Caffe front end: :func:`load` reads a ``.prototxt`` and its ``.caffemodel`` into a graph.

Neither Caffe nor protobuf is needed: ``text`` parses the network, ``wire`` finds the weights,
``net`` chooses the layers of the test phase. A layer is read by one function, registered for its
type (``layers/``), which gets a :class:`~.call.Call` and gives back the layer's tops. Meanings
follow BVLC Caffe, its SSD branch, and the well-known forks that a layer names.
"""

from __future__ import annotations

from nntc.frontends.caffe.load import load

__all__ = ["load"]
