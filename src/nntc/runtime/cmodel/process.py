"""A worker process as seen from the engine: requests with a time-out, clear errors when it dies."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import nntc
from nntc.core.errors import DeviceError
from nntc.runtime.cmodel.channel import receive, send
from nntc.runtime.cmodel.libs import Libraries

_STACK_LINE = re.compile(r"\[0x[0-9a-f]+\]$")
_COMPLAINT = re.compile(r"assert|error|fatal|fail", re.IGNORECASE)


class Worker:
    """One process for one model.

    Args:
        timeout: seconds that a request may take.
    """

    def __init__(self, libs: Libraries, timeout: float) -> None:
        self._timeout = timeout
        self._lock = threading.Lock()
        # The libraries leave dumps in the working folder.
        self._folder = tempfile.TemporaryDirectory()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed in close)
        ours, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "nntc.runtime.cmodel.worker"),
                    *(str(descriptor), str(os.getpid())),
                ],
                pass_fds=[descriptor],
                cwd=self._folder.name,
                env=_environment(libs),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
            )
        self._link = Connection(ours.detach())

    def request(
        self, name: str, arrays: Sequence[np.ndarray] = (), **header: Any
    ) -> list[np.ndarray]:
        """Ask the worker.

        Raises:
            DeviceError: it refuses, takes too long, or died; the message has its last words.
        """
        with self._lock:
            if self._link.closed:
                raise DeviceError("the C-model's process has ended; open the engine again")
            try:
                send(self._link, {**header, "request": name}, arrays)
                if not self._link.poll(self._timeout):
                    self._stop(patience=0)
                    raise DeviceError(
                        f"the C-model did not answer within {self._timeout:g} s and was stopped "
                        f"(two commands may wait for each other){self._last_words()}"
                    )
                answer, results = receive(self._link)
            except (EOFError, OSError, ValueError):
                status = self._stop()
                raise DeviceError(
                    f"the C-model ended with status {status} in the middle of '{name}'"
                    f"{self._last_words()}"
                ) from None
            except KeyboardInterrupt:
                # The answer to come would be taken for that of the next request.
                self._stop(patience=0)
                raise
        if answer.get("problems"):
            *others, last = (str(text) for text in answer["problems"])
            raise DeviceError([*others, last + self._last_words(complaints_only=True)])
        return results

    def _last_words(self, complaints_only: bool = False) -> str:
        """What the libraries printed last: their complaint if there is one, else the last line."""
        with contextlib.suppress(OSError, ValueError):
            size = self._log.seek(0, os.SEEK_END)
            self._log.seek(max(0, size - 8000))
            text = self._log.read().decode(errors="replace")
            lines = [line.strip() for line in text.split("\n")]
            # Without the addresses of the stack that an assertion prints.
            lines = [line for line in lines if line and not _STACK_LINE.search(line)]
            complaints = [line for line in lines if _COMPLAINT.search(line)]
            for line in (complaints or ([] if complaints_only else lines))[-1:]:
                return f"; it printed: {line[:300]}"
        return ""

    def _stop(self, patience: float = 1.0) -> int:
        """End the process; returns its status. The lock is held.

        Args:
            patience: seconds to wait for it to leave by itself, so that its own status is seen.
        """
        self._link.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(patience)
        self._process.kill()
        return self._process.wait()

    def close(self) -> None:
        with self._lock:
            if not self._link.closed:
                self._stop()
            self._log.close()
            self._folder.cleanup()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def _environment(libs: Libraries) -> dict[str, str]:
    environment = dict(os.environ)
    # Its size comes from the model; a leftover setting confuses the C-model.
    environment.pop("CMODEL_GLOBAL_MEM_SIZE", None)
    search = [str(libs.folder), environment.get("LD_LIBRARY_PATH", "")]
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, search))
    package = str(Path(nntc.__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [package, environment.get("PYTHONPATH", "")])
    )
    environment["PYTHONSAFEPATH"] = "1"
    return environment
