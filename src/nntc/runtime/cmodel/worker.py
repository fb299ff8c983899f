"""The process in which the chip maker's libraries live.

Started by :class:`nntc.runtime.cmodel.process.Worker` with the number of a socket. It answers
requests until the other side closes; the libraries may end it at any time.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from nntc.core.errors import UserError
from nntc.runtime.cmodel.bmrt import Runtime
from nntc.runtime.cmodel.channel import receive, send
from nntc.runtime.cmodel.chip import Chip


class Server:
    """The requests, one method each; arguments are the header's fields and the arrays."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._chip: Chip | None = None

    def load(
        self, arrays: list[np.ndarray], bmlib: str, bmrt: str, cmodel: str
    ) -> list[np.ndarray]:
        """Start the runtime with the BModel in the first array."""
        data = arrays[0].tobytes()
        self._runtime = Runtime(Path(bmlib), Path(bmrt), Path(cmodel), data)
        return []

    def launch(self, arrays: list[np.ndarray], net: str, wait: bool) -> list[np.ndarray]:
        assert self._runtime is not None
        return self._runtime.launch(net, arrays, wait)

    def chip(self, arrays: list[np.ndarray], cmodel: str, **options: Any) -> list[np.ndarray]:
        """Start the C-model alone."""
        self._chip = Chip(Path(cmodel), **options)
        return []

    def write(self, arrays: list[np.ndarray], address: int) -> list[np.ndarray]:
        assert self._chip is not None
        self._chip.write(address, arrays[0])
        return []

    def read(self, arrays: list[np.ndarray], address: int, size: int) -> list[np.ndarray]:
        assert self._chip is not None
        return [self._chip.read(address, size)]

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Execute command groups: TIU and GDMA bytes in turn."""
        assert self._chip is not None
        streams = [array.tobytes() for array in arrays]
        self._chip.run(list(zip(streams[::2], streams[1::2], strict=True)))
        return []


def _end_with_parent(parent: int) -> None:
    """End this process when its parent is gone, also in the middle of a long command."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(descriptor: int, parent: int) -> None:
    """Serve requests from the socket with this number."""
    _end_with_parent(parent)
    link = Connection(descriptor)
    server = Server()
    while True:
        try:
            header, arrays = receive(link)
        except (EOFError, OSError):
            break
        request = header.pop("request")
        try:
            answer = getattr(server, request)(arrays, **header)
            send(link, {}, answer)
        except UserError as err:
            send(link, {"problems": err.problems})
        except Exception as err:
            send(link, {"problems": [f"{request}: {type(err).__name__}: {err}"]})
    sys.stdout.flush()
    # The libraries' threads do not join; leave without their clean-up.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
