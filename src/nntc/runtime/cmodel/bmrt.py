"""ctypes over the public C API of the chip maker's runtime (``bmruntime_interface.h``, ``bmlib``).

Used inside a worker process only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from ctypes import (
    CDLL,
    POINTER,
    RTLD_GLOBAL,
    Structure,
    byref,
    c_bool,
    c_char_p,
    c_float,
    c_int,
    c_size_t,
    c_uint,
    c_ulong,
    c_void_p,
)
from pathlib import Path

import numpy as np

from nntc.core.errors import DeviceError

MAX_DIMS = 8
STORE_1N = 0
DTYPES = ("float32", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32")
"""NumPy names of the runtime's data types 0 to 7."""


class DeviceMemory(Structure):
    """``bm_device_mem_t``."""

    _fields_ = (
        ("address", c_ulong),
        ("reserved", c_uint),
        ("dmabuf_fd", c_int),
        ("flags", c_uint),
        ("size", c_uint),
    )


class Shape(Structure):
    """``bm_shape_t``."""

    _fields_ = (("num_dims", c_int), ("dims", c_int * MAX_DIMS))


class TensorArgument(Structure):
    """``bm_tensor_t``."""

    _fields_ = (
        ("dtype", c_int),
        ("shape", Shape),
        ("memory", DeviceMemory),
        ("store_mode", c_int),
    )


class NetInfo(Structure):
    """The start of ``bm_net_info_t``, up to the sizes of the outputs."""

    _fields_ = (
        ("name", c_char_p),
        ("is_dynamic", c_bool),
        ("input_num", c_int),
        ("input_names", POINTER(c_char_p)),
        ("input_dtypes", POINTER(c_int)),
        ("input_scales", POINTER(c_float)),
        ("output_num", c_int),
        ("output_names", POINTER(c_char_p)),
        ("output_dtypes", POINTER(c_int)),
        ("output_scales", POINTER(c_float)),
        ("stage_num", c_int),
        ("stages", c_void_p),
        ("max_input_bytes", POINTER(c_size_t)),
        ("max_output_bytes", POINTER(c_size_t)),
    )


