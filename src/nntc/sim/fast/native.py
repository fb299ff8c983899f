"""What the kernels need from the host: compilation, flush-to-zero, threads.

Kernels are compiled by Numba on first use and kept in the user's cache folder.
They take plain arrays and integers, so that a planned command is one call without any look-up.

Denormals: on x86-64 the two bits of MXCSR that flush results (FTZ) and operands (DAZ) do what
the C-model does. :func:`flushing` sets them for the calling thread and restores them; worker
threads set them once. Other processors flush before or do not flush at all, so there every
operation flushes explicitly (see :mod:`nntc.sim.fast.fp`).
"""

from __future__ import annotations

import hashlib
import os
import platform
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

EXPLICIT_FLUSH: bool = platform.machine().lower() not in ("x86_64", "amd64") or (
    os.environ.get("NNTC_SIM_FLUSH") == "explicit"
)
"""Flush denormals by instructions instead of the processor's mode (slower, works anywhere)."""

_FTZ_DAZ = 0x8040
_settings: Any = config


_SHARED_SOURCES = ("fp.py", "native.py", "planes.py", "tile.py")
"""Files whose functions are compiled into the kernels of others."""


def _cache_folder() -> str | None:
    """Where compiled kernels are kept, or None if nothing can be written there.

    Numba notices a change of a kernel's own file only, so the folder's name carries a hash of
    the files with shared functions, and the variant of flushing.
    """
    digest = hashlib.sha256(repr(EXPLICIT_FLUSH).encode())
    for name in _SHARED_SOURCES:
        digest.update(resources.files("nntc.sim.fast").joinpath(name).read_bytes())
    root = _settings.CACHE_DIR or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "nntc" / f"kernels-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return str(folder) if os.access(folder, os.W_OK) else None


_CACHE_FOLDER = _cache_folder()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile with Numba on first use: no GIL, no fused multiply-add, kept on disk if possible."""
    if _CACHE_FOLDER is None:
        return njit(nogil=True)(function)
    before = _settings.CACHE_DIR
    _settings.CACHE_DIR = _CACHE_FOLDER
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)
    finally:
        _settings.CACHE_DIR = before


def helper(function: Callable[..., Any]) -> Any:
    """A function that kernels call; compiled into them."""
    return njit(nogil=True, inline="never")(function)


def emitter(function: Callable[..., Any]) -> Any:
    """A function whose code is LLVM IR."""
    return intrinsic(function)


@helper
def set_all(array, value):
    """array[:] = value, in the few instructions that this needs."""
    for x in range(array.size):
        array[x] = value


@emitter
def bare(_context: Any, array: Any) -> Any:
    """The same array without its reference count, so that slices of it cost nothing.

    The owner must outlive every use: an argument does; for an array made inside a kernel call
    :func:`keep` at the end.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.make_array(signature.return_type)
        source, target = kind(context, builder, args[0]), kind(context, builder)
        for name in ("nitems", "itemsize", "data", "shape", "strides"):
            setattr(target, name, getattr(source, name))
        target.meminfo = cgutils.get_null_value(target.meminfo.type)
        target.parent = cgutils.get_null_value(target.parent.type)
        return target._getvalue()

    return array(array), generate


@emitter
def keep(_context: Any, array: Any) -> Any:
    """Use an array, so that it is not freed before."""

    def generate(context: Any, _builder: Any, _signature: Any, _args: Any) -> Any:
        return context.get_dummy_value()

    return types.void(array), generate


def _stack(element: Any, count: int) -> Any:
    @emitter
    def stack(_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, _args: Any) -> Any:
            size = context.get_abi_sizeof(context.get_data_type(element))
            cell = context.get_data_type(element)
            data = cgutils.alloca_once(builder, cell, size=count)
            array = context.make_array(signature.return_type)(context, builder)
            number = partial(context.get_constant, types.intp)
            populate_array(
                array,
                data=data,
                shape=cgutils.pack_array(builder, [number(count)]),
                strides=cgutils.pack_array(builder, [number(size)]),
                itemsize=number(size),
                meminfo=None,
            )
            return array._getvalue()

        return types.Array(element, 1, "C")(), generate

    return stack


CHUNK = 1024
"""Elements of a row that are worked on at once, in the first-level cache."""

stack_f32 = _stack(types.float32, CHUNK)
"""An uninitialised fp32 array of CHUNK elements on the stack."""

stack_i32 = _stack(types.int32, CHUNK)
stack_i64 = _stack(types.int64, CHUNK)


@emitter
def _stmxcsr(_context: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        cell = builder.alloca(ir.IntType(32))
        _call_mxcsr(builder, "llvm.x86.sse.stmxcsr", cell)
        return builder.load(cell)

    return types.uint32(), generate


@emitter
def _ldmxcsr(_context: Any, _value: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        cell = builder.alloca(ir.IntType(32))
        builder.store(args[0], cell)
        _call_mxcsr(builder, "llvm.x86.sse.ldmxcsr", cell)
        return context.get_dummy_value()

    return types.void(types.uint32), generate


def _call_mxcsr(builder: Any, name: str, cell: Any) -> None:
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer])
    module = builder.module
    function = module.globals.get(name) or ir.Function(module, kind, name)
    builder.call(function, [builder.bitcast(cell, pointer)])


@kernel
def _read_mode():
    return _stmxcsr()


@kernel
def _write_mode(mode):
    _ldmxcsr(types.uint32(mode))


@contextmanager
def flushing() -> Generator[None, None, None]:
    """Flush denormals in this thread inside the block."""
    if EXPLICIT_FLUSH:
        yield
        return
    before = int(_read_mode())
    _write_mode(before | _FTZ_DAZ)
    try:
        yield
    finally:
        _write_mode(before)


class Workers:
    """Threads that run kernels beside the calling thread; one set for the process.

    Args:
        count: threads in all, the calling one included.
    """

    def __init__(self, count: int) -> None:
        self.count = max(1, count)
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """Start without threads (also in a forked child, which has none of its parent's)."""
        self._busy = threading.Lock()
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._started = 0

    def _serve(self) -> None:
        if not EXPLICIT_FLUSH:
            _write_mode(int(_read_mode()) | _FTZ_DAZ)
        tasks, done = self._tasks, self._done
        while True:
            task = tasks.get()
            try:
                task()
            except BaseException as err:
                done.put(err)
            else:
                done.put(None)

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run all tasks, the first one here; return when all are done.

        While another thread uses the workers, this one does everything itself.
        """
        if not self._busy.acquire(blocking=False):
            for task in tasks:
                task()
            return
        try:
            self._run(tasks)
        finally:
            self._busy.release()

    def _run(self, tasks: Sequence[Callable[[], None]]) -> None:
        while self._started < min(self.count, len(tasks)) - 1:
            threading.Thread(target=self._serve, name="nntc-sim", daemon=True).start()
            self._started += 1
        for task in tasks[1:]:
            self._tasks.put(task)
        failure: BaseException | None = None
        try:
            tasks[0]()
        finally:
            for _ in tasks[1:]:
                failure = self._done.get() or failure
        if failure is not None:
            raise failure


WORKERS = Workers(min(os.cpu_count() or 1, 8))
