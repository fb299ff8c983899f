"""Element types and the storage modes 1N, 2N, 4N."""

from __future__ import annotations

import numpy as np
import pytest

from nntc.bmodel import BDataType, StoreMode, Tensor
from nntc.core.dtype import DType
from nntc.core.errors import UserError


def test_numbers_and_names_are_those_of_the_file() -> None:
    texts = [BDataType(i).text for i in range(8)]
    assert texts == ["float32", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32"]
    assert [BDataType(i).size for i in range(8)] == [4, 2, 1, 1, 2, 2, 4, 4]
    assert BDataType.of(DType.U16) is BDataType.UINT16
    assert [m.group for m in StoreMode] == [1, 2, 4]
    assert [BDataType(i).store_mode.group for i in range(8)] == [1, 2, 4, 4, 2, 2, 1, 1]


@pytest.mark.parametrize("mode", StoreMode)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (5, 2), (4, 3, 2, 2), (9, 1, 2, 3, 2)])
def test_store_and_load(mode: StoreMode, shape: tuple[int, ...]) -> None:
    plain = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    stored = mode.store(plain)
    assert stored.nbytes == mode.bytes(shape, 1)
    np.testing.assert_array_equal(mode.load(stored, shape), plain)


def test_byte_order_of_4n() -> None:
    """Byte index = (n // 4 * CHW + chw) * 4 + n % 4."""
    shape = (6, 2, 3, 2)
    plain = np.arange(72, dtype=np.uint8).reshape(shape)
    stored = StoreMode.N4.store(plain).reshape(-1)
    expected = np.zeros(96, np.uint8)
    for n in range(6):
        for chw in range(12):
            expected[(n // 4 * 12 + chw) * 4 + n % 4] = plain.reshape(6, 12)[n, chw]
    np.testing.assert_array_equal(stored, expected)


def test_tensor_bytes_and_back() -> None:
    tensor = Tensor("t", BDataType.INT16, (3, 2, 2, 1), StoreMode.N2)
    assert tensor.size == tensor.stored_bytes == 4 * 4 * 2
    plain = np.arange(12, dtype=np.int16).reshape(3, 2, 2, 1)
    memory = tensor.store(plain)
    assert memory.dtype == np.uint8
    assert memory.shape == (32,)
    padded = np.concatenate([memory, np.zeros(8, np.uint8)])
    np.testing.assert_array_equal(tensor.load(padded), plain)


def test_wrong_number_of_elements() -> None:
    with pytest.raises(UserError, match=r"7 elements, shape \[3, 2\] stored as 4N has 8"):
        StoreMode.N4.load(np.zeros(7, np.int8), (3, 2))