class Runtime:
    """The runtime on one device, with one BModel.

    Args:
        bmlib, bmrt, cmodel: the libraries' files.
        data: the BModel's bytes.

    Raises:
        DeviceError: the runtime refuses.
    """

    def __init__(self, bmlib: Path, bmrt: Path, cmodel: Path, data: bytes) -> None:
        # The driver library built for the C-model takes the chip from this variable.
        os.environ["TPUKERNEL_FIRMWARE_PATH"] = str(cmodel)
        self._lib = CDLL(str(bmlib), mode=RTLD_GLOBAL)
        self._rt = CDLL(str(bmrt), mode=RTLD_GLOBAL)
        self._declare()
        self._handle = c_void_p()
        if self._lib.bm_dev_request(byref(self._handle), 0):
            raise DeviceError("the C-model does not start")
        self._runtime = self._rt.bmrt_create(self._handle)
        if not self._runtime:
            raise DeviceError("the chip maker's runtime does not start")
        self._data = data  # the runtime keeps pointers into it
        if not self._rt.bmrt_load_bmodel_data(self._runtime, data, len(data)):
            raise DeviceError("the chip maker's runtime does not load this BModel")

    def _declare(self) -> None:
        lib, rt = self._lib, self._rt
        tensors = POINTER(TensorArgument)
        lib.bm_dev_request.argtypes = [POINTER(c_void_p), c_int]
        lib.bm_malloc_device_byte.argtypes = [c_void_p, POINTER(DeviceMemory), c_uint]
        lib.bm_free_device.argtypes = [c_void_p, DeviceMemory]
        lib.bm_memcpy_s2d_partial.argtypes = [c_void_p, DeviceMemory, c_void_p, c_uint]
        lib.bm_memcpy_d2s_partial.argtypes = [c_void_p, c_void_p, DeviceMemory, c_uint]
        lib.bm_thread_sync.argtypes = [c_void_p]
        rt.bmrt_create.argtypes, rt.bmrt_create.restype = [c_void_p], c_void_p
        rt.bmrt_load_bmodel_data.argtypes = [c_void_p, c_char_p, c_size_t]
        rt.bmrt_load_bmodel_data.restype = c_bool
        rt.bmrt_get_network_info.argtypes = [c_void_p, c_char_p]
        rt.bmrt_get_network_info.restype = POINTER(NetInfo)
        arguments = [c_void_p, c_char_p, tensors, c_int, tensors, c_int, c_bool, c_bool]
        rt.bmrt_launch_tensor_ex.argtypes = arguments
        rt.bmrt_launch_tensor_ex.restype = c_bool

    def launch(
        self, net: str, inputs: Sequence[np.ndarray], wait_for_tpu: bool
    ) -> list[np.ndarray]:
        """Run a net.

        Args:
            inputs: in the net's order and types, plain layout.
            wait_for_tpu: false for a net of CPU layers only, where waiting ends the process.

        Raises:
            DeviceError: the runtime refuses.
        """
        found = self._rt.bmrt_get_network_info(self._runtime, net.encode())
        if not found:
            raise DeviceError(f"the chip maker's runtime knows no net {net}")
        info: NetInfo = found.contents
        if info.input_num != len(inputs):
            raise DeviceError(f"net {net}: the chip maker's runtime wants {info.input_num} inputs")
        arguments = (TensorArgument * info.input_num)()
        results = (TensorArgument * info.output_num)()
        held: list[DeviceMemory] = []
        try:
            for index, array in enumerate(inputs):
                size = max(array.nbytes, info.max_input_bytes[index])
                memory = self._allocate(size, held)
                self._copy_in(memory, array)
                self._describe(arguments[index], array, info.input_dtypes[index], memory)
            for index in range(info.output_num):
                results[index].memory = self._allocate(info.max_output_bytes[index], held)
            given = (arguments, info.input_num, results, info.output_num)
            # Our memory for the outputs, in plain layout.
            done = self._rt.bmrt_launch_tensor_ex(self._runtime, net.encode(), *given, True, False)
            if not done:
                raise DeviceError(f"net {net}: the chip maker's runtime does not launch it")
            if wait_for_tpu and self._lib.bm_thread_sync(self._handle):
                raise DeviceError(f"net {net}: the chip maker's runtime fails while it waits")
            return [self._copy_out(result) for result in results]
        finally:
            for memory in held:
                self._lib.bm_free_device(self._handle, memory)

    def _allocate(self, size: int, held: list[DeviceMemory]) -> DeviceMemory:
        memory = DeviceMemory()
        if self._lib.bm_malloc_device_byte(self._handle, byref(memory), size):
            raise DeviceError(f"the C-model has no {size} bytes of memory left")
        held.append(memory)
        return memory

    def _copy_in(self, memory: DeviceMemory, array: np.ndarray) -> None:
        array = np.ascontiguousarray(array)
        if self._lib.bm_memcpy_s2d_partial(self._handle, memory, array.ctypes.data, array.nbytes):
            raise DeviceError("copying to the C-model fails")

    @staticmethod
    def _describe(
        argument: TensorArgument, array: np.ndarray, dtype: int, memory: DeviceMemory
    ) -> None:
        argument.dtype = dtype
        argument.memory = memory
        argument.store_mode = STORE_1N
        argument.shape.num_dims = array.ndim
        for axis, size in enumerate(array.shape):
            argument.shape.dims[axis] = size

    def _copy_out(self, result: TensorArgument) -> np.ndarray:
        shape = tuple(result.shape.dims[: result.shape.num_dims])
        array = np.zeros(shape, DTYPES[result.dtype])
        if self._lib.bm_memcpy_d2s_partial(
            self._handle, array.ctypes.data, result.memory, array.nbytes
        ):
            raise DeviceError("copying from the C-model fails")
        return array
