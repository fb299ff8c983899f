"""Messages between the engine's process and a worker: a JSON header and raw arrays.

Nothing is pickled: what a broken C library writes over the worker's memory must not become code
in the engine's process.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

Message = tuple[dict[str, Any], list[np.ndarray]]


def send(link: Connection, header: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
    """Send a header and arrays."""
    described = [{"dtype": array.dtype.str, "shape": array.shape} for array in arrays]
    link.send_bytes(json.dumps({**header, "arrays": described}).encode())
    for array in arrays:
        if array.size:
            link.send_bytes(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def receive(link: Connection) -> Message:
    """Receive what :func:`send` sent.

    Raises:
        EOFError, OSError: the other side is gone.
        ValueError: not such a message.
    """
    header = json.loads(link.recv_bytes())
    arrays: list[np.ndarray] = []
    for described in header.pop("arrays"):
        dtype, shape = np.dtype(described["dtype"]), tuple(described["shape"])
        data = link.recv_bytes() if 0 not in shape else b""
        arrays.append(np.frombuffer(data, dtype).reshape(shape).copy())
    return header, arrays
