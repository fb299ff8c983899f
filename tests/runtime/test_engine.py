"""The engine's front door: names, shapes, types, scales and stages."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import nntc
from nntc.bmodel import BDataType, BModel, Net, StoreMode, Tensor, encode, write
from nntc.core.errors import BModelError, UserError
from nntc.runtime import Engine
from tests.runtime.fake import FakeDevice, elementwise, model, tensor, tpu


def copy_net(source: Tensor, target: Tensor) -> BModel:
    return model([source], [target], [tpu([source], [target])])


def engine(source: Tensor, target: Tensor) -> Engine:
    """A net whose output holds the input's device values."""
    action = elementwise(source, target, lambda x: x)
    return Engine(copy_net(source, target), FakeDevice({0: action}))


def int8(name: str, slot: int, **fields: object) -> Tensor:
    return tensor(name, slot, dtype=BDataType.INT8, store_mode=StoreMode.N4, **fields)


X = np.array([[1.5, -2.5, 0.25, 100.0]], np.float32)


def test_array_list_dict_and_keywords_are_the_same() -> None:
    run = engine(tensor("a", 0), tensor("b", 1))
    for given in (run(X), run([X]), run({"a": X}), run(a=X), run([X.tolist()])):
        assert list(given) == ["b"]
        np.testing.assert_array_equal(given["b"].reshape(-1), X[0])


def test_float_types_are_cast() -> None:
    run = engine(tensor("a", 0), tensor("b", 1))
    for dtype in (np.float64, np.float16):
        np.testing.assert_array_equal(run(X.astype(dtype))["b"], X)
    np.testing.assert_array_equal(run(np.array([[1, 2, 3, 4]]))["b"], [[1, 2, 3, 4]])
    assert run(X)["b"].dtype == np.float32
    with pytest.raises(UserError, match="input a: values beyond the range of float32"):
        run(np.full((1, 4), 1e300))


def test_scales_turn_real_numbers_into_int8_and_back() -> None:
    run = engine(int8("a", 0, scale=2.0), int8("b", 1, scale=0.5))
    # round(x * 2): 3, -5, 0 (0.5 to even), 127 (saturated); out: q * 0.5
    np.testing.assert_array_equal(run(X)["b"], np.array([[1.5, -2.5, 0.0, 63.5]], np.float32))
    assert run(X)["b"].dtype == np.float32
    assert run.inputs[0].is_quantised


def test_integers_for_a_scaled_tensor_are_taken_as_they_are() -> None:
    run = engine(int8("a", 0, scale=2.0), int8("b", 1))
    result = run(np.array([[1, -2, 3, 127]], np.int64))["b"]
    assert result.tolist() == [[1, -2, 3, 127]]
    assert result.dtype == np.int8
    with pytest.raises(UserError, match=r"input a: values -2\.\.128 given, int8 holds -128\.\.127"):
        run(np.array([[1, -2, 3, 128]]))


def test_zero_points() -> None:
    fields = {"dtype": BDataType.UINT8, "store_mode": StoreMode.N4, "zero_point": 100}
    source, target = tensor("a", 0, scale=2.0, **fields), tensor("b", 1, scale=0.5, **fields)
    np.testing.assert_array_equal(engine(source, target)(X)["b"], [[1.5, -2.5, 0.0, 77.5]])


def test_the_scale_of_a_float_tensor_is_not_applied() -> None:
    run = engine(tensor("a", 0, scale=3.0), tensor("b", 1, scale=5.0))
    np.testing.assert_array_equal(run(X)["b"], X)


def test_indices_must_be_whole() -> None:
    source, target = (tensor(n, i, dtype=BDataType.INT32) for i, n in enumerate("ab"))
    run = engine(source, target)
    assert run(np.array([[1.0, 2.0, -3.0, 4.0]]))["b"].tolist() == [[1, 2, -3, 4]]
    assert run(np.array([[True, False, True, True]]))["b"].tolist() == [[1, 0, 1, 1]]
    with pytest.raises(UserError, match="not whole"):
        run(X)
    with pytest.raises(UserError, match=r"values 0\.\.4294967296 given"):
        run(np.array([[0, 1, 2, 1 << 32]]))
    with pytest.raises(UserError, match="int32 holds"):
        run(np.array([[0.0, 1, 2, np.inf]]))


def test_nan_cannot_be_quantised() -> None:
    run = engine(int8("a", 0, scale=2.0), int8("b", 1))
    with pytest.raises(UserError, match="input a: holds NaN"):
        run(np.array([[0, 1, 2, np.nan]]))
    assert run(np.array([[0, 1, np.inf, -np.inf]]))["b"].tolist() == [[0, 2, 127, -128]]


