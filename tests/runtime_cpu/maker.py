"""The chip maker's libcpuop as a judge: layer calls in a forked child, by ctypes alone.

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
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nntc.bmodel.cpu_ops import CpuOp
from tests.runtime_cpu.case import SENTINEL, Case, Result


class MakerError(Exception):
    """The library asserted, crashed or did not come back."""


class _Vector(ctypes.Structure):
    _fields_ = (
        ("begin", ctypes.c_void_p),
        ("end", ctypes.c_void_p),
        ("capacity", ctypes.c_void_p),
    )


class Maker:
    """Loads the library once; calls run in children forked from this process."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None)
        self._libc.malloc.restype = ctypes.c_void_p
        self._libc.malloc.argtypes = (ctypes.c_size_t,)
        self._lib = ctypes.CDLL(str(folder / "libcpuop.so"))
        self._lib.bmcpu_init.restype = ctypes.c_void_p
        self._handle = ctypes.c_void_p(self._lib.bmcpu_init())

    def run(self, op: int, cases: Sequence[Case], seconds: float = 60.0) -> list[Result]:
        """The cases' results; those of a layer with a state come from a child each."""
        if op == CpuOp.RANDOM_UNIFORM and len(cases) > 1:
            return [self.run(op, [case], seconds)[0] for case in cases]
        return self._run_child(op, cases, seconds)

    def _run_child(self, op: int, cases: Sequence[Case], seconds: float) -> list[Result]:
        """All cases one after the other in one child: whole output buffers, and their shapes.

        Raises:
            MakerError: assertion, crash or time-out; names the first case without an answer.
        """
        sizes = [[int(np.prod(s, dtype=np.int64)) for s in case.output_shapes] for case in cases]
        shared = mmap.mmap(-1, 4 * sum(map(sum, sizes)) + 4)
        whole = np.frombuffer(shared, np.float32)
        whole[:] = SENTINEL
        places = itertools.pairwise(np.cumsum([0, *itertools.chain(*sizes)]))
        buffers = [[whole[slice(*next(places))] for _ in row] for row in sizes]
        with tempfile.TemporaryDirectory() as folder:  # one layer writes a file
            answer, ended = self._ask(op, cases, buffers, folder, seconds)
        lines = answer.splitlines()
        if len(lines) < len(cases):
            why = "failed" if ended else "did not come back"
            raise MakerError(f"op {op}: case {len(lines)} {why}: {cases[len(lines)]}")
        shapes = [[tuple(s) for s in json.loads(line)] for line in lines]
        return [([b.copy() for b in row], s) for row, s in zip(buffers, shapes, strict=True)]

    def _ask(
        self,
        op: int,
        cases: Sequence[Case],
        buffers: Sequence[Sequence[np.ndarray]],
        folder: str,
        seconds: float,
    ) -> tuple[bytes, bool]:
        """A line of shapes a case, and whether the child ended in time."""
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._child(write_end, op, cases, buffers, folder)
        os.close(write_end)
        answer = b""
        ended = True
        while ended := bool(select.select([read_end], [], [], seconds)[0]):
            part = os.read(read_end, 65536)
            if not part:
                break
            answer += part
        os.close(read_end)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return answer, ended

    def _child(
        self,
        write_end: int,
        op: int,
        cases: Sequence[Case],
        buffers: Sequence[Sequence[np.ndarray]],
        folder: str,
    ) -> None:
        """Never returns: the library may end the process at any point."""
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            os.chdir(folder)
            for case, outputs in zip(cases, buffers, strict=True):
                shapes = self._call(op, case, outputs)
                os.write(write_end, json.dumps(shapes).encode() + b"\n")
        finally:
            os._exit(0)

    def _call(self, op: int, case: Case, outputs: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
        inputs = [np.array(a, order="C") for a in case.inputs]
        param = case.param_bytes
        result = self._shapes(case.output_shapes)
        self._lib.bmcpu_process(
            self._handle,
            ctypes.c_int(op),
            ctypes.create_string_buffer(param, max(len(param), 1)),
            ctypes.c_int(len(param)),
            ctypes.byref(self._vector([a.ctypes.data for a in inputs], 8)),
            ctypes.byref(self._shapes([a.shape for a in inputs])),
            ctypes.byref(self._vector([b.ctypes.data for b in outputs], 8)),
            ctypes.byref(result),
        )
        return _read_shapes(result)

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
