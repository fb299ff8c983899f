"""The chip maker's libcpuop as a judge: one layer call in a forked child, by ctypes alone.

``bmcpu_process`` takes C++ vectors. A std::vector is three pointers (begin, end, end of storage),
so they can be built here; their storage comes from malloc because the library frees and replaces
the output shapes.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import mmap
import os
import select
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.runtime_cpu.case import SENTINEL


class MakerError(Exception):
    """The library asserted, crashed or did not come back."""


class _Vector(ctypes.Structure):
    _fields_ = (
        ("begin", ctypes.c_void_p),
        ("end", ctypes.c_void_p),
        ("capacity", ctypes.c_void_p),
    )


class Maker:
    """Loads the library once; each call runs in a child forked from this process."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None)
        self._libc.malloc.restype = ctypes.c_void_p
        self._libc.malloc.argtypes = (ctypes.c_size_t,)
        self._lib = ctypes.CDLL(str(folder / "libcpuop.so"))
        self._lib.bmcpu_init.restype = ctypes.c_void_p
        self._handle = ctypes.c_void_p(self._lib.bmcpu_init())

    def run(
        self,
        op: int,
        param: bytes,
        inputs: Sequence[np.ndarray],
        output_shapes: Sequence[tuple[int, ...]],
        capacities: Sequence[int] | None = None,
        seconds: float = 20.0,
    ) -> tuple[list[np.ndarray], list[tuple[int, ...]]]:
        """One call. Returns the whole output buffers (flat f32) and the shapes it reported.

        Args:
            capacities: elements of each output buffer; by default those of *output_shapes*.

        Raises:
            MakerError: assertion, crash or time-out.
        """
        sizes = list(capacities or [int(np.prod(s, dtype=np.int64)) for s in output_shapes])
        shared = mmap.mmap(-1, 4 * sum(sizes) + 4)
        whole = np.frombuffer(shared, np.float32)
        whole[:] = SENTINEL
        starts = np.cumsum([0, *sizes])
        buffers = [whole[a:b] for a, b in itertools.pairwise(starts)]
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._child(write_end, op, param, inputs, buffers, output_shapes)
        os.close(write_end)
        ready, _, _ = select.select([read_end], [], [], seconds)
        answer = b""
        if ready:
            while part := os.read(read_end, 65536):
                answer += part
        else:
            os.kill(pid, signal.SIGKILL)
        os.close(read_end)
        _, status = os.waitpid(pid, 0)
        if not answer:
            raise MakerError(f"op {op}: {'status ' + str(status) if ready else 'time-out'}")
        return [b.copy() for b in buffers], [tuple(s) for s in json.loads(answer)]

    def _child(
        self,
        write_end: int,
        op: int,
        param: bytes,
        inputs: Sequence[np.ndarray],
        buffers: Sequence[np.ndarray],
        output_shapes: Sequence[tuple[int, ...]],
    ) -> None:
        """Never returns: the library may end the process at any point."""
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            held = [np.array(a, order="C") for a in inputs]
            shapes = self._shapes([a.shape for a in held])
            result = self._shapes(output_shapes)
            self._lib.bmcpu_process(
                self._handle,
                ctypes.c_int(op),
                ctypes.create_string_buffer(param, max(len(param), 1)),
                ctypes.c_int(len(param)),
                ctypes.byref(self._vector([a.ctypes.data for a in held], 8)),
                ctypes.byref(shapes),
                ctypes.byref(self._vector([b.ctypes.data for b in buffers], 8)),
                ctypes.byref(result),
            )
            os.write(write_end, json.dumps(_read_shapes(result)).encode())
        finally:
            os._exit(0)

    def _vector(self, values: Sequence[int], width: int) -> _Vector:
        data = np.array(values, np.int64 if width == 8 else np.int32)
        block = self._libc.malloc(max(data.nbytes, 1))
        ctypes.memmove(block, data.ctypes.data, data.nbytes)
        return _Vector(block, block + data.nbytes, block + data.nbytes)

    def _shapes(self, shapes: Sequence[Sequence[int]]) -> _Vector:
        words: list[int] = []
        for shape in shapes:
            inner = self._vector(shape, 4)
            words += [inner.begin or 0, inner.end or 0, inner.capacity or 0]
        return self._vector(words, 8)


def _read_shapes(vector: _Vector) -> list[tuple[int, ...]]:
    count = ((vector.end or 0) - (vector.begin or 0)) // 24
    words = (ctypes.c_int64 * (3 * count)).from_address(vector.begin or 0) if count else []
    shapes = []
    for i in range(count):
        rank = (words[3 * i + 1] - words[3 * i]) // 4
        dims = (ctypes.c_int32 * rank).from_address(words[3 * i]) if rank else []
        shapes.append(tuple(dims))
    return shapes