def test_all_problems_at_once() -> None:
    a, b, c = tensor("a", 0), tensor("b", 1), tensor("c", 2)
    run = Engine(model([a, b], [c], [tpu([a, b], [c])]), FakeDevice({}))
    with pytest.raises(UserError) as caught:
        run({"a": np.zeros((4, 1)), "B": X})
    assert [str(p) for p in caught.value.problems] == [
        "net net: no input is called B; expected: a: float32 [1, 4], b: float32 [1, 4]",
        "net net: input b: float32 [1, 4] is missing",
        "net net: input a has the shape [4, 1], expected [1, 4]",
    ]
    with pytest.raises(UserError, match="1 arrays given, 2 inputs expected"):
        run(X)
    with pytest.raises(UserError, match="input a is given twice"):
        run({"a": X, "b": X}, a=X)
    with pytest.raises(UserError, match="input a: not an array"):
        run({"a": object(), "b": X})
    with pytest.raises(UserError, match="input a: <U1 given"):
        run({"a": np.array([["x", "y", "z", "w"]]), "b": X})
    with pytest.raises(UserError, match="input a: not an array"):
        run({"a": [[1, 2], [3]], "b": X})


def test_one_element_takes_any_rank() -> None:
    run = engine(tensor("a", 0, (1,)), tensor("b", 1, (1,)))
    assert run(np.float32(5))["b"].tolist() == [5]
    assert run([[[5]]])["b"].tolist() == [5]


def test_stages_are_chosen_by_shape() -> None:
    small = copy_net(tensor("a", 0, (1, 4)), tensor("b", 1, (1, 4)))
    large = copy_net(tensor("a", 0, (2, 4)), tensor("b", 1, (2, 4)))
    net = Net("net", [small.nets[0].stages[0], large.nets[0].stages[0]])

    def action(context: object) -> None:
        batch = 2 if len(device.ran) == 1 else 1
        a, b = tensor("a", 0, (batch, 4)), tensor("b", 1, (batch, 4))
        elementwise(a, b, lambda x: x + 1)(context)  # type: ignore[arg-type]

    device = FakeDevice({0: action})
    run = Engine(BModel("BM1684", [net]), device)
    assert run.inputs[0].shapes == ((1, 4), (2, 4))
    assert run(np.zeros((2, 4)))["b"].shape == (2, 4)
    assert run(np.zeros((1, 4)))["b"].tolist() == [[1, 1, 1, 1]]
    with pytest.raises(UserError, match=r"shape \[3, 4\], expected \[1, 4\] or \[2, 4\]"):
        run(np.zeros((3, 4)))


def test_stages_must_agree() -> None:
    one = copy_net(tensor("a", 0), tensor("b", 1)).nets[0].stages[0]
    two = copy_net(tensor("x", 0), tensor("b", 1)).nets[0].stages[0]
    with pytest.raises(BModelError, match="inputs of stage 1 are not those of stage 0"):
        Engine(BModel("BM1684", [Net("net", [one, two])]), FakeDevice({}))


def test_nets_by_name() -> None:
    first = copy_net(tensor("a", 0), tensor("b", 1)).nets[0]
    second = dataclasses.replace(first, name="second")
    action = elementwise(tensor("a", 0), tensor("b", 1), np.negative)
    run = Engine(BModel("BM1684", [first, second]), FakeDevice({0: action}))
    assert list(run.nets) == ["net", "second"]
    np.testing.assert_array_equal(run.net("second")(X)["b"], -X)
    with pytest.raises(UserError, match="no net is called third; there are net, second"):
        run.net("third")


def test_files_bytes_and_errors(tmp_path: Path) -> None:
    net = copy_net(tensor("a", 0), tensor("b", 1))
    device = FakeDevice({0: elementwise(tensor("a", 0), tensor("b", 1), np.negative)})
    path = tmp_path / "net.bmodel"
    write(net, path)
    for source in (path, str(path), path.read_bytes(), encode(net)):
        np.testing.assert_array_equal(Engine(source, device)(X)["b"], -X)
    with pytest.raises(UserError, match=r"missing\.bmodel: cannot be read"):
        Engine(tmp_path / "missing.bmodel", device)
    path.write_bytes(b"no model")
    with pytest.raises(BModelError, match=r"net\.bmodel: "):
        Engine(path, device)
    with pytest.raises(UserError, match="'toaster' is unknown"):
        Engine(net, "toaster")
    with pytest.raises(UserError, match="simulator has no option speed"):
        Engine(net, speed=3)
    with pytest.raises(UserError, match="holds no net"):
        Engine(BModel("BM1684", []), device)


def test_the_package_gives_the_engine() -> None:
    assert nntc.Engine is Engine
    with pytest.raises(AttributeError):
        _ = nntc.nothing
