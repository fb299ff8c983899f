"""The ways to run a CPU layer, what is refused, and users' layers."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from nntc.bmodel.cpu_ops import CpuOp, GatherParam, TopKParam, UnaryParam, WhereParam
from nntc.core.errors import UnsupportedError, UserError
from nntc.runtime import cpu
from nntc.runtime.cpu import user

X = np.array([[3, 1, 2], [4, 6, 5]], np.float32)


def test_outputs_are_words_in_actual_shapes() -> None:
    values, indices = cpu.run(CpuOp.TOPK, TopKParam(2, 1).pack(), [X])
    assert values.tolist() == [[3, 2], [6, 5]]
    assert indices.dtype == np.float32
    assert indices.view(np.int32).tolist() == [[0, 2], [1, 2]]


def test_int32_inputs_give_their_bits() -> None:
    for index in (np.array([1], np.int32), np.array([1], np.int32).view(np.float32)):
        (rows,) = cpu.run(CpuOp.GATHER, GatherParam(0).pack(), [X, index])
        assert rows.tolist() == [[4, 6, 5]]


def test_run_into_leaves_the_rest_of_a_buffer() -> None:
    buffers = [np.full(9, 7, np.float32), np.full(9, 7, np.float32)]
    shapes = cpu.run_into(CpuOp.TOPK, TopKParam(1, 1).pack(), [X], buffers, [(2, 3), (2, 3)])
    assert shapes == [(2, 1), (2, 1)]
    assert buffers[0].tolist() == [3, 6, 7, 7, 7, 7, 7, 7, 7]


def test_run_into_writes_beyond_the_shape_where_the_layer_does() -> None:
    buffer = np.zeros(6, np.float32)
    shapes = cpu.run_into(
        CpuOp.WHERE, WhereParam().pack(), [np.float32([0, 1, 0])], [buffer], [(3, 1)]
    )
    assert shapes == [(1, 1)]
    assert buffer.view(np.int32).tolist() == [1, -1, -1, 0, 0, 0]
    (found,) = cpu.run(CpuOp.WHERE, b"", [np.float32([0, 1, 0])])
    assert found.view(np.int32).tolist() == [[1]]


def test_inputs_are_not_changed() -> None:
    given = X.copy()
    given.flags.writeable = False
    cpu.run(CpuOp.UNARY, UnaryParam(3).pack(), [given])
    cpu.run(CpuOp.TOPK, TopKParam(1, 0).pack(), [given[:, ::2]])


@pytest.mark.parametrize(
    ("op", "param", "inputs", "shapes", "message"),
    [
        (60, b"", [X], None, "CPU layer 60: CPU layer type 60 is not one of"),
        (CpuOp.DISTRIBUTE_FPN_PROPOSALS, b"", [X], None, "is not one of"),
        (CpuOp.TOPK, bytes(13), [X], None, "CPU layer TOPK: TopKParam: parameter of 13 bytes"),
        (CpuOp.TOPK, TopKParam(2, 1).pack(), [], None, "0 inputs, needs 1 to 2: x f32, k i32?"),
        (CpuOp.TOPK, TopKParam(4, 1).pack(), [X], None, "k = 4 of an axis of 3 elements"),
        (CpuOp.TOPK, TopKParam(2, 2).pack(), [X], None, "axis 2 of an input of 2 dimensions"),
        (CpuOp.TOPK, TopKParam(2, 1).pack(), [X.astype("f8")], None, "element type float64"),
        (CpuOp.UNARY, UnaryParam(9).pack(), [X], None, "unary_op 9 is not in 0..5"),
        (CpuOp.UNARY, UnaryParam(3).pack(), [X], [(2, 3), (2, 3)], "2 declared outputs, needs 1"),
        (
            CpuOp.GATHER,
            GatherParam(0).pack(),
            [X, np.array([0, 2], np.int32)],
            None,
            "index 2 (element 1) is not in 0..1",
        ),
        (
            CpuOp.GATHER,
            GatherParam(0).pack(),
            [X, np.array([0, 1], np.int32)],
            [(1, 3)],
            "output 0 would have 6 elements (2, 3), it has room for 3",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    op: int,
    param: bytes,
    inputs: Sequence[np.ndarray],
    shapes: Sequence[tuple[int, ...]] | None,
    message: str,
) -> None:
    with pytest.raises(UserError) as err:
        cpu.run(op, param, inputs, shapes)
    assert message in str(err.value)
    with pytest.raises(UserError, match=r"^subnet 2 of net: "):
        cpu.run(op, param, inputs, shapes, name="subnet 2 of net")


def test_buffers_must_be_large_enough() -> None:
    with pytest.raises(UserError, match="does not fit a buffer of 5 float32"):
        cpu.run_into(CpuOp.UNARY, UnaryParam(3).pack(), [X], [np.zeros(5, np.float32)], [(2, 3)])


def test_every_op_but_two_is_supported() -> None:
    missing = {CpuOp.USER_DEFINED, CpuOp.DISTRIBUTE_FPN_PROPOSALS}
    assert set(cpu.supported()) == {int(op) for op in CpuOp} - missing
    with pytest.raises(UnsupportedError):
        cpu.signature(36)


def test_reference_page_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "cpu-layers.md"
    assert cpu.reference() in page.read_text(), "write nntc.runtime.cpu.reference() into it"


@pytest.fixture
def scale_layer() -> Iterator[None]:
    @cpu.user_layer(7, "scale")
    class Scale:
        def shape(
            self, param: bytes, input_shapes: Sequence[tuple[int, ...]]
        ) -> list[tuple[int, ...]]:
            return [input_shapes[0]]

        def run(self, param: bytes, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            (factor,) = struct.unpack("<f", param)
            return [inputs[0] * np.float32(factor)]

    yield
    user.unregister(7)


@pytest.mark.usefixtures("scale_layer")
class TestUserLayers:
    PARAM = struct.pack("<if", 7, 2.0)

    def test_user_op_id_is_the_first_word(self) -> None:
        (y,) = cpu.run(CpuOp.USER_DEFINED, self.PARAM, [X])
        assert y.tolist() == (X * 2).tolist()

    def test_into_buffers(self) -> None:
        buffer = np.zeros(6, np.float32)
        assert cpu.run_into(3, self.PARAM, [X], [buffer], [(2, 3)]) == [(2, 3)]
        assert buffer.tolist() == (X * 2).ravel().tolist()

    def test_unknown_id_names_the_known_ones(self) -> None:
        with pytest.raises(UnsupportedError, match=r"user layer 8 .*there are: 7 scale"):
            cpu.run(3, struct.pack("<if", 8, 2.0), [X])
        with pytest.raises(UnsupportedError, match="user layer 10001 is not registered"):
            cpu.run(10001, b"", [X])

    def test_its_errors_are_user_errors(self) -> None:
        with pytest.raises(UserError, match=r"^my net: error: unpack requires"):
            cpu.run(3, struct.pack("<i", 7), [X], name="my net")
        with pytest.raises(UserError, match="parameter of 2 bytes"):
            cpu.run(3, b"ab", [X])
        with pytest.raises(UserError, match="gives 1 outputs, 2 are declared"):
            cpu.run(3, self.PARAM, [X], [(2, 3), (2, 3)])

    def test_an_id_is_taken_once(self) -> None:
        with pytest.raises(UserError, match="id 7 is already scale"):
            cpu.user_layer(7, "other")(type("L", (), {"shape": print, "run": print}))
        with pytest.raises(UserError, match=r"class L has no run\(\)"):
            cpu.user_layer(9, "other")(type("L", (), {"shape": print}))  # type: ignore[type-var]

    def test_custom_layer_types_show_in_the_table(self) -> None:
        cpu.user_layer(10002, "mine")(type("L", (), {"shape": print, "run": lambda *_: []}))
        try:
            assert cpu.supported()[10002] == "mine"
            assert cpu.run(10002, b"", [X]) == []
        finally:
            user.unregister(10002)
